"""Compiled parts of the PDM score: interpolation, points in polygons, headings. See `pdms` for what they mean together."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .scene import INTERSECTION, LANE, RUN
from .tracker import STEP_S

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

FRAMES = 51  # agents at 10 Hz for 5 s: the score looks 0.9 s beyond the plan
X, Y, COS, SIN, VX, VY = range(6)  # columns of an agent's frame
TTC_AHEAD = (0, 3, 6, 9)  # steps of 0.1 s


@njit("void(float64[::1], float64[:, :, ::1], float64[:, :, ::1])", cache=True)
def agent_frames(times: Array, agents: Array, out: Array) -> None:
    """Linear interpolation to `FRAMES` states of 0.1 s; NaN outside the recorded time or next to a gap."""
    n = times.shape[0]
    for f in range(FRAMES):
        t = f * STEP_S
        if t < times[0] - 1e-6 or t > times[n - 1] + 1e-6:
            out[:, f] = math.nan
            continue
        low = 0
        while low < n - 2 and times[low + 1] <= t:
            low += 1
        high = min(low + 1, n - 1)
        share = (t - times[low]) / (times[high] - times[low]) if high > low else 0.0
        if share < 1e-6:
            high = low
        elif share > 1.0 - 1e-6:
            low = high
        for i in range(agents.shape[0]):
            a, b = agents[i, low], agents[i, high]
            yaw = a[2] + share * math.atan2(math.sin(b[2] - a[2]), math.cos(b[2] - a[2]))
            out[i, f, X] = a[0] + share * (b[0] - a[0])
            out[i, f, Y] = a[1] + share * (b[1] - a[1])
            out[i, f, COS] = math.cos(yaw)
            out[i, f, SIN] = math.sin(yaw)
            out[i, f, VX] = a[3] + share * (b[3] - a[3])
            out[i, f, VY] = a[4] + share * (b[4] - a[4])


@njit("boolean(float64, float64, float64[:, ::1], int64, int64, float64[:, ::1], int64)", cache=True)
def inside(x: float, y: float, points: Array, start: int, end: int, run_bounds: Array, run: int) -> bool:
    """Even-odd test of a point against one closed polygon, by a ray to +x.

    A run of edges wholly to the right is crossed an odd number of times if its ends lie on both sides of the ray.
    """
    odd = False
    first = start
    while first < end - 1:
        last = min(first + RUN, end - 1)
        if run_bounds[run, 1] <= y <= run_bounds[run, 3] and run_bounds[run, 2] >= x:
            if run_bounds[run, 0] > x:
                odd ^= (points[first, 1] > y) != (points[last, 1] > y)
            else:
                for i in range(first, last):
                    ax, ay, bx, by = points[i, 0], points[i, 1], points[i + 1, 0], points[i + 1, 1]
                    odd ^= (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax
        first = last
        run += 1
    return odd


@njit(
    "UniTuple(boolean, 3)(float64, float64, float64[:, ::1], boolean, float64[:, ::1], int64[::1], int64[::1],"
    " int64[::1], float64[:, ::1], float64[:, ::1])",
    cache=True,
)
def ground(
    rear_x: float,
    rear_y: float,
    corners: Array,
    lanes_too: bool,
    points: Array,
    starts: Ints,
    runs: Ints,
    kinds: Ints,
    bounds: Array,
    run_bounds: Array,
) -> tuple[bool, bool, bool]:
    """Off the drivable ground; with `lanes_too` also: in several lanes, rear axle in an intersection."""
    low_x, high_x = corners[:, 0].min(), corners[:, 0].max()
    low_y, high_y = corners[:, 1].min(), corners[:, 1].max()
    drivable, lanes = 0, 0
    single, crossing = False, False
    for g in range(bounds.shape[0]):
        if bounds[g, 0] > high_x or bounds[g, 2] < low_x or bounds[g, 1] > high_y or bounds[g, 3] < low_y:
            continue
        if kinds[g] == LANE and not lanes_too:
            continue
        start, end, run = starts[g], starts[g + 1], runs[g]
        held = 0
        for c in range(4):
            if inside(corners[c, 0], corners[c, 1], points, start, end, run_bounds, run):
                held |= 1 << c
        if kinds[g] == LANE:
            lanes += held != 0
            single = single or held == 15
        else:
            drivable |= held
            if kinds[g] == INTERSECTION and lanes_too and not crossing:
                crossing = inside(rear_x, rear_y, points, start, end, run_bounds, run)
    return drivable != 15, lanes > 1 and not single, crossing


@njit("void(float64[:, ::1], float64, float64[:, ::1])", cache=True)
def trailing_headings(points: Array, rear_to_centre: float, out: Array) -> None:
    """Poses of a car whose centre goes smoothly through points: its rear axle trails at a fixed distance.

    Args:
        points: (T, 2) centres, ego frame; the car starts at the origin with heading 0.
        rear_to_centre: Metres.
        out: (T, 3) the same points with headings.
    """
    parts, last = 10, points.shape[0] - 1
    x, y = 0.0, 0.0
    slope_x, slope_y = math.hypot(points[0, 0], points[0, 1]), 0.0
    rear_x, rear_y = -rear_to_centre, 0.0
    heading = 0.0
    for k in range(last + 1):
        end_x, end_y = points[k, 0], points[k, 1]
        if k < last:
            next_x, next_y = 0.5 * (points[k + 1, 0] - x), 0.5 * (points[k + 1, 1] - y)
        else:
            next_x, next_y = 2.0 * (end_x - x) - slope_x, 2.0 * (end_y - y) - slope_y
        for part in range(1, parts + 1):
            u = part / parts
            a = (1.0 + 2.0 * u) * (1.0 - u) * (1.0 - u)  # cubic Hermite
            b, c = u * (1.0 - u) * (1.0 - u), u * u * (u - 1.0)
            cx = a * x + (1.0 - a) * end_x + b * slope_x + c * next_x
            cy = a * y + (1.0 - a) * end_y + b * slope_y + c * next_y
            heading = math.atan2(cy - rear_y, cx - rear_x)
            rear_x, rear_y = cx - rear_to_centre * math.cos(heading), cy - rear_to_centre * math.sin(heading)
        x, y, slope_x, slope_y = end_x, end_y, next_x, next_y
        out[k, 0], out[k, 1], out[k, 2] = x, y, heading
