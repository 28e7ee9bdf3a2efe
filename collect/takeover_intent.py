"""Does the driver want the car? Each channel has its own threshold, hold time and hysteresis; they are never summed.

MetaDrive's test, `abs(sum(action)) > 0.01`, misses a driver who steers right and accelerates at once; openpilot's
`steeringPressed` and its pedals are the model here: brake takes over, gas overrides, the wheel must mean it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from ..vocabulary import Control, HandoverState
from .devices.state import Action, DeviceState

TOGGLE_GUARD_S = 0.7


class Channel(StrEnum):
    """What told that the driver wants the car."""

    NONE = ""
    BUTTON = "button"
    BRAKE = "brake"
    STEERING = "steering"
    THROTTLE = "throttle"


@dataclass(frozen=True, slots=True)
class Intent:
    """What the driver means at one poll.

    Attributes:
        takeover: The driver wants the whole car (latched by the handover machine).
        momentary_gas: Gas alone: the driver sets the speed, the policy keeps steering.
        swerve: The wheel was turned so far or so fast that it counts at once.
        channel: What told it, the first of button, brake, steering, throttle.
        steer_gap: Wheel minus its reference, in units of `Control.steer`.
    """

    takeover: bool = False
    momentary_gas: bool = False
    swerve: bool = False
    channel: Channel = Channel.NONE
    steer_gap: float = 0.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """When one channel is pressed.

    Attributes:
        on: At this value and above it may become pressed.
        off: Below this value it is released.
        hold_s: It becomes pressed after so long without having been below `off`.
        at_once: At this value and above it is pressed without waiting; inf for never.
    """

    on: float
    off: float
    hold_s: float = 0.0
    at_once: float = math.inf

    def __post_init__(self) -> None:
        if not 0.0 < self.off <= self.on <= self.at_once:
            raise ValueError(
                f"thresholds must rise: 0 < off {self.off} <= on {self.on} <= at_once {self.at_once}"
            )
        if not self.hold_s >= 0.0:
            raise ValueError(f"hold_s is {self.hold_s}: use 0 or more")


@dataclass(frozen=True, slots=True)
class IntentConfig:
    """Thresholds of the channels; pedals in [0, 1], steering in units of `Control.steer` off the reference.

    Attributes:
        brake: Takes over. It does not wait.
        throttle: Overrides while it is pressed.
        steering: Takes over; its `at_once` is a swerve. 0.06 of a 900 degree wheel are 27 degrees.
        gas_latches: Gas takes the whole car, instead of overriding for as long as it is pressed.
        force_feedback: The wheel follows the commanded angle, which is then the reference; on the way there from where
            it was left, any position between the two is. Without it the reference is the position at which the wheel
            was left, let back to the centre as the wheel returns.
    """

    brake: Threshold = Threshold(0.06, 0.03)
    throttle: Threshold = Threshold(0.10, 0.05, 0.1)
    steering: Threshold = Threshold(0.06, 0.03, 0.15, 0.20)
    gas_latches: bool = False
    force_feedback: bool = False


WHEEL = IntentConfig()
# A thumb on a stick is less steady than a hand on a wheel; keys are deliberate and ramp up slowly.
GAMEPAD = IntentConfig(throttle=Threshold(0.15, 0.08, 0.1), steering=Threshold(0.25, 0.15, 0.1, 0.5))
KEYBOARD = IntentConfig(throttle=Threshold(0.04, 0.02, 0.1), steering=Threshold(0.03, 0.015, 0.05, 0.25))


class _Pressed:
    """One channel: a value in time to pressed or not."""

    def __init__(self, threshold: Threshold) -> None:
        self._threshold = threshold
        self._since_s: float | None = None
        self.pressed = False

    def update(self, value: float, now_s: float) -> bool:
        threshold = self._threshold
        if not value >= threshold.off:
            self._since_s, self.pressed = None, False
        elif value >= threshold.on and self._since_s is None:
            self._since_s = now_s
        if self._since_s is not None and now_s - self._since_s >= threshold.hold_s:
            self.pressed = True
        if value >= threshold.at_once:
            self.pressed = True
        return self.pressed


class IntentDetector:
    """Watches one device; the clock comes in with each update.

    Args:
        config: Thresholds.
    """

    def __init__(self, config: IntentConfig = WHEEL) -> None:
        self._config = config
        self._brake = _Pressed(config.brake)
        self._throttle = _Pressed(config.throttle)
        self._steering = _Pressed(config.steering)
        self._left_at = 0.0  # steer at which the wheel was left, never further out than the wheel is
        self._arrived = True  # with force feedback: at the commanded angle

    def rearm(self, state: DeviceState) -> None:
        """The policy gets the car now: where the wheel is left is its reference, and no press counts on."""
        self._left_at = state.steer
        self._arrived = False
        self._steering = _Pressed(self._config.steering)

    def update(self, state: DeviceState, commanded: Control, now_s: float, *, button: bool = False) -> Intent:
        """One poll.

        Args:
            state: Hands and feet.
            commanded: What is executed now: with force feedback the wheel is driven to its steer.
            now_s: Present time.
            button: A takeover button was pressed since the last poll.

        Returns:
            What the driver means. An unplugged device means nothing.
        """
        if not state.connected:
            self._brake.update(0.0, now_s)
            self._throttle.update(0.0, now_s)
            self._steering.update(0.0, now_s)
            return Intent()
        gap = state.steer - self._reference(state.steer, commanded.steer)
        control = state.control
        brake = self._brake.update(control.brake, now_s)
        gas = self._throttle.update(control.throttle, now_s)
        steering = self._steering.update(abs(gap), now_s)
        channel = Channel.NONE
        for pressed, name in (
            (button, Channel.BUTTON),
            (brake, Channel.BRAKE),
            (steering, Channel.STEERING),
            (gas, Channel.THROTTLE),
        ):
            if pressed:
                channel = name
                break
        takeover = button or brake or steering or (gas and self._config.gas_latches)
        swerve = abs(gap) >= self._config.steering.at_once
        return Intent(takeover, gas and not takeover, swerve, channel, gap)

    def _reference(self, steer: float, commanded: float) -> float:
        if self._config.force_feedback:
            self._arrived = self._arrived or abs(steer - commanded) < self._config.steering.off
            low, high = sorted((commanded if self._arrived else self._left_at, commanded))
            return min(max(steer, low), high)
        if steer * self._left_at <= 0.0:
            self._left_at = 0.0
        elif abs(steer) < abs(self._left_at):
            self._left_at = steer
        return self._left_at


def requested(
    actions: Collection[Action], state: HandoverState, since_s: float, now_s: float
) -> tuple[bool, bool]:
    """Buttons as (takeover, hand-back).

    TOGGLE takes over while the driver does not have the car and hands back while the driver has it. For 0.7 s after a
    takeover it does nothing, so that a second press in a fright does not give the car away. In a safe stop it lets
    the policy drive on, which needs no hands; T takes over there.

    Args:
        actions: Presses of this poll.
        state: Of the handover machine.
        since_s: When it was entered.
        now_s: Present time.
    """
    takeover = Action.TAKEOVER in actions
    handback = Action.HANDBACK in actions
    if Action.TOGGLE in actions:
        if state in (HandoverState.DRIVER, HandoverState.SAFE_STOP):
            handback = handback or now_s - since_s >= TOGGLE_GUARD_S
        else:
            takeover = True
    return takeover, handback
