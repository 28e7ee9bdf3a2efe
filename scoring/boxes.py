"""Oriented boxes on the ground: overlap by separating axes. A box is x, y, yaw, length, width; x, y its centre."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from .touching import borders_meet

Array = NDArray[np.float64]

ROUNDING = 1e-14  # of the coordinates: a gap below this may be none


@njit(
    "boolean(float64, float64, float64, float64, float64, float64,"
    " float64, float64, float64, float64, float64, float64)",
    cache=True,
)
def overlap(
    x: float,
    y: float,
    cos: float,
    sin: float,
    half_length_m: float,
    half_width_m: float,
    other_x: float,
    other_y: float,
    other_cos: float,
    other_sin: float,
    other_half_length_m: float,
    other_half_width_m: float,
) -> bool:
    """Whether two boxes meet; boxes that only touch do.

    Separating axes, those of the first box first; within rounding of touching the corners decide, exactly.
    """
    dx, dy = other_x - x, other_y - y
    doubt = ROUNDING * (
        abs(x)
        + abs(y)
        + abs(other_x)
        + abs(other_y)
        + (half_length_m + half_width_m + other_half_length_m + other_half_width_m)
    )
    c = abs(cos * other_cos + sin * other_sin)  # |cos| and |sin| of the angle between them
    s = abs(cos * other_sin - sin * other_cos)
    across = abs(dy * cos - dx * sin) - half_width_m - other_half_length_m * s - other_half_width_m * c
    if across > doubt:
        return False
    along = abs(dx * cos + dy * sin) - half_length_m - other_half_length_m * c - other_half_width_m * s
    if along > doubt:
        return False
    other_across = (
        abs(dy * other_cos - dx * other_sin) - other_half_width_m - half_length_m * s - half_width_m * c
    )
    if other_across > doubt:
        return False
    other_along = (
        abs(dx * other_cos + dy * other_sin) - other_half_length_m - half_length_m * c - half_width_m * s
    )
    if other_along > doubt:
        return False
    if across < -doubt and along < -doubt and other_across < -doubt and other_along < -doubt:
        return True
    return borders_meet(
        x,
        y,
        cos,
        sin,
        half_length_m,
        half_width_m,
        other_x,
        other_y,
        other_cos,
        other_sin,
        other_half_length_m,
        other_half_width_m,
    )


@njit("void(float64[::1], float64[:, ::1], boolean[::1])", cache=True)
def _overlaps(box: Array, others: Array, out: NDArray[np.bool_]) -> None:
    cos, sin = math.cos(box[2]), math.sin(box[2])
    for i in range(others.shape[0]):
        out[i] = overlap(
            box[0],
            box[1],
            cos,
            sin,
            0.5 * box[3],
            0.5 * box[4],
            others[i, 0],
            others[i, 1],
            math.cos(others[i, 2]),
            math.sin(others[i, 2]),
            0.5 * others[i, 3],
            0.5 * others[i, 4],
        )


def overlaps(box: ArrayLike, others: ArrayLike) -> NDArray[np.bool_]:
    """Which boxes meet `box`.

    Args:
        box: (5,) x, y, yaw, length, width; metres, radians.
        others: (N, 5) likewise.

    Returns:
        (N,).
    """
    rows = np.array(others, np.float64, order="C").reshape(-1, 5)
    out = np.empty(len(rows), np.bool_)
    _overlaps(np.array(box, np.float64), rows, out)
    return out


def corners(box: ArrayLike) -> Array:
    """Corners of boxes: front left, front right, rear right, rear left.

    Args:
        box: (..., 5) x, y, yaw, length, width.

    Returns:
        (..., 4, 2).
    """
    b = np.asarray(box, np.float64)
    along = 0.5 * b[..., 3, None] * np.array([1.0, 1.0, -1.0, -1.0])
    left = 0.5 * b[..., 4, None] * np.array([1.0, -1.0, -1.0, 1.0])
    cos, sin = np.cos(b[..., 2, None]), np.sin(b[..., 2, None])
    return np.stack(
        (b[..., 0, None] + along * cos - left * sin, b[..., 1, None] + along * sin + left * cos), -1
    )
