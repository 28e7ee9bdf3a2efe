"""The negative-analysis block of SafeAlign 3.4: what is wrong with a plan, in words, against a better one.

Only road users that the policy's pictures show are named. Numbers are on a grid of 0.5, so that a small vocabulary
covers them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..vocabulary import PLAN_HORIZON_S, PLAN_STEP_S, ActorKind
from .conflicts import conflicts, off_road_s
from .pdms import score_tracks, track_plans
from .scene import KINDS, Scene
from .tracker import SPEED

NEAR_S = 2.0  # a time to collision below is worth a word
_NOUNS = {
    ActorKind.VEHICLE: "car",
    ActorKind.WALKER: "walker",
    ActorKind.CYCLIST: "cyclist",
    ActorKind.STATIC: "barrier",
}


def negative_analysis(
    scene: Scene | None, bad_m: ArrayLike, good_m: ArrayLike, visible: frozenset[int]
) -> str:
    """Four levels: risk, failure along and across, counterfactual, correction.

    Args:
        scene: Of the tick; None where only the plans are known, and then the risk has no name.
        bad_m: (8, 2) or (8, 3), the rejected plan.
        good_m: Likewise, the chosen one.
        visible: Actors that may be named.

    Returns:
        One line, its four parts set off by semicolons.
    """
    bad, good = np.asarray(bad_m, np.float64), np.asarray(good_m, np.float64)
    gap = bad[-1, :2] - good[-1, :2]
    wrong, right = [], []
    if abs(gap[0]) >= 1.0:
        wrong.append(f"too {'fast' if gap[0] > 0 else 'slow'} {half(gap[0])} m")
        right.append(f"{'brake' if gap[0] > 0 else 'accelerate'} {half(gap[0] / PLAN_HORIZON_S)} m/s")
    if abs(gap[1]) >= 0.5:
        wrong.append(f"{'left' if gap[1] > 0 else 'right'} {half(gap[1])} m")
        right.append(f"{'right' if gap[1] > 0 else 'left'} {half(gap[1])} m")
    off = np.hypot(*(bad[:, :2] - good[:, :2]).T)
    start_s = (int(np.argmax(off > 0.5)) if (off > 0.5).any() else 0) * PLAN_STEP_S
    risk, otherwise = ("unsafe", "safe") if scene is None else _consequences(scene, bad, good, visible)
    parts = (
        risk,
        ", ".join(wrong or ["timing"]),
        f"otherwise {otherwise}",
        f"{', '.join(right or ['keep the lane'])} from {start_s:.1f} s",
    )
    return "; ".join(parts)


def noun(scene: Scene, index: int) -> str:
    """What an agent is called."""
    return _NOUNS[KINDS[scene.agent_kind[index]]]


def half(value: float) -> str:
    """A size on a grid of 0.5."""
    return f"{round(abs(float(value)) * 2) / 2:.1f}"


def _consequences(
    scene: Scene, bad_m: NDArray[np.float64], good_m: NDArray[np.float64], visible: frozenset[int]
) -> tuple[str, str]:
    """What the bad plan leads to, and the good one."""
    bad, good = track_plans(scene, bad_m[None])[0], track_plans(scene, good_m[None])[0]
    scores = score_tracks(scene, good[None])
    return _failure(scene, bad, good, visible), "safe" if scores.nc[0] * scores.dac[0] == 1.0 else "less harm"


def _failure(
    scene: Scene, bad: NDArray[np.float64], good: NDArray[np.float64], visible: frozenset[int]
) -> str:
    contact, ttc = conflicts(scene, bad)
    off_s = off_road_s(scene, bad)
    first = int(contact.argmin()) if len(contact) else -1
    if first >= 0 and contact[first] <= off_s and math.isfinite(contact[first]):
        return f"collision {_name(scene, first, visible)} in {half(contact[first])} s"
    if math.isfinite(off_s):
        return f"leaves the road in {half(off_s)} s"
    near = int(ttc.argmin()) if len(ttc) else -1
    if near >= 0 and ttc[near] < NEAR_S:
        return f"too near {_name(scene, near, visible)}, {half(ttc[near])} s"
    return "too slow" if bad[-1, SPEED] < good[-1, SPEED] else "leaves the lane"


def _name(scene: Scene, index: int, visible: frozenset[int]) -> str:
    return noun(scene, index) if int(scene.agent_ids[index]) in visible else "something hidden"
