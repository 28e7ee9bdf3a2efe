"""Cost of one picture of the window at 1280x720: ours against the way of CARLA's manual_control.py.

Theirs, per camera picture: numpy view, drop alpha, reverse the channels, swap the axes, make a surface, blit; then a
panel with 24 lines of text, each rendered anew, bars and a graph. Ours: a surface on the picture's own memory, one copy,
two paths in perspective, and all panels of the HUD with values that change on every picture; what the painter's thread
prepares is counted too. The way of the picture alone is measured for both as well. All run in turn in one process, so caches
are as cold as in a drive; processor time is counted, so that other processes do not stretch it.

With --shown every picture is shown too: each opens its window as it does when it runs, in a process of its own, in turn;
a third block is theirs in a window like ours. Needs DISPLAY; without a graphics card most of their time goes there.

    python -P benchmarks/hud.py [--pictures 300]
    DISPLAY=:99 python -P benchmarks/hud.py --shown [--blocks 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

if not {"--shown", "--block"} & set(sys.argv):
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import numpy as np
import pygame

from takeover.collect.cockpit.hud import Hud
from takeover.collect.cockpit.hud_state import HudState, Notice
from takeover.collect.cockpit.layers import copy_picture
from takeover.collect.cockpit.overlay import driver_path
from takeover.collect.cockpit.window import open_surface
from takeover.vocabulary import Authority, Control, HandoverState

SIZE = (1280, 720)
LINES = 24
THEIRS, THEIRS_SHARED, OURS = "theirs", "theirs in shared memory", "ours"
OTHERS_BYTES = 6_000_000  # what the rest of a drive writes between two pictures


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


def block(name: str, wanted: int) -> float:
    """Median milliseconds of processor, all threads, to draw and show a picture in a window of one's own."""
    if name == OURS:
        screen = open_surface()
    else:
        if name == THEIRS_SHARED:
            os.environ["SDL_FRAMEBUFFER_ACCELERATION"] = "0"
        pygame.display.init()
        screen = pygame.display.set_mode(SIZE, pygame.HWSURFACE | pygame.DOUBLEBUF)
    pygame.font.init()
    font, hud = pygame.font.Font(pygame.font.match_font("dejavusansmono"), 14), Hud(SIZE)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 4), np.uint8)
    raw, others = pixels.tobytes(), np.zeros(OTHERS_BYTES, np.uint8)
    found = []
    for count in range(-10, wanted):
        pygame.event.pump()
        others += 1
        state, began = state_of(max(count, 0)), time.process_time()
        if name == OURS:
            hud.draw(screen, pygame.image.frombuffer(pixels, SIZE, "BGRA"), state)
        else:
            numpy_picture(screen, raw)
            text_panel(screen, font, count)
        pygame.display.flip()
        if count >= 0:
            found.append(1e3 * (time.process_time() - began))
    return statistics.median(found)


def shown(wanted: int, blocks: int) -> None:
    """Blocks of all in turn."""
    times: dict[str, list[float]] = {name: [] for name in (THEIRS, THEIRS_SHARED, OURS)}
    for _ in range(blocks):
        for name, found in times.items():
            command = [sys.executable, "-P", __file__, "--pictures", str(wanted), "--block", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(float(done.stdout.split()[-1]))
    for name, found in times.items():
        ratios = [one / ours for one, ours in zip(found, times[OURS], strict=True)]
        print(
            f"{name:24s} median {statistics.median(found):6.2f} ms, blocks {min(found):.2f} to {max(found):.2f}; "
            f"{statistics.median(ratios):.1f} times ours ({min(ratios):.1f} to {max(ratios):.1f})"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--shown", action="store_true")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--block", choices=(THEIRS, THEIRS_SHARED, OURS))
    arguments = parser.parse_args()
    if arguments.block:
        print(block(arguments.block, arguments.pictures))
    elif arguments.shown:
        shown(arguments.pictures, arguments.blocks)
    else:
        drawn(arguments.pictures)


def drawn(wanted: int) -> None:
    """Both, and both ways of the picture, in turn."""
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
