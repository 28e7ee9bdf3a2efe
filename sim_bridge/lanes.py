"""The lane that a road user follows, as world points, from the client library's map."""

from __future__ import annotations

import math

import carla
import numpy as np

from ..vocabulary import Agent
from . import convert
from .expert_route import Array

STEP_M = 3.0
OFF_LANE_RAD = 0.6  # a vehicle turned further than this away from the lane does not follow it


class LaneLines:
    """Lanes ahead of agents.

    Args:
        carla_map: The map of the running world.
    """

    def __init__(self, carla_map: carla.Map) -> None:
        self._map = carla_map

    def ahead(self, agent: Agent, distance_m: float) -> Array | None:
        """Points along the agent's lane, at its present offset from the lane's middle.

        At a fork it goes the way that is straightest.

        Args:
            agent: The road user.
            distance_m: How far.

        Returns:
            (K >= 2, 2) world points, the first one at the agent; None if it is on no lane or not along one.
        """
        return self._follow(agent.x_m, agent.y_m, agent.yaw_rad, distance_m)

    def from_pose(self, x_m: float, y_m: float, yaw_rad: float, distance_m: float) -> Array:
        """The same from a pose that is known to lie along a lane.

        Raises:
            ValueError: It does not.
        """
        points = self._follow(x_m, y_m, yaw_rad, distance_m)
        if points is None:
            raise ValueError(f"no lane along ({x_m:.1f}, {y_m:.1f}) m, {yaw_rad:.2f} rad")
        return points

    def _follow(self, x_m: float, y_m: float, yaw_rad: float, distance_m: float) -> Array | None:
        waypoint = self._map.get_waypoint(convert.location(x_m, y_m), project_to_road=False)
        if waypoint is None:
            return None
        middle_x, middle_y, lane_rad = convert.pose(waypoint.transform)
        if abs(convert.wrap(yaw_rad - lane_rad)) > OFF_LANE_RAD:
            return None
        offset = -math.sin(lane_rad) * (x_m - middle_x) + math.cos(lane_rad) * (y_m - middle_y)
        points = [(x_m, y_m)]
        for _ in range(math.ceil(distance_m / STEP_M)):
            following = waypoint.next(STEP_M)
            if not following:
                break
            waypoint = following[0]
            if len(following) > 1:
                waypoint = min(
                    following, key=lambda w: abs(convert.wrap(convert.pose(w.transform)[2] - lane_rad))
                )
            middle_x, middle_y, lane_rad = convert.pose(waypoint.transform)
            points.append((middle_x - math.sin(lane_rad) * offset, middle_y + math.cos(lane_rad) * offset))
        return np.array(points) if len(points) > 1 else None
