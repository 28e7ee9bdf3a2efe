"""How NAVSIM v1.1 drives a plan before it is scored: a linear-quadratic tracker and a kinematic bicycle, 4 s at 10 Hz.

Both are defined by Euler steps of 0.1 s at the rear axle, so they stand beside the exact arcs of `kinematics`. The
two least-squares fits of the definition are solved in closed form: the speed fit does not depend on the plan (its
normal matrix is constant once displacements are projected on the headings), the curvature fit is tridiagonal.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP_S = 0.1
STEPS = 40
RX, RY, HEADING, SPEED, ACCEL, STEER, YAW_RATE = range(7)  # columns of a tracked state

_HORIZON = 10  # look-ahead, steps
_Q_SPEED, _R_ACCEL = 10.0, 1.0
_Q_LATERAL, _Q_HEADING, _R_STEER_RATE = 1.0, 10.0, 1.0
_ACCEL_PENALTY, _CURVATURE_RATE_PENALTY, _CURVATURE_PENALTY = 1e-4, 1e-2, 1e-10
_STOP_SPEED, _STOP_GAIN = 0.2, 0.5
_ACCEL_LAG_S, _STEER_LAG_S = 0.2, 0.05
_MAX_STEER = math.pi / 3


def _speed_fit() -> Array:
    """(40, 40) matrix from travel along the heading per step to the fitted speed of each step."""
    integral = np.tril(np.ones((STEPS, STEPS))) * STEP_S
    integral[:, 0] = 1.0  # columns: first speed, then accelerations
    design = integral * STEP_S
    # Meant as a penalty on jerk; NAVSIM's difference matrix keeps one band, so it weighs every acceleration but the
    # last pair, which it weighs by its difference. Kept: it decides the scores.
    penalty = np.zeros((STEPS - 2, STEPS))
    rows = np.arange(STEPS - 2)
    penalty[rows, rows + 1] = -1.0
    penalty[-1, -1] = 1.0
    normal = design.T @ design + _ACCEL_PENALTY * penalty.T @ penalty
    return np.ascontiguousarray(integral @ np.linalg.solve(normal, design.T))


SPEED_FIT = _speed_fit()


@njit("float64(float64)", cache=True)
def _wrap(angle: float) -> float:
    return math.atan2(math.sin(angle), math.cos(angle))


@njit("void(float64[::1], float64[::1], float64[::1], float64[::1])", cache=True)
def _fit_curvature(turn: Array, speed: Array, out: Array, scratch: Array) -> None:
    """Smoothest curvature per step whose turn at `speed` is `turn`: a tridiagonal system."""
    stiff = _CURVATURE_RATE_PENALTY / (STEP_S * STEP_S)
    n = turn.shape[0]
    for i in range(n):
        gain = speed[i] * STEP_S
        ends = 1.0 if i == 0 or i == n - 1 else 2.0
        diagonal = gain * gain + ends * stiff + (_CURVATURE_PENALTY if i == 0 else 0.0)
        right = gain * turn[i]
        if i > 0:
            diagonal += stiff * scratch[i - 1]
            right += stiff * out[i - 1]
        scratch[i] = -stiff / diagonal
        out[i] = right / diagonal
    for i in range(n - 2, -1, -1):
        out[i] -= scratch[i] * out[i + 1]


@njit("void(float64[:, ::1], float64[::1], float64, float64[:, ::1], float64[:, ::1])", cache=True)
def track(poses: Array, start: Array, wheel_base: float, speed_fit: Array, out: Array) -> None:
    """Drive one plan.

    Args:
        poses: (41, 3) x, y, heading of the rear axle every 0.1 s, world.
        start: (7,) first tracked state.
        wheel_base: Metres.
        speed_fit: `SPEED_FIT`.
        out: (41, 7) tracked states: x, y, heading, speed, accel, steer, yaw rate.
    """
    n = poses.shape[0] - 1
    travel, turn = np.empty(n), np.empty(n)
    for i in range(n):
        cos, sin = math.cos(poses[i, 2]), math.sin(poses[i, 2])
        travel[i] = (poses[i + 1, 0] - poses[i, 0]) * cos + (poses[i + 1, 1] - poses[i, 1]) * sin
        turn[i] = _wrap(poses[i + 1, 2] - poses[i, 2])
    wanted, bend, scratch = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        total = 0.0
        for j in range(n):
            total += speed_fit[i, j] * travel[j]
        wanted[i] = total
    _fit_curvature(turn, wanted, bend, scratch)

    out[0] = start
    for i in range(n):
        x, y, heading, speed = out[i, RX], out[i, RY], out[i, HEADING], out[i, SPEED]
        accel, steer = out[i, ACCEL], out[i, STEER]
        ahead = min(i + _HORIZON, n - 1)
        if wanted[ahead] <= _STOP_SPEED and speed <= _STOP_SPEED:
            accel_command = -_STOP_GAIN * (speed - wanted[ahead])
            steer_rate = 0.0
        else:
            reach = _HORIZON * STEP_S
            gain = reach * _Q_SPEED / (reach * _Q_SPEED * reach + _R_ACCEL)
            accel_command = -gain * (speed - wanted[ahead])
            # Lateral error, heading error and steer at the horizon: without input, and per unit of steering rate.
            dx, dy = x - poses[i, 0], y - poses[i, 1]
            lateral = -dx * math.sin(poses[i, 2]) + dy * math.cos(poses[i, 2])
            error = _wrap(heading - poses[i, 2])
            by_lateral, by_error, by_steer = 0.0, 0.0, 0.0
            for k in range(_HORIZON):
                move = (speed + accel_command * STEP_S * k) * STEP_S
                curvature = bend[i + k] if i + k < ahead else bend[ahead]
                lateral += move * error
                error += move * (steer / wheel_base - curvature)
                by_lateral += move * by_error
                by_error += move * by_steer / wheel_base
                by_steer += STEP_S
            pull = by_lateral * _Q_LATERAL * lateral + by_error * _Q_HEADING * _wrap(error)
            weight = by_lateral * _Q_LATERAL * by_lateral + by_error * _Q_HEADING * by_error + _R_STEER_RATE
            steer_rate = -pull / weight
        accel += STEP_S / (STEP_S + _ACCEL_LAG_S) * (accel_command - accel)
        new_steer = steer + STEP_S / (STEP_S + _STEER_LAG_S) * STEP_S * steer_rate
        new_steer = min(max(new_steer, -_MAX_STEER), _MAX_STEER)
        out[i + 1, RX] = x + speed * math.cos(heading) * STEP_S
        out[i + 1, RY] = y + speed * math.sin(heading) * STEP_S
        out[i + 1, HEADING] = heading + speed * math.tan(steer) / wheel_base * STEP_S
        out[i + 1, SPEED] = speed + accel * STEP_S
        out[i + 1, ACCEL] = accel
        out[i + 1, STEER] = new_steer
        out[i + 1, YAW_RATE] = out[i + 1, SPEED] * math.tan(new_steer) / wheel_base
