"""Where walkers walk: pavements and crosswalks of a map as the Detour mesh that the client library's walker AI loads.

The library steers its walkers by itself (Recast/Detour's crowd); all it needs is the file that a CARLA server ships for
each map: `MSET`, one tile of `DNAV` version 7, little endian. Its axes are x, up, y of CARLA's frame.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from xml.etree import ElementTree

import carla

from .town import Town

STEP_M = 6.0  # length of a piece of pavement
SHORTEST_M = 0.5
INSET_M = 0.3  # a walker's middle keeps off the kerb
REACH_M = 2.0  # between a crosswalk's corner and the pavement that it leads to
WELD_M = 0.6  # ends of two roads' pavements that are the same place

SIDEWALK, CROSSWALK = 1, 2  # areas of the client library; its flags are 1 << area
_SET = struct.Struct("<4siI3f2f2i")
_TILE = struct.Struct("<Ii")
_HEADER = struct.Struct("<15i10f")
_POLY = struct.Struct("<I6H6HHBB")
_DETAIL = struct.Struct("<IIBBxx")
_LINK_BYTES = 12
_POLY_BITS = 15
_MAGIC, _VERSION = 0x444E4156, 7  # "DNAV"
_AGENT = (1.8, 0.3, 0.5)  # height, radius, climb

Point = tuple[float, float]


@dataclass(slots=True)
class Mesh:
    """Convex polygons that share corners where they touch.

    Attributes:
        corners: x, y in CARLA's frame.
        polygons: Area and the numbers of the corners, counter-clockwise seen from above, as Detour wants.
    """

    corners: list[Point] = field(default_factory=list)
    polygons: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    _cells: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def corner(self, place: Point) -> int:
        """Number of the corner at a place, or within `WELD_M` of it."""
        cell = (math.floor(place[0] / WELD_M), math.floor(place[1] / WELD_M))
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                for number in self._cells.get((cell[0] + dx, cell[1] + dy), ()):
                    if math.dist(self.corners[number], place) < WELD_M:
                        return number
        self.corners.append(place)
        self._cells.setdefault(cell, []).append(len(self.corners) - 1)
        return len(self.corners) - 1

    def add(self, area: int, places: list[Point]) -> None:
        """Adds a polygon; one without an area is left out."""
        numbers = [self.corner(place) for place in places]
        numbers = [one for i, one in enumerate(numbers) if one != numbers[i - 1]]
        twice = sum(
            self.corners[a][0] * self.corners[b][1] - self.corners[b][0] * self.corners[a][1]
            for a, b in zip(numbers, numbers[1:] + numbers[:1], strict=True)
        )
        if len(numbers) >= 3 and abs(twice) > 0.1:
            self.polygons.append((area, tuple(numbers if twice < 0.0 else reversed(numbers))))


@dataclass(frozen=True, slots=True)
class Pavement:
    """One sidewalk lane: where its edges are along the road."""

    carla_map: carla.Map
    road: int
    lane: int
    start_m: float
    end_m: float

    def edges(self, s_m: float) -> tuple[Point, Point] | None:
        """Edge towards the road and edge away from it."""
        waypoint = self.carla_map.get_waypoint_xodr(self.road, self.lane, s_m)
        if waypoint is None:
            return None
        place, right = waypoint.transform.location, waypoint.transform.get_right_vector()
        half = max(
            waypoint.lane_width / 2.0 - INSET_M, 0.1
        )  # lanes of both sides have the road on their left
        return (place.x - half * right.x, place.y - half * right.y), (
            place.x + half * right.x,
            place.y + half * right.y,
        )


def pavements(town: Town) -> Iterator[Pavement]:
    """Every lane of type sidewalk."""
    for road in ElementTree.fromstring(town.xodr).findall("road"):
        sections = road.findall("lanes/laneSection")
        starts = [float(section.attrib["s"]) for section in sections] + [float(road.attrib["length"])]
        for number, section in enumerate(sections):
            for lane in section.iter("lane"):
                if lane.get("type") == "sidewalk":
                    yield Pavement(
                        town.carla_map,
                        int(road.attrib["id"]),
                        int(lane.attrib["id"]),
                        starts[number],
                        starts[number + 1],
                    )


def walkable(town: Town) -> Mesh:
    """Pavements cut into pieces, and crosswalks from one piece of pavement to another."""
    mesh = Mesh()
    corners = town.carla_map.get_crosswalks()  # five each: the first once more at the end
    crossings = [[(p.x, p.y) for p in corners[i : i + 4]] for i in range(0, len(corners) - 4, 5)]
    landings: list[list[tuple[Point, Point]]] = [[] for _ in crossings]
    for pavement in pavements(town):
        cuts, gates = _cuts(pavement, crossings)
        rows = [(s_m, edges) for s_m in cuts if (edges := pavement.edges(s_m)) is not None]
        for (_, (a, b)), (_, (c, d)) in pairwise(rows):
            mesh.add(SIDEWALK, [a, c, d, b])
        at = dict(rows)
        for crossing, (first_m, last_m) in gates:
            if first_m in at and last_m in at:
                landings[crossing].append((at[first_m][0], at[last_m][0]))
    for sides in landings:
        for (a, b), (c, d) in pairwise(sides):
            near = math.dist(a, c) + math.dist(b, d) < math.dist(a, d) + math.dist(b, c)
            mesh.add(CROSSWALK, [a, b, d, c] if near else [a, b, c, d])
    return mesh


def _cuts(
    pavement: Pavement, crossings: list[list[Point]]
) -> tuple[list[float], list[tuple[int, tuple[float, float]]]]:
    """Where a pavement is cut: at even steps, and where a crosswalk begins and ends, with nothing between these."""
    length = pavement.end_m - pavement.start_m
    count = max(math.ceil(length / STEP_M), 1)
    inside = 1e-3  # a lane's very end belongs to the next road
    even = [pavement.start_m + length * i / count for i in range(count + 1)]
    even[0], even[-1] = even[0] + inside, even[-1] - inside
    fine = [
        even[0] + (even[-1] - even[0]) * i / max(round(length / 0.25), 1)
        for i in range(max(round(length / 0.25), 1) + 1)
    ]
    line = [(s_m, edges[0]) for s_m in fine if (edges := pavement.edges(s_m)) is not None]
    gates = []
    for number, crossing in enumerate(crossings):
        reached = []
        for corner in crossing:
            distance, s_m = min(
                ((math.dist(edge, corner), s_m) for s_m, edge in line), default=(math.inf, 0.0)
            )
            if distance < REACH_M:
                reached.append(s_m)
        if len(reached) == 2 and max(reached) - min(reached) > SHORTEST_M:
            gates.append((number, (min(reached), max(reached))))
    kept = [
        s_m
        for s_m in even
        if s_m in (even[0], even[-1]) or not any(a - SHORTEST_M < s_m < b + SHORTEST_M for _, (a, b) in gates)
    ]
    return sorted({*kept, *(s_m for _, gate in gates for s_m in gate)}), gates


@lru_cache(maxsize=8)
def navigation_file(town: Town) -> bytes:
    """Bytes of a map's walker navigation; b"" when it has no pavements."""
    mesh = walkable(town)
    if not mesh.polygons:
        return b""
    neighbours: dict[tuple[int, int], list[int]] = {}
    for number, (_, polygon) in enumerate(mesh.polygons, start=1):
        for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            neighbours.setdefault((min(a, b), max(a, b)), []).append(number)
    polys, details, triangles, links = bytearray(), bytearray(), bytearray(), 0
    for number, (area, polygon) in enumerate(mesh.polygons, start=1):
        beside = []
        for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            others = [one for one in neighbours[min(a, b), max(a, b)] if one != number]
            beside.append(others[0] if others else 0)
        links += len(polygon)
        fill = [0] * (6 - len(polygon))
        polys += _POLY.pack(0, *polygon, *fill, *beside, *fill, 1 << area, len(polygon), area)
        details += _DETAIL.pack(0, len(triangles) // 4, 0, len(polygon) - 2)
        for k in range(1, len(polygon) - 1):
            rim = (
                (k == 1) | 1 << 2 | (k == len(polygon) - 2) << 4
            )  # which edges are the polygon's, two bits each
            triangles += bytes((0, k, k + 1, rim))
    corners = b"".join(struct.pack("<3f", x, 0.0, y) for x, y in mesh.corners)
    xs, ys = [x for x, _ in mesh.corners], [y for _, y in mesh.corners]
    low, high = (min(xs), -1.0, min(ys)), (max(xs), 3.0, max(ys))
    header = _HEADER.pack(
        _MAGIC, _VERSION, 0, 0, 0, 0, len(mesh.polygons), len(mesh.corners), links, len(mesh.polygons), 0,
        len(triangles) // 4, 0, 0, len(mesh.polygons), *_AGENT, *low, *high, 1.0,
    )  # fmt: skip
    tile = b"".join((header, corners, polys, bytes(links * _LINK_BYTES), details, triangles))
    width, height = high[0] - low[0] + 1.0, high[2] - low[2] + 1.0
    whole = _SET.pack(b"TESM", 1, 1, *low, width, height, 1, 1 << _POLY_BITS)
    return whole + _TILE.pack(1 << _POLY_BITS, len(tile)) + tile
