"""The lane that a road user follows, as world points, from the client library's map."""

from __future__ import annotations

import math

import carla
import numpy as np

from ..scoring.frames import wrap
from ..vocabulary import Agent
from . import convert
from .expert_route import Array

STEP_M = 3.0
FORK_M = 15.0
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

    def room(self, x_m: float, y_m: float, yaw_rad: float) -> tuple[float, float] | None:
        """Driving lanes beside a place, those of the other direction included.

        Args:
            x_m: World.
            y_m: World.
            yaw_rad: Direction of travel.

        Returns:
            Distance to the left and to the right edge of the outermost driving lanes; None off the road.
        """
        waypoint = self._map.get_waypoint(convert.location(x_m, y_m), project_to_road=False)
        if waypoint is None:
            return None
        middle_x, middle_y, lane_rad = convert.pose(waypoint.transform)
        offset = -math.sin(yaw_rad) * (x_m - middle_x) + math.cos(yaw_rad) * (y_m - middle_y)
        left_m, right_m = _width_beyond(waypoint, left=True), _width_beyond(waypoint, left=False)
        if abs(wrap(yaw_rad - lane_rad)) > 0.5 * math.pi:
            left_m, right_m = right_m, left_m
        half_m = 0.5 * waypoint.lane_width
        return half_m + left_m - offset, half_m + right_m + offset

    def _follow(self, x_m: float, y_m: float, yaw_rad: float, distance_m: float) -> Array | None:
        waypoint = self._map.get_waypoint(convert.location(x_m, y_m), project_to_road=False)
        if waypoint is None:
            return None
        middle_x, middle_y, lane_rad = convert.pose(waypoint.transform)
        if abs(wrap(yaw_rad - lane_rad)) > OFF_LANE_RAD:
            return None
        offset = -math.sin(lane_rad) * (x_m - middle_x) + math.cos(lane_rad) * (y_m - middle_y)
        points = [(x_m, y_m)]
        for _ in range(math.ceil(distance_m / STEP_M)):
            following = waypoint.next(STEP_M)
            if not following:
                break
            waypoint = min(following, key=_bend_rad) if len(following) > 1 else following[0]
            middle_x, middle_y, lane_rad = convert.pose(waypoint.transform)
            points.append((middle_x - math.sin(lane_rad) * offset, middle_y + math.cos(lane_rad) * offset))
        return np.array(points) if len(points) > 1 else None


def _bend_rad(way: carla.Waypoint) -> float:
    """How much a way turns in the next FORK_M: where lanes part, they all begin straight."""
    further = way.next(FORK_M)
    if not further:
        return 0.0
    return abs(wrap(convert.pose(further[0].transform)[2] - convert.pose(way.transform)[2]))


def _width_beyond(waypoint: carla.Waypoint, *, left: bool) -> float:
    """Width of the driving lanes on one side of a lane."""
    width_m, direction = 0.0, waypoint.lane_id
    here = waypoint.get_left_lane() if left else waypoint.get_right_lane()
    while here is not None and here.lane_type == carla.LaneType.Driving:
        width_m += here.lane_width
        same = here.lane_id * direction > 0  # left and right are those of each lane's own direction
        here = here.get_left_lane() if left == same else here.get_right_lane()
    return width_m
