"""NC and TTC of tracked motions: who is met, whose fault it is. Boxes are compared only where their ways can cross."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .boxes import overlap
from .drivable import BLOCK, WAY, WHOLE, corners_at
from .pdms_kernels import COS, FRAMES, SIN, TTC_AHEAD, VX, VY, X, Y, ground
from .scene import STATIC
from .tracker import RX, RY, SPEED, STEP_S, STEPS

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

STOPPED_MPS = 0.05
TTC_STOPPED_MPS = 0.005
COS_AHEAD = math.cos(math.radians(30.0))
COS_BEHIND = math.cos(math.radians(150.0))
MOVING, STANDING, OBJECT = range(3)  # how a road user counts: by its first frame
MARGIN_M = 1e-6


@njit(
    "void(float64[:, :, ::1], float64[:, ::1], int8[::1], float64[::1], float64[:, :, ::1], int8[::1])",
    cache=True,
)
def windows_of(
    frames: Array,
    sizes: Array,
    kinds: NDArray[np.int8],
    frame: Array,
    out: Array,
    counts_as: NDArray[np.int8],
) -> None:
    """Where each road user is seen from each step, in the frame of the ego's start: no axis suits a road better.

    Args:
        frames: (N, 51, 6) of `agent_frames`.
        sizes: (N, 2).
        kinds: (N,).
        frame: x, y, cosine and sine of that frame.
        out: (N, REACHES, 4) least x, most x, least y, most y at the frames that TTC looks at; the places behind the
            steps as in `drivable.place_boxes`, WAY not used.
        counts_as: (N,) MOVING, STANDING or OBJECT.
    """
    x, y, cos, sin = frame[0], frame[1], frame[2], frame[3]
    for a in range(frames.shape[0]):
        out[a, :, 0], out[a, :, 1], out[a, :, 2], out[a, :, 3] = math.inf, -math.inf, math.inf, -math.inf
        first = True
        for f in range(FRAMES):
            if math.isnan(frames[a, f, X]):
                continue
            if first:
                first = False
                slow = math.hypot(frames[a, f, VX], frames[a, f, VY]) <= STOPPED_MPS
                counts_as[a] = OBJECT if kinds[a] == STATIC else STANDING if slow else MOVING
            dx, dy = frames[a, f, X] - x, frames[a, f, Y] - y
            c = abs(frames[a, f, COS] * cos + frames[a, f, SIN] * sin)
            s = abs(frames[a, f, SIN] * cos - frames[a, f, COS] * sin)
            along, across = dx * cos + dy * sin, dy * cos - dx * sin
            long = 0.5 * (sizes[a, 0] * c + sizes[a, 1] * s) + MARGIN_M
            wide = 0.5 * (sizes[a, 0] * s + sizes[a, 1] * c) + MARGIN_M
            for k in range(2 * len(TTC_AHEAD) + 1):
                t = WHOLE
                if k > 0:
                    t = f - TTC_AHEAD[(k - 1) // 2]
                    if t < 0 or t > STEPS:
                        continue
                    if k % 2 == 0:
                        t = WAY + 1 + t // BLOCK
                out[a, t, 0], out[a, t, 1] = min(out[a, t, 0], along - long), max(out[a, t, 1], along + long)
                out[a, t, 2], out[a, t, 3] = (
                    min(out[a, t, 2], across - wide),
                    max(out[a, t, 3], across + wide),
                )


@njit("boolean(float64[:, ::1], float64[:, ::1], int64)", cache=True)
def _apart(reach: Array, window: Array, t: int) -> bool:
    return (
        reach[0, t] > window[t, 1]
        or reach[1, t] < window[t, 0]
        or reach[2, t] > window[t, 3]
        or reach[3, t] < window[t, 2]
    )


@njit(
    "UniTuple(float64, 2)(float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, :, ::1], float64[:, :, ::1],"
    " float64[:, ::1], int64[::1], float64[::1], int64, float64[:, ::1], int64[:, ::1], float64[:, ::1],"
    " float64[:, ::1], float64[:, ::1])",
    cache=True,
)
def collisions(
    track: Array,
    places: Array,
    reach: Array,
    frames: Array,
    windows: Array,
    sizes: Array,
    counts_as: Ints,
    vehicle: Array,
    ttc_last: int,
    points: Array,
    index: Ints,
    bounds: Array,
    run_bounds: Array,
    corners: Array,
) -> tuple[float, float]:
    """NC and TTC of one tracked plan.

    Args:
        track: (41, 7) tracked states, rear axle.
        places: (41, 4) of `place_boxes`.
        reach: (4, REACHES) of `place_boxes`.
        frames: (N, 51, 6) of `agent_frames`.
        windows: (N, REACHES, 4) of `windows_of`.
        sizes: (N, 2) length, width.
        counts_as: (N,) of `windows_of`.
        vehicle: Of the ego, packed.
        ttc_last: TTC looks ahead from no later step.
        points: Polygons of `scene.Area`.
        index: (3, G + 1) its starts, runs and kinds.
        bounds: Its bounds.
        run_bounds: Its run bounds.
        corners: (4, 2) scratch.

    Returns:
        NC in {0, 0.5, 1} and TTC in {0, 1}.
    """
    nc, ttc = 1.0, 1.0
    to_centre_m, half_length_m, half_width_m = vehicle[1], 0.5 * vehicle[2], 0.5 * vehicle[3]
    for a in range(frames.shape[0]):
        if nc == 0.0 and ttc == 0.0:
            break
        if _apart(reach, windows[a], WHOLE):
            continue
        long, wide = 0.5 * sizes[a, 0], 0.5 * sizes[a, 1]
        hit_ignored, ttc_ignored = False, False
        t = -1
        while t < STEPS:
            t += 1
            if t % BLOCK == 0 and _apart(reach, windows[a], WAY + 1 + t // BLOCK):
                t += BLOCK - 1
                continue
            if (hit_ignored or nc == 0.0) and (ttc_ignored or ttc == 0.0 or t > ttc_last):
                break
            if _apart(reach, windows[a], t):
                continue
            cos, sin, speed = places[t, 2], places[t, 3], abs(track[t, SPEED])
            for d in TTC_AHEAD:
                if d > 0 and (t > ttc_last or ttc_ignored or ttc == 0.0 or speed < TTC_STOPPED_MPS):
                    break
                f = t + d
                ax, ay = frames[a, f, X], frames[a, f, Y]
                if math.isnan(ax):
                    continue
                shift = to_centre_m + speed * d * STEP_S
                ac, as_ = frames[a, f, COS], frames[a, f, SIN]
                dx, dy = ax - track[t, RX], ay - track[t, RY]
                ahead, left = dx * cos + dy * sin, dy * cos - dx * sin
                # Most are beside or before the ego by far: seen here, without a call.
                c, s = abs(cos * ac + sin * as_), abs(cos * as_ - sin * ac)
                if abs(left) - half_width_m - long * s - wide * c > MARGIN_M:
                    continue
                if abs(ahead - shift) - half_length_m - long * c - wide * s > MARGIN_M:
                    continue
                x, y = track[t, RX] + shift * cos, track[t, RY] + shift * sin
                if not overlap(x, y, cos, sin, half_length_m, half_width_m, ax, ay, ac, as_, long, wide):
                    continue
                distance = math.hypot(dx, dy)
                facing = ahead / distance if distance > 0.0 else 1.0
                looks = ttc > 0.0 and t <= ttc_last and not ttc_ignored and speed >= TTC_STOPPED_MPS
                hits = d == 0 and nc > 0.0 and not hit_ignored
                front = False
                if hits and counts_as[a] == MOVING and not facing < COS_BEHIND:
                    bumper = to_centre_m + half_length_m
                    x, y = track[t, RX] + bumper * cos, track[t, RY] + bumper * sin
                    front = overlap(x, y, cos, sin, 0.0, half_width_m, ax, ay, ac, as_, long, wide)
                # Lanes and ground matter only to whom the ego meets with its sides.
                aside, crossing = False, False
                if not facing < COS_BEHIND and (
                    (looks and facing <= COS_AHEAD) or (hits and counts_as[a] == MOVING and not front)
                ):
                    corners_at(places, t, half_length_m, half_width_m, corners)
                    off, several, crossing = ground(
                        track[t, RX], track[t, RY], corners, True, points, index[0], index[1], index[2],
                        bounds, run_bounds,
                    )  # fmt: skip
                    aside = off or several
                if looks:
                    if facing > COS_AHEAD or ((aside or crossing) and not facing < COS_BEHIND):
                        ttc = 0.0
                    else:
                        ttc_ignored = True
                if not hits:
                    continue
                if speed <= STOPPED_MPS:
                    fault = False
                elif counts_as[a] != MOVING:
                    fault = True
                else:
                    fault = not facing < COS_BEHIND and (front or aside)
                if fault:
                    nc = min(nc, 0.5 if counts_as[a] == OBJECT else 0.0)
                else:
                    hit_ignored = True
    return nc, ttc
