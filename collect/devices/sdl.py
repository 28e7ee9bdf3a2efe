"""The part that touches SDL's devices: opening them, and the settings that must be there before."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import pygame

# Wheels and pads go on working when another window has the focus; with the HIDAPI drivers off, axes and buttons are
# numbered by evdev codes, as the profiles are.
_HINTS = {"SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS": "1", "SDL_JOYSTICK_HIDAPI": "0"}


@dataclass(frozen=True, slots=True)
class Plugged:
    """A device that SDL has opened. `rumble(strength, duration_s)` does nothing where there is no motor."""

    instance_id: int
    name: str
    guid: str
    axes: int
    buttons: int
    hats: int
    rumble: Callable[[float, float], None]


Opener = Callable[[int], Plugged | None]


def start() -> None:
    """Start SDL's joysticks with our settings; from now on they are announced by JOYDEVICEADDED events."""
    if pygame.joystick.get_init() and all(os.environ.get(name) == value for name, value in _HINTS.items()):
        return
    os.environ.update(_HINTS)
    pygame.joystick.quit()
    pygame.joystick.init()


def open_joystick(index: int) -> Plugged | None:
    """Open the device of a JOYDEVICEADDED event; None when it is gone again."""
    try:
        joystick = pygame.joystick.Joystick(index)
        return Plugged(
            joystick.get_instance_id(),
            joystick.get_name(),
            joystick.get_guid(),
            joystick.get_numaxes(),
            joystick.get_numbuttons(),
            joystick.get_numhats(),
            lambda strength, duration_s: _rumble(joystick, strength, duration_s),
        )
    except pygame.error:
        return None


def _rumble(joystick: pygame.joystick.JoystickType, strength: float, duration_s: float) -> None:
    joystick.rumble(strength, strength, int(duration_s * 1000.0))
