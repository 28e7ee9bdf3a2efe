"""Does a policy do what it says? Its C-CoT's meta-actions against the plan that it writes, and the one that it drives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..scoring.meta_actions import Meta, agreement
from ..vocabulary import Plan, PolicyInput
from .actions import ActionCodec
from .prompts import ParseFailure, parse_answer

BATCH = 16  # scenes reasoned about at once
SILENCE: tuple[Meta, Meta] = (("maintain", "keep"), ("maintain", "keep"))
NO_REASONING = "no_reasoning"  # a plan without a C-CoT: an answer, but not to what was asked


class Reasons(Protocol):
    """What is needed of a `Policy`."""

    codec: ActionCodec

    def reason(self, inputs: Sequence[PolicyInput]) -> list[str]:
        """C-CoT and action tokens as text."""
        ...

    def try_plan(self, inputs: Sequence[PolicyInput], generation: str) -> Sequence[Plan | None]:
        """Plans of the decoder that drives."""
        ...


@dataclass(frozen=True, slots=True)
class ReasoningReport:
    """Figures over some scenes; NaN where nothing can be said.

    Attributes:
        scenes: How many.
        parsed: Share of the answers with a well-formed C-CoT and a plan, 0 to 1.
        failures: How many of the others there are by `ParseCode`, or `no_reasoning`.
        with_text_plan: Mean agreement of the meta-actions with the action tokens behind them, 0 to 1.
        with_driven_plan: Mean agreement with the plan that is driven.
        of_silence: What always saying "maintain, keep" would score with the driven plan: words that score no more than
            this tell nothing.
        gap_m: Mean distance (ADE) between the two plans.
    """

    scenes: int
    parsed: float
    failures: dict[str, int]
    with_text_plan: float
    with_driven_plan: float
    of_silence: float
    gap_m: float


def reasoning_agreement(policy: Reasons, inputs: Sequence[PolicyInput]) -> ReasoningReport:
    """Ask a policy to reason about scenes and to plan them, and compare.

    Args:
        policy: A `Policy`.
        inputs: The scenes.
    """
    texts = [text for i in range(0, len(inputs), BATCH) for text in policy.reason(inputs[i : i + BATCH])]
    driven = policy.try_plan(inputs, "")
    failures: Counter[str] = Counter()
    said: list[float] = []
    done: list[float] = []
    silent: list[float] = []
    gaps: list[float] = []
    for item, text, plan in zip(inputs, texts, driven, strict=True):
        answer = parse_answer(text, len(policy.codec))
        if isinstance(answer, ParseFailure) or answer.reasoning is None:
            failures[answer.code.value if isinstance(answer, ParseFailure) else NO_REASONING] += 1
            continue
        written = policy.codec.decode(answer.actions, item.speed_mps)
        said.append(agreement(answer.reasoning.meta_actions, written, item.speed_mps))
        if plan is not None:
            done.append(agreement(answer.reasoning.meta_actions, plan.waypoints_m, item.speed_mps))
            silent.append(agreement(SILENCE, plan.waypoints_m, item.speed_mps))
            gaps.append(float(np.hypot(*(written - plan.waypoints_m).T).mean()))
    return ReasoningReport(
        scenes=len(inputs),
        parsed=1.0 - sum(failures.values()) / len(inputs) if inputs else float("nan"),
        failures=dict(failures.most_common()),
        with_text_plan=_mean(said),
        with_driven_plan=_mean(done),
        of_silence=_mean(silent),
        gap_m=_mean(gaps),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
