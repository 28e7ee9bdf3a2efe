"""NAVSIM v2's further terms of tracked plans: driving direction, traffic lights, lane keeping, two kinds of comfort.

EPDMS = NC x DAC x DDC x TLC x (5 EP + 5 TTC + 2 LK + 2 HC + 2 EC) / 16. A term whose inputs are missing is None: as a
factor it is left out, as a summand its weight leaves the divisor too, as NAVSIM does where there is no earlier plan.
Not done: waiving a penalty that the human driver of the scene incurs as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
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
from .pdms import MIN_PROGRESS_M, terms_of
from .pdms_kernels import TTC_AHEAD, inside
from .scene import Area, Polygons, Scene
from .tracker import ACCEL, HEADING, RX, RY, STEP_S, STEPS, YAW_RATE

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

TTC_LAST = STEPS - TTC_AHEAD[-1]  # 3.1 s: v2 looks no further than the plan
WRONG_LANE_STEPS = 10  # and the present one: NAVSIM's second has eleven steps
COMPLIANT_M, VIOLATION_M = 2.0, 6.0  # in wrong lanes within that time
OFF_LINE_M, OFF_LINE_STEPS = 0.5, 20
MOST_GAP_S = 0.55  # between two plans whose comfort is compared
# Root mean squares of the difference of two plans: m/s^2, m/s^3, rad/s, rad/s^2.
MOST_DIFFERENCE = (0.7, 0.5, 0.1, 0.1)
PAST_HEADING, PAST_ACCEL, PAST_LATERAL, PAST_YAW_RATE, PAST_YAW_ACCEL = range(5)


@dataclass(frozen=True, slots=True)
class RedLane:
    """A lane whose light is red.

    Attributes:
        polygon_m: (K, 2) world.
        start_s: From when, counted from now.
        end_s: Until when.
    """

    polygon_m: Array
    start_s: float = 0.0
    end_s: float = np.inf


@dataclass(frozen=True, slots=True)
class EpdmsInputs:
    """What a `Scene` does not hold; None where it is not known.

    Attributes:
        on_route_lanes: Lane polygons of the route, world, for DDC.
        red_lanes: For TLC; empty means that no light is red, None that lights are unknown.
        past: (H, 5) heading, accelerations along and across, yaw rate and yaw acceleration of the rear axle every
            0.1 s up to 0.1 s before now, for HC. NAVSIM gives 1.5 s, and leaves the newest of them out.
        earlier_track: (41, 7) what was planned `gap_s` ago, tracked, for EC.
        gap_s: A multiple of 0.1 s below 0.55.
    """

    on_route_lanes: Polygons | None = None
    red_lanes: tuple[RedLane, ...] | None = None
    past: Array | None = None
    earlier_track: Array | None = None
    gap_s: float = 0.5


@dataclass(frozen=True, slots=True)
class EpdmsScores:
    """Scores of P plans, (P,) float64 in [0, 1] each; None for a term that the scene lacks."""

    nc: Array
    dac: Array
    ep: Array  # unlike in v1 a plan's own penalties do not lower it
    ttc: Array  # up to 3.1 s
    ddc: Array | None  # driving direction compliance: 0, 0.5 or 1
    tlc: Array | None  # traffic light compliance
    lk: Array | None  # lane keeping
    hc: Array | None  # comfort with what was driven before
    ec: Array | None  # comfort of the change from the earlier plan
    epdms: Array


def score_extended(scene: Scene, tracks: ArrayLike, inputs: EpdmsInputs | None = None) -> EpdmsScores:
    """Score tracked motions as NAVSIM v2 does.

    Args:
        scene: EP is relative to its reference, whose DDC and TLC count as 1.
        tracks: (P, 41, 7) of `track_plans`.
        inputs: What else is known.

    Returns:
        All terms and their product; see `absent` for what it is made of.
    """
    states = np.array(tracks, np.float64, order="C")
    known = inputs or EpdmsInputs()
    nc, dac, ttc, _, progress_m = terms_of(scene, states, TTC_LAST)
    back = scene.vehicle.rear_to_centre_m
    centres = np.ascontiguousarray(
        states[..., [RX, RY]]
        + back * np.stack((np.cos(states[..., HEADING]), np.sin(states[..., HEADING])), -1)
    )
    crossing = _within(centres, scene.intersection_polygons)
    ddc = tlc = lk = hc = ec = None
    if known.on_route_lanes is not None:
        ddc = _direction(centres, crossing | _within(centres, known.on_route_lanes))
    if known.red_lanes is not None:
        tlc = _lights(scene, centres, states[..., HEADING], known.red_lanes)
    if len(scene.centerline_m) > 1:
        lk = np.empty(len(states))
        _lane_keeping(centres, crossing, np.array(scene.centerline_m, np.float64, order="C"), lk)
    if known.past is not None:
        hc = _history_comfort(states, np.asarray(known.past, np.float64), back)
    if known.earlier_track is not None:
        ec = _change_comfort(states, np.asarray(known.earlier_track, np.float64), known.gap_s)

    multiplier = nc * dac
    for factor in (ddc, tlc):
        multiplier = multiplier if factor is None else multiplier * factor
    most = np.maximum(progress_m * multiplier, scene.reference_progress_m * scene.reference_multiplier)
    far = most > MIN_PROGRESS_M
    ep = np.where(far, np.clip(progress_m / np.where(far, most, 1.0), 0.0, 1.0), 1.0)
    total, weights = 5.0 * ep + 5.0 * ttc, 10.0
    for term in (lk, hc, ec):
        if term is not None:
            total, weights = total + 2.0 * term, weights + 2.0
    return EpdmsScores(nc, dac, ep, ttc, ddc, tlc, lk, hc, ec, multiplier * total / weights)


def absent(scores: EpdmsScores) -> tuple[str, ...]:
    """Names of the terms that `epdms` had to do without."""
    terms = {"DDC": scores.ddc, "TLC": scores.tlc, "LK": scores.lk, "HC": scores.hc, "EC": scores.ec}
    return tuple(name for name, term in terms.items() if term is None)


@njit(
    "void(float64[:, :, ::1], float64[:, ::1], int64[::1], int64[::1], float64[:, ::1], float64[:, ::1],"
    " boolean[:, ::1])",
    cache=True,
)
def _in_polygons(
    xy: Array,
    points: Array,
    starts: NDArray[np.int64],
    runs: NDArray[np.int64],
    bounds: Array,
    run_bounds: Array,
    out: Bools,
) -> None:
    for p in range(xy.shape[0]):
        for t in range(xy.shape[1]):
            x, y = xy[p, t]
            out[p, t] = False
            for g in range(bounds.shape[0]):
                if bounds[g, 0] > x or bounds[g, 2] < x or bounds[g, 1] > y or bounds[g, 3] < y:
                    continue
                if inside(x, y, points, starts[g], starts[g + 1], run_bounds, runs[g]):
                    out[p, t] = True
                    break


def _within(xy: Array, polygons: Polygons) -> Bools:
    """(P, T) which points (P, T, 2) lie in one of the polygons."""
    area = Area.pack(polygons, (), ())
    out = np.empty(xy.shape[:2], np.bool_)
    _in_polygons(xy, area.points_m, area.starts, area.runs, area.bounds_m, area.run_bounds_m, out)
    return out


def _direction(centres: Array, allowed: Bools) -> Array:
    """DDC of centres (P, T, 2): the way in wrong lanes within a second."""
    way = np.zeros(allowed.shape)
    way[:, 1:] = np.hypot(*np.moveaxis(np.diff(centres, axis=1), -1, 0))
    summed = np.cumsum(np.where(allowed, 0.0, way), axis=1)
    before = np.zeros_like(summed)
    before[:, WRONG_LANE_STEPS + 1 :] = summed[:, : -WRONG_LANE_STEPS - 1]
    most = (summed - before).max(axis=1)
    return np.where(most < COMPLIANT_M, 1.0, np.where(most < VIOLATION_M, 0.5, 0.0))


@njit("void(float64[:, :, ::1], boolean[:, ::1], float64[:, ::1], float64[::1])", cache=True)
def _lane_keeping(centres: Array, crossing: Bools, line: Array, out: Array) -> None:
    """LK: too far from the centre line too long. Steps in an intersection neither count nor interrupt."""
    for p in range(centres.shape[0]):
        out[p] = 1.0
        off = 0
        for t in range(centres.shape[1]):
            if crossing[p, t]:
                continue
            near = False
            for i in range(line.shape[0] - 1):
                dx, dy = line[i + 1, 0] - line[i, 0], line[i + 1, 1] - line[i, 1]
                x, y = centres[p, t, 0] - line[i, 0], centres[p, t, 1] - line[i, 1]
                span = dx * dx + dy * dy
                share = min(max((x * dx + y * dy) / span, 0.0), 1.0) if span > 0.0 else 0.0
                if np.hypot(x - share * dx, y - share * dy) <= OFF_LINE_M:
                    near = True
                    break
            off = 0 if near else off + 1
            if off == OFF_LINE_STEPS:
                out[p] = 0.0
                break


@njit(
    "void(float64[:, :, ::1], float64[:, ::1], float64, float64, float64[:, ::1], int64, int64, float64[::1])",
    cache=True,
)
def _touches(
    centres: Array,
    headings: Array,
    half_length_m: float,
    half_width_m: float,
    polygon: Array,
    first: int,
    last: int,
    out: Array,
) -> None:
    """Set out to 0 where the ego's box meets a closed polygon at one of the steps."""
    n = polygon.shape[0] - 1
    for p in range(centres.shape[0]):
        for t in range(first, last + 1):
            x, y = centres[p, t, 0], centres[p, t, 1]
            cos, sin = np.cos(headings[p, t]), np.sin(headings[p, t])
            odd, meets = False, False
            for i in range(n):
                ax, ay = polygon[i, 0] - x, polygon[i, 1] - y
                bx, by = polygon[i + 1, 0] - x, polygon[i + 1, 1] - y
                odd ^= (ay > 0.0) != (by > 0.0) and (bx - ax) * -ay / (by - ay) + ax > 0.0
                # The edge in the box's own frame, clipped against its sides.
                start, end = 0.0, 1.0
                for axis in range(2):
                    half = half_length_m if axis == 0 else half_width_m
                    c, s = (cos, sin) if axis == 0 else (-sin, cos)
                    place = ax * c + ay * s
                    step = bx * c + by * s - place
                    if step == 0.0:
                        if abs(place) > half:
                            start = 2.0
                    else:
                        low, high = (-half - place) / step, (half - place) / step
                        start, end = max(start, min(low, high)), min(end, max(low, high))
                if start <= end:
                    meets = True
                    break
            if meets or odd:
                out[p] = 0.0
                break


def _lights(scene: Scene, centres: Array, headings: Array, red_lanes: tuple[RedLane, ...]) -> Array:
    """TLC: 0 for a plan that is on a lane while its light is red."""
    out = np.ones(len(centres))
    half = 0.5 * scene.vehicle.length_m, 0.5 * scene.vehicle.width_m
    angles = np.ascontiguousarray(headings)
    times = np.arange(STEPS + 1) * STEP_S
    for lane in red_lanes:
        steps = np.flatnonzero((times >= lane.start_s - 1e-9) & (times <= lane.end_s + 1e-9))
        if len(steps):
            polygon = Area.pack((lane.polygon_m,), (), ()).points_m
            _touches(centres, angles, *half, polygon, int(steps[0]), int(steps[-1]), out)
    return out


def _history_comfort(states: Array, past: Array, rear_to_centre_m: float) -> Array:
    """HC: the six bounds over past and plan; accelerations along and across are the box centre's."""
    if past.ndim != 2 or past.shape[1] != 5:
        raise ValueError(f"the past is {past.shape}, not (H, 5)")
    heading, accel, lateral, rate, turn = (
        np.concatenate((np.broadcast_to(past[:, column], (len(states), len(past))), planned), axis=1)
        for column, planned in (
            (PAST_HEADING, states[..., HEADING]),
            (PAST_ACCEL, states[..., ACCEL]),
            (PAST_LATERAL, np.zeros(states.shape[:2])),  # none at the rear axle of the kinematic bicycle
            (PAST_YAW_RATE, states[..., YAW_RATE]),
            (PAST_YAW_ACCEL, yaw_accelerations(states)),
        )
    )
    n = heading.shape[1]
    smooth, slope = savgol_matrix(n, 8, 2).T, savgol_matrix(n, 15, 2, 1, STEP_S).T
    # nuPlan moves an acceleration along the body by both angular terms; its y component stays.
    along = (accel + rear_to_centre_m * (rate**2 + turn)) @ smooth
    across = lateral @ smooth
    size = np.hypot(accel, lateral) @ smooth
    heading = np.unwrap(heading, axis=1)
    good: Bools = (
        (along > MIN_ACCEL_MPS2)
        & (along < MAX_ACCEL_MPS2)
        & (np.abs(across) < MAX_LATERAL_ACCEL_MPS2)
        & (np.abs(size @ slope) < MAX_JERK_MPS3)
        & (np.abs(along @ slope) < MAX_LONGITUDINAL_JERK_MPS3)
        & (np.abs(heading @ savgol_matrix(n, 5, 2, 1, STEP_S).T) < MAX_YAW_RATE_RADPS)
        & (np.abs(heading @ savgol_matrix(n, 5, 3, 2, STEP_S).T) < MAX_YAW_ACCEL_RADPS2)
    )
    return np.where(good.all(axis=1), 1.0, 0.0)


def _change_comfort(states: Array, earlier: Array, gap_s: float) -> Array:
    """EC: how far the plan departs from the earlier one where both overlap in time."""
    gap = round(gap_s / STEP_S)
    if not 0.0 < gap_s < MOST_GAP_S or gap == 0:
        raise ValueError(f"gap_s is {gap_s}, not in (0, {MOST_GAP_S})")
    if earlier.shape != states.shape[1:]:
        raise ValueError(f"the earlier track is {earlier.shape}, not {states.shape[1:]}")
    now, then = states[:, :-gap], earlier[None, gap:]
    n = now.shape[1]
    size = (np.abs(now[..., ACCEL]) - np.abs(then[..., ACCEL])) @ savgol_matrix(n, 8, 2).T
    heading = np.unwrap(now[..., HEADING], axis=1) - np.unwrap(then[..., HEADING], axis=1)
    differences = (
        size,
        size @ savgol_matrix(n, 15, 2, 1, STEP_S).T,
        heading @ savgol_matrix(n, 5, 2, 1, STEP_S).T,
        heading @ savgol_matrix(n, 5, 2, 2, STEP_S).T,
    )
    good = np.ones(len(states), np.bool_)
    for difference, most in zip(differences, MOST_DIFFERENCE, strict=True):
        good &= np.sqrt((difference**2).mean(axis=1)) <= most
    return good.astype(np.float64)


def yaw_accelerations(states: Array) -> Array:
    """(P, T) of tracks (P, T, 7) as the simulation states them: 0 at the start, then the change of the yaw rate."""
    out = np.zeros(states.shape[:2])
    out[:, 1:] = np.diff(states[..., YAW_RATE], axis=1) / STEP_S
    return out
