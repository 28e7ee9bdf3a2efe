"""Whether two boxes whose borders all but touch meet: decided on their corners by exact signs of determinants.

Rounding moves the corners of a turned box by an ulp, so that touching boxes really meet or really do not. This asks
those rounded corners, exactly, and so agrees with any exact geometry library that is given the same corners.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SPLIT = 134217729.0  # 2^27 + 1: halves a double's digits
_FILTER = 4e-16  # of a determinant's magnitude: beyond it the rounded sign is right


@njit("UniTuple(float64, 2)(float64, float64)", cache=True)
def _two_sum(a: float, b: float) -> tuple[float, float]:
    """A sum and its rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@njit("UniTuple(float64, 2)(float64, float64)", cache=True)
def _two_product(a: float, b: float) -> tuple[float, float]:
    """A product and its rounding error."""
    product = a * b
    c = _SPLIT * a
    a_high = c - (c - a)
    c = _SPLIT * b
    b_high = c - (c - b)
    a_low, b_low = a - a_high, b - b_high
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


@njit("int64(float64, float64, float64, float64, float64, float64)", cache=True)
def side(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> int:
    """Exact side of p seen along a to b: 1 left, -1 right, 0 on the line; exact while no product underflows."""
    left, right = (ax - px) * (by - py), (ay - py) * (bx - px)
    if abs(left - right) > _FILTER * (abs(left) + abs(right)):
        return 1 if left > right else -1
    dx, dy, ex, ey = np.empty(2), np.empty(2), np.empty(2), np.empty(2)
    dx[0], dx[1] = _two_sum(ax, -px)
    dy[0], dy[1] = _two_sum(by, -py)
    ex[0], ex[1] = _two_sum(ay, -py)
    ey[0], ey[1] = _two_sum(bx, -px)
    total = np.zeros(
        17
    )  # an expansion: its parts do not overlap, so that its last one that is not 0 has the sign
    count = 0
    for i in range(2):
        for j in range(2):
            for sign in (1.0, -1.0):
                if sign > 0.0:
                    high, low = _two_product(dx[i], dy[j])
                else:
                    high, low = _two_product(-ex[i], ey[j])
                for part in (low, high):
                    for k in range(count):
                        part, total[k] = _two_sum(part, total[k])
                    total[count] = part
                    count += 1
    for k in range(count - 1, -1, -1):
        if total[k] != 0.0:
            return 1 if total[k] > 0.0 else -1
    return 0


@njit("boolean(float64, float64, float64, float64, float64, float64)", cache=True)
def _spans(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> bool:
    """Whether p, on the line of a and b, lies between them."""
    return min(ax, bx) <= px <= max(ax, bx) and min(ay, by) <= py <= max(ay, by)


@njit("boolean(float64[:, ::1], int64, float64[:, ::1], int64)", cache=True)
def _cross(one: Array, i: int, two: Array, j: int) -> bool:
    """Whether two closed edges meet."""
    ax, ay, bx, by = one[i, 0], one[i, 1], one[(i + 1) % 4, 0], one[(i + 1) % 4, 1]
    cx, cy, dx, dy = two[j, 0], two[j, 1], two[(j + 1) % 4, 0], two[(j + 1) % 4, 1]
    c, d = side(ax, ay, bx, by, cx, cy), side(ax, ay, bx, by, dx, dy)
    a, b = side(cx, cy, dx, dy, ax, ay), side(cx, cy, dx, dy, bx, by)
    if c * d < 0 and a * b < 0:
        return True
    return (
        (c == 0 and _spans(ax, ay, bx, by, cx, cy))
        or (d == 0 and _spans(ax, ay, bx, by, dx, dy))
        or (a == 0 and _spans(cx, cy, dx, dy, ax, ay))
        or (b == 0 and _spans(cx, cy, dx, dy, bx, by))
    )


@njit("void(float64, float64, float64, float64, float64, float64, float64[:, ::1])", cache=True)
def _corners(
    x: float, y: float, cos: float, sin: float, half_length_m: float, half_width_m: float, out: Array
) -> None:
    for k in range(4):
        along = half_length_m if k < 2 else -half_length_m
        left = half_width_m if k == 0 or k == 3 else -half_width_m
        out[k, 0] = x + along * cos - left * sin
        out[k, 1] = y + along * sin + left * cos


@njit(
    "boolean(float64, float64, float64, float64, float64, float64,"
    " float64, float64, float64, float64, float64, float64)",
    cache=True,
)
def borders_meet(
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
    """Whether the borders of two boxes meet; corners are computed as `boxes.corners` does."""
    one, two = np.empty((4, 2)), np.empty((4, 2))
    _corners(x, y, cos, sin, half_length_m, half_width_m, one)
    _corners(other_x, other_y, other_cos, other_sin, other_half_length_m, other_half_width_m, two)
    for i in range(4):
        for j in range(4):
            if _cross(one, i, two, j):
                return True
    return False
