"""The keyboard, with the keys and ramps that drivers know from CARLA's `manual_control.py`."""

from __future__ import annotations

from typing import Any

import pygame

from .state import Action, DeviceState, Kind

# manual_control adds 0.1, 0.2 and 0.0005 per millisecond in each of its 60 frames a second.
THROTTLE_PER_S = 6.0
BRAKE_PER_S = 12.0
STEER_PER_S = 0.5
MAX_STEER = 0.7
MAX_STEP_S = 0.05  # a pause of the loop does not become a jump
TAP_BRAKE = BRAKE_PER_S / 60.0  # the least that a press is worth, however short: one frame of manual_control

_LEFT = frozenset({pygame.K_a, pygame.K_LEFT})
_RIGHT = frozenset({pygame.K_d, pygame.K_RIGHT})
_GAS = frozenset({pygame.K_w, pygame.K_UP})
_BRAKE = frozenset({pygame.K_s, pygame.K_DOWN})
_HANDBRAKE = frozenset({pygame.K_SPACE})
_HELD = _LEFT | _RIGHT | _GAS | _BRAKE | _HANDBRAKE

KEYS: dict[int, Action] = {
    pygame.K_t: Action.TAKEOVER,
    pygame.K_y: Action.HANDBACK,
    pygame.K_p: Action.TOGGLE,
    pygame.K_b: Action.TOGGLE,
    pygame.K_g: Action.GOOD,
    pygame.K_m: Action.MISTAKE,
    pygame.K_DELETE: Action.DISCARD,
    pygame.K_n: Action.NOTE,
    pygame.K_RETURN: Action.PAUSE,
    pygame.K_PAUSE: Action.PAUSE,
    pygame.K_TAB: Action.CAMERA,
    pygame.K_c: Action.WEATHER,
    pygame.K_r: Action.RECORD,
    pygame.K_F1: Action.HUD,
    pygame.K_h: Action.HELP,
    pygame.K_QUESTION: Action.HELP,
    pygame.K_ESCAPE: Action.QUIT,
    pygame.K_BACKSPACE: Action.RESPAWN,
    pygame.K_z: Action.BLINK_LEFT,
    pygame.K_x: Action.BLINK_RIGHT,
    **{pygame.K_1 + i: Action(f"reason_{i + 1}") for i in range(8)},
    **{pygame.K_KP1 + i: Action(f"reason_{i + 1}") for i in range(8)},
}
HELP: tuple[tuple[str, str], ...] = (
    ("T", "take over"),
    ("Y", "hand back"),
    ("P or B", "policy on or off"),
    ("W S A D, arrows", "drive; S also takes over"),
    ("Space", "hand-brake"),
    ("Q", "reverse"),
    ("G, M, Delete", "after a takeover: good, my mistake, discard"),
    ("1 to 8", "its reason"),
    ("N", "a note"),
    ("Enter", "pause"),
    ("Tab", "camera"),
    ("C", "weather"),
    ("Z X", "blinkers"),
    ("F1", "displays on or off"),
    ("H", "this help"),
    ("Esc", "quit"),
)


class Keyboard:
    """Which keys are down, and what has become of steer and pedals since.

    A key pressed and let go within one poll is down in that poll. A key that is held acts once, however often the system
    repeats it (P would give the car to and fro); only T acts each time, because a takeover must never be lost.

    Attributes:
        focused: The window gets the keys. Without it nobody knows what is down, and everything counts as let go.
    """

    def __init__(self) -> None:
        self.focused = True
        self._pressed: set[int] = set()  # keys that act; those that drive are in `_down`
        self._down: set[int] = set()
        self._new: set[int] = set()  # pressed since the last `advance`
        self._up: set[int] = set()  # let go, but down until the poll of their press is over
        self._steer = 0.0
        self._throttle = 0.0
        self._brake = 0.0
        self._reverse = False

    def handle(self, event: Any) -> Action | None:
        """Take one SDL event; the action of a press, if it is one."""
        if event.type == pygame.KEYDOWN:
            self.focused = True
            if event.key in _HELD:
                self._down.add(event.key)
                self._new.add(event.key)
                self._up.discard(event.key)
            elif event.key in self._pressed:
                return Action.TAKEOVER if KEYS.get(event.key) is Action.TAKEOVER else None
            elif event.key == pygame.K_q:
                self._pressed.add(event.key)
                if getattr(event, "mod", 0) & pygame.KMOD_CTRL:
                    return Action.QUIT
                self._reverse = not self._reverse
            elif not getattr(event, "mod", 0) & pygame.KMOD_CTRL:
                self._pressed.add(event.key)
                return KEYS.get(event.key)
        elif event.type == pygame.KEYUP:
            self._pressed.discard(event.key)
            (self._up.add if event.key in self._new else self._down.discard)(event.key)
        elif event.type == pygame.WINDOWFOCUSLOST:
            self.focused = False
            for keys in (self._pressed, self._down, self._new, self._up):
                keys.clear()
        elif event.type == pygame.WINDOWFOCUSGAINED:
            self.focused = True
        return None

    @property
    def handbrake(self) -> bool:
        """Space is down."""
        return not self._down.isdisjoint(_HANDBRAKE)

    @property
    def braking(self) -> bool:
        """A brake key is down."""
        return self.handbrake or self._is(_BRAKE)

    def advance(self, step_s: float) -> None:
        """Let steer and pedals move for `step_s`."""
        ended = self._up - self._new
        self._down -= ended
        self._up -= ended
        step_s = min(max(step_s, 0.0), MAX_STEP_S)
        self._throttle = _ramp(self._throttle, self._is(_GAS), THROTTLE_PER_S * step_s)
        self._brake = _ramp(self._brake, self._is(_BRAKE), BRAKE_PER_S * step_s)
        if self._is(_BRAKE):
            self._brake = max(self._brake, TAP_BRAKE)
        side = self._is(_LEFT) - self._is(_RIGHT)
        turned = max(self._steer * side, 0.0) + STEER_PER_S * step_s
        self._steer = side * min(turned, MAX_STEER)
        self._new.clear()

    def state(self, now_s: float) -> DeviceState:
        """Steer and pedals now."""
        return DeviceState(
            steer=self._steer,
            throttle=self._throttle,
            brake=self._brake,
            handbrake=self.handbrake,
            reverse=self._reverse,
            time_s=now_s,
            source="keyboard",
            kind=Kind.KEYBOARD,
        )

    def _is(self, keys: frozenset[int]) -> bool:
        return not self._down.isdisjoint(keys)


def _ramp(value: float, down: bool, step: float) -> float:
    return min(value + step, 1.0) if down else 0.0
