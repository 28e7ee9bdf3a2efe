"""The driver's seat: devices in, the driver's half of `Arbiter.decide` out, at every poll."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ..vocabulary import Authority, Control
from .devices.state import Action, DeviceState, Kind
from .handover import Handover
from .takeover_intent import GAMEPAD, KEYBOARD, WHEEL, Channel, Intent, IntentDetector, requested

_CONFIGS = {Kind.KEYBOARD: KEYBOARD, Kind.GAMEPAD: GAMEPAD, Kind.WHEEL: WHEEL}


@dataclass(frozen=True, slots=True)
class SeatInput:
    """The driver's half of a decision; the fields but `channel` are arguments of `Arbiter.decide`."""

    driver: Control | None
    takeover: bool
    handback: bool
    gas: bool
    swerve: bool
    device_lost: bool
    channel: Channel


class Seat:
    """Joins intent, buttons and the state of the machine; one per episode.

    Args:
        force_feedback: The wheel follows the commanded angle.
    """

    def __init__(self, *, force_feedback: bool = False) -> None:
        self._force_feedback = force_feedback
        self._source = ""
        self._detector = IntentDetector()
        self._before = Authority.DRIVER

    def update(
        self,
        state: DeviceState,
        actions: Collection[Action],
        handover: Handover,
        commanded: Control,
        now_s: float,
    ) -> SeatInput:
        """One poll.

        Args:
            state: Hands and feet.
            actions: Presses since the last poll.
            handover: The machine before this poll's decision.
            commanded: What was executed last.
            now_s: Present time.
        """
        if state.source != self._source:
            self._source = state.source
            config = replace(
                _CONFIGS[state.kind], force_feedback=self._force_feedback and state.kind is Kind.WHEEL
            )
            self._detector = IntentDetector(config)
            self._detector.rearm(state)
        if self._before is Authority.DRIVER and handover.authority is not Authority.DRIVER:
            self._detector.rearm(state)
        self._before = handover.authority
        if not state.connected:
            self._detector.update(state, commanded, now_s)
            return SeatInput(None, False, False, False, False, True, Channel.NONE)
        pressed, handback = requested(actions, handover.state, handover.since_s, now_s)
        intent = self._detector.update(state, commanded, now_s, button=pressed)
        if handover.authority is Authority.DRIVER:
            # A driver who has the car steers and brakes; neither may stand in the way of handing it back.
            intent = Intent(pressed, False, intent.swerve, intent.channel, intent.steer_gap)
        return SeatInput(
            state.control,
            intent.takeover,
            handback,
            intent.momentary_gas,
            intent.swerve,
            False,
            intent.channel,
        )
