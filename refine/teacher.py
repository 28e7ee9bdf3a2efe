"""ELF-VLA's teacher: a five-part report on a plan that failed, by rule on recorded state or from an endpoint.

What a correction prompt shows of it are words. By rule these are SafeAlign's four-level block (the default, and what
the policy has seen in SFT) or the report in full.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..models.prompts import Reasoning
from ..scoring.analysis import half, negative_analysis, noun
from ..scoring.conflicts import conflicts, off_road_s
from ..scoring.meta_actions import Meta, agreement, meta_actions
from ..scoring.pdms import score_tracks, track_plans
from ..scoring.scene import Scene
from ..vocabulary import PLAN_HORIZON_S, PLAN_STEP_S, Float, PolicyInput

MAX_PART_CHARS = 240  # of a report from elsewhere: a part is a sentence
NEAR_S = 2.0  # a time to collision below is a safety failure (TTC_risk of SafeAlign)
SLOW_M = 2.0  # progress lost that is an efficiency failure

_MARKUP = re.compile(r"<\S[^>]*>|<\|")


@dataclass(frozen=True, slots=True)
class Failure:
    """A trajectory that earned too little.

    Attributes:
        input: What the policy saw.
        scene: What the plan is scored against; None where none was kept.
        bad_m: (8, 2) metres, the plan.
        good_m: (8, 2), the positive anchor.
        visible: Actors that may be named.
        reasoning: The C-CoT that came with the plan, if any.
    """

    input: PolicyInput
    scene: Scene | None
    bad_m: Float
    good_m: Float
    visible: frozenset[int] = frozenset()
    reasoning: Reasoning | None = None


@dataclass(frozen=True, slots=True)
class FailureReport:
    """ELF-VLA's five parts; the fifth, the correction, in its two directions."""

    meta_action: str
    think_process: str
    safety: str
    efficiency: str
    lateral: str
    longitudinal: str

    def words(self) -> str:
        """All parts on one line, for a prompt."""
        return (
            f"meta-action: {self.meta_action}; reasoning: {self.think_process}; safety: {self.safety}; "
            f"efficiency: {self.efficiency}; lateral: {self.lateral}; longitudinal: {self.longitudinal}"
        )

    def to_json(self) -> dict[str, Any]:
        """The form that `parse_report` reads."""
        return {
            "meta_action": self.meta_action,
            "think_process": self.think_process,
            "safety": self.safety,
            "efficiency": self.efficiency,
            "correction": {"lateral": self.lateral, "longitudinal": self.longitudinal},
        }


@dataclass(frozen=True, slots=True)
class TeacherFailure:
    """Why there is no report."""

    reason: str


class Teacher(Protocol):
    """Finds words for a failure."""

    def words(self, failure: Failure) -> str:
        """What a correction prompt says of it; never empty, never raises for what an endpoint does."""

    def figures(self) -> dict[str, float]:
        """Counts for the stage's report."""


class RuleTeacher:
    """Words by rule: the block of the SFT stage, or the report in full."""

    def __init__(self, report: Literal["block", "full"] = "block") -> None:
        self._full = report == "full"

    def words(self, failure: Failure) -> str:
        """See `Teacher`."""
        if self._full:
            return rule_report(failure).words()
        return negative_analysis(failure.scene, failure.bad_m, failure.good_m, failure.visible)

    def figures(self) -> dict[str, float]:
        """Nothing is asked of anybody."""
        return {}


def rule_report(failure: Failure) -> FailureReport:
    """The report from recorded state."""
    bad, good = np.asarray(failure.bad_m, np.float64), np.asarray(failure.good_m, np.float64)
    speed = failure.input.speed_mps
    done, needed = meta_actions(bad, speed), meta_actions(good, speed)
    if failure.reasoning is None:
        thought = "none given"
    else:
        claimed = failure.reasoning.meta_actions
        share = round(4 * agreement(claimed, bad, speed))
        thought = f"said {_spoken(claimed)}, {share} of 4 words are done"
    gap = bad[-1] - good[-1]
    start_s = _apart_s(bad, good)
    along, aside = "keep the speed", "keep the lane"
    if abs(gap[0]) >= 1.0:
        verb = "brake" if gap[0] > 0 else "accelerate"
        along = f"{verb} {half(gap[0] / PLAN_HORIZON_S)} m/s from {start_s:.1f} s"
    if abs(gap[1]) >= 0.5:
        aside = f"{'right' if gap[1] > 0 else 'left'} {half(gap[1])} m from {start_s:.1f} s"
    safety, efficiency = "unknown, no scene was kept", _pace(float(gap[0]))
    if failure.scene is not None:
        safety, efficiency = _consequences(failure.scene, bad, good, failure.visible)
    return FailureReport(
        f"planned {_spoken(done)}; needed {_spoken(needed)}", thought, safety, efficiency, aside, along
    )


def parse_report(text: str) -> FailureReport | TeacherFailure:
    """Read a report from elsewhere; any text gives a value, never an exception.

    Exactly the five keys, every part one printable line without markup: the words go into prompts, where a special
    token would be obeyed.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError):
        return TeacherFailure("the report is not JSON")
    keys = {"meta_action", "think_process", "safety", "efficiency", "correction"}
    if not isinstance(value, dict) or set(value) != keys:
        return TeacherFailure("the report needs exactly the keys " + ", ".join(sorted(keys)))
    correction = value.pop("correction")
    if not isinstance(correction, dict) or set(correction) != {"lateral", "longitudinal"}:
        return TeacherFailure("the correction needs exactly the keys lateral, longitudinal")
    parts = {**value, **correction}
    for key, part in parts.items():
        if not isinstance(part, str) or not part.strip() or len(part) > MAX_PART_CHARS:
            return TeacherFailure(f"{key} must be a text of 1 to {MAX_PART_CHARS} characters")
        if not part.isprintable() or _MARKUP.search(part):
            return TeacherFailure(f"{key} holds a line break, a control character or markup")
    return FailureReport(**{key: part.strip() for key, part in parts.items()})


def _spoken(meta: tuple[Meta, Meta]) -> str:
    return " then ".join(f"{speed} {direction}" for speed, direction in meta)


def _apart_s(bad: NDArray[np.float64], good: NDArray[np.float64]) -> float:
    """When the two plans part by more than half a metre."""
    off = np.hypot(*(bad[:, :2] - good[:, :2]).T) > 0.5
    return float(np.argmax(off)) * PLAN_STEP_S if off.any() else 0.0


def _pace(gap_m: float) -> str:
    return f"{half(gap_m)} m too slow" if gap_m <= -SLOW_M else "none"


def _consequences(
    scene: Scene, bad_m: NDArray[np.float64], good_m: NDArray[np.float64], visible: frozenset[int]
) -> tuple[str, str]:
    """Safety and efficiency of the bad plan as it would be driven."""
    tracks = track_plans(scene, np.stack((bad_m[:, :2], good_m[:, :2])))
    scores = score_tracks(scene, tracks)
    contact, ttc = conflicts(scene, tracks[0])
    off_s = off_road_s(scene, tracks[0])
    first = int(contact.argmin()) if len(contact) else -1
    near = int(ttc.argmin()) if len(ttc) else -1
    lost_m = float(scores.progress_m[1] - scores.progress_m[0])
    if first >= 0 and math.isfinite(contact[first]) and contact[first] <= off_s:
        safety = f"collision with {_name(scene, first, visible)} in {half(contact[first])} s"
    elif math.isfinite(off_s):
        safety = f"leaves the road in {half(off_s)} s"
    elif near >= 0 and ttc[near] < NEAR_S:
        safety = f"time to collision {half(ttc[near])} s with {_name(scene, near, visible)}"
    else:
        safety = "none"
    made = f"progress {half(scores.progress_m[0])} m"
    return safety, f"{made}, {half(lost_m)} m less than possible" if lost_m >= SLOW_M else "none"


def _name(scene: Scene, index: int, visible: frozenset[int]) -> str:
    return noun(scene, index) if int(scene.agent_ids[index]) in visible else "something hidden"


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)
