"""Time to collision of oriented boxes that keep their velocity and heading: exact, by separating axes over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..vocabulary import Agent, EgoState
from .kinematics import EGO, VehicleParams

Array = NDArray[np.float64]


@njit(
    "float64(float64, float64, float64, float64, float64, float64, float64, float64,"
    " float64, float64, float64, float64, float64)",
    cache=True,
)
def meeting_time(
    dx: float,
    dy: float,
    vx: float,
    vy: float,
    cos: float,
    sin: float,
    half_length_m: float,
    half_width_m: float,
    other_cos: float,
    other_sin: float,
    other_half_length_m: float,
    other_half_width_m: float,
    horizon: float,
) -> float:
    """First time in [0, horizon] at which the boxes meet; inf for none. d and v are other minus own."""
    reach = math.hypot(half_length_m, half_width_m) + math.hypot(other_half_length_m, other_half_width_m)
    if math.hypot(dx, dy) - math.hypot(vx, vy) * horizon > reach:
        return math.inf
    c = abs(cos * other_cos + sin * other_sin)
    s = abs(cos * other_sin - sin * other_cos)
    start, end = 0.0, horizon
    for axis in range(4):
        if axis == 0:
            ax, ay, gap = cos, sin, half_length_m + other_half_length_m * c + other_half_width_m * s
        elif axis == 1:
            ax, ay, gap = -sin, cos, half_width_m + other_half_length_m * s + other_half_width_m * c
        elif axis == 2:
            ax, ay, gap = other_cos, other_sin, other_half_length_m + half_length_m * c + half_width_m * s
        else:
            ax, ay, gap = -other_sin, other_cos, other_half_width_m + half_length_m * s + half_width_m * c
        distance = dx * ax + dy * ay
        speed = vx * ax + vy * ay
        if abs(speed) < 1e-9:
            if abs(distance) > gap:
                return math.inf
            continue
        enter, leave = (-gap - distance) / speed, (gap - distance) / speed
        if enter > leave:
            enter, leave = leave, enter
        start, end = max(start, enter), min(end, leave)
        if start > end:
            return math.inf
    return start


@njit(
    "float64(float64, float64, float64, float64, float64, float64, float64[:, ::1], float64)",
    cache=True,
)
def _first(
    x: float,
    y: float,
    yaw: float,
    speed: float,
    half_length_m: float,
    half_width_m: float,
    others: Array,
    horizon: float,
) -> float:
    """Earliest meeting with any of `others` (N, 7): x, y, yaw, vx, vy, length, width."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    best = math.inf
    for i in range(others.shape[0]):
        if math.isnan(others[i, 0]):
            continue
        t = meeting_time(
            others[i, 0] - x,
            others[i, 1] - y,
            others[i, 3] - speed * cos,
            others[i, 4] - speed * sin,
            cos,
            sin,
            half_length_m,
            half_width_m,
            math.cos(others[i, 2]),
            math.sin(others[i, 2]),
            0.5 * others[i, 5],
            0.5 * others[i, 6],
            min(best, horizon),
        )
        best = min(best, t)
    return best


@njit(
    "void(float64[:, ::1], float64[:, :, ::1], float64[:, ::1], float64, float64, float64, float64[::1])",
    cache=True,
)
def _along(
    track: Array,
    agents: Array,
    sizes: Array,
    half_length_m: float,
    half_width_m: float,
    horizon: float,
    out: Array,
) -> None:
    others = np.empty((agents.shape[0], 7))
    for t in range(track.shape[0]):
        for i in range(agents.shape[0]):
            others[i, :5] = agents[i, t]
            others[i, 5:] = sizes[i]
        x, y, yaw, speed = track[t]
        out[t] = _first(x, y, yaw, speed, half_length_m, half_width_m, others, horizon)


def time_to_collision(
    ego: EgoState, agents: Sequence[Agent], horizon_s: float = 4.0, params: VehicleParams = EGO
) -> float:
    """Time until the ego's box meets another one if all keep velocity and heading.

    Args:
        ego: World frame, box centre.
        agents: World frame; `vx_mps` and `vy_mps` are what counts.
        horizon_s: Later meetings are none.
        params: The ego's size.

    Returns:
        Seconds; 0 if they overlap now, inf for none within the horizon.
    """
    if not agents:
        return math.inf
    others = np.array(
        [(a.x_m, a.y_m, a.yaw_rad, a.vx_mps, a.vy_mps, a.length_m, a.width_m) for a in agents], np.float64
    )
    half = 0.5 * params.length_m, 0.5 * params.width_m
    return float(_first(ego.x_m, ego.y_m, ego.yaw_rad, ego.speed_mps, *half, others, horizon_s))


def ttc_along(
    track: ArrayLike,
    agents: ArrayLike,
    agent_size_m: ArrayLike,
    horizon_s: float = 4.0,
    params: VehicleParams = EGO,
) -> Array:
    """Constant-velocity time to collision at every step of a track.

    Args:
        track: (T, 4) x, y, yaw, speed of the ego's box centre, world.
        agents: (N, T, 5) x, y, yaw, vx, vy at the same times, world; NaN where an agent is absent.
        agent_size_m: (N, 2) length, width.
        horizon_s: Later meetings are none.
        params: The ego's size.

    Returns:
        (T,) seconds, inf for none.
    """
    rows = np.array(track, np.float64, order="C")
    others = np.array(agents, np.float64, order="C").reshape(-1, len(rows), 5)
    sizes = np.array(agent_size_m, np.float64, order="C").reshape(-1, 2)
    out = np.empty(len(rows))
    _along(rows, others, sizes, 0.5 * params.length_m, 0.5 * params.width_m, horizon_s, out)
    return out


def min_ttc_s(
    track: ArrayLike,
    agents: ArrayLike,
    agent_size_m: ArrayLike,
    horizon_s: float = 4.0,
    params: VehicleParams = EGO,
) -> float:
    """Smallest of `ttc_along`."""
    return float(ttc_along(track, agents, agent_size_m, horizon_s, params).min())
