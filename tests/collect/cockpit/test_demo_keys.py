"""The demo's keys follow the drive, however long its world takes to be built."""

import os
import time

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import pygame
import pytest

from takeover.collect.cockpit import demo_keys
from takeover.collect.cockpit.hud_state import HudState
from takeover.collect.cockpit.layers import Layers


class Paper:
    """A HUD that shows nothing."""

    def prepare(self, state: HudState, inset: pygame.Surface | None = None) -> Layers:
        return Layers()


def pressed(within_s: float) -> bool:
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        if any(event.key == pygame.K_t for event in pygame.event.get(pygame.KEYDOWN)):
            return True
        time.sleep(0.01)
    return False


def test_the_keys_of_a_drive_are_counted_from_its_first_movement(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame.display.init()
    pygame.event.clear()
    monkeypatch.setattr(demo_keys, "KEYS", {"drive": ((0.0, pygame.K_t, 0.0),)})
    demo = demo_keys.Demo()
    hud = demo.watching(Paper())
    hud.prepare(HudState(time_s=0.0))
    assert not pressed(0.3)
    hud.prepare(HudState(time_s=0.05))
    assert pressed(5.0)
    hud.prepare(HudState(time_s=0.10))
    assert not pressed(0.3), "once"
    demo.close()
    pygame.display.quit()
