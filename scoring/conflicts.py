"""Who a tracked plan comes into conflict with, and when: for choosing the critical object and for words about it."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from .boxes import overlap
from .kinematics import VehicleParams
from .pdms import agents_at_10_hz
from .pdms_kernels import ground
from .scene import Scene
from .tracker import HEADING, RX, RY, SPEED, STEP_S
from .ttc import meeting_time

Array = NDArray[np.float64]


@njit(
    "void(float64[:, ::1], float64[:, :, ::1], float64[:, ::1], float64, float64, float64, float64, float64[:, ::1])",
    cache=True,
)
def _conflicts(
    track: Array,
    frames: Array,
    sizes: Array,
    half_length_m: float,
    half_width_m: float,
    to_centre_m: float,
    horizon: float,
    out: Array,
) -> None:
    """Fill out (N, 2) with the step of first contact and the least time to collision."""
    for a in range(frames.shape[0]):
        long, wide = 0.5 * sizes[a, 0], 0.5 * sizes[a, 1]
        out[a, 0], out[a, 1] = np.inf, np.inf
        for t in range(track.shape[0]):
            if np.isnan(frames[a, t, 0]):
                continue
            cos, sin = np.cos(track[t, HEADING]), np.sin(track[t, HEADING])
            dx = frames[a, t, 0] - track[t, RX] - to_centre_m * cos
            dy = frames[a, t, 1] - track[t, RY] - to_centre_m * sin
            ac, as_ = frames[a, t, 2], frames[a, t, 3]
            if overlap(0.0, 0.0, cos, sin, half_length_m, half_width_m, dx, dy, ac, as_, long, wide):
                out[a, 0] = t
                out[a, 1] = 0.0
                break
            vx, vy = frames[a, t, 4] - track[t, SPEED] * cos, frames[a, t, 5] - track[t, SPEED] * sin
            meeting = meeting_time(
                dx, dy, vx, vy, cos, sin, half_length_m, half_width_m, ac, as_, long, wide, horizon
            )
            out[a, 1] = min(out[a, 1], meeting)


def conflicts(scene: Scene, track: ArrayLike, horizon_s: float = 4.0) -> tuple[Array, Array]:
    """Conflicts of one tracked plan with each agent.

    Args:
        scene: The agents' recorded future.
        track: (41, 7) of `pdms.track_plans`.
        horizon_s: Later meetings are none.

    Returns:
        (N,) time of first contact and (N,) least constant-velocity time to collision up to it, seconds, inf for none.
    """
    out = _of(scene, track, horizon_s)
    return out[:, 0] * STEP_S, out[:, 1]


def off_road_s(scene: Scene, track: ArrayLike) -> float:
    """When a tracked plan first leaves the drivable ground; inf if it never does."""
    states = np.asarray(track, np.float64)
    vehicle, area = scene.vehicle, scene.area
    along = 0.5 * vehicle.length_m * np.array([1.0, 1.0, -1.0, -1.0])
    left = 0.5 * vehicle.width_m * np.array([1.0, -1.0, 1.0, -1.0])
    for t, state in enumerate(states):
        cos, sin = np.cos(state[HEADING]), np.sin(state[HEADING])
        ahead = vehicle.rear_to_centre_m + along
        corners = np.stack(
            (state[RX] + ahead * cos - left * sin, state[RY] + ahead * sin + left * cos), axis=1
        )
        off, _, _ = ground(
            state[RX],
            state[RY],
            corners,
            False,
            area.points_m,
            area.starts,
            area.runs,
            area.kinds,
            area.bounds_m,
            area.run_bounds_m,
        )
        if off:
            return t * STEP_S
    return float("inf")


def critical_agent(scene: Scene, track: ArrayLike, horizon_s: float = 4.0) -> int | None:
    """Index of the agent that a tracked plan hits first, else of the one it comes nearest to in time; None for none."""
    contact, ttc = conflicts(scene, track, horizon_s)
    if np.isfinite(contact).any():
        return int(contact.argmin())
    return int(ttc.argmin()) if np.isfinite(ttc).any() else None


def _of(scene: Scene, track: ArrayLike, horizon_s: float) -> Array:
    states = np.array(track, np.float64, order="C")
    frames = np.ascontiguousarray(agents_at_10_hz(scene)[:, : len(states)])
    out = np.empty((len(frames), 2))
    vehicle: VehicleParams = scene.vehicle
    _conflicts(
        states,
        frames,
        np.array(scene.agent_size_m, np.float64, order="C").reshape(-1, 2),
        0.5 * vehicle.length_m,
        0.5 * vehicle.width_m,
        vehicle.rear_to_centre_m,
        horizon_s,
        out,
    )
    return out
