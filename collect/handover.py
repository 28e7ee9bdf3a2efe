"""The handover state machine: pure, no I/O, time comes in as an argument.

A driver's takeover is tested first in every state, so nothing can stand in its way (openpilot's rule: immediate
disengagement before everything else). Thresholds and alerts of real devices are the cockpit's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..vocabulary import MAX_PLAN_AGE_S, Authority, HandoverState

BLEND_S = 0.5  # hand-back: the driver's control fades into the policy's
PROBATION_S = 10.0  # a takeover in it belongs to the same event


class HandoverEvent(StrEnum):
    """What can move the machine."""

    TAKEOVER = "takeover"
    PLAN_STALE = "plan_stale"
    PLAN_FRESH = "plan_fresh"
    HANDBACK = "handback"
    BLEND_DONE = "blend_done"
    PROBATION_DONE = "probation_done"


_S, _E = HandoverState, HandoverEvent
# An event that has no entry for the present state changes nothing.
TRANSITIONS: dict[tuple[HandoverState, HandoverEvent], HandoverState] = {
    (_S.AUTONOMOUS, _E.TAKEOVER): _S.DRIVER,
    (_S.REQUESTED, _E.TAKEOVER): _S.DRIVER,
    (_S.HANDBACK, _E.TAKEOVER): _S.DRIVER,
    (_S.PROBATION, _E.TAKEOVER): _S.DRIVER,
    (_S.SAFE_STOP, _E.TAKEOVER): _S.DRIVER,
    (_S.AUTONOMOUS, _E.PLAN_STALE): _S.SAFE_STOP,
    (_S.REQUESTED, _E.PLAN_STALE): _S.SAFE_STOP,
    (_S.HANDBACK, _E.PLAN_STALE): _S.SAFE_STOP,
    (_S.PROBATION, _E.PLAN_STALE): _S.SAFE_STOP,
    (_S.SAFE_STOP, _E.PLAN_FRESH): _S.AUTONOMOUS,
    (_S.DRIVER, _E.HANDBACK): _S.HANDBACK,
    (_S.HANDBACK, _E.BLEND_DONE): _S.PROBATION,
    (_S.PROBATION, _E.PROBATION_DONE): _S.AUTONOMOUS,
}

AUTHORITY: dict[HandoverState, Authority] = {
    _S.AUTONOMOUS: Authority.POLICY,
    _S.REQUESTED: Authority.POLICY,
    _S.DRIVER: Authority.DRIVER,
    _S.HANDBACK: Authority.POLICY,
    _S.PROBATION: Authority.POLICY,
    _S.SAFE_STOP: Authority.SAFE_STOP,
}


@dataclass(frozen=True, slots=True)
class Handover:
    """The machine's whole state. `advance` returns the next one.

    Attributes:
        state: Present state.
        since_s: Time at which it was entered.
    """

    state: HandoverState = HandoverState.AUTONOMOUS
    since_s: float = 0.0

    @property
    def authority(self) -> Authority:
        """Who moves the car in this state."""
        return AUTHORITY[self.state]

    def blend(self, now_s: float) -> float:
        """Share of the policy's control in [0, 1]; below 1 only during the hand-back."""
        if self.state is not HandoverState.HANDBACK:
            return 1.0
        return min(max((now_s - self.since_s) / BLEND_S, 0.0), 1.0)

    def advance(self, now_s: float, *, takeover: bool, handback: bool, plan_age_s: float) -> Handover:
        """One step of the machine.

        Args:
            now_s: Present time, never earlier than the last call's.
            takeover: The driver takes over, or keeps the car.
            handback: The driver gives the car back; ignored when `takeover` is set, and while no fresh plan exists.
            plan_age_s: Age of the newest plan; inf for none.

        Returns:
            The next state; `self` when nothing changed.
        """
        fresh = plan_age_s <= MAX_PLAN_AGE_S
        elapsed_s = now_s - self.since_s
        if takeover:
            event = HandoverEvent.TAKEOVER
        elif not fresh:
            event = HandoverEvent.PLAN_STALE
        elif handback:
            event = HandoverEvent.HANDBACK
        elif self.state is HandoverState.HANDBACK and elapsed_s >= BLEND_S:
            event = HandoverEvent.BLEND_DONE
        elif self.state is HandoverState.PROBATION and elapsed_s >= PROBATION_S:
            event = HandoverEvent.PROBATION_DONE
        else:
            event = HandoverEvent.PLAN_FRESH
        after = TRANSITIONS.get((self.state, event))
        return self if after is None else Handover(after, now_s)
