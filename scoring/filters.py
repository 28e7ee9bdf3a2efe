"""Savitzky-Golay filters as matrices, and the comfort bounds that NAVSIM and Bench2Drive share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Strict bounds, as the papers give them: acceleration along the heading from and to, the others by magnitude.
MIN_ACCEL_MPS2, MAX_ACCEL_MPS2 = -4.05, 2.40
MAX_LATERAL_ACCEL_MPS2 = 4.89
MAX_JERK_MPS3 = 8.37
MAX_LONGITUDINAL_JERK_MPS3 = 4.13
MAX_YAW_ACCEL_RADPS2 = 1.93
MAX_YAW_RATE_RADPS = 0.95


def savgol_matrix(n: int, window: int, order: int, derivative: int = 0, step: float = 1.0) -> Array:
    """Filter as a matrix: `savgol_matrix(...) @ signal` equals scipy's `savgol_filter` in mode `interp`.

    Args:
        n: Length of the signal, at least `window`.
        window: Samples per fit; even windows are evaluated half a sample after the sample, as in scipy.
        order: Of the polynomial, below `window`.
        derivative: 0 for the smoothed value.
        step: Sample spacing.

    Returns:
        (n, n).
    """
    half = window // 2
    out = np.zeros((n, n))

    def weights(at: float) -> Array:
        powers = np.vander(np.arange(window) - at, order + 1, increasing=True)
        fit: Array = np.linalg.pinv(powers)[derivative] * math.factorial(derivative) / step**derivative
        return fit

    middle = weights(half - 0.5 if window % 2 == 0 else half)
    first = half - 1 if window % 2 == 0 else half
    for i in range(n):
        if i < half:
            out[i, :window] = weights(i)
        elif i >= n - half:
            out[i, n - window :] = weights(i - (n - window))
        else:
            out[i, i - first : i - first + window] = middle
    return out
