"""Does the driver want the car? One channel at a time, by an injected clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeover.collect.devices.state import Action, DeviceState
from takeover.collect.takeover_intent import (
    GAMEPAD,
    KEYBOARD,
    WHEEL,
    Channel,
    Intent,
    IntentConfig,
    IntentDetector,
    Threshold,
    requested,
)
from takeover.vocabulary import Control, HandoverState

CONFIG = IntentConfig(
    brake=Threshold(0.2, 0.1),
    throttle=Threshold(0.2, 0.1, 0.1),
    steering=Threshold(0.2, 0.1, 0.2, 0.6),
)
STRAIGHT = Control()


def watch(
    detector: IntentDetector, states: list[DeviceState], step_s: float = 0.05, commanded: Control = STRAIGHT
) -> list[Intent]:
    return [detector.update(state, commanded, 0.05 + i * step_s) for i, state in enumerate(states)]


def test_a_brake_takes_over_at_the_first_poll_and_has_hysteresis() -> None:
    brakes = [0.0, 0.199, 0.2, 0.15, 0.1, 0.099, 0.15]
    intents = watch(IntentDetector(CONFIG), [DeviceState(brake=b) for b in brakes])
    assert [i.takeover for i in intents] == [False, False, True, True, True, False, False]
    assert [i.channel for i in intents][2:4] == [Channel.BRAKE, Channel.BRAKE]


def test_the_hand_brake_is_a_brake() -> None:
    intent = IntentDetector(CONFIG).update(DeviceState(handbrake=True), STRAIGHT, 0.0)
    assert (intent.takeover, intent.channel) == (True, Channel.BRAKE)


def test_gas_alone_overrides_while_it_is_pressed_and_never_takes_over() -> None:
    gas = [0.5, 0.15, 0.15, 0.15, 0.09, 0.5]
    intents = watch(IntentDetector(CONFIG), [DeviceState(throttle=t) for t in gas])
    assert [i.momentary_gas for i in intents] == [False, False, True, True, False, False]
    assert not any(i.takeover for i in intents)
    assert intents[2].channel is Channel.THROTTLE


def test_gas_takes_over_where_the_driver_wants_that() -> None:
    latching = IntentConfig(throttle=Threshold(0.2, 0.1), gas_latches=True)
    intent = IntentDetector(latching).update(DeviceState(throttle=0.3), STRAIGHT, 0.0)
    assert (intent.takeover, intent.momentary_gas) == (True, False)


def test_gas_with_a_brake_is_a_takeover() -> None:
    intents = watch(IntentDetector(CONFIG), [DeviceState(throttle=1.0, brake=1.0)] * 4)
    assert [(i.takeover, i.momentary_gas, i.channel) for i in intents] == [(True, False, Channel.BRAKE)] * 4


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_steering_must_be_held_and_a_swerve_must_not(side: float) -> None:
    held = watch(IntentDetector(CONFIG), [DeviceState(steer=0.3 * side)] * 6)
    assert [i.takeover for i in held] == [False, False, False, False, True, True]
    assert held[-1] == Intent(True, False, False, Channel.STEERING, 0.3 * side)
    swerve = IntentDetector(CONFIG).update(DeviceState(steer=0.6 * side), STRAIGHT, 0.0)
    assert swerve == Intent(True, False, True, Channel.STEERING, 0.6 * side)


def test_a_tremble_across_the_threshold_never_takes_over() -> None:
    steers = [0.25, 0.05] * 20
    assert not any(i.takeover for i in watch(IntentDetector(CONFIG), [DeviceState(steer=s) for s in steers]))


def test_opposite_channels_do_not_cancel() -> None:
    """MetaDrive sums steering and pedals: right plus gas is nothing there."""
    intents = watch(IntentDetector(CONFIG), [DeviceState(steer=-0.3, throttle=0.3)] * 6)
    assert (intents[-1].takeover, intents[-1].channel) == (True, Channel.STEERING)


def test_with_force_feedback_the_commanded_angle_is_the_reference() -> None:
    detector = IntentDetector(IntentConfig(steering=CONFIG.steering, force_feedback=True))
    bend = Control(steer=0.5)
    assert not any(i.takeover for i in watch(detector, [DeviceState(steer=0.45)] * 9, commanded=bend))
    held = watch(detector, [DeviceState(steer=0.2)] * 6, commanded=bend)
    assert held[-1].takeover
    assert held[-1].steer_gap == pytest.approx(-0.3)


def test_a_wheel_on_its_way_to_the_commanded_angle_is_moved_by_its_motor() -> None:
    detector = IntentDetector(IntentConfig(steering=CONFIG.steering, force_feedback=True))
    bend = Control(steer=0.5)
    detector.rearm(DeviceState(steer=-0.2))
    coming = [DeviceState(steer=s) for s in (-0.2, 0.0, 0.2, 0.4)]
    assert not any(i.takeover for i in watch(detector, coming, step_s=0.3, commanded=bend))
    assert watch(detector, [DeviceState(steer=-0.5)] * 6, commanded=bend)[-1].takeover, "the other way"
    detector.rearm(DeviceState(steer=0.4))
    watch(detector, [DeviceState(steer=0.5)], commanded=bend)
    assert watch(detector, [DeviceState(steer=0.25)] * 6, commanded=bend)[-1].takeover, "it had arrived"


def test_without_force_feedback_the_position_where_the_wheel_was_left_is_the_reference() -> None:
    detector = IntentDetector(CONFIG)
    assert not any(i.takeover for i in watch(detector, [DeviceState()] * 9, commanded=Control(steer=0.8)))
    detector.rearm(DeviceState(steer=0.5))
    assert not any(i.takeover for i in watch(detector, [DeviceState(steer=0.5)] * 9))
    returning = [DeviceState(steer=s) for s in (0.4, 0.2, 0.1, 0.0, -0.05)]
    assert not any(i.takeover for i in watch(detector, returning, step_s=0.3))
    assert watch(detector, [DeviceState(steer=0.3)] * 6)[-1].takeover


def test_a_wheel_that_is_turned_further_out_than_it_was_left() -> None:
    detector = IntentDetector(CONFIG)
    detector.rearm(DeviceState(steer=-0.3))
    gaps = [i.steer_gap for i in watch(detector, [DeviceState(steer=s) for s in (-0.3, -0.55, -0.2, 0.1)])]
    assert gaps == pytest.approx([0.0, -0.25, 0.0, 0.1])


def test_rearming_forgets_a_turned_wheel_but_not_a_foot_on_the_brake() -> None:
    detector = IntentDetector(CONFIG)
    assert watch(detector, [DeviceState(steer=0.3)] * 6)[-1].takeover
    detector.rearm(DeviceState(steer=0.3))
    assert not detector.update(DeviceState(steer=0.3), STRAIGHT, 1.0).takeover
    detector.update(DeviceState(brake=0.5), STRAIGHT, 1.1)
    detector.rearm(DeviceState(brake=0.15))
    assert detector.update(DeviceState(brake=0.15), STRAIGHT, 1.2).takeover


def test_a_button_takes_over_before_all_else() -> None:
    intent = IntentDetector(CONFIG).update(DeviceState(brake=1.0), STRAIGHT, 0.0, button=True)
    assert (intent.takeover, intent.channel) == (True, Channel.BUTTON)


def test_an_unplugged_device_means_nothing_and_starts_anew() -> None:
    detector = IntentDetector(CONFIG)
    assert watch(detector, [DeviceState(steer=0.3, throttle=0.5)] * 6)[-1].takeover
    assert detector.update(DeviceState(connected=False, brake=1.0), STRAIGHT, 1.0, button=True) == Intent()
    assert not detector.update(DeviceState(steer=0.3, throttle=0.5, brake=0.15), STRAIGHT, 1.1).takeover


@pytest.mark.parametrize(
    "wrong", [(0.2, 0.3), (0.2, 0.0), (0.5, 0.2, 0.0, 0.4), (0.2, 0.1, -0.1), (0.2, 0.1, float("nan"))]
)
def test_thresholds_that_make_no_sense_are_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"thresholds must rise|hold_s is"):
        Threshold(*wrong)


def test_the_defaults_of_the_three_kinds() -> None:
    assert IntentConfig() == WHEEL
    for config in (WHEEL, GAMEPAD, KEYBOARD):
        assert config.brake.hold_s == 0.0
        assert config.throttle.hold_s > 0.0
        assert config.steering.at_once < 1.0
    assert GAMEPAD.steering.on > WHEEL.steering.on > KEYBOARD.steering.on


@given(st.lists(st.tuples(*[st.floats(allow_nan=True)] * 3), max_size=20))
def test_no_number_breaks_the_detector(values: list[tuple[float, float, float]]) -> None:
    detector = IntentDetector()
    for i, (steer, throttle, brake) in enumerate(values):
        intent = detector.update(DeviceState(steer, throttle, brake), STRAIGHT, i * 0.01)
        assert intent.takeover or not brake >= WHEEL.brake.on


S = HandoverState


@pytest.mark.parametrize(
    ("actions", "state", "since_s", "wanted"),
    [
        ((), S.AUTONOMOUS, 0.0, (False, False)),
        ((Action.TAKEOVER,), S.AUTONOMOUS, 0.0, (True, False)),
        ((Action.HANDBACK,), S.DRIVER, 0.0, (False, True)),
        ((Action.TOGGLE,), S.AUTONOMOUS, 10.0, (True, False)),
        ((Action.TOGGLE,), S.REQUESTED, 10.0, (True, False)),
        ((Action.TOGGLE,), S.HANDBACK, 10.0, (True, False)),
        ((Action.TOGGLE,), S.PROBATION, 10.0, (True, False)),
        ((Action.TOGGLE,), S.DRIVER, 9.2, (False, True)),
        ((Action.TOGGLE,), S.DRIVER, 9.4, (False, False)),
        ((Action.TOGGLE, Action.HANDBACK), S.DRIVER, 10.0, (False, True)),
        ((Action.TOGGLE,), S.SAFE_STOP, 1.0, (False, True)),
        ((Action.TOGGLE, Action.TAKEOVER), S.SAFE_STOP, 1.0, (True, True)),
    ],
)
def test_buttons(actions: tuple[Action, ...], state: S, since_s: float, wanted: tuple[bool, bool]) -> None:
    assert requested(actions, state, since_s, 10.0) == wanted
