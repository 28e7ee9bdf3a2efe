"""SafeAlign's longitudinal re-plans (3.3): along the route's centre line, one acceleration a stage, two stages.

Accelerations are proportional to the present speed. The paper gives neither K nor the factors nor the stages' lengths:
ours are two stages that end with the two meta-actions (T_s and T_p), and every pair of `RATES_PS`, so K = 49.
"""

from __future__ import annotations

import itertools

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..vocabulary import PLAN_HORIZON_S, PLAN_POINTS, PLAN_STEP_S
from .meta_actions import SHORT_TERM_S
from .proposals import HARD_BRAKE_MPS2, Start, swerve
from .scene import Scene
from .tracker import STEP_S

Array = NDArray[np.float64]

RATES_PS = (-0.8, -0.5, -0.3, -0.15, 0.0, 0.1, 0.2)  # acceleration by speed: 1/s
FLOOR_MPS = 5.0  # what slower cars' accelerations are proportional to, or a standing car could never go
MAX_ACCEL_MPS2 = 2.4  # the comfort bound


def two_stage_plans(
    scene: Scene,
    speed_limit_mps: float,
    rates_ps: tuple[float, ...] = RATES_PS,
    offsets_m: tuple[float, ...] = (0.0,),
    *,
    stage_s: float = SHORT_TERM_S,
    floor_mps: float = FLOOR_MPS,
) -> Array:
    """Re-plans of a scene: every pair of accelerations beside every offset.

    Args:
        scene: Its ego and route; nobody else is looked at.
        speed_limit_mps: No plan exceeds it, nor the present speed where that is higher.
        rates_ps: R factors of the present speed.
        offsets_m: O distances to the left of the centre line; 0 alone is the paper's.
        stage_s: When the second stage begins.
        floor_mps: Least speed that the factors are taken of.

    Returns:
        (O * R * R, 8, 3) box centre, ego frame; offset after offset.
    """
    start = Start.of(scene)
    stages = np.array(list(itertools.product(rates_ps, rates_ps)))
    accel = np.clip(stages * max(start.speed_mps, floor_mps), -HARD_BRAKE_MPS2, MAX_ACCEL_MPS2)
    driven = travelled_m(start.speed_mps, accel, stage_s, max(start.speed_mps, speed_limit_mps))
    along = np.tile(driven, (len(offsets_m), 1))
    goals = np.repeat([(offset, start.swerve_length_m(offset)) for offset in offsets_m], len(driven), axis=0)
    out = np.empty((len(along), PLAN_POINTS, 2))
    _aside(along, goals, start.left_m, start.slope, out)
    return start.plans(start.along_m + along, out[..., 0], out[..., 1])


def travelled_m(speed_mps: float, accel_mps2: Array, stage_s: float, most_mps: float) -> Array:
    """Distance driven every 0.5 s under piecewise constant acceleration; a car that stands stays.

    Args:
        speed_mps: At the start.
        accel_mps2: (K, 2) of the first stage and of the second.
        stage_s: When the second begins.
        most_mps: No speed above.

    Returns:
        (K, 8) metres.
    """
    speed, gone = np.full(len(accel_mps2), speed_mps), np.zeros(len(accel_mps2))
    out = []
    every = round(PLAN_STEP_S / STEP_S)
    for step in range(round(PLAN_HORIZON_S / STEP_S)):
        accel = accel_mps2[:, 0 if step * STEP_S < stage_s - 1e-9 else 1]
        end = np.clip(speed + accel * STEP_S, 0.0, most_mps)
        # In a step that ends at a bound the acceleration lasts only until the bound.
        lasts_s = np.divide(end - speed, accel, out=np.full_like(speed, STEP_S), where=accel != 0.0)
        gone = gone + 0.5 * (speed + end) * lasts_s + end * (STEP_S - lasts_s)
        speed = end
        if (step + 1) % every == 0:
            out.append(gone)
    return np.stack(out, 1)


@njit("void(float64[:, ::1], float64[:, ::1], float64, float64, float64[:, :, ::1])", cache=True)
def _aside(along: Array, goals: Array, left: float, slope: float, out: Array) -> None:
    """Fill out (P, 8, 2) with left and slope of plans that swerve to goals (P, 2: offset, swerve length)."""
    for p in range(along.shape[0]):
        for k in range(along.shape[1]):
            out[p, k, 0], out[p, k, 1] = swerve(
                along[p, k] / goals[p, 1], left, slope, goals[p, 0], goals[p, 1]
            )
