"""The leaderboard's infractions of one drive, and its outcome."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..scoring.driving_score import driving_score, is_success
from ..scoring.kinematics import EGO
from ..vocabulary import TICK_HZ, TICK_S, ActorKind, EgoState, Infraction, Outcome
from .lights import RouteLight

DONE_M = 1.0  # the route is complete this far before its end
OFF_ROAD_END_S = 1.0
DEVIATION_M = 10.0  # the leaderboard's 30 m, for routes of 100 m
BLOCKED_S = 10.0  # the leaderboard's 60 s, for episodes of 14 s
BLOCKED_MPS = 0.1
STANDSTILL_MPS = 0.1

COLLISION_KINDS = {
    ActorKind.WALKER: "collision_pedestrian",
    ActorKind.CYCLIST: "collision_vehicle",
    ActorKind.VEHICLE: "collision_vehicle",
    ActorKind.STATIC: "collision_static",
}


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tick says that the rules need.

    Attributes:
        tick: From 0 on.
        ego: The ego.
        progress_m: Along the route.
        lateral_m: From its centre line.
        off_road: The centre of the ego is off the road.
        contacts: (actor id, class, name) of what the ego touches.
        waits_at_light: A red or yellow light is near ahead.
    """

    tick: int
    ego: EgoState
    progress_m: float
    lateral_m: float
    off_road: bool
    contacts: tuple[tuple[int, ActorKind, str], ...]
    waits_at_light: bool


@dataclass(slots=True)
class Judge:
    """Watches one drive.

    Attributes:
        start_m: Progress at tick 0.
        length_m: Of the route.
        timeout_s: After it the drive is lost.
        lights: Of the route.
        infractions: So far.
    """

    start_m: float
    length_m: float
    timeout_s: float
    lights: tuple[RouteLight, ...]
    infractions: list[Infraction] = field(default_factory=list)
    _touched: set[int] = field(default_factory=set)
    _best_m: float = -math.inf
    _driven_m: float = 0.0
    _outside_m: float = 0.0
    _standing_s: float = 0.0
    _standstill_s: float = 0.0
    _off_road_s: float = 0.0
    _front_m: float | None = None

    def watch(self, seen: Observation) -> tuple[tuple[Infraction, ...], Outcome | None]:
        """Takes in one tick.

        Args:
            seen: The tick.

        Returns:
            Infractions that begin on it, and the outcome when the drive is over.
        """
        before = len(self.infractions)
        self._measure(seen)
        end = self._collisions(seen) or self._road(seen)
        self._red_lights(seen)
        if not end and seen.progress_m >= self.length_m - DONE_M:
            end = "route_complete"
        if not end and self._standing_s >= BLOCKED_S:
            end = "blocked"
            self._add("blocked", seen)
        if not end and seen.tick / TICK_HZ >= self.timeout_s:
            end = "timeout"
            self._add("scenario_timeout", seen)
        outcome = self.outcome(seen.tick, end) if end else None
        return tuple(self.infractions[before:]), outcome

    def outcome(self, tick: int, end: str) -> Outcome:
        """The outcome if the drive ended now in the way `end`."""
        share = (self._best_m - self.start_m) / (self.length_m - DONE_M - self.start_m)
        rc = 100.0 if end == "route_complete" else 100.0 * min(max(share, 0.0), 1.0)
        return Outcome(
            success=is_success(rc, self.infractions),
            rc=rc,
            ds=driving_score(rc, self.infractions, self._outside_m / max(self._driven_m, 1.0)),
            infractions=tuple(self.infractions),
            end=end,
            driven_m=self._driven_m,
            duration_s=tick / TICK_HZ,
            standstill_s=self._standstill_s,
        )

    def _add(self, kind: str, seen: Observation, actor_id: int = 0, detail: str = "") -> None:
        self.infractions.append(Infraction(kind, seen.tick, actor_id, detail))

    def _measure(self, seen: Observation) -> None:
        self._best_m = max(self._best_m, seen.progress_m)
        if seen.tick > 0:
            step_m = abs(seen.ego.speed_mps) * TICK_S
            self._driven_m += step_m
            self._outside_m += step_m * seen.off_road
        standing = abs(seen.ego.speed_mps) < STANDSTILL_MPS
        self._standstill_s += TICK_S * standing
        waiting = standing and not seen.waits_at_light
        self._standing_s = self._standing_s + TICK_S if waiting else 0.0
        self._off_road_s = self._off_road_s + TICK_S if seen.off_road else 0.0

    def _collisions(self, seen: Observation) -> str:
        new = [contact for contact in seen.contacts if contact[0] not in self._touched]
        for actor_id, kind, name in new:
            self._touched.add(actor_id)
            self._add(COLLISION_KINDS[kind], seen, actor_id, name)
        return "collision" if new else ""

    def _road(self, seen: Observation) -> str:
        if seen.off_road and self._off_road_s <= TICK_S:
            self._add("outside_lane", seen)
        if abs(seen.lateral_m) > DEVIATION_M:
            self._add("route_deviation", seen)
            return "route_deviation"
        return "off_road" if self._off_road_s >= OFF_ROAD_END_S else ""

    def _red_lights(self, seen: Observation) -> None:
        front_m = seen.progress_m + 0.5 * EGO.length_m
        if self._front_m is not None:
            for light in self.lights:
                if self._front_m < light.stop_m <= front_m and light.state() == "red":
                    self._add("red_light", seen, light.actor.id)
        self._front_m = front_m
