"""Traffic lights of a map: where they stand and look, where their traffic stops, which switch together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree

import carla

TRAFFIC_LIGHT = "1000001"
POLE_AHEAD_M = 7.0  # the pole stands beyond the crosswalk, so that a driver at the stop line sees the lamps
Pose = tuple[float, float, float, float]  # x, y, z in metres, yaw in radians; CARLA's left-handed frame


@dataclass(frozen=True, slots=True)
class Signal:
    """One traffic light."""

    signal_id: str  # OpenDRIVE id, what carla.TrafficLight.get_opendrive_id returns
    road_id: int
    lane_ids: tuple[int, ...]
    pole: Pose  # foot of the pole; yaw is the travel direction of the governed traffic
    stops: tuple[Pose, ...]  # middle of each governed lane on the stop line, along the travel direction
    group: str  # id of the controller; lights of one group switch together


def read_signals(carla_map: carla.Map, xodr_text: str) -> tuple[Signal, ...]:
    """Traffic lights with a `<validity>`, ordered by id as text.

    Args:
        carla_map: The map made of `xodr_text`.
        xodr_text: OpenDRIVE text.
    """
    root = ElementTree.fromstring(xodr_text)
    groups = {
        control.get("signalId", ""): controller.get("id", "")
        for controller in root.findall("controller")
        for control in controller.findall("control")
    }
    places = {mark.id: mark.transform.location for mark in carla_map.get_all_landmarks_of_type(TRAFFIC_LIGHT)}
    found = []
    for road in root.findall("road"):
        road_id = int(road.get("id", "0"))
        for element in road.findall("signals/signal"):
            signal_id = element.get("id", "")
            if element.get("type") != TRAFFIC_LIGHT or signal_id not in places:
                continue
            lanes, stops = [], []
            for validity in element.findall("validity"):
                for lane in range(int(validity.get("fromLane", "0")), int(validity.get("toLane", "0")) + 1):
                    point = carla_map.get_waypoint_xodr(road_id, lane, float(element.get("s", "0")))
                    if lane != 0 and point is not None:
                        lanes.append(lane)
                        at = point.transform
                        yaw = math.radians(at.rotation.yaw)
                        stops.append((at.location.x, at.location.y, at.location.z, yaw))
            if stops:
                place, yaw = places[signal_id], stops[0][3]
                x, y = place.x + POLE_AHEAD_M * math.cos(yaw), place.y + POLE_AHEAD_M * math.sin(yaw)
                pole = (x, y, stops[0][2], yaw)
                group = groups.get(signal_id, signal_id)
                found.append(Signal(signal_id, road_id, tuple(lanes), pole, tuple(stops), group))
    return tuple(sorted(found, key=lambda signal: signal.signal_id))
