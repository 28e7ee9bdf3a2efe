"""Road surfaces, kerbs, markings and crosswalks baked from `carla.Map`.

Ids, types and lengths come from the OpenDRIVE text; positions, widths and markings from `carla.Map`, which is
asked lane by lane with `get_waypoint_xodr` (the calls that walk to a lane's end crash the client library).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.etree import ElementTree

import carla
import numpy as np
from numpy.typing import NDArray

from .batches import Tag
from .mesh import Colour, Material, Mesh

KERB_M = 0.12
_STRAIGHT_STEP_M, _TAPER_STEP_M, _TURN_RAD = 24.0, 4.0, 0.045
_DASH_M, _DASH_PERIOD_M = 3.0, 7.5
_MARK_LAYER, _CROSSING_LAYER = 3, 4
_SURFACES: dict[str, tuple[Colour, Tag]] = {
    "driving": ((90, 91, 94), Tag.ROADS),
    "bus": ((90, 91, 94), Tag.ROADS),
    "bidirectional": ((90, 91, 94), Tag.ROADS),
    "entry": ((90, 91, 94), Tag.ROADS),
    "exit": ((90, 91, 94), Tag.ROADS),
    "onRamp": ((90, 91, 94), Tag.ROADS),
    "offRamp": ((90, 91, 94), Tag.ROADS),
    "stop": ((100, 100, 101), Tag.ROADS),
    "shoulder": ((102, 101, 100), Tag.ROADS),
    "parking": ((102, 101, 100), Tag.ROADS),
    "border": ((102, 101, 100), Tag.ROADS),
    "biking": ((122, 84, 78), Tag.ROADS),
    "restricted": ((102, 101, 100), Tag.ROADS),
    "sidewalk": ((168, 164, 156), Tag.SIDEWALKS),
    "walking": ((168, 164, 156), Tag.SIDEWALKS),
    "curb": ((190, 188, 182), Tag.SIDEWALKS),
    "median": ((104, 126, 78), Tag.TERRAIN),
}
_DRIVEN = ("driving", "bus", "bidirectional", "entry", "exit", "onRamp", "offRamp")
_MARK_COLOURS: dict[str, Colour] = {"Yellow": (232, 184, 44), "Red": (200, 40, 40), "Blue": (60, 90, 200)}
_WHITE: Colour = (232, 232, 228)


@dataclass(slots=True)
class Edge:
    """The outer edge of a road's side: where scenery may begin."""

    points: NDArray[np.float64]  # (S, 3)
    outward: NDArray[np.float64]  # (S, 3) unit, level
    pavement: bool  # it ends with a pavement; otherwise a guard rail belongs there


@dataclass(slots=True)
class RoadShape:
    """What the scenery must know of the roads."""

    surface: list[NDArray[np.float64]] = field(
        default_factory=list
    )  # (n, 2) points at most 3 m apart on the lanes
    edges: list[Edge] = field(default_factory=list)
    low_z: float = 0.0


@dataclass(frozen=True, slots=True)
class _Lane:
    """One lane at the stations of its section."""

    kind: str
    inner: NDArray[np.float64]  # (S, 3)
    outer: NDArray[np.float64]
    outward: NDArray[np.float64]
    outer_marks: list[tuple[str, str]]  # (type, colour) at each station
    inner_marks: list[tuple[str, str]]


def bake_roads(carla_map: carla.Map, xodr_text: str, mesh: Mesh) -> RoadShape:
    """Adds all road faces of a map to `mesh`."""
    shape = RoadShape()
    root = ElementTree.fromstring(xodr_text)
    hulls: dict[str, list[NDArray[np.float64]]] = {}
    for road in root.findall("road"):
        junction = road.get("junction", "-1")
        length = float(road.get("length", "0"))
        sections = road.findall("lanes/laneSection")
        starts = [float(s.get("s", "0")) for s in sections] + [length]
        for section, begin, end in zip(sections, starts[:-1], starts[1:], strict=True):
            lanes = _read_section(carla_map, int(road.get("id", "0")), section, begin, end)
            for lane in lanes.values():
                _draw_surface(lane, mesh)
                shape.surface.append(_dense((lane.inner + lane.outer)[:, :2] / 2))
                if junction != "-1" and lane.kind in _DRIVEN:
                    hulls.setdefault(junction, []).extend([lane.inner, lane.outer])
            _draw_markings(lanes, mesh)
            if junction == "-1":
                for side in (-1, 1):
                    outermost = max((i * side for i in lanes if i * side > 0), default=0)
                    if outermost:
                        lane = lanes[outermost * side]
                        shape.edges.append(
                            Edge(lane.outer, lane.outward, lane.kind in ("sidewalk", "walking"))
                        )
        for signal in road.findall("signals/signal"):
            _draw_stop_line(carla_map, int(road.get("id", "0")), signal, mesh)
    for parts in hulls.values():
        _draw_hull(np.concatenate(parts), mesh)
    _draw_crosswalks(carla_map, mesh)
    if mesh.corners:
        shape.low_z = min(float(c[:, :, 2].min()) for c in mesh.corners)
    return shape


def _read_section(
    carla_map: carla.Map, road_id: int, section: ElementTree.Element, begin: float, end: float
) -> dict[int, _Lane]:
    kinds = {int(lane.get("id", "0")): lane.get("type", "none") for lane in section.iter("lane")}
    wanted = {i: kind for i, kind in kinds.items() if i != 0 and kind in _SURFACES}
    last = end - 2e-3
    if not wanted or last <= begin:
        return {}
    stations = _stations(carla_map, road_id, list(wanted), begin + 1e-4, last)
    lanes = {}
    for lane_id, kind in wanted.items():
        centres, outward, widths, outer_marks, inner_marks = [], [], [], [], []
        for s in stations:
            point = carla_map.get_waypoint_xodr(road_id, lane_id, s)
            if point is None:
                continue
            place, right = point.transform.location, point.transform.get_right_vector()
            centres.append((place.x, place.y, place.z))
            outward.append((right.x, right.y, 0.0))
            widths.append(point.lane_width)
            outer_marks.append((str(point.right_lane_marking.type), str(point.right_lane_marking.color)))
            inner_marks.append((str(point.left_lane_marking.type), str(point.left_lane_marking.color)))
        if len(centres) < 2 or max(widths) < 0.05:
            continue
        middle, sideways = np.array(centres), np.array(outward)
        half = sideways * np.array(widths)[:, None] / 2
        lanes[lane_id] = _Lane(kind, middle - half, middle + half, sideways, outer_marks, inner_marks)
    return lanes


def _stations(
    carla_map: carla.Map, road_id: int, lane_ids: list[int], begin: float, end: float
) -> list[float]:
    """Where to cut: where the heading has changed, at most every 24 m, more often where a width changes."""
    fine = np.append(np.arange(begin, end, 1.0), end)
    ends = [
        [carla_map.get_waypoint_xodr(road_id, i, float(s)) for s in (begin, (begin + end) / 2, end)]
        for i in lane_ids
    ]
    tapers = any(
        max(w.lane_width for w in row if w) - min(w.lane_width for w in row if w) > 0.02
        for row in ends
        if any(row)
    )
    step = _TAPER_STEP_M if tapers else _STRAIGHT_STEP_M
    chosen, last_yaw, last_s = [float(begin)], None, float(begin)
    for s in fine:
        point = carla_map.get_waypoint_xodr(road_id, lane_ids[0], float(s))
        if point is None:
            continue
        yaw = np.radians(point.transform.rotation.yaw)
        if last_yaw is None:
            last_yaw = yaw
        turned = abs((yaw - last_yaw + np.pi) % (2 * np.pi) - np.pi)
        if turned > _TURN_RAD or s - last_s >= step:
            chosen.append(float(s))
            last_yaw, last_s = yaw, float(s)
    if end - chosen[-1] > 0.05:
        chosen.append(float(end))
    return chosen


def _strip(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Level quads (S - 1, 4, 3) between two polylines, all looking up."""
    quads = np.stack([first[:-1], second[:-1], second[1:], first[1:]], axis=1)
    following = np.roll(quads, -1, axis=1)
    area = (quads[..., 0] * following[..., 1] - quads[..., 1] * following[..., 0]).sum(axis=1)
    quads[area < 0] = quads[area < 0][:, ::-1]
    return quads


def _raised(points: NDArray[np.float64], by_m: float) -> NDArray[np.float64]:
    return points + np.array([0.0, 0.0, by_m])


def _draw_surface(lane: _Lane, mesh: Mesh) -> None:
    colour, tag = _SURFACES[lane.kind]
    overlap = 0.04 * lane.outward
    if tag is not Tag.SIDEWALKS:
        material = Material.GRASS if tag is Tag.TERRAIN else Material.ASPHALT
        mesh.quads(_strip(lane.inner - overlap, lane.outer + overlap), colour, tag, material=material)
        return
    inner, outer = _raised(lane.inner, KERB_M), _raised(lane.outer, KERB_M)
    mesh.quads(_strip(inner, outer), colour, tag, material=Material.PAVING, layer=1)
    mesh.quads(_strip(inner, inner + 0.22 * lane.outward), (196, 194, 188), tag, layer=2, reach_m=80)
    walls = np.stack([lane.inner[:-1], lane.inner[1:], inner[1:], inner[:-1]], axis=1)
    normal = np.cross(walls[:, 1] - walls[:, 0], walls[:, 3] - walls[:, 0])
    walls[(normal * lane.outward[:-1]).sum(axis=1) > 0] = walls[(normal * lane.outward[:-1]).sum(axis=1) > 0][
        :, ::-1
    ]
    mesh.quads(walls, (128, 126, 122), tag, layer=1, reach_m=120)


def _draw_markings(lanes: dict[int, _Lane], mesh: Mesh) -> None:
    for lane in lanes.values():
        _draw_boundary(lane.outer, lane.outward, lane.outer_marks, mesh)
    centre = lanes.get(-1, lanes.get(1))
    if centre is not None:
        _draw_boundary(centre.inner, centre.outward, centre.inner_marks, mesh)


def _draw_boundary(
    points: NDArray[np.float64], sideways: NDArray[np.float64], marks: list[tuple[str, str]], mesh: Mesh
) -> None:
    """The line along one boundary; runs of one type and colour are drawn together."""
    begin = 0
    for i in range(1, len(marks) + 1):
        if i < len(marks) and marks[i] == marks[begin]:
            continue
        end = min(i + 1, len(points))
        kind, colour_name = marks[begin]
        colour = _MARK_COLOURS.get(colour_name, _WHITE)
        run, across = points[begin:end], sideways[begin:end]
        if kind in ("SolidSolid", "BrokenBroken", "SolidBroken", "BrokenSolid"):
            parts = [(-0.13, kind.startswith("Solid")), (0.13, kind.endswith("Solid"))]
        else:
            parts = [(0.0, kind == "Solid")] if kind in ("Solid", "Broken", "BottsDots") else []
        for offset, solid in parts:
            line = run + offset * across
            half = (0.07 if len(parts) == 2 else 0.09) * across
            if solid:
                _add_marks(_strip(line - half, line + half), colour, mesh, 220.0)
            else:
                _add_marks(_dashes(line, half), colour, mesh, 130.0)
        begin = i


def _add_marks(quads: NDArray[np.float64], colour: Colour, mesh: Mesh, reach_m: float) -> None:
    mesh.quads(quads, colour, Tag.ROAD_LINE, material=Material.PAINT_MARK, layer=_MARK_LAYER, reach_m=reach_m)


def _dashes(line: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dashes (D, 4, 3) along a polyline with the half widths at its points."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    starts = np.arange(1.0, along[-1] - 0.5, _DASH_PERIOD_M)
    if len(starts) == 0:
        return np.zeros((0, 4, 3))

    def at(s: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.interp(s, along, values[:, k]) for k in range(3)], axis=1)

    ends = np.minimum(starts + _DASH_M, along[-1])
    pairs = [(at(starts, line + sign * half), at(ends, line + sign * half)) for sign in (-1.0, 1.0)]
    quads = [
        _strip(np.stack([pairs[0][0][k], pairs[0][1][k]]), np.stack([pairs[1][0][k], pairs[1][1][k]]))
        for k in range(len(starts))
    ]
    return np.concatenate(quads)


def _draw_stop_line(carla_map: carla.Map, road_id: int, signal: ElementTree.Element, mesh: Mesh) -> None:
    """A bar across the lanes that a traffic light or a stop sign governs."""
    if signal.get("type") not in ("1000001", "206"):
        return
    for validity in signal.findall("validity"):
        low, high = int(validity.get("fromLane", "0")), int(validity.get("toLane", "0"))
        for lane_id in range(low, high + 1):
            point = carla_map.get_waypoint_xodr(road_id, lane_id, float(signal.get("s", "0")))
            if lane_id == 0 or point is None:
                continue
            place, right = point.transform.location, point.transform.get_right_vector()
            forward = point.transform.get_forward_vector()
            centre, across = np.array([place.x, place.y, place.z]), np.array([right.x, right.y, 0.0])
            ahead = np.array([forward.x, forward.y, 0.0]) * 0.25
            edge = across * (point.lane_width / 2)
            line = np.stack([centre - edge, centre + edge])
            quads = _strip(line - ahead, line + ahead)
            mesh.quads(quads, _WHITE, Tag.ROAD_LINE, material=Material.PAINT_MARK, layer=_CROSSING_LAYER)


def _draw_crosswalks(carla_map: carla.Map, mesh: Mesh) -> None:
    """Zebra bars of half a metre along the short side of each crosswalk polygon."""
    polygon: list[tuple[float, float, float]] = []
    for place in carla_map.get_crosswalks():
        point = (place.x, place.y, place.z)
        if len(polygon) >= 3 and np.allclose(point, polygon[0], atol=1e-3):
            if len(polygon) == 4:
                _draw_zebra(np.array(polygon), mesh)
            polygon = []
        else:
            polygon.append(point)


def _draw_zebra(corners: NDArray[np.float64], mesh: Mesh) -> None:
    if np.linalg.norm(corners[1] - corners[0]) > np.linalg.norm(corners[2] - corners[1]):
        corners = np.roll(corners, -1, axis=0)
    length = float(np.linalg.norm(corners[2] - corners[1]))  # across the road
    count = int(length / 1.0)
    across = (corners[2] - corners[1]) / length
    margin = (length - (count - 0.5)) / 2
    for k in range(count):
        offset = across * (margin + k)
        bar = np.stack([corners[0] + offset, corners[1] + offset])
        quads = _strip(bar, bar + 0.5 * across)
        mesh.quads(
            quads, _WHITE, Tag.ROAD_LINE, material=Material.PAINT_MARK, layer=_CROSSING_LAYER, reach_m=200
        )


def _draw_hull(points: NDArray[np.float64], mesh: Mesh) -> None:
    """Asphalt under a junction, so that no grass shows between its lanes; a fan over the convex hull."""
    order = np.lexsort((points[:, 1], points[:, 0]))
    chains: list[list[NDArray[np.float64]]] = []
    for walk in (points[order], points[order][::-1]):
        chain: list[NDArray[np.float64]] = []
        for p in walk:
            while len(chain) >= 2 and _turn(chain[-2], chain[-1], p) <= 1e-9:
                chain.pop()
            chain.append(p)
        chains.append(chain[:-1])
    hull = np.array(chains[0] + chains[1])
    centre = hull.mean(axis=0)
    following = np.roll(hull, -1, axis=0)
    quads = np.stack([np.broadcast_to(centre, hull.shape), hull, following, following], axis=1)
    mesh.quads(_raised(quads, -0.01), _SURFACES["driving"][0], Tag.ROADS, material=Material.ASPHALT)


def _turn(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _dense(line: NDArray[np.float64], step_m: float = 3.0) -> NDArray[np.float64]:
    """Points at most `step_m` apart along a polyline (S, 2)."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    s = np.linspace(0.0, along[-1], max(2, int(along[-1] / step_m) + 2))
    return np.stack([np.interp(s, along, line[:, k]) for k in range(2)], axis=1)
