"""Rewards of a completion: its plan's (eq. 11), its form, whether it does what it says, SpanVLA's two terms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.actions import ActionCodec
from ..models.prompts import Answer, ParseFailure, Reasoning, parse_answer, parse_reasoning
from ..scoring.meta_actions import agreement
from ..vocabulary import Float
from .config import GrpoConfig
from .group_scenes import GrpoRow
from .rewards import nearness, plan_rewards

UNPARSABLE = (
    -0.5
)  # eq. 11 of a text without a plan: below any drivable plan, yet too near to rule the variance

_TOKENS_AT_END = re.compile(r"(?:<a[0-9]{1,4}>\s*)*\Z")
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RewardTerms:
    """Terms of R completions of one scene; all (R,) float32 but the last two.

    Attributes:
        quality: SafeAlign's eq. 11, the only one that delta and "better" are tested on; `UNPARSABLE` without a plan.
        form: 0 to 1, see `form_reward`.
        agreement: 0 to 1, share of the four claimed words that the plan does; 0 where nothing was claimed.
        negative: 0 to 1, nearness to the negative; 0 outside negative scenes.
        recovery: 0 to 1, nearness to the recovery; 0 outside recovery scenes.
        plans: What each text decodes to, None for none.
        reasoning: The C-CoT of each text, None for none.
    """

    quality: Array
    form: Array
    agreement: Array
    negative: Array
    recovery: Array
    plans: list[Float | None]
    reasoning: list[Reasoning | None]

    def total(self, config: GrpoConfig) -> Array:
        """(R,) what advantages are computed from."""
        return np.asarray(
            self.quality
            + config.format_weight * self.form
            + config.agreement_weight * self.agreement
            - config.negative_weight * self.negative
            + config.recovery_weight * self.recovery,
            np.float32,
        )


def reward_terms(row: GrpoRow, texts: Sequence[str], codec: ActionCodec, config: GrpoConfig) -> RewardTerms:
    """Judge completions of one scene.

    EP inside eq. 11 is relative to the scene's own proposals, never to what was driven, so a negative's slow or
    rash plan is no yardstick of progress (SpanVLA 3.5.1).

    Args:
        row: The scene.
        texts: R completions without special tokens.
        codec: Action tokens.
        config: Variant and radius.
    """
    answers = [parse_answer(text, len(codec)) for text in texts]
    speed = row.input.speed_mps
    plans = [codec.decode(a.actions, speed) if isinstance(a, Answer) else None for a in answers]
    zeros = np.zeros(len(texts), np.float32)
    quality, agrees, negative, recovery = zeros + UNPARSABLE, zeros.copy(), zeros.copy(), zeros.copy()
    good = [i for i, plan in enumerate(plans) if plan is not None]
    if good:
        stack = np.stack([plan for plan in plans if plan is not None])
        quality[good] = plan_rewards(row.scene, stack, row.pos_m, row.neg_m, row.mask, config.variant)
        if row.kind == "negative" and row.neg_m is not None:
            negative[good] = nearness(stack, row.neg_m, row.mask, config.radius_m)
        if row.kind == "recovery":
            recovery[good] = nearness(stack, row.pos_m, row.mask, config.radius_m)
    reasoning = [a.reasoning if isinstance(a, Answer) else None for a in answers]
    for i, (said, plan) in enumerate(zip(reasoning, plans, strict=True)):
        if row.asked and said is not None and plan is not None:
            agrees[i] = agreement(said.meta_actions, plan, speed)
    form = np.array([form_reward(text, row.asked, len(codec)) for text in texts], np.float32)
    return RewardTerms(quality, form, agrees, negative, recovery, plans, reasoning)


def form_reward(text: str, asked: bool, n_actions: int) -> float:
    """ELF-VLA's format reward: half for a plan that can be read, half for the words before it as they were asked for.

    Args:
        text: Completion without special tokens.
        asked: Whether the prompt asks for the C-CoT; without it, no words are right.
        n_actions: Size of the codec.

    Returns:
        0, 0.5 or 1.
    """
    found = _TOKENS_AT_END.search(text)
    tokens = found.group() if found else ""
    words = text[: len(text) - len(tokens)].strip()
    plan = isinstance(parse_answer(tokens, n_actions), Answer)
    said = not isinstance(parse_reasoning(words), ParseFailure) if asked else not words
    return 0.5 * plan + 0.5 * said
