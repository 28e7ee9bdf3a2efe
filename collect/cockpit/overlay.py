"""Paths on the road, drawn into the picture in the right perspective.

A path lies on flat ground in the ego frame (x forward, y left, metres). A camera is a pinhole on the ego.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ...scoring.frames import into_ego, into_world
from ...scoring.kinematics import EGO
from ...vocabulary import PLAN_STEP_S, CameraSpec, EgoState, Float

Array = NDArray[np.float64]

NEAR_M = 0.6  # what is closer to the camera is cut off
BUMPER_M = 0.5 * EGO.length_m
BONNET_M = 0.9  # height of the car's front
HALF_WIDTH_M = 0.8  # of a ribbon: a little less than the car's
SHORT_M = 0.05  # nearer points are one
PIECES = 24  # of a ribbon
SPREAD = np.linspace(0.0, 1.0, PIECES) ** 1.4  # the pieces are shorter near the car


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
    left = np.arange(1, len(points) + 1) * PLAN_STEP_S > age_s
    return into_ego(into_world(points[left], pose), ego).astype(np.float32)


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


def ribbon(path_m: ArrayLike, camera: CameraSpec, half_width_m: float = HALF_WIDTH_M) -> Array | None:
    """A path as a strip of quadrilaterals in the picture.

    Args:
        path_m: (N, 2) ego frame now; the car itself is its start.
        camera: Through which it is seen.
        half_width_m: Half of the strip's width on the road.

    Returns:
        (K, 2, 2) left and right pixels of K cuts across the strip, from the bumper on, or from where the road comes
        into sight before the bonnet. None when it is too short or not in front of the camera.
    """
    path = np.zeros((len(np.atleast_2d(path_m)) + 1, 2))
    path[1:] = path_m
    start_m = max(BUMPER_M, _bonnet_hides_m(camera))
    ground = _cuts(path, start_m, half_width_m, SPREAD)
    if ground is None:
        return None
    focal_px = 0.5 * camera.width_px / math.tan(0.5 * math.radians(camera.fov_deg))
    pose = camera.x_m, camera.y_m, camera.z_m, camera.yaw_rad, camera.pitch_rad
    pixels, first, last = _seen(ground, pose, focal_px, 0.5 * camera.width_px, 0.5 * camera.height_px)
    return pixels[first:last] if last - first > 1 else None


def _bonnet_hides_m(camera: CameraSpec) -> float:
    """How far ahead of the ego's centre its bonnet hides the road from a camera behind it."""
    if camera.x_m >= -BUMPER_M or camera.z_m <= BONNET_M:
        return 0.0
    return BUMPER_M + BONNET_M * (BUMPER_M - camera.x_m) / (camera.z_m - BONNET_M)


@njit("optional(float64[:, :, ::1])(float64[:, ::1], float64, float64, float64[::1])", cache=True)
def _cuts(path: Array, start_m: float, half_width_m: float, spread: Array) -> Array | None:
    """Left and right ends on the ground of cuts across a smooth curve through `path`: (K, 2, 3).

    The curve is a cubic between points, with the slopes of their neighbours.
    """
    points = np.empty_like(path)
    along = np.empty(len(path))
    points[0], along[0], count = path[0], 0.0, 1
    for k in range(1, len(path)):
        step = math.hypot(path[k, 0] - points[count - 1, 0], path[k, 1] - points[count - 1, 1])
        if step > SHORT_M:
            points[count], along[count] = path[k], along[count - 1] + step
            count += 1
    end = along[count - 1]
    if count < 2 or end < start_m + 0.3:
        return None
    out = np.zeros((len(spread), 2, 3))
    k = 0
    for row in range(len(spread)):
        at = start_m + (end - start_m) * spread[row]
        while k < count - 2 and at > along[k + 1]:
            k += 1
        before, after = max(k - 1, 0), min(k + 2, count - 1)
        width = along[k + 1] - along[k]
        t = (at - along[k]) / width
        u = 1.0 - t
        place, slope = np.empty(2), np.empty(2)
        for axis in range(2):
            a, b = points[k, axis], points[k + 1, axis]
            low = width * (b - points[before, axis]) / (along[k + 1] - along[before])
            high = width * (points[after, axis] - a) / (along[after] - along[k])
            place[axis] = u * u * (a * (1.0 + 2.0 * t) + low * t) + t * t * (b * (1.0 + 2.0 * u) - high * u)
            slope[axis] = 6.0 * t * u * (b - a) + low * u * (1.0 - 3.0 * t) + high * t * (3.0 * t - 2.0)
        scale = half_width_m / max(math.hypot(slope[0], slope[1]), 1e-9)
        out[row, 0, 0], out[row, 0, 1] = place[0] - slope[1] * scale, place[1] + slope[0] * scale
        out[row, 1, 0], out[row, 1, 1] = place[0] + slope[1] * scale, place[1] - slope[0] * scale
    return out


@njit(
    "Tuple((float64[:, :, ::1], int64, int64))(float64[:, :, ::1], UniTuple(float64, 5), float64, float64, float64)",
    cache=True,
)
def _seen(
    ground: Array,
    pose: tuple[float, float, float, float, float],
    focal_px: float,
    middle: float,
    horizon: float,
) -> tuple[Array, int, int]:
    """`project` of a strip's cuts, and from which to which (without) both ends lie before the camera.

    A window asks for it twice a picture; numpy would take five times as long for so few points.
    """
    x_m, y_m, z_m, yaw_rad, pitch_rad = pose
    yaw_cos, yaw_sin = math.cos(yaw_rad), math.sin(yaw_rad)
    pitch_cos, pitch_sin = math.cos(pitch_rad), math.sin(pitch_rad)
    pixels = np.empty((len(ground), 2, 2))
    first, last = -1, len(ground)
    for row in range(len(ground)):
        seen = True
        for side in range(2):
            dx, dy, dz = ground[row, side, 0] - x_m, ground[row, side, 1] - y_m, ground[row, side, 2] - z_m
            level, left = yaw_cos * dx + yaw_sin * dy, yaw_cos * dy - yaw_sin * dx
            depth, up = pitch_cos * level + pitch_sin * dz, pitch_cos * dz - pitch_sin * level
            seen = seen and depth > NEAR_M
            scale = focal_px / max(depth, NEAR_M)
            pixels[row, side, 0], pixels[row, side, 1] = middle - left * scale, horizon - up * scale
        if seen and first < 0:
            first = row
        if not seen and first >= 0:
            last = row
            break
    return pixels, max(first, 0), last if first >= 0 else 0
