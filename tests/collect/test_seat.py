"""The driver's seat and the arbiter together: from hands to who moves the car."""

from takeover.collect.arbiter import COCKPIT, Arbiter, Decision
from takeover.collect.devices.state import Action, DeviceState, Kind
from takeover.collect.seat import Seat, SeatInput
from takeover.collect.takeover_intent import Channel
from takeover.vocabulary import Authority, Control, HandoverState

S = HandoverState
POLICY = Control(steer=0.1, throttle=0.4)


class Cockpit:
    """Seat and arbiter at 100 Hz, as the cockpit joins them."""

    def __init__(self, *, force_feedback: bool = False) -> None:
        self.seat, self.arbiter = Seat(force_feedback=force_feedback), Arbiter(COCKPIT)
        self.now_s, self.executed = 0.0, Control()
        self.given = SeatInput(None, False, False, False, False, False, Channel.NONE)

    def poll(
        self, state: DeviceState, *actions: Action, policy: Control = POLICY, polls: int = 1
    ) -> Decision:
        for _ in range(polls):
            self.now_s += 0.01
            given = self.seat.update(state, actions, self.arbiter.handover, self.executed, self.now_s)
            decision = self.arbiter.decide(
                self.now_s,
                policy=policy,
                driver=given.driver,
                takeover=given.takeover,
                handback=given.handback,
                plan_age_s=0.1,
                gas=given.gas,
                swerve=given.swerve,
                device_lost=given.device_lost,
            )
            self.given, self.executed, actions = given, decision.control, ()
        return decision


def wheel(steer: float = 0.0, throttle: float = 0.0, brake: float = 0.0) -> DeviceState:
    return DeviceState(steer, throttle, brake, source="g29", kind=Kind.WHEEL)


def test_a_brake_stops_the_car_in_the_same_poll() -> None:
    cockpit = Cockpit()
    cockpit.poll(wheel(), polls=5)
    decision = cockpit.poll(wheel(brake=0.8))
    assert (decision.authority, decision.control.brake, cockpit.given.channel) == (
        Authority.DRIVER,
        0.8,
        Channel.BRAKE,
    )


def test_a_driver_in_a_bend_can_hand_back_and_need_not_centre_the_wheel() -> None:
    cockpit = Cockpit()
    cockpit.poll(wheel(), Action.TAKEOVER)
    cockpit.poll(wheel(steer=0.2), polls=100)
    assert cockpit.poll(wheel(steer=0.2), Action.HANDBACK).state is S.HANDBACK
    assert cockpit.poll(wheel(steer=0.2), polls=100).state is S.PROBATION
    assert cockpit.poll(wheel(steer=0.02), polls=20).authority is Authority.POLICY
    assert cockpit.poll(wheel(steer=0.3)).authority is Authority.DRIVER


def test_gas_is_a_momentary_override() -> None:
    cockpit = Cockpit()
    cockpit.poll(wheel(), polls=5)
    decision = cockpit.poll(wheel(throttle=0.9), polls=30)
    assert (decision.authority, decision.override, decision.control.steer) == (Authority.POLICY, True, 0.1)
    assert cockpit.poll(wheel()).override is False


def test_a_lost_wheel_stops_the_driver_and_not_the_policy() -> None:
    gone = DeviceState(connected=False, trusted=False, source="none")
    cockpit = Cockpit()
    assert cockpit.poll(gone, Action.TAKEOVER, polls=10).authority is Authority.POLICY
    cockpit.poll(wheel(throttle=0.5), Action.TAKEOVER, polls=10)
    decision = cockpit.poll(gone)
    assert (decision.authority, decision.control.brake) == (Authority.SAFE_STOP, 0.6)
    assert cockpit.given == SeatInput(None, False, False, False, False, True, Channel.NONE)
    keyboard = DeviceState(throttle=0.3)
    assert cockpit.poll(keyboard, polls=50).authority is Authority.SAFE_STOP
    assert cockpit.poll(keyboard, Action.TAKEOVER).authority is Authority.DRIVER


def test_the_thresholds_follow_the_device() -> None:
    cockpit = Cockpit()
    pad = DeviceState(steer=0.2, source="xbox", kind=Kind.GAMEPAD)
    cockpit.poll(DeviceState(source="xbox", kind=Kind.GAMEPAD))
    assert cockpit.poll(pad, polls=100).authority is Authority.POLICY
    assert cockpit.poll(wheel(steer=0.2), polls=100).authority is Authority.POLICY, (
        "another device: a new reference"
    )
    assert cockpit.poll(wheel(steer=0.3), polls=30).authority is Authority.DRIVER


def test_with_force_feedback_the_wheel_may_follow() -> None:
    cockpit = Cockpit(force_feedback=True)
    bend = Control(steer=0.5)
    cockpit.poll(wheel(steer=0.0), policy=Control())
    for steer in (0.1, 0.2, 0.3, 0.4, 0.5):
        cockpit.poll(wheel(steer=cockpit.executed.steer), policy=Control(steer=steer), polls=10)
    assert cockpit.poll(wheel(steer=0.5), policy=bend, polls=100).authority is Authority.POLICY
    assert cockpit.poll(wheel(steer=0.2), policy=bend).authority is Authority.DRIVER
