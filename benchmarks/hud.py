"""Cost of one picture of the window at 1280x720: ours against the way of CARLA's manual_control.py.

Theirs, per camera picture: numpy view, drop alpha, reverse the channels, swap the axes, make a surface, blit; then a
panel with 24 lines of text, each rendered anew, bars and a graph. Ours: a surface on the picture's own memory, one copy,
two paths in perspective, and all panels of the HUD with values that change on every picture; what the painter's thread
prepares is counted too. The way of the picture alone is measured for both as well. All run in turn in one process, so caches
are as cold as in a drive; processor time is counted, so that other processes do not stretch it.

    python -P benchmarks/hud.py [--pictures 300]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import numpy as np
import pygame

from takeover.collect.cockpit.hud import Hud
from takeover.collect.cockpit.hud_state import HudState, Notice
from takeover.collect.cockpit.layers import copy_picture
from takeover.collect.cockpit.overlay import driver_path
from takeover.vocabulary import Authority, Control, HandoverState

SIZE = (1280, 720)
LINES = 24


def numpy_picture(surface: pygame.Surface, raw: bytes) -> None:
    """A picture as manual_control.py shows it."""
    array = np.frombuffer(raw, np.uint8).reshape(SIZE[1], SIZE[0], 4)
    array = array[:, :, :3][:, :, ::-1]
    surface.blit(pygame.surfarray.make_surface(array.swapaxes(0, 1)), (0, 0))


def text_panel(surface: pygame.Surface, font: pygame.font.Font, count: int) -> None:
    """A panel of text as manual_control.py shows it."""
    panel = pygame.Surface((220, SIZE[1]))
    panel.set_alpha(100)
    surface.blit(panel, (0, 0))
    graph = [(x + 8, 500 + (count + x) % 30) for x in range(200)]
    pygame.draw.lines(surface, (255, 136, 0), False, graph, 2)
    for line in range(LINES):
        if line < 6:
            pygame.draw.rect(surface, (255, 255, 255), (108, 412 + 18 * line, 106, 6), 1)
        words = font.render(f"Value {line:2d}:  {count * 0.37 + line:10.3f}", True, (255, 255, 255))
        surface.blit(words, (8, 4 + 18 * line))


def state_of(count: int) -> HudState:
    """A state in which every value moves, as it does in a drive."""
    s_m = np.arange(1, 9)[:, None] * np.array([[4.0, 0.2]])
    return HudState(
        authority=Authority.DRIVER,
        handover=HandoverState.DRIVER,
        speed_mps=8.0 + 0.03 * (count % 100),
        limit_mps=13.9,
        ttc_s=3.9 - 0.01 * (count % 200),
        time_s=0.05 * count,
        plan_m=(s_m + 0.001 * (count % 50)).astype(np.float32),
        driver_m=driver_path(8.0, 0.002 * (count % 40)),
        reasoning="A walker may cross from the right. If I keep my speed I hit it. Slow down, keep the lane.",
        generation="3",
        device=Control(0.01 * (count % 80) - 0.4, 0.01 * (count % 70), 0.0),
        ghost_steer=0.2 - 0.01 * (count % 30),
        recording=True,
        takeovers=1,
        scenario="DynamicObjectCrossing",
        episode="3 of 10",
        progress_m=0.5 * count,
        route_m=300.0,
        real_time_factor=1.0,
        fps=60.0,
        notices=(Notice("camera: chase", 3.0),),
        blink=(count % 20) / 20,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300)
    wanted = parser.parse_args().pictures
    pygame.display.init()
    pygame.font.init()
    screen = pygame.display.set_mode(SIZE)
    font = pygame.font.Font(pygame.font.match_font("dejavusansmono"), 14)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (SIZE[1], SIZE[0], 4), np.uint8)
    raw = pixels.tobytes()
    hud = Hud(SIZE)
    times: dict[str, list[float]] = {name: [] for name in ("theirs", "ours", "their picture", "our picture")}
    for count in range(-10, wanted):
        state = state_of(max(count, 0))
        for name, found in times.items():
            began = time.thread_time()
            if name.startswith("their"):
                numpy_picture(screen, raw)
                if name == "theirs":
                    text_panel(screen, font, count)
            else:
                picture = pygame.image.frombuffer(pixels, SIZE, "BGRA")
                if name == "ours":
                    hud.draw(screen, picture, state)
                else:
                    copy_picture(screen, picture)
            if count >= 0:
                found.append(1e3 * (time.thread_time() - began))
    median = {name: statistics.median(found) for name, found in times.items()}
    for name, found in times.items():
        print(f"{name:14s} median {median[name]:6.2f} ms   p99 {float(np.percentile(found, 99)):6.2f} ms")
    print(f"whole HUD: {median['theirs'] / median['ours']:.1f} times cheaper")
    print(f"picture:   {median['their picture'] / median['our picture']:.1f} times cheaper")
    print(f"{hud.text.rendered} lines of text rendered in {wanted} pictures; theirs: {wanted * LINES}")


if __name__ == "__main__":
    main()
