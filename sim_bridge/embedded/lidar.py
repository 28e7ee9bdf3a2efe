"""A turning lidar, read out of depth pictures: every ray takes the pixel that it passes through.

Four level pictures round the sensor serve all rays; only those that a tick sweeps are rendered. A ray is off by half a pixel
at most, 0.16 degrees.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .actors import Actor

VIEW_PX = 512
VIEW_DEG = 110.0  # of a quadrant, so that rays 45 degrees down at its edge are still inside
QUADRANT_DEG = 90.0
FOCAL_PX = VIEW_PX / 2.0 / math.tan(math.radians(VIEW_DEG / 2.0))

Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LidarSpec:
    """What a lidar's attributes ask for; names and units are CARLA's."""

    channels: int
    range_m: float
    points_per_second: float
    rotation_hz: float
    upper_deg: float
    lower_deg: float
    horizontal_deg: float
    attenuation_per_m: float
    dropoff: float
    noise_m: float

    @classmethod
    def of(cls, sensor: Actor) -> LidarSpec:
        """As given at spawning."""

        def number(name: str, default: float) -> float:
            return float(sensor.value(name, str(default)))

        return cls(
            int(number("channels", 32)), number("range", 10.0), number("points_per_second", 56000.0),
            number("rotation_frequency", 10.0), number("upper_fov", 10.0), number("lower_fov", -30.0),
            number("horizontal_fov", 360.0), number("atmosphere_attenuation_rate", 0.004),
            number("dropoff_general_rate", 0.0), number("noise_stddev", 0.0),
        )  # fmt: skip


def rays(
    spec: LidarSpec, start_deg: float, dt_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Directions that a tick sweeps.

    Args:
        spec: The lidar.
        start_deg: Where the sweep begins, to the right of the sensor's forward axis.
        dt_s: Length of the tick.

    Returns:
        Azimuths (N,) and elevations (channels,), radians, and where the next sweep begins, degrees in [0, 360).
    """
    count = max(round(spec.points_per_second * dt_s / spec.channels), 1)
    swept = min(spec.rotation_hz * 360.0 * dt_s, spec.horizontal_deg)
    azimuths = start_deg + swept * np.arange(count) / count
    if spec.horizontal_deg < 360.0:  # sweeps within its field of view alone, centred on the forward axis
        azimuths = (azimuths % spec.horizontal_deg) - spec.horizontal_deg / 2.0
    elevations = np.linspace(spec.upper_deg, spec.lower_deg, spec.channels)
    return np.radians(azimuths), np.radians(elevations), (start_deg + spec.rotation_hz * 360.0 * dt_s) % 360.0


def scan(
    spec: LidarSpec,
    azimuths: NDArray[np.float64],
    elevations: NDArray[np.float64],
    depth_of: Callable[[float], NDArray[np.float32]],
    seed: tuple[int, int],
) -> tuple[list[int], Points]:
    """Measures along rays.

    Args:
        spec: The lidar.
        azimuths: (N,) to the right of the forward axis, radians.
        elevations: (channels,) upwards, radians.
        depth_of: Picture of `VIEW_PX` squared, planar depth [m], turned to the right by some radians.
        seed: Of noise and losses.

    Returns:
        Points of each channel, and all of them (P, 4): x forward, y right, z up in the sensor's frame [m], intensity.
    """
    turn = np.round(np.degrees(azimuths) / QUADRANT_DEG)
    distance = np.full((len(elevations), len(azimuths)), np.inf)
    for quadrant in np.unique(turn % 4).tolist():
        depth = depth_of(math.radians(quadrant * QUADRANT_DEG))
        columns = np.flatnonzero(turn % 4 == quadrant)
        beside = azimuths[columns] - np.radians(turn[columns] * QUADRANT_DEG)
        u = np.floor(VIEW_PX / 2.0 + FOCAL_PX * np.tan(beside)).astype(np.int64)
        v = np.floor(VIEW_PX / 2.0 - FOCAL_PX * np.tan(elevations)[:, None] / np.cos(beside)).astype(np.int64)
        inside = (v >= 0) & (v < VIEW_PX)
        seen = depth[np.clip(v, 0, VIEW_PX - 1), np.clip(u, 0, VIEW_PX - 1)]
        way = seen / (np.cos(elevations)[:, None] * np.cos(beside))
        distance[:, columns] = np.where(inside, way, np.inf)
    rng = np.random.default_rng(seed)
    if spec.noise_m > 0.0:
        distance = distance + rng.normal(0.0, spec.noise_m, distance.shape)
    kept = distance <= spec.range_m
    if spec.dropoff > 0.0:
        kept &= rng.random(distance.shape) >= spec.dropoff
    level = np.cos(elevations)[:, None]
    unit = np.stack(
        [
            level * np.cos(azimuths),
            level * np.sin(azimuths),
            np.broadcast_to(np.sin(elevations)[:, None], kept.shape),
        ],
        -1,
    )
    intensity = np.exp(-spec.attenuation_per_m * distance[kept])
    points = np.column_stack([unit[kept] * distance[kept][:, None], intensity]).astype(np.float32)
    return kept.sum(1).tolist(), points


def lidar_payload(angle_rad: float, counts: list[int], points: Points) -> bytes:
    """After the sensor's header: the angle, the number of channels, points of each, and the points."""
    return struct.pack(f"<fI{len(counts)}I", angle_rad, len(counts), *counts) + points.tobytes()
