"""The world of one episode: actors, lights, weather and time, advanced one tick at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...scoring.kinematics import _pedals as pedals_kernel
from ...scoring.kinematics import _step as bicycle_kernel
from .actors import Actor, ActorTable, Layout
from .blueprints import SPECTATOR, TRAFFIC_LIGHT, Blueprint, Kind, library
from .physics import MAX_HITS, VX, YAW, Z, carry, collide, meet, move_walkers, publish_vehicles, standing_at
from .pushes import Pushes
from .town import Pose, Town
from .traffic_lights import TrafficLight, TrafficLights
from .wire_stream import vehicle_state, walker_state

GROUND_Z_M = 0.0  # the shipped maps are flat
SPEED_LIMIT_KMH = 50.0
GRAVITY_MPS2 = 9.81
MAX_LATE_BOXES = 256
BRAKE_LIGHT_FLAG, RIGHT_FLAG, LEFT_FLAG = 8, 16, 32  # carla.VehicleLightState
CLEAR_NOON = [5.0, 0.0, 0.0, 10.0, -1.0, 45.0, 0.0, 0.75, 0.1, 0.0, 1.0, 0.03, 0.0331, 0.0]


class WorldError(ValueError):
    """A request that the world refuses; the text goes to the client."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Two actors touched on a tick; `impulse` [N s] x, y acted on the first."""

    first: Actor
    second: Actor
    impulse: tuple[float, float]


class IdSource:
    """Ids that are never given twice, whatever episodes come and go."""

    def __init__(self) -> None:
        self._actors, self._streams = 0, 1

    def actor(self) -> int:
        """Next actor id; its low 16 bits are never zero, which is the background in an instance image."""
        self._actors += 2 if (self._actors + 1) & 0xFFFF == 0 else 1
        return self._actors

    def stream(self) -> int:
        """Next stream id; 1 is the world's."""
        self._streams += 1
        return self._streams


class World:
    """One episode.

    Args:
        town: Its map.
        episode_id: Number of the episode.
        ids: Source of ids, shared by all episodes.
        frame: Number of the last frame of the episode before.
        time_s: Its last time.
    """

    def __init__(
        self, town: Town, episode_id: int, ids: IdSource, frame: int = 0, time_s: float = 0.0
    ) -> None:
        self.town, self.episode_id = town, episode_id
        self.frame, self.time_s = frame, time_s
        self.table = ActorTable()
        self.weather = list(CLEAR_NOON)
        self.imu_gravity_mps2 = GRAVITY_MPS2
        self.pushes = Pushes(self.table)
        self.contacts: list[Contact] = []
        self.blueprints = library()
        self._uids = {blueprint_id: number for number, blueprint_id in enumerate(self.blueprints, start=1)}
        self._ids = ids
        self._ackermann: dict[int, list[float]] = {}
        self._late_boxes: dict[int, list[Any]] = {}
        self._hits = np.zeros((MAX_HITS, 2), np.int64)
        self._impulses = np.zeros((MAX_HITS, 2))
        self._coded_layout: Layout | None = None
        self._codes = np.zeros(0, np.int64)
        self.spectator = self._add(Actor(ids.actor(), SPECTATOR), (0.0, 0.0, 40.0, -90.0, 0.0, 0.0))
        self.lights = TrafficLights(self._make_lights(), self.table)

    def _make_lights(self) -> Iterator[TrafficLight]:
        for pole, signal in enumerate(self.town.signals):
            actor = self._add(Actor(self._ids.actor(), TRAFFIC_LIGHT), signal.pose)
            light = TrafficLight(actor, signal, pole)
            x, y, yaw, half_length, half_width = light.trigger()
            dx, dy = x - signal.pose[0], y - signal.pose[1]
            centre = (
                dx * math.cos(yaw) + dy * math.sin(yaw),
                -dx * math.sin(yaw) + dy * math.cos(yaw),
                1.0,
            )
            actor.box = (centre, (half_length, half_width, 1.0))
            yield light

    def _add(self, actor: Actor, pose: Pose) -> Actor:
        self.table.add(actor)
        self.table.motion[actor.row, :6] = pose
        return actor

    def actor(self, actor_id: int) -> Actor:
        """An actor.

        Raises:
            WorldError: There is none of that id.
        """
        found = self.table.get(actor_id)
        if found is None:
            raise WorldError(f"unable to find actor {actor_id}: it was destroyed or never existed")
        return found

    def bounding_box(self, actor_id: int) -> list[Any]:
        """Box of an actor, or of one that was here a moment ago.

        A Traffic Manager asks for the boxes of all that it has seen, a tick late; an error would end its process.
        """
        late = self._late_boxes.get(actor_id)
        return self.actor(actor_id).bounding_box() if late is None else late

    def vehicle(self, actor_id: int) -> Actor:
        """A vehicle; raises `WorldError` otherwise."""
        found = self.actor(actor_id)
        if found.kind is not Kind.VEHICLE:
            raise WorldError(f"actor {actor_id} ({found.blueprint.id}) is not a vehicle")
        return found

    def movable(self, actor_id: int) -> Actor:
        """A vehicle that physics moves; raises `WorldError` otherwise."""
        found = self.vehicle(actor_id)
        if not found.simulated or found.parent is not None:
            raise WorldError(f"actor {actor_id} ({found.blueprint.id}) is not moved by physics")
        return found

    def light(self, actor_id: int) -> TrafficLight:
        """A traffic light; raises `WorldError` otherwise."""
        found = self.lights.get(actor_id)
        if found is None:
            raise WorldError(f"actor {actor_id} is not a traffic light")
        return found

    def spawn(self, description: Sequence[Any], pose: Pose, parent_id: int | None = None) -> Actor:
        """Makes an actor.

        Args:
            description: `ActorDescription`: uid, blueprint id, [[name, type, value], ...].
            pose: In the world, or relative to the parent.
            parent_id: Actor that it is attached to.

        Raises:
            WorldError: Unknown blueprint, no such parent, or the place is taken.
        """
        blueprint = self.blueprints.get(description[1])
        if blueprint is None:
            raise WorldError(f"unknown blueprint {description[1]!r}")
        parent = self.actor(parent_id) if parent_id else None
        actor = Actor(
            self._ids.actor(),
            blueprint,
            {name: (kind, value) for name, kind, value in description[2]},
            parent,
            params=blueprint.params,
            mass_kg=blueprint.mass_kg,
        )
        if blueprint.kind is Kind.SENSOR:
            actor.stream_id = self._ids.stream()
        self._add(actor, pose)
        if parent is not None:
            parent.children.append(actor)
            self.table.mount[actor.row] = pose
            self._carry()
        else:
            self.place(actor, pose)
            if self._blocked(actor):
                self.table.remove(actor)
                raise WorldError("Spawn failed because of collision at spawn position")
        self._write_state(actor)
        return actor

    def _blocked(self, actor: Actor) -> bool:
        if actor.kind not in (Kind.VEHICLE, Kind.WALKER, Kind.PROP):
            return False
        table, layout = self.table, self.table.layout()
        return any(
            row != actor.row and meet(table.motion, table.extent, table.box_z, actor.row, row)
            for row in (*layout.bodies.tolist(), *layout.obstacles.tolist())
        )

    def destroy(self, actor: Actor) -> list[Actor]:
        """Removes an actor and what is attached to it.

        Returns:
            All that went.
        """
        gone = []
        for child in tuple(actor.children):
            gone += self.destroy(child)
        if actor.parent is not None:
            actor.parent.children.remove(actor)
        self._ackermann.pop(actor.id, None)
        self.pushes.forget(actor)
        self._late_boxes[actor.id] = actor.bounding_box()
        if len(self._late_boxes) > MAX_LATE_BOXES:
            del self._late_boxes[next(iter(self._late_boxes))]
        self.table.remove(actor)
        return [*gone, actor]

    def place(self, actor: Actor, pose: Pose) -> None:
        """Puts an actor somewhere; its speed stays. What stands on the ground is set down on it."""
        table, row = self.table, actor.row
        if actor.parent is not None:
            table.mount[row] = pose
            self._carry()
            return
        table.motion[row, :6] = pose
        if actor.kind is Kind.VEHICLE:
            if actor.simulated:
                table.motion[row, Z:6] = GROUND_Z_M, 0.0, pose[4], 0.0
            table.bike[row, :3] = pose[0], -pose[1], -math.radians(pose[4])
        elif actor.kind is Kind.WALKER:
            table.motion[row, Z] = GROUND_Z_M + actor.blueprint.extent_m[2]
            table.walk[row, 2] = pose[4]
        self._carry()

    def _carry(self) -> None:
        layout = self.table.layout()
        if len(layout.children):
            carry(self.table.motion, self.table.mount, layout.children, layout.parents)

    def drive(self, actor: Actor, control: Sequence[Any]) -> None:
        """Sets a vehicle's control: throttle, steer, brake, hand brake, reverse, manual shift, gear."""
        throttle, steer, brake, hand, reverse, manual, gear = control
        self._ackermann.pop(actor.id, None)
        actor.control = (throttle, steer, brake, hand, reverse, manual, gear)
        self.table.pedals[actor.row] = -steer, throttle, 1.0 if hand else brake, reverse
        self._write_state(actor)

    def drive_ackermann(self, actor: Actor, wanted: Sequence[float]) -> None:
        """Lets a vehicle follow steer [rad, right positive], steer speed, speed, acceleration, jerk."""
        self._ackermann[actor.id] = list(wanted)

    def walk(self, actor: Actor, control: Sequence[Any]) -> None:
        """Sets a walker's control: direction, speed, jump."""
        if actor.kind is not Kind.WALKER:
            raise WorldError(f"actor {actor.id} ({actor.blueprint.id}) is not a walker")
        (x, y, z), speed, jump = control
        length = math.hypot(x, y)
        yaw = math.degrees(math.atan2(y, x)) if length else self.table.walk[actor.row, 2]
        pace = speed / length if length else 0.0
        self.table.walk[actor.row] = x * pace, y * pace, yaw
        self.table.records["state"][actor.row] = walker_state((x, y, z), speed, jump)

    def push(self, actor: Actor, velocity: Sequence[float]) -> None:
        """Sets a velocity; a vehicle keeps only the part along its heading, its wheels take the rest."""
        row = actor.row
        if actor.kind is Kind.VEHICLE:
            yaw = math.radians(self.table.motion[row, YAW])
            self.table.bike[row, 3] = velocity[0] * math.cos(yaw) + velocity[1] * math.sin(yaw)
        elif actor.kind is Kind.WALKER:
            self.table.walk[row, :2] = velocity[:2]
        else:
            raise WorldError(f"actor {actor.id} ({actor.blueprint.id}) does not move")

    def simulate(self, actor: Actor, enabled: bool) -> None:
        """Lets physics move an actor, or holds it where it is put."""
        actor.simulated = enabled
        if not enabled:
            self.pushes.forget(actor)
            self.table.bike[actor.row, 3:] = 0.0
            self.table.motion[actor.row, VX:] = 0.0
        self.table.changed()

    def set_lights(self, actor: Actor, flags: int) -> None:
        """Sets a vehicle's lights."""
        actor.lights = flags

    def _write_state(self, actor: Actor) -> None:
        if actor.kind is Kind.VEHICLE:
            light = self.lights.get(actor.at_light)
            self.table.records["state"][actor.row] = vehicle_state(
                actor.control, SPEED_LIMIT_KMH, light.state if light else 2, light.actor.id if light else None
            )
        elif actor.kind is Kind.WALKER:
            self.table.records["state"][actor.row] = walker_state((1.0, 0.0, 0.0), 0.0, False)

    def step(self, dt_s: float) -> None:
        """Advances the world by one tick."""
        table = self.table
        layout, count = table.layout(), len(table)
        motion, bike = table.motion, table.bike
        self.frame += 1
        self.time_s += dt_s
        if self._ackermann:
            self._follow_ackermann()
        if self.pushes:
            self.pushes.before_step(dt_s)
        table.before[:count] = motion[:count]
        for params, rows in layout.fleets:
            state, command = bike[rows], np.empty((len(rows), 2))
            pedals_kernel(state, table.pedals[rows], params, command)
            bicycle_kernel(state, command, dt_s, params)
            bike[rows] = state
        if self.pushes:
            self.pushes.after_step()
        publish_vehicles(bike, motion, table.to_centre, layout.vehicles, dt_s)
        move_walkers(table.walk, motion, layout.walkers, dt_s)
        self.contacts = []
        if len(layout.bodies):
            found = collide(
                motion, table.before, bike, table.extent, table.box_z, table.mass,
                layout.bodies, layout.obstacles, self._hits, self._impulses,
            )  # fmt: skip
            if found:
                self._note_contacts(found)
        if len(layout.children):
            carry(motion, table.mount, layout.children, layout.parents)
        self.lights.step(dt_s)
        if self.lights.lights and len(layout.bodies):
            self._find_lights(layout)

    def records(self) -> bytes:
        """All actors as they travel in a snapshot."""
        count = len(self.table)
        self.table.records["motion"][:count] = self.table.motion[:count]
        return self.table.records[:count].tobytes()

    def _follow_ackermann(self) -> None:
        for actor_id, (steer, _, speed, accel, _) in self._ackermann.items():
            actor = self.actor(actor_id)
            assert actor.params is not None
            gap = speed - self.table.bike[actor.row, 3]
            limit = accel if accel > 0.0 else actor.params.max_accel_mps2
            wanted = min(max(2.0 * gap, -actor.params.max_brake_mps2), limit)
            self.table.pedals[actor.row] = (
                -steer / actor.params.max_steer_rad,
                max(wanted, 0.0) / actor.params.max_accel_mps2,
                max(-wanted, 0.0) / actor.params.max_brake_mps2,
                speed < 0.0,
            )

    def _note_contacts(self, found: int) -> None:
        actors = list(self.table)
        for (a, b), (x, y) in zip(self._hits[:found].tolist(), self._impulses[:found].tolist(), strict=True):
            self.contacts.append(Contact(actors[a], actors[b], (x, y)))

    def _find_lights(self, layout: Layout) -> None:
        """Tells each vehicle which light it stands at; only changes are written."""
        codes = np.empty(len(layout.bodies), np.int64)
        standing_at(self.table.motion, layout.bodies, self.lights.areas, self.lights.states(), codes)
        if layout is self._coded_layout and np.array_equal(codes, self._codes):
            return
        self._coded_layout, self._codes = layout, codes
        actors = list(self.table)
        for row, code in zip(layout.bodies.tolist(), codes.tolist(), strict=True):
            actors[row].at_light = self.lights.lights[code >> 3].actor.id if code >= 0 else 0
            self._write_state(actors[row])

    def describe(self, actor: Actor) -> list[Any]:
        """As `Actor` on the wire, without the stream token, which the network adds."""
        attributes = [[name, kind, value] for name, (kind, value) in actor.attributes.items()]
        description = [self._uids.get(actor.blueprint.id, 0), actor.blueprint.id, attributes]
        parent = actor.parent.id if actor.parent else 0
        return [actor.id, parent, description, actor.bounding_box(), bytes([int(actor.blueprint.tag)])]

    def definitions(self) -> list[Any]:
        """The blueprint library as `ActorDefinition`s."""
        return [self.blueprints[key].definition(uid) for key, uid in self._uids.items()]


def pose_of(transform: Sequence[Sequence[float]]) -> Pose:
    """`Transform` on the wire as a pose."""
    (x, y, z), (pitch, yaw, roll) = transform
    return (x, y, z, pitch, yaw, roll)


def is_lit(actor: Actor) -> tuple[bool, int]:
    """Brake lights of a vehicle and its indicators: -1 left, 1 right, 2 both, 0 none."""
    right, left = bool(actor.lights & RIGHT_FLAG), bool(actor.lights & LEFT_FLAG)
    indicator = 2 if right and left else 1 if right else -1 if left else 0
    braking = actor.control[2] > 0.05 and not actor.control[3]
    return bool(actor.lights & BRAKE_LIGHT_FLAG) or braking, indicator


def attribute_float(actor: Actor, blueprint: Blueprint, name: str) -> float:
    """A numeric attribute, or the blueprint's own value."""
    default = next(a.value for a in blueprint.attributes if a.name == name)
    return float(actor.value(name, default))
