"""RPC methods of actors, and the batch of commands."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .actors import Actor
from .methods import REFUSALS, Server, bare, value, void
from .methods_physics import (
    FINAL_RATIO,
    GEAR_RATIOS,
    WHEEL_RADIUS_M,
    add_actor_force,
    add_actor_impulse,
    set_actor_target_angular_velocity,
    show_vehicle_debug_telemetry,
)
from .wire_rpc import failed, ok
from .world import WorldError, pose_of

WHEEL_RADIUS_CM = 100.0 * WHEEL_RADIUS_M
GEARS = [[ratio, 0.5, 0.65] for ratio in GEAR_RATIOS]  # ratio, down, up
STEER_FIELD, MASS_FIELD, WHEELS_FIELD = 2, 11, 15  # of a wheel; of physics control


def wire_actor(server: Server, actor: Actor) -> list[Any]:
    """`Actor` on the wire."""
    stream = server.token(actor.stream_id)[0] if actor.stream_id else b""
    return [*server.simulation.world.describe(actor), stream]


@value
def get_actor_definitions(server: Server) -> list[Any]:
    """The blueprint library."""
    return server.simulation.world.definitions()


@value
def get_spectator(server: Server) -> list[Any]:
    """The spectator."""
    return wire_actor(server, server.simulation.world.spectator)


@value
def get_actors_by_id(server: Server, ids: list[int]) -> list[Any]:
    """Those of the actors that exist."""
    table = server.simulation.world.table
    return [wire_actor(server, actor) for actor in map(table.get, ids) if actor is not None]


@value
def spawn_actor(server: Server, description: list[Any], transform: list[Any]) -> list[Any]:
    """Makes an actor."""
    return wire_actor(server, server.simulation.world.spawn(description, pose_of(transform)))


@value
def spawn_actor_with_parent(
    server: Server,
    description: list[Any],
    transform: list[Any],
    parent: int,
    attachment: int = 0,
    bone: str = "",
) -> list[Any]:
    """Makes an actor that is carried by another; every attachment is rigid."""
    return wire_actor(server, server.simulation.world.spawn(description, pose_of(transform), parent))


@value
def destroy_actor(server: Server, actor_id: int) -> bool:
    """Removes an actor, what is attached to it, and their streams."""
    actor = server.simulation.world.actor(actor_id)
    if actor is server.simulation.world.spectator or actor.blueprint.id.startswith("traffic."):
        raise WorldError(f"actor {actor_id} ({actor.blueprint.id}) belongs to the map")
    server.simulation.destroy(actor)
    return True


@void
def apply_control_to_vehicle(server: Server, actor_id: int, control: list[Any]) -> None:
    """Throttle, steer, brake, ...; holds until the next one."""
    world = server.simulation.world
    world.drive(world.vehicle(actor_id), control)


@void
def apply_ackermann_control_to_vehicle(server: Server, actor_id: int, control: list[float]) -> None:
    """Steer, steer speed, speed, acceleration, jerk."""
    world = server.simulation.world
    world.drive_ackermann(world.vehicle(actor_id), control)


@void
def apply_control_to_walker(server: Server, actor_id: int, control: list[Any]) -> None:
    """Direction, speed, jump."""
    world = server.simulation.world
    world.walk(world.actor(actor_id), control)


@void
def set_actor_transform(server: Server, actor_id: int, transform: list[Any]) -> None:
    """Puts an actor somewhere; relative to the parent when it has one."""
    world = server.simulation.world
    world.place(world.actor(actor_id), pose_of(transform))


@void
def set_actor_location(server: Server, actor_id: int, location: list[float]) -> None:
    """Moves an actor without turning it."""
    world = server.simulation.world
    actor = world.actor(actor_id)
    pitch, yaw, roll = world.table.motion[actor.row, 3:6].tolist()
    world.place(actor, (location[0], location[1], location[2], pitch, yaw, roll))


@void
def set_walker_state(server: Server, actor_id: int, transform: list[Any], speed: float) -> None:
    """Puts a walker somewhere and lets it walk ahead."""
    world = server.simulation.world
    actor = world.actor(actor_id)
    world.place(actor, pose_of(transform))
    yaw = math.radians(transform[1][1])
    world.walk(actor, ((math.cos(yaw), math.sin(yaw), 0.0), speed, False))


@void
def set_actor_target_velocity(server: Server, actor_id: int, velocity: list[float]) -> None:
    """Sets a velocity at once."""
    world = server.simulation.world
    world.push(world.actor(actor_id), velocity)


@void
def set_actor_simulate_physics(server: Server, actor_id: int, enabled: bool) -> None:
    """Lets physics move an actor."""
    world = server.simulation.world
    world.simulate(world.actor(actor_id), enabled)


@void
def set_actor_collisions(server: Server, actor_id: int, enabled: bool) -> None:
    """Lets an actor take part in contacts."""
    world = server.simulation.world
    world.actor(actor_id).solid = enabled
    world.table.changed()


@void
def set_actor_enable_gravity(server: Server, actor_id: int, enabled: bool) -> None:
    """Nothing falls here; actors on the ground stay on it."""
    server.simulation.world.actor(actor_id)


@void
def set_actor_dead(server: Server, actor_id: int) -> None:
    """A dead walker stands still."""
    world = server.simulation.world
    world.push(world.actor(actor_id), (0.0, 0.0, 0.0))


@void
def set_actor_autopilot(server: Server, actor_id: int, enabled: bool) -> None:
    """The client library's Traffic Manager is the only autopilot."""
    raise NotImplementedError("the server has no autopilot; use the client's Traffic Manager")


@value
def get_actor_bounding_box(server: Server, actor_id: int) -> list[Any]:
    """Box relative to the actor."""
    return server.simulation.world.bounding_box(actor_id)


@value
def get_vehicle_light_state(server: Server, actor_id: int) -> list[int]:
    """`carla.VehicleLightState` flags."""
    return [server.simulation.world.vehicle(actor_id).lights]


@void
def set_vehicle_light_state(server: Server, actor_id: int, flags: Any) -> None:
    """Sets `carla.VehicleLightState` flags; brake lamps also light by themselves."""
    world = server.simulation.world
    world.set_lights(world.vehicle(actor_id), flags[0] if isinstance(flags, list) else flags)


@value
def get_vehicle_light_states(server: Server) -> list[Any]:
    """Id and light flags of every vehicle."""
    return [[a.id, a.lights] for a in server.simulation.world.table if a.params is not None]


@value
def get_physics_control(server: Server, actor_id: int) -> list[Any]:
    """The bicycle model in the words of CARLA's physics control."""
    world = server.simulation.world
    actor = world.vehicle(actor_id)
    if actor.physics is not None:
        return actor.physics
    params = actor.params
    assert params is not None
    x, y, z = world.table.motion[actor.row, :3].tolist()
    yaw = math.radians(world.table.motion[actor.row, 4])
    half_track = actor.blueprint.extent_m[1] * 0.8
    front_m = params.wheel_base_m - params.rear_to_centre_m
    wheels = []
    for along, across, steers in (
        (front_m, -half_track, True),
        (front_m, half_track, True),
        (-params.rear_to_centre_m, -half_track, False),
        (-params.rear_to_centre_m, half_track, False),
    ):
        place = [
            100.0 * (x + along * math.cos(yaw) - across * math.sin(yaw)),
            100.0 * (y + along * math.sin(yaw) + across * math.cos(yaw)),
            100.0 * z + WHEEL_RADIUS_CM,
        ]
        angle = math.degrees(params.max_steer_rad) if steers else 0.0
        handbrake = 0.0 if steers else 3000.0
        wheels.append([3.5, 0.25, angle, WHEEL_RADIUS_CM, 1500.0, handbrake, 3.0, 20.0, 3000.0, place])
    return [
        [[0.0, 400.0], [1890.0, 500.0], [5729.6, 400.0]], 6000.0, 1.0, 0.15, 2.0, 0.35, True, 0.2, 10.0, FINAL_RATIO,
        GEARS, actor.mass_kg, 0.3, [0.0, 0.0, -0.1], [[0.0, 1.0], [120.0, 1.0]], wheels, True,
    ]  # fmt: skip


@void
def apply_physics_control(server: Server, actor_id: int, control: list[Any]) -> None:
    """Takes mass and the greatest steering angle; the bicycle model has no engine to set."""
    world = server.simulation.world
    actor = world.vehicle(actor_id)
    assert actor.params is not None
    actor.physics = control
    actor.mass_kg = float(control[MASS_FIELD])
    world.table.mass[actor.row] = actor.mass_kg
    angle = math.radians(float(control[WHEELS_FIELD][0][STEER_FIELD]))
    actor.params = replace(actor.params, max_steer_rad=angle)
    world.table.changed()


def _spawn_command(server: Server, body: list[Any]) -> int:
    """Spawns and does what follows; an actor for which that fails is taken away again."""
    description, transform, parent, _, _, after = body
    world = server.simulation.world
    actor = world.spawn(description, pose_of(transform), parent[1] if parent[0] else None)
    try:
        for command in after:
            index, later = command[0]
            if index not in _WITHOUT_ACTOR:
                later[0] = actor.id
            _COMMANDS[index](server, later)
    except Exception:
        server.simulation.destroy(actor)
        raise
    return actor.id


def _autopilot_command(server: Server, body: list[Any]) -> int:
    """The client library hands vehicles that are answered without an error to its Traffic Manager, which drives them."""
    return server.simulation.world.vehicle(body[0]).id


def _on_actor(function: Callable[..., Any]) -> Callable[[Server, list[Any]], int]:
    def run(server: Server, body: list[Any]) -> int:
        function(server, *body)
        return int(body[0])

    return run


def _not_implemented(name: str) -> Callable[[Server, list[Any]], int]:
    def run(server: Server, body: list[Any]) -> int:
        raise NotImplementedError(f"command {name} is not implemented by the embedded server")

    return run


def _set_light(server: Server, actor_id: int, state: int) -> None:
    world = server.simulation.world
    light = world.light(actor_id)
    world.lights.group(light).show(light, state)
    world.lights.write()


_WITHOUT_ACTOR = (0, 20)  # SpawnActor and ConsoleCommand do not begin with an actor's id

# In the order of CARLA's command variant.
_COMMANDS: tuple[Callable[[Server, list[Any]], int], ...] = (
    _spawn_command,
    _on_actor(destroy_actor),
    _on_actor(apply_control_to_vehicle),
    _on_actor(apply_ackermann_control_to_vehicle),
    _on_actor(apply_control_to_walker),
    _on_actor(apply_physics_control),
    _on_actor(set_actor_transform),
    _on_actor(set_walker_state),
    _on_actor(set_actor_target_velocity),
    _on_actor(set_actor_target_angular_velocity),
    _on_actor(add_actor_impulse),
    _on_actor(add_actor_force),
    _not_implemented("ApplyAngularImpulse"),
    _not_implemented("ApplyTorque"),
    _on_actor(set_actor_simulate_physics),
    _on_actor(set_actor_enable_gravity),
    _autopilot_command,
    _on_actor(show_vehicle_debug_telemetry),
    _on_actor(set_vehicle_light_state),
    _on_actor(set_actor_location),
    _not_implemented("ConsoleCommand"),
    _on_actor(_set_light),
)


@bare
def apply_batch(server: Server, commands: list[Any], do_tick: bool) -> list[Any]:
    """Runs commands in order, one answer each; a refused one does not stop the others."""
    answers = []
    for command in commands:
        index, body = command[0]
        try:
            answers.append(ok(_COMMANDS[index](server, body)))
        except REFUSALS as error:
            answers.append(failed(str(error)))
        except NotImplementedError as error:
            answers.append(failed(str(error)))
            server.faults.append(str(error))
    if do_tick:
        server.tick()
    return answers
