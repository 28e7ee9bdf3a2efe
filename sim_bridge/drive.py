"""One drive of one case: the simulator as the drive loop sees it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import carla
import numpy as np
from numpy.typing import NDArray

from ..errors import SimulatorError
from ..scoring.frames import into_ego
from ..scoring.kinematics import EGO
from ..scoring.ttc import time_to_collision
from ..vocabulary import (
    PLAN_POINTS,
    PLAN_STEP_S,
    TICK_HZ,
    ActorKind,
    Agent,
    CameraSpec,
    Case,
    Control,
    EgoState,
    Infraction,
    Outcome,
    Plan,
)
from . import convert
from .bridge import EGO_ROLE, Bridge
from .follower import PlanFollower
from .infractions import Judge, Observation
from .lights import lights_on, next_stop, restart_lights
from .map_bake import inside_any, map_polygons, map_sha256
from .moment import MapPolygons, Moment
from .routes import Route, build_route
from .scenarios.base import Scenario
from .scenarios.catalogue import make_scenario
from .sensors import CameraSet, CollisionSensor, DisplayCamera
from .stage import Stage, body_of
from .weather import weather_of

EGO_BLUEPRINT = "vehicle.lincoln.mkz_2020"
WARMUP_TICKS = 30  # 1.5 s: the frames and poses that a policy looks back on
SETTLE_TICKS = 12  # within these the first camera set must have come
LIGHT_AHEAD_M = 40.0
TTC_HORIZON_S = 4.0
CONTACT_WAIT_S = 0.5
HELD_MPS = 0.1
SLOW_MPS = 1.0  # below this the steering angle is taken from the command, above it from the yaw rate

Array = NDArray[np.float64]
Touch = tuple[int, ActorKind, str]  # actor id, class, name


class Drive:
    """The simulator noun: drives cases on one bridge, one after another.

    Args:
        bridge: A connected server.
        cameras: The policy's cameras.

    Attributes:
        history: Moments of the warm-up of the present episode, oldest first, ticks -WARMUP_TICKS .. -1.
        route: Route of the present episode.
        scenario: Scenario of the present episode.
    """

    history: list[Moment]
    route: Route
    scenario: Scenario

    def __init__(self, bridge: Bridge, cameras: tuple[CameraSpec, ...]) -> None:
        self._bridge = bridge
        self._cameras_spec = cameras
        self._hashes: dict[str, str] = {}
        self._polygons: dict[str, MapPolygons] = {}
        self._weather: tuple[str, dict[str, float]] | None = None
        self._done = True
        self._display: tuple[CameraSpec, Callable[[int, NDArray[np.uint8]], None]] | None = None
        self._display_camera: DisplayCamera | None = None
        self._frame_zero = 0
        self.history = []

    @property
    def map_name(self) -> str:
        """Short name of the map."""
        return self._bridge.map_name

    @property
    def map_sha256(self) -> str:
        """Hash of the map's OpenDRIVE text."""
        if self.map_name not in self._hashes:
            self._hashes[self.map_name] = map_sha256(self.carla_map)
        return self._hashes[self.map_name]

    @property
    def carla_map(self) -> carla.Map:
        """The map in CARLA's frame, for questions about lanes."""
        return self._bridge.carla_map

    @property
    def route_centerline_m(self) -> Array:
        """(M, 2) world, 1 m apart."""
        return self.route.points_m

    @property
    def cameras(self) -> tuple[CameraSpec, ...]:
        """The policy's cameras."""
        return self._cameras_spec

    def map_polygons(self, folder: Path | None = None) -> MapPolygons:
        """Baked surfaces of the map; `folder` is the cache on disk (None: the user's)."""
        if self.map_name not in self._polygons:
            self._polygons[self.map_name] = map_polygons(self.carla_map, folder)
        return self._polygons[self.map_name]

    @property
    def scenario_info(self) -> dict[str, Any]:
        """Type, parameters, conflict and critical actor of the present episode."""
        spec = self.scenario.spec
        return {
            "type": self.scenario.case.scenario,
            "decoy": self.scenario.case.decoy,
            "params": dict(spec.params),
            "conflict_m": spec.conflict_m,
            "conflict_point_m": self.route.pose_at(spec.conflict_m)[:2],
            "critical_actor_id": self._stage.critical_id,
            "speed_limit_mps": spec.speed_limit_mps,
            "target_speed_mps": spec.target_speed_mps,
            "timeout_s": spec.timeout_s,
        }

    def reset(self, case: Case) -> Moment:
        """Builds the world of a case and warms it up.

        Args:
            case: What to drive.

        Returns:
            The moment of tick 0; `history` holds the ones before it.

        Raises:
            SimulatorError: The server failed, or the scenario cannot be built there.
        """
        scenario = make_scenario(case)
        spec = scenario.spec
        self._bridge.use_map(spec.route.map_name)
        self.set_weather(spec.weather)
        self.scenario = scenario
        self.route = build_route(self.carla_map, spec.route)
        self._lights = lights_on(self._bridge.world, self.route)
        restart_lights(self._bridge.world)
        self._ego = self._spawn_ego()
        self._ego_body = body_of(self._ego, EGO_ROLE)
        self._cameras = CameraSet(self._bridge, self._ego, self._cameras_spec)
        self._display_camera = None  # it went with the episode before
        self._mount_display()
        self._collisions = CollisionSensor(self._bridge, self._ego)
        self._stage = Stage(self._bridge, self.route, self._lights, self._ego.id)
        scenario.setup(self._stage)
        self._judge: Judge | None = None
        self._place_index: int | None = None
        self._done = False
        return self._warm_up()

    def show(self, spec: CameraSpec, deliver: Callable[[int, NDArray[np.uint8]], None]) -> None:
        """Mounts a camera for people, now and at every reset, in place of the one before.

        Args:
            spec: The camera.
            deliver: Called on another thread with the tick and (H, W, 4) BGRA pixels, which hold only during the call.
                Pictures may come late or be left out.
        """
        self._display = (spec, deliver)
        if not self._done:
            self._mount_display()

    def _mount_display(self) -> None:
        if self._display is None:
            return
        if self._display_camera is not None:
            self._bridge.destroy([self._display_camera.sensor.id])
        spec, deliver = self._display
        self._display_camera = DisplayCamera(
            self._bridge, self._ego, spec, lambda frame, pixels: deliver(frame - self._frame_zero, pixels)
        )

    def actuate(self, control: Control, *, reverse: bool = False) -> None:
        """Gives the ego a control at once, apart from the tick; it holds until the next one.

        May be called from another thread while `step(None)` runs. The server has it on its next tick.

        Args:
            control: Of the ego.
            reverse: Engage the reverse gear.

        Raises:
            RuntimeError: There is no ego now.
        """
        self._ego.apply_control(convert.vehicle_control(control, reverse=reverse))

    @property
    def executed(self) -> Control:
        """The control that the server had on the tick just made, by its own report."""
        return convert.control(self._ego.get_control())

    def step(self, control: Control | None) -> Moment:
        """One tick with a control of the ego.

        Args:
            control: Of the ego; None leaves it to `actuate`.

        Returns:
            The moment after it.

        Raises:
            SimulatorError: The server failed.
            ValueError: The episode is over.
        """
        if self._done:
            raise ValueError("the episode is over: reset first")
        return self._advance(control, self._now.tick + 1)

    def close(self) -> None:
        """Destroys the actors of the episode."""
        self._done = True
        self._bridge.destroy_all()

    def set_weather(self, fields: dict[str, float]) -> None:
        """Weather of the next tick's pictures, up to the next reset; `fields` as in `weather.weather_of`."""
        if self._weather != (self.map_name, fields):
            self._bridge.world.set_weather(weather_of(fields))
            self._weather = (self.map_name, fields)

    def _spawn_ego(self) -> carla.Actor:
        x_m, y_m, yaw_rad = self.route.pose_at(0.0)
        ego = self._bridge.place(EGO_BLUEPRINT, x_m, y_m, yaw_rad, self.route.height_m, EGO_ROLE)
        if ego is None:
            raise SimulatorError(
                f"no room for the ego at ({x_m:.1f}, {y_m:.1f}) of {self.map_name}",
                fix="remove what stands there, or start a server of your own",
            )
        return ego

    def _warm_up(self) -> Moment:
        """Drives along the route at the start speed until the frames and poses to look back on exist.

        Cameras choose their own phase, so the first ticks find it; tick 0 is whole periods later.
        """
        speed_mps = self.scenario.spec.start_speed_mps
        yaw_rad = self.route.pose_at(0.0)[2]
        self._stage.velocity(self._ego.id, speed_mps * math.cos(yaw_rad), speed_mps * math.sin(yaw_rad))
        follower, control = PlanFollower(), Control()
        self.history = []
        for _ in range(SETTLE_TICKS):
            self._stage.vehicle(self._ego.id, control)
            self._bridge.send(self._stage.take())
            snapshot = self._bridge.tick()
            if self._cameras.find_phase(snapshot.frame):
                break
        else:
            raise SimulatorError("the cameras give no images", fix="look at the server's log")
        self._frame_zero = snapshot.frame + WARMUP_TICKS
        self._now = self._moment(snapshot, -WARMUP_TICKS)
        for tick in range(-WARMUP_TICKS + 1, 1):
            self.history.append(self._now)
            plan = self._along_route(speed_mps)
            control = follower.control(plan, self._now.ego, self._now.ego, 0.0)
            if tick == 0:
                self._start_judging()
            self._advance(control, tick)
        return self._now

    def _along_route(self, speed_mps: float) -> Plan:
        """Plan along the centre line at a constant speed, for the warm-up."""
        along_m = self._now.route_progress_m + speed_mps * PLAN_STEP_S * np.arange(1, PLAN_POINTS + 1)
        world = [self.route.pose_at(float(s_m))[:2] for s_m in along_m]
        return Plan(into_ego(world, self._now.ego).astype(np.float32), self._now.tick)

    def _start_judging(self) -> None:
        self._collisions.collect()
        self._judge = Judge(
            self._now.route_progress_m, self.route.length_m, self.scenario.spec.timeout_s, self._lights
        )

    def _advance(self, control: Control | None, tick: int) -> Moment:
        self.scenario.tick(self._stage, self._now)
        if control is not None:
            self._stage.vehicle(self._ego.id, control)
        self._bridge.send(self._stage.take())
        self._now = self._moment(self._bridge.tick(), tick)
        return self._now

    def _moment(self, snapshot: carla.WorldSnapshot, tick: int) -> Moment:
        delivery = self._cameras.collect(snapshot.frame)
        ego = self._ego_state(snapshot)
        bodies = self._stage.bodies
        seen = [(body, snapshot.find(body.actor_id)) for body in bodies.values()]
        agents = tuple(body.seen(found) for body, found in seen if found is not None)
        place = self.route.locate(ego.x_m, ego.y_m, ego.yaw_rad, self._place_index)
        self._place_index = place.index
        ttc_s = time_to_collision(ego, agents, TTC_HORIZON_S)
        off_road = self._off_road(ego)
        red = math.isfinite(next_stop(self._lights, place.progress_m, LIGHT_AHEAD_M))
        infractions: tuple[Infraction, ...] = ()
        outcome: Outcome | None = None
        if self._judge is not None:
            contacts = self._contacts(ego, agents, ttc_s)
            infractions, outcome = self._judge.watch(
                Observation(tick, ego, place.progress_m, place.lateral_m, off_road, contacts, red)
            )
        self._done = outcome is not None
        return Moment(
            tick=tick,
            time_s=tick / TICK_HZ,
            ego=ego,
            agents=agents,
            frame=delivery.frame(tick, bodies),
            command=self.route.commands[place.index],
            route_progress_m=place.progress_m,
            route_length_m=self.route.length_m,
            lateral_error_m=place.lateral_m,
            heading_error_rad=place.heading_error_rad,
            off_road=off_road,
            ttc_s=ttc_s,
            speed_limit_mps=self.scenario.spec.speed_limit_mps,
            red_light_ahead=red,
            infractions=infractions,
            lights=tuple((light.actor.id, light.state()) for light in self._lights),
            done=outcome is not None,
            outcome=outcome,
            faults=delivery.faults,
        )

    def _ego_state(self, snapshot: carla.WorldSnapshot) -> EgoState:
        found = snapshot.find(self._ego.id)
        if found is None:
            raise SimulatorError(
                "the ego has left the world", fix="another client destroyed it: use an own server"
            )
        body = self._ego_body.seen(found)
        ax, ay = convert.vector(found.get_acceleration())
        yaw_rate = convert.yaw_rate(found.get_angular_velocity())
        cos, sin = math.cos(body.yaw_rad), math.sin(body.yaw_rad)
        if body.speed_mps > SLOW_MPS:
            steer_rad = math.atan(EGO.wheel_base_m * yaw_rate / body.speed_mps)
        else:
            steer_rad = EGO.max_steer_rad * convert.control(self._ego.get_control()).steer
        return EgoState(
            body.x_m,
            body.y_m,
            body.yaw_rad,
            body.speed_mps,
            ax * cos + ay * sin,
            yaw_rate,
            min(max(steer_rad, -EGO.max_steer_rad), EGO.max_steer_rad),
            -ax * sin + ay * cos,
        )

    def _off_road(self, ego: EgoState) -> bool:
        where = convert.location(ego.x_m, ego.y_m, self.route.height_m)
        if self.carla_map.get_waypoint(where, project_to_road=False) is not None:
            return False
        surfaces = self.map_polygons()
        return not inside_any(ego.x_m, ego.y_m, surfaces.roadblocks + surfaces.intersections)

    def _contacts(self, ego: EgoState, agents: tuple[Agent, ...], ttc_s: float) -> tuple[Touch, ...]:
        """What the ego touches: by the boxes, and by the server's sensor, whose events may come late."""
        found: dict[int, Touch] = {}
        for agent in agents if ttc_s == 0.0 else ():
            if time_to_collision(ego, (agent,), TTC_HORIZON_S) == 0.0:
                found[agent.actor_id] = (agent.actor_id, agent.kind, agent.name)
        wait_s = CONTACT_WAIT_S if self._was_held(ego, agents) else 0.0
        for contact in self._collisions.collect(wait_s):
            body = self._stage.bodies.get(contact.actor_id)
            kind = body.kind if body else ActorKind.STATIC
            found[contact.actor_id] = (contact.actor_id, kind, body.name if body else contact.type_id)
        return tuple(found.values())

    def _was_held(self, ego: EgoState, agents: tuple[Agent, ...]) -> bool:
        """Whether the ego, or an agent beside it, had speed and yet is where it was.

        The embedded server ends a contact by putting bodies back, so an event is on its way. Waiting for it makes a
        drive repeatable; the event has a connection of its own and may come after the snapshot.
        """
        before = self._now.ego
        if abs(before.speed_mps) > HELD_MPS and (before.x_m, before.y_m) == (ego.x_m, ego.y_m):
            return True
        earlier = {agent.actor_id: agent for agent in self._now.agents}
        for agent in agents:
            old = earlier.get(agent.actor_id, agent)
            held = abs(old.speed_mps) > HELD_MPS and (old.x_m, old.y_m) == (agent.x_m, agent.y_m)
            reach_m = 0.5 * (EGO.length_m + agent.length_m) + EGO.width_m
            if held and math.hypot(agent.x_m - ego.x_m, agent.y_m - ego.y_m) < reach_m:
                return True
        return False
