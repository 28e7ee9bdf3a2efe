"""`loop wheel list|calibrate|test`: devices on a terminal, without a window."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pygame

from ...errors import UsageError
from . import calibration, force_feedback, profiles
from .devices import Devices
from .profiles import Profile, usb_id
from .sdl import Plugged, open_joystick, start
from .state import DeviceState

POLL_S = 0.01
PROBE_FORCE, PROBE_S, PROBE_STEER, OPEN_S = 0.2, 0.4, 0.02, 0.5
Say = Callable[[str], None]
Ask = Callable[[str], object]


def folder_of(home: Path) -> Path:
    """Where a home keeps its own profiles."""
    return home / "wheels"


def listed(home: Path) -> list[dict[str, Any]]:
    """Plugged devices with the profile of each; `profile` is "" for an unknown one."""
    _without_window()
    known = profiles.load(folder_of(home))
    rows = []
    for plugged in _plugged():
        profile = profiles.match(known, plugged.name, plugged.guid)
        rows.append(
            {
                "device": plugged.name,
                "usb": usb_id(plugged.guid),
                "guid": plugged.guid,
                "axes": plugged.axes,
                "buttons": plugged.buttons,
                "hats": plugged.hats,
                "profile": profile.name if profile is not None else "",
            }
        )
    return rows


def shipped(home: Path) -> str:
    """One line for each known profile."""
    return "\n".join(f"{known.name:16} {known.title}" for known in profiles.load(folder_of(home)))


def calibrate(home: Path, name: str, say: Say, ask: Ask) -> Path:
    """Ask for one movement after the other and write the profile that they make.

    Args:
        home: Its folder `wheels` gets the profile.
        name: Of the profile; "" makes one of the device's name.
        say: Prints a line.
        ask: Prints a question and waits for Enter.

    Returns:
        The file.

    Raises:
        UsageError: no device is plugged in, or the movements make no profile.
    """
    _without_window()
    found = _plugged()
    if not found:
        raise UsageError(
            "no wheel or gamepad is plugged in", fix="plug it in; `loop wheel list` shows what is seen"
        )
    device = found[0]
    say(f"{device.name}: {device.axes} axes, {device.buttons} buttons")
    raw = [0.0] * device.axes
    axes: dict[str, tuple[float, ...]] = {}
    buttons: dict[str, int] = {}
    for step in calibration.STEPS:
        ask(f"{step.text} Then press Enter here.")
        pressed = _read(device.instance_id, raw)
        if step.button:
            if not pressed:
                raise UsageError(f"no button was pressed at the step {step.name!r}", fix="calibrate again")
            buttons[step.name] = pressed[-1]
        else:
            axes[step.name] = tuple(raw)
    name = name or re.sub(r"[^a-z0-9]+", "_", device.name.lower()).strip("_")[:40]
    profile = calibration.fit(name, device.name, usb_id(device.guid), axes, buttons)
    profile = profile.model_copy(update={"force_sign": _force_sign(profile, device, raw, ask)})
    path = folder_of(home) / f"{profile.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profiles.dump(profile), encoding="utf-8")
    return path


def watch(home: Path, profile: str | None, seconds: float, say: Say) -> None:
    """Print steer, pedals and presses as they are, ten times a second."""
    _without_window()
    devices = Devices(profile, folder=folder_of(home))
    end_s = time.monotonic() + seconds
    shown_s = 0.0
    while (now_s := time.monotonic()) < end_s:
        state, actions = devices.poll(pygame.event.get(), now_s)
        for notice in devices.notices():
            say(notice)
        for action in actions:
            say(f"pressed: {action.value}")
        if now_s - shown_s >= 0.1:
            shown_s = now_s
            say(line_of(state))
        time.sleep(POLL_S)


def line_of(state: DeviceState) -> str:
    """A state as one line of text."""
    marker = round((1.0 - state.steer) * 10.0)
    wheel = "".join("O" if i == marker else "|" if i == 10 else "." for i in range(21))
    flags = [name for name in ("handbrake", "reverse") if getattr(state, name)]
    flags += [] if state.trusted else ["press each pedal once"]
    flags += [] if state.connected else ["not connected"]
    return (
        f"{state.source:14} left {wheel} right  throttle {state.throttle:4.0%}  brake {state.brake:4.0%}  {', '.join(flags)}"
    ).rstrip()


def _force_sign(profile: Profile, device: Plugged, raw: list[float], ask: Ask) -> Literal[-1, 0, 1]:
    """Push the free wheel a little and look which way it goes; 0 without force feedback."""
    force = force_feedback.force_of(usb_id(device.guid), 1)
    time.sleep(OPEN_S)
    if not force.follows:
        force.close()
        return 0
    try:
        ask("Wheel straight, hands off: it is pushed a little. Press Enter here.")
        _read(device.instance_id, raw)
        before = profile.steer.value(raw[profile.steer.axis])
        force.ask(force_feedback.Wish(force=PROBE_FORCE))
        time.sleep(PROBE_S)
        _read(device.instance_id, raw)
        moved = profile.steer.value(raw[profile.steer.axis]) - before
    finally:
        force.close()
    return 0 if abs(moved) < PROBE_STEER else 1 if moved > 0.0 else -1


def _without_window() -> None:
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    pygame.display.init()
    start()


def _plugged() -> list[Plugged]:
    pygame.event.pump()
    opened = (open_joystick(index) for index in range(pygame.joystick.get_count()))
    return [plugged for plugged in opened if plugged is not None]


def _read(instance_id: int, raw: list[float]) -> list[int]:
    """Take all waiting events; the axes go into `raw`, the buttons that went down are returned."""
    pressed = []
    for event in pygame.event.get():
        if getattr(event, "instance_id", None) != instance_id:
            continue
        if event.type == pygame.JOYAXISMOTION and event.axis < len(raw):
            raw[event.axis] = event.value
        elif event.type == pygame.JOYBUTTONDOWN:
            pressed.append(event.button)
    return pressed
