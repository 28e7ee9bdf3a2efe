"""SafeAlign Algorithm 2 on the `mlp` head.

The backbone is frozen, so each scene's hidden states are computed once; pooling and MLP train on them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import RefineError
from ..models.heads import PLAN_SCALE_M
from ..models.policy import Policy
from ..vocabulary import DrivingSample, PreferencePair
from .anchor_feedback import Corrected, FeedbackFigures, Refinement
from .anchors import contrastive_loss, group_advantages
from .checkpoints import Checkpoints
from .config import AnchorConfig
from .datasets import check_roles
from .features import FeatureCache, Features
from .feedback import FeedbackKind, Threshold
from .group_scenes import sound_pairs
from .refit import Descent, Kept
from .report import Progress, StageReport, no_progress
from .rewards import batch_rewards
from .teacher import RuleTeacher, Teacher
from .training import refuse_frozen_decoder


@dataclass(frozen=True, slots=True)
class _Scenes:
    """n pairs as tensors."""

    pairs: list[PreferencePair]
    features: Features
    pos_m: Tensor  # (n, 8, 2)
    neg_m: Tensor  # (n, 8, 2)
    mask: Tensor  # (n, 8)
    weight: Tensor  # (n,)

    def take(self, index: Tensor) -> _Scenes:
        pairs = [self.pairs[i] for i in index.tolist()]
        fields = (self.pos_m, self.neg_m, self.mask, self.weight)
        return _Scenes(pairs, self.features.take(index), *(field[index] for field in fields))


class _Stage:
    """One run of Algorithm 2."""

    def __init__(
        self,
        policy: Policy,
        scenes: _Scenes,
        config: AnchorConfig,
        seed: int,
        cache: FeatureCache,
        teacher: Teacher,
    ) -> None:
        self.scenes, self.config = scenes, config
        self.head = policy.model.action_head
        self.scale = scenes.pos_m.new_tensor(PLAN_SCALE_M)
        self.generator = torch.Generator().manual_seed(seed)  # on the CPU: one seed, one result
        with torch.no_grad():
            pooled = self.head.pool(scenes.features.hidden, scenes.features.mask)
        spread = float(pooled.std(dim=0).mean()) if len(pooled) > 1 else float(pooled.std())
        self.sigma = config.sigma * spread
        self.threshold = Threshold(config.threshold, config.variant)
        self.refinement = Refinement(policy, config, cache, teacher, self.sample)
        self.skipped = self.groups = 0

    def centre(self, features: Features) -> Tensor:
        """Plans without noise, (n, 8, 2) metres."""
        return self.head(features.hidden, features.mask, features.ego)

    def sample(self, features: Features, count: int) -> Tensor:
        """Plans under feature noise (eq. 5 and 6), (n, count, 8, 2) metres."""
        pooled = self.head.pool(features.hidden, features.mask)[:, None].expand(-1, count, -1)
        noise = torch.randn(pooled.shape, generator=self.generator).to(pooled.device) * self.sigma
        ego = features.ego[:, None].expand(-1, count, -1)
        return self.head.decode(pooled + noise, ego) * self.scale

    def rewards(self, scenes: _Scenes, plans_m: Tensor, variant: Any = None) -> Tensor:
        """(n, G) rewards of (n, G, 8, 2) plans."""
        worlds = [pair.scene for pair in scenes.pairs]
        return batch_rewards(
            worlds, plans_m, scenes.pos_m, scenes.neg_m, scenes.mask, variant or self.config.variant
        )

    def calibrate(self) -> None:
        """Give `directional` the threshold at which it refines as often as the published reward does."""
        if self.config.variant == "directional":
            with torch.no_grad():
                plans = self.sample(self.scenes.features, self.config.samples)
            published, own = (
                self.rewards(self.scenes, plans, v).amax(dim=1) for v in ("published", "directional")
            )
            self.threshold.observe(published, own)

    def analyse(self) -> None:
        """Correction prompts for all scenes that are not good enough, for the steps to come."""
        with torch.no_grad():
            plans = self.sample(self.scenes.features, self.config.samples)
        rewards = self.rewards(self.scenes, plans)
        low = rewards.amax(dim=1) < self.threshold.value
        self.refinement.analyse(self.scenes.pairs, plans, low, rewards)

    def correct(self, index: Tensor, scenes: _Scenes, plans: Tensor, rewards: Tensor) -> Corrected:
        """Step 3 for the groups of a step: only where their own best sample is below the threshold."""
        best = rewards.amax(dim=1)
        low = best < self.threshold.value
        if self.refinement.every_step:
            self.refinement.analyse(scenes.pairs, plans, low, rewards)
            index = torch.arange(len(index), device=best.device)
        return self.refinement.correct(
            index, best, low, scenes.features, lambda here, tried: self.rewards(scenes.take(here), tried)
        )

    def loss(self, index: Tensor) -> Tensor:
        """Contrastive loss of some scenes."""
        scenes, config = self.scenes.take(index), self.config
        plans = self.sample(scenes.features, config.samples)
        rewards = self.rewards(scenes, plans)
        present = torch.ones_like(rewards, dtype=torch.bool)
        if config.feedback:
            corrected = self.correct(index, scenes, plans, rewards)
            plans = torch.cat((plans, corrected.plans_m), dim=1)
            rewards = torch.cat((rewards, corrected.rewards), dim=1)
            present = torch.cat((present, corrected.present), dim=1)
        anchors = self.rewards(scenes, torch.stack((scenes.pos_m, scenes.neg_m), dim=1))
        advantages, anchor_advantages = group_advantages(rewards, anchors, config.variant, present)
        # The published formula divides by zero in a group without variance; such a group teaches nothing.
        alive = torch.isfinite(advantages).all(dim=1) & (advantages != 0).any(dim=1)
        self.groups += len(alive)
        self.skipped += int((~alive).sum())
        losses = contrastive_loss(
            plans,
            advantages.where(alive[:, None], 0.0),
            anchor_advantages.where(alive[:, None], 0.0),
            self.centre(scenes.features),
            scenes.pos_m,
            scenes.neg_m,
            scenes.mask,
            config.variant,
            present,
        )
        if config.variant == "published":
            return losses.mean()
        return (losses * scenes.weight).sum() / scenes.weight.sum()

    def remember(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the head: the noise to come, and the counts."""
        return {
            "noise": self.generator.get_state(),
            "counts": [self.skipped, self.groups, self.refinement.scenes],
            "feedback": asdict(self.refinement.figures),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `remember`."""
        self.generator.set_state(state["noise"])
        self.skipped, self.groups, self.refinement.scenes = state["counts"]
        self.refinement.figures = FeedbackFigures(**state["feedback"])


def run_anchor(
    policy: Policy,
    pairs: Sequence[PreferencePair],
    config: AnchorConfig,
    seed: int,
    progress: Progress = no_progress,
    out_dir: Path = Path("."),
    *,
    replay: Sequence[DrivingSample] = (),
    cache: FeatureCache | None = None,
    teacher: Teacher | None = None,
    checkpoints: Checkpoints | None = None,
) -> StageReport:
    """Train pooling and MLP on anchors, in place; the backbone stays as it is.

    Args:
        policy: Drives with the `mlp` head.
        pairs: Positive (chosen) and negative (rejected) plans, with their scoring scenes.
        config: Variant and size.
        seed: Of noise and order.
        progress: Called after each step.
        out_dir: Not used; every stage has it.
        replay: Samples that the head must go on planning as it does: uneventful ones, and what the refit taught.
            `published` is the paper's loss alone and only measures them.
        cache: Features that are known already.
        teacher: Finds words for what failed; by rule if absent.
        checkpoints: Of this stage; None writes none.

    Raises:
        RoleError: Held-out data.
        RefineError: The policy drives with another decoder, or no pair is usable.
    """
    started = time.monotonic()
    refuse_frozen_decoder(policy, "anchor", head=True, text=False, flow=False)
    check_roles([*pairs, *replay])
    cache, teacher = cache or FeatureCache(policy), teacher or RuleTeacher()
    usable, quarantined = _usable(pairs, config)
    scenes = _scenes(policy, usable, cache)
    stage = _Stage(policy, scenes, config, seed, cache, teacher)
    stage.calibrate()
    kept = Kept(policy, replay, cache, seed) if replay else None
    before = _figures(stage, kept)

    head = policy.model.action_head
    batch = config.per_device_train_batch_size
    steps = config.epochs * math.ceil(len(scenes.pairs) / batch)
    descent = Descent(head, config, steps, progress)
    first, state = 0, checkpoints.kept() if checkpoints is not None else None
    if state is not None:
        first = state["epochs"]
        stage.restore(state["stage"])
        descent.restore(state["descent"])
        if kept is not None:
            kept.restore(state["kept"])
    with cache.frozen():
        for epoch in range(first, config.epochs):
            if config.feedback and not stage.refinement.every_step and epoch % config.feedback_every == 0:
                stage.analyse()
            for index in torch.randperm(len(scenes.pairs), generator=stage.generator).split(batch):
                loss = stage.loss(index)
                if kept is not None and config.variant == "directional":
                    loss = loss + config.replay_weight * kept.loss(head, batch)
                if not descent.step(loss):
                    break
            if descent.guard.stopped:
                break
            # Only where the next epoch analyses anew: the features of the correction prompts are not kept.
            fresh = not config.feedback or stage.refinement.every_step
            ready = fresh or (epoch + 1) % config.feedback_every == 0
            if checkpoints is not None and ready and checkpoints.due(epoch + 1, config.save_epochs):
                state = {"epochs": epoch + 1, "stage": stage.remember(), "descent": descent.remember()}
                checkpoints.keep(epoch + 1, {**state, "kept": None if kept is None else kept.remember()})
    after = _figures(stage, kept)
    policy.model.zero_grad(set_to_none=True)
    return StageReport(
        "anchor",
        seconds=time.monotonic() - started,
        steps=len(descent.guard.losses),
        metrics={
            "loss": descent.guard.late_loss(),
            **{f"{key}_before": value for key, value in before.items()},
            **{f"{key}_after": value for key, value in after.items()},
            "quarantined_pairs": quarantined,
            "refined_scenes": stage.refinement.scenes,
            **stage.refinement.figures.to_metrics(),
            "share_skipped_groups": stage.skipped / max(1, stage.groups),
            "threshold": stage.threshold.value,
            **teacher.figures(),
        },
        stopped_reason=descent.guard.stopped,
    )


def compare_feedback(
    policy: Policy,
    pairs: Sequence[PreferencePair],
    config: AnchorConfig,
    seed: int,
    *,
    cache: FeatureCache | None = None,
    teacher: Teacher | None = None,
) -> dict[FeedbackKind, FeedbackFigures]:
    """What each kind of feedback gets out of a policy as it is, without training (proof.md 18).

    The same samples of the same scenes are refined three times, with as many tries: after the scene's own analysis,
    after another scene's, and without any.

    Args:
        policy: Drives with the `mlp` head.
        pairs: At least 2.
        config: Its `feedback_kind` is not looked at.
        seed: Of noise.
        cache: Features that are known already.
        teacher: Finds words for what failed; by rule if absent.

    Raises:
        RefineError: No pair is usable.
    """
    cache, teacher = cache or FeatureCache(policy), teacher or RuleTeacher()
    usable, _ = _usable(pairs, config)
    scenes = _scenes(policy, usable, cache)
    found: dict[FeedbackKind, FeedbackFigures] = {}
    kinds: tuple[FeedbackKind, ...] = ("analysis", "shuffled", "resample")
    for kind in kinds:
        own = config.model_copy(update={"feedback_kind": kind, "feedback_every": 0})
        stage = _Stage(policy, scenes, own, seed, cache, teacher)
        stage.calibrate()
        with torch.no_grad():
            plans = stage.sample(scenes.features, config.samples)
            stage.correct(torch.arange(len(usable)), scenes, plans, stage.rewards(scenes, plans))
        found[kind] = stage.refinement.figures
    return found


def _usable(pairs: Sequence[PreferencePair], config: AnchorConfig) -> tuple[list[PreferencePair], int]:
    """The pairs that the variant can learn from, and how many were quarantined; see `group_scenes.sound_pairs`."""
    found = sound_pairs(pairs, config.variant)
    if not found:
        raise RefineError(
            "the anchor stage has no pair that it could learn from",
            fix="collect takeovers first; if there are some, in each of them the rejected plan earns more",
        )
    return found, 0 if config.variant == "published" else len(pairs) - len(found)


def _figures(stage: _Stage, kept: Kept | None) -> dict[str, float]:
    with torch.no_grad():
        plans = stage.centre(stage.scenes.features)
    result = {"reward": float(stage.rewards(stage.scenes, plans[:, None]).mean())}
    if kept is not None:
        result["replay_ade_m"] = kept.ade_m(stage.head)
    return result


def _scenes(policy: Policy, pairs: Sequence[PreferencePair], cache: FeatureCache) -> _Scenes:
    device = policy.model.device

    def stacked(values: list[Any], dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.stack(values)).to(device, dtype)

    return _Scenes(
        list(pairs),
        cache.get([pair.input for pair in pairs]),
        stacked([pair.chosen_m for pair in pairs], torch.float32),
        stacked([pair.rejected_m for pair in pairs], torch.float32),
        stacked([pair.chosen_mask for pair in pairs], torch.bool),
        torch.tensor([pair.weight for pair in pairs], dtype=torch.float32, device=device),
    )
