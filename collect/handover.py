"""The handover state machine: pure, no I/O, time comes in as an argument.

A driver's takeover is tested first in every state, so nothing can stand in its way (openpilot's rule: immediate
disengagement before everything else). What a takeover is, devices say (`takeover_intent.py`); what the driver is told
is a table (`alerts.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ..vocabulary import MAX_PLAN_AGE_S, Authority, HandoverState

BLEND_S = 0.5  # hand-back: the driver's control fades into the policy's
PROBATION_S = 10.0  # a takeover in it belongs to the same event
REQUEST_S = 7.0  # a requested takeover is comfortable within 7 s, unsafe below 4
LATE_PLAN_S = 1.0  # two plans missed: the policy asks for help before the safe stop at MAX_PLAN_AGE_S


class HandoverEvent(StrEnum):
    """What can move the machine, in the order in which it is tested."""

    TAKEOVER = "takeover"
    PLAN_STALE = "plan_stale"
    DEVICE_LOST = "device_lost"
    REQUEST_EXPIRED = "request_expired"
    REQUEST = "request"
    REQUEST_WITHDRAWN = "request_withdrawn"
    HANDBACK = "handback"
    BLEND_DONE = "blend_done"
    PROBATION_DONE = "probation_done"
    PLAN_FRESH = "plan_fresh"


class HelpReason(StrEnum):
    """Why the policy asks for help."""

    STALE_PLAN = "stale_plan"
    LOW_CONFIDENCE = "low_confidence"
    OUT_OF_DOMAIN = "out_of_domain"


class Refusal(StrEnum):
    """Why a hand-back is refused."""

    STEERING = "steering"  # wheel and plan disagree too much
    NO_PLAN = "no_plan"
    HELP = "help"  # the policy asks for help at this moment


class StopCause(StrEnum):
    """Why the car was brought to a safe stop."""

    STALE_PLAN = "stale_plan"
    UNANSWERED = "unanswered"
    DEVICE_LOST = "device_lost"


_S, _E = HandoverState, HandoverEvent
# An event that has no entry for the present state changes nothing, and the next one is tested.
TRANSITIONS: dict[tuple[HandoverState, HandoverEvent], HandoverState] = {
    (_S.AUTONOMOUS, _E.TAKEOVER): _S.DRIVER,
    (_S.REQUESTED, _E.TAKEOVER): _S.DRIVER,
    (_S.HANDBACK, _E.TAKEOVER): _S.DRIVER,
    (_S.PROBATION, _E.TAKEOVER): _S.DRIVER,
    (_S.SAFE_STOP, _E.TAKEOVER): _S.DRIVER,
    (_S.DRIVER, _E.DEVICE_LOST): _S.SAFE_STOP,
    (
        _S.HANDBACK,
        _E.DEVICE_LOST,
    ): _S.PROBATION,  # the policy has the car already; nothing is left to blend from
    (_S.AUTONOMOUS, _E.PLAN_STALE): _S.SAFE_STOP,
    (_S.REQUESTED, _E.PLAN_STALE): _S.SAFE_STOP,
    (_S.HANDBACK, _E.PLAN_STALE): _S.SAFE_STOP,
    (_S.PROBATION, _E.PLAN_STALE): _S.SAFE_STOP,
    (_S.REQUESTED, _E.REQUEST_EXPIRED): _S.SAFE_STOP,
    (_S.AUTONOMOUS, _E.REQUEST): _S.REQUESTED,
    (_S.PROBATION, _E.REQUEST): _S.REQUESTED,
    (_S.REQUESTED, _E.REQUEST_WITHDRAWN): _S.AUTONOMOUS,
    (_S.DRIVER, _E.HANDBACK): _S.HANDBACK,
    (_S.SAFE_STOP, _E.HANDBACK): _S.PROBATION,  # nobody drove: nothing to blend from
    (_S.HANDBACK, _E.BLEND_DONE): _S.PROBATION,
    (_S.PROBATION, _E.PROBATION_DONE): _S.AUTONOMOUS,
    (_S.SAFE_STOP, _E.PLAN_FRESH): _S.AUTONOMOUS,
}

AUTHORITY: dict[HandoverState, Authority] = {
    _S.AUTONOMOUS: Authority.POLICY,
    _S.REQUESTED: Authority.POLICY,
    _S.DRIVER: Authority.DRIVER,
    _S.HANDBACK: Authority.POLICY,
    _S.PROBATION: Authority.POLICY,
    _S.SAFE_STOP: Authority.SAFE_STOP,
}

_STOP_CAUSES: dict[HandoverEvent, StopCause] = {
    _E.PLAN_STALE: StopCause.STALE_PLAN,
    _E.REQUEST_EXPIRED: StopCause.UNANSWERED,
    _E.DEVICE_LOST: StopCause.DEVICE_LOST,
}


@dataclass(frozen=True, slots=True)
class HandoverConfig:
    """Times and limits.

    Attributes:
        blend_s: Length of the hand-back's blend, 0.5 to 1.
        probation_s: Length of the probation.
        request_s: Countdown of a request, 4 or more.
        withdraw_s: A request whose cause is gone for so long is withdrawn.
        max_steer_gap: A hand-back is refused above this |wheel - policy|, in units of `Control.steer`.
        latches: A safe stop for a stale plan lasts until the driver takes over or hands back. Unattended drives go on
            with the next fresh plan.
    """

    blend_s: float = BLEND_S
    probation_s: float = PROBATION_S
    request_s: float = REQUEST_S
    withdraw_s: float = 1.0
    max_steer_gap: float = math.inf
    latches: bool = False

    def __post_init__(self) -> None:
        if not 0.5 <= self.blend_s <= 1.0:
            raise ValueError(f"blend_s is {self.blend_s}: use 0.5 to 1 s")
        if not self.request_s >= 4.0:
            raise ValueError(f"request_s is {self.request_s}: people need 4 s or more")


@dataclass(frozen=True, slots=True)
class Handover:
    """The machine's whole state. `advance` returns the next one.

    Attributes:
        state: Present state.
        since_s: Time at which it was entered.
        config: Times and limits.
        help: Why help is asked for, or was when the driver answered or the stop began; None without a request.
        requested_s: When the request began; None without one.
        calm_since_s: Since when the cause of the request is gone; None while it lasts.
        reaction_s: Time from request to takeover; None for a takeover that nobody asked for.
        stop: Why the car is being stopped; None in other states.
        refusal: Why the newest hand-back was refused; None after the next change of state.
        refused_s: When.
    """

    state: HandoverState = HandoverState.AUTONOMOUS
    since_s: float = 0.0
    config: HandoverConfig = field(default_factory=HandoverConfig)
    help: HelpReason | None = None
    requested_s: float | None = None
    calm_since_s: float | None = None
    reaction_s: float | None = None
    stop: StopCause | None = None
    refusal: Refusal | None = None
    refused_s: float = 0.0

    @property
    def authority(self) -> Authority:
        """Who moves the car in this state."""
        return AUTHORITY[self.state]

    def blend(self, now_s: float) -> float:
        """Share of the policy's control in [0, 1]; below 1 only during the hand-back."""
        if self.state is not HandoverState.HANDBACK:
            return 1.0
        return min(max((now_s - self.since_s) / self.config.blend_s, 0.0), 1.0)

    def countdown_s(self, now_s: float, plan_age_s: float = 0.0) -> float:
        """Time until the safe stop if nobody answers and no new plan comes; inf when none is coming.

        A request has its budget, but a late plan lasts no longer than MAX_PLAN_AGE_S, whatever was asked for. While the
        cause is gone the request will be withdrawn and counts nothing down, unless its budget ends before that.

        Args:
            now_s: Present time.
            plan_age_s: Age of the newest plan; inf for none.
        """
        if self.state is not HandoverState.REQUESTED:
            return math.inf
        left_s = self.config.request_s - (now_s - self.since_s)
        if not plan_age_s <= LATE_PLAN_S:
            left_s = min(left_s, MAX_PLAN_AGE_S - plan_age_s)
        elif self.calm_since_s is not None and left_s > self.config.withdraw_s - (now_s - self.calm_since_s):
            return math.inf
        return max(left_s, 0.0)

    def advance(
        self,
        now_s: float,
        *,
        takeover: bool,
        handback: bool,
        plan_age_s: float,
        help: HelpReason | None = None,
        device_lost: bool = False,
        steer_gap: float = 0.0,
    ) -> Handover:
        """One step of the machine.

        Args:
            now_s: Present time, never earlier than the last call's.
            takeover: The driver takes over, or keeps the car.
            handback: The driver gives the car back; ignored when `takeover` is set, refused while no fresh plan
                exists, while the policy asks for help, and while wheel and policy disagree.
            plan_age_s: Age of the newest plan; inf for none.
            help: The policy asks for help; a late plan is a reason by itself where stops latch (the cockpit).
            device_lost: The device that drove is gone.
            steer_gap: |wheel - policy|, in units of `Control.steer`.

        Returns:
            The next state; `self` when nothing changed.
        """
        fresh = plan_age_s <= MAX_PLAN_AGE_S
        if help is None and self.config.latches and not plan_age_s <= LATE_PLAN_S:
            help = HelpReason.STALE_PLAN
        refusal = self._refusal(fresh, help, steer_gap) if handback else None
        for event in self._events(now_s, takeover, handback and refusal is None, fresh, help, device_lost):
            after = TRANSITIONS.get((self.state, event))
            if after is not None:
                return self._entered(after, event, now_s, help)
        if refusal is not None and not takeover:
            return replace(self, refusal=refusal, refused_s=now_s)
        return self._watched(now_s, help)

    def _refusal(self, fresh: bool, help: HelpReason | None, steer_gap: float) -> Refusal | None:
        if self.state not in (HandoverState.DRIVER, HandoverState.SAFE_STOP):
            return None
        if not fresh:
            return Refusal.NO_PLAN
        if help is not None:
            return Refusal.HELP
        if self.state is HandoverState.DRIVER and not steer_gap <= self.config.max_steer_gap:
            return Refusal.STEERING
        return None

    def _events(
        self,
        now_s: float,
        takeover: bool,
        handback: bool,
        fresh: bool,
        help: HelpReason | None,
        device_lost: bool,
    ) -> Iterator[HandoverEvent]:
        """What happened. A takeover is the first to be tested, and then nothing else is."""
        elapsed_s, config = now_s - self.since_s, self.config
        if takeover:
            yield HandoverEvent.TAKEOVER
            return
        if not fresh:
            yield HandoverEvent.PLAN_STALE
        if device_lost:
            yield HandoverEvent.DEVICE_LOST
        if elapsed_s >= config.request_s:
            yield HandoverEvent.REQUEST_EXPIRED
        if help is not None:
            yield HandoverEvent.REQUEST
        elif self.calm_since_s is not None and now_s - self.calm_since_s >= config.withdraw_s:
            yield HandoverEvent.REQUEST_WITHDRAWN
        if handback:
            yield HandoverEvent.HANDBACK
        if elapsed_s >= config.blend_s:
            yield HandoverEvent.BLEND_DONE
        if elapsed_s >= config.probation_s:
            yield HandoverEvent.PROBATION_DONE
        if fresh and not config.latches and self.stop in (None, StopCause.STALE_PLAN):
            yield HandoverEvent.PLAN_FRESH

    def _entered(
        self, after: HandoverState, event: HandoverEvent, now_s: float, help: HelpReason | None
    ) -> Handover:
        requested = Handover(after, now_s, self.config, help=self.help, requested_s=self.requested_s)
        if after is HandoverState.REQUESTED:
            return replace(requested, help=help, requested_s=now_s)
        if after is HandoverState.SAFE_STOP:
            return replace(requested, stop=_STOP_CAUSES[event])
        if after is HandoverState.DRIVER and self.requested_s is not None:
            return replace(requested, reaction_s=now_s - self.requested_s)
        return Handover(after, now_s, self.config)

    def _watched(self, now_s: float, help: HelpReason | None) -> Handover:
        """Keeps the book of an open request: its newest reason, and since when there is none."""
        if self.state is not HandoverState.REQUESTED:
            return self
        if help is None:
            return self if self.calm_since_s is not None else replace(self, calm_since_s=now_s)
        if help is self.help and self.calm_since_s is None:
            return self
        return replace(self, help=help, calm_since_s=None)
