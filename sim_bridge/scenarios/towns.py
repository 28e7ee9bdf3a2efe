"""Places in the shipped towns, by what they offer. OpenDRIVE road, lane and s; a positive lane runs against s."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...vocabulary import Command
from .base import RUN_UP_S, RouteSpec

WIDE_MPS = 9.0  # two lanes a side
NARROW_MPS = 8.0  # one lane a side
CROSS_MPS = 8.0  # TownCross
HIGHWAY_MPS = 11.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of one lane.

    Attributes:
        map_name: Town.
        road_id: Road.
        lane_id: Lane of the ego.
        low_m: Smallest OpenDRIVE s.
        high_m: Largest one.
        speed_mps: Speed that is held here.
    """

    map_name: str
    road_id: int
    lane_id: int
    low_m: float
    high_m: float
    speed_mps: float

    @property
    def run_up_m(self) -> float:
        """Way from the route's start to the place at tick 0."""
        return RUN_UP_S * self.speed_mps

    def route(self, share: float, length_m: float) -> RouteSpec:
        """A route within the stretch that is `length_m` long from tick 0 on; `share` in [0, 1] slides it along."""
        total_m = length_m + self.run_up_m
        free_m = self.high_m - self.low_m - total_m
        if free_m < 0.0:
            raise ValueError(f"{total_m:.0f} m do not fit into {self}")
        start_m = self.low_m + share * free_m if self.lane_id < 0 else self.high_m - share * free_m
        return RouteSpec(self.map_name, self.road_id, self.lane_id, start_m, total_m)

    def route_to(self, place_m: float, before_m: float, after_m: float) -> RouteSpec:
        """A route that passes OpenDRIVE s = place_m `before_m` after tick 0 and ends `after_m` behind it."""
        way_m = before_m + self.run_up_m
        start_m = place_m - way_m if self.lane_id < 0 else place_m + way_m
        return RouteSpec(self.map_name, self.road_id, self.lane_id, start_m, way_m + after_m)


def _both(stretch: Stretch) -> tuple[Stretch, Stretch]:
    return stretch, replace(stretch, lane_id=-stretch.lane_id)


_WIDE = Stretch("TownCurves", 1, -2, 2.0, 216.0, WIDE_MPS)
WIDE_OUTER = (*_both(_WIDE), *_both(replace(_WIDE, low_m=486.0, high_m=610.0)))  # straight; the outer lane
WIDE_INNER = tuple(replace(s, lane_id=s.lane_id // 2) for s in WIDE_OUTER)
_NARROW = Stretch("TownCurves", 3, -1, 66.0, 320.0, NARROW_MPS)
NARROW = (*_both(_NARROW), *_both(replace(_NARROW, low_m=556.0, high_m=675.0)))  # straight, one lane a side
CURVES = (
    *_both(Stretch("TownCurves", 1, -1, 150.0, 560.0, WIDE_MPS)),
    *_both(Stretch("TownCurves", 1, -2, 150.0, 560.0, WIDE_MPS)),
    *_both(Stretch("TownCurves", 3, -1, 4.0, 670.0, NARROW_MPS)),
    *_both(Stretch("TownCross", 3, -1, 4.0, 300.0, CROSS_MPS)),
    Stretch("TownHighway", 1, -2, 2.0, 380.0, HIGHWAY_MPS),
    Stretch("TownHighway", 1, -3, 2.0, 380.0, HIGHWAY_MPS),
    Stretch("TownHighway", 5, -3, 20.0, 1700.0, HIGHWAY_MPS),
)
CROSSWALKS: tuple[tuple[Stretch, float], ...] = tuple(
    [(s, 130.0) for s in _both(_WIDE)] + [(s, 193.0) for s in _both(_NARROW)]
)
MERGE = Stretch("TownHighway", 3, -4, 0.0, 100.0, HIGHWAY_MPS)  # lane -4 ends 160 m on


@dataclass(frozen=True, slots=True)
class Arm:
    """One approach of the junction of TownCross.

    Attributes:
        road_id: Road.
        lane_id: Incoming lane.
        mouth_m: OpenDRIVE s where the junction begins.
        turns: Commands that this lane allows, with the length inside the junction.
    """

    road_id: int
    lane_id: int
    mouth_m: float
    turns: dict[Command, float]

    def route(self, turn: Command, before_m: float, after_m: float) -> RouteSpec:
        """From `before_m` ahead of the junction at tick 0 to `after_m` behind it."""
        way_m = before_m + RUN_UP_S * CROSS_MPS
        start_m = self.mouth_m + way_m if self.lane_id > 0 else self.mouth_m - way_m
        return RouteSpec(
            "TownCross", self.road_id, self.lane_id, start_m, way_m + self.turns[turn] + after_m, (turn,)
        )


_LEFT_M, _RIGHT_M = 30.6, 21.6  # along the lane's middle
_INNER = {Command.TURN_LEFT: _LEFT_M, Command.GO_STRAIGHT: 31.0}
_OUTER = {Command.TURN_RIGHT: _RIGHT_M, Command.GO_STRAIGHT: 31.0}
_SINGLE = {Command.TURN_LEFT: _LEFT_M, Command.TURN_RIGHT: _RIGHT_M, Command.GO_STRAIGHT: 38.0}
ARMS = (
    Arm(1, 1, 0.0, _INNER),
    Arm(1, 2, 0.0, _OUTER),
    Arm(3, -1, 327.16, _SINGLE),
    Arm(4, 1, 0.0, _INNER),
    Arm(4, 2, 0.0, _OUTER),
    Arm(6, -1, 327.16, _SINGLE),
)
CROSSWALK_FROM_MOUTH_M = 4.0
