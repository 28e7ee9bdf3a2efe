"""The CARLA leaderboard's figures: route completion, infraction score, driving score, success."""

from __future__ import annotations

from collections.abc import Sequence

from ..vocabulary import Infraction

# Factor per event. Kinds of factor 1 are infractions (no success) that the leaderboard punishes by the lost route.
PENALTIES: dict[str, float] = {
    "collision_pedestrian": 0.50,
    "collision_vehicle": 0.60,
    "collision_static": 0.65,
    "red_light": 0.70,
    "stop_sign": 0.80,
    "scenario_timeout": 0.70,
    "yield_emergency": 0.70,
    "outside_lane": 1.0,  # proportional: the share of the route driven outside its lanes, see `outside_share`
    "route_deviation": 1.0,
    "blocked": 1.0,
}


def infraction_score(infractions: Sequence[Infraction], outside_share: float = 0.0) -> float:
    """Product of the penalties, 0..1.

    Args:
        infractions: All of one episode.
        outside_share: Share of the driven route outside the lanes, 0..1.

    Raises:
        KeyError: An infraction of an unknown kind.
    """
    score = 1.0 - min(max(outside_share, 0.0), 1.0)
    for one in infractions:
        score *= PENALTIES[one.kind]
    return score


def driving_score(rc: float, infractions: Sequence[Infraction], outside_share: float = 0.0) -> float:
    """DS = RC x infraction score, 0..100.

    Args:
        rc: Route completion, 0..100.
        infractions: All of the episode.
        outside_share: Share of the driven route outside the lanes.
    """
    return min(max(rc, 0.0), 100.0) * infraction_score(infractions, outside_share)


def is_success(rc: float, infractions: Sequence[Infraction]) -> bool:
    """SR counts an episode whose route is complete without any infraction."""
    return rc >= 100.0 and not infractions
