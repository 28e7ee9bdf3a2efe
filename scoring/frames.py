"""The world frame and the ego's: x forward, y left, yaw counter-clockwise, origin at the box centre."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..vocabulary import EgoState, Float


def wrap(angle_rad: float) -> float:
    """The same angle in (-pi, pi]."""
    wrapped = math.remainder(angle_rad, math.tau)
    return math.pi if wrapped == -math.pi else wrapped


def into_ego(world: ArrayLike, ego: EgoState) -> NDArray[np.float64]:
    """Poses (..., 3) or points (..., 2) from the world frame into the ego's, yaw within half a turn."""
    place = np.asarray(world, np.float64)
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    dx, dy = place[..., 0] - ego.x_m, place[..., 1] - ego.y_m
    columns = [cos * dx + sin * dy, cos * dy - sin * dx]
    if place.shape[-1] == 3:
        turn = place[..., 2] - ego.yaw_rad
        columns.append(np.arctan2(np.sin(turn), np.cos(turn)))
    return np.stack(columns, -1)


def into_world(place: ArrayLike, ego: EgoState) -> NDArray[np.float64]:
    """Points (..., 2) from the ego's frame into the world."""
    points = np.asarray(place, np.float64)
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    x, y = points[..., 0], points[..., 1]
    return np.stack((ego.x_m + cos * x - sin * y, ego.y_m + sin * x + cos * y), -1)


def odometry(poses: Sequence[EgoState]) -> Float:
    """Past poses in the frame of the newest one, which is last: (N, 3) float32, x_m, y_m, yaw_rad."""
    return into_ego([(p.x_m, p.y_m, p.yaw_rad) for p in poses], poses[-1]).astype(np.float32)
