"""The state machine, driven by an injected clock."""

import math

import pytest

from takeover.collect.arbiter import SAFE_STOP, Arbiter
from takeover.collect.handover import AUTHORITY, BLEND_S, PROBATION_S, TRANSITIONS, Handover
from takeover.vocabulary import MAX_PLAN_AGE_S, Authority, Control, HandoverState

S = HandoverState


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


def test_arbiter_hands_the_drivers_control_through_on_the_same_tick() -> None:
    arbiter = Arbiter()
    mine, its = Control(steer=0.3, brake=1.0), Control(throttle=1.0)
    first = arbiter.decide(0.0, policy=its, driver=None, takeover=False, handback=False, plan_age_s=0.0)
    assert (first.control, first.authority) == (its, Authority.POLICY)
    second = arbiter.decide(0.05, policy=its, driver=mine, takeover=True, handback=False, plan_age_s=math.inf)
    assert (second.control, second.authority) == (mine, Authority.DRIVER)


@pytest.mark.parametrize("bad", [None, Control(steer=math.nan), Control(throttle=math.inf)])
def test_arbiter_never_passes_an_unusable_policy_control(bad: Control | None) -> None:
    decision = Arbiter().decide(0.0, policy=bad, driver=None, takeover=False, handback=False, plan_age_s=0.0)
    assert (decision.control, decision.authority) == (SAFE_STOP, Authority.SAFE_STOP)


def test_arbiter_clamps_and_never_fades_in_a_brake() -> None:
    arbiter = Arbiter()
    arbiter.decide(
        0.0, policy=Control(), driver=Control(throttle=1.0), takeover=True, handback=False, plan_age_s=0.0
    )
    decision = arbiter.decide(
        0.1, policy=Control(steer=4.0, brake=0.8), driver=None, takeover=False, handback=True, plan_age_s=0.0
    )
    assert decision.state is S.HANDBACK
    assert decision.control == Control(steer=0.0, throttle=1.0, brake=0.8)
