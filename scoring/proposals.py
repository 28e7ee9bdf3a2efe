"""Centre-line proposals by the recipe of PDM-Closed: target speeds x lateral offsets, each following the road by IDM.

The best of them is the reference that EP is relative to (proof.md 10), and they are what counterfactual planning
chooses from. They look ahead in the recorded future, so they yield to whoever is about to enter their way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..vocabulary import PLAN_POINTS, EgoState
from .frames import into_ego
from .pdms import PdmsScores, agents_at_10_hz, score_tracks, track_plans
from .pdms_kernels import FRAMES
from .scene import Scene
from .tracker import STEP_S, STEPS

Array = NDArray[np.float64]

SPEED_SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the speed limit
OFFSETS_M = (0.0, -1.0, 1.0)
EXTENSION_M = 80.0  # the line goes on straight beyond the route's end
HEADWAY_S, MIN_GAP_M = 1.5, 2.0
ACCEL_MPS2, BRAKE_MPS2, HARD_BRAKE_MPS2 = 2.0, 3.0, 7.0
LOOK_AHEAD_STEPS = 15  # who will be in the way within 1.5 s is in it now
SIDE_MARGIN_M = 0.3


@njit("void(float64[:, ::1], float64[::1], float64[:, ::1], float64[:, ::1])", cache=True)
def _place(points: Array, along: Array, xy: Array, out: Array) -> None:
    for q in range(xy.shape[0]):
        best = math.inf
        for i in range(points.shape[0] - 1):
            span = along[i + 1] - along[i]
            ux, uy = (points[i + 1, 0] - points[i, 0]) / span, (points[i + 1, 1] - points[i, 1]) / span
            dx, dy = xy[q, 0] - points[i, 0], xy[q, 1] - points[i, 1]
            part = min(max(dx * ux + dy * uy, 0.0), span)
            rest_x, rest_y = dx - part * ux, dy - part * uy
            away = rest_x * rest_x + rest_y * rest_y
            if away < best:
                best = away
                out[q, 0] = along[i] + part
                out[q, 1] = ux * dy - uy * dx


@dataclass(frozen=True, slots=True)
class Line:
    """A route's centre line by arc length, extended at its end.

    Attributes:
        points_m: (M, 2) world.
        along_m: (M,) arc length.
        yaw_rad: (M,) direction, unwrapped.
    """

    points_m: Array
    along_m: Array
    yaw_rad: Array

    @staticmethod
    def of(centerline_m: Array, extension_m: float = EXTENSION_M) -> Line:
        """From (M, 2) points, M >= 2."""
        points = np.asarray(centerline_m, np.float64)
        step = points[-1] - points[-2]
        points = np.vstack((points, points[-1] + step / np.hypot(*step) * extension_m))
        gaps = np.diff(points, axis=0)
        yaw = np.unwrap(np.arctan2(gaps[:, 1], gaps[:, 0]))
        along = np.concatenate(([0.0], np.cumsum(np.hypot(gaps[:, 0], gaps[:, 1]))))
        # A direction belongs to the middle of its segment; at the points it is the mean of both sides.
        return Line(points, along, np.concatenate((yaw[:1], 0.5 * (yaw[:-1] + yaw[1:]), yaw[-1:])))

    def place(self, xy_m: Array) -> tuple[Array, Array, Array]:
        """Arc length, distance to the left and direction of the line nearest to points (..., 2)."""
        xy = np.array(xy_m, np.float64, order="C")
        out = np.empty((xy.size // 2, 2))
        _place(self.points_m, self.along_m, xy.reshape(-1, 2), out)
        along, left = out[:, 0].reshape(xy.shape[:-1]), out[:, 1].reshape(xy.shape[:-1])
        return along, left, np.interp(along, self.along_m, self.yaw_rad)

    def pose(self, along_m: Array, left_m: Array, slope: Array) -> Array:
        """Poses (..., 3) beside the line; `slope` is d left / d along."""
        yaw = np.interp(along_m, self.along_m, self.yaw_rad)
        x = np.interp(along_m, self.along_m, self.points_m[:, 0]) - left_m * np.sin(yaw)
        y = np.interp(along_m, self.along_m, self.points_m[:, 1]) + left_m * np.cos(yaw)
        return np.stack((x, y, yaw + np.arctan(slope)), -1)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a scene's ego stands to its route: what plans along the route begin from.

    Attributes:
        line: The route.
        ego: World frame.
        along_m: Of the ego, on the line.
        left_m: Of the line.
        slope: d left / d along, by the ego's heading.
        speed_mps: Not negative.
    """

    line: Line
    ego: EgoState
    along_m: float
    left_m: float
    slope: float
    speed_mps: float

    @staticmethod
    def of(scene: Scene) -> Start:
        """From a scene."""
        line, ego = Line.of(scene.centerline_m), scene.ego
        along, left, yaw = line.place(np.array([ego.x_m, ego.y_m]))
        error = math.remainder(ego.yaw_rad - float(yaw), math.tau)
        slope = math.tan(min(max(error, -1.0), 1.0))
        return Start(line, ego, float(along), float(left), slope, max(ego.speed_mps, 0.0))

    def swerve_length_m(self, offset_m: float) -> float:
        """How far along the way to an offset to the left of the line takes."""
        aside_m = abs(offset_m - self.left_m)
        return min(max(self.speed_mps * (1.2 + 0.5 * aside_m), 8.0), 40.0)

    def plans(self, along_m: Array, left_m: Array, slope: Array) -> Array:
        """(P, 8, 3) plans in the ego frame from places (P, 8) beside the line."""
        world = self.line.pose(along_m, left_m, slope)
        turn = world[..., 2:] - self.ego.yaw_rad  # goes on as the line's does, beyond half a turn
        return np.concatenate((into_ego(world[..., :2], self.ego), turn), -1)


@njit("UniTuple(float64, 2)(float64, float64, float64, float64, float64)", cache=True)
def swerve(u: float, left: float, slope: float, target: float, length: float) -> tuple[float, float]:
    """Quintic from (left, slope) to (target, 0) over `length`; u is the share of it that is done."""
    if u >= 1.0:
        return target, 0.0
    gap = target - left
    c1 = slope * length
    c3 = 10.0 * gap - 6.0 * c1
    c4 = -15.0 * gap + 8.0 * c1
    c5 = 6.0 * gap - 3.0 * c1
    value = left + (c1 + (c3 + (c4 + c5 * u) * u) * u * u) * u
    rate = c1 + (3.0 * c3 + (4.0 * c4 + 5.0 * c5 * u) * u) * u * u
    return value, rate / length


@njit(
    "void(float64, float64, float64, float64, float64[:, ::1], float64, float64, float64[:, :, ::1],"
    " float64[:, :, ::1])",
    cache=True,
)
def _drive(
    along: float,
    left: float,
    slope: float,
    speed: float,
    goals: Array,
    half_length_m: float,
    half_width_m: float,
    others: Array,
    out: Array,
) -> None:
    """Roll every goal (G, 4: speed, offset, swerve length, brake).

    Others (N, 51, 5) are along, left, half along, half left, speed.

    A goal's fourth number is how hard it brakes for its own speed. Out (G, 8, 3): along, left, slope every 0.5 s.
    """
    every = STEPS // out.shape[1]
    for g in range(goals.shape[0]):
        wanted, offset, length, brake = goals[g]
        s, v = along, speed
        for k in range(STEPS):
            accel = ACCEL_MPS2 * (1.0 - (v / max(wanted, 0.1)) ** 4)
            accel = max(accel, -brake)
            for a in range(others.shape[0]):
                for f in range(k, min(k + LOOK_AHEAD_STEPS, FRAMES - 1) + 1):
                    where = others[a, f, 0]
                    if math.isnan(where) or where <= s:
                        continue
                    way, _ = swerve((where - along) / length, left, slope, offset, length)
                    if abs(others[a, f, 1] - way) > others[a, f, 3] + half_width_m + SIDE_MARGIN_M:
                        continue
                    gap = max(where - others[a, f, 2] - half_length_m - s, 0.1)
                    closing = v - others[a, f, 4]
                    desired = MIN_GAP_M + max(
                        0.0, v * HEADWAY_S + v * closing / (2.0 * math.sqrt(ACCEL_MPS2 * BRAKE_MPS2))
                    )
                    held = ACCEL_MPS2 * (1.0 - (v / max(wanted, 0.1)) ** 4 - (desired / gap) ** 2)
                    accel = min(accel, max(held, -HARD_BRAKE_MPS2))
            end = max(v + accel * STEP_S, 0.0)
            s += 0.5 * (v + end) * STEP_S
            v = end
            if (k + 1) % every == 0:
                row = (k + 1) // every - 1
                way, rate = swerve((s - along) / length, left, slope, offset, length)
                out[g, row, 0], out[g, row, 1], out[g, row, 2] = s, way, rate


def centerline_proposals(
    scene: Scene,
    speed_limit_mps: float,
    speed_shares: tuple[float, ...] = SPEED_SHARES,
    offsets_m: tuple[float, ...] = OFFSETS_M,
    stops_mps2: tuple[float, ...] = (),
) -> Array:
    """Plans along the route.

    Args:
        scene: Its agents' recorded future is followed by IDM.
        speed_limit_mps: What the shares refer to.
        speed_shares: S target speeds.
        offsets_m: O offsets to the left of the centre line.
        stops_mps2: B decelerations of further plans that brake to a stand.

    Returns:
        (O * (S + B), 8, 3) box centre, ego frame; offset after offset.
    """
    start = Start.of(scene)
    paces = [(share * speed_limit_mps, BRAKE_MPS2) for share in speed_shares]
    paces += [(0.0, brake) for brake in stops_mps2]
    goals = np.array(
        [
            (wanted, offset, start.swerve_length_m(offset), brake)
            for offset in offsets_m
            for wanted, brake in paces
        ]
    )
    out = np.empty((len(goals), PLAN_POINTS, 3))
    half = 0.5 * scene.vehicle.length_m, 0.5 * scene.vehicle.width_m
    others = _beside(scene, start.line)
    _drive(start.along_m, start.left_m, start.slope, start.speed_mps, goals, *half, others, out)
    return start.plans(out[..., 0], out[..., 1], out[..., 2])


def with_reference(scene: Scene, speed_limit_mps: float) -> Scene:
    """The scene with the best centre-line proposal as its EP reference."""
    tracks = track_plans(scene, centerline_proposals(scene, speed_limit_mps))
    scores = score_tracks(scene, tracks)
    best = int(np.argmax(among(scores)))
    return replace(
        scene,
        reference_progress_m=float(scores.progress_m[best]),
        reference_multiplier=float(scores.nc[best] * scores.dac[best]),
    )


def among(scores: PdmsScores) -> Array:
    """PDMS of plans with EP relative to the best of them, as PDM-Closed scores its proposals."""
    multiplier = scores.nc * scores.dac
    gained = scores.progress_m * multiplier
    most = float(gained.max())
    ep = gained / most if most > 5.0 else (multiplier > 0).astype(np.float64)
    return multiplier * (5.0 * ep + 5.0 * scores.ttc + 2.0 * scores.comfort) / 12.0


def _beside(scene: Scene, line: Line) -> Array:
    """Agents in the line's frame, (N, 51, 5): along, left, half extents, speed along it."""
    frames = agents_at_10_hz(scene)
    out = np.full((*frames.shape[:2], 5), np.nan)
    there = ~np.isnan(frames[..., 0])
    if not there.any():
        return out
    along, left, yaw = line.place(frames[there][:, :2])
    cos, sin = frames[there][:, 2], frames[there][:, 3]
    along_cos, across_sin = (
        np.abs(cos * np.cos(yaw) + sin * np.sin(yaw)),
        np.abs(sin * np.cos(yaw) - cos * np.sin(yaw)),
    )
    half = 0.5 * np.broadcast_to(np.asarray(scene.agent_size_m)[:, None], (*there.shape, 2))[there]
    speed = frames[there][:, 4] * np.cos(yaw) + frames[there][:, 5] * np.sin(yaw)
    out[there] = np.stack(
        (
            along,
            left,
            half[:, 0] * along_cos + half[:, 1] * across_sin,
            half[:, 0] * across_sin + half[:, 1] * along_cos,
            speed,
        ),
        -1,
    )
    return out
