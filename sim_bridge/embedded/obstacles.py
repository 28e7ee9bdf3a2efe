"""The obstacle sensor: the first body that a ball meets which leaves the sensor along its forward axis."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .actors import Actor, ActorTable
from .blueprints import Kind
from .physics import YAW, X, Y, Z

DYNAMIC = (Kind.VEHICLE, Kind.WALKER)


def first_obstacle(table: ActorTable, sensor: Actor, bodies: Iterable[Actor]) -> tuple[Actor, float] | None:
    """The nearest body ahead.

    The ball moves level, by the sensor's yaw; what is under or above it is passed.

    Args:
        table: Where everything is.
        sensor: Its attributes `distance` and `hit_radius` [m] and `only_dynamics` count.
        bodies: Vehicles, walkers and props; what carries the sensor is left out.

    Returns:
        The body, and the way of the ball until it touches it [m]; None for nothing within `distance`.
    """
    reach, radius = float(sensor.value("distance", "5")), float(sensor.value("hit_radius", "0.5"))
    only_dynamics = sensor.value("only_dynamics", "false").lower() == "true"
    x, y, z = table.motion[sensor.row, :3].tolist()
    yaw = math.radians(table.motion[sensor.row, YAW])
    own = _carriers(sensor)
    best: tuple[Actor, float] | None = None
    for body in bodies:
        if body in own or (only_dynamics and body.kind not in DYNAMIC):
            continue
        middle = table.motion[body.row, Z] + table.box_z[body.row]
        if abs(z - middle) > table.extent[body.row, 2] + radius:
            continue
        turn = math.radians(table.motion[body.row, YAW])
        cos, sin = math.cos(turn), math.sin(turn)
        dx, dy = x - table.motion[body.row, X], y - table.motion[body.row, Y]
        way = way_to_box(
            (dx * cos + dy * sin, dy * cos - dx * sin),
            (math.cos(yaw - turn), math.sin(yaw - turn)),
            (float(table.extent[body.row, 0]), float(table.extent[body.row, 1])),
            radius,
        )
        if way is not None and way <= (best[1] if best else reach):
            best = body, way
    return best


def _carriers(actor: Actor) -> list[Actor]:
    return [actor, *_carriers(actor.parent)] if actor.parent is not None else [actor]


def way_to_box(
    start: tuple[float, float], heading: tuple[float, float], half: tuple[float, float], radius: float
) -> float | None:
    """How far a disc moves until it touches a box.

    Args:
        start: Middle of the disc in the box's frame.
        heading: Unit vector of its motion there.
        half: Half length and half width of the box.
        radius: Of the disc.

    Returns:
        Metres, 0 when they touch at once; None when they never do.
    """
    if math.hypot(max(abs(start[0]) - half[0], 0.0), max(abs(start[1]) - half[1], 0.0)) <= radius:
        return 0.0
    ways = []
    for axis in (0, 1):  # the sides, moved out by the radius
        if heading[axis] == 0.0:
            continue
        side = -math.copysign(half[axis] + radius, heading[axis])
        way = (side - start[axis]) / heading[axis]
        if way >= 0.0 and abs(start[1 - axis] + way * heading[1 - axis]) <= half[1 - axis]:
            ways.append(way)
    for corner in ((a * half[0], b * half[1]) for a in (-1, 1) for b in (-1, 1)):
        dx, dy = corner[0] - start[0], corner[1] - start[1]
        along = dx * heading[0] + dy * heading[1]
        beside = dx * heading[1] - dy * heading[0]
        if abs(beside) <= radius and (way := along - math.sqrt(radius * radius - beside * beside)) >= 0.0:
            ways.append(way)
    return min(ways, default=None)
