"""Drivable area compliance of tracked motions: mostly decided for many steps at once, else corner by corner."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .pdms_kernels import TTC_AHEAD, inside
from .scene import LANE, RUN
from .tracker import HEADING, RX, RY, SPEED, STEP_S, STEPS

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

MARGIN_M = 1e-6  # a border nearer than this is looked at exactly
DEEPEST = 8  # halvings of 41 steps, and some
BLOCK = 8  # steps that are kept apart from a road user in one comparison
BLOCKS = -(-(STEPS + 1) // BLOCK)
WHOLE, WAY = STEPS + 1, STEPS + 2  # columns of `reach` behind the steps
REACHES = WAY + 1 + BLOCKS


@njit(
    "void(float64[::1], float64[::1], float64[::1], float64[::1], int64, int64, float64[:, ::1], int64)",
    cache=True,
)
def _bound(
    least_x: Array, most_x: Array, least_y: Array, most_y: Array, first: int, end: int, out: Array, at: int
) -> None:
    low_x, high_x, low_y, high_y = math.inf, -math.inf, math.inf, -math.inf
    for t in range(first, end):
        low_x, high_x = min(low_x, least_x[t]), max(high_x, most_x[t])
        low_y, high_y = min(low_y, least_y[t]), max(high_y, most_y[t])
    out[0, at], out[1, at], out[2, at], out[3, at] = low_x, high_x, low_y, high_y


@njit(
    "void(float64[:, ::1], float64, float64, float64, float64[::1], float64[:, ::1], float64[:, ::1],"
    " float64[:, ::1])",
    cache=True,
)
def place_boxes(
    states: Array,
    to_centre_m: float,
    half_length_m: float,
    half_width_m: float,
    frame: Array,
    places: Array,
    reach: Array,
    scratch: Array,
) -> None:
    """Where the ego is along a track.

    Args:
        states: (41, 7).
        to_centre_m: From the rear axle.
        half_length_m: Of the ego.
        half_width_m: Of the ego.
        frame: x, y, cosine and sine of the frame of `reach`.
        places: (41, 4) box centres, cosines and sines of their headings; world.
        reach: (4, REACHES) least x, most x, least y, most y of the box and of what TTC looks at ahead of it, at each
            step; then of the whole way, with the looks ahead (WHOLE) and without them (WAY); then of each BLOCK steps.
        scratch: (9, 41).
    """
    ahead_s = TTC_AHEAD[-1] * STEP_S
    begin_x, begin_y, turn_cos, turn_sin = frame[0], frame[1], frame[2], frame[3]
    xs, ys, cosines, sines, speeds = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    for t in range(STEPS + 1):
        cos, sin = math.cos(states[t, HEADING]), math.sin(states[t, HEADING])
        x, y = states[t, RX] + to_centre_m * cos, states[t, RY] + to_centre_m * sin
        places[t, 0], places[t, 1], places[t, 2], places[t, 3] = x, y, cos, sin
        xs[t], ys[t], cosines[t], sines[t], speeds[t] = x, y, cos, sin, states[t, SPEED]
    # Row by row from here on, so that the processor does several steps at once.
    near_x, far_x, near_y, far_y = reach[0], reach[1], reach[2], reach[3]
    least_x, most_x, least_y, most_y = scratch[5], scratch[6], scratch[7], scratch[8]
    for t in range(STEPS + 1):
        dx, dy = xs[t] - begin_x, ys[t] - begin_y
        c, s = cosines[t] * turn_cos + sines[t] * turn_sin, sines[t] * turn_cos - cosines[t] * turn_sin
        along, across = dx * turn_cos + dy * turn_sin, dy * turn_cos - dx * turn_sin
        long = half_length_m * abs(c) + half_width_m * abs(s)
        wide = half_length_m * abs(s) + half_width_m * abs(c)
        ahead = abs(speeds[t]) * ahead_s
        low_x, high_x, low_y, high_y = along - long, along + long, across - wide, across + wide
        least_x[t], most_x[t], least_y[t], most_y[t] = low_x, high_x, low_y, high_y
        on_x, on_y = ahead * c, ahead * s
        near_x[t] = low_x + (on_x if on_x < 0.0 else 0.0)
        far_x[t] = high_x + (on_x if on_x > 0.0 else 0.0)
        near_y[t] = low_y + (on_y if on_y < 0.0 else 0.0)
        far_y[t] = high_y + (on_y if on_y > 0.0 else 0.0)
    for block in range(BLOCKS):
        first = block * BLOCK
        _bound(near_x, far_x, near_y, far_y, first, min(first + BLOCK, STEPS + 1), reach, WAY + 1 + block)
    _bound(near_x, far_x, near_y, far_y, WAY + 1, REACHES, reach, WHOLE)
    _bound(least_x, most_x, least_y, most_y, 0, STEPS + 1, reach, WAY)


@njit("void(float64[:, ::1], int64, float64, float64, float64[:, ::1])", cache=True)
def corners_at(places: Array, t: int, half_length_m: float, half_width_m: float, out: Array) -> None:
    """Corners (4, 2) of the ego at one step."""
    x, y, cos, sin = places[t, 0], places[t, 1], places[t, 2], places[t, 3]
    for c in range(4):
        along = half_length_m if c < 2 else -half_length_m
        left = half_width_m if c % 2 == 0 else -half_width_m
        out[c, 0] = x + along * cos - left * sin
        out[c, 1] = y + along * sin + left * cos


@njit(
    "boolean(float64[:, ::1], int64, float64, float64, float64[:, ::1], int64[:, ::1], float64[:, ::1],"
    " float64[:, ::1], float64[:, ::1])",
    cache=True,
)
def _on_at(
    places: Array,
    t: int,
    half_length_m: float,
    half_width_m: float,
    points: Array,
    index: Ints,
    bounds: Array,
    run_bounds: Array,
    corners: Array,
) -> bool:
    """Whether every corner lies in some drivable polygon at one step, exactly."""
    corners_at(places, t, half_length_m, half_width_m, corners)
    for c in range(4):
        x, y = corners[c, 0], corners[c, 1]
        held = False
        for g in range(bounds.shape[0]):
            if index[2, g] == LANE or bounds[g, 0] > x or bounds[g, 2] < x:
                continue
            if bounds[g, 1] > y or bounds[g, 3] < y:
                continue
            if inside(x, y, points, index[0, g], index[0, g + 1], run_bounds, index[1, g]):
                held = True
                break
        if not held:
            return False
    return True


@njit(
    "boolean(float64, float64, float64, float64, float64, float64, float64, float64, float64[:, ::1],"
    " int64[:, ::1], float64[:, ::1], float64[:, ::1])",
    cache=True,
)
def _clear(
    x: float,
    y: float,
    cos: float,
    sin: float,
    rear: float,
    front: float,
    right: float,
    left: float,
    points: Array,
    index: Ints,
    bounds: Array,
    run_bounds: Array,
) -> bool:
    """Whether a box given in a frame lies in one drivable polygon, clear of its border."""
    rear, front, right, left = rear - MARGIN_M, front + MARGIN_M, right - MARGIN_M, left + MARGIN_M
    along, across, steep, flat = 0.5 * (front - rear), 0.5 * (left - right), abs(sin), abs(cos)
    # Its centre and its bounds in the world.
    mid_x = x + 0.5 * ((front + rear) * cos - (left + right) * sin)
    mid_y = y + 0.5 * ((front + rear) * sin + (left + right) * cos)
    half_x, half_y = along * flat + across * steep, along * steep + across * flat
    low_x, high_x, low_y, high_y = mid_x - half_x, mid_x + half_x, mid_y - half_y, mid_y + half_y
    for g in range(bounds.shape[0]):
        if index[2, g] == LANE or bounds[g, 0] > low_x or bounds[g, 2] < high_x:
            continue
        if bounds[g, 1] > low_y or bounds[g, 3] < high_y:
            continue
        start, end, run = index[0, g], index[0, g + 1], index[1, g]
        clear = True
        for begin in range(start, end - 1, RUN):
            if not (
                run_bounds[run, 0] > high_x
                or run_bounds[run, 2] < low_x
                or run_bounds[run, 1] > high_y
                or run_bounds[run, 3] < low_y
            ):
                dx, dy = points[begin, 0] - x, points[begin, 1] - y
                a, b = dx * cos + dy * sin, dy * cos - dx * sin
                for i in range(begin, min(begin + RUN, end - 1)):
                    dx, dy = points[i + 1, 0] - x, points[i + 1, 1] - y
                    c, d = dx * cos + dy * sin, dy * cos - dx * sin
                    if not (
                        (a > front and c > front)
                        or (a < rear and c < rear)
                        or (b > left and d > left)
                        or (b < right and d < right)
                    ):
                        # Nor may all corners of the box lie on one side of the edge.
                        ex, ey = c - a, d - b
                        beside = ex * (0.5 * (left + right) - b) - ey * (0.5 * (front + rear) - a)
                        if abs(beside) <= abs(ex) * across + abs(ey) * along:
                            clear = False
                            break
                    a, b = c, d
            if not clear:
                break
            run += 1
        if clear and inside(mid_x, mid_y, points, start, end, run_bounds, index[1, g]):
            return True
    return False


@njit(
    "boolean(float64[:, ::1], int64, int64, float64, float64, float64[:, ::1], int64[:, ::1], float64[:, ::1],"
    " float64[:, ::1])",
    cache=True,
)
def _surely_on(
    places: Array,
    first: int,
    last: int,
    half_length_m: float,
    half_width_m: float,
    points: Array,
    index: Ints,
    bounds: Array,
    run_bounds: Array,
) -> bool:
    """Whether one turned box round the ego at some steps is clear of every border."""
    middle = (first + last) // 2
    x, y, cos, sin = places[middle, 0], places[middle, 1], places[middle, 2], places[middle, 3]
    front, rear, left, right = 0.0, 0.0, 0.0, 0.0
    for t in range(first, last + 1):
        dx, dy = places[t, 0] - x, places[t, 1] - y
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        c, s = abs(places[t, 2] * cos + places[t, 3] * sin), abs(places[t, 3] * cos - places[t, 2] * sin)
        long, wide = half_length_m * c + half_width_m * s, half_length_m * s + half_width_m * c
        front, rear = max(front, along + long), min(rear, along - long)
        left, right = max(left, across + wide), min(right, across - wide)
    return _clear(x, y, cos, sin, rear, front, right, left, points, index, bounds, run_bounds)


@njit(
    "boolean(float64[:, ::1], float64[:, ::1], float64[::1], float64, float64, float64[:, ::1], int64[:, ::1],"
    " float64[:, ::1], float64[:, ::1], float64[:, ::1])",
    cache=True,
)
def stays_on(
    places: Array,
    reach: Array,
    frame: Array,
    half_length_m: float,
    half_width_m: float,
    points: Array,
    index: Ints,
    bounds: Array,
    run_bounds: Array,
    corners: Array,
) -> bool:
    """Whether all corners are on drivable ground at all steps.

    Args:
        places: (41, 4) of `place_boxes`.
        reach: (4, REACHES) of `place_boxes`.
        frame: That of `reach`.
        half_length_m: Of the ego.
        half_width_m: Of the ego.
        points: Polygons of `scene.Area`.
        index: (3, G + 1) its starts, runs and kinds.
        bounds: Its bounds.
        run_bounds: Its run bounds.
        corners: (4, 2) scratch.

    Returns:
        DAC: what a look at every corner at every step gives.
    """
    last = places.shape[0] - 1
    if _clear(
        frame[0],
        frame[1],
        frame[2],
        frame[3],
        reach[0, WAY],
        reach[1, WAY],
        reach[2, WAY],
        reach[3, WAY],
        points,
        index,
        bounds,
        run_bounds,
    ):
        return True
    # Who leaves the road is mostly still off it at the end.
    if not _on_at(places, last, half_length_m, half_width_m, points, index, bounds, run_bounds, corners):
        return False
    starts, ends = np.empty(DEEPEST, np.int64), np.empty(DEEPEST, np.int64)
    starts[0], ends[0] = last // 2 + 1, last
    starts[1], ends[1], open_ = 0, last // 2, 2
    while open_ > 0:
        open_ -= 1
        first, final = starts[open_], ends[open_]
        if first == final:
            if not _on_at(
                places, first, half_length_m, half_width_m, points, index, bounds, run_bounds, corners
            ):
                return False
        elif not _surely_on(
            places, first, final, half_length_m, half_width_m, points, index, bounds, run_bounds
        ):
            middle = (first + final) // 2
            starts[open_], ends[open_] = middle + 1, final
            starts[open_ + 1], ends[open_ + 1] = first, middle
            open_ += 2
    return True
