"""Bytes of the streaming port: tokens, sensor headers, the world snapshot. Little endian, packed; carla 0.9.16."""

from __future__ import annotations

import struct
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class SensorType(IntEnum):
    """Index of a sensor's serialiser in the client's registry."""

    COLLISION = 0
    DEPTH = 1
    GNSS = 4
    IMU = 5
    LANE_INVASION = 6  # the client computes it; nothing is ever sent
    OBSTACLE = 7
    LIDAR = 11
    RGB = 13
    SEMANTIC = 14
    INSTANCE = 15
    WORLD = 17


SIZE = struct.Struct("<I")  # before each payload; also the stream id that a subscriber sends
_TOKEN = struct.Struct("<IHBB16s")
_TCP, _ADDRESS_OF_RPC_HOST = 1, 0
_SENSOR_HEADER = struct.Struct("<QQd6f")
_EPISODE_HEADER = struct.Struct("<Qdf3iI")
_IMAGE_HEADER = struct.Struct("<IIf")

MAP_CHANGED = 1

STATE_BYTES = 54
MOTION_COLUMNS = 15  # x y z, pitch yaw roll [deg], velocity, angular velocity [deg/s], acceleration
RECORD = np.dtype(
    {
        "names": ["id", "active", "motion", "state"],
        "formats": ["<u4", "u1", ("<f4", MOTION_COLUMNS), f"V{STATE_BYTES}"],
        "offsets": [0, 4, 5, 65],
        "itemsize": 119,
    }
)
ACTIVE = 1

_VEHICLE = struct.Struct("<fff???ifB?IB24x")
_WALKER = struct.Struct("<4f?37x")
_LIGHT = struct.Struct("<32s4fI?B")


def token(stream_id: int, port: int) -> bytes:
    """24 bytes by which a client finds a stream; no address means the host of the RPC port."""
    return _TOKEN.pack(stream_id, port, _TCP, _ADDRESS_OF_RPC_HOST, b"")


def sensor_header(kind: SensorType, frame: int, time_s: float, pose: Array) -> bytes:
    """Header of every stream payload.

    Args:
        kind: Serialiser.
        frame: World frame.
        time_s: Simulated time.
        pose: (6,) x, y, z, pitch, yaw, roll of the sensor, degrees.
    """
    return _SENSOR_HEADER.pack(kind, frame, time_s, *pose.tolist())


def episode_header(episode_id: int, platform_s: float, delta_s: float, flags: int) -> bytes:
    """Header of the snapshot, before the actor records; the map origin is zero."""
    return _EPISODE_HEADER.pack(episode_id, platform_s, delta_s, 0, 0, 0, flags)


def image_header(width_px: int, height_px: int, fov_deg: float) -> bytes:
    """Header of a camera's pixels."""
    return _IMAGE_HEADER.pack(width_px, height_px, fov_deg)


def vehicle_state(
    control: tuple[float, float, float, bool, bool, bool, int],
    speed_limit_kmh: float,
    light_state: int,
    at_light: int | None,
    failure: int = 0,
) -> bytes:
    """State bytes of a vehicle.

    Args:
        control: throttle, steer, brake, hand brake, reverse, manual shift, gear.
        speed_limit_kmh: As the client reports it.
        light_state: Traffic light in force (0 red, 1 yellow, 2 green).
        at_light: Id of the light that it stands at.
        failure: 0 none.
    """
    return _VEHICLE.pack(*control, speed_limit_kmh, light_state, at_light is not None, at_light or 0, failure)


def walker_state(direction: tuple[float, float, float], speed_mps: float, jump: bool) -> bytes:
    """State bytes of a walker: its control."""
    return _WALKER.pack(*direction, speed_mps, jump)


def light_state(
    sign_id: str, times_s: tuple[float, float, float], elapsed_s: float, pole: int, frozen: bool, state: int
) -> bytes:
    """State bytes of a traffic light; `times_s` of green, yellow, red."""
    return _LIGHT.pack(sign_id.encode(), *times_s, elapsed_s, pole, frozen, state)
