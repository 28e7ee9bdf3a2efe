"""Turns a plan into actuation on every tick: pure pursuit on the waypoints, PI and feed-forward on speed."""

from __future__ import annotations

import math

import numpy as np

from ..scoring.kinematics import EGO
from ..vocabulary import MAX_PLAN_AGE_S, PLAN_POINTS, PLAN_STEP_S, TICK_S, Control, EgoState, Plan

LOOK_AHEAD_S = 0.6
LOOK_AHEAD_MIN_M = 3.0
PREVIEW_S = 0.25  # actuators lag: the acceleration is taken from the plan this much later
STAND_MPS = 0.25  # a plan slower than this means to stand
STAND_PLAN_M = 0.5  # a plan shorter than this does not set a standing car in motion
CATCH_UP_PER_S = 0.6  # share of the distance behind the plan that is made good in a second
CATCH_UP_MPS = 2.0
GAIN_PER_S = 2.5
INTEGRAL_PER_S2 = 0.4
INTEGRAL_MPS2 = 0.8
STOP_MPS2 = 3.0  # safe stop on a plan that is too old
HOLD_BRAKE = 0.35
# m2 per (m/s2)2: what a change of acceleration from one half second to the next may cost in fit.
CHANGE_PRICE = 0.5
FIRM_CHANGE_PRICE = 0.05  # of a plan that brakes firmly as a whole: it is meant
FIRM_MPS2 = 2.0  # lost on average over FIRM_POINTS
FIRM_POINTS = 4


class PlanFollower:
    """Follows plans; keeps nothing but the small integral of the speed error."""

    def __init__(self) -> None:
        self._integral_mps2 = 0.0

    def control(self, plan: Plan, plan_pose: EgoState, ego: EgoState, age_s: float) -> Control:
        """Actuation for this tick.

        Args:
            plan: The plan in force.
            plan_pose: The ego when it was planned: the frame of its waypoints.
            ego: The ego now.
            age_s: Time since it was planned.

        Returns:
            The control; a smooth stop along the path when the plan is older than MAX_PLAN_AGE_S.
        """
        times_s, path_m, along_m = _path(plan)
        x_m, y_m, yaw_rad = _into(plan_pose, ego)
        done_m = _project(path_m, along_m, x_m, y_m)
        steer = self._steer(path_m, along_m, done_m, x_m, y_m, yaw_rad, ego.speed_mps)
        if age_s > MAX_PLAN_AGE_S or along_m[-1] < STAND_PLAN_M:
            return self._pedals(-STOP_MPS2, 0.0, ego.speed_mps, steer)
        accels_mps2 = _smooth_accels(along_m, plan_pose.speed_mps)
        speeds_mps = np.concatenate(
            ([plan_pose.speed_mps], plan_pose.speed_mps + np.cumsum(accels_mps2) * PLAN_STEP_S)
        )
        ahead_s = age_s + PREVIEW_S
        wanted_mps = max(float(np.interp(ahead_s, times_s, speeds_mps)), 0.0)
        feed_mps2 = float(np.interp(ahead_s, times_s[:-1] + PLAN_STEP_S / 2, accels_mps2))
        behind_m = _at(age_s, times_s, along_m) - done_m
        # The speed planned for now: measured against the preview's, a braking would count twice and be half as hard again.
        planned_mps = float(np.interp(age_s, times_s, speeds_mps))
        aim_mps = planned_mps + min(max(CATCH_UP_PER_S * behind_m, -CATCH_UP_MPS), CATCH_UP_MPS)
        if wanted_mps < STAND_MPS:
            aim_mps = min(aim_mps, max(ego.speed_mps - STOP_MPS2 * PREVIEW_S, 0.0))
        error = max(aim_mps, 0.0) - ego.speed_mps
        self._integral_mps2 += INTEGRAL_PER_S2 * error * TICK_S
        self._integral_mps2 = min(max(self._integral_mps2, -INTEGRAL_MPS2), INTEGRAL_MPS2)
        accel_mps2 = min(max(feed_mps2, -6.0), 3.0) + GAIN_PER_S * error + self._integral_mps2
        return self._pedals(accel_mps2, max(wanted_mps, 0.0), ego.speed_mps, steer)

    def _pedals(self, accel_mps2: float, wanted_mps: float, speed_mps: float, steer: float) -> Control:
        if wanted_mps < STAND_MPS and speed_mps < STAND_MPS:
            self._integral_mps2 = 0.0
            return Control(steer, 0.0, HOLD_BRAKE)
        drag_mps2 = EGO.rolling_mps2 + EGO.drag_per_m * speed_mps * speed_mps
        push_mps2 = accel_mps2 + drag_mps2
        if push_mps2 >= 0.0:
            return Control(steer, min(push_mps2 / EGO.max_accel_mps2, 1.0), 0.0)
        return Control(steer, 0.0, min(-push_mps2 / EGO.max_brake_mps2, 1.0))

    def _steer(
        self,
        path_m: np.ndarray,
        along_m: np.ndarray,
        done_m: float,
        x_m: float,
        y_m: float,
        yaw_rad: float,
        speed_mps: float,
    ) -> float:
        """Pure pursuit of the rear axle; beyond its end the path goes on straight."""
        target_m = done_m + max(LOOK_AHEAD_S * speed_mps, LOOK_AHEAD_MIN_M)
        tx = float(np.interp(target_m, along_m, path_m[:, 0]))
        ty = float(np.interp(target_m, along_m, path_m[:, 1]))
        beyond_m = target_m - float(along_m[-1])
        if beyond_m > 0.0:
            ux, uy = _end_direction(path_m, along_m)
            tx, ty = tx + beyond_m * ux, ty + beyond_m * uy
        rear_m = EGO.rear_to_centre_m
        dx = tx - (x_m - rear_m * math.cos(yaw_rad))
        dy = ty - (y_m - rear_m * math.sin(yaw_rad))
        left_m = -math.sin(yaw_rad) * dx + math.cos(yaw_rad) * dy
        curvature = 2.0 * left_m / max(dx * dx + dy * dy, 1.0)
        return min(max(math.atan(EGO.wheel_base_m * curvature) / EGO.max_steer_rad, -1.0), 1.0)


def _path(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (9,), points (9, 2) from the pose of planning on, and path length (9,), of a plan."""
    path_m = np.zeros((PLAN_POINTS + 1, 2))
    path_m[1:] = plan.waypoints_m
    steps = np.diff(path_m, axis=0)
    along_m = np.zeros(PLAN_POINTS + 1)
    along_m[1:] = np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))
    return np.arange(PLAN_POINTS + 1) * PLAN_STEP_S, path_m, along_m


def _smoothing(price: float) -> np.ndarray:
    """(8, 8): residual positions along the path -> accelerations, least squares with a price on their changes.

    A network's waypoints err by decimetres; their second differences over half a second would err by metres per second
    squared and make the car stutter. NAVSIM's tracker fits its velocity profile in the same way.
    """
    step, count = PLAN_STEP_S, PLAN_POINTS
    reach = np.array(
        [[max(k - j, 0) - 0.5 if k > j else 0.0 for j in range(count)] for k in range(1, count + 1)]
    )
    reach = reach * step * step
    change = np.diff(np.eye(count), axis=0)
    return np.linalg.solve(reach.T @ reach + price * change.T @ change, reach.T)


_SMOOTHING, _FIRM_SMOOTHING = _smoothing(CHANGE_PRICE), _smoothing(FIRM_CHANGE_PRICE)


def _smooth_accels(along_m: np.ndarray, speed_mps: float) -> np.ndarray:
    """(8,) accelerations along a plan, one for each half second, from the speed at its pose."""
    times_s = np.arange(1, PLAN_POINTS + 1) * PLAN_STEP_S
    then_mps = (along_m[FIRM_POINTS] - along_m[FIRM_POINTS - 1]) / PLAN_STEP_S
    firm = speed_mps - then_mps > FIRM_MPS2 * (FIRM_POINTS - 0.5) * PLAN_STEP_S
    smoothing = _FIRM_SMOOTHING if firm else _SMOOTHING
    return np.asarray(smoothing @ (along_m[1:] - speed_mps * times_s))


def _into(plan_pose: EgoState, ego: EgoState) -> tuple[float, float, float]:
    """The ego's pose in the frame of the plan."""
    dx, dy = ego.x_m - plan_pose.x_m, ego.y_m - plan_pose.y_m
    cos, sin = math.cos(plan_pose.yaw_rad), math.sin(plan_pose.yaw_rad)
    return cos * dx + sin * dy, -sin * dx + cos * dy, ego.yaw_rad - plan_pose.yaw_rad


def _at(time_s: float, times_s: np.ndarray, along_m: np.ndarray) -> float:
    """Path length at a time; before 0 and after the end at the speed there."""
    if time_s < 0.0:
        return time_s * float(along_m[1]) / PLAN_STEP_S
    if time_s > times_s[-1]:
        return float(along_m[-1] + (time_s - times_s[-1]) * (along_m[-1] - along_m[-2]) / PLAN_STEP_S)
    return float(np.interp(time_s, times_s, along_m))


def _project(path_m: np.ndarray, along_m: np.ndarray, x_m: float, y_m: float) -> float:
    """Path length at the point of the path nearest to (x, y); beyond the end along its last direction."""
    start, step = path_m[:-1], np.diff(path_m, axis=0)
    length = np.diff(along_m)
    square = np.maximum(length * length, 1e-9)
    share = ((x_m - start[:, 0]) * step[:, 0] + (y_m - start[:, 1]) * step[:, 1]) / square
    held = np.clip(share, 0.0, 1.0)
    gap = (start[:, 0] + held * step[:, 0] - x_m) ** 2 + (start[:, 1] + held * step[:, 1] - y_m) ** 2
    best = int(gap.argmin())
    if best == len(length) - 1 or along_m[-1] - along_m[best + 1] < 1e-6:
        ux, uy = _end_direction(path_m, along_m)
        over_m = (x_m - path_m[-1, 0]) * ux + (y_m - path_m[-1, 1]) * uy
        if over_m > 0.0:
            return float(along_m[-1]) + over_m
    return float(along_m[best] + held[best] * length[best])


def _end_direction(path_m: np.ndarray, along_m: np.ndarray) -> tuple[float, float]:
    """Unit direction of the last half metre or more of a path; straight ahead for a path without length."""
    for i in range(len(path_m) - 2, -1, -1):
        reach_m = float(along_m[-1] - along_m[i])
        if reach_m > 0.5:
            dx, dy = path_m[-1] - path_m[i]
            norm = math.hypot(dx, dy)
            if norm > 1e-6:
                return float(dx / norm), float(dy / norm)
    return 1.0, 0.0
