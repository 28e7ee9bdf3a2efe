"""Paths on the road, drawn into the picture in the right perspective.

A path lies on flat ground in the ego frame (x forward, y left, metres). A camera is a pinhole on the ego.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...scoring.frames import into_ego
from ...scoring.kinematics import EGO
from ...vocabulary import PLAN_STEP_S, CameraSpec, EgoState, Float

Array = NDArray[np.float64]

NEAR_M = 0.6  # what is closer to the camera is cut off
BUMPER_M = 0.5 * EGO.length_m
HALF_WIDTH_M = 0.8  # of a ribbon: a little less than the car's
PIECES = 26  # of a ribbon


def project(points_m: ArrayLike, camera: CameraSpec) -> tuple[Array, Array]:
    """Pixels of points.

    Args:
        points_m: (..., 3) x, y, z in the ego frame.
        camera: Pinhole on the ego.

    Returns:
        (..., 2) column and row, 0 at the upper left corner of the picture, and (...) depth along the optical axis in
        metres. Pixels of points with a depth below NEAR_M mean nothing.
    """
    points = np.asarray(points_m, np.float64)
    dx, dy, dz = points[..., 0] - camera.x_m, points[..., 1] - camera.y_m, points[..., 2] - camera.z_m
    cos, sin = math.cos(camera.yaw_rad), math.sin(camera.yaw_rad)
    level, left = cos * dx + sin * dy, cos * dy - sin * dx
    cos, sin = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
    depth, up = cos * level + sin * dz, cos * dz - sin * level
    focal_px = 0.5 * camera.width_px / math.tan(0.5 * math.radians(camera.fov_deg))
    scale = focal_px / np.maximum(depth, NEAR_M)
    pixels = np.stack([0.5 * camera.width_px - left * scale, 0.5 * camera.height_px - up * scale], -1)
    return pixels, depth


def from_now(waypoints_m: ArrayLike, pose: EgoState, ego: EgoState, age_s: float) -> Float:
    """A plan in the frame of the ego now, what should be behind it by its age left out.

    Args:
        waypoints_m: (N, 2) ego frame at `pose`, PLAN_STEP_S apart.
        pose: The ego when it was planned.
        ego: The ego now.
        age_s: Time since then.

    Returns:
        (M, 2), M <= N.
    """
    points = np.asarray(waypoints_m, np.float64)
    cos, sin = math.cos(pose.yaw_rad), math.sin(pose.yaw_rad)
    world = np.stack(
        [
            pose.x_m + cos * points[:, 0] - sin * points[:, 1],
            pose.y_m + sin * points[:, 0] + cos * points[:, 1],
        ],
        -1,
    )
    left = np.arange(1, len(points) + 1) * PLAN_STEP_S > age_s
    return into_ego(world[left], ego).astype(np.float32)


def driver_path(
    speed_mps: float, steer_rad: float, horizon_s: float = 3.0, step_s: float = PLAN_STEP_S
) -> Float:
    """Where the wheel and the speed lead if both stay: (N, 2), ego frame.

    Args:
        speed_mps: Along the heading.
        steer_rad: Road wheel, positive left.
        horizon_s: How far.
        step_s: Between points.
    """
    along_m = speed_mps * np.arange(step_s, horizon_s + 0.5 * step_s, step_s)
    curvature_pm = math.tan(steer_rad) / EGO.wheel_base_m
    bend = curvature_pm * along_m
    rear = EGO.rear_to_centre_m
    x_m = along_m * np.sinc(bend / math.pi) + rear * (np.cos(bend) - 1.0)
    y_m = along_m * np.sin(0.5 * bend) * np.sinc(0.5 * bend / math.pi) + rear * np.sin(bend)
    return np.stack([x_m, y_m], -1).astype(np.float32)


def ribbon(
    path_m: ArrayLike, camera: CameraSpec, half_width_m: float = HALF_WIDTH_M
) -> tuple[Array, Array] | None:
    """A path as a strip of quadrilaterals in the picture.

    Args:
        path_m: (N, 2) ego frame now; the car itself is its start.
        camera: Through which it is seen.
        half_width_m: Half of the strip's width on the road.

    Returns:
        (K, 2, 2) left and right pixels of K cuts across the strip, from the bumper on, and (K,) their distance from
        the bumper in metres. None when it is too short or not in front of the camera.
    """
    path = np.concatenate([[(0.0, 0.0)], np.asarray(path_m, np.float64).reshape(-1, 2)])
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    keep = np.concatenate([[True], steps > 0.05])
    path = path[keep]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    if along[-1] < BUMPER_M + 0.3:
        return None
    at = BUMPER_M + (along[-1] - BUMPER_M) * np.linspace(0.0, 1.0, PIECES) ** 1.4
    middle = np.stack([_smooth(at, along, path[:, axis]) for axis in (0, 1)], -1)
    heading = np.gradient(middle, at, axis=0)
    heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-9)
    across = half_width_m * np.stack([-heading[:, 1], heading[:, 0]], -1)
    ground = np.zeros((PIECES, 2, 3))
    ground[:, 0, :2], ground[:, 1, :2] = middle + across, middle - across
    pixels, depth = project(ground, camera)
    seen = depth.min(axis=1) > NEAR_M
    if seen.sum() < 2:
        return None
    first = int(seen.argmax())
    last = first + int(np.argmin(seen[first:])) if not seen[first:].all() else PIECES
    return (pixels[first:last], at[first:last] - BUMPER_M) if last - first > 1 else None


def _smooth(at: Array, along: Array, values: Array) -> Array:
    """Cubic through the path's points with the slopes of its neighbours (no overshoot on a straight)."""
    slopes = np.gradient(values, along) if len(along) > 2 else np.full(2, np.diff(values)[0] / along[1])
    k = np.clip(np.searchsorted(along, at, side="right") - 1, 0, len(along) - 2)
    width = along[k + 1] - along[k]
    t = (at - along[k]) / width
    return (
        values[k] * (1 + 2 * t) * (1 - t) ** 2
        + slopes[k] * width * t * (1 - t) ** 2
        + values[k + 1] * t * t * (3 - 2 * t)
        + slopes[k + 1] * width * t * t * (t - 1)
    )
