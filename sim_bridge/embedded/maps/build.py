"""Writes the shipped towns: `python -P -m takeover.sim_bridge.embedded.maps.build [folder]`.

Needs `scenariogeneration`. The towns (`towns.py`) are closed, built of lines and arcs only, and every link is
written out. What the client library needs and the generator does not write is added in `sanitise`.
"""

from __future__ import annotations

import sys
from pathlib import Path as FilePath
from xml.etree import ElementTree

from scenariogeneration import xodr

from .towns import JUNCTION_ID, TOWNS, Town

HEADER_DATE = "2000-01-01T00:00:00"  # fixed: the same source gives the same text
GEO_REFERENCE = "+proj=tmerc +lat_0=49 +lon_0=8 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"


def to_xml(town: Town) -> str:
    """The OpenDRIVE text of a town."""
    drive = xodr.OpenDrive(town.name, geo_reference=GEO_REFERENCE)
    for spec in town.roads:
        drive.add_road(spec.build())
    if town.junction:
        junction = xodr.Junction("junction0", JUNCTION_ID)
        for incoming, connecting, lanes in town.junction:
            connection = xodr.Connection(incoming, connecting, xodr.ContactPoint.start)
            for a, b in lanes.items():
                connection.add_lanelink(a, b)
            junction.add_connection(connection)
        drive.add_junction(junction)
    root = drive.get_element()
    sanitise(root, town)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def sanitise(root: ElementTree.Element, town: Town) -> None:
    """Adds bare crosswalk outlines, signals with validity, controllers and a fixed date, for carla.Map."""
    header = root.find("header")
    assert header is not None
    header.set("date", HEADER_DATE)
    roads = {int(road.get("id", "-1")): road for road in root.findall("road")}
    specs = {spec.road_id: spec for spec in town.roads}
    number = 0
    for road_id, places in town.crosswalks.items():
        objects = _child(roads[road_id], "objects")
        half_m = sum(s.start_m for s in specs[road_id].right if s.kind != "sidewalk")
        for s in places:
            number += 1
            attributes = {
                "id": str(number),
                "name": f"crosswalk{number}",
                "type": "crosswalk",
                "s": f"{s:.3f}",
                "t": "0",
            }
            element = ElementTree.SubElement(
                objects, "object", attributes | {"zOffset": "0", "orientation": "none", "hdg": "0"}
            )
            outline = ElementTree.SubElement(element, "outline")
            for u, v in ((-2, -half_m), (2, -half_m), (2, half_m), (-2, half_m), (-2, -half_m)):
                ElementTree.SubElement(
                    outline, "cornerLocal", {"u": str(u), "v": str(v), "z": "0", "height": "0"}
                )
    groups: dict[int, list[int]] = {}
    for number, (road_id, s, t, side, low, high, group) in enumerate(town.signals, start=1):
        signals = _child(roads[road_id], "signals")
        attributes = {
            "id": str(number),
            "name": f"light{number}",
            "s": f"{s:.3f}",
            "t": f"{t:.3f}",
            "dynamic": "yes",
        }
        attributes |= {
            "orientation": side,
            "zOffset": "0",
            "country": "OpenDRIVE",
            "type": "1000001",
            "subtype": "-1",
        }
        attributes |= {
            "value": "-1",
            "unit": "",
            "hOffset": "0",
            "pitch": "0",
            "roll": "0",
            "height": "2.0",
            "width": "0.8",
        }
        element = ElementTree.SubElement(signals, "signal", attributes)
        ElementTree.SubElement(element, "validity", {"fromLane": str(low), "toLane": str(high)})
        groups.setdefault(group, []).append(number)
    junction = root.find("junction")
    for group, members in groups.items():
        assert junction is not None
        ElementTree.SubElement(junction, "controller", {"id": str(group), "type": "0", "sequence": "0"})
        controller = ElementTree.SubElement(
            root, "controller", {"id": str(group), "name": f"group{group}", "sequence": "0"}
        )
        for member in members:
            ElementTree.SubElement(controller, "control", {"signalId": str(member), "type": "0"})


def _child(road: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = road.find(tag)
    return found if found is not None else ElementTree.SubElement(road, tag)


def main(folder: FilePath) -> None:
    """Writes all towns into `folder`."""
    for make in TOWNS:
        town = make()
        (folder / f"{town.name}.xodr").write_text(to_xml(town), encoding="utf-8")


if __name__ == "__main__":
    main(FilePath(sys.argv[1]) if len(sys.argv) > 1 else FilePath(__file__).parent)
