"""Speed along a given lateral path: free driving, following, and yielding, as one profile over the horizon."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from .expert_predict import STEP_S, STEPS, Forecast
from .expert_route import Array, LateralPath, RouteFrame

HALF_LENGTH_M = 2.45  # of the ego's box
HALF_WIDTH_M = 1.05

LATERAL_ACCEL_MPS2 = 2.5  # in curves
CURVE_BRAKE_MPS2 = 1.8  # ahead of them
HARDEST_MPS2 = 8.0
YIELD_STEPS = round(3.6 / STEP_S)  # who crosses later than this is not yet thought of
EARLY_MPS2 = 2.2  # for somebody who is not in the way yet, but will be


@dataclass(frozen=True, slots=True)
class SpeedStyle:
    """How a driver sets the speed.

    Attributes:
        accel_mps2: Largest acceleration.
        brake_mps2: Comfortable deceleration of the following law.
        headway_s: Time gap to a lead.
        standstill_m: Gap at standstill.
        yield_s: An agent that crosses is let through if it and the ego would meet within this time.
    """

    accel_mps2: float = 1.8
    brake_mps2: float = 2.5
    headway_s: float = 1.0
    standstill_m: float = 3.0
    yield_s: float = 0.7


@dataclass(frozen=True, slots=True)
class SpeedProfile:
    """A profile over the horizon.

    Attributes:
        s_m: (T,) ego centre along the route.
        v_mps: (T,) speed.
        binding: Index of the agent that holds the ego back most in the next 2 s; -1 for none.
        yielding: Indices of agents that are let through.
    """

    s_m: Array
    v_mps: Array
    binding: int
    yielding: tuple[int, ...]


def speed_limits(frame: RouteFrame, path: LateralPath, cruise_mps: float) -> Array:
    """Speed that curves and the limit allow at `frame.s_m`, braking for curves ahead included, (M,) m/s."""
    curvature = np.abs(frame.curvature + path.curvature(frame.s_m))
    limits = np.minimum(cruise_mps, np.sqrt(LATERAL_ACCEL_MPS2 / np.maximum(curvature, 1e-4)))
    _brake_ahead(frame.s_m, limits)
    return limits


@numba.njit("void(float64[::1], float64[::1])", cache=True)
def _brake_ahead(s_m: Array, limits_mps: Array) -> None:
    for i in range(len(limits_mps) - 2, -1, -1):
        reach = limits_mps[i + 1] ** 2 + 2.0 * CURVE_BRAKE_MPS2 * (s_m[i + 1] - s_m[i])
        limits_mps[i] = min(limits_mps[i], math.sqrt(reach))


@numba.njit("float64[::1](float64, float64, float64[::1], float64[::1], float64)", cache=True)
def free_run(s_m: float, v_mps: float, grid_m: Array, limits_mps: Array, accel_mps2: float) -> Array:
    """Progress along a path if nobody held the ego up, (T,) metres."""
    along = np.empty(STEPS)
    along[0] = s_m
    v = max(v_mps, 0.0)
    for t in range(1, STEPS):
        limit = np.interp(along[t - 1], grid_m, limits_mps)
        v = min(v + accel_mps2 * STEP_S, limit)
        along[t] = along[t - 1] + v * STEP_S
    return along


def in_corridor(path: LateralPath, agents: Forecast, margins_m: Array) -> NDArray[np.bool_]:
    """Which agents are expected in the ego's way, (N, T), wherever along the route that is."""
    gap_m = np.abs(agents.d_m - path.at(agents.s_m)) - agents.half_across_m - HALF_WIDTH_M
    return gap_m < margins_m[:, None]


def plan_speed(
    frame: RouteFrame,
    path: LateralPath,
    agents: Forecast,
    margins_m: Array,
    *,
    s_m: float,
    v_mps: float,
    accel_mps2: float,
    limits_mps: Array,
    stop_at_m: float,
    style: SpeedStyle,
    yielded_to: frozenset[int],
) -> SpeedProfile:
    """Profile on `path`: first as if nobody crossed, then with those let through who would meet the ego.

    Args:
        frame: The route.
        path: Lateral path.
        agents: Forecast of N agents.
        margins_m: (N,) sideways room asked for.
        s_m: Ego centre along the route.
        v_mps: Its speed.
        accel_mps2: Its acceleration.
        limits_mps: From `speed_limits`.
        stop_at_m: The ego's centre does not pass this s; inf for no stop.
        style: Driver's style.
        yielded_to: Ids that were let through by the last plan: they are met with more patience.

    Returns:
        The profile.
    """
    inside = in_corridor(path, agents, margins_m)
    rear = agents.s_m - agents.half_along_m
    nose = agents.s_m + agents.half_along_m
    ahead = nose[:, 0] > s_m - HALF_LENGTH_M
    follows = np.abs(agents.across_mps) < 0.4
    count = len(agents.ids)
    active = inside & ahead[:, None] & (follows & inside[:, 0])[:, None]
    hardest = np.full(inside.shape, -HARDEST_MPS2)
    target = rear.copy()
    speed = np.maximum(agents.along_mps, 0.0)

    def simulate() -> tuple[Array, Array, int]:
        return _simulate(
            s_m, v_mps, accel_mps2, frame.s_m, limits_mps, target, speed, active, hardest, stop_at_m,
            style.accel_mps2, style.brake_mps2, style.headway_s, style.standstill_m,
        )  # fmt: skip

    along, v, binding = simulate()
    yielding: list[int] = []
    for n in range(count):
        if active[n, 0] or not ahead[n] or not inside[n].any():
            continue
        times = np.flatnonzero(inside[n])
        comes_over = agents.along_mps[n, times[0]] > 1.0
        patience_s, steps = style.yield_s, STEPS if comes_over else YIELD_STEPS
        if agents.ids[n] in yielded_to:
            patience_s, steps = 1.7 * patience_s, STEPS
        if not _meets(along, times[times < steps], rear[n], nose[n], patience_s):
            continue
        yielding.append(n)
        if comes_over:  # follow it from now on
            active[n] = True
            hardest[n, ~inside[n]] = -EARLY_MPS2
        else:
            target[n] = rear[n][inside[n]].min()
            speed[n] = 0.0
            active[n] = np.arange(STEPS) <= times[-1] + round(0.2 / STEP_S)
    if yielding:
        along, v, binding = simulate()
    return SpeedProfile(along, v, binding, tuple(yielding))


def _meets(along_m: Array, times: NDArray[np.intp], rear_m: Array, nose_m: Array, patience_s: float) -> bool:
    """Whether ego and agent overlap along the route at some of the times, give or take `patience_s`."""
    shift = round(patience_s / STEP_S)
    for late in (-shift, 0, shift):
        ego = along_m[np.clip(times + late, 0, STEPS - 1)]
        touch = (ego + HALF_LENGTH_M + 1.0 > rear_m[times]) & (ego - HALF_LENGTH_M - 0.5 < nose_m[times])
        if touch.any():
            return True
    return False


@numba.njit(
    "Tuple((float64[::1], float64[::1], int64))(float64, float64, float64, float64[::1], float64[::1],"
    "float64[:, ::1], float64[:, ::1], boolean[:, ::1], float64[:, ::1], float64, float64, float64, float64,"
    "float64)",
    cache=True,
)
def _simulate(
    s_m: float,
    v_mps: float,
    accel_mps2: float,
    grid_m: Array,
    limits_mps: Array,
    target_m: Array,
    speed_mps: Array,
    active: NDArray[np.bool_],
    hardest_mps2: Array,
    stop_at_m: float,
    accel_max: float,
    brake: float,
    headway_s: float,
    standstill_m: float,
) -> tuple[Array, Array, int]:
    count, steps = target_m.shape
    along = np.empty(steps)
    speed = np.empty(steps)
    along[0], speed[0] = s_m, max(v_mps, 0.0)
    v, a = speed[0], accel_mps2
    held = np.zeros(count)
    scale = 2.0 * math.sqrt(accel_max * brake)
    for t in range(1, steps):
        limit = np.interp(along[t - 1] + 0.3 * v, grid_m, limits_mps)
        wanted = min(max((limit - v) / 0.6, -3.0), accel_max)
        free = wanted
        for n in range(count):
            if not active[n, t - 1]:
                continue
            gap = target_m[n, t - 1] - along[t - 1] - HALF_LENGTH_M
            closing = v - speed_mps[n, t - 1]
            desired = standstill_m + max(0.0, v * headway_s + v * closing / scale)
            pull = accel_max * (1.0 - (desired / max(gap, 0.3)) ** 2)
            pull = max(pull, hardest_mps2[n, t - 1])
            if t * STEP_S <= 2.0 and pull < free - 0.2:
                held[n] += free - pull
            wanted = min(wanted, pull)
        left = stop_at_m - along[t - 1]
        if left < 60.0:
            needed = v * v / (2.0 * max(left, 0.2))
            if needed > 2.0 or left < 0.5:
                wanted = min(wanted, -needed)
            elif left < 6.0:
                wanted = min(wanted, (math.sqrt(2.0 * 1.2 * max(left, 0.0)) - v) / 0.4)
        a += min(max(wanted - a, -12.0 * STEP_S), 7.0 * STEP_S)  # jerk into the brake, and out of it
        v_new = max(v + a * STEP_S, 0.0)
        along[t] = along[t - 1] + 0.5 * (v + v_new) * STEP_S
        v = v_new
        if v == 0.0:
            a = max(a, 0.0)
        speed[t] = v
    binding = -1
    if count > 0 and held.max() > 0.0:
        binding = int(held.argmax())
    return along, speed, binding
