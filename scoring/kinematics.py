"""The one bicycle model: embedded server, action tokens and rollouts of plans all move a car by it.

Poses are of the centre of the box on the ground; the car turns about its rear axle, `rear_to_centre_m` back.
Right-handed frames, yaw and steer positive left. Kernels are compiled once (cached on disk), never parallel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from operator import attrgetter

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

X, Y, YAW, SPEED, STEER, ACCEL = range(6)  # columns of a bicycle state


@dataclass(frozen=True, slots=True)
class VehicleParams:
    """A car. The defaults are the ego: box 4.9 x 2.1 m, axles equally far from its centre."""

    wheel_base_m: float = 2.85
    rear_to_centre_m: float = 1.425
    length_m: float = 4.9
    width_m: float = 2.1
    max_steer_rad: float = 0.6  # road wheel
    max_accel_mps2: float = 3.5
    max_brake_mps2: float = 8.0
    power_w_per_kg: float = 55.0  # limits acceleration above max_accel: 15.7 m/s
    rolling_mps2: float = 0.12
    drag_per_m: float = 4.0e-4  # deceleration over speed squared
    accel_lag_s: float = 0.15
    steer_lag_s: float = 0.08
    grip_mps2: float = 7.8  # friction limit of the whole acceleration; lower it for a wet road

    @property
    def max_curvature_pm(self) -> float:
        """Of the rear axle's path, 1/m."""
        return math.tan(self.max_steer_rad) / self.wheel_base_m

    def packed(self) -> Array:
        """(13,) for the kernels, in the order of the fields."""
        return np.array(_FIELDS(self), np.float64)


_FIELDS = attrgetter(*(one.name for one in fields(VehicleParams)))
EGO = VehicleParams()


@njit("float64(float64, float64)", cache=True)
def _arc_forward(bend: float, distance_m: float) -> float:
    """Forward travel on an arc that turns by `bend` over `distance_m`."""
    if abs(bend) < 1e-4:
        return distance_m * (1.0 - bend * bend / 6.0)
    return distance_m * math.sin(bend) / bend


@njit("float64(float64, float64)", cache=True)
def _arc_left(bend: float, distance_m: float) -> float:
    """Travel to the left on an arc that turns by `bend` over `distance_m`."""
    if abs(bend) < 1e-4:
        return distance_m * bend * (0.5 - bend * bend / 24.0)
    return distance_m * (1.0 - math.cos(bend)) / bend


@njit("UniTuple(float64, 2)(float64, float64, float64)", cache=True)
def _travel(speed: float, accel: float, dt_s: float) -> tuple[float, float]:
    """Distance and final speed under a constant acceleration that never changes the sign of the speed."""
    end = speed + accel * dt_s
    if speed * end < 0.0:
        return -speed * speed / (2.0 * accel), 0.0
    return (speed + 0.5 * accel * dt_s) * dt_s, end


@njit(
    "void(float64[:, ::1], float64[:, ::1], float64, float64[::1])",
    cache=True,
)
def _step(state: Array, command: Array, dt_s: float, params: Array) -> None:
    wheel_base, to_centre, max_steer, grip = params[0], params[1], params[4], params[12]
    accel_share = 1.0 - math.exp(-dt_s / params[10])
    steer_share = 1.0 - math.exp(-dt_s / params[11])
    for i in range(state.shape[0]):
        wanted = min(max(command[i, 1], -max_steer), max_steer)
        steer = state[i, STEER] + (wanted - state[i, STEER]) * steer_share
        accel = state[i, ACCEL] + (command[i, 0] - state[i, ACCEL]) * accel_share
        speed = state[i, SPEED]
        curvature = math.tan(steer) / wheel_base
        lateral = speed * speed * abs(curvature)
        if lateral > grip:  # understeer: the path widens to what the tyres carry
            curvature *= grip / lateral
            lateral = grip
        room = math.sqrt(max(grip * grip - lateral * lateral, 0.0))
        applied = min(max(accel, -room), room)
        distance, end = _travel(speed, applied, dt_s)
        bend = curvature * distance
        yaw = state[i, YAW]
        forward = _arc_forward(bend, distance) + to_centre * (math.cos(bend) - 1.0)
        left = _arc_left(bend, distance) + to_centre * math.sin(bend)
        state[i, X] += forward * math.cos(yaw) - left * math.sin(yaw)
        state[i, Y] += forward * math.sin(yaw) + left * math.cos(yaw)
        state[i, YAW] = yaw + bend
        state[i, SPEED] = end
        state[i, STEER] = steer
        state[i, ACCEL] = 0.0 if end == 0.0 else accel


@njit("void(float64[:, ::1], float64[:, ::1], float64[::1], float64[:, ::1])", cache=True)
def _pedals(state: Array, control: Array, params: Array, out: Array) -> None:
    for i in range(state.shape[0]):
        speed = state[i, SPEED]
        pull = min(params[5], params[7] / max(abs(speed), 1e-3)) * min(max(control[i, 1], 0.0), 1.0)
        if control[i, 3] > 0.5:
            pull = -pull
        hold = params[6] * min(max(control[i, 2], 0.0), 1.0) + params[8] + params[9] * speed * speed
        if speed == 0.0:
            out[i, 0] = math.copysign(max(abs(pull) - hold, 0.0), pull)
        else:
            out[i, 0] = pull - math.copysign(hold, speed)
        out[i, 1] = params[4] * min(max(control[i, 0], -1.0), 1.0)


@njit(
    "void(float64[::1], float64[:, ::1], float64[:, ::1], float64, float64[::1], float64[:, :, ::1])",
    cache=True,
)
def _rollout(speed: Array, accel: Array, curvature: Array, step_s: float, params: Array, out: Array) -> None:
    to_centre, grip = params[1], params[12]
    limit = math.tan(params[4]) / params[0]
    for i in range(accel.shape[0]):
        x, y, yaw, v = -to_centre, 0.0, 0.0, max(speed[i], 0.0)
        for t in range(accel.shape[1]):
            a = min(max(accel[i, t], -params[6]), params[5])
            bound = min(limit, grip / max(v * v, 1e-6))
            k = min(max(curvature[i, t], -bound), bound)
            distance, v = _travel(v, a if v > 0.0 else max(a, 0.0), step_s)
            bend = k * distance
            forward, left = _arc_forward(bend, distance), _arc_left(bend, distance)
            x += forward * math.cos(yaw) - left * math.sin(yaw)
            y += forward * math.sin(yaw) + left * math.cos(yaw)
            yaw += bend
            out[i, t, 0] = x + to_centre * math.cos(yaw)
            out[i, t, 1] = y + to_centre * math.sin(yaw)
            out[i, t, 2] = yaw
            out[i, t, 3] = v


def step_bicycle(
    state: Array, accel_mps2: ArrayLike, steer_rad: ArrayLike, dt_s: float, params: VehicleParams = EGO
) -> Array:
    """Move cars by one step: first-order actuator lags, friction circle, exact arc.

    Args:
        state: (N, 6) or (6,) x, y, yaw, speed, steer, accel of the box centre; not changed.
        accel_mps2: (N,) commanded acceleration along the heading.
        steer_rad: (N,) commanded road-wheel angle.
        dt_s: Step.
        params: The cars, all alike.

    Returns:
        The next state, same shape. Braking stops at zero; only a command at rest goes on from there.
    """
    out = np.array(np.atleast_2d(state), np.float64, order="C")
    command = np.empty((len(out), 2))
    command[:, 0] = accel_mps2
    command[:, 1] = steer_rad
    _step(out, command, dt_s, params.packed())
    return out if np.ndim(state) == 2 else out[0]


def pedals_to_actuators(
    state: Array,
    steer: ArrayLike,
    throttle: ArrayLike,
    brake: ArrayLike,
    reverse: ArrayLike = False,
    params: VehicleParams = EGO,
) -> Array:
    """Commands for `step_bicycle` from normalised controls.

    Args:
        state: (N, 6) as in `step_bicycle`.
        steer: (N,) -1 to 1, positive left, 1 = max_steer_rad.
        throttle: (N,) 0 to 1; power-limited at speed.
        brake: (N,) 0 to 1; rolling resistance and drag are added. A standing car is held.
        reverse: (N,) true for the reverse gear.
        params: The cars.

    Returns:
        (N, 2) acceleration [m/s2] and road-wheel angle [rad].
    """
    rows = np.array(np.atleast_2d(state), np.float64, order="C")
    control = np.empty((len(rows), 4))
    for column, value in enumerate((steer, throttle, brake, reverse)):
        control[:, column] = value
    out = np.empty((len(rows), 2))
    _pedals(rows, control, params.packed(), out)
    return out


def rollout_states(
    speed_mps: ArrayLike,
    accel_mps2: ArrayLike,
    curvature_pm: ArrayLike,
    step_s: float,
    params: VehicleParams = EGO,
) -> Array:
    """Like `rollout_actions`, with heading and speed: (B, T, 4) x, y, yaw, speed."""
    accel = np.array(np.atleast_2d(accel_mps2), np.float64, order="C")
    curvature = np.array(np.atleast_2d(curvature_pm), np.float64, order="C")
    if accel.shape != curvature.shape:
        raise ValueError(f"accelerations are {accel.shape}, curvatures {curvature.shape}")
    speed = np.array(np.broadcast_to(np.asarray(speed_mps, np.float64), (len(accel),)))
    out = np.empty((*accel.shape, 4))
    _rollout(speed, accel, curvature, step_s, params.packed(), out)
    return out


def rollout_actions(
    speed_mps: ArrayLike,
    accel_mps2: ArrayLike,
    curvature_pm: ArrayLike,
    step_s: float,
    params: VehicleParams = EGO,
) -> Array:
    """Integrate accelerations and curvatures, each constant over its step, exactly.

    The speed stops at zero; acceleration, curvature and grip are held within what `params` can do, so every
    result can be driven.

    Args:
        speed_mps: (B,) present speed; below zero counts as zero.
        accel_mps2: (B, T) along the heading.
        curvature_pm: (B, T) of the rear axle's path, 1/m, positive left.
        step_s: Duration of one action.
        params: The car.

    Returns:
        (B, T, 2) metres, box centre at the end of each step, ego frame.
    """
    return rollout_states(speed_mps, accel_mps2, curvature_pm, step_s, params)[..., :2]
