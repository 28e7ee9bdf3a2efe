"""A route: the centre line of chosen lanes at 1 m, its commands, and where a car is along it. House frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import carla
import numpy as np
from numpy.typing import NDArray

from ..scoring.frames import wrap
from ..vocabulary import Command
from . import convert
from .scenarios.base import RouteSpec

Array = NDArray[np.float64]

STEP_M = 1.0
CHANGE_M = 25.0  # length of a lane change of the route
TURN_RAD = 0.5  # a way through a junction that turns by more than this is a turn
LEAD_M = 25.0  # a turn is commanded this far before its junction
CHANGE_LEAD_M = 10.0
BACK_POINTS, AHEAD_POINTS = 10, 30  # window of the nearest-point search


@dataclass(frozen=True, slots=True)
class RoutePlace:
    """Where a pose is on a route.

    Attributes:
        index: Nearest point of the centre line.
        progress_m: Along the route.
        lateral_m: From the centre line, positive to the left.
        heading_error_rad: Yaw minus the line's direction, in (-pi, pi].
    """

    index: int
    progress_m: float
    lateral_m: float
    heading_error_rad: float


@dataclass(frozen=True, slots=True)
class Route:
    """Centre line of a route.

    Attributes:
        points_m: (M, 2) world, STEP_M apart along the line.
        yaw_rad: (M,) direction, unwrapped.
        commands: (M,) what the policy is told there.
        height_m: Of the road at the first point.
    """

    points_m: Array
    yaw_rad: Array
    commands: tuple[Command, ...]
    height_m: float = 0.0

    @property
    def length_m(self) -> float:
        """Of the whole line."""
        return (len(self.points_m) - 1) * STEP_M

    def pose_at(self, s_m: float, d_m: float = 0.0) -> tuple[float, float, float]:
        """Pose beside the line.

        Args:
            s_m: Along the route; before the start and after the end the line goes on straight.
            d_m: To the left of it.

        Returns:
            x_m, y_m, yaw_rad of the line.
        """
        held = min(max(s_m, 0.0), self.length_m)
        index = np.arange(len(self.points_m)) * STEP_M
        x_m = float(np.interp(held, index, self.points_m[:, 0]))
        y_m = float(np.interp(held, index, self.points_m[:, 1]))
        yaw_rad = float(np.interp(held, index, self.yaw_rad))
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        beyond = s_m - held
        return x_m + beyond * cos - d_m * sin, y_m + beyond * sin + d_m * cos, wrap(yaw_rad)

    def locate(self, x_m: float, y_m: float, yaw_rad: float, near: int | None = None) -> RoutePlace:
        """Place of a pose.

        Args:
            x_m: World.
            y_m: World.
            yaw_rad: World.
            near: Index of the last place: only points near it are looked at; None searches the whole route.

        Returns:
            The place at the nearest point; progress is not held inside the route.
        """
        first = 0 if near is None else max(near - BACK_POINTS, 0)
        last = len(self.points_m) if near is None else near + AHEAD_POINTS
        gap_x = x_m - self.points_m[first:last, 0]
        gap_y = y_m - self.points_m[first:last, 1]
        index = first + int((gap_x * gap_x + gap_y * gap_y).argmin())
        line_rad = float(self.yaw_rad[index])
        cos, sin = math.cos(line_rad), math.sin(line_rad)
        dx, dy = float(gap_x[index - first]), float(gap_y[index - first])
        return RoutePlace(
            index,
            index * STEP_M + dx * cos + dy * sin,
            -dx * sin + dy * cos,
            wrap(yaw_rad - line_rad),
        )


def build_route(carla_map: carla.Map, spec: RouteSpec) -> Route:
    """Follows the lanes that a spec chooses.

    Args:
        carla_map: Map of the world.
        spec: Start and choices.

    Returns:
        The route.

    Raises:
        ValueError: No such lane, a turn or lane change that the road does not offer, or the road ends.
    """
    waypoint = carla_map.get_waypoint_xodr(spec.road_id, spec.lane_id, spec.s_m)
    if waypoint is None:
        raise ValueError(
            f"{spec.map_name} has no lane {spec.lane_id} of road {spec.road_id} at s = {spec.s_m} m"
        )
    height_m = waypoint.transform.location.z
    points = [convert.point(waypoint.transform.location)]
    marks = [Command.FOLLOW_LANE]
    turns, changes = list(spec.turns), list(spec.changes)
    travelled_m, wanted = 0.0, Command.FOLLOW_LANE
    while travelled_m < spec.length_m + 2.0 * STEP_M:
        if changes and travelled_m >= changes[0][0]:
            _, side = changes.pop(0)
            waypoint, bent = _change(waypoint, side)
            points += bent
            marks += [side] * len(bent)
            travelled_m += CHANGE_M
            continue
        following = waypoint.next(STEP_M)
        if not following:
            raise ValueError(f"the road ends {travelled_m:.0f} m along the route from road {spec.road_id}")
        if following[0].is_junction and not waypoint.is_junction:
            waypoint, wanted = _choose(following, turns)
        else:
            waypoint = min(following, key=lambda w: abs(_turn_rad(w, waypoint)))
            if not waypoint.is_junction:
                wanted = Command.FOLLOW_LANE
        points.append(convert.point(waypoint.transform.location))
        marks.append(wanted)
        travelled_m += math.dist(points[-1], points[-2])  # in a bend the lane's middle is not the road's
    return _resample(np.array(points), marks, spec.length_m, height_m)


def _turn_rad(after: carla.Waypoint, before: carla.Waypoint) -> float:
    return wrap(convert.pose(after.transform)[2] - convert.pose(before.transform)[2])


def _choose(ways: list[carla.Waypoint], turns: list[Command]) -> tuple[carla.Waypoint, Command]:
    """Way into a junction, and its command: FOLLOW_LANE where there is neither a choice nor a turn."""
    angles = []
    for way in ways:
        end = way
        while end.is_junction:
            following = end.next(STEP_M)
            if not following:
                break
            end = following[0]
        angles.append(_turn_rad(end, way))
    kinds = [
        Command.TURN_LEFT if a > TURN_RAD else Command.TURN_RIGHT if a < -TURN_RAD else Command.GO_STRAIGHT
        for a in angles
    ]
    if len(ways) == 1 and kinds[0] is Command.GO_STRAIGHT:
        return ways[0], Command.FOLLOW_LANE
    if turns:
        asked = turns.pop(0)
        if asked not in kinds:
            raise ValueError(
                f"the junction offers {[k.value for k in kinds]} from this lane, not {asked.value}"
            )
        pick = kinds.index(asked)
    else:
        pick = min(range(len(ways)), key=lambda i: abs(angles[i]))
    return ways[pick], kinds[pick]


def _change(waypoint: carla.Waypoint, side: Command) -> tuple[carla.Waypoint, list[tuple[float, float]]]:
    """Smooth move to the neighbour lane over CHANGE_M; the waypoint after it lies on the new lane."""
    points = []
    steps = round(CHANGE_M / STEP_M)
    beside = waypoint
    for step in range(1, steps + 1):
        following = waypoint.next(STEP_M)
        if not following:
            raise ValueError("the road ends in a lane change of the route")
        waypoint = following[0]
        beside = waypoint.get_left_lane() if side is Command.CHANGE_LEFT else waypoint.get_right_lane()
        if (
            beside is None
            or beside.lane_type != carla.LaneType.Driving
            or beside.lane_id * waypoint.lane_id < 0
        ):
            raise ValueError(
                f"no lane for {side.value} beside lane {waypoint.lane_id} of road {waypoint.road_id}"
            )
        u = step / steps
        share = u * u * u * (10.0 + u * (-15.0 + 6.0 * u))
        x0, y0 = convert.point(waypoint.transform.location)
        x1, y1 = convert.point(beside.transform.location)
        points.append((x0 + share * (x1 - x0), y0 + share * (y1 - y0)))
    return beside, points


def _resample(points: Array, marks: list[Command], length_m: float, height_m: float) -> Route:
    gaps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(gaps)])
    count = round(length_m / STEP_M) + 1
    grid = np.arange(count) * STEP_M
    if along[-1] < grid[-1]:
        raise ValueError(f"the lanes give {along[-1]:.1f} m of a route of {length_m} m")
    line = np.stack([np.interp(grid, along, points[:, 0]), np.interp(grid, along, points[:, 1])], axis=1)
    tangent = np.gradient(line, axis=0)
    yaw_rad = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    raw = [marks[i] for i in np.minimum(np.searchsorted(along, grid), len(marks) - 1)]
    commands = list(raw)
    for i in range(count - 1, -1, -1):  # said ahead of where it is done
        if raw[i] is Command.FOLLOW_LANE:
            continue
        changing = raw[i] in (Command.CHANGE_LEFT, Command.CHANGE_RIGHT)
        lead = round((CHANGE_LEAD_M if changing else LEAD_M) / STEP_M)
        for j in range(max(i - lead, 0), i):
            if raw[j] is Command.FOLLOW_LANE:
                commands[j] = raw[i]
    return Route(line, yaw_rad, tuple(commands), height_m)
