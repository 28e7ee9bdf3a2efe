"""Motion of a tick: vehicles by the house's bicycle model, walkers by their control, contacts of oriented boxes.

Arrays are those of `actors.ActorTable`. `motion` is what goes over the wire, in CARLA's frame and degrees; `bike` is the
state of `scoring/kinematics.py` in the house frame (y and yaw negated, radians).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...scoring.boxes import overlap

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

X, Y, Z, PITCH, YAW, ROLL = range(6)  # columns of motion, and VX.. behind them
VX, VY, VZ, WX, WY, WZ, AX, AY, AZ = range(6, 15)
BIKE_SPEED = 3
MAX_HITS = 64
RUBBING = 0.8  # speed that a tick of contact leaves


@njit("float64(float64)", cache=True)
def wrap_deg(angle: float) -> float:
    """Same angle in [-180, 180)."""
    return (angle + 180.0) % 360.0 - 180.0


@njit("void(float64[:, ::1], float64[:, ::1], float64[::1], int64[::1], float64)", cache=True)
def publish_vehicles(bike: Array, motion: Array, to_centre: Array, rows: Rows, dt_s: float) -> None:
    """Writes pose, velocity, yaw rate and acceleration of vehicles after a step of `dt_s`."""
    for r in rows:
        yaw = bike[r, 2]
        cos, sin = math.cos(yaw), math.sin(yaw)
        yaw_deg = wrap_deg(-math.degrees(yaw))
        yaw_rate = -math.radians(wrap_deg(yaw_deg - motion[r, YAW])) / dt_s
        speed, sideways = bike[r, BIKE_SPEED], yaw_rate * to_centre[r]
        vx, vy = speed * cos - sideways * sin, -(speed * sin + sideways * cos)
        motion[r, X], motion[r, Y] = bike[r, 0], -bike[r, 1]
        motion[r, YAW] = yaw_deg
        motion[r, AX], motion[r, AY] = (vx - motion[r, VX]) / dt_s, (vy - motion[r, VY]) / dt_s
        motion[r, VX], motion[r, VY], motion[r, WZ] = vx, vy, -math.degrees(yaw_rate)


@njit("void(float64[:, ::1], float64[:, ::1], int64[::1], float64)", cache=True)
def move_walkers(walk: Array, motion: Array, rows: Rows, dt_s: float) -> None:
    """Moves walkers; `walk` is vx, vy, yaw [deg] in CARLA's frame."""
    for r in rows:
        vx, vy = walk[r, 0], walk[r, 1]
        motion[r, X] += vx * dt_s
        motion[r, Y] += vy * dt_s
        motion[r, WZ] = wrap_deg(walk[r, 2] - motion[r, YAW]) / dt_s
        motion[r, YAW] = walk[r, 2]
        motion[r, AX], motion[r, AY] = (vx - motion[r, VX]) / dt_s, (vy - motion[r, VY]) / dt_s
        motion[r, VX], motion[r, VY] = vx, vy


@njit("boolean(float64[:, ::1], float64[:, ::1], float64[::1], int64, int64)", cache=True)
def meet(motion: Array, extent: Array, box_z: Array, a: int, b: int) -> bool:
    """Whether the boxes of two rows overlap."""
    if abs(motion[a, Z] + box_z[a] - motion[b, Z] - box_z[b]) > extent[a, 2] + extent[b, 2]:
        return False
    dx, dy = motion[b, X] - motion[a, X], motion[b, Y] - motion[a, Y]
    reach = extent[a, 0] + extent[a, 1] + extent[b, 0] + extent[b, 1]
    if dx * dx + dy * dy > reach * reach:
        return False
    yaw_a, yaw_b = math.radians(motion[a, YAW]), math.radians(motion[b, YAW])
    return overlap(
        motion[a, X], motion[a, Y], math.cos(yaw_a), math.sin(yaw_a), extent[a, 0], extent[a, 1],
        motion[b, X], motion[b, Y], math.cos(yaw_b), math.sin(yaw_b), extent[b, 0], extent[b, 1],
    )  # fmt: skip


@njit("void(float64[:, ::1], float64[:, ::1], float64[:, ::1], int64)", cache=True)
def _step_back(motion: Array, before: Array, bike: Array, r: int) -> None:
    for k in range(6):
        motion[r, k] = before[r, k]
    bike[r, 0], bike[r, 1], bike[r, 2] = motion[r, X], -motion[r, Y], -math.radians(motion[r, YAW])
    motion[r, WZ] = 0.0


@njit("void(float64[:, ::1], float64[:, ::1], int64, float64, float64, float64)", cache=True)
def _push(motion: Array, bike: Array, r: int, nx: float, ny: float, change: float) -> None:
    """Changes the speed of a vehicle along the normal as far as its wheels let it; the bodies rub as well."""
    yaw = math.radians(motion[r, YAW])
    cos, sin = math.cos(yaw), math.sin(yaw)
    along = nx * cos + ny * sin
    bike[r, BIKE_SPEED] = (bike[r, BIKE_SPEED] + change * along) * RUBBING
    bike[r, 5] = 0.0
    motion[r, VX], motion[r, VY] = bike[r, BIKE_SPEED] * cos, bike[r, BIKE_SPEED] * sin


@njit(
    "int64(float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[::1], float64[::1], int64[::1],"
    " int64[::1], int64[:, ::1], float64[:, ::1])",
    cache=True,
)
def collide(
    motion: Array,
    before: Array,
    bike: Array,
    extent: Array,
    box_z: Array,
    mass: Array,
    vehicles: Rows,
    others: Rows,
    hits: Rows,
    impulses: Array,
) -> int:
    """Finds contacts and ends them: who moved into another returns to where it was, with the speed of a soft impact.

    At 20 Hz a car at 30 m/s moves 1.5 m a step, less than any box is long, so nothing tunnels.

    Args:
        motion: (N, 15), changed.
        before: (N, 15) of the tick before.
        bike: (N, 6), changed.
        extent: (N, 3) half sizes.
        box_z: (N,) height of the box centre above the origin.
        mass: (N,) kg.
        vehicles: Rows of vehicles.
        others: Rows of walkers and props, which no impact moves.
        hits: Out, (MAX_HITS, 2) rows of a contact.
        impulses: Out, (MAX_HITS, 2) x, y [N s] on the first of them.

    Returns:
        Number of contacts.
    """
    count = 0
    for i in range(len(vehicles)):
        a = vehicles[i]
        for j in range(i + 1, len(vehicles) + len(others)):
            b = vehicles[j] if j < len(vehicles) else others[j - len(vehicles)]
            if not meet(motion, extent, box_z, a, b):
                continue
            nx, ny = before[b, X] - before[a, X], before[b, Y] - before[a, Y]
            gap = math.hypot(nx, ny)
            if gap < 1e-6:
                nx, ny, gap = 1.0, 0.0, 1.0
            now = math.hypot(motion[b, X] - motion[a, X], motion[b, Y] - motion[a, Y])
            if now >= gap and meet(before, extent, box_z, a, b):  # placed into each other: free to leave
                continue
            nx, ny = nx / gap, ny / gap
            closing = (motion[a, VX] - motion[b, VX]) * nx + (motion[a, VY] - motion[b, VY]) * ny
            light = mass[a] * mass[b] / (mass[a] + mass[b]) if j < len(vehicles) else mass[a]
            impulse = light * max(closing, 0.0)
            _step_back(motion, before, bike, a)
            if j < len(vehicles):
                _step_back(motion, before, bike, b)
                _push(motion, bike, a, nx, ny, -impulse / mass[a])
                _push(motion, bike, b, nx, ny, impulse / mass[b])
            else:
                bike[a, BIKE_SPEED], bike[a, 5] = 0.0, 0.0
                motion[a, VX], motion[a, VY] = 0.0, 0.0
                for k in range(6):
                    motion[b, k] = before[b, k]
                motion[b, VX], motion[b, VY] = 0.0, 0.0
            if count < MAX_HITS:
                hits[count, 0], hits[count, 1] = a, b
                impulses[count, 0], impulses[count, 1] = -impulse * nx, -impulse * ny
                count += 1
    return count


@njit("void(float64, float64, float64, float64[:, ::1])", cache=True)
def rotation(pitch_deg: float, yaw_deg: float, roll_deg: float, out: Array) -> None:
    """Matrix of a `carla.Rotation`: columns forward, right, up in the outer frame."""
    cp, sp = math.cos(math.radians(pitch_deg)), math.sin(math.radians(pitch_deg))
    cy, sy = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    cr, sr = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    out[0, 0], out[0, 1], out[0, 2] = cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr
    out[1, 0], out[1, 1], out[1, 2] = cp * sy, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr
    out[2, 0], out[2, 1], out[2, 2] = sp, -cp * sr, cp * cr


@njit("void(float64[:, ::1], float64[:, ::1], int64[::1], int64[::1])", cache=True)
def carry(motion: Array, mount: Array, children: Rows, parents: Rows) -> None:
    """Poses of attached actors: parent's pose after `mount`, (N, 6) x, y, z, pitch, yaw, roll [deg]. Parents come first."""
    outer, inner, whole = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    for i in range(len(children)):
        c, p = children[i], parents[i]
        rotation(motion[p, PITCH], motion[p, YAW], motion[p, ROLL], outer)
        for k in range(3):
            motion[c, k] = motion[p, k]
            for m in range(3):
                motion[c, k] += outer[k, m] * mount[c, m]
        if mount[c, 3] == 0.0 and mount[c, 4] == 0.0 and mount[c, 5] == 0.0:
            for k in range(3, 6):
                motion[c, k] = motion[p, k]
            continue
        rotation(mount[c, 3], mount[c, 4], mount[c, 5], inner)
        for k in range(3):
            for m in range(3):
                whole[k, m] = (
                    outer[k, 0] * inner[0, m] + outer[k, 1] * inner[1, m] + outer[k, 2] * inner[2, m]
                )
        motion[c, PITCH] = math.degrees(math.asin(min(max(whole[2, 0], -1.0), 1.0)))
        motion[c, YAW] = math.degrees(math.atan2(whole[1, 0], whole[0, 0]))
        motion[c, ROLL] = math.degrees(math.atan2(-whole[2, 1], whole[2, 2]))


@njit("void(float64[:, ::1], int64[::1], float64[:, ::1], int64[::1], int64[::1])", cache=True)
def standing_at(motion: Array, rows: Rows, areas: Array, states: Rows, codes: Rows) -> None:
    """Which traffic light each vehicle stands at.

    Args:
        motion: (N, 15).
        rows: (V,) vehicles.
        areas: (M, 5) x, y, yaw [rad], half length, half width before each light.
        states: (M,) of the lights.
        codes: Out, (V,) 8 * light + state, -1 for none.
    """
    for i in range(len(rows)):
        codes[i] = -1
        for k in range(len(areas)):
            dx, dy = motion[rows[i], X] - areas[k, 0], motion[rows[i], Y] - areas[k, 1]
            cos, sin = math.cos(areas[k, 2]), math.sin(areas[k, 2])
            if abs(dx * cos + dy * sin) <= areas[k, 3] and abs(dy * cos - dx * sin) <= areas[k, 4]:
                codes[i] = 8 * k + states[k]
