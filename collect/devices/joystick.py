"""One gamepad or wheel: axes and buttons by number become hands and feet by its profile. Knows no SDL device."""

from __future__ import annotations

from .profiles import HANDBRAKE, REVERSE, REVERSE_GEAR, SHIFT, Direction, Pedal, Profile, Steer
from .state import Action, DeviceState

# direction: (component of the hat, its value)
_HAT: dict[Direction, tuple[int, int]] = {"up": (1, 1), "down": (1, -1), "right": (0, 1), "left": (0, -1)}
_ACTIONS = {action.value: action for action in Action}


class Joystick:
    """State of one plugged device.

    Args:
        profile: What its numbers mean.
        axes: How many it has.
    """

    def __init__(self, profile: Profile, axes: int) -> None:
        self.profile = profile
        self._raw = [0.0] * axes
        self._moved: set[int] = set()  # an axis says nothing before its first event
        self._held: set[int] = set()
        self._hat = (0, 0)
        self._reverse = False

    def axis(self, number: int, value: float) -> None:
        """An axis moved."""
        if 0 <= number < len(self._raw) and -1.1 <= value <= 1.1:
            self._raw[number] = min(max(value, -1.0), 1.0)
            self._moved.add(number)

    def button(self, number: int, down: bool) -> Action | None:
        """A button went down or up; the action of a press, if it is one."""
        function = self.profile.buttons.get(number)
        if not down:
            self._held.discard(number)
            return None
        self._held.add(number)
        if function == REVERSE:
            self._reverse = not self._reverse
            return None
        return _action(function)

    def hat(self, value: tuple[int, int]) -> Action | None:
        """The hat moved; the action of the newly pressed direction, if it has one."""
        before, self._hat = self._hat, value
        functions = self.profile.shifted_hat if self._holds(SHIFT) else self.profile.hat
        for direction, (component, wanted) in _HAT.items():
            if value[component] == wanted != before[component]:
                return _action(functions.get(direction))
        return None

    @property
    def trusted(self) -> bool:
        """Each pedal has moved once."""
        return {self.profile.throttle.axis, self.profile.brake.axis} <= self._moved

    def state(self, now_s: float) -> DeviceState:
        """Hands and feet now; an axis that has not moved yet is neutral."""
        profile = self.profile
        return DeviceState(
            steer=self._value(profile.steer),
            throttle=self._value(profile.throttle),
            brake=self._value(profile.brake),
            handbrake=self._holds(HANDBRAKE),
            reverse=self._reverse or self._holds(REVERSE_GEAR),
            trusted=self.trusted,
            time_s=now_s,
            source=profile.name,
            kind=profile.device_kind,
            raw=tuple(self._raw),
        )

    def _value(self, control: Steer | Pedal) -> float:
        return control.value(self._raw[control.axis]) if control.axis in self._moved else 0.0

    def _holds(self, function: str) -> bool:
        return any(self.profile.buttons.get(number) == function for number in self._held)


def _action(function: str | None) -> Action | None:
    return _ACTIONS.get(function) if function is not None else None
