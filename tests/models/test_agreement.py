from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from takeover.models.actions import ActionCodec
from takeover.models.agreement import reasoning_agreement
from takeover.models.policy import Policy
from takeover.models.prompts import Reasoning, write_answer, write_reasoning
from takeover.vocabulary import Plan, PolicyInput

from .scenes import make_inputs

STEPS_S = np.linspace(0.5, 4.0, 8)


def keeping(speed_mps: float) -> np.ndarray:
    return np.stack((speed_mps * STEPS_S, np.zeros(8)), 1).astype(np.float32)


class Said:
    """Answers with given texts, and keeps the speed."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts, self.codec = list(texts), ActionCodec()

    def reason(self, inputs: Sequence[PolicyInput]) -> list[str]:
        return [self.texts.pop(0) for _ in inputs]

    def try_plan(self, inputs: Sequence[PolicyInput], generation: str) -> list[Plan | None]:
        return [Plan(keeping(item.speed_mps), 0, generation) for item in inputs]


def text(first: tuple[str, str], second: tuple[str, str], plan: np.ndarray, speed_mps: float) -> str:
    codec = ActionCodec()
    cot = write_reasoning(
        Reasoning("lane, 8 m/s", "none", "low", "keeping speed: no conflict", (first, second))
    )
    return write_answer(codec.text(codec.encode(plan, speed_mps).actions), cot)


def test_what_is_said_what_is_written_and_what_is_driven() -> None:
    item = replace(make_inputs(1)[0], speed_mps=8.0)
    keep = keeping(8.0)
    brake = np.stack((8.0 * STEPS_S - 0.5 * 2.0 * STEPS_S**2, np.zeros(8)), 1).astype(np.float32)
    texts = [
        text(("maintain", "keep"), ("maintain", "keep"), keep, 8.0),  # says, writes and drives the same
        text(("decelerate", "keep"), ("decelerate", "keep"), brake, 8.0),  # drives on all the same
        "no answer",
        "".join(f"<a{i}>" for i in range(8)),
    ]
    found = reasoning_agreement(Said(texts), [item] * 4)
    assert found.scenes == 4
    assert found.parsed == 0.5
    assert found.failures == {"stray_text": 1, "no_reasoning": 1}
    assert found.with_text_plan == 1.0
    assert found.with_driven_plan == 0.75  # all four words, and the two directions
    assert found.of_silence == 1.0
    # the second is t2 behind, 51 / 8 m on average; the first not at all
    assert found.gap_m == pytest.approx(51 / 8 / 2, rel=0.1)


def test_nothing_said_is_no_figure() -> None:
    found = reasoning_agreement(Said(["?"]), make_inputs(1))
    assert found.parsed == 0.0
    assert math.isnan(found.with_driven_plan)


def test_a_policy_can_be_asked() -> None:
    inputs = make_inputs(2)
    found = reasoning_agreement(Policy.tiny(), inputs)
    assert found.scenes == 2
    assert found.parsed + sum(found.failures.values()) / 2 == 1.0
