from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import carla
import pytest

from takeover.errors import UsageError
from takeover.sim_bridge.embedded.maps import load_xodr, map_display_name, map_names
from takeover.sim_bridge.embedded.maps.signals import read_signals

NAMES = ("TownCross", "TownCurves", "TownHighway")
SIDE_KINDS = {"TownCross": "Sidewalk", "TownCurves": "Sidewalk", "TownHighway": "Shoulder"}


@pytest.fixture(scope="module", params=NAMES)
def town(request: pytest.FixtureRequest) -> tuple[str, str, carla.Map]:
    text = load_xodr(request.param)
    return request.param, text, carla.Map(request.param, text)


def lane_ends(carla_map: carla.Map) -> dict[tuple[int, int], carla.Waypoint]:
    """The last waypoint in travel direction of each driving lane."""
    lanes = defaultdict(list)
    for point in carla_map.generate_waypoints(0.5):
        lanes[(point.road_id, point.lane_id)].append(point)
    return {key: (max if key[1] < 0 else min)(points, key=lambda p: p.s) for key, points in lanes.items()}


def test_names() -> None:
    assert map_names() == NAMES
    assert load_xodr("Carla/Maps/TownCross") == load_xodr("TownCross")
    assert map_display_name("/a/b/My.xodr") == "My"


def test_unknown_maps_are_refused_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_xodr("Town99")
    assert "TownCross" in caught.value.fix
    with pytest.raises(UsageError):
        load_xodr(str(tmp_path / "none.xodr"))


def test_a_file_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "mine.xodr"
    path.write_text(load_xodr("TownCurves"))
    assert load_xodr(str(path)) == load_xodr("TownCurves")


def test_positions_are_finite(town: tuple[str, str, carla.Map]) -> None:
    points = town[2].generate_waypoints(0.5)
    assert len(points) > 5000
    for point in points:
        place = point.transform.location
        assert math.isfinite(place.x + place.y + place.z + point.transform.rotation.yaw)


def test_lanes_end_only_by_tapering_and_meet_without_gaps(town: tuple[str, str, carla.Map]) -> None:
    tapered = 0
    for (road, lane), last in lane_ends(town[2]).items():
        here = last
        for _ in range(12):
            following = here.next(0.05)
            if not following:
                assert here.lane_width < 0.1, f"road {road} lane {lane} is a dead end"
                tapered += 1
                break
            for other in following:
                gap = here.transform.location.distance(other.transform.location)
                assert gap <= 0.3, f"{gap:.2f} m after road {road} lane {lane} (road {other.road_id})"
            here = following[0]
            if (here.road_id, here.lane_id) != (road, lane):
                break
    assert tapered == {"TownCross": 2, "TownCurves": 2, "TownHighway": 1}[town[0]]


def test_driving_lanes_are_3_5_m_wide(town: tuple[str, str, carla.Map]) -> None:
    widths = [p.lane_width for p in town[2].generate_waypoints(5.0)]
    full = [w for w in widths if abs(w - 3.5) < 0.01]
    assert len(full) > 0.9 * len(widths)
    assert max(widths) < 3.51


def test_junction_ids_are_no_road_ids(town: tuple[str, str, carla.Map]) -> None:
    root = ElementTree.fromstring(town[1])
    roads = {road.get("id") for road in root.findall("road")}
    assert not roads & {junction.get("id") for junction in root.findall("junction")}
    assert all(int(j.get("id", "0")) >= 1000 for j in root.findall("junction"))
    assert "<spiral" not in town[1]
    assert "<geoReference>" in town[1]
    assert all(mark.get("laneChange") for mark in root.iter("roadMark"))


def test_the_text_can_be_made_again(town: tuple[str, str, carla.Map]) -> None:
    pytest.importorskip("scenariogeneration")
    from takeover.sim_bridge.embedded.maps import build, towns

    made = {make().name: build.to_xml(make()) for make in towns.TOWNS}
    assert made[town[0]] == town[1]


def test_lane_types_beside_the_road(town: tuple[str, str, carla.Map]) -> None:
    kinds = set()
    for point in town[2].generate_waypoints(40.0):
        beside = point
        while beside is not None:
            kinds.add(str(beside.lane_type))
            beside = beside.get_right_lane()
    assert {"Driving", "Shoulder", SIDE_KINDS[town[0]]} <= kinds


def straights_and_bends(carla_map: carla.Map, road: int, lane: int, length: float) -> tuple[float, set[int]]:
    """Longest straight and the radii of bends (negative: to the left, in CARLA's frame) of a lane."""
    longest = run = 0.0
    radii = set()
    yaws = [
        carla_map.get_waypoint_xodr(road, lane, float(s)).transform.rotation.yaw
        for s in range(1, int(length))
    ]
    for before, after in pairwise(yaws):
        turn = math.radians((after - before + 180) % 360 - 180)
        run = run + 1 if abs(turn) < 1e-4 else 0.0
        longest = max(longest, run)
        if abs(turn) > 1e-4:
            radii.add(round(1 / turn))
    return longest, radii


def test_town_curves_has_what_its_scenarios_need() -> None:
    text = load_xodr("TownCurves")
    carla_map = carla.Map("TownCurves", text)
    lengths = {
        int(r.get("id", "0")): float(r.get("length", "0"))
        for r in ElementTree.fromstring(text).findall("road")
    }
    for road, lanes in ((1, 2), (3, 1)):
        straight, radii = straights_and_bends(carla_map, road, -1, lengths[road])
        assert straight >= 120
        assert any(25 <= r <= 60 for r in radii)
        assert any(-60 <= r <= -25 for r in radii)
        point = carla_map.get_waypoint_xodr(road, -lanes, 150.0)
        assert str(point.get_right_lane().lane_type) == "Shoulder"
        assert point.get_right_lane().lane_width >= 2.4
    wide, narrow = carla_map.get_waypoint_xodr(1, -1, 60.0), carla_map.get_waypoint_xodr(3, -1, 150.0)
    assert str(wide.left_lane_marking.type) == "SolidSolid"
    assert str(wide.left_lane_marking.color) == "Yellow"
    assert str(wide.lane_change) == "Right"
    assert str(narrow.left_lane_marking.type) == "Broken"
    assert narrow.get_left_lane().lane_id == 1
    assert len(carla_map.get_crosswalks()) == 10


def test_town_cross_lights_and_crossings() -> None:
    text = load_xodr("TownCross")
    carla_map = carla.Map("TownCross", text)
    signals = read_signals(carla_map, text)
    assert [s.signal_id for s in signals] == ["1", "2", "3", "4"]
    assert len({s.group for s in signals}) == 2
    for signal in signals:
        for x, y, _, yaw in signal.stops:
            towards_centre = math.atan2(-y, -x)
            assert abs(math.remainder(towards_centre - yaw, 2 * math.pi)) < 0.3
            ahead = carla_map.get_waypoint(carla.Location(x + 12 * math.cos(yaw), y + 12 * math.sin(yaw)))
            assert ahead.is_junction
    assert {m.id for m in carla_map.get_all_landmarks_of_type("1000001")} == {"1", "2", "3", "4"}
    mark = carla_map.get_all_landmarks_of_type("1000001")[0]
    assert len(carla_map.get_landmark_group(mark)) == 2
    assert len(carla_map.get_crosswalks()) == 20
    turns = defaultdict(set)
    for road, lane, s in ((1, 1, 10.0), (1, 2, 10.0), (3, -1, 310.0)):
        for point in carla_map.get_waypoint_xodr(road, lane, s).next(60.0):
            turns[(road, lane)].add(point.road_id)
    assert turns == {(1, 1): {4, 6}, (1, 2): {3, 4}, (3, -1): {1, 4, 6}}


def test_town_highway_merges() -> None:
    carla_map = carla.Map("TownHighway", load_xodr("TownHighway"))
    ramp = carla_map.get_waypoint_xodr(2, -1, 150.0)
    merged = ramp.next(100.0)
    assert [(p.road_id, p.lane_id) for p in merged] == [(3, -4)]
    assert str(merged[0].lane_change) == "Left"
    point, travelled = carla_map.get_waypoint_xodr(1, -3, 1.0), 0.0
    while travelled < 600.0:
        (point,) = point.next(10.0)
        travelled += 10.0
    assert point.lane_id == -3
