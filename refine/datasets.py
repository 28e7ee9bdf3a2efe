"""Samples and pairs -> rows that a trainer stacks: what is asked, the answer, what the head should say.

The order of all rows of a stage is drawn beforehand from the seed, so the mix of a batch is exact and a run
repeatable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RefineError, RoleError
from ..models.actions import ActionCodec
from ..models.policy import Policy
from ..models.prompts import PromptMode, write_answer
from ..sim_bridge.scenarios.cases import NOMINAL_TYPES, parse_case, role_of
from ..vocabulary import PLAN_POINTS, DrivingSample, FailedPlan, Float, PolicyInput, PreferencePair, Role
from .config import DpoConfig, SftConfig

HEAD_FIELDS = ("ego", "prompt_mask", "target_m", "target_mask")  # for the head, not for the backbone
MAX_FACTOR = 4.0  # by which `with_share` raises a weight at most
POOLS = (
    0.25,
    0.5,
    0.75,
)  # shares of the pairs, hardest first, that a curriculum draws from before it draws from all
_ALL = np.ones(PLAN_POINTS, np.bool_)


@dataclass(frozen=True, slots=True)
class SftRow:
    """One imitation row."""

    input: PolicyInput
    text: str
    answer: str
    target_m: Float  # (8, 2)
    mask: NDArray[np.bool_]  # (8,)


@dataclass(frozen=True, slots=True)
class DpoRow:
    """One preference row."""

    input: PolicyInput
    text: str
    chosen: str
    rejected: str
    target_m: Float  # (8, 2) the chosen plan
    mask: NDArray[np.bool_]  # (8,)


def check_roles(items: Sequence[DrivingSample | PreferencePair | FailedPlan]) -> None:
    """Refuse whatever is held out, by what it says of itself and by its case, which cannot lie.

    Raises:
        RoleError: An item's role, or that of its case, is not `train`.
    """
    roles: dict[str, Role] = {}
    for item in items:
        if item.case_id and item.case_id not in roles:
            roles[item.case_id] = role_of(parse_case(item.case_id))
        for role in (item.role, roles.get(item.case_id, item.role)):
            if role is not Role.TRAIN:
                raise RoleError(
                    f"{item.case_id or 'an unnamed case'} has the role {role.value} and must not train",
                    fix="collect from cases of the train role only",
                )


def answer(
    policy: Policy, target_m: Float, speed_mps: float, mask: NDArray[np.bool_], reasoning: str = ""
) -> str:
    """The assistant's turn for a plan; its tokens are remembered, for rounds repeat their data."""
    key = np.ascontiguousarray(target_m, np.float32).tobytes()
    codec = policy.codec
    return write_answer(
        codec.text(_actions(codec.accel_mps2, codec.curvature_pm, key, float(speed_mps), mask.tobytes())),
        reasoning,
    )


@lru_cache(maxsize=200_000)
def _actions(
    accel: tuple[float, ...], curvature: tuple[float, ...], target: bytes, speed_mps: float, mask: bytes
) -> tuple[int, ...]:
    plan = np.frombuffer(target, np.float32).reshape(PLAN_POINTS, 2)
    return ActionCodec(accel, curvature).encode(plan, speed_mps, np.frombuffer(mask, np.bool_)).actions


def draws(weights: Sequence[float], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`n` indices in proportion to the weights, as even as can be (systematic resampling), shuffled."""
    share = np.asarray(weights, np.float64)
    if share.size == 0 or not np.isfinite(share).all() or (share < 0).any() or share.sum() <= 0:
        raise RefineError("no sample has a positive weight", fix="collect takeovers before refining")
    edges = np.cumsum(share) / share.sum()
    points = (rng.random() + np.arange(n)) / n
    index = np.minimum(np.searchsorted(edges, points, side="right"), share.size - 1)
    rng.shuffle(index)
    return index


def with_share(
    samples: Sequence[DrivingSample], among: Sequence[DrivingSample], share: float
) -> list[DrivingSample]:
    """Samples whose weights are scaled so that they hold a share of all weight, by MAX_FACTOR at most.

    A first round's few takeovers at a third of all weight would be learnt by heart.

    Args:
        samples: To be scaled, each in proportion to its weight.
        among: The others, left as they are; without any, `samples` are too.
        share: In [0, 1).
    """
    own, other = sum(s.weight for s in samples), sum(s.weight for s in among)
    if not own or not other:
        return list(samples)
    factor = min(share / (1.0 - share) * other / own, MAX_FACTOR)
    return [replace(s, weight=s.weight * factor) for s in samples]


def emphasised(samples: Sequence[DrivingSample], share: float) -> list[DrivingSample]:
    """Expert samples in which those of long-tail drives, decoys apart, hold a share of the weight; 0 changes nothing."""
    if not share:
        return list(samples)
    cases = [parse_case(s.case_id) for s in samples]
    hazard = [not case.decoy and case.scenario not in NOMINAL_TYPES for case in cases]
    calm = [s for s, there in zip(samples, hazard, strict=True) if not there]
    return [*with_share([s for s, there in zip(samples, hazard, strict=True) if there], calm, share), *calm]


def sft_rows(
    policy: Policy,
    samples: Sequence[DrivingSample],
    replay: Sequence[DrivingSample],
    config: SftConfig,
    seed: int,
) -> list[SftRow]:
    """All rows of an SFT stage, batch after batch.

    Stage 1 of the curriculum shows plain prompts; stage 2 shows `negative_share` of each batch's takeover rows with
    their rejected plan and its analysis (SafeAlign 3.4). The target is the good plan in both.

    Args:
        policy: Whose prompts and tokens.
        samples: From takeovers (or all samples, for a bootstrap).
        replay: From uneventful drives; may be empty.
        config: Mix and size.
        seed: Of the order.

    Raises:
        RoleError: Something held out is among them.
        RefineError: There is nothing to learn from.
    """
    check_roles([*samples, *replay])
    rng = np.random.default_rng([seed, 1])
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps
    old = round(config.replay_share * batch) if samples else batch
    old = old if replay else 0
    new = batch - old
    warned = [s for s in samples if s.negative_m is not None and s.weight > 0]
    shown = round(config.negative_share * new) if warned else 0
    second = [step >= config.negative_from * config.max_steps for step in range(config.max_steps)]
    counts = [shown if late else 0 for late in second]
    plain = _drawn(samples, [new - count for count in counts], rng)
    negative = _drawn(warned, counts, rng)
    kept = _drawn(replay, [old] * config.max_steps, rng)
    rows: list[SftRow] = []
    for step in range(config.max_steps):
        # Reasoning is for whole batches: one long answer among plans would pad them all.
        speak = bool(rng.random() < config.reason_share)
        group = [_sft_row(policy, sample, speak) for sample in [*plain[step], *kept[step]]]
        group += [_negative_row(policy, sample) for sample in negative[step]]
        rows.extend(group[i] for i in rng.permutation(batch))
    return rows


def _drawn(
    samples: Sequence[DrivingSample], counts: Sequence[int], rng: np.random.Generator
) -> list[list[DrivingSample]]:
    """Samples of each step, in proportion to their weights over the whole stage."""
    total = sum(counts)
    index = iter(draws([s.weight for s in samples], total, rng) if total else ())
    return [[samples[next(index)] for _ in range(count)] for count in counts]


def _sft_row(policy: Policy, sample: DrivingSample, speak: bool) -> SftRow:
    reasoning = sample.reasoning if speak else ""
    text = policy.prompt(sample.input, PromptMode.REASON if reasoning else PromptMode.PLAN)
    target = np.asarray(sample.target_m, np.float32)
    words = answer(policy, target, sample.input.speed_mps, sample.mask, reasoning)
    return SftRow(sample.input, text, words, target, sample.mask)


def _negative_row(policy: Policy, sample: DrivingSample) -> SftRow:
    text = policy.prompt(sample.input, PromptMode.NEGATIVE, sample.negative_m, sample.analysis)
    target = np.asarray(sample.target_m, np.float32)
    words = answer(policy, target, sample.input.speed_mps, sample.mask)
    return SftRow(sample.input, text, words, target, sample.mask)


def dpo_rows(
    policy: Policy,
    pairs: Sequence[PreferencePair],
    replay: Sequence[DrivingSample],
    config: DpoConfig,
    seed: int,
) -> list[DpoRow]:
    """All rows of a DPO stage: at most `takeover_share` takeover pairs in each batch, the rest replay.

    Hard negatives come first (DriveDPO): see `hard_first`.

    Raises:
        RoleError: Something held out is among them.
        RefineError: Pairs or replay are missing.
    """
    check_roles([*pairs, *replay])
    if not replay:
        raise RefineError(
            "DPO without replay destroys the policy", fix="give uneventful samples, or switch dpo off"
        )
    rng = np.random.default_rng([seed, 2])
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps
    new = int(config.takeover_share * batch) if pairs else 0
    old = batch - new
    fresh = hard_first(pairs, config.max_steps, new, config.hard_first, rng)
    kept = draws([s.weight for s in replay], config.max_steps * old, rng)
    rows: list[DpoRow] = []
    for step in range(config.max_steps):
        group = [_pair_row(policy, pairs[i]) for i in fresh[step * new : (step + 1) * new]]
        group += [_replay_row(policy, replay[i], rng) for i in kept[step * old : (step + 1) * old]]
        rows.extend(group[i] for i in rng.permutation(batch))
    return rows


def hard_first(
    pairs: Sequence[PreferencePair], steps: int, per_step: int, share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Indices of pairs, `per_step` for each step: from the hardest ones (close but unsafe) to all of them.

    Over `share` of the steps the pool is the hardest quarter, half and three quarters in turn; then it is whole. In a
    pool pairs are drawn in proportion to their weights.

    Args:
        pairs: To draw from.
        steps: Of the stage.
        per_step: Pairs of a step.
        share: In [0, 1]; 0 for no curriculum.
        rng: Of the order.
    """
    if not per_step:
        return np.zeros(0, np.int64)
    order = np.array(sorted(range(len(pairs)), key=lambda i: (pairs[i].hardness, pairs[i].pair_id)))
    edges = [round(share * steps * part / len(POOLS)) for part in range(len(POOLS) + 1)]
    parts: list[NDArray[np.int64]] = []
    for pool, first, last in zip((*POOLS, 1.0), edges, [*edges[1:], steps], strict=True):
        among = order[: math.ceil(pool * len(order))]
        if last > first:
            parts.append(among[draws([pairs[i].weight for i in among], (last - first) * per_step, rng)])
    return np.concatenate(parts)


def _pair_row(policy: Policy, pair: PreferencePair) -> DpoRow:
    speed, mask = pair.input.speed_mps, pair.chosen_mask
    both = bool(pair.reasoning_chosen and pair.reasoning_rejected)
    return DpoRow(
        pair.input,
        policy.prompt(pair.input, PromptMode.REASON if both else PromptMode.PLAN),
        answer(policy, pair.chosen_m, speed, mask, pair.reasoning_chosen if both else ""),
        answer(policy, pair.rejected_m, speed, mask, pair.reasoning_rejected if both else ""),
        np.asarray(pair.chosen_m, np.float32),
        mask,
    )


def _replay_row(policy: Policy, sample: DrivingSample, rng: np.random.Generator) -> DpoRow:
    speed = sample.input.speed_mps
    good = np.asarray(sample.target_m, np.float32)
    bad = perturbed(good, rng)
    return DpoRow(
        sample.input,
        policy.prompt(sample.input),
        answer(policy, good, speed, sample.mask),
        answer(policy, bad, speed, sample.mask),
        good,
        sample.mask,
    )


def perturbed(plan_m: Float, rng: np.random.Generator) -> Float:
    """A worse plan for an uneventful scene: needless braking (the vice of takeovers), or a drift.

    A plan that hardly moves gets a needless start instead of a brake.
    """
    steps = np.diff(plan_m, axis=0, prepend=np.zeros((1, 2), np.float32))
    if rng.random() < 0.5:
        if np.linalg.norm(steps, axis=1).sum() < 3.0:
            gain = 0.35 * np.arange(1, PLAN_POINTS + 1)
            return np.asarray(plan_m + np.stack((np.cumsum(gain), np.zeros(PLAN_POINTS)), axis=1), np.float32)
        slower = np.linspace(0.9, rng.uniform(0.0, 0.4), PLAN_POINTS)
        return np.cumsum(steps * slower[:, None], axis=0).astype(np.float32)
    side = rng.choice((-1.0, 1.0)) * rng.uniform(1.0, 2.5)
    ramp = (np.arange(1, PLAN_POINTS + 1) / PLAN_POINTS) ** 2
    return np.asarray(plan_m + np.stack((np.zeros(PLAN_POINTS), side * ramp), axis=1), np.float32)


def head_fields(targets_m: Sequence[Float], masks: Sequence[NDArray[np.bool_]]) -> dict[str, Tensor]:
    """Targets of the head: target_m (B, 8, 2) float32 metres, target_mask (B, 8) bool."""
    return {
        "target_m": torch.from_numpy(np.stack([np.asarray(t, np.float32)[:, :2] for t in targets_m])),
        "target_mask": torch.from_numpy(np.stack([np.asarray(m, np.bool_) for m in masks])),
    }


def silence(labels: Tensor, masks: Sequence[NDArray[np.bool_]]) -> Tensor:
    """Take the action tokens of waypoints that say nothing out of the text loss.

    Args:
        labels: (B, T) as of `Policy.encode`; an answer ends with eight action tokens and the end token.
        masks: B masks (8,).
    """
    keep = torch.from_numpy(np.stack([np.asarray(m, np.bool_) for m in masks])).to(labels.device)
    if bool(keep.all()):
        return labels
    position = torch.arange(labels.shape[1], device=labels.device)
    last = torch.where(labels != -100, position, -1).amax(dim=1)  # the end token
    index = last[:, None] - PLAN_POINTS + torch.arange(PLAN_POINTS, device=labels.device)
    chosen = labels.gather(1, index)
    return labels.scatter(1, index, torch.where(keep, chosen, torch.full_like(chosen, -100)))


def collate_sft(policy: Policy, rows: Sequence[SftRow]) -> dict[str, Tensor]:
    """Model inputs, labels and head targets of a batch."""
    batch = policy.encode(
        [r.input for r in rows],
        [r.text for r in rows],
        [r.answer for r in rows],
        frozen=policy.tower_frozen,
    )
    masks = [r.mask for r in rows]
    batch["labels"] = silence(batch["labels"], masks)
    return {**batch, **head_fields([r.target_m for r in rows], masks)}


def collate_dpo(policy: Policy, rows: Sequence[DpoRow]) -> dict[str, Tensor]:
    """TRL's preference batch, chosen rows first; head targets of the chosen half."""
    masks = [r.mask for r in rows]
    batch = policy.encode(
        [r.input for r in rows] * 2,
        [r.text for r in rows] * 2,
        [r.chosen for r in rows] + [r.rejected for r in rows],
        frozen=policy.tower_frozen,
    )
    labels = silence(batch.pop("labels"), masks * 2)
    batch["completion_mask"] = (labels != -100).long()
    return {**batch, **head_fields([r.target_m for r in rows], masks)}
