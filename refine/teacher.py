"""ELF-VLA's teacher: a five-part report on a plan that failed, by rule on recorded state or from an endpoint.

A correction prompt shows SafeAlign's four-level block (the default, and what the policy has seen in SFT), or the report.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..models.prompts import Reasoning
from ..scoring.analysis import NegativeAnalysis, Risk, half, negative_analysis
from ..scoring.meta_actions import SHORT_TERM_S, Meta, agreement
from ..scoring.scene import Scene
from ..vocabulary import PLAN_HORIZON_S, Analysis, Float, PolicyInput

MAX_PART_CHARS = 240  # of a report from elsewhere: a part is a sentence
SLOW_M = 2.0  # behind the better plan: an efficiency failure
WORTH = 0.5  # metres or metres a second: corrections below are not worth a word

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

    def short(self) -> str:
        """All parts on one line, for a prompt."""
        return (
            f"meta-action: {self.meta_action}; reasoning: {self.think_process}; safety: {self.safety}; "
            f"efficiency: {self.efficiency}; lateral: {self.lateral}; longitudinal: {self.longitudinal}"
        )

    def full(self) -> str:
        """JSON, for a pretrained backbone."""
        return json.dumps(self.to_json(), ensure_ascii=False)

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
    """Says what is wrong with a failure."""

    def analyse(self, failure: Failure) -> Analysis:
        """What a correction prompt says of it; never raises for what an endpoint does."""

    def figures(self) -> dict[str, float]:
        """Counts for the stage's report."""


class RuleTeacher:
    """By rule: the block of the SFT stage, or the five-part report."""

    def __init__(self, report: Literal["block", "full"] = "block") -> None:
        self._full = report == "full"

    def analyse(self, failure: Failure) -> Analysis:
        """See `Teacher`."""
        if self._full:
            return rule_report(failure)
        return negative_analysis(failure.scene, failure.bad_m, failure.good_m, failure.visible)

    def figures(self) -> dict[str, float]:
        """Nothing is asked of anybody."""
        return {}


def rule_report(failure: Failure) -> FailureReport:
    """The report from recorded state."""
    found = negative_analysis(failure.scene, failure.bad_m, failure.good_m, failure.visible)
    if failure.reasoning is None:
        thought = "none given"
    else:
        claimed = failure.reasoning.meta_actions
        share = round(4 * agreement(claimed, failure.bad_m, failure.input.speed_mps))
        thought = f"said {_spoken(claimed)}, {share} of 4 words are done"
    late_m = -found.attribution.along_m
    return FailureReport(
        f"planned {_spoken(found.bad.actions)}; needed {_spoken(found.good.actions)}",
        thought,
        _safety(found.risk),
        f"up to {half(late_m)} m behind" if late_m >= SLOW_M else "none",
        _remedy(found, "left", "right", "keep the lane"),
        _remedy(found, "accelerate", "brake", "keep the speed"),
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


def _safety(risk: Risk) -> str:
    who = risk.who or "something"
    when = "" if risk.in_s is None else f" in {half(risk.in_s)} s"
    return {
        "collision": f"collision with {who}{when}",
        "off_road": f"leaves the road{when}",
        "too_near": f"comes within {half(risk.in_s or 0.0)} s of hitting {who}",
        "off_lane": "leaves the lane",
        "unsafe": "unknown, no scene was kept",
    }.get(risk.kind, "none")


def _remedy(found: NegativeAnalysis, more: str, less: str, nothing: str) -> str:
    """What to change in one direction by the ends of the two meta-actions."""
    aside = more == "left"
    said = []
    for one in found.correction:
        size = one.left_m if aside else one.speed_mps
        if one.at_s in (SHORT_TERM_S, PLAN_HORIZON_S) and abs(size) >= WORTH:
            said.append(
                f"{more if size > 0 else less} {half(size)} {'m' if aside else 'm/s'} by {one.at_s:.0f} s"
            )
    return ", ".join(said) or nothing


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)
