"""The scenes that GRPO explores: one a group, in SpanVLA's mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import RefineError
from ..models.policy import Policy
from ..models.prompts import PromptMode
from ..vocabulary import DrivingSample, Float, PairSource, PolicyInput, PreferencePair
from .anchors import Variant, is_consistent
from .config import GrpoConfig
from .datasets import check_roles, draws
from .rewards import anchor_rewards

SceneKind = Literal["positive", "negative", "recovery"]


@dataclass(frozen=True, slots=True)
class GrpoRow:
    """One scene to explore.

    Attributes:
        input: What the policy sees.
        text: Prompt.
        pos_m: (8, 2) metres, positive anchor.
        neg_m: (8, 2), negative anchor; None in uneventful scenes.
        mask: (8,) waypoints of the positive that count.
        scene: `scoring.scene.Scene`, or None where none was kept.
        kind: SpanVLA's: uneventful, before the takeover, or while the driver recovers.
        visible: Actors that an analysis may name.
        asked: Whether the prompt asks for the C-CoT.
        reasoning_pos: C-CoT of the positive, "" for none.
        reasoning_neg: Likewise of the negative.
    """

    input: PolicyInput
    text: str
    pos_m: Float
    neg_m: Float | None
    mask: NDArray[np.bool_]
    scene: Any
    kind: SceneKind = "positive"
    visible: frozenset[int] = frozenset()
    asked: bool = False
    reasoning_pos: str = ""
    reasoning_neg: str = ""


def sound_pairs(pairs: Sequence[PreferencePair], variant: Variant) -> list[PreferencePair]:
    """The pairs that the variant can learn from.

    `published` needs a scene (its reward is undefined without); `directional` leaves out pairs whose positive
    does not earn more than their negative (fault g).
    """
    if variant == "published":
        return [pair for pair in pairs if pair.scene is not None]
    return [pair for pair in pairs if bool(is_consistent(*anchor_rewards(pair, variant)))]


def grpo_rows(
    policy: Policy,
    pairs: Sequence[PreferencePair],
    replay: Sequence[DrivingSample],
    config: GrpoConfig,
    seed: int,
) -> list[GrpoRow]:
    """One scene a group, in SpanVLA's mix: uneventful, and takeovers half before and half after the onset.

    Uneventful scenes have no negative anchor, so the published reward knows none: `published` takes takeovers alone.

    Raises:
        RoleError: Something held out is among them.
        RefineError: There is no scene at all.
    """
    check_roles([*pairs, *replay])
    calm = [] if config.variant == "published" else replay
    if not pairs and not calm:
        raise RefineError("GRPO has no scenes", fix="give pairs or uneventful samples, or switch grpo off")
    rng = np.random.default_rng([seed, 3])
    groups = config.max_steps * config.gradient_accumulation_steps
    groups *= config.per_device_train_batch_size // config.num_generations
    recovery = [p for p in pairs if p.source is PairSource.HUMAN]
    negative = [p for p in pairs if p.source is not PairSource.HUMAN]
    n_taken = groups if not calm else round(config.takeover_share * groups) if pairs else 0
    n_recovery = n_taken if not negative else n_taken // 2 if recovery else 0
    rows: list[GrpoRow] = []
    for source, n in ((recovery, n_recovery), (negative, n_taken - n_recovery)):
        if n:
            rows += [_of_pair(policy, source[i], config) for i in draws([p.weight for p in source], n, rng)]
    if groups > n_taken:
        index = draws([s.weight for s in calm], groups - n_taken, rng)
        rows += [_of_sample(policy, calm[i], config) for i in index]
    return [rows[i] for i in rng.permutation(groups)]


def _of_pair(policy: Policy, pair: PreferencePair, config: GrpoConfig) -> GrpoRow:
    return GrpoRow(
        pair.input,
        policy.prompt(pair.input, _mode(config)),
        np.asarray(pair.chosen_m, np.float32)[:, :2],
        np.asarray(pair.rejected_m, np.float32)[:, :2],
        pair.chosen_mask,
        pair.scene,
        "recovery" if pair.source is PairSource.HUMAN else "negative",
        pair.visible_ids,
        config.reason,
        pair.reasoning_chosen,
        pair.reasoning_rejected,
    )


def _of_sample(policy: Policy, sample: DrivingSample, config: GrpoConfig) -> GrpoRow:
    return GrpoRow(
        sample.input,
        policy.prompt(sample.input, _mode(config)),
        np.asarray(sample.target_m, np.float32)[:, :2],
        None,
        sample.mask,
        None,
        asked=config.reason,
    )


def _mode(config: GrpoConfig) -> PromptMode:
    return PromptMode.REASON if config.reason else PromptMode.PLAN
