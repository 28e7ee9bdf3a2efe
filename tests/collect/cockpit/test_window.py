"""How the window is opened."""

import os

import pygame
import pytest

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

from takeover.collect.cockpit.window import open_surface

HINT = "SDL_FRAMEBUFFER_ACCELERATION"


@pytest.mark.parametrize(
    ("driver", "own", "used"), [("x11", None, "0"), ("x11", "opengl", "opengl"), ("wayland", None, None)]
)
def test_x11_shows_shared_memory_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, driver: str, own: str | None, used: str | None
) -> None:
    monkeypatch.setenv(HINT, own or "")  # restored afterwards, whatever is set meanwhile
    if own is None:
        monkeypatch.delenv(HINT)
    monkeypatch.setattr(pygame.display, "get_driver", lambda: driver)
    surface = open_surface()
    assert surface.get_size() == (1280, 720)
    assert os.environ.get(HINT) == used
