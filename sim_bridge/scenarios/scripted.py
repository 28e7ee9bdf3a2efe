"""A scenario as a list of parts, each an actor with a script."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ...vocabulary import TICK_S, Case
from ..expert_route import Array, RouteFrame
from ..lanes import LaneLines
from ..moment import Moment
from ..stage import Stage
from .base import RouteSpec, ScenarioSpec
from .cast import Draw
from .scripts import Script, Walk, World

WALKER_ORIGIN_M = 0.93  # a walker's origin is at its middle


@dataclass(frozen=True, slots=True)
class Part:
    """One actor.

    Attributes:
        name: Its part ("crossing_walker", "lead", ...).
        look: Blueprint and attributes.
        pose: x_m, y_m, yaw_rad in the world.
        script: What it does; None for a thing.
        critical: It is the one that the scenario is about.
        start_mps: Speed through the run-up.
    """

    name: str
    look: tuple[str, dict[str, str]]
    pose: tuple[float, float, float]
    script: Script | None = None
    critical: bool = False
    start_mps: float = 0.0


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the parts are placed: the route and the lanes around it."""

    frame: RouteFrame
    lanes: LaneLines

    def pose(self, s_m: float, d_m: float, turn_rad: float = 0.0) -> tuple[float, float, float]:
        """World pose at s along and d left of the route, facing along it, or turned by `turn_rad`."""
        x_m, y_m = (float(v) for v in self.frame.to_world(s_m, d_m))
        return x_m, y_m, float(self.frame.yaw_at(s_m)) + turn_rad

    def lane_from(self, pose: tuple[float, float, float], distance_m: float = 150.0) -> Array:
        """Points along the lane from a pose, (K, 2) world."""
        x_m, y_m, yaw_rad = pose
        return self.lanes.from_pose(x_m, y_m, yaw_rad, distance_m)


class ScriptedScenario:
    """Scenario of `base.Scenario`, made of parts.

    Args:
        case: The drive.
        spec: Route and speeds.
        parts: Places the actors on the ground.
        lights: State of the lights on the route through the whole drive; "" leaves them alone.

    Attributes:
        parts: As given.
    """

    def __init__(
        self, case: Case, spec: ScenarioSpec, parts: Callable[[Ground], Iterable[Part]], lights: str = ""
    ) -> None:
        self.case = case
        self.spec = spec
        self.parts = parts
        self._lights = lights
        self._scripts: dict[int, Script] = {}

    def setup(self, stage: Stage) -> None:
        """Spawns the parts."""
        ground = Ground(RouteFrame(stage.route.points_m), LaneLines(stage.carla_map))
        if self._lights:
            stage.freeze_lights(self._lights)
        for part in self.parts(ground):
            blueprint, attributes = part.look
            x_m, y_m, yaw_rad = part.pose
            z_m = WALKER_ORIGIN_M if blueprint.startswith("walker.") else 0.0
            actor_id = stage.spawn(
                blueprint, part.name, x_m, y_m, yaw_rad, critical=part.critical, z_m=z_m, **attributes
            )
            if part.script is not None:
                self._scripts[actor_id] = part.script
            if part.start_mps > 0.0:
                stage.velocity(
                    actor_id, part.start_mps * math.cos(yaw_rad), part.start_mps * math.sin(yaw_rad)
                )

    def tick(self, stage: Stage, moment: Moment) -> None:
        """Runs every script."""
        world = World(
            time_s=moment.tick * TICK_S, ego_s_m=moment.route_progress_m, ego_mps=moment.ego.speed_mps
        )
        for agent in moment.agents:
            script = self._scripts.get(agent.actor_id)
            if script is not None:
                actuation = script.act(world, agent)
                if isinstance(actuation, Walk):
                    stage.walker(agent.actor_id, actuation.yaw_rad, actuation.speed_mps)
                else:
                    stage.vehicle(agent.actor_id, actuation.control)


@dataclass(slots=True)
class Recipe:
    """What the builders of scenario types share: the draw, and the making of the spec."""

    case: Case
    draw: Draw = field(init=False)

    def __post_init__(self) -> None:
        self.draw = Draw.of(self.case)

    def build(
        self,
        route: RouteSpec,
        speed_mps: float,
        conflict_m: float,
        parts: Callable[[Ground], Iterable[Part]],
        *,
        lights: str = "",
        timeout_s: float = 14.0,
    ) -> ScriptedScenario:
        """The scenario; `conflict_m` counts from the route's start."""
        spec = ScenarioSpec(
            route=route,
            speed_limit_mps=speed_mps,
            target_speed_mps=speed_mps,
            start_speed_mps=speed_mps,
            conflict_m=conflict_m,
            timeout_s=timeout_s,
            params=dict(self.draw.params),
        )
        return ScriptedScenario(self.case, spec, parts, lights)
