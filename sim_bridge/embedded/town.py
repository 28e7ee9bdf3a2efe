"""A map as the server needs it: text, spawn points, and the traffic lights among its OpenDRIVE signals."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import lru_cache
from xml.etree import ElementTree

import carla

from .maps import load_xodr, map_display_name

LOG = logging.getLogger("takeover.embedded")

LIGHT_TYPE = "1000001"
SPAWN_STEP_M = 20.0
SPAWN_HEIGHT_M = 0.5
TRIGGER_LENGTH_M = 8.0  # of the area in which a car counts as standing at its light

Pose = tuple[float, float, float, float, float, float]  # x, y, z [m], pitch, yaw, roll [deg]; CARLA's frame


@dataclass(frozen=True, slots=True)
class Signal:
    """One traffic light of the map.

    Attributes:
        sign_id: OpenDRIVE id.
        pose: Foot of the pole; the yaw is the travel direction of the traffic that it governs.
        controller: Signals of one controller show the same; "" for none.
        junction: Controllers of one junction take turns; "" for none.
        stop: x, y of the middle of the governed lanes at the signal.
        half_width_m: Half of the width of the governed lanes.
    """

    sign_id: str
    pose: Pose
    controller: str
    junction: str
    stop: tuple[float, float]
    half_width_m: float


@dataclass(frozen=True, slots=True)
class Town:
    """A map.

    Attributes:
        name: Short name.
        xodr: OpenDRIVE text.
        spawn_points: On driving lanes outside junctions.
        signals: Traffic lights in the order of their ids.
        carla_map: The client library's reading of the text.
    """

    name: str
    xodr: str
    spawn_points: tuple[Pose, ...]
    signals: tuple[Signal, ...]
    carla_map: carla.Map


@lru_cache(maxsize=8)
def load_town(name: str) -> Town:
    """Reads a shipped map or a file.

    Args:
        name: As for `maps.load_xodr`.

    Raises:
        UsageError: No such map.
    """
    return read_town(map_display_name(name), load_xodr(name))


def read_town(name: str, xodr: str) -> Town:
    """Reads OpenDRIVE text."""
    root = ElementTree.fromstring(xodr)
    if any(float(e.attrib[key]) for e in root.iter("elevation") for key in "abcd"):
        LOG.warning("map %s has hills; this world is flat: everything drives at z = 0", name)
    carla_map = carla.Map(name, xodr)
    points = []
    for waypoint in carla_map.generate_waypoints(SPAWN_STEP_M):
        if waypoint.is_junction or waypoint.lane_type != carla.LaneType.Driving:
            continue
        place, turn = waypoint.transform.location, waypoint.transform.rotation
        points.append((place.x, place.y, place.z + SPAWN_HEIGHT_M, 0.0, turn.yaw, 0.0))
    return Town(name, xodr, tuple(points), _signals(carla_map, root), carla_map)


def _signals(carla_map: carla.Map, root: ElementTree.Element) -> tuple[Signal, ...]:
    controller_of, junction_of = {}, {}
    for group in root.findall("controller"):
        for control in group.findall("control"):
            controller_of[control.attrib["signalId"]] = group.attrib["id"]
    for junction in root.findall("junction"):
        for member in junction.findall("controller"):
            junction_of[member.attrib["id"]] = junction.attrib["id"]
    found = {}
    for landmark in carla_map.get_all_landmarks_of_type(LIGHT_TYPE):
        controller = controller_of.get(landmark.id, "")
        found[landmark.id] = _signal(carla_map, landmark, controller, junction_of.get(controller, ""))
    return tuple(found[key] for key in sorted(found, key=lambda key: (len(key), key)))


def _signal(carla_map: carla.Map, landmark: carla.Landmark, controller: str, junction: str) -> Signal:
    foot, turn = landmark.transform.location, landmark.transform.rotation
    against = landmark.orientation == carla.LandmarkOrientation.Negative
    yaw = turn.yaw + (180.0 if against else 0.0)
    left, right = _across(carla_map, landmark, yaw)
    x, y = (left[0] + right[0]) / 2.0, (left[1] + right[1]) / 2.0
    half_width_m = math.hypot(left[0] - right[0], left[1] - right[1]) / 2.0
    pose = (foot.x, foot.y, foot.z, 0.0, yaw, 0.0)
    return Signal(landmark.id, pose, controller, junction, (x, y), half_width_m)


def _across(
    carla_map: carla.Map, landmark: carla.Landmark, yaw: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Left and right edge of the governed lanes."""
    to_right = (-math.sin(math.radians(yaw)), math.cos(math.radians(yaw)))
    edges = []
    for first, last in landmark.get_lane_validities():
        for lane in range(first, last + 1):
            waypoint = carla_map.get_waypoint_xodr(landmark.road_id, lane, landmark.s) if lane else None
            if waypoint is None:
                continue
            middle, half = waypoint.transform.location, waypoint.lane_width / 2.0
            for side in (-half, half):
                edges.append((middle.x + side * to_right[0], middle.y + side * to_right[1]))
    if not edges:
        foot = landmark.transform.location
        edges = [(foot.x, foot.y)]
    edges.sort(key=lambda edge: edge[0] * to_right[0] + edge[1] * to_right[1])
    return edges[0], edges[-1]
