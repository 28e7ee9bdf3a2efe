"""Plan-view paths of lines and arcs, and roads with strips of lanes beside them; only for making maps.

OpenDRIVE's frame: right-handed, metres, radians. No spirals at all: the client library turns a spiral of
equal curvatures into NaN positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from scenariogeneration import xodr

LANE_M = 3.5
Pose = tuple[float, float, float]  # x_m, y_m, heading_rad


def advance(pose: Pose, length_m: float, curvature: float) -> Pose:
    """Pose after `length_m` along a line (curvature 0) or an arc."""
    x, y, h = pose
    if curvature == 0.0:
        return x + length_m * math.cos(h), y + length_m * math.sin(h), h
    end = h + length_m * curvature
    return x + (math.sin(end) - math.sin(h)) / curvature, y + (math.cos(h) - math.cos(end)) / curvature, end


@dataclass
class Path:
    """A chain of (length_m, curvature) pieces from a start pose."""

    start: Pose
    pieces: list[tuple[float, float]] = field(default_factory=list)

    def line(self, length_m: float) -> Path:
        """Append a straight."""
        self.pieces.append((length_m, 0.0))
        return self

    def arc(self, degrees: float, radius_m: float) -> Path:
        """Append an arc; positive degrees turn left."""
        self.pieces.append((abs(math.radians(degrees)) * radius_m, math.copysign(1.0 / radius_m, degrees)))
        return self

    @property
    def length_m(self) -> float:
        """Length along the reference line."""
        return sum(length for length, _ in self.pieces)

    @property
    def end(self) -> Pose:
        """Pose at the end."""
        pose = self.start
        for length, curvature in self.pieces:
            pose = advance(pose, length, curvature)
        return pose

    def moved_to_end_at(self, pose: Pose) -> Path:
        """The same pieces, translated so that the path ends at `pose`; its heading must already fit."""
        x, y, h = self.end
        if abs(math.remainder(h - pose[2], 2 * math.pi)) > 1e-9:
            raise ValueError("the end heading does not fit")
        return Path(
            (self.start[0] + pose[0] - x, self.start[1] + pose[1] - y, self.start[2]), list(self.pieces)
        )

    def planview(self) -> xodr.PlanView:
        """The library's plan view with fixed geometries, rounded so that the text is the same everywhere."""
        view, pose, s = xodr.PlanView(), self.start, 0.0
        for length, curvature in self.pieces:
            shape = (
                xodr.Line(round(length, 6))
                if curvature == 0.0
                else xodr.Arc(curvature, length=round(length, 6))
            )
            x, y, h = pose
            view.add_fixed_geometry(
                shape, round(x, 6), round(y, 6), round(math.remainder(h, 2 * math.pi), 9), round(s, 6)
            )
            pose, s = advance(pose, length, curvature), s + length
        return view


def connect(start: Pose, end: Pose) -> Path:
    """Line, or line-arc-line for a right angle, from one pose to another.

    Raises:
        ValueError: The poses allow no such path.
    """
    path = Path(start)
    dx, dy = end[0] - start[0], end[1] - start[1]
    c, s = math.cos(start[2]), math.sin(start[2])
    forward, left = c * dx + s * dy, -s * dx + c * dy
    turn = math.remainder(end[2] - start[2], 2 * math.pi)
    if abs(turn) < 1e-6 and abs(left) < 1e-6:
        return path.line(forward)
    radius = min(forward, abs(left))
    if abs(abs(turn) - math.pi / 2) > 1e-6 or radius < 3.0 or turn * left < 0:
        raise ValueError("only straights and right-angled turns")
    if forward - radius > 1e-6:
        path.line(forward - radius)
    path.arc(math.degrees(turn), radius)
    if abs(left) - radius > 1e-6:
        path.line(abs(left) - radius)
    return path


@dataclass(frozen=True)
class Strip:
    """One lane of a road's cross-section, from the reference line outwards."""

    kind: str  # xodr.LaneType name
    start_m: float  # width at the road's start
    mark: str = "none"  # outer marking: none, broken, solid, curb
    end_m: float | None = None  # width at the road's end; None = constant


Section = tuple[Strip, ...]


def town_section(lanes: int, shoulder_m: float = 2.5, sidewalk_m: float = 2.5) -> Section:
    """One side of a town road: driving lanes, a shoulder (wide enough to park), a pavement."""
    driving = tuple(Strip("driving", LANE_M, "broken" if i < lanes - 1 else "solid") for i in range(lanes))
    return (*driving, Strip("shoulder", shoulder_m, "curb"), Strip("sidewalk", sidewalk_m))


def dropped_lane(section: Section, index: int, *, ends: bool) -> Section:
    """The section with one strip tapering to (ends) or from (not ends) zero width along the road."""
    strip = section[index]
    width = strip.start_m
    taper = Strip(strip.kind, width if ends else 0.0, strip.mark, 0.0 if ends else width)
    return (*section[:index], taper, *section[index + 1 :])


def identity(lanes: Sequence[int]) -> dict[int, int]:
    """Links of each lane to the lane of the same number."""
    return {lane: lane for lane in lanes}


@dataclass
class RoadSpec:
    """A road before it becomes XML; links are given, never guessed."""

    road_id: int
    path: Path
    right: Section
    left: Section = ()
    centre: tuple[str, str] = ("none", "standard")  # type and colour of the centre marking
    junction: int = -1
    speed_mps: float = 13.9
    kind: str = "town"
    before: tuple[str, int, str] | None = None  # (road|junction, id, contact point of that road)
    after: tuple[str, int, str] | None = None
    lanes_before: dict[int, int] = field(default_factory=dict)
    lanes_after: dict[int, int] = field(default_factory=dict)

    def build(self) -> xodr.Road:
        """The library's road element."""
        section = xodr.LaneSection(0, _lane(xodr.LaneType.none, 0.0, 0.0, 1.0, _mark(*self.centre)))
        length = self.path.length_m
        for strips, add, sign in (
            (self.left, section.add_left_lane, 1),
            (self.right, section.add_right_lane, -1),
        ):
            for number, strip in enumerate(strips, start=1):
                end = strip.start_m if strip.end_m is None else strip.end_m
                kind = getattr(xodr.LaneType, strip.kind)
                lane = _lane(kind, strip.start_m, end, length, _mark(strip.mark, "white"))
                for name, links in (("predecessor", self.lanes_before), ("successor", self.lanes_after)):
                    if sign * number in links:
                        lane.add_link(name, links[sign * number])
                add(lane)
        lanes = xodr.Lanes()
        lanes.add_lanesection(section)
        road = xodr.Road(
            self.road_id, self.path.planview(), lanes, road_type=self.junction, name=f"road{self.road_id}"
        )
        road.add_type(getattr(xodr.RoadType, self.kind), 0, speed=self.speed_mps, speed_unit="m/s")
        for link, add_link in ((self.before, road.add_predecessor), (self.after, road.add_successor)):
            if link is not None:
                element, other, contact = link
                point = getattr(xodr.ContactPoint, contact) if element == "road" else None
                add_link(getattr(xodr.ElementType, element), other, point)
        return road


def _lane(
    kind: xodr.LaneType, start_m: float, end_m: float, length_m: float, mark: xodr.RoadMark
) -> xodr.Lane:
    """A lane of constant width, or one that goes smoothly (cubic) from one width to the other."""
    change = end_m - start_m
    c, d = 3 * change / length_m**2, -2 * change / length_m**3
    lane = xodr.Lane(kind, a=start_m, b=0, c=c if change else 0, d=d if change else 0)
    lane.add_roadmark(mark)
    return lane


def _mark(kind: str, colour: str) -> xodr.RoadMark:
    change = xodr.LaneChange.both if kind == "broken" else xodr.LaneChange.none
    width = 0.0 if kind == "none" else 0.15
    return xodr.RoadMark(
        getattr(xodr.RoadMarkType, kind),
        width=width,
        color=getattr(xodr.RoadMarkColor, colour),
        laneChange=change,
    )
