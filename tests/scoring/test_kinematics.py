from __future__ import annotations

import math

import numpy as np
import pytest

from takeover.scoring.kinematics import (
    ACCEL,
    EGO,
    SPEED,
    STEER,
    YAW,
    VehicleParams,
    X,
    Y,
    pedals_to_actuators,
    rollout_actions,
    rollout_states,
    step_bicycle,
)

REST = np.zeros(6)


def test_straight_rollout_is_exact() -> None:
    points = rollout_actions([10.0], np.full((1, 8), -2.0), np.zeros((1, 8)), 0.5)[0]
    t = 0.5 * np.arange(1, 9)
    assert points[:, 0] == pytest.approx(10.0 * t - t * t)
    assert points[:, 1] == pytest.approx(np.zeros(8))


def test_rollout_stops_within_a_step_and_never_reverses() -> None:
    states = rollout_states([5.0], np.full((1, 8), -4.0), np.zeros((1, 8)), 0.5)[0]
    assert states[-1, 0] == pytest.approx(25.0 / 8.0)  # v^2 / 2a
    assert states[3:, 3] == pytest.approx(np.zeros(5))
    assert (np.diff(states[:, 0]) >= 0).all()
    assert rollout_states([-3.0], np.zeros((1, 1)), np.zeros((1, 1)), 0.5)[0, 0, 0] == 0.0


def test_curved_rollout_is_an_arc_of_the_rear_axle() -> None:
    curvature, speed = 0.05, 6.0
    states = rollout_states([speed], np.zeros((1, 8)), np.full((1, 8), curvature), 0.5)[0]
    turn = curvature * speed * 0.5 * np.arange(1, 9)
    back = EGO.rear_to_centre_m
    rear = np.stack([np.sin(turn) / curvature - back, (1 - np.cos(turn)) / curvature], 1)
    centre = rear + back * np.stack([np.cos(turn), np.sin(turn)], 1)
    assert states[:, 2] == pytest.approx(turn)
    assert states[:, :2] == pytest.approx(centre)


def test_rollout_keeps_within_the_car() -> None:
    wild = rollout_states([15.0], np.full((1, 4), 50.0), np.full((1, 4), 9.0), 0.5)[0]
    assert wild[0, 3] == pytest.approx(15.0 + 0.5 * EGO.max_accel_mps2)
    assert wild[0, 2] <= EGO.grip_mps2 / 15.0**2 * (15.0 + 0.875) * 0.5 + 1e-9  # grip limits the bend
    slow = rollout_states([1.0], np.zeros((1, 1)), np.full((1, 1), 9.0), 0.5)[0]
    assert slow[0, 2] == pytest.approx(EGO.max_curvature_pm * 0.5)


def test_rollout_of_a_batch_equals_single_ones() -> None:
    random = np.random.default_rng(1)
    speed, accel, bend = random.uniform(0, 15, 5), random.normal(0, 2, (5, 8)), random.normal(0, 0.05, (5, 8))
    together = rollout_actions(speed, accel, bend, 0.5)
    for i in range(5):
        assert together[i] == pytest.approx(
            rollout_actions(speed[i : i + 1], accel[i : i + 1], bend[i : i + 1], 0.5)[0]
        )


def test_actuators_lag_first_order() -> None:
    state = step_bicycle(REST, 2.0, 0.3, 0.05)
    assert state[ACCEL] == pytest.approx(2.0 * (1 - math.exp(-0.05 / EGO.accel_lag_s)))
    assert state[STEER] == pytest.approx(0.3 * (1 - math.exp(-0.05 / EGO.steer_lag_s)))
    assert REST[ACCEL] == 0.0  # the given state is not changed


def test_steady_turn_has_the_bicycles_radius() -> None:
    state = np.array([0.0, 0.0, 0.0, 5.0, 0.2, 0.0])
    after = step_bicycle(state, 0.0, 0.2, 0.05)
    assert after[YAW] == pytest.approx(5.0 * math.tan(0.2) / EGO.wheel_base_m * 0.05)


def test_grip_widens_the_path_and_shares_with_braking() -> None:
    state = np.array([0.0, 0.0, 0.0, 20.0, 0.5, -8.0])
    after = step_bicycle(state, -8.0, 0.5, 0.05)
    assert after[YAW] == pytest.approx(EGO.grip_mps2 / 20.0 * 0.05, rel=1e-6)
    assert after[SPEED] == pytest.approx(20.0)  # nothing is left for braking
    wet = VehicleParams(grip_mps2=3.0)
    assert step_bicycle(state, -8.0, 0.0, 0.05, wet)[SPEED] >= 20.0 - 3.0 * 0.05


def test_brake_holds_and_reverse_moves_back() -> None:
    state = np.array([0.0, 0.0, 0.0, 3.0, 0.0, 0.0])
    for _ in range(60):
        command = pedals_to_actuators(state, 0.0, 0.0, 1.0)
        state = step_bicycle(state, command[:, 0], command[:, 1], 0.05)
    assert state[SPEED] == 0.0
    assert state[ACCEL] == 0.0
    where = state[X]
    for _ in range(20):
        command = pedals_to_actuators(state, 0.0, 0.5, 0.0, reverse=True)
        state = step_bicycle(state, command[:, 0], command[:, 1], 0.05)
    assert state[SPEED] < 0.0
    assert state[X] < where
    assert state[Y] == 0.0


def test_throttle_is_limited_by_power() -> None:
    fast = np.array([0.0, 0.0, 0.0, 40.0, 0.0, 0.0])
    drag = EGO.rolling_mps2 + EGO.drag_per_m * 1600.0
    assert pedals_to_actuators(fast, 0.0, 1.0, 0.0)[0, 0] == pytest.approx(EGO.power_w_per_kg / 40.0 - drag)
    assert pedals_to_actuators(REST, -2.0, 0.0, 0.0)[0, 1] == -EGO.max_steer_rad


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="accelerations"):
        rollout_actions([1.0], np.zeros((1, 8)), np.zeros((1, 7)), 0.5)
