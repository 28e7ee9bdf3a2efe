"""The negative-analysis block of SafeAlign 3.4: what is wrong with a plan, measured against a safe one.

Four levels: risk identification, failure attribution (along and across), counterfactual, actionable
correction.
"""

from __future__ import annotations

import numpy as np

from ..vocabulary import PLAN_STEP_S, Float


def analyse(bad_m: Float, good_m: Float) -> str:
    """Compare two plans in words with magnitudes and times.

    Args:
        bad_m: (8, 2) metres, ego frame.
        good_m: (8, 2).

    Returns:
        One line, numbers on a grid of 0.5, so that a small vocabulary covers it.
    """
    gap = np.asarray(bad_m, np.float64) - np.asarray(good_m, np.float64)
    off = np.linalg.norm(gap, axis=1)
    along, across = float(gap[-1, 0]), float(gap[-1, 1])
    first = int(np.argmax(off > 0.5)) if (off > 0.5).any() else len(off) - 1
    pace = "too fast" if along > 0 else "too slow"
    side = "left" if across > 0 else "right"
    cause = f"{pace} by {_half(along)} m" if abs(along) >= abs(across) else f"{side} by {_half(across)} m"
    slope = along / (len(gap) * PLAN_STEP_S)
    speed = f"{'slow down' if along > 0 else 'speed up'} {_half(slope)} m/s"
    turn = f", {'right' if across > 0 else 'left'} {_half(across)} m" if abs(across) >= 0.25 else ""
    return (
        f"unsafe, {_half(float(off.mean()))} m off: {cause}; keeping it: collision; "
        f"{speed}{turn} from {(first + 1) * PLAN_STEP_S:.1f} s"
    )


def _half(value: float) -> str:
    return f"{round(abs(value) * 2) / 2:.1f}"
