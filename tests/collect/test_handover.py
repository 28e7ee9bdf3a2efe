"""The state machine, driven by an injected clock."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeover.collect.handover import (
    AUTHORITY,
    BLEND_S,
    LATE_PLAN_S,
    PROBATION_S,
    REQUEST_S,
    TRANSITIONS,
    Handover,
    HandoverConfig,
    HandoverEvent,
    HelpReason,
    Refusal,
    StopCause,
)
from takeover.vocabulary import MAX_PLAN_AGE_S, Authority, HandoverState

S, E = HandoverState, HandoverEvent
COCKPIT = HandoverConfig(max_steer_gap=0.25, latches=True)


def step(machine: Handover, now_s: float, **given: Any) -> Handover:
    """One step in which nothing happens but what is given."""
    return machine.advance(now_s, **{"takeover": False, "handback": False, "plan_age_s": 0.0} | given)


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("handback", [False, True])
@pytest.mark.parametrize("age_s", [0.0, math.inf])
def test_a_takeover_wins_in_every_state_whatever_else_happens(state: S, handback: bool, age_s: float) -> None:
    after = Handover(state, 0.0).advance(100.0, takeover=True, handback=handback, plan_age_s=age_s)
    assert after.authority is Authority.DRIVER


@pytest.mark.parametrize("state", [S.AUTONOMOUS, S.REQUESTED, S.HANDBACK, S.PROBATION])
def test_a_stale_plan_is_a_safe_stop(state: S) -> None:
    at_limit = Handover(state, 0.0).advance(0.0, takeover=False, handback=False, plan_age_s=MAX_PLAN_AGE_S)
    over = Handover(state, 0.0).advance(0.0, takeover=False, handback=False, plan_age_s=MAX_PLAN_AGE_S + 0.01)
    assert at_limit.authority is Authority.POLICY
    assert over.authority is Authority.SAFE_STOP


def test_the_driver_keeps_the_car_when_the_policy_dies() -> None:
    assert (
        Handover(S.DRIVER).advance(9.0, takeover=False, handback=True, plan_age_s=math.inf).state is S.DRIVER
    )


def test_hand_back_blends_then_probation_then_autonomous() -> None:
    machine = Handover(S.DRIVER, 0.0).advance(1.0, takeover=False, handback=True, plan_age_s=0.0)
    assert (machine.state, machine.since_s, machine.blend(1.0)) == (S.HANDBACK, 1.0, 0.0)
    assert machine.blend(1.0 + BLEND_S / 2) == pytest.approx(0.5)
    machine = machine.advance(1.0 + BLEND_S, takeover=False, handback=False, plan_age_s=0.0)
    assert machine.state is S.PROBATION
    assert (
        machine.advance(1.0 + BLEND_S + PROBATION_S - 0.01, takeover=False, handback=False, plan_age_s=0.0)
        is machine
    )
    machine = machine.advance(1.0 + BLEND_S + PROBATION_S, takeover=False, handback=False, plan_age_s=0.0)
    assert machine.state is S.AUTONOMOUS


def test_the_table_only_uses_known_states() -> None:
    assert set(TRANSITIONS.values()) <= set(AUTHORITY)


def test_the_table_is_what_the_drawing_in_the_docs_shows() -> None:
    """Literal on purpose: a change of the table is a decision, not a side effect."""
    driver = {(state, E.TAKEOVER): S.DRIVER for state in S if state is not S.DRIVER}
    stale = {
        (state, E.PLAN_STALE): S.SAFE_STOP for state in (S.AUTONOMOUS, S.REQUESTED, S.HANDBACK, S.PROBATION)
    }
    assert (
        driver
        | stale
        | {
            (S.DRIVER, E.DEVICE_LOST): S.SAFE_STOP,
            (S.HANDBACK, E.DEVICE_LOST): S.PROBATION,
            (S.REQUESTED, E.REQUEST_EXPIRED): S.SAFE_STOP,
            (S.AUTONOMOUS, E.REQUEST): S.REQUESTED,
            (S.PROBATION, E.REQUEST): S.REQUESTED,
            (S.REQUESTED, E.REQUEST_WITHDRAWN): S.AUTONOMOUS,
            (S.DRIVER, E.HANDBACK): S.HANDBACK,
            (S.SAFE_STOP, E.HANDBACK): S.PROBATION,
            (S.HANDBACK, E.BLEND_DONE): S.PROBATION,
            (S.PROBATION, E.PROBATION_DONE): S.AUTONOMOUS,
            (S.SAFE_STOP, E.PLAN_FRESH): S.AUTONOMOUS,
        }
        == TRANSITIONS
    )


@pytest.mark.parametrize("blend_s", [0.5, 0.75, 1.0])
def test_a_blend_of_half_a_second_to_one_second(blend_s: float) -> None:
    config = HandoverConfig(blend_s=blend_s)
    machine = Handover(S.HANDBACK, 2.0, config)
    assert [machine.blend(2.0 + blend_s * share) for share in (-1, 0, 0.5, 1, 2)] == [0, 0, 0.5, 1, 1]
    assert replace(machine, state=S.PROBATION).blend(2.0) == 1.0
    assert step(machine, 2.0 + blend_s - 0.001) is machine
    assert step(machine, 2.0 + blend_s).state is S.PROBATION


@pytest.mark.parametrize(
    "wrong", [{"blend_s": 0.49}, {"blend_s": 1.01}, {"request_s": 3.99}, {"request_s": math.nan}]
)
def test_times_that_people_cannot_meet_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"is (0.49|1.01|3.99|nan)"):
        HandoverConfig(**wrong)


def test_the_times() -> None:
    """Issue's and literature's figures: blend 0.5 to 1 s, probation 10 s, 7 s to answer a request."""
    assert (BLEND_S, PROBATION_S, REQUEST_S, LATE_PLAN_S) == (0.5, 10.0, 7.0, 1.0)
    assert Handover().refused_s == 0.0
    assert step(Handover(S.DRIVER, config=COCKPIT), 1.0, handback=True).state is S.HANDBACK


def test_the_limits_of_the_times_are_allowed() -> None:
    assert HandoverConfig(blend_s=1.0, request_s=4.0).request_s == 4.0
    assert HandoverConfig().withdraw_s == 1.0


@pytest.mark.parametrize("state", [S.AUTONOMOUS, S.PROBATION])
@pytest.mark.parametrize("reason", list(HelpReason))
def test_a_request_counts_down_and_ends_in_a_latched_safe_stop(state: S, reason: HelpReason) -> None:
    machine = step(Handover(state, 0.0), 3.0, help=reason)
    assert (machine.state, machine.since_s, machine.help, machine.requested_s) == (
        S.REQUESTED,
        3.0,
        reason,
        3.0,
    )
    assert machine.authority is Authority.POLICY
    assert [machine.countdown_s(t) for t in (3.0, 5.0, 20.0)] == [REQUEST_S, REQUEST_S - 2.0, 0.0]
    assert step(machine, 3.0 + REQUEST_S - 0.001, help=reason) is machine
    stopped = step(machine, 3.0 + REQUEST_S, help=reason)
    assert (stopped.state, stopped.stop, stopped.help) == (S.SAFE_STOP, StopCause.UNANSWERED, reason)
    assert step(stopped, 100.0) is stopped
    answered = step(stopped, 101.0, takeover=True)
    assert (answered.state, answered.reaction_s, answered.help, answered.stop) == (
        S.DRIVER,
        98.0,
        reason,
        None,
    )


@pytest.mark.parametrize(
    ("reason", "age_s", "left_s"),
    [
        (HelpReason.LOW_CONFIDENCE, 0.4, REQUEST_S),
        (HelpReason.OUT_OF_DOMAIN, LATE_PLAN_S, REQUEST_S),
        (HelpReason.STALE_PLAN, 1.1, 0.4),
        (HelpReason.LOW_CONFIDENCE, 1.3, 0.2),
        (HelpReason.STALE_PLAN, 1.6, 0.0),
        (HelpReason.STALE_PLAN, math.inf, 0.0),
    ],
)
def test_the_countdown_of_a_late_plan_is_the_plans(reason: HelpReason, age_s: float, left_s: float) -> None:
    asked = Handover(S.REQUESTED, 2.0, COCKPIT, help=reason)
    assert asked.countdown_s(2.0, age_s) == pytest.approx(left_s)


@pytest.mark.parametrize("reason", [None, HelpReason.LOW_CONFIDENCE])
def test_the_countdown_ends_where_the_safe_stop_begins(reason: HelpReason | None) -> None:
    """Plans stop at 0.2 s of age; every 10 ms the countdown is compared with what then comes true."""
    machine, told = Handover(config=COCKPIT), []
    for turn in range(1000):
        now_s = 0.01 * turn
        machine = step(machine, now_s, plan_age_s=0.2 + now_s, help=reason)
        if machine.state is S.SAFE_STOP:
            break
        told.append((now_s, machine.countdown_s(now_s, 0.2 + now_s)))
    assert (machine.stop, now_s) == (StopCause.STALE_PLAN, pytest.approx(1.31))
    late = [(at_s, left_s) for at_s, left_s in told if at_s > LATE_PLAN_S - 0.2]
    assert len(late) == 50
    assert all(at_s + left_s == pytest.approx(1.3) for at_s, left_s in late)


def test_a_request_whose_cause_is_gone_counts_nothing_down() -> None:
    asked = step(Handover(config=COCKPIT), 1.0, plan_age_s=LATE_PLAN_S + 0.01)
    calm = step(asked, 1.2)
    assert (calm.calm_since_s, calm.countdown_s(1.2)) == (1.2, math.inf)
    assert calm.countdown_s(1.2, 1.25) == 0.25
    at_last = step(Handover(S.REQUESTED, 1.0, COCKPIT, help=HelpReason.LOW_CONFIDENCE), 7.5)
    assert at_last.countdown_s(7.5) == 0.5, "its budget ends before it can be withdrawn"
    assert step(at_last, 8.0).stop is StopCause.UNANSWERED


def test_without_a_request_there_is_no_countdown_and_no_reaction_time() -> None:
    assert Handover().countdown_s(5.0) == math.inf
    taken = step(Handover(), 5.0, takeover=True)
    assert (taken.state, taken.since_s, taken.reaction_s, taken.requested_s) == (S.DRIVER, 5.0, None, None)


def test_the_reaction_time_of_a_requested_takeover_is_kept_until_the_hand_back() -> None:
    asked = step(Handover(), 1.0, help=HelpReason.LOW_CONFIDENCE)
    taken = step(asked, 2.5, takeover=True)
    assert (taken.reaction_s, taken.help, taken.requested_s) == (1.5, HelpReason.LOW_CONFIDENCE, 1.0)
    back = step(taken, 4.0, handback=True)
    assert (back.state, back.reaction_s, back.help, back.requested_s) == (S.HANDBACK, None, None, None)


def test_a_request_is_withdrawn_after_its_cause_was_gone_for_a_second() -> None:
    asked = step(Handover(), 1.0, help=HelpReason.LOW_CONFIDENCE)
    calm = step(asked, 2.0)
    assert (calm.state, calm.calm_since_s) == (S.REQUESTED, 2.0)
    assert step(calm, 2.999) is calm
    again = step(calm, 2.5, help=HelpReason.LOW_CONFIDENCE)
    assert again.calm_since_s is None
    assert step(again, 2.6, help=HelpReason.LOW_CONFIDENCE) is again
    changed = step(again, 2.7, help=HelpReason.OUT_OF_DOMAIN)
    assert (changed.state, changed.since_s, changed.help) == (S.REQUESTED, 1.0, HelpReason.OUT_OF_DOMAIN)
    withdrawn = step(calm, 3.0)
    assert (withdrawn.state, withdrawn.help, withdrawn.requested_s) == (S.AUTONOMOUS, None, None)


@pytest.mark.parametrize("state", [S.DRIVER, S.HANDBACK, S.SAFE_STOP])
def test_who_drives_is_not_asked_for_help(state: S) -> None:
    machine = Handover(state, 0.0, COCKPIT)
    assert step(machine, 0.1, help=HelpReason.LOW_CONFIDENCE) is machine


def test_a_late_plan_asks_for_help_in_the_cockpit_only() -> None:
    late_s = LATE_PLAN_S + 0.01
    asked = step(Handover(config=COCKPIT), 1.0, plan_age_s=late_s)
    assert (asked.state, asked.help) == (S.REQUESTED, HelpReason.STALE_PLAN)
    named = step(Handover(config=COCKPIT), 1.0, plan_age_s=late_s, help=HelpReason.OUT_OF_DOMAIN)
    assert named.help is HelpReason.OUT_OF_DOMAIN
    assert step(Handover(config=COCKPIT), 1.0, plan_age_s=LATE_PLAN_S).state is S.AUTONOMOUS
    assert step(Handover(), 1.0, plan_age_s=late_s).state is S.AUTONOMOUS
    assert step(Handover(config=COCKPIT), 1.0, plan_age_s=math.nan).state is S.SAFE_STOP


def test_a_safe_stop_for_a_stale_plan_ends_by_itself_where_nobody_watches() -> None:
    stopped = step(Handover(), 1.0, plan_age_s=math.inf)
    assert (stopped.state, stopped.stop) == (S.SAFE_STOP, StopCause.STALE_PLAN)
    resumed = step(stopped, 2.0)
    assert (resumed.state, resumed.stop) == (S.AUTONOMOUS, None)
    assert step(Handover(S.SAFE_STOP), 2.0).state is S.AUTONOMOUS
    latched = step(Handover(config=COCKPIT), 1.0, plan_age_s=math.inf)
    assert step(latched, 2.0) is latched
    for cause in (StopCause.UNANSWERED, StopCause.DEVICE_LOST):
        held = Handover(S.SAFE_STOP, stop=cause)
        assert step(held, 2.0) is held


def test_the_policy_drives_on_after_a_safe_stop_when_the_driver_says_so() -> None:
    stopped = step(Handover(config=COCKPIT), 1.0, plan_age_s=math.inf)
    refused = step(stopped, 2.0, handback=True, plan_age_s=math.inf)
    assert (refused.state, refused.refusal, refused.refused_s) == (S.SAFE_STOP, Refusal.NO_PLAN, 2.0)
    on = step(refused, 3.0, handback=True, steer_gap=9.0)
    assert (on.state, on.refusal) == (S.PROBATION, None)


def test_a_lost_device_stops_the_car_only_while_its_driver_drives() -> None:
    stopped = step(Handover(S.DRIVER, config=COCKPIT), 1.0, device_lost=True)
    assert (stopped.state, stopped.stop, stopped.since_s) == (S.SAFE_STOP, StopCause.DEVICE_LOST, 1.0)
    assert step(stopped, 2.0, device_lost=True) is stopped
    assert step(stopped, 3.0, takeover=True).state is S.DRIVER
    assert step(Handover(S.HANDBACK, 1.0), 1.1, device_lost=True).state is S.PROBATION
    assert step(Handover(S.HANDBACK, 1.0), 1.1, device_lost=True, plan_age_s=math.inf).state is S.SAFE_STOP
    for state in (S.AUTONOMOUS, S.PROBATION):
        machine = Handover(state, 1.0)
        assert step(machine, 1.1, device_lost=True) is machine
    asked = step(Handover(), 1.0, help=HelpReason.LOW_CONFIDENCE)
    assert step(asked, 1.0 + REQUEST_S, help=HelpReason.LOW_CONFIDENCE, device_lost=True).state is S.SAFE_STOP


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"plan_age_s": math.inf}, Refusal.NO_PLAN),
        ({"plan_age_s": LATE_PLAN_S + 0.1}, Refusal.HELP),
        ({"help": HelpReason.LOW_CONFIDENCE}, Refusal.HELP),
        ({"steer_gap": 0.26}, Refusal.STEERING),
        ({"steer_gap": math.nan}, Refusal.STEERING),
    ],
)
def test_a_refused_hand_back_says_why(given: dict[str, Any], refusal: Refusal) -> None:
    machine = Handover(S.DRIVER, 0.0, COCKPIT)
    refused = step(machine, 1.0, handback=True, **given)
    assert (refused.state, refused.since_s, refused.refusal, refused.refused_s) == (
        S.DRIVER,
        0.0,
        refusal,
        1.0,
    )
    taken = step(machine, 1.0, handback=True, takeover=True, **given)
    assert taken is machine
    back = step(refused, 2.0, handback=True, steer_gap=0.25)
    assert (back.state, back.refusal) == (S.HANDBACK, None)


@pytest.mark.parametrize("state", [S.AUTONOMOUS, S.REQUESTED, S.HANDBACK, S.PROBATION])
def test_a_hand_back_of_a_car_that_the_policy_has_means_nothing(state: S) -> None:
    help = HelpReason.LOW_CONFIDENCE if state is S.REQUESTED else None
    machine = Handover(state, 1.0, COCKPIT, help=help)
    assert step(machine, 1.1, handback=True, steer_gap=1.0, help=help) is machine


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 3.0),
            st.booleans(),
            st.booleans(),
            st.sampled_from([0.0, 1.2, 1.6, math.inf, math.nan]),
            st.sampled_from([None, *HelpReason]),
            st.booleans(),
            st.floats(allow_nan=True),
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_whatever_happens_the_driver_gets_the_car_and_time_never_runs_back(
    happenings: list[tuple[float, bool, bool, float, HelpReason | None, bool, float]], latches: bool
) -> None:
    machine, now_s = Handover(config=replace(COCKPIT, latches=latches)), 0.0
    for wait_s, takeover, handback, age_s, help, lost, gap in happenings:
        now_s += wait_s
        before = machine
        machine = machine.advance(
            now_s,
            takeover=takeover,
            handback=handback,
            plan_age_s=age_s,
            help=help,
            device_lost=lost,
            steer_gap=gap,
        )
        assert not takeover or machine.authority is Authority.DRIVER
        assert machine.since_s in (before.since_s, now_s)
        assert 0.0 <= machine.blend(now_s) <= 1.0
        assert machine.reaction_s is None or machine.reaction_s >= 0.0
        assert (machine.stop is not None) == (machine.state is S.SAFE_STOP)
        assert not (machine.authority is Authority.POLICY and not age_s <= MAX_PLAN_AGE_S)
