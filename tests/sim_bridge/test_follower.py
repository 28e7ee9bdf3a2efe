from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from takeover.scoring.kinematics import EGO, pedals_to_actuators, step_bicycle
from takeover.sim_bridge.follower import PlanFollower
from takeover.vocabulary import (
    MAX_PLAN_AGE_S,
    PLAN_PERIOD_TICKS,
    PLAN_POINTS,
    PLAN_STEP_S,
    TICK_S,
    EgoState,
    Plan,
)

# Time (s) to x_m, y_m, yaw_rad.
Track = Callable[[float], tuple[float, ...]]


def drive(
    path: Track, speed_mps: float, seconds: float, start: list[float] | None = None
) -> NDArray[np.float64]:
    """Bicycle model behind the follower; plans at 2 Hz from the true place on `path(t)`.

    Returns the states (T, 6) of the box centre, one a tick.
    """
    state = np.array(start if start is not None else [*path(0.0)[:3], speed_mps, 0.0, 0.0])
    follower, states = PlanFollower(), [state]
    for tick in range(round(seconds / TICK_S)):
        ego = EgoState(state[0], state[1], state[2], state[3])
        if tick % PLAN_PERIOD_TICKS == 0:
            pose, planned = ego, tick
            plan = Plan(plan_from(path, tick * TICK_S, ego), tick)
        control = follower.control(plan, pose, ego, (tick - planned) * TICK_S)
        command = pedals_to_actuators(state, control.steer, control.throttle, control.brake)
        state = step_bicycle(state, command[:, 0], command[:, 1], TICK_S)
        states.append(state)
    return np.array(states)


def plan_from(path: Track, now_s: float, ego: EgoState) -> NDArray[np.float32]:
    points = np.array([path(now_s + PLAN_STEP_S * (i + 1))[:2] for i in range(PLAN_POINTS)])
    delta = points - (ego.x_m, ego.y_m)
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    return np.stack([delta @ (cos, sin), delta @ (-sin, cos)], axis=1).astype(np.float32)


def straight(speed_mps: float) -> Track:
    return lambda t: (speed_mps * t, 0.0, 0.0)


def circle(radius_m: float, speed_mps: float) -> Track:
    def path(t: float) -> tuple[float, float, float]:
        angle = speed_mps * t / radius_m
        return radius_m * math.sin(angle), radius_m * (1.0 - math.cos(angle)), angle

    return path


def stop(speed_mps: float, decel_mps2: float) -> Track:
    def path(t: float) -> tuple[float, float, float]:
        t = min(t, speed_mps / decel_mps2)
        return speed_mps * t - 0.5 * decel_mps2 * t * t, 0.0, 0.0

    return path


@pytest.mark.parametrize("speed_mps", [4.0, 8.0, 13.0])
def test_straight(speed_mps: float) -> None:
    states = drive(straight(speed_mps), speed_mps, 6.0)
    assert np.abs(states[:, 1]).max() < 0.01
    assert np.abs(states[:, 3] - speed_mps).max() < 0.15
    assert abs(states[-1, 0] - 6.0 * speed_mps) < 0.3


def test_straight_comes_back_from_an_offset() -> None:
    states = drive(straight(8.0), 8.0, 6.0, start=[0.0, 1.0, 0.0, 8.0, 0.0, 0.0])
    assert np.abs(states[60:, 1]).max() < 0.15
    assert states[:, 1].min() > -0.25  # hardly any overshoot


@pytest.mark.parametrize(("radius_m", "speed_mps"), [(60.0, 9.0), (25.0, 7.0), (11.0, 4.5)])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_curve(radius_m: float, speed_mps: float, side: float) -> None:
    left = circle(radius_m, speed_mps)
    states = drive(lambda t: tuple(np.array(left(t)) * (1.0, side, side)), speed_mps, 5.0)
    off = np.hypot(states[:, 0], states[:, 1] - side * radius_m) - radius_m
    assert np.abs(off).max() < 0.35
    assert np.abs(states[20:, 3] - speed_mps).max() < 0.3


@pytest.mark.parametrize("decel_mps2", [1.5, 3.0, 5.0])
def test_stop(decel_mps2: float) -> None:
    speed_mps = 8.0
    path = stop(speed_mps, decel_mps2)
    states = drive(path, speed_mps, speed_mps / decel_mps2 + 3.0)
    assert states[-1, 3] < 0.1
    assert abs(states[-1, 0] - path(99.0)[0]) < 0.8
    assert np.diff(states[:, 3]).min() / TICK_S > -(decel_mps2 + 3.0)


def test_start_from_standstill() -> None:
    states = drive(lambda t: (0.75 * t * t, 0.0, 0.0), 0.0, 4.0)
    assert abs(states[-1, 0] - 12.0) < 0.8


def test_zero_plan_means_stand() -> None:
    states = drive(lambda t: (0.0, 0.0, 0.0), 0.0, 3.0)
    assert np.abs(states[:, :2]).max() < 0.02
    control = PlanFollower().control(
        Plan(np.zeros((PLAN_POINTS, 2), np.float32), 0), EgoState(0, 0, 0, 8.0), EgoState(0, 0, 0, 8.0), 0.0
    )
    assert control.brake > 0.3
    assert control.throttle == 0.0


def test_an_old_plan_is_a_smooth_stop() -> None:
    plan = Plan(plan_from(straight(8.0), 0.0, EgoState(0, 0, 0, 8.0)), 0)
    pose = EgoState(0, 0, 0, 8.0)
    ego = EgoState(12.5, 0.0, 0.0, 8.0)
    control = PlanFollower().control(plan, pose, ego, MAX_PLAN_AGE_S + TICK_S)
    assert control.throttle == 0.0
    assert 0.2 < control.brake * EGO.max_brake_mps2 / 3.0 <= 1.0


def replan(profile: Callable[[float, NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Accelerations (40,) of a car that plans anew every half second from where it is, as a policy does."""
    state, follower = np.array([0.0, 0.0, 0.0, 10.0, 0.0, 0.0]), PlanFollower()
    speeds = [state[3]]
    for tick in range(40):
        ego = EgoState(*state[:4])
        if tick % PLAN_PERIOD_TICKS == 0:
            ahead_m = profile(state[3], PLAN_STEP_S * np.arange(1, PLAN_POINTS + 1))
            pose, planned = ego, tick
            plan = Plan(np.stack([ahead_m, 0.0 * ahead_m], axis=1).astype(np.float32), tick)
        control = follower.control(plan, pose, ego, (tick - planned) * TICK_S)
        command = pedals_to_actuators(state, control.steer, control.throttle, control.brake)
        state = step_bicycle(state, command[:, 0], command[:, 1], TICK_S)
        speeds.append(state[3])
    return np.diff(speeds) / TICK_S


@pytest.mark.parametrize("decel_mps2", [1.0, 1.5, 2.5])
def test_a_braking_is_as_hard_as_planned(decel_mps2: float) -> None:
    accels_mps2 = replan(lambda speed_mps, times_s: speed_mps * times_s - 0.5 * decel_mps2 * times_s**2)
    assert accels_mps2[10:].mean() == pytest.approx(-decel_mps2, rel=0.1)
    assert accels_mps2.min() > -1.3 * decel_mps2


def test_a_hesitant_plan_brakes_less_hard_than_its_first_waypoints_say() -> None:
    short_m = np.array([0.3, 0.8, 1.1, 1.2, 1.1, 0.9, 0.6, 0.3])  # 0.3 m in half a second is 2.4 m/s2
    accels_mps2 = replan(lambda speed_mps, times_s: speed_mps * times_s - short_m)
    assert -1.25 < accels_mps2.min() < -0.5
