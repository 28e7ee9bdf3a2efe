"""What the driver is told, as one table, and which alert counts when several could.

Escalation of a request follows openpilot and UN R157: notice, prompt with sound, take over now, safe stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from ..vocabulary import HandoverState
from .handover import Handover, HelpReason, StopCause

PROMPT_AT_S = 5.0  # of the countdown: from here on with sound
NOW_AT_S = 2.0  # from here on there is nothing else to see or hear


class AlertStatus(StrEnum):
    """How an alert looks."""

    NORMAL = "normal"
    PROMPT = "prompt"
    CRITICAL = "critical"


class Priority(IntEnum):
    """Which alert wins."""

    LOW = 0
    MID = 1
    HIGH = 2
    HIGHEST = 3


class Sound(StrEnum):
    """Chimes that the cockpit synthesises."""

    NONE = "none"
    ENGAGE = "engage"
    DISENGAGE = "disengage"
    REFUSE = "refuse"
    PROMPT = "prompt"
    WARNING_SOFT = "warning_soft"
    WARNING_NOW = "warning_now"  # repeats while its alert lasts


@dataclass(frozen=True, slots=True)
class Alert:
    """One row of the table.

    Attributes:
        name: Key of the table.
        status: How it looks.
        priority: Which one wins.
        text: Large line.
        detail: Small line: what to do.
        sound: Played when the alert begins.
        duration_s: How long it stays after what it tells happened; 0 for as long as its cause lasts.
    """

    name: str
    status: AlertStatus
    priority: Priority
    text: str
    detail: str = ""
    sound: Sound = Sound.NONE
    duration_s: float = 0.0


_N, _P, _C = AlertStatus.NORMAL, AlertStatus.PROMPT, AlertStatus.CRITICAL
TABLE: dict[str, Alert] = {
    alert.name: alert
    for alert in (
        Alert("engaged", _N, Priority.LOW, "Policy drives", "", Sound.ENGAGE, 2.0),
        Alert("taken", _N, Priority.MID, "You drive", "", Sound.DISENGAGE, 2.0),
        Alert("handback", _N, Priority.MID, "Handing back", "hands off", Sound.ENGAGE, 1.0),
        Alert("probation", _N, Priority.LOW, "Policy drives", "be ready to take over again"),
        Alert("override", _N, Priority.LOW, "Gas: you set the speed", "the policy steers"),
        Alert("notice_stale_plan", _P, Priority.MID, "Be ready to take over", "the policy was late"),
        Alert("notice_low_confidence", _P, Priority.MID, "Please take over soon", "the policy is unsure"),
        Alert("notice_out_of_domain", _P, Priority.MID, "Please take over soon", "the policy does not know this"),
        Alert("prompt", _P, Priority.HIGH, "Take over", "brake, steer, or press T", Sound.PROMPT),
        Alert("now", _C, Priority.HIGHEST, "TAKE OVER NOW", "brake, steer, or press T", Sound.WARNING_NOW),
        Alert("stop_stale_plan", _C, Priority.HIGHEST, "SAFE STOP", "no plan: take over", Sound.WARNING_NOW),
        Alert("stop_unanswered", _C, Priority.HIGHEST, "SAFE STOP", "nobody took over", Sound.WARNING_NOW),
        Alert("stop_device_lost", _C, Priority.HIGHEST, "SAFE STOP", "input device lost: press T", Sound.WARNING_NOW),
        Alert("device_lost", _P, Priority.HIGH, "Input device lost", "press T on a device", Sound.WARNING_SOFT, 3.0),
        Alert("refused_steering", _P, Priority.MID, "Not yet", "turn the wheel to the ghost", Sound.REFUSE, 3.0),
        Alert("refused_no_plan", _P, Priority.MID, "Not yet", "the policy has no fresh plan", Sound.REFUSE, 3.0),
        Alert("refused_help", _P, Priority.MID, "Not yet", "the policy asks for help", Sound.REFUSE, 3.0),
        Alert("faulted", _C, Priority.HIGH, "Recording failed", "only what came before is kept", Sound.WARNING_SOFT, 5.0),
    )
}  # fmt: skip


def alert_of(
    handover: Handover,
    now_s: float,
    *,
    plan_age_s: float = 0.0,
    override: bool = False,
    device_lost: bool = False,
) -> Alert | None:
    """The alert of highest priority for the present state; None while there is nothing to say.

    Args:
        handover: The machine.
        now_s: Present time, of the same clock.
        plan_age_s: Age of the newest plan: what it leaves of a request is what counts.
        override: Gas is a momentary override now.
        device_lost: No device is armed.
    """
    countdown_s = handover.countdown_s(now_s, plan_age_s)
    found = [TABLE[name] for name in _names(handover, now_s, countdown_s, override, device_lost)]
    return max(found, key=lambda alert: alert.priority, default=None)


def _names(
    handover: Handover, now_s: float, countdown_s: float, override: bool, device_lost: bool
) -> Iterator[str]:
    state, since_s = handover.state, now_s - handover.since_s
    if state is HandoverState.SAFE_STOP:
        yield f"stop_{handover.stop or StopCause.STALE_PLAN}"
    elif state is HandoverState.REQUESTED:
        yield _urgency(countdown_s, handover.help or HelpReason.LOW_CONFIDENCE)
    elif state is HandoverState.HANDBACK:
        yield "handback"
    elif state is HandoverState.PROBATION:
        yield "probation"
    elif since_s <= TABLE["taken"].duration_s:
        yield "taken" if state is HandoverState.DRIVER else "engaged"
    if handover.refusal is not None:
        refused = f"refused_{handover.refusal}"
        if now_s - handover.refused_s <= TABLE[refused].duration_s:
            yield refused
    if device_lost:
        yield "device_lost"
    if override:
        yield "override"


def _urgency(countdown_s: float, reason: HelpReason) -> str:
    if countdown_s <= NOW_AT_S:
        return "now"
    return "prompt" if countdown_s <= PROMPT_AT_S else f"notice_{reason}"
