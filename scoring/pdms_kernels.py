"""Compiled parts of the PDM score: interpolation, polygons, collisions. See `pdms` for what they mean together."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .boxes import overlap
from .scene import INTERSECTION, LANE, RUN, STATIC
from .tracker import HEADING, RX, RY, SPEED, STEP_S, STEPS

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

FRAMES = 51  # agents at 10 Hz for 5 s: the score looks 0.9 s beyond the plan
X, Y, COS, SIN, VX, VY = range(6)  # columns of an agent's frame
STOPPED_MPS = 0.05
TTC_STOPPED_MPS = 0.005
TTC_AHEAD = (0, 3, 6, 9)  # steps of 0.1 s
COS_AHEAD = math.cos(math.radians(30.0))
COS_BEHIND = math.cos(math.radians(150.0))


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
    for g in range(kinds.shape[0]):
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


@njit("float64(float64, float64, float64[:, ::1])", cache=True)
def project(x: float, y: float, line: Array) -> float:
    """Arc length of the point of a polyline nearest to x, y."""
    best, at, length = math.inf, 0.0, 0.0
    for i in range(line.shape[0] - 1):
        ax, ay = line[i, 0], line[i, 1]
        dx, dy = line[i + 1, 0] - ax, line[i + 1, 1] - ay
        span = math.hypot(dx, dy)
        if span == 0.0:
            continue
        along = min(max(((x - ax) * dx + (y - ay) * dy) / span, 0.0), span)
        away = math.hypot(x - ax - dx / span * along, y - ay - dy / span * along)
        if away < best:
            best, at = away, length + along
        length += span
    return at


@njit(
    "void(float64[:, ::1], float64[:, :, ::1], float64[:, ::1], float64, float64, boolean[::1])", cache=True
)
def near_steps(
    track: Array, frames: Array, sizes: Array, reach: float, look_ahead_s: float, out: NDArray[np.bool_]
) -> None:
    """Steps at which some agent is so near that the lanes matter; `reach` is the ego's from its rear axle."""
    out[:] = False
    for a in range(frames.shape[0]):
        far = reach + 0.5 * math.hypot(sizes[a, 0], sizes[a, 1])
        for t in range(track.shape[0]):
            limit = far + abs(track[t, SPEED]) * look_ahead_s
            for d in TTC_AHEAD:
                dx, dy = frames[a, t + d, X] - track[t, RX], frames[a, t + d, Y] - track[t, RY]
                if dx * dx + dy * dy <= limit * limit:
                    out[t] = True
                    break


@njit(
    "UniTuple(float64, 2)(float64[:, ::1], boolean[:, ::1], float64[:, :, ::1], float64[:, ::1], int8[::1],"
    " float64, float64, float64, int64)",
    cache=True,
)
def collisions(
    track: Array,
    areas: NDArray[np.bool_],
    frames: Array,
    sizes: Array,
    kinds: NDArray[np.int8],
    half_length: float,
    half_width: float,
    rear_to_centre: float,
    ttc_last: int,
) -> tuple[float, float]:
    """NC and TTC of one tracked plan.

    Args:
        track: (41, 7) tracked states, rear axle.
        areas: (41, 3) off the ground, several lanes, rear axle in an intersection.
        frames: (N, 51, 6) of `agent_frames`.
        sizes: (N, 2) length, width.
        kinds: (N,).
        half_length: Of the ego.
        half_width: Of the ego.
        rear_to_centre: Of the ego.
        ttc_last: TTC looks ahead from no later step.

    Returns:
        NC in {0, 0.5, 1} and TTC in {0, 1}.
    """
    nc, ttc = 1.0, 1.0
    reach = half_length + rear_to_centre + half_width
    for a in range(frames.shape[0]):
        first = 0
        while first < FRAMES and math.isnan(frames[a, first, X]):
            first += 1
        if first == FRAMES:
            continue
        static = kinds[a] == STATIC
        stopped = static or math.hypot(frames[a, first, VX], frames[a, first, VY]) <= STOPPED_MPS
        long, wide = 0.5 * sizes[a, 0], 0.5 * sizes[a, 1]
        far = reach + math.hypot(long, wide)
        hit_ignored, ttc_ignored = False, False
        for t in range(STEPS + 1):
            x, y, speed = track[t, RX], track[t, RY], track[t, SPEED]
            cos, sin = math.cos(track[t, HEADING]), math.sin(track[t, HEADING])
            aside = areas[t, 0] or areas[t, 1]
            for d in TTC_AHEAD:
                if d > 0 and (t > ttc_last or ttc_ignored or ttc == 0.0 or abs(speed) < TTC_STOPPED_MPS):
                    break
                f = t + d
                ax, ay = frames[a, f, X], frames[a, f, Y]
                if math.isnan(ax):
                    continue
                shift = rear_to_centre + abs(speed) * d * STEP_S
                dx, dy = ax - x, ay - y
                if abs(dx) > far + shift or abs(dy) > far + shift:
                    continue
                ac, as_ = frames[a, f, COS], frames[a, f, SIN]
                cx, cy = x + shift * cos, y + shift * sin
                if not overlap(cx, cy, cos, sin, half_length, half_width, ax, ay, ac, as_, long, wide):
                    continue
                distance = math.hypot(dx, dy)
                facing = (dx * cos + dy * sin) / distance if distance > 0.0 else 1.0
                if t <= ttc_last and not ttc_ignored and abs(speed) >= TTC_STOPPED_MPS:
                    if facing > COS_AHEAD or ((aside or areas[t, 2]) and not facing < COS_BEHIND):
                        ttc = 0.0
                    else:
                        ttc_ignored = True
                if d > 0 or hit_ignored:
                    continue
                if abs(speed) <= STOPPED_MPS:
                    fault = False
                elif stopped:
                    fault = True
                elif facing < COS_BEHIND:
                    fault = False
                else:
                    bumper = rear_to_centre + half_length
                    fault = aside or overlap(
                        x + bumper * cos,
                        y + bumper * sin,
                        cos,
                        sin,
                        0.0,
                        half_width,
                        ax,
                        ay,
                        ac,
                        as_,
                        long,
                        wide,
                    )
                if fault:
                    nc = min(nc, 0.5 if static else 0.0)
                else:
                    hit_ignored = True
    return nc, ttc


@njit(
    "float64(float64[:, ::1], float64[::1], boolean[::1], float64[:, ::1], int64[::1], int64[::1], int64[::1],"
    " float64[:, ::1], float64[:, ::1], boolean[:, ::1])",
    cache=True,
)
def ground_along(
    states: Array,
    vehicle: Array,
    lanes_too: NDArray[np.bool_],
    points: Array,
    starts: Ints,
    runs: Ints,
    kinds: Ints,
    bounds: Array,
    run_bounds: Array,
    out: NDArray[np.bool_],
) -> float:
    """DAC of one track; `out` (41, 3) is what `ground` says of each step."""
    to_centre, half_length, half_width = vehicle[1], 0.5 * vehicle[2], 0.5 * vehicle[3]
    corners = np.empty((4, 2))
    dac = 1.0
    for t in range(states.shape[0]):
        cos, sin = math.cos(states[t, HEADING]), math.sin(states[t, HEADING])
        x, y = states[t, RX] + to_centre * cos, states[t, RY] + to_centre * sin
        for c in range(4):
            along = half_length if c < 2 else -half_length
            left = half_width if c % 2 == 0 else -half_width
            corners[c, 0] = x + along * cos - left * sin
            corners[c, 1] = y + along * sin + left * cos
        out[t, 0], out[t, 1], out[t, 2] = ground(
            states[t, RX],
            states[t, RY],
            corners,
            lanes_too[t],
            points,
            starts,
            runs,
            kinds,
            bounds,
            run_bounds,
        )
        if out[t, 0]:
            dac = 0.0
    return dac


@njit("float64(float64[:, ::1], float64, float64[:, ::1])", cache=True)
def progress(states: Array, to_centre: float, line: Array) -> float:
    """Way of the box centre along the centre line, at least 0."""
    if line.shape[0] < 2:
        return 0.0
    way = np.zeros(2)
    for k in range(2):
        s = states[0] if k == 0 else states[states.shape[0] - 1]
        x, y = s[RX] + to_centre * math.cos(s[HEADING]), s[RY] + to_centre * math.sin(s[HEADING])
        way[k] = project(x, y, line)
    return max(way[1] - way[0], 0.0)


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
