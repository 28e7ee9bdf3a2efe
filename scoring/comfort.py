"""Bench2Drive's comfort: share of two-second pieces of a drive within all six bounds. A guard, never a target."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .filters import (
    MAX_ACCEL_MPS2,
    MAX_JERK_MPS3,
    MAX_LATERAL_ACCEL_MPS2,
    MAX_LONGITUDINAL_JERK_MPS3,
    MAX_YAW_ACCEL_RADPS2,
    MAX_YAW_RATE_RADPS,
    MIN_ACCEL_MPS2,
    savgol_matrix,
)

Array = NDArray[np.float64]

SAMPLE_S = 0.1
PIECE = 20  # samples: 2 s
_SMOOTH, _SLOPE = 8, 15  # windows of the Savitzky-Golay filters, samples


def comfort_share(
    accel_mps2: ArrayLike, lateral_mps2: ArrayLike, yaw_rate_radps: ArrayLike, dt_s: float
) -> float:
    """Share of comfortable pieces of one drive.

    Args:
        accel_mps2: (T,) along the heading, every `dt_s`.
        lateral_mps2: (T,) across it.
        yaw_rate_radps: (T,).
        dt_s: A divisor of 0.1 s.

    Returns:
        0..1; NaN for a drive shorter than 2 s, which has no piece.
    """
    every = round(SAMPLE_S / dt_s)
    along, across, rate = (
        np.asarray(column, np.float64)[::every] for column in (accel_mps2, lateral_mps2, yaw_rate_radps)
    )
    n = len(along)
    if n < PIECE:
        return float("nan")
    smooth = savgol_matrix(n, _SMOOTH, 2)
    slope = savgol_matrix(n, _SLOPE, 2, 1, SAMPLE_S)
    along, across = smooth @ along, smooth @ across
    size: Array = np.hypot(along, across)
    good = (
        (along > MIN_ACCEL_MPS2)
        & (along < MAX_ACCEL_MPS2)
        & (np.abs(across) < MAX_LATERAL_ACCEL_MPS2)
        & (np.abs(slope @ along) < MAX_LONGITUDINAL_JERK_MPS3)
        & (np.abs(slope @ size) < MAX_JERK_MPS3)
        & (np.abs(rate) < MAX_YAW_RATE_RADPS)
        & (np.abs(slope @ rate) < MAX_YAW_ACCEL_RADPS2)
    )
    pieces = n // PIECE
    return float(good[: pieces * PIECE].reshape(pieces, PIECE).all(axis=1).mean())
