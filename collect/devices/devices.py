"""All input devices behind one `poll`, on the main thread: one source drives, every source may press.

A wheel or pad that is there at the start drives at once. One that comes later, or comes back, drives after a press of
its own takeover button: after a plug was pulled nobody knows where its axes are. The keyboard's hand-brake works
beside every device, and its brake takes the car when no device is left. A keyboard whose window has lost the focus is
as good as unplugged until the focus, or a key, comes back; wheels and pads need no focus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pygame

from ...errors import UsageError
from . import profiles
from .force_feedback import ForceFeedback, Wish, follow, force_of
from .joystick import Joystick
from .keyboard import Keyboard
from .profiles import Profile, usb_id
from .sdl import Opener, Plugged, open_joystick, start
from .state import Action, DeviceState

KEYBOARD = "keyboard"
CENTRING = 0.35  # share of the strongest spring
START_S = 2.0  # SDL announces what is plugged in within its first polls


@dataclass(slots=True)
class _Device:
    plugged: Plugged
    joystick: Joystick


class Devices:
    """Reads SDL events; exactly one device drives at a time, the hand-brake key of the keyboard apart.

    Args:
        profile: Name of a wheel or gamepad profile, "keyboard", or None to match what is plugged in.
        folder: Own profiles, as `loop wheel calibrate` writes them; they count before the shipped ones.
        opener: Opens a device by its SDL index.
        force: Gives the forces of a wheel by its USB id and force sign.

    Raises:
        UsageError: there is no such profile.
    """

    def __init__(
        self,
        profile: str | None = None,
        *,
        folder: Path | None = None,
        opener: Opener = open_joystick,
        force: Callable[[str, int], ForceFeedback] = force_of,
    ) -> None:
        start()
        self._profiles: tuple[Profile, ...] = profiles.load(folder)
        if profile is not None and profile != KEYBOARD:
            self._profiles = tuple(known for known in self._profiles if known.name == profile)
            if not self._profiles:
                names = ", ".join(known.name for known in profiles.load(folder))
                raise UsageError(
                    f"there is no wheel profile {profile!r}", fix=f"use one of {KEYBOARD}, {names}"
                )
        self._only_keyboard = profile == KEYBOARD
        self._opener = opener
        self._force_of = force
        self._force: ForceFeedback | None = None
        self._held: tuple[float, float] | None = None  # time and steer of the last `hold`
        self._keyboard = Keyboard()
        self._devices: dict[int, _Device] = {}  # by SDL's instance id; indices change when a plug is pulled
        self._active: int | None = None  # None: the keyboard
        self._lost = False
        self._first_s: float | None = None
        self._last_s = 0.0
        self._notices: list[str] = []

    def poll(self, events: Iterable[Any], now_s: float) -> tuple[DeviceState, tuple[Action, ...]]:
        """One poll of all devices.

        Args:
            events: What `pygame.event.get()` returned.
            now_s: Present time of a monotonic clock.

        Returns:
            Hands and feet now, and the presses among the events, in order.
        """
        if self._first_s is None:
            self._first_s = self._last_s = now_s
        actions: list[Action] = []
        for event in events:
            action = self._handle(event, now_s)
            if action is not None:
                actions.append(action)
        if self._lost and self._keyboard.braking:
            self._lost = False  # whoever brakes needs no second key; the keyboard drives from here on
        self._keyboard.advance(now_s - self._last_s)
        self._last_s = now_s
        return self._state(now_s), tuple(actions)

    def notices(self) -> tuple[str, ...]:
        """What happened to devices since the last call, for people."""
        said, self._notices = tuple(self._notices), []
        return said

    @property
    def driving(self) -> Plugged | None:
        """The wheel or pad that drives; None for the keyboard."""
        return self._devices[self._active].plugged if self._active is not None else None

    @property
    def profile(self) -> Profile | None:
        """The profile of what drives; None for the keyboard."""
        return self._devices[self._active].joystick.profile if self._active is not None else None

    def rumble(self, strength: float, duration_s: float) -> None:
        """Shake the device that drives, if it can. `strength` is in [0, 1]."""
        if self.driving is not None:
            self.driving.rumble(strength, duration_s)

    @property
    def follows(self) -> bool:
        """The wheel that drives can be turned to the commanded angle: it is then the reference of a takeover."""
        return self._force is not None and self._force.follows

    def hold(self, commanded: float | None, state: DeviceState) -> None:
        """What the wheel shall do until the next call; returns at once, and does nothing without force feedback.

        Args:
            commanded: Steer that the car executes while the policy drives: the wheel follows it, if it can. None while
                the driver drives: the wheel is centred.
            state: Of this poll.
        """
        if self._force is None:
            return
        if commanded is None or not self._force.follows:
            self._held = None
            self._force.ask(Wish(centring=CENTRING))
            return
        before = self._held if self._held is not None else (state.time_s, state.steer)
        step_s = state.time_s - before[0]
        speed_per_s = (state.steer - before[1]) / step_s if step_s > 0.0 else 0.0
        self._held = (state.time_s, state.steer)
        self._force.ask(Wish(force=follow(commanded, state.steer, speed_per_s)))

    def close(self) -> None:
        """Let the wheel go free."""
        if self._force is not None:
            self._force.close()
        self._drive(None)

    def _drive(self, source: int | None) -> None:
        """Another source drives from now on."""
        if self._force is not None:
            self._force.close(wait_s=0.0)  # a poll never waits for a device
            self._force = None
        self._active = source
        if source is not None and self._devices[source].joystick.profile.kind == "wheel":
            device = self._devices[source]
            self._force = self._force_of(usb_id(device.plugged.guid), device.joystick.profile.force_sign)
            self._force.ask(Wish(centring=CENTRING))

    def _state(self, now_s: float) -> DeviceState:
        if self._lost:
            return DeviceState(connected=False, trusted=False, time_s=now_s, source="none")
        if self._active is None:
            if not self._keyboard.focused:
                return DeviceState(connected=False, trusted=False, time_s=now_s, source=KEYBOARD)
            return self._keyboard.state(now_s)
        state = self._devices[self._active].joystick.state(now_s)
        handbrake = state.handbrake or self._keyboard.handbrake
        return replace(state, handbrake=handbrake, follows=self.follows)

    def _handle(self, event: Any, now_s: float) -> Action | None:
        kind = event.type
        if kind == pygame.JOYAXISMOTION:
            device = self._devices.get(event.instance_id)
            if device is not None:
                device.joystick.axis(event.axis, event.value)
            return None
        if kind in (pygame.JOYBUTTONDOWN, pygame.JOYBUTTONUP):
            device = self._devices.get(event.instance_id)
            if device is None:
                return None
            action = device.joystick.button(event.button, kind == pygame.JOYBUTTONDOWN)
            return self._armed(event.instance_id, action)
        if kind == pygame.JOYHATMOTION:
            device = self._devices.get(event.instance_id)
            return device.joystick.hat(tuple(event.value)) if device is not None else None
        if kind == pygame.JOYDEVICEADDED:
            self._add(event.device_index, now_s)
        elif kind == pygame.JOYDEVICEREMOVED:
            self._remove(event.instance_id)
        elif kind == pygame.QUIT:
            return Action.QUIT
        else:
            if kind == pygame.WINDOWFOCUSLOST and self._active is None:
                self._notices.append("the window has lost the focus: click it, then press T to drive")
            action = self._keyboard.handle(event)
            return self._armed(None, action) if self._lost else action
        return None

    def _armed(self, source: int | None, action: Action | None) -> Action | None:
        """A takeover press arms its device when another drives, or none."""
        if action in (Action.TAKEOVER, Action.TOGGLE) and (self._lost or source != self._active):
            self._drive(source)
            self._lost = False
        return action

    def _add(self, index: int, now_s: float) -> None:
        if self._only_keyboard:
            return
        plugged = self._opener(index)
        if plugged is None or plugged.instance_id in self._devices:
            return
        profile = profiles.match(self._profiles, plugged.name, plugged.guid)
        if profile is None:
            self._notices.append(f"{plugged.name} has no profile: run `loop wheel calibrate`")
            return
        if max(profile.steer.axis, profile.throttle.axis, profile.brake.axis) >= plugged.axes:
            self._notices.append(
                f"{plugged.name} has {plugged.axes} axes, fewer than its profile {profile.name} uses"
            )
            return
        self._devices[plugged.instance_id] = _Device(plugged, Joystick(profile, plugged.axes))
        assert self._first_s is not None
        if self._active is None and not self._lost and now_s - self._first_s <= START_S:
            self._drive(plugged.instance_id)
            self._notices.append(f"{profile.title}: press each pedal once")
        else:
            self._notices.append(f"{profile.title}: press its takeover button to drive with it")

    def _remove(self, instance_id: int) -> None:
        device = self._devices.pop(instance_id, None)
        if device is None:
            return
        if instance_id == self._active:
            self._drive(None)
            self._lost = True
            self._notices.append(
                f"{device.joystick.profile.title} is gone: press T, or take over with another device"
            )
        else:
            self._notices.append(f"{device.joystick.profile.title} is gone")
