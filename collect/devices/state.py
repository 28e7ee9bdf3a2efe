"""What a driver's hands and feet say at one poll: the only thing that the cockpit knows of its devices."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...vocabulary import Control


class Action(StrEnum):
    """One press of a key or a button."""

    TAKEOVER = "takeover"
    HANDBACK = "handback"
    TOGGLE = "toggle"  # P and B: the policy drives, or the driver does; see `takeover_intent.requested`
    GOOD = "good"
    MISTAKE = "mistake"
    DISCARD = "discard"
    REASON_1 = "reason_1"
    REASON_2 = "reason_2"
    REASON_3 = "reason_3"
    REASON_4 = "reason_4"
    REASON_5 = "reason_5"
    REASON_6 = "reason_6"
    REASON_7 = "reason_7"
    REASON_8 = "reason_8"
    NOTE = "note"
    PAUSE = "pause"
    CAMERA = "camera"
    WEATHER = "weather"
    HELP = "help"
    HUD = "hud"
    QUIT = "quit"
    RESPAWN = "respawn"
    BLINK_LEFT = "blink_left"
    BLINK_RIGHT = "blink_right"
    RECORD = "record"


class Kind(StrEnum):
    """What sort of device drives; thresholds of intent differ."""

    KEYBOARD = "keyboard"
    GAMEPAD = "gamepad"
    WHEEL = "wheel"


@dataclass(frozen=True, slots=True)
class DeviceState:
    """Hands and feet at one poll.

    Attributes:
        steer: In [-1, 1], positive left.
        throttle: In [0, 1].
        brake: In [0, 1].
        handbrake: Held.
        reverse: Reverse gear is engaged.
        connected: False from the poll at which the device that drove is unplugged, until a device is armed again by
            its takeover button; steer and pedals are neutral meanwhile.
        trusted: Each pedal axis has moved once. Until then an axis reads as released: SDL reports the middle of a
            pedal's travel before its first event.
        time_s: Of the poll.
        source: Name of the profile that drives: "keyboard", "g29", ...
        kind: Sort of that device.
        follows: It is a wheel that turns itself to the commanded angle, which is then the reference of a takeover.
        raw: All axes of the device in its own order, untouched, for the record; empty for the keyboard.
    """

    steer: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0
    handbrake: bool = False
    reverse: bool = False
    connected: bool = True
    trusted: bool = True
    time_s: float = 0.0
    source: str = "keyboard"
    kind: Kind = Kind.KEYBOARD
    follows: bool = False
    raw: tuple[float, ...] = ()

    @property
    def control(self) -> Control:
        """The control that these hands and feet ask for; the hand-brake is a full brake."""
        return Control(self.steer, self.throttle, 1.0 if self.handbrake else self.brake)
