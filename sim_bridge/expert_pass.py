"""Ways round something that stands in the lane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .expert_predict import Forecast
from .expert_route import Array, LateralPath, RouteFrame
from .expert_speed import HALF_LENGTH_M, HALF_WIDTH_M

LOOK_AHEAD_M = 50.0
CHAIN_GAP_M = 14.0  # standing things closer than this behind one another are passed in one go
BEFORE_M = 1.5  # the ego is beside by so much before it reaches the obstacle, and stays so after it
EDGE_M = 0.15  # kept to the edge of the road
WAIT_GAP_M = 13.0  # front to obstacle, while an oncoming vehicle is let by: room enough to pull out again
MAX_LATERAL_MPS2 = 4.0
MIN_RAMP_M = 7.0
QUINTIC_PEAK = 5.7735  # largest second derivative of the quintic step


@dataclass(frozen=True, slots=True)
class Block:
    """Standing things in the lane, in the route's frame.

    Attributes:
        indices: Into the forecast.
        s_m: First and last point along the route.
        d_m: Right and left edge.
    """

    indices: tuple[int, ...]
    s_m: tuple[float, float]
    d_m: tuple[float, float]


def find_block(agents: Forecast, s_m: float, lane_margin_m: float) -> Block | None:
    """Standing things ahead that the ego would hit, or scrape, if it kept its lane; with their neighbours in a row.

    Args:
        agents: Forecast.
        s_m: Ego centre.
        lane_margin_m: Sideways room asked for.

    Returns:
        The nearest block; None for a free lane.
    """
    edges = []
    for n, still in enumerate(agents.still):
        along, across = agents.half_along_m[n, 0], agents.half_across_m[n, 0]
        s, d = float(agents.s_m[n, 0]), float(agents.d_m[n, 0])
        beside = abs(d) - across - HALF_WIDTH_M >= lane_margin_m
        if still and not beside and s + along > s_m - HALF_LENGTH_M and s - along < s_m + LOOK_AHEAD_M:
            edges.append((s - along, s + along, d - across, d + across, n))
    if not edges:
        return None
    edges.sort()
    low, high, right, left, first = edges[0]
    indices = [first]
    for edge in edges[1:]:
        if edge[0] > high + CHAIN_GAP_M:
            break
        high, right, left = max(high, edge[1]), min(right, edge[2]), max(left, edge[3])
        indices.append(edge[4])
    if all(agents.walker[n] for n in indices):
        return None  # a person who stands in the road is waited for
    return Block(tuple(indices), (low, high), (right, left))


def ways_round(
    frame: RouteFrame,
    room_m: Array,
    block: Block,
    *,
    s_m: float,
    offset_m: float,
    v_mps: float,
    cruise_mps: float,
    clearance_m: float,
    swerve_s: float,
) -> list[LateralPath]:
    """Paths past a block that stay on the road, the smaller offset first.

    Args:
        frame: The route.
        room_m: From `room_beside`.
        block: What stands in the way.
        s_m: Ego centre.
        offset_m: Its offset now.
        v_mps: Its speed.
        cruise_mps: Usual speed here; sets where the ramp begins.
        clearance_m: Sideways room to the block.
        swerve_s: Duration of the ramp at cruise speed.

    Returns:
        Zero to two paths.
    """
    paths = []
    left = block.d_m[1] + HALF_WIDTH_M + clearance_m
    right = block.d_m[0] - HALF_WIDTH_M - clearance_m
    ramp_m = max(swerve_s * cruise_mps, 12.0)
    end_m = block.s_m[0] - HALF_LENGTH_M - BEFORE_M
    begin_m = max(s_m, end_m - ramp_m)
    back_m = block.s_m[1] + HALF_LENGTH_M + BEFORE_M
    for offset in sorted((left, right), key=abs):
        side = room_m[0] if offset > 0.0 else room_m[1]
        beside = (frame.s_m >= block.s_m[0] - HALF_LENGTH_M) & (frame.s_m <= block.s_m[1] + HALF_LENGTH_M)
        if abs(offset) + HALF_WIDTH_M + EDGE_M > float(np.min(side[beside], initial=math.inf)):
            continue
        needed_m = v_mps * math.sqrt(QUINTIC_PEAK * abs(offset - offset_m) / MAX_LATERAL_MPS2)
        if end_m - begin_m < max(needed_m, MIN_RAMP_M):
            continue
        base_m = offset_m if begin_m == s_m else 0.0
        paths.append(LateralPath(offset, (begin_m, end_m), (back_m, back_m + ramp_m), base_m))
    return paths
