"""Comfort of tracked motions as NAVSIM v1.1 has it: six bounds on what Savitzky-Golay filters leave of them.

At the rear axle of a kinematic bicycle the lateral acceleration is zero, so its bound always holds and the magnitude of
the acceleration is the longitudinal one's.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .filters import (
    MAX_ACCEL_MPS2,
    MAX_JERK_MPS3,
    MAX_LONGITUDINAL_JERK_MPS3,
    MAX_YAW_ACCEL_RADPS2,
    MAX_YAW_RATE_RADPS,
    MIN_ACCEL_MPS2,
    savgol_matrix,
)
from .tracker import ACCEL, HEADING, STEP_S, STEPS

Array = NDArray[np.float64]

_N = STEPS + 1
_HALF = STEPS // 2
_YAW = 5  # window of the yaw filters; its ends have filters of their own


def _filters() -> Array:
    """(15, 41): the parabola of a signal and the slope of it smoothed, then the yaw filters.

    A window as long as the signal is one parabola: three coefficients of the acceleration, two of the jerk. Of the yaw
    filters there are five rows each: the first two samples, all in the middle, the last two; five entries a row.
    """
    fit = np.linalg.pinv(np.vander(np.arange(_N) - _HALF, 3, increasing=True).astype(np.float64))
    out = np.zeros((5 + 2 * _YAW, _N))
    out[:5] = np.vstack((fit, (fit @ savgol_matrix(_N, 8, 2))[1:] / STEP_S))
    out[5:10, :_YAW] = savgol_matrix(_YAW, _YAW, 2, 1, STEP_S)
    out[10:, :_YAW] = savgol_matrix(_YAW, _YAW, 3, 2, STEP_S)
    return out


FILTERS = _filters()


@njit("float64(float64[:, ::1], int64, float64[:, ::1], int64)", cache=True)
def _filtered(states: Array, first: int, filters: Array, row: int) -> float:
    total = 0.0
    for k in range(_YAW):
        total += filters[row, k] * states[first + k, HEADING]
    return abs(total)


@njit("float64(float64[:, ::1], float64[:, ::1])", cache=True)
def comfortable(states: Array, filters: Array) -> float:
    """C of one track (41, 7); `filters` is `FILTERS`."""
    a0, a1, a2, j0, j1, s0, s1 = (
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
    )  # acceleration, its jerk, jerk of its magnitude
    for j in range(states.shape[0]):
        a = states[j, ACCEL]
        a0, a1, a2 = a0 + filters[0, j] * a, a1 + filters[1, j] * a, a2 + filters[2, j] * a
        j0, j1 = j0 + filters[3, j] * a, j1 + filters[4, j] * a
        s0, s1 = s0 + filters[3, j] * abs(a), s1 + filters[4, j] * abs(a)
    # A parabola is extreme at its ends or at the samples about its vertex, its slope at its ends.
    vertex = min(max(-0.5 * a1 / a2, -_HALF), _HALF - 1.0) if abs(a2) > 1e-12 else 0.0
    for x in (-_HALF, _HALF, math.floor(vertex), math.floor(vertex) + 1):
        accel = a0 + (a1 + a2 * x) * x
        if accel <= MIN_ACCEL_MPS2 or accel >= MAX_ACCEL_MPS2:
            return 0.0
    for x in (-_HALF, _HALF):
        if abs(j0 + 2.0 * j1 * x) >= MAX_LONGITUDINAL_JERK_MPS3 or abs(s0 + 2.0 * s1 * x) >= MAX_JERK_MPS3:
            return 0.0
    rate, turn = 0.0, 0.0
    last = states.shape[0] - _YAW
    for row in range(_YAW):
        if row != _YAW // 2:
            first = 0 if row < _YAW // 2 else last
            rate = max(rate, _filtered(states, first, filters, 5 + row))
            turn = max(turn, _filtered(states, first, filters, 10 + row))
    # The middle filters are odd and even: half of their products suffice.
    near, far = filters[5 + _YAW // 2, 3], filters[5 + _YAW // 2, 4]
    centre, beside, outside = (
        filters[10 + _YAW // 2, 2],
        filters[10 + _YAW // 2, 3],
        filters[10 + _YAW // 2, 4],
    )
    a, b, c, d = states[0, HEADING], states[1, HEADING], states[2, HEADING], states[3, HEADING]
    for first in range(last + 1):
        e = states[first + _YAW - 1, HEADING]
        rate = max(rate, abs(near * (d - b) + far * (e - a)))
        turn = max(turn, abs(centre * c + beside * (d + b) + outside * (e + a)))
        a, b, c, d = b, c, d, e
    return 1.0 if rate < MAX_YAW_RATE_RADPS and turn < MAX_YAW_ACCEL_RADPS2 else 0.0
