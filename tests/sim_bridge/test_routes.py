from __future__ import annotations

import math
from pathlib import Path

import carla
import numpy as np
import pytest

from takeover.sim_bridge import convert
from takeover.sim_bridge.embedded.maps import load_xodr
from takeover.sim_bridge.map_bake import bake, inside_any, map_polygons
from takeover.sim_bridge.routes import Route, build_route
from takeover.sim_bridge.scenarios.base import RouteSpec
from takeover.vocabulary import Command

CROSS, CURVES, HIGHWAY = "TownCross", "TownCurves", "TownHighway"


@pytest.fixture(scope="module")
def maps() -> dict[str, carla.Map]:
    return {name: carla.Map(name, load_xodr(name)) for name in (CROSS, CURVES, HIGHWAY)}


def into_junction(carla_map: carla.Map, before_m: float = 36.0) -> tuple[int, int, float]:
    """(road, lane, s) of a lane `before_m` ahead of the crossing, and what it offers there."""
    for waypoint in carla_map.generate_waypoints(5.0):
        ahead = waypoint.next(before_m)
        if not waypoint.is_junction and ahead and ahead[0].is_junction and len(ahead) > 1:
            return waypoint.road_id, waypoint.lane_id, waypoint.s
    raise AssertionError("no way into a crossing")


def offered(carla_map: carla.Map, start: tuple[int, int, float]) -> dict[Command, Route]:
    found = {}
    for turn in (Command.TURN_LEFT, Command.GO_STRAIGHT, Command.TURN_RIGHT):
        try:
            found[turn] = build_route(carla_map, RouteSpec(CROSS, *start, 90.0, (turn,)))
        except ValueError:
            continue
    return found


def test_points_are_a_metre_apart_and_on_lanes(maps: dict[str, carla.Map]) -> None:
    route = build_route(maps[CURVES], RouteSpec(CURVES, 1, -1, 180.0, 120.0))
    gaps = np.hypot(*np.diff(route.points_m, axis=0).T)
    assert len(route.points_m) == 121
    assert np.abs(gaps - 1.0).max() < 0.005
    for x_m, y_m in route.points_m:
        waypoint = maps[CURVES].get_waypoint(convert.location(x_m, y_m))
        lane_x, lane_y, lane_yaw = convert.pose(waypoint.transform)
        across = (x_m - lane_x) * -math.sin(lane_yaw) + (y_m - lane_y) * math.cos(lane_yaw)
        assert abs(across) < 0.01


def test_turns_turn_the_right_way(maps: dict[str, carla.Map]) -> None:
    routes = offered(maps[CROSS], into_junction(maps[CROSS]))
    assert len(routes) >= 2
    for turn, route in routes.items():
        bend = math.degrees(route.yaw_rad[-1] - route.yaw_rad[0])
        wanted = {Command.TURN_LEFT: 90.0, Command.TURN_RIGHT: -90.0, Command.GO_STRAIGHT: 0.0}[turn]
        assert bend == pytest.approx(wanted, abs=3.0)
        told = [i for i, command in enumerate(route.commands) if command is turn]
        assert told == list(range(told[0], told[-1] + 1))
        entry = next(
            i
            for i, (x_m, y_m) in enumerate(route.points_m)
            if maps[CROSS].get_waypoint(convert.location(x_m, y_m)).is_junction
        )
        assert told[0] == pytest.approx(max(entry - 25, 0), abs=1.5)
        assert route.commands[-1] is Command.FOLLOW_LANE
        assert set(route.commands) == {turn, Command.FOLLOW_LANE}


def test_an_impossible_turn_names_the_possible_ones(maps: dict[str, carla.Map]) -> None:
    start = into_junction(maps[CROSS])
    missing = {Command.TURN_LEFT, Command.GO_STRAIGHT, Command.TURN_RIGHT} - set(offered(maps[CROSS], start))
    if not missing:
        pytest.skip("this lane offers all")
    with pytest.raises(ValueError, match="the junction offers"):
        build_route(maps[CROSS], RouteSpec(CROSS, *start, 90.0, (missing.pop(),)))


def test_lane_change_moves_one_lane_to_the_side(maps: dict[str, carla.Map]) -> None:
    spec = RouteSpec(HIGHWAY, 1, -2, 100.0, 90.0, changes=((30.0, Command.CHANGE_LEFT),))
    route = build_route(maps[HIGHWAY], spec)
    place = build_route(maps[HIGHWAY], RouteSpec(HIGHWAY, 1, -2, 100.0, 90.0))
    offsets = [place.locate(x, y, 0.0).lateral_m for x, y in route.points_m]
    assert offsets[25] == pytest.approx(0.0, abs=0.02)
    assert offsets[60] == pytest.approx(3.5, abs=0.02)
    assert np.all(np.diff(offsets) > -0.01)
    assert route.commands[40] is Command.CHANGE_LEFT
    assert route.commands[22] is Command.CHANGE_LEFT  # said before it begins
    assert route.commands[15] is Command.FOLLOW_LANE
    assert route.commands[70] is Command.FOLLOW_LANE


def test_no_lane_to_change_to(maps: dict[str, carla.Map]) -> None:
    with pytest.raises(ValueError, match="no lane for change_left"):
        build_route(
            maps[HIGHWAY], RouteSpec(HIGHWAY, 1, -1, 100.0, 90.0, changes=((30.0, Command.CHANGE_LEFT),))
        )


def test_unknown_lane(maps: dict[str, carla.Map]) -> None:
    with pytest.raises(ValueError, match="has no lane"):
        build_route(maps[CURVES], RouteSpec(CURVES, 77, -1, 0.0, 50.0))


def test_locate_is_the_inverse_of_pose_at(maps: dict[str, carla.Map]) -> None:
    route = build_route(maps[CURVES], RouteSpec(CURVES, 1, -1, 180.0, 120.0))
    near = None
    for s_m in np.arange(-3.0, 124.0, 0.7):
        d_m = 1.5 * math.sin(s_m)
        x_m, y_m, yaw_rad = route.pose_at(s_m, d_m)
        place = route.locate(x_m, y_m, yaw_rad + 0.1, near)
        near = place.index
        assert place.progress_m == pytest.approx(s_m, abs=0.06)
        assert place.lateral_m == pytest.approx(d_m, abs=0.03)
        assert place.heading_error_rad == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("name", [CROSS, CURVES, HIGHWAY])
def test_polygons_cover_the_lanes_and_not_the_grass(maps: dict[str, carla.Map], name: str) -> None:
    surfaces = bake(maps[name])
    ground = surfaces.roadblocks + surfaces.intersections
    for waypoint in maps[name].generate_waypoints(3.3):
        if waypoint.lane_width < 1.0:
            continue
        for side in (-0.45, 0.0, 0.45):
            place = waypoint.transform.location + waypoint.transform.get_right_vector() * (
                side * waypoint.lane_width
            )
            assert inside_any(*convert.point(place), ground)
        x_m, y_m, yaw_rad = convert.pose(waypoint.transform)
        if waypoint.get_right_lane() is None or waypoint.get_right_lane().lane_type != carla.LaneType.Driving:
            d_m = -(0.5 * waypoint.lane_width + 0.3)
            beside = x_m - d_m * math.sin(yaw_rad), y_m + d_m * math.cos(yaw_rad)
            if (
                not waypoint.is_junction
                and maps[name].get_waypoint(convert.location(*beside), project_to_road=False) is None
            ):
                assert not inside_any(*beside, surfaces.roadblocks)


@pytest.mark.parametrize("name", [CROSS, CURVES])  # CURVES has no junction
def test_baked_map_comes_back_from_disk(maps: dict[str, carla.Map], tmp_path: Path, name: str) -> None:
    first = map_polygons(maps[name], tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    again = map_polygons(maps[name], tmp_path)
    for kind in ("roadblocks", "lanes", "intersections"):
        a, b = getattr(first, kind), getattr(again, kind)
        assert len(a) == len(b)
        assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
