"""The arbiter: who moves the car, within which limits, and never by a number that is none."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeover.collect.arbiter import (
    COCKPIT,
    MAX_STEP_S,
    SAFE_STOP,
    UNATTENDED,
    Arbiter,
    ArbiterConfig,
    Decision,
    Rates,
)
from takeover.collect.handover import HandoverConfig, HelpReason, Refusal
from takeover.vocabulary import PLAN_HORIZON_S, Authority, Control, HandoverState

S = HandoverState
POLICY = Control(steer=0.1, throttle=0.4)


def decide(arbiter: Arbiter, now_s: float, **given: Any) -> Decision:
    """One decision with a fresh plan and no driver, but for what is given."""
    usual: dict[str, Any] = {
        "policy": POLICY,
        "driver": None,
        "takeover": False,
        "handback": False,
        "plan_age_s": 0.0,
    }
    return arbiter.decide(now_s, **usual | given)


def in_hands_of(driver: Control, config: ArbiterConfig = UNATTENDED) -> Arbiter:
    """An arbiter whose driver took the car at 0 s, long enough ago that all has settled at 1 s."""
    arbiter = Arbiter(config)
    for tick in range(101):
        decide(arbiter, tick / 100, driver=driver, takeover=True)
    return arbiter


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


def test_no_plan_at_all_is_a_safe_stop_and_the_ghost_shows_what_is_executed() -> None:
    decision = decide(Arbiter(COCKPIT), 0.0, policy=None, plan_age_s=0.0)
    assert (decision.control, decision.authority, decision.ghost_steer) == (
        SAFE_STOP,
        Authority.SAFE_STOP,
        0.0,
    )


def test_state_and_authority_are_those_of_the_machine() -> None:
    arbiter = Arbiter()
    assert (arbiter.state, arbiter.authority) == (S.AUTONOMOUS, Authority.POLICY)
    decide(arbiter, 1.0, driver=Control(), takeover=True)
    assert (arbiter.state, arbiter.authority, arbiter.handover.since_s) == (S.DRIVER, Authority.DRIVER, 1.0)


@pytest.mark.parametrize(
    "bad", [Control(steer=math.nan), Control(throttle=math.inf), Control(brake=-math.inf)]
)
def test_a_broken_axis_is_a_lost_device(bad: Control) -> None:
    arbiter = in_hands_of(Control(throttle=0.5), COCKPIT)
    decision = decide(arbiter, 1.01, driver=bad)
    assert (decision.authority, decision.control.brake) == (Authority.SAFE_STOP, SAFE_STOP.brake)
    taken = decide(in_hands_of(Control(throttle=0.5)), 1.01, driver=bad, takeover=True)
    assert (taken.authority, taken.control) == (Authority.DRIVER, SAFE_STOP)


def test_an_unplugged_device_stops_the_car_and_its_last_value_is_gone() -> None:
    arbiter = in_hands_of(Control(steer=0.5, throttle=1.0))
    decision = decide(arbiter, 1.01, device_lost=True)
    assert (decision.authority, decision.control) == (Authority.SAFE_STOP, SAFE_STOP)
    quiet = decide(in_hands_of(Control(throttle=1.0)), 1.01, driver=None)
    assert (quiet.authority, quiet.control) == (Authority.DRIVER, SAFE_STOP)


def test_gas_replaces_the_pedals_and_leaves_the_steering_to_the_policy() -> None:
    arbiter = Arbiter()
    braking = Control(steer=0.2, throttle=0.0, brake=0.5)
    decision = decide(arbiter, 0.0, policy=braking, driver=Control(steer=-0.9, throttle=0.6), gas=True)
    assert decision == Decision(Control(0.2, 0.6, 0.0), Authority.POLICY, S.AUTONOMOUS, True, 0.2)
    less = decide(arbiter, 0.1, policy=Control(throttle=0.8), driver=Control(throttle=0.3), gas=True)
    assert less.control.throttle == 0.8
    after = decide(arbiter, 0.2, policy=braking, driver=Control())
    assert (after.control, after.override) == (braking, False)
    assert decide(arbiter, 0.3, gas=True).override is False
    stopped = decide(arbiter, 0.4, driver=Control(throttle=1.0), gas=True, plan_age_s=2.0)
    assert (stopped.control, stopped.override) == (SAFE_STOP, False)
    mine = decide(arbiter, 0.5, driver=Control(throttle=0.1), gas=True, takeover=True)
    assert (mine.control, mine.override) == (Control(throttle=0.1), False)


def test_help_reaches_the_machine() -> None:
    arbiter = Arbiter(COCKPIT)
    assert decide(arbiter, 0.0, help=HelpReason.LOW_CONFIDENCE).state is S.REQUESTED
    assert arbiter.handover.help is HelpReason.LOW_CONFIDENCE


def test_without_force_feedback_the_steering_comes_in_within_three_tenths_of_a_second() -> None:
    arbiter = Arbiter(COCKPIT)
    decide(arbiter, 0.0, policy=Control(steer=0.3))
    wheel = Control(steer=0.0, throttle=0.01)
    steers = [
        decide(arbiter, 1.0 + t, driver=wheel, takeover=t == 0.0).control.steer for t in (0.0, 0.1, 0.2, 0.3)
    ]
    assert steers == pytest.approx([0.3, 0.2, 0.1, 0.0])
    assert decide(arbiter, 1.4, driver=replace(wheel, steer=0.05)).control.steer == pytest.approx(0.05)


def test_a_swerve_and_a_brake_count_at_once() -> None:
    arbiter = Arbiter(replace(COCKPIT, driver=Rates()))
    decide(arbiter, 0.0, policy=Control(steer=0.3, throttle=0.2))
    braked = decide(arbiter, 0.01, driver=Control(steer=0.0, brake=0.9), takeover=True)
    assert (braked.control.brake, braked.control.throttle) == (0.9, 0.0)
    assert braked.control.steer == pytest.approx(0.3)
    turned = decide(arbiter, 0.02, driver=Control(steer=-0.6, brake=0.9), takeover=True, swerve=True)
    assert turned.control.steer == -0.6
    still = decide(arbiter, 0.03, driver=Control(steer=-0.5), takeover=True)
    assert still.control.steer == -0.5, "once the steering is the driver's it stays there"


def test_a_second_takeover_comes_in_anew() -> None:
    arbiter = in_hands_of(Control(steer=0.0), replace(COCKPIT, policy=Rates()))
    assert decide(arbiter, 2.0, driver=Control(), handback=True).state is S.HANDBACK
    decide(arbiter, 3.0, driver=Control())
    decide(arbiter, 3.1, driver=Control(), policy=Control(steer=0.2))
    assert decide(arbiter, 3.2, driver=Control(), takeover=True).control.steer == pytest.approx(0.2)


def test_a_takeover_before_anything_was_executed_is_the_drivers_at_once() -> None:
    decision = decide(Arbiter(COCKPIT), 0.0, driver=Control(steer=0.4), takeover=True)
    assert decision.control.steer == 0.4


@pytest.mark.parametrize(
    ("source", "given"),
    [
        ("policy", {}),
        ("driver", {"driver": Control(1.0, 1.0, 0.0), "takeover": True}),
        ("stop", {"plan_age_s": 2.0}),
    ],
)
def test_every_source_has_its_rate_limits(source: str, given: dict[str, Any]) -> None:
    config = ArbiterConfig(stop_on_path=True, **{source: Rates(1.0, 2.0, 3.0)})
    arbiter = Arbiter(config)
    decide(arbiter, 0.0, policy=Control(0.0, 0.0, 1.0), plan_age_s=given.get("plan_age_s", 0.0))
    control = decide(arbiter, 0.05, policy=Control(1.0, 1.0, 0.0), **given).control
    rise = 0.0 if source == "stop" else 0.1
    assert (control.steer, control.throttle, control.brake) == pytest.approx((0.05, rise, 0.85))
    back = decide(
        arbiter, 0.06, policy=Control(-1.0, 0.0, 1.0), **given | {"driver": Control(-1.0, 0.0, 1.0)}
    ).control
    assert (back.steer, back.brake) == (pytest.approx(0.04), 1.0)


@pytest.mark.parametrize(("later_s", "step_s"), [(0.01, 0.01), (5.0, MAX_STEP_S), (-1.0, 0.0)])
def test_a_pause_of_the_loop_or_a_clock_that_jumps_widens_no_limit(later_s: float, step_s: float) -> None:
    arbiter = Arbiter(ArbiterConfig(policy=Rates(1.0, 1.0, 1.0)))
    decide(arbiter, 10.0, policy=Control())
    assert decide(arbiter, 10.0 + later_s, policy=Control(steer=1.0)).control.steer == pytest.approx(step_s)


def test_a_safe_stop_steers_along_the_plan_while_that_reaches() -> None:
    bend = Control(steer=0.4, throttle=0.9, brake=0.1)
    for age_s, steer in ((2.0, 0.4), (PLAN_HORIZON_S, 0.4), (PLAN_HORIZON_S + 0.1, 0.0)):
        decision = decide(Arbiter(COCKPIT), 0.0, policy=bend, plan_age_s=age_s)
        assert decision.control == Control(steer, 0.0, SAFE_STOP.brake)
        assert decision.authority is Authority.SAFE_STOP
    harder = decide(Arbiter(COCKPIT), 0.0, policy=Control(brake=1.0), plan_age_s=2.0)
    assert harder.control.brake == 1.0
    assert decide(Arbiter(), 0.0, policy=bend, plan_age_s=2.0).control == SAFE_STOP
    assert decide(Arbiter(COCKPIT), 0.0, policy=None).control == SAFE_STOP


def test_a_hand_back_is_refused_while_wheel_and_policy_disagree() -> None:
    arbiter = in_hands_of(Control(steer=0.5), COCKPIT)
    refused = decide(arbiter, 1.1, driver=Control(steer=0.5), handback=True)
    assert (refused.authority, arbiter.handover.refusal) == (Authority.DRIVER, Refusal.STEERING)
    assert refused.ghost_steer == POLICY.steer
    given = decide(arbiter, 1.2, driver=Control(steer=-0.1), handback=True)
    assert given.state is S.HANDBACK
    apart = in_hands_of(Control(steer=0.3), COCKPIT)
    assert (
        decide(apart, 1.1, driver=Control(steer=0.3), policy=Control(steer=-0.1), handback=True).state
        is S.DRIVER
    )


def test_the_hand_back_blends_in_from_the_wheel_as_it_is_now() -> None:
    arbiter = in_hands_of(Control(steer=0.2, throttle=0.2, brake=0.4))
    start = decide(arbiter, 2.0, driver=Control(0.2, 0.2, 0.4), handback=True)
    assert start.control == Control(0.2, 0.2, 0.4)
    half = decide(arbiter, 2.25, driver=Control(-0.2, 0.2, 0.4))
    assert (half.control.steer, half.control.throttle, half.control.brake) == pytest.approx((-0.05, 0.3, 0.2))
    done = decide(arbiter, 2.5, driver=Control(0.9, 0.0, 0.4))
    assert (done.control, done.state) == (POLICY, S.PROBATION)


def test_hands_off_do_not_disagree() -> None:
    given = decide(in_hands_of(Control(), COCKPIT), 1.1, driver=None, handback=True)
    assert given.state is S.HANDBACK


def test_the_cockpits_settings() -> None:
    plain = Decision(Control(), Authority.POLICY, S.AUTONOMOUS)
    assert (plain.override, plain.ghost_steer) == (False, 0.0)
    assert ArbiterConfig() == UNATTENDED
    assert (UNATTENDED.policy, UNATTENDED.steer_in_s, UNATTENDED.stop_on_path) == (Rates(), 0.0, False)
    assert Rates() == Rates(math.inf, math.inf, math.inf)
    assert COCKPIT.handover == HandoverConfig(max_steer_gap=0.25, latches=True)
    assert (COCKPIT.policy, COCKPIT.driver) == (Rates(2.5, 4.0, 4.0), Rates(20.0, 20.0, 20.0))
    assert (COCKPIT.stop, COCKPIT.steer_in_s, COCKPIT.stop_on_path) == (Rates(2.5, math.inf, 4.0), 0.3, True)
    assert (Control(0.0, 0.0, 0.6), 0.1) == (SAFE_STOP, MAX_STEP_S)


ANY = st.floats(allow_nan=True, allow_infinity=True)
CONTROLS = st.none() | st.builds(Control, steer=ANY, throttle=ANY, brake=ANY)
TURNS = st.tuples(
    st.floats(-0.5, 2.0),
    CONTROLS,
    CONTROLS,
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 1.2, 2.0, math.inf, math.nan]),
    st.sampled_from([None, *HelpReason]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(TURNS, max_size=20), st.sampled_from([UNATTENDED, COCKPIT]))
def test_no_command_is_ever_non_finite_out_of_range_or_stale(turns: list[Any], config: ArbiterConfig) -> None:
    arbiter, now_s = Arbiter(config), 0.0
    for wait_s, policy, driver, takeover, handback, age_s, help, gas, swerve, lost in turns:
        now_s += wait_s
        decision = arbiter.decide(
            now_s,
            policy=policy,
            driver=driver,
            takeover=takeover,
            handback=handback,
            plan_age_s=age_s,
            help=help,
            gas=gas,
            swerve=swerve,
            device_lost=lost,
        )
        control = decision.control
        assert -1.0 <= control.steer <= 1.0
        assert 0.0 <= control.throttle <= 1.0
        assert 0.0 <= control.brake <= 1.0
        assert -1.0 <= decision.ghost_steer <= 1.0
        assert not takeover or decision.authority is Authority.DRIVER
        assert decision.authority is not Authority.POLICY or (policy is not None and age_s <= 1.5)
        nobody = decision.authority is Authority.SAFE_STOP or (
            decision.authority is Authority.DRIVER and driver is None
        )
        assert not nobody or control.brake >= SAFE_STOP.brake
        if decision.authority is Authority.DRIVER and driver is not None and 0.0 <= driver.brake <= 1.0:
            finite = math.isfinite(driver.steer) and math.isfinite(driver.throttle)
            assert not finite or control.brake >= driver.brake
