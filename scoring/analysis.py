"""The negative-analysis block of SafeAlign 3.4: what is wrong with a plan against a better one, on four levels.

Only road users that the policy's pictures show are named. In the short form numbers are on a grid of 0.5, so that a
small vocabulary covers them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..vocabulary import PLAN_HORIZON_S, PLAN_STEP_S, ActorKind
from .conflicts import conflicts, off_road_s
from .frames import into_world
from .meta_actions import SHORT_TERM_S, Meta, meta_actions
from .pdms import score_tracks, track_plans
from .proposals import Line
from .scene import KINDS, Scene
from .tracker import SPEED

Array = NDArray[np.float64]

NEAR_S = 2.0  # a time to collision below is worth a word
APART_M = 0.5  # plans nearer to each other than this do the same
WORTH_M, WORTH_MPS = 0.5, 0.5  # corrections below are not worth a word
_NOUNS = {
    ActorKind.VEHICLE: "car",
    ActorKind.WALKER: "walker",
    ActorKind.CYCLIST: "cyclist",
    ActorKind.STATIC: "barrier",
}
_SHORT = {"off_road": "off road", "too_near": "too near", "too_slow": "too slow", "off_lane": "off lane"}
_LONG = {
    "off_road": "leaves the road",
    "off_lane": "leaves the lane",
    "too_slow": "is slower than need be",
    "unsafe": "is worse",
}


@dataclass(frozen=True, slots=True)
class Risk:
    """Level 1, risk identification: the scene is unsafe, and how far the plan is from the safe one.

    Attributes:
        kind: collision, off_road, too_near, too_slow, off_lane, or unsafe where only the plans are known.
        who: Of a collision or of being too near; "" for nobody.
        in_s: When; of too_near the least time to collision. None where time says nothing.
        off_m: Mean distance from the safe plan.
        end_off_m: Distance at the plans' ends.
    """

    kind: str
    who: str
    in_s: float | None
    off_m: float
    end_off_m: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """Level 2, failure attribution: the error along the route and across it, and which of them is the cause.

    Attributes:
        along_m: Largest lead over the safe plan; negative for lagging behind it.
        left_m: Largest distance to the left of it; negative to the right.
        primary: longitudinal or lateral: what more of the squared error is.
        since_s: First waypoint at which the plans are apart; None if they never are.
    """

    along_m: float
    left_m: float
    primary: str
    since_s: float | None


@dataclass(frozen=True, slots=True)
class Alternative:
    """Level 3, counterfactual analysis: an action and what comes of it.

    Attributes:
        actions: The two meta-actions.
        outcome: A kind of `Risk`, safe, or less_harm.
    """

    actions: tuple[Meta, Meta]
    outcome: str


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Level 4, actionable correction: what to change by a time.

    Attributes:
        at_s: The time.
        speed_mps: Of the safe plan less that of the bad one: negative for braking.
        left_m: How far to be moved to the left by then; negative to the right.
    """

    at_s: float
    speed_mps: float
    left_m: float


@dataclass(frozen=True, slots=True)
class NegativeAnalysis:
    """The four levels."""

    risk: Risk
    attribution: Attribution
    bad: Alternative
    good: Alternative
    correction: tuple[Adjustment, ...]  # every 0.5 s

    def short(self) -> str:
        """One line for a small vocabulary, its four parts set off by semicolons."""
        return "; ".join((self._risk(), ", ".join(self._errors()), self._otherwise(), self._remedy()))

    def full(self) -> str:
        """JSON of the four levels, for a pretrained backbone."""
        risk, cause = self.risk, self.attribution
        when = "" if risk.in_s is None else f" in {risk.in_s:.1f} s"
        what = {
            "collision": f"collides with {risk.who or 'something'}{when}",
            "too_near": f"comes within {risk.in_s or 0.0:.1f} s of hitting {risk.who or 'something'}",
        }.get(risk.kind, _LONG.get(risk.kind, "is unsafe") + when)
        adjustments = [
            {"at_s": a.at_s, "speed_mps": _tenth(a.speed_mps), "left_m": _tenth(a.left_m)}
            for a in self.correction
        ]
        return json.dumps(
            {
                "risk_identification": f"Unsafe: the plan {what}. It is {risk.off_m:.1f} m off the safe "
                f"trajectory on average, {risk.end_off_m:.1f} m at the end.",
                "failure_attribution": {
                    "longitudinal_m": _tenth(cause.along_m),
                    "lateral_m": _tenth(cause.left_m),
                    "primary": cause.primary,
                    "since_s": cause.since_s,
                },
                "counterfactual_analysis": [
                    {"actions": [" ".join(meta) for meta in one.actions], "outcome": one.outcome}
                    for one in (self.bad, self.good)
                ],
                "actionable_correction": adjustments,
            }
        )

    def _risk(self) -> str:
        risk = self.risk
        parts = [_SHORT.get(risk.kind, risk.kind), risk.who]
        parts += [] if risk.in_s is None else [f"in {half(risk.in_s)} s"]
        return " ".join(filter(None, parts)) + f", off {half(risk.off_m)} m"

    def _errors(self) -> list[str]:
        cause = self.attribution
        along = f"too {'fast' if cause.along_m > 0 else 'slow'} {half(cause.along_m)} m"
        aside = f"{'left' if cause.left_m > 0 else 'right'} {half(cause.left_m)} m"
        both = [(along, abs(cause.along_m)), (aside, abs(cause.left_m))]
        if cause.primary == "lateral":
            both.reverse()
        return [text for text, size in both if size >= WORTH_M] or ["timing"]

    def _otherwise(self) -> str:
        """The first meta-action in which the plans differ, each with what comes of it."""
        pairs = zip(self.bad.actions, self.good.actions, strict=True)
        done, instead = next(((b, g) for b, g in pairs if b != g), (None, None))
        if done is None or instead is None:
            return f"so {_outcome(self.bad)}, corrected {_outcome(self.good)}"
        word = 0 if done[0] != instead[0] else 1
        return f"{done[word]} {_outcome(self.bad)}, {instead[word]} {_outcome(self.good)}"

    def _remedy(self) -> str:
        """What to change by the ends of the two meta-actions."""
        said = []
        for one in self.correction:
            if one.at_s not in (SHORT_TERM_S, PLAN_HORIZON_S):
                continue
            changes = []
            if abs(one.speed_mps) >= WORTH_MPS:
                changes.append(f"{'brake' if one.speed_mps < 0 else 'accelerate'} {half(one.speed_mps)} m/s")
            if abs(one.left_m) >= WORTH_M:
                changes.append(f"{'left' if one.left_m > 0 else 'right'} {half(one.left_m)} m")
            said += [f"{' '.join(changes)} by {one.at_s:.0f} s"] if changes else []
        return ", ".join(said) or "keep"


def negative_analysis(
    scene: Scene | None, bad_m: ArrayLike, good_m: ArrayLike, visible: frozenset[int]
) -> NegativeAnalysis:
    """The block of one pair of plans.

    Args:
        scene: Of the tick; None where only the plans are known, and then the risk has no name.
        bad_m: (8, 2) or (8, 3) tau_neg, ego frame.
        good_m: Likewise, tau_pos.
        visible: Actors that may be named.
    """
    bad, good = np.asarray(bad_m, np.float64), np.asarray(good_m, np.float64)
    off = np.hypot(*(bad[:, :2] - good[:, :2]).T)
    kind, who, in_s, outcome = "unsafe", "", None, "safe"
    if scene is not None:
        tracks = track_plans(scene, bad[None])[0], track_plans(scene, good[None])[0]
        kind, who, in_s = _failure(scene, *tracks, visible)
        scores = score_tracks(scene, tracks[1][None])
        outcome = "safe" if scores.nc[0] * scores.dac[0] == 1.0 else "less_harm"
    along, left = _errors(scene, bad, good)
    apart = off > APART_M
    speed = float(np.hypot(*bad[0, :2])) / PLAN_STEP_S if scene is None else scene.ego.speed_mps
    return NegativeAnalysis(
        Risk(kind, who, in_s, float(off.mean()), float(off[-1])),
        Attribution(
            _largest(along),
            _largest(left),
            "lateral" if (left**2).sum() > (along**2).sum() else "longitudinal",
            (int(apart.argmax()) + 1) * PLAN_STEP_S if apart.any() else None,
        ),
        Alternative(meta_actions(bad, speed), kind),
        Alternative(meta_actions(good, speed), outcome),
        tuple(
            Adjustment((k + 1) * PLAN_STEP_S, float(change), float(-aside))
            for k, (change, aside) in enumerate(zip(_speeds(good) - _speeds(bad), left, strict=True))
        ),
    )


def noun(scene: Scene, index: int) -> str:
    """What an agent is called."""
    return _NOUNS[KINDS[scene.agent_kind[index]]]


def half(value: float) -> str:
    """A size on a grid of 0.5."""
    return f"{round(abs(float(value)) * 2) / 2:.1f}"


def _tenth(value: float) -> float:
    return round(value, 1) + 0.0  # no minus zero


def _outcome(one: Alternative) -> str:
    return _SHORT.get(one.outcome, one.outcome.replace("_", " "))


def _errors(scene: Scene | None, bad: Array, good: Array) -> tuple[Array, Array]:
    """How far the bad plan is ahead of the good one and to the left of it, (8,) each: along the route, if it is known."""
    if scene is None:
        return bad[:, 0] - good[:, 0], bad[:, 1] - good[:, 1]
    along, left, _ = Line.of(scene.centerline_m).place(into_world(np.stack((bad, good))[..., :2], scene.ego))
    return along[0] - along[1], left[0] - left[1]


def _largest(values: Array) -> float:
    return float(values[np.abs(values).argmax()])


def _speeds(plan: Array) -> Array:
    """(8,) mean speed of the half second before each waypoint."""
    return np.hypot(*np.diff(plan[:, :2], axis=0, prepend=0.0).T) / PLAN_STEP_S


def _failure(scene: Scene, bad: Array, good: Array, visible: frozenset[int]) -> tuple[str, str, float | None]:
    """What a tracked plan leads to: kind, with whom, when."""
    contact, ttc = conflicts(scene, bad)
    off_s = off_road_s(scene, bad)
    first = int(contact.argmin()) if len(contact) else -1
    if first >= 0 and contact[first] <= off_s and math.isfinite(contact[first]):
        return "collision", _name(scene, first, visible), float(contact[first])
    if math.isfinite(off_s):
        return "off_road", "", off_s
    near = int(ttc.argmin()) if len(ttc) else -1
    if near >= 0 and ttc[near] < NEAR_S:
        return "too_near", _name(scene, near, visible), float(ttc[near])
    return ("too_slow" if bad[-1, SPEED] < good[-1, SPEED] else "off_lane"), "", None


def _name(scene: Scene, index: int, visible: frozenset[int]) -> str:
    seen = index < len(scene.agent_ids) and int(scene.agent_ids[index]) in visible  # ids are not always known
    return noun(scene, index) if seen else "something hidden"
