"""The over-caution ledger: what a policy gains by timidity is counted against it (methods.md 7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..vocabulary import PLAN_STEP_S

PHANTOM_MPS2 = 2.0  # braking harder than this ...
PHANTOM_TTC_S = 5.0  # ... with nothing nearer than this is without a cause
PHANTOM_HOLD_S = 0.2  # shorter is no braking
STANDSTILL_MPS = 0.1
CALM_MPS2 = 1.0  # a target that slows down less than this gives no reason to brake
MOVING_M = 5.0  # a target that goes less far says nothing of progress


@dataclass(frozen=True, slots=True)
class Caution:
    """Of one drive. `standstill_s` leaves out waiting at a red light."""

    phantom_brakes: int
    standstill_s: float
    standstill_share: float


def caution(
    accel_mps2: ArrayLike, speed_mps: ArrayLike, ttc_s: ArrayLike, red_light: ArrayLike, dt_s: float
) -> Caution:
    """Count a drive's needless caution.

    A phantom brake is an unbroken stretch of braking in which no tick had a cause, at least 0.2 s long.

    Args:
        accel_mps2: (T,) along the heading.
        speed_mps: (T,).
        ttc_s: (T,) constant-velocity time to collision, inf for none.
        red_light: (T,) a red or yellow light is near ahead.
        dt_s: Tick.
    """
    braking = np.asarray(accel_mps2, np.float64) < -PHANTOM_MPS2
    red = np.asarray(red_light, np.bool_)
    cause = (np.asarray(ttc_s, np.float64) <= PHANTOM_TTC_S) | red
    standing = (np.abs(np.asarray(speed_mps, np.float64)) < STANDSTILL_MPS) & ~red
    edges = np.flatnonzero(np.diff(np.concatenate(([False], braking, [False])).astype(np.int8)))
    stretches = zip(edges[::2], edges[1::2], strict=True)
    least = round(PHANTOM_HOLD_S / dt_s)
    phantom = sum(end - start >= least and not cause[start:end].any() for start, end in stretches)
    return Caution(
        int(phantom), float(standing.sum() * dt_s), float(standing.mean()) if len(standing) else 0.0
    )


def time_lost_s(champion_s: Sequence[float], challenger_s: Sequence[float], both: Sequence[bool]) -> float:
    """Mean extra duration of the challenger over the cases that both completed; 0 if there is none.

    Args:
        champion_s: Durations, paired by case.
        challenger_s: Durations.
        both: Whether both succeeded.
    """
    extra = [new - old for old, new, counts in zip(champion_s, challenger_s, both, strict=True) if counts]
    return float(np.mean(extra)) if extra else 0.0


@dataclass(frozen=True, slots=True)
class PlanCaution:
    """How timid plans are beside their targets.

    Attributes:
        progress_ratio: Length of the plans over that of the targets, summed over the targets that move; NaN without any.
        needless_brakes: Share of plans that brake harder than PHANTOM_MPS2 over their first two seconds, among those whose
            target slows down by less than CALM_MPS2; NaN without any.
    """

    progress_ratio: float
    needless_brakes: float


def plan_caution(plans_m: ArrayLike, targets_m: ArrayLike, speeds_mps: ArrayLike) -> PlanCaution:
    """Compare plans with what should have been planned.

    Args:
        plans_m: (N, 8, 2) ego frame.
        targets_m: (N, 8, 2).
        speeds_mps: (N,) when they were made.
    """
    steps = [_steps_m(np.asarray(tracks, np.float64)) for tracks in (plans_m, targets_m)]
    plan_m, target_m = (one.sum(axis=1) for one in steps)
    moving = target_m > MOVING_M
    now_mps = np.asarray(speeds_mps, np.float64)
    middle = len(steps[0][0]) // 2 if len(steps[0]) else 0
    plan_mps2, target_mps2 = (
        (now_mps - one[:, middle - 1] / PLAN_STEP_S) / (middle * PLAN_STEP_S) for one in steps
    )
    calm = target_mps2 < CALM_MPS2
    return PlanCaution(
        float(plan_m[moving].sum() / target_m[moving].sum()) if moving.any() else float("nan"),
        float((plan_mps2[calm] > PHANTOM_MPS2).mean()) if calm.any() else float("nan"),
    )


def _steps_m(tracks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 8) lengths of the steps of (N, 8, 2) waypoints, from the origin."""
    return np.asarray(np.linalg.norm(np.diff(tracks, axis=1, prepend=0.0), axis=2))
