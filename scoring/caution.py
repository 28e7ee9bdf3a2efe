"""The over-caution ledger: what a policy gains by timidity is counted against it (methods.md 7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

PHANTOM_MPS2 = 2.0  # braking harder than this ...
PHANTOM_TTC_S = 5.0  # ... with nothing nearer than this is without a cause
PHANTOM_HOLD_S = 0.2  # shorter is no braking
STANDSTILL_MPS = 0.1


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
