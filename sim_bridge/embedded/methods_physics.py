"""RPC methods that push vehicles or tell of their drive train."""

from __future__ import annotations

import math
from typing import Any

from .actors import Actor
from .methods import Server, value, void
from .physics import BIKE_SPEED
from .world import GRAVITY_MPS2

WHEEL_RADIUS_M = 0.35
GEAR_RATIOS = (4.25, 2.5, 1.6, 1.2, 0.97)
FINAL_RATIO = 4.0
IDLE_RPM, SHIFT_UP_RPM = 800.0, 3800.0
BIKE_STEER = 4
# speed PID, then acceleration PID: CARLA's defaults
ACKERMANN_SETTINGS = (0.15, 0.0, 0.25, 0.01, 0.0, 0.01)


def _movable(server: Server, actor_id: int) -> Actor:
    return server.simulation.world.movable(actor_id)


@void
def add_actor_impulse(server: Server, actor_id: int, impulse: list[float]) -> None:
    """Changes a vehicle's speed along its heading by impulse over mass."""
    server.simulation.world.pushes.impulse(_movable(server, actor_id), impulse)


@void
def add_actor_force(server: Server, actor_id: int, force: list[float]) -> None:
    """Acts on the next step, along the heading."""
    server.simulation.world.pushes.force(_movable(server, actor_id), force)


@void
def set_actor_target_angular_velocity(server: Server, actor_id: int, velocity: list[float]) -> None:
    """Turns a vehicle, deg/s; what its steering does not make fades. Zero ends such a turn."""
    world = server.simulation.world
    if any(velocity):
        world.pushes.turn(_movable(server, actor_id), velocity)
    elif (actor := world.actor(actor_id)).params is not None and actor.simulated:
        world.pushes.turn(actor, velocity)


@void
def enable_actor_constant_velocity(server: Server, actor_id: int, velocity: list[float]) -> None:
    """Holds a vehicle's speed, x forward in its own frame, whatever its pedals do; it still steers."""
    server.simulation.world.pushes.hold_speed(_movable(server, actor_id), velocity)


@void
def disable_actor_constant_velocity(server: Server, actor_id: int) -> None:
    """Gives the speed back to the pedals."""
    server.simulation.world.pushes.hold_speed(_movable(server, actor_id), None)


@value
def get_wheel_steer_angle(server: Server, actor_id: int, wheel: int) -> float:
    """Degrees, positive to the right; the rear wheels do not steer."""
    world = server.simulation.world
    actor = world.vehicle(actor_id)
    return -math.degrees(world.table.bike[actor.row, BIKE_STEER]) if wheel < 2 else 0.0


@value
def get_ackermann_controller_settings(server: Server, actor_id: int) -> list[float]:
    """Gains that a client has set, or CARLA's own."""
    return server.simulation.world.vehicle(actor_id).ackermann_settings or list(ACKERMANN_SETTINGS)


@void
def apply_ackermann_controller_settings(server: Server, actor_id: int, settings: list[float]) -> None:
    """Remembered; this server's controller has no gains to set."""
    server.simulation.world.vehicle(actor_id).ackermann_settings = list(settings)


@value
def get_telemetry_data(server: Server, actor_id: int) -> list[Any]:
    """Speed and pedals as they are; engine, gear and wheels as a car of that speed would have them."""
    world = server.simulation.world
    actor = world.vehicle(actor_id)
    assert actor.params is not None
    throttle, steer, brake, _, reverse, manual, chosen = actor.control
    speed = float(world.table.bike[actor.row, BIKE_SPEED])
    omega = speed / WHEEL_RADIUS_M
    gear = -1 if reverse else chosen if manual else _gear(omega)
    rpm = max(_rpm(omega, gear), IDLE_RPM)
    drag = actor.params.drag_per_m * speed * speed * actor.mass_kg
    load = actor.mass_kg * GRAVITY_MPS2 / 4.0
    # friction, slip across and along, omega, load (and normalised), torque, forces along and across (and normalised)
    wheel = [3.5, 0.0, 0.0, omega, load, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    return [speed, steer, throttle, brake, rpm, gear, drag, [wheel] * 4]


def _rpm(omega_radps: float, gear: int) -> float:
    ratio = GEAR_RATIOS[min(max(abs(gear), 1), len(GEAR_RATIOS)) - 1]
    return abs(omega_radps) * ratio * FINAL_RATIO * 30.0 / math.pi


def _gear(omega_radps: float) -> int:
    """Lowest gear in which the engine need not shift up."""
    return next((g for g in range(1, 5) if _rpm(omega_radps, g) < SHIFT_UP_RPM), len(GEAR_RATIOS))


@void
def show_vehicle_debug_telemetry(server: Server, actor_id: int, enabled: bool) -> None:
    """Accepted as debug shapes are: there is no window to show it in."""
    server.simulation.world.vehicle(actor_id)


@void
def restore_physx_physics(server: Server, actor_id: int) -> None:
    """The vehicle has never had another physics."""
    server.simulation.world.vehicle(actor_id)
