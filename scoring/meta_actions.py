"""SafeAlign's meta-actions (3.2): what a plan does in words, speed and direction, soon and later.

Short words for the sets of the paper: maintain (speed), keep (lane), change_left (change lane towards left).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..vocabulary import PLAN_HORIZON_S, PLAN_POINTS, PLAN_STEP_S

SPEED_ACTIONS = ("maintain", "accelerate", "decelerate")
DIRECTION_ACTIONS = ("keep", "turn_left", "turn_right", "change_left", "change_right")
SHORT_TERM_S = 1.0  # T_s: the first meta-action is of (t, t + T_s), the second of (t + T_s, t + T_p)

SPEED_CHANGE_MPS2 = 0.5  # mean over the window of a meta-action: less is `maintain`
TURN_RAD = math.radians(20.0)  # of the whole plan: less is no turn
TURN_RATE_RADPS = math.radians(4.0)  # mean over the window
CHANGE_M = 1.5  # sideways at the plan's end: less is no lane change
CHANGE_RATE_MPS = 0.25  # sideways, mean over the window
STANDING_M = 0.2  # steps below keep the heading
Meta = tuple[str, str]
Array = NDArray[np.float64]


def meta_actions(waypoints_m: ArrayLike, speed_mps: float) -> tuple[Meta, Meta]:
    """The two meta-actions of a plan: of its first second, and of the other three.

    Args:
        waypoints_m: (8, 2) or (8, 3), ego frame.
        speed_mps: At the start.

    Returns:
        Two of (`SPEED_ACTIONS`, `DIRECTION_ACTIONS`).
    """
    points = np.vstack(([[0.0, 0.0]], np.asarray(waypoints_m, np.float64)[:, :2]))
    steps = np.diff(points, axis=0)
    length = np.hypot(steps[:, 0], steps[:, 1])
    speeds = np.concatenate(([speed_mps], length / PLAN_STEP_S))  # of the half second before each point
    heading = np.zeros(PLAN_POINTS + 1)
    for i in range(PLAN_POINTS):
        moving = length[i] > STANDING_M
        heading[i + 1] = math.atan2(steps[i, 1], steps[i, 0]) if moving else heading[i]
    heading = np.unwrap(heading)
    turns = abs(heading[-1]) > TURN_RAD
    changes = not turns and abs(points[-1, 1]) > CHANGE_M

    def does(start_s: float, end_s: float) -> Meta:
        start, end = round(start_s / PLAN_STEP_S), round(end_s / PLAN_STEP_S)
        window_s = end_s - start_s
        turned = float(heading[end] - heading[start]) / window_s if turns else 0.0
        moved = float(points[end, 1] - points[start, 1]) / window_s if changes else 0.0
        return _speed(float(speeds[end] - speeds[start]) / window_s), _direction(turned, moved)

    return does(0.0, SHORT_TERM_S), does(SHORT_TERM_S, PLAN_HORIZON_S)


def agreement(claimed: tuple[Meta, Meta], waypoints_m: ArrayLike, speed_mps: float) -> float:
    """How much of what was said a plan does.

    Args:
        claimed: Meta-actions, of a C-CoT.
        waypoints_m: (8, 2) or (8, 3), the plan, ego frame.
        speed_mps: At the start.

    Returns:
        Share of the four words, 0 to 1.
    """
    done = meta_actions(waypoints_m, speed_mps)
    pairs = zip((*claimed[0], *claimed[1]), (*done[0], *done[1]), strict=True)
    return sum(said == did for said, did in pairs) / 4.0


def _speed(accel_mps2: float) -> str:
    if abs(accel_mps2) <= SPEED_CHANGE_MPS2:
        return "maintain"
    return "accelerate" if accel_mps2 > 0.0 else "decelerate"


def _direction(turn_radps: float, aside_mps: float) -> str:
    if abs(turn_radps) > TURN_RATE_RADPS:
        return "turn_left" if turn_radps > 0.0 else "turn_right"
    if abs(aside_mps) > CHANGE_RATE_MPS:
        return "change_left" if aside_mps > 0.0 else "change_right"
    return "keep"
