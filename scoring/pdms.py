"""PDM score of plans as NAVSIM v1.1 defines it: NC x DAC x (5 EP + 5 TTC + 2 C) / 12 of the *tracked* motion.

Plans are in the ego frame of the box centre, as everywhere in this project; NAVSIM's rear axle appears only inside.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..vocabulary import PLAN_POINTS, PLAN_STEP_S, Float
from .collisions import collisions, windows_of
from .drivable import REACHES, place_boxes, stays_on
from .frames import into_ego
from .kinematics import VehicleParams
from .pdms_comfort import FILTERS, comfortable
from .pdms_kernels import FRAMES, agent_frames, trailing_headings
from .progress import line_of, nearest
from .scene import Scene
from .tracker import HEADING, RX, RY, SPEED, SPEED_FIT, STEP_S, STEPS, track
from .ttc import ttc_along

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

PACIFICA = VehicleParams(wheel_base_m=3.089, rear_to_centre_m=1.461, length_m=5.176, width_m=2.297)
_VEHICLE = len(PACIFICA.packed())
_FRAMES_AT = _VEHICLE + 5 + FILTERS.size  # in the reals of a prepared scene
MIN_PROGRESS_M = 5.0  # below this, progress does not tell plans apart


@dataclass(frozen=True, slots=True)
class PdmsScores:
    """Scores of P plans; all (P,) float64 in [0, 1] but `progress_m`."""

    nc: Array  # no at-fault collision: 0, 0.5 (static object) or 1
    dac: Array  # drivable area compliance
    ep: Array  # ego progress against the scene's reference
    ttc: Array  # time to collision
    comfort: Array
    pdms: Array
    progress_m: Array  # along the centre line, at least 0


@njit("void(float64[:, :, ::1], float64[::1], int64[::1], int64, float64[:, ::1])", cache=True)
def _metrics(tracks: Array, reals: Array, whole: Ints, ttc_last: int, out: Array) -> None:
    """Fill out (5, P) with nc, dac, ttc, comfort, progress; a scene comes as `_prepared` has packed it."""
    agents, knots, corners_all, polygons, runs = whole[0], whole[1], whole[2], whole[3], whole[4]
    counts_as = whole[5 : 5 + agents]
    index = whole[5 + agents :].reshape(3, polygons + 1)
    vehicle, start, longest = reals[:_VEHICLE], reals[_VEHICLE : _VEHICLE + 4], reals[_VEHICLE + 4]
    filters = reals[_VEHICLE + 5 : _FRAMES_AT].reshape(FILTERS.shape)
    at = _FRAMES_AT
    frames = reals[at : at + 6 * FRAMES * agents].reshape(agents, FRAMES, 6)
    at += 6 * FRAMES * agents
    windows = reals[at : at + 4 * REACHES * agents].reshape(agents, REACHES, 4)
    at += 4 * REACHES * agents
    sizes = reals[at : at + 2 * agents].reshape(agents, 2)
    at += 2 * agents
    line = reals[at : at + 5 * knots].reshape(knots, 5)
    at += 5 * knots
    points = reals[at : at + 2 * corners_all].reshape(corners_all, 2)
    at += 2 * corners_all
    bounds = reals[at : at + 4 * polygons].reshape(polygons, 4)
    at += 4 * polygons
    run_bounds = reals[at:].reshape(runs, 4)

    places, reach, corners = np.empty((tracks.shape[1], 4)), np.empty((4, REACHES)), np.empty((4, 2))
    scratch = np.empty((9, tracks.shape[1]))
    to_centre_m, half_length_m, half_width_m = vehicle[1], 0.5 * vehicle[2], 0.5 * vehicle[3]
    begin_x, begin_y, begin, near, ends = np.nan, np.nan, 0.0, 0, -1
    for p in range(tracks.shape[0]):
        states = tracks[p]
        place_boxes(states, to_centre_m, half_length_m, half_width_m, start, places, reach, scratch)
        on = stays_on(
            places,
            reach,
            start,
            half_length_m,
            half_width_m,
            points,
            index,
            bounds,
            run_bounds,
            corners,
        )
        out[0, p], out[2, p] = collisions(
            states,
            places,
            reach,
            frames,
            windows,
            sizes,
            counts_as,
            vehicle,
            ttc_last,
            points,
            index,
            bounds,
            run_bounds,
            corners,
        )
        out[1, p] = 1.0 if on else 0.0
        out[3, p] = comfortable(states, filters)
        out[4, p] = 0.0
        if line.shape[0] > 1:
            if places[0, 0] != begin_x or places[0, 1] != begin_y:
                begin_x, begin_y = places[0, 0], places[0, 1]
                begin, near = nearest(begin_x, begin_y, line, longest, near)
            if ends < 0:  # others of a group end near the first
                dx, dy = places[STEPS, 0] - begin_x, places[STEPS, 1] - begin_y
                ends = near + int(math.sqrt(dx * dx + dy * dy) / longest)
            end, ends = nearest(places[STEPS, 0], places[STEPS, 1], line, longest, ends)
            out[4, p] = max(end - begin, 0.0)


@njit("void(float64[:, :, ::1], float64[::1], float64[::1], float64[:, ::1], float64[:, :, ::1])", cache=True)
def _track_all(plans: Array, start: Array, vehicle: Array, speed_fit: Array, out: Array) -> None:
    """Plans (P, 8, 3) of the box centre in the ego frame -> tracked states of the rear axle in the world."""
    per_point = STEPS // plans.shape[1]
    to_centre_m = vehicle[1]
    cos, sin = np.cos(start[HEADING]), np.sin(start[HEADING])
    poses = np.empty((STEPS + 1, 3))
    for p in range(plans.shape[0]):
        x, y, heading = start[RX], start[RY], start[HEADING]
        poses[0, 0], poses[0, 1], poses[0, 2] = x, y, heading
        for k in range(plans.shape[1]):
            yaw = plans[p, k, 2]
            rear_x = plans[p, k, 0] + to_centre_m * (1.0 - np.cos(yaw))
            rear_y = plans[p, k, 1] - to_centre_m * np.sin(yaw)
            next_x = start[RX] + rear_x * cos - rear_y * sin
            next_y = start[RY] + rear_x * sin + rear_y * cos
            turn = start[HEADING] + yaw - heading
            turn = np.arctan2(np.sin(turn), np.cos(turn))
            for i in range(1, per_point + 1):
                share = i / per_point
                row = k * per_point + i
                poses[row, 0] = x + share * (next_x - x)
                poses[row, 1] = y + share * (next_y - y)
                poses[row, 2] = heading + share * turn
            x, y, heading = next_x, next_y, heading + turn
        track(poses, start, vehicle[0], speed_fit, out[p])


def plan_poses(plans: ArrayLike, vehicle: VehicleParams) -> Array:
    """Plans with headings.

    Args:
        plans: (P, 8, 2) or (P, 8, 3) box centre, ego frame.
        vehicle: Where its rear axle is: without headings it trails behind the centre.

    Returns:
        (P, 8, 3) x, y, heading.
    """
    given = np.array(plans, np.float64, order="C")
    if given.ndim != 3 or given.shape[1] != PLAN_POINTS or given.shape[2] not in (2, 3):
        raise ValueError(f"plans are {given.shape}, not (P, {PLAN_POINTS}, 2 or 3)")
    if given.shape[2] == 3:
        return given
    out = np.empty((len(given), PLAN_POINTS, 3))
    for one, poses in zip(given, out, strict=True):
        trailing_headings(one, vehicle.rear_to_centre_m, poses)
    return out


def track_plans(scene: Scene, plans: ArrayLike) -> Array:
    """The motion that is scored.

    Args:
        scene: Its ego is the start.
        plans: (P, 8, 2) or (P, 8, 3), metres and radians, box centre, ego frame, 0.5 s apart.

    Returns:
        (P, 41, 7) every 0.1 s: x, y, heading of the rear axle (world), speed, accel, steer, yaw rate.
    """
    ego, vehicle = scene.ego, scene.vehicle
    poses = plan_poses(plans, vehicle)
    back = vehicle.rear_to_centre_m
    start = np.array(
        [
            ego.x_m - back * np.cos(ego.yaw_rad),
            ego.y_m - back * np.sin(ego.yaw_rad),
            ego.yaw_rad,
            ego.speed_mps,
            ego.accel_mps2,
            ego.steer_rad,
            ego.yaw_rate_radps,
        ]
    )
    out = np.empty((len(poses), STEPS + 1, 7))
    _track_all(poses, start, vehicle.packed(), SPEED_FIT, out)
    return out


def terms_of(scene: Scene, tracks: ArrayLike, ttc_last: int = STEPS) -> tuple[Array, ...]:
    """NC, DAC, TTC, C and progress in metres, each (P,), of tracked motions (P, 41, 7).

    Args:
        scene: What they are scored against.
        tracks: Of `track_plans`.
        ttc_last: TTC looks ahead from no later step than this.
    """
    given = np.asarray(tracks, np.float64, order="C")
    if not given.flags.writeable:  # the kernels' signatures ask for it
        given = given.copy()
    out = np.empty((5, len(given)))
    _metrics(given, *_prepared(scene), ttc_last, out)
    return tuple(out)


def _prepared(scene: Scene) -> tuple[Array, Ints]:
    """What the kernels need of a scene, made once and kept with it: reals and integers in a buffer each.

    A dozen arrays cost more to hand over to a kernel than a plan takes to be scored.
    """
    if scene.prepared is None:
        area, ego, vehicle = scene.area, scene.ego, scene.vehicle.packed()
        frames, line = agents_at_10_hz(scene), line_of(scene.centerline_m)
        sizes = np.array(scene.agent_size_m, np.float64, order="C").reshape(-1, 2)
        kinds = np.array(scene.agent_kind, np.int8)
        start = np.array([ego.x_m, ego.y_m, np.cos(ego.yaw_rad), np.sin(ego.yaw_rad)])
        windows, counts_as = np.empty((len(frames), REACHES, 4)), np.zeros(len(frames), np.int8)
        windows_of(frames, sizes, kinds, start, windows, counts_as)
        longest = np.diff(line[:, 2]).max(initial=0.0)
        reals = (
            vehicle,
            start,
            longest,
            FILTERS,
            frames,
            windows,
            sizes,
            line,
            area.points_m,
            area.bounds_m,
            area.run_bounds_m,
        )
        kinds_too = (*area.kinds, 0)  # as long as its neighbours
        whole = (
            (len(frames), len(line), len(area.points_m), len(area.kinds), len(area.run_bounds_m)),
            counts_as,
            area.starts,
            area.runs,
            kinds_too,
        )
        made = (
            np.concatenate([np.ravel(part) for part in reals]),
            np.concatenate([np.asarray(part, np.int64) for part in whole]),
        )
        object.__setattr__(scene, "prepared", made)
        return made
    return scene.prepared


def score_tracks(scene: Scene, tracks: ArrayLike) -> PdmsScores:
    """Score tracked motions (P, 41, 7) as `track_plans` returns them."""
    nc, dac, ttc, comfort, progress_m = terms_of(scene, tracks)
    multiplier = nc * dac
    gained = progress_m * multiplier
    most = np.maximum(gained, scene.reference_progress_m * scene.reference_multiplier)
    far = most > MIN_PROGRESS_M
    ep = np.where(far, gained / np.where(far, most, 1.0), multiplier > 0.0)
    pdms = multiplier * (5.0 * ep + 5.0 * ttc + 2.0 * comfort) / 12.0
    return PdmsScores(nc, dac, ep, ttc, comfort, pdms, progress_m)


def score_plans(scene: Scene, plans: ArrayLike) -> PdmsScores:
    """Track and score plans.

    Args:
        scene: What they are scored against.
        plans: (P, 8, 2) or (P, 8, 3), box centre, ego frame, 0.5 s apart.

    Returns:
        One score per plan. EP is relative to the scene's reference, never to the other plans.
    """
    return score_tracks(scene, track_plans(scene, plans))


def track_ttc(scene: Scene, tracks: ArrayLike, horizon_s: float = 4.0) -> Array:
    """Constant-velocity time to collision along tracked motions.

    Args:
        scene: Agents are where they were recorded, with their recorded velocities.
        tracks: (P, 41, 7) of `track_plans`.
        horizon_s: Later meetings are none.

    Returns:
        (P, 41) seconds every 0.1 s, inf for none.
    """
    states = np.asarray(tracks, np.float64)
    frames = agents_at_10_hz(scene)[:, : states.shape[1]]
    yaw = np.arctan2(frames[..., 3], frames[..., 2])
    agents = np.ascontiguousarray(
        np.stack((*np.moveaxis(frames[..., :2], -1, 0), yaw, frames[..., 4], frames[..., 5]), -1)
    )
    ego = np.concatenate((_centres(states, scene.vehicle), states[..., SPEED, None]), -1)
    return np.stack([ttc_along(one, agents, scene.agent_size_m, horizon_s, scene.vehicle) for one in ego])


def min_ttc(scene: Scene, plans: ArrayLike, horizon_s: float = 4.0) -> Array:
    """(P,) smallest time to collision along each plan (P, 8, 2 or 3) as it is tracked; inf for none."""
    return np.asarray(track_ttc(scene, track_plans(scene, plans), horizon_s).min(axis=1))


def tracked_waypoints(scene: Scene, tracks: ArrayLike) -> Float:
    """The plan that a tracked motion amounts to.

    Args:
        scene: Its ego's frame is the plan's.
        tracks: (P, 41, 7).

    Returns:
        (P, 8, 3) float32, box centre, ego frame: metres, radians.
    """
    every = round(PLAN_STEP_S / STEP_S)
    states = np.asarray(tracks, np.float64)[:, every::every]
    return into_ego(_centres(states, scene.vehicle), scene.ego).astype(np.float32)


def agents_at_10_hz(scene: Scene) -> Array:
    """(N, 51, 6) x, y, cos and sin of yaw, vx, vy; NaN where an agent is absent. Not to be written to."""
    if scene.prepared is not None:  # scored before; else they cost a tenth of all that scoring needs
        reals, whole = scene.prepared
        found: Array = reals[_FRAMES_AT : _FRAMES_AT + 6 * FRAMES * whole[0]].reshape(-1, FRAMES, 6)
        return found
    agents = np.array(scene.agents, np.float64, order="C")
    if agents.size == 0:
        return np.empty((0, FRAMES, 6))
    out = np.empty((len(agents), FRAMES, 6))
    agent_frames(np.array(scene.agents_t_s, np.float64), agents, out)
    return out


def _centres(states: Array, vehicle: VehicleParams) -> Array:
    heading = states[..., HEADING]
    x = states[..., RX] + vehicle.rear_to_centre_m * np.cos(heading)
    y = states[..., RY] + vehicle.rear_to_centre_m * np.sin(heading)
    return np.stack((x, y, heading), -1)


if __name__ == "__main__":
    from .pdms_command import main

    sys.exit(main())
