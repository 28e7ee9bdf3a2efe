"""The shipped towns as roads, links, crosswalks and signals; only for building maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from .geometry import (
    LANE_M,
    Path,
    Pose,
    RoadSpec,
    Section,
    Strip,
    connect,
    dropped_lane,
    identity,
    town_section,
)

JUNCTION_ID = 1000  # apart from road ids: an equal id breaks the links in carla.Map
YELLOW_DOUBLE, YELLOW_BROKEN = ("solid_solid", "yellow"), ("broken", "yellow")


@dataclass
class Town:
    """What goes into one map file."""

    name: str
    roads: list[RoadSpec]
    junction: list[tuple[int, int, dict[int, int]]] = field(
        default_factory=list
    )  # incoming, connecting, lanes
    crosswalks: dict[int, list[float]] = field(default_factory=dict)  # road id -> s of the centres
    signals: list[tuple[int, float, float, str, int, int, int]] = field(default_factory=list)
    # (road id, s, t, orientation, from lane, to lane, controller id)


def ring(*roads: RoadSpec) -> list[RoadSpec]:
    """Links roads end to start in a circle; lane links are set by the caller where the sections differ."""
    for i, road in enumerate(roads):
        before, after = roads[i - 1], roads[(i + 1) % len(roads)]
        road.before, road.after = ("road", before.road_id, "end"), ("road", after.road_id, "start")
    return list(roads)


def fit(pieces: Callable[[float, float], Path], target: Pose) -> Path:
    """Solves the two free lengths of an axis-aligned path so that it ends at `target`."""
    x0, y0, _ = pieces(0.0, 0.0).end
    ax, ay = (pieces(1.0, 0.0).end[k] - (x0, y0)[k] for k in (0, 1))
    bx, by = (pieces(0.0, 1.0).end[k] - (x0, y0)[k] for k in (0, 1))
    det = ax * by - bx * ay
    dx, dy = target[0] - x0, target[1] - y0
    return pieces((dx * by - bx * dy) / det, (ax * dy - dx * ay) / det)


def town_curves() -> Town:
    """A closed two-way road: half of it with two lanes a side, half with one and a broken centre line."""
    wide, narrow = town_section(2), town_section(1)
    keep = identity([1, 2, 3, 4, -1, -2, -3, -4])
    squeeze = {1: 1, 3: 2, 4: 3, -1: -1, -3: -2, -4: -3}  # wide -> narrow: lane 2 ends
    widen = {new: old for old, new in squeeze.items()}

    wide_path = Path((0, 0, 0)).line(220).arc(90, 45).line(30).arc(-90, 35).line(60).arc(90, 30).line(130)
    taper_in = Path(wide_path.end).line(50)

    def narrow_path(west_m: float, south_m: float) -> Path:
        path = Path(taper_in.end).arc(90, 40).line(west_m).arc(90, 30).line(30)
        return path.arc(-90, 25).line(30).arc(90, 50).line(south_m)

    corner_start = Path((0, 0, -math.pi / 2)).arc(90, 45).moved_to_end_at((0, 0, 0)).start
    taper_start = (corner_start[0], corner_start[1] + 50, -math.pi / 2)
    narrow_road = fit(narrow_path, taper_start)
    roads = ring(
        RoadSpec(1, wide_path, wide, wide, YELLOW_DOUBLE, lanes_before=keep, lanes_after=keep),
        RoadSpec(
            2,
            taper_in,
            dropped_lane(wide, 1, ends=True),
            dropped_lane(wide, 1, ends=True),
            YELLOW_DOUBLE,
            lanes_before=keep,
            lanes_after=squeeze,
        ),
        RoadSpec(3, narrow_road, narrow, narrow, YELLOW_BROKEN, lanes_before=widen, lanes_after=widen),
        RoadSpec(
            4,
            Path(taper_start).line(50),
            dropped_lane(wide, 1, ends=False),
            dropped_lane(wide, 1, ends=False),
            YELLOW_DOUBLE,
            lanes_before=squeeze,
            lanes_after=keep,
        ),
        RoadSpec(
            5, Path(corner_start).arc(90, 45), wide, wide, YELLOW_DOUBLE, lanes_before=keep, lanes_after=keep
        ),
    )
    west_m = narrow_road.pieces[1][0]
    return Town("TownCurves", roads, crosswalks={1: [130.0], 3: [narrow_road.pieces[0][0] + west_m / 2]})


@dataclass(frozen=True)
class Arm:
    """One approach of the junction."""

    road_id: int
    heading_rad: float  # outwards
    distance_m: float  # of its mouth from the centre
    lanes: int
    contact: str  # which end of the road touches the junction

    @property
    def incoming_sign(self) -> int:
        """Sign of the ids of the lanes that lead into the junction."""
        return 1 if self.contact == "start" else -1

    def mouth(self, lane: int, *, outgoing: bool) -> Pose:
        """Left edge of the lane (1 = innermost) where it meets the junction, heading along its traffic."""
        h = self.heading_rad
        travel = h if outgoing else h + math.pi
        off = (lane - 1) * LANE_M
        x = self.distance_m * math.cos(h) + off * math.sin(travel)
        y = self.distance_m * math.sin(h) - off * math.cos(travel)
        return x, y, travel


def town_cross() -> Town:
    """A signalised 4-way junction; the east arm loops round to the north arm, the west arm to the south."""
    shoulder_m, sidewalk_m = 1.0, 3.0
    wide, narrow = town_section(2, shoulder_m, sidewalk_m), town_section(1, shoulder_m, sidewalk_m)
    far_x, far_y = LANE_M + shoulder_m + sidewalk_m + 8, 2 * LANE_M + shoulder_m + sidewalk_m + 8
    east, north = Arm(1, 0.0, far_x, 2, "start"), Arm(3, math.pi / 2, far_y, 1, "end")
    west, south = Arm(4, math.pi, far_x, 2, "start"), Arm(6, -math.pi / 2, far_y, 1, "end")
    keep = identity([1, 2, 3, 4, -1, -2, -3, -4])
    squeeze = {1: 1, 3: 2, 4: 3, -1: -1, -3: -2, -4: -3}
    junction = ("junction", JUNCTION_ID, "")
    roads: list[RoadSpec] = []
    for first, last in ((east, north), (west, south)):
        h = first.heading_rad
        out = Path((first.distance_m * math.cos(h), first.distance_m * math.sin(h), h)).line(115).arc(90, 40)
        taper = Path(out.end).line(50)
        mouth = (last.distance_m * math.cos(last.heading_rad), last.distance_m * math.sin(last.heading_rad))
        across = abs(taper.end[0] - mouth[0]) - 80
        back = Path(taper.end).line(20).arc(90, 40).line(across).arc(90, 40)
        back.line(abs(back.end[1] - mouth[1]))
        ids = (first.road_id, first.road_id + 1, last.road_id)
        roads += [
            RoadSpec(
                ids[0],
                out,
                wide,
                wide,
                YELLOW_DOUBLE,
                before=junction,
                after=("road", ids[1], "start"),
                lanes_after=keep,
            ),
            RoadSpec(
                ids[1],
                taper,
                dropped_lane(wide, 1, ends=True),
                dropped_lane(wide, 1, ends=True),
                YELLOW_DOUBLE,
                before=("road", ids[0], "end"),
                after=("road", ids[2], "start"),
                lanes_before=keep,
                lanes_after=squeeze,
            ),
            RoadSpec(
                ids[2],
                back,
                narrow,
                narrow,
                YELLOW_BROKEN,
                before=("road", ids[1], "end"),
                after=junction,
                lanes_before={new: old for old, new in squeeze.items()},
            ),
        ]
    town = Town("TownCross", roads)
    add_connections(town, [east, north, west, south], shoulder_m, sidewalk_m)
    for arm in (east, north, west, south):
        length = next(r.path.length_m for r in roads if r.road_id == arm.road_id)
        at = (lambda d, n=length: d) if arm.contact == "start" else (lambda d, n=length: n - d)
        town.crosswalks[arm.road_id] = [at(4.0)]
        sign = arm.incoming_sign
        lanes = sorted((sign, sign * arm.lanes))
        kerb = sign * (arm.lanes * LANE_M + shoulder_m + 0.6)
        group = 1 if arm.lanes == 2 else 2
        town.signals.append((arm.road_id, at(8.0), kerb, "-" if sign > 0 else "+", lanes[0], lanes[1], group))
    return town


def add_connections(town: Town, arms: list[Arm], shoulder_m: float, sidewalk_m: float) -> None:
    """Connecting roads: right from the outer lane, straight on from all, left from the inner lane.

    `arms` are counter-clockwise. Right turns also carry the shoulder and the pavement round the corner.
    """
    road_id = 100
    for i, arm in enumerate(arms):
        for step in (1, 2, 3):  # counter-clockwise from here: right, straight, left
            target = arms[(i + step) % 4]
            count = min(arm.lanes, target.lanes) if step == 2 else 1
            first_in, first_out = (arm.lanes, target.lanes) if step == 1 else (1, 1)
            path = connect(arm.mouth(first_in, outgoing=False), target.mouth(first_out, outgoing=True))
            section: Section = tuple(Strip("driving", LANE_M) for _ in range(count))
            if step == 1:
                section += (Strip("shoulder", shoulder_m, "curb"), Strip("sidewalk", sidewalk_m))
            before = {-1 - k: arm.incoming_sign * (first_in + k) for k in range(len(section))}
            after = {-1 - k: -target.incoming_sign * (first_out + k) for k in range(len(section))}
            town.roads.append(
                RoadSpec(
                    road_id,
                    path,
                    section,
                    junction=JUNCTION_ID,
                    before=("road", arm.road_id, arm.contact),
                    after=("road", target.road_id, target.contact),
                    lanes_before=before,
                    lanes_after=after,
                )
            )
            town.junction.append((arm.road_id, road_id, {old: new for new, old in before.items()}))
            road_id += 1


def town_highway() -> Town:
    """A one-way ring of three lanes; an on-ramp adds a fourth lane that ends after 160 m."""

    def section(lanes: int) -> Section:
        driving = [Strip("driving", LANE_M, "broken") for _ in range(lanes - 1)] + [
            Strip("driving", LANE_M, "solid")
        ]
        return (*driving, Strip("shoulder", 2.5))

    inner: Section = (Strip("shoulder", 1.0),)
    three, four = section(3), section(4)
    lanes3, lanes4 = identity([1, -1, -2, -3]), identity([1, -1, -2, -3, -4, -5])
    drop, mouth = {**lanes3, -5: -4}, ("solid", "yellow")
    ramp_radius, ramp_deg = 200.0, 10.0
    merge = Path((0, 0, math.radians(ramp_deg))).arc(-ramp_deg, ramp_radius)
    x0, merge_m = 420.0, abs(merge.end[0])
    merge = merge.moved_to_end_at((x0 + merge_m, -3 * LANE_M, 0.0))
    ramp = Path((0, 0, math.radians(50))).line(60).arc(-40, 80).line(70).moved_to_end_at(merge.start)
    first = Path((0, 0, 0)).line(x0)
    through = Path(first.end).line(merge_m)
    beside = Path(through.end).line(100)
    taper = Path(beside.end).line(60)

    def back(west_m: float, south_m: float) -> Path:
        path = Path(taper.end).line(80).arc(90, 150).line(20).arc(90, 150).line(150)
        path.arc(-20, 300).arc(40, 300).arc(-20, 300).line(west_m)
        return path.arc(90, 150).line(south_m).arc(90, 150)

    home = fit(back, (0.0, 0.0, 0.0))
    junction = ("junction", JUNCTION_ID, "")
    roads = [
        RoadSpec(
            1,
            first,
            three,
            inner,
            mouth,
            before=("road", 5, "end"),
            after=junction,
            lanes_before=lanes3 | {-4: -4},
        ),
        RoadSpec(2, ramp, section(1), (), mouth, after=junction),
        RoadSpec(
            3, beside, four, inner, mouth, before=junction, after=("road", 4, "start"), lanes_after=lanes4
        ),
        RoadSpec(
            4,
            taper,
            dropped_lane((*four[:2], Strip("driving", LANE_M, "broken"), *four[3:]), 3, ends=True),
            inner,
            mouth,
            before=("road", 3, "end"),
            after=("road", 5, "start"),
            lanes_before=lanes4,
            lanes_after=drop,
        ),
        RoadSpec(
            5,
            home,
            three,
            inner,
            mouth,
            before=("road", 4, "end"),
            after=("road", 1, "start"),
            lanes_before={new: old for old, new in drop.items()},
            lanes_after=lanes3 | {-4: -4},
        ),
        RoadSpec(
            100,
            through,
            tuple(Strip("driving", LANE_M, "broken" if k < 2 else "none") for k in range(3)),
            inner,
            mouth,
            JUNCTION_ID,
            before=("road", 1, "end"),
            after=("road", 3, "start"),
            lanes_before=lanes3,
            lanes_after=lanes3,
        ),
        RoadSpec(
            101,
            merge,
            (Strip("driving", LANE_M, "solid"), Strip("shoulder", 2.5)),
            junction=JUNCTION_ID,
            before=("road", 2, "end"),
            after=("road", 3, "start"),
            lanes_before={-1: -1, -2: -2},
            lanes_after={-1: -4, -2: -5},
        ),
    ]
    for road in roads:
        road.kind, road.speed_mps = "motorway", 25.0
    return Town("TownHighway", roads, junction=[(1, 100, lanes3), (2, 101, {-1: -1, -2: -2})])


TOWNS = (town_cross, town_curves, town_highway)
