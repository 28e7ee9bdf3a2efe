"""What the driver is told: the table, its escalation, and who wins."""

from typing import Any

import pytest

from takeover.collect.alerts import (
    NOW_AT_S,
    PROMPT_AT_S,
    TABLE,
    Alert,
    AlertStatus,
    Priority,
    Sound,
    alert_of,
)
from takeover.collect.handover import REQUEST_S, Handover, HelpReason, Refusal, StopCause
from takeover.vocabulary import HandoverState

S = HandoverState


def name_of(handover: Handover, now_s: float, **given: Any) -> str:
    alert = alert_of(handover, now_s, **given)
    return alert.name if alert is not None else ""


@pytest.mark.parametrize("reason", list(HelpReason))
def test_a_request_escalates_with_its_countdown(reason: HelpReason) -> None:
    asked = Handover(S.REQUESTED, 10.0, help=reason)
    stages = [(0.0, f"notice_{reason}"), (REQUEST_S - PROMPT_AT_S, "prompt"), (REQUEST_S - NOW_AT_S, "now")]
    for after_s, name in stages:
        assert name_of(asked, 10.0 + after_s) == name
    assert name_of(asked, 10.0 + REQUEST_S - PROMPT_AT_S - 0.01) == f"notice_{reason}"
    assert name_of(asked, 10.0 + REQUEST_S - NOW_AT_S - 0.01) == "prompt"
    alerts = [TABLE[name] for _, name in stages]
    assert [alert.priority for alert in alerts] == [Priority.MID, Priority.HIGH, Priority.HIGHEST]
    assert [alert.sound for alert in alerts] == [Sound.NONE, Sound.PROMPT, Sound.WARNING_NOW]
    assert alerts[-1].status is AlertStatus.CRITICAL


def test_a_late_plan_is_urgent_at_once_and_calm_when_a_new_one_has_come() -> None:
    asked = Handover(S.REQUESTED, 10.0, help=HelpReason.STALE_PLAN)
    assert name_of(asked, 10.0, plan_age_s=1.1) == "now"
    calm = Handover(S.REQUESTED, 10.0, help=HelpReason.STALE_PLAN, calm_since_s=10.2)
    assert name_of(calm, 10.3, plan_age_s=0.1) == "notice_stale_plan"


@pytest.mark.parametrize(
    ("handover", "now_s", "name"),
    [
        (Handover(), 0.0, "engaged"),
        (Handover(), 2.0, "engaged"),
        (Handover(), 2.1, ""),
        (Handover(S.DRIVER, 5.0), 7.0, "taken"),
        (Handover(S.DRIVER, 5.0), 7.1, ""),
        (Handover(S.HANDBACK, 5.0), 5.4, "handback"),
        (Handover(S.PROBATION, 5.0), 14.0, "probation"),
        (Handover(S.REQUESTED), 0.0, "notice_low_confidence"),
        (Handover(S.SAFE_STOP), 9.0, "stop_stale_plan"),
        (Handover(S.DRIVER, 0.0, refusal=Refusal.HELP, refused_s=9.0), 12.0, "refused_help"),
        (Handover(S.DRIVER, 0.0, refusal=Refusal.HELP, refused_s=9.0), 12.1, ""),
    ],
)
def test_each_state_has_its_alert(handover: Handover, now_s: float, name: str) -> None:
    assert name_of(handover, now_s) == name


@pytest.mark.parametrize("cause", list(StopCause))
def test_each_safe_stop_says_why(cause: StopCause) -> None:
    alert = alert_of(Handover(S.SAFE_STOP, stop=cause), 1.0)
    assert alert is not None
    assert (alert.name, alert.priority) == (f"stop_{cause}", Priority.HIGHEST)


@pytest.mark.parametrize("refusal", list(Refusal))
def test_each_refusal_says_why(refusal: Refusal) -> None:
    assert name_of(Handover(S.DRIVER, 0.0, refusal=refusal, refused_s=9.0), 9.5) == f"refused_{refusal}"


def test_the_highest_priority_wins() -> None:
    assert name_of(Handover(), 9.0, override=True) == "override"
    assert name_of(Handover(), 9.0, override=True, device_lost=True) == "device_lost"
    assert (
        name_of(Handover(S.SAFE_STOP, stop=StopCause.DEVICE_LOST), 9.0, device_lost=True)
        == "stop_device_lost"
    )
    assert name_of(Handover(), 1.0, override=True) == "engaged", "of two equals the first"


def test_every_row_can_be_read_and_every_critical_one_heard() -> None:
    for name, alert in TABLE.items():
        assert alert.name == name
        assert 0 < len(alert.text) <= 24
        assert alert.duration_s >= 0.0
        assert alert.status is not AlertStatus.CRITICAL or alert.sound is not Sound.NONE
    assert Alert("x", AlertStatus.NORMAL, Priority.LOW, "x").duration_s == 0.0
