"""A route's centre line as a frame of reference: (s along, d left), the room beside it, lateral paths in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RUN_OUT_M = 60.0  # the line goes on straight behind the route's end, so that a plan never runs out of road
ROOM_STEP_M = 4.0  # spacing of the places where the width of the road is asked for


class RouteFrame:
    """Curvilinear frame on a route.

    Args:
        centerline_m: (M, 2) world points about 1 m apart, start to end.
    """

    def __init__(self, centerline_m: Array) -> None:
        points = np.asarray(centerline_m, np.float64)
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        points = points[np.concatenate([[True], steps > 1e-3])]
        self.length_m = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
        end = points[-1] - points[-3]
        end /= np.linalg.norm(end)
        start = points[2] - points[0]
        start /= np.linalg.norm(start)
        before = points[0] - start * np.arange(15.0, 0.0, -1.0)[:, None]
        after = points[-1] + end * np.arange(1.0, RUN_OUT_M + 1.0)[:, None]
        self.points_m = np.concatenate([before, points, after])
        steps = np.linalg.norm(np.diff(self.points_m, axis=0), axis=1)
        self.s_m = np.concatenate([[0.0], np.cumsum(steps)]) - 15.0
        tangent = np.gradient(self.points_m, self.s_m, axis=0)
        self._tangent = tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
        self.yaw_rad = np.unwrap(np.arctan2(self._tangent[:, 1], self._tangent[:, 0]))
        curvature = np.gradient(self.yaw_rad, self.s_m)
        self.curvature = np.convolve(np.pad(curvature, 3, mode="edge"), np.ones(7) / 7.0, mode="valid")

    def project(self, xy_m: Array) -> tuple[Array, Array]:
        """Nearest point on the line.

        Args:
            xy_m: (..., 2) world.

        Returns:
            s_m and d_m (...,), d positive to the left.
        """
        flat = np.asarray(xy_m, np.float64).reshape(-1, 2)
        gap = ((flat[:, None, :] - self.points_m[None]) ** 2).sum(axis=2)
        nearest = gap.argmin(axis=1)
        delta = flat - self.points_m[nearest]
        tangent = self._tangent[nearest]
        s_m = self.s_m[nearest] + (delta * tangent).sum(axis=1)
        d_m = tangent[:, 0] * delta[:, 1] - tangent[:, 1] * delta[:, 0]
        shape = np.shape(xy_m)[:-1]
        return s_m.reshape(shape), d_m.reshape(shape)

    def project_one(self, x_m: float, y_m: float) -> tuple[float, float]:
        """`project` of one point: (s_m, d_m)."""
        s_m, d_m = self.project(np.array([x_m, y_m]))
        return float(s_m), float(d_m)

    def to_world(self, s_m: Array | float, d_m: Array | float) -> Array:
        """Inverse of `project`: (..., 2) world points."""
        s_m, d_m = np.broadcast_arrays(s_m, d_m)
        x_m = np.interp(s_m, self.s_m, self.points_m[:, 0])
        y_m = np.interp(s_m, self.s_m, self.points_m[:, 1])
        yaw_rad = self.yaw_at(s_m)
        return np.stack([x_m - np.sin(yaw_rad) * d_m, y_m + np.cos(yaw_rad) * d_m], axis=-1)

    def yaw_at(self, s_m: Array | float) -> Array:
        """Direction of the line at s, unwrapped radians."""
        return np.asarray(np.interp(s_m, self.s_m, self.yaw_rad))


def room_beside(
    frame: RouteFrame, side_room: Callable[[float, float, float], tuple[float, float] | None]
) -> Array:
    """Width of road on each side of the line.

    Args:
        frame: The route.
        side_room: (x_m, y_m, yaw_rad) -> (left_m, right_m) of road there; None off the road.

    Returns:
        (2, M) left and right, metres, at `frame.s_m`.
    """
    s_m = np.arange(0.0, frame.length_m + 1e-9, ROOM_STEP_M)
    points, yaw_rad = frame.to_world(s_m, np.zeros_like(s_m)), frame.yaw_at(s_m)
    rooms: list[tuple[float, float]] = []
    for (x_m, y_m), yaw in zip(points, yaw_rad, strict=True):
        found = side_room(float(x_m), float(y_m), float(yaw))
        rooms.append(found if found is not None else (rooms[-1] if rooms else (0.0, 0.0)))
    sides = np.array(rooms).T
    return np.stack([np.interp(frame.s_m, s_m, side) for side in sides])


@dataclass(frozen=True, slots=True)
class LateralPath:
    """An offset from the centre line as a function of s: ramp out, hold, ramp back. `offset_m = 0` is the lane.

    Attributes:
        offset_m: Held offset, positive left.
        out_m: s at which the ramp out begins and ends.
        back_m: s at which the ramp back begins and ends.
        base_m: Offset before the ramp out.
    """

    offset_m: float = 0.0
    out_m: tuple[float, float] = (0.0, 1.0)
    back_m: tuple[float, float] = (0.0, 1.0)
    base_m: float = 0.0

    def at(self, s_m: Array | float) -> Array:
        """Offset at s, metres."""
        s_m = np.asarray(s_m, np.float64)
        if self.offset_m == 0.0:
            return np.zeros_like(s_m)
        out = smooth((s_m - self.out_m[0]) / (self.out_m[1] - self.out_m[0]))
        back = smooth((s_m - self.back_m[0]) / (self.back_m[1] - self.back_m[0]))
        return (self.base_m + (self.offset_m - self.base_m) * out) * (1.0 - back)

    def curvature(self, s_m: Array) -> Array:
        """Second derivative of the offset, 1/m (small angles)."""
        if self.offset_m == 0.0:
            return np.zeros_like(s_m)
        step_m = 0.5
        return (self.at(s_m + step_m) - 2.0 * self.at(s_m) + self.at(s_m - step_m)) / step_m**2


def smooth(u: Array) -> Array:
    """Quintic step from 0 at u <= 0 to 1 at u >= 1, with zero first and second derivatives at both ends."""
    u = np.clip(u, 0.0, 1.0)
    return u * u * u * (10.0 + u * (-15.0 + 6.0 * u))
