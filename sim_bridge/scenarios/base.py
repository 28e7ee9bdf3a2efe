"""What a scenario is to `Drive`: a route, a speed, and actors that it spawns and moves on every tick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ...vocabulary import Case, Command

if TYPE_CHECKING:
    from ..moment import Moment
    from ..stage import Stage


RUN_UP_S = 1.5  # `Drive.WARMUP_S`: the ego drives so long before tick 0


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A route as choices on a map's lanes.

    Attributes:
        map_name: `TownCurves`, ...
        road_id: OpenDRIVE road of the start.
        lane_id: OpenDRIVE lane of the start; its sign gives the direction.
        s_m: OpenDRIVE s of the start. The ego is spawned here and warms up for 1.5 s at `start_speed_mps`, so
            at tick 0 it is about 1.5 s * `start_speed_mps` along the route.
        length_m: Of the route, from the start.
        turns: Choice at each junction in the order met (TURN_LEFT, GO_STRAIGHT, TURN_RIGHT); then straight.
        changes: (route metre at which it begins, CHANGE_LEFT or CHANGE_RIGHT): lane changes, in order.
    """

    map_name: str
    road_id: int
    lane_id: int
    s_m: float
    length_m: float
    turns: tuple[Command, ...] = ()
    changes: tuple[tuple[float, Command], ...] = ()


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """What is fixed before the world exists.

    Attributes:
        route: The route.
        speed_limit_mps: Of the whole route.
        target_speed_mps: Speed that a good driver holds when nothing happens.
        start_speed_mps: Speed of the ego through the warm-up.
        conflict_m: Where along the route the conflict is.
        timeout_s: After it the episode is lost.
        params: What the seed drew, for the record.
        weather: `carla.WeatherParameters` fields that differ from clear noon, such as {"fog_density": 40.0}.
    """

    route: RouteSpec
    speed_limit_mps: float
    target_speed_mps: float
    start_speed_mps: float
    conflict_m: float
    timeout_s: float = 14.0
    params: dict[str, float | str] = field(default_factory=dict)
    weather: dict[str, float] = field(default_factory=dict)


class Scenario(Protocol):
    """One reproducible drive. Made by `catalogue.make_scenario(case)`, used for one episode."""

    case: Case
    spec: ScenarioSpec

    def setup(self, stage: Stage) -> None:
        """Spawns the actors through `stage`; the ego stands at the start already, no tick has run."""
        ...

    def tick(self, stage: Stage, moment: Moment) -> None:
        """Moves the actors through `stage` in view of the newest moment; the world steps afterwards.

        Also called through the warm-up, with negative `moment.tick`.
        """
        ...
