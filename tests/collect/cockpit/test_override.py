"""In 10,000 randomised trials the override wins in the turn in which it is seen, whatever state, plan or fault there is."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from takeover.collect.cockpit.messages import STALE_ORDER, Step
from takeover.collect.cockpit.pilot import Pilot, Turn
from takeover.collect.devices.state import Action, DeviceState, Kind
from takeover.collect.handover import HelpReason
from takeover.sim_bridge.moment import Moment
from takeover.vocabulary import Authority, Command, Control, EgoState, HandoverState, Plan

TRIALS = 10_000
TURN_S = 0.01


def moment_at(tick: int, speed_mps: float = 8.0) -> Moment:
    ego = EgoState(0.05 * speed_mps * tick, 0.0, 0.0, speed_mps)
    return Moment(
        tick, tick * 0.05, ego, (), None, Command.FOLLOW_LANE, 0.0, 100.0, 0.0, 0.0, False, math.inf, 8.0
    )


def plan_at(tick: int, speed_mps: float = 8.0) -> Plan:
    along = speed_mps * 0.5 * np.arange(1, 9, dtype=np.float32)
    return Plan(np.stack([along, np.zeros_like(along)], axis=1), tick)


class Trial:
    """A drive brought into some state by random turns, with random faults."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.kind = self.random.choice(list(Kind))
        self.pilot = Pilot(moment_at(0))
        self.now_s = 1000.0
        self.tick = 0
        self.plans_come = self.random.random() < 0.7  # else the policy hangs or has died
        self.world_ticks = self.random.random() < 0.9  # else it hangs
        self.pilot.answered(plan_at(0))

    def hands(self, **changes: float | bool) -> DeviceState:
        return replace(DeviceState(time_s=self.now_s, source="test", kind=self.kind), **changes)

    def turn(self, device: DeviceState, *actions: Action) -> Turn:
        self.now_s += TURN_S * self.random.uniform(0.5, 1.5)
        turn = self.pilot.turn(device, actions, self.now_s)
        if self.world_ticks and self.random.random() < 0.2:
            self.tick += 1
            number = turn.order.number if self.random.random() < 0.95 else STALE_ORDER
            self.pilot.stepped(Step(moment_at(self.tick), turn.order.control, number, 1.0), self.now_s)
            if self.plans_come and self.tick % 10 == 0:
                self.pilot.answered(plan_at(self.tick))
        return turn

    def wander(self) -> None:
        for _ in range(self.random.randrange(1, 12)):
            self.now_s += self.random.choice([0.0, 0.0, 0.0, 0.3, 2.0])
            self.pilot.help = self.random.choice([None, None, *HelpReason])
            connected = self.random.random() < 0.95
            action = self.random.choice([None, None, Action.TAKEOVER, Action.HANDBACK, Action.TOGGLE])
            device = self.hands(
                connected=connected,
                steer=self.random.uniform(-0.02, 0.02),
                throttle=self.random.choice([0.0, 0.0, 0.5]),
            )
            self.turn(device, *([action] if action else []))


@pytest.mark.parametrize("channel", ["brake", "handbrake", "button", "steering"])
def test_the_override_wins_every_time(channel: str) -> None:
    begun_in: dict[HandoverState, int] = {}
    for seed in range(TRIALS // 4):
        trial = Trial(seed)
        trial.wander()
        trial.turn(trial.hands())  # hands off, so that what comes is new
        state = trial.pilot.handover.state
        begun_in[state] = begun_in.get(state, 0) + 1
        if channel == "brake":
            device, actions = trial.hands(brake=trial.random.uniform(0.1, 1.0)), ()
        elif channel == "handbrake":
            device, actions = trial.hands(handbrake=True), ()
        elif channel == "button":
            device, actions = trial.hands(brake=0.02), (Action.TAKEOVER,)
        else:
            device, actions = trial.hands(steer=trial.random.choice([-1.0, 1.0])), ()
        turn = trial.turn(device, *actions)
        assert turn.decision.authority is Authority.DRIVER, (seed, state)
        assert turn.order.control.brake >= device.control.brake, (seed, state)
        if channel == "steering":  # a swerve is the driver's at once, as fast as an axis can mean it
            assert math.copysign(1.0, turn.order.control.steer) == device.steer, (seed, state)
        if seed % 10:
            continue
        for _ in range(40):  # held for a while: the control is the driver's own
            turn = trial.turn(device)
        assert turn.decision.authority is Authority.DRIVER, (seed, state)
        wanted = device.control
        assert turn.order.control.steer == pytest.approx(wanted.steer), (seed, state)
        assert turn.order.control.brake == pytest.approx(wanted.brake), (seed, state)
    assert set(begun_in) == set(HandoverState)


def test_a_gap_in_the_plans_is_a_safe_stop_and_never_a_stale_control() -> None:
    pilot, now_s = Pilot(moment_at(0)), 10.0
    pilot.answered(plan_at(0))
    hands = DeviceState(kind=Kind.WHEEL)
    for tick in range(1, 60):
        for _ in range(5):
            now_s += TURN_S
            turn = pilot.turn(hands, (), now_s)
        pilot.stepped(Step(moment_at(tick), turn.order.control, turn.order.number, 1.0), now_s)
        age_s = tick * 0.05
        if age_s > 1.6:
            assert turn.decision.authority is Authority.SAFE_STOP
            assert turn.order.control.brake > 0.5
        elif age_s < 0.9:
            assert turn.decision.state is HandoverState.AUTONOMOUS
        elif 1.1 < age_s < 1.45:
            assert turn.decision.state is HandoverState.REQUESTED


def test_a_plan_ages_while_the_world_hangs() -> None:
    pilot, now_s = Pilot(moment_at(0)), 10.0
    pilot.answered(plan_at(0))
    turn = pilot.turn(DeviceState(), (), now_s)
    pilot.stepped(Step(moment_at(1), turn.order.control, turn.order.number, 1.0), now_s)
    assert pilot.plan_age_s(now_s + 2.0) == pytest.approx(2.05)


def test_the_row_belongs_to_the_order_that_the_world_had() -> None:
    pilot, now_s = Pilot(moment_at(0)), 10.0
    pilot.answered(plan_at(0))
    first = pilot.turn(DeviceState(kind=Kind.WHEEL), (), now_s)
    second = pilot.turn(DeviceState(brake=1.0, kind=Kind.WHEEL), (), now_s + TURN_S)
    assert pilot.stepped(Step(moment_at(1), first.order.control, first.order.number, 1.0), now_s) is first
    assert pilot.stepped(Step(moment_at(2), second.order.control, second.order.number, 1.0), now_s) is second
    own = pilot.stepped(Step(moment_at(3), Control(brake=0.6), STALE_ORDER, 1.0), now_s)
    assert own.decision.authority is Authority.SAFE_STOP


def test_a_new_wheel_that_rests_off_its_centre_does_not_take_over() -> None:
    pilot, now_s = Pilot(moment_at(0)), 10.0
    pilot.answered(plan_at(0))
    for source in ("g29", "t300"):  # both are wheels
        resting = DeviceState(steer=0.4 if source == "t300" else -0.3, source=source, kind=Kind.WHEEL)
        for _ in range(40):
            now_s += TURN_S
            assert pilot.turn(resting, (), now_s).decision.authority is Authority.POLICY
    turned = replace(resting, steer=0.7)
    assert pilot.turn(turned, (), now_s + TURN_S).decision.authority is Authority.DRIVER


def test_a_wheel_that_follows_is_taken_where_it_is() -> None:
    pilot, now_s = Pilot(moment_at(0)), 10.0
    pilot.answered(plan_at(0))
    wheel = DeviceState(steer=0.25, source="g29", kind=Kind.WHEEL, follows=True)
    for steer in np.linspace(0.25, 0.0, 40):  # its motor turns it to the commanded angle
        now_s += TURN_S
        wheel = replace(wheel, steer=float(steer))
        assert pilot.turn(wheel, (), now_s).decision.authority is Authority.POLICY
    for _ in range(40):  # a hand turns it away from there, gently
        now_s += TURN_S
        wheel = replace(wheel, steer=wheel.steer + 0.004)
        turn = pilot.turn(wheel, (), now_s)
    assert turn.decision.authority is Authority.DRIVER
    assert turn.order.control.steer == pytest.approx(wheel.steer), "nothing moves in: it is there already"


def test_hand_back_is_refused_while_wheel_and_plan_disagree() -> None:
    pilot, now_s = Pilot(moment_at(0)), 10.0
    pilot.answered(plan_at(0))
    pilot.turn(DeviceState(brake=1.0, kind=Kind.WHEEL), (), now_s)
    turned = DeviceState(steer=0.6, kind=Kind.WHEEL)
    assert pilot.turn(turned, (Action.HANDBACK,), now_s + 0.1).decision.authority is Authority.DRIVER
    assert pilot.handover.refusal is not None
    straight = DeviceState(kind=Kind.WHEEL)
    assert pilot.turn(straight, (Action.HANDBACK,), now_s + 0.2).decision.state is HandoverState.HANDBACK
    assert pilot.turn(straight, (), now_s + 0.3).decision.authority is Authority.POLICY
