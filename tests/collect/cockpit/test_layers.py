"""What lies over the picture: prepared on one thread, put on another, in its order."""

import os
import time

import pytest

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import pygame

from takeover.collect.cockpit.hud_state import HudState
from takeover.collect.cockpit.layers import GROUND, Layers
from takeover.collect.cockpit.painter import Painter

SIZE = (40, 20)
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def square(colour: tuple[int, int, int]) -> pygame.Surface:
    made = pygame.Surface((10, 10))
    made.fill(colour)
    return made


def window() -> pygame.Surface:
    return pygame.Surface(SIZE, 0, 32)


def at(surface: pygame.Surface, x: int, y: int) -> tuple[int, ...]:
    return tuple(surface.get_at((x, y)))[:3]


def test_later_steps_lie_over_earlier_ones_and_a_list_can_be_put_again() -> None:
    layers = Layers()
    layers.polygon(RED, [(0, 0), (20, 0), (20, 19), (0, 19)])
    layers.blit(square(GREEN), (0, 0))
    layers.fill(BLUE, (5, 5, 2, 2))
    layers.blit(square(RED), (30, 0))
    layers.blit(square(GREEN), (35, 0))
    layers.lines(BLUE, [(0, 15), (19, 15)], 1)
    picture = window()
    picture.fill((9, 9, 9))
    for _ in range(2):
        shown = window()
        layers.put(shown, picture)
        assert at(shown, 1, 1) == GREEN
        assert at(shown, 5, 5) == BLUE
        assert at(shown, 15, 5) == RED, "the polygon is under the squares"
        assert (at(shown, 31, 1), at(shown, 36, 1)) == (RED, GREEN)
        assert at(shown, 3, 15) == BLUE
        assert at(shown, 25, 19) == (9, 9, 9)


def test_the_title_is_for_a_window_without_a_picture() -> None:
    layers = Layers()
    layers.waiting = square(GREEN)
    without, with_one = window(), window()
    layers.put(without, None)
    layers.put(with_one, window())
    assert (at(without, 20, 10), at(without, 1, 1)) == (GREEN, GROUND)
    assert at(with_one, 20, 10) == (0, 0, 0)


class Hud:
    """Notes what it prepares; may stall or fail."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.stall_s = 0.0
        self.fails = False

    def prepare(self, state: HudState, inset: pygame.Surface | None = None) -> Layers:
        if self.fails:
            raise ZeroDivisionError
        time.sleep(self.stall_s)
        self.seen.append(state.time_s)
        return Layers()


def taken(painter: Painter, within_s: float = 2.0) -> Layers | None:
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        found = painter.take()
        if found is not None:
            return found
        time.sleep(0.005)
    return None


def test_a_stalled_hud_holds_up_nobody_and_older_states_are_dropped() -> None:
    hud = Hud()
    hud.stall_s = 0.3
    painter = Painter(hud, fps=1000.0)
    painter.show(HudState(time_s=0.0))
    time.sleep(0.05)
    begun_s = time.monotonic()
    for tick in range(1, 50):
        painter.show(HudState(time_s=0.05 * tick))
        assert painter.take() is None
    assert time.monotonic() - begun_s < 0.2
    assert taken(painter) is not None
    assert taken(painter) is not None
    painter.close()
    assert hud.seen == [0.0, pytest.approx(2.45)]


def test_what_the_hud_raises_comes_to_who_shows_it() -> None:
    hud = Hud()
    hud.fails = True
    painter = Painter(hud)
    painter.show(HudState())
    with pytest.raises(ZeroDivisionError):
        taken(painter)
    painter.close()
