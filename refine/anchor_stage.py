"""SafeAlign Algorithm 2 on the `mlp` head.

The backbone is frozen, so each scene's hidden states are computed once; pooling and MLP train on them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import RefineError
from ..models.policy import Policy
from ..models.prompts import PromptMode
from ..models.vla import PLAN_SCALE_M
from ..scoring.analysis import negative_analysis
from ..vocabulary import DrivingSample, PreferencePair
from .anchors import contrastive_loss, group_advantages, is_consistent
from .config import AnchorConfig
from .datasets import check_roles
from .features import FeatureCache, Features
from .refit import Descent, Kept
from .report import Progress, StageReport, no_progress
from .rewards import batch_rewards
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


@dataclass(frozen=True, slots=True)
class _Feedback:
    """Features of the negative-analysis prompts of the scenes that were refined."""

    row: Tensor  # (n,) row in `features`, -1 for a scene that was good enough
    features: Features | None


class _Stage:
    """One run of Algorithm 2."""

    def __init__(
        self, policy: Policy, scenes: _Scenes, config: AnchorConfig, seed: int, cache: FeatureCache
    ) -> None:
        self.policy, self.scenes, self.config, self.cache = policy, scenes, config, cache
        self.head = policy.model.action_head
        self.scale = scenes.pos_m.new_tensor(PLAN_SCALE_M)
        self.generator = torch.Generator().manual_seed(seed)  # on the CPU: one seed, one result
        with torch.no_grad():
            pooled = self.head.pool(scenes.features.hidden, scenes.features.mask)
        spread = float(pooled.std(dim=0).mean()) if len(pooled) > 1 else float(pooled.std())
        self.sigma = config.sigma * spread
        self.threshold = config.threshold
        self.refined = self.skipped = self.groups = 0

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
            best = {v: self.rewards(self.scenes, plans, v).amax(dim=1) for v in ("published", "directional")}
            rate = float((best["published"] < self.config.threshold).float().mean())
            self.threshold = float(torch.quantile(best["directional"], rate)) if rate > 0 else 0.0

    def feedback(self) -> _Feedback:
        """Step 3: where the best sample is below the threshold, analyse the worst one and ask again."""
        with torch.no_grad():
            plans = self.sample(self.scenes.features, self.config.samples)
        rewards = self.rewards(self.scenes, plans)
        chosen = (rewards.amax(dim=1) < self.threshold).nonzero().flatten()
        row = torch.full((len(rewards),), -1, device=rewards.device)
        if not len(chosen):
            return _Feedback(row, None)
        row[chosen] = torch.arange(len(chosen), device=row.device)
        inputs, texts = [], []
        for i in chosen.tolist():
            worst = plans[i, int(rewards[i].argmin())].cpu().numpy().astype(np.float32)
            pair = self.scenes.pairs[i]
            analysis = negative_analysis(pair.scene, worst, pair.chosen_m, pair.visible_ids)
            text = self.policy.prompt(pair.input, PromptMode.NEGATIVE, worst, analysis)
            inputs.append(pair.input)
            texts.append(text)
        self.refined += len(chosen)
        return _Feedback(row, self.cache.get(inputs, texts))

    def loss(self, index: Tensor, feedback: _Feedback) -> Tensor:
        """Contrastive loss of some scenes."""
        scenes, config = self.scenes.take(index), self.config
        plans = self.sample(scenes.features, config.samples)
        rewards = self.rewards(scenes, plans)
        present = torch.ones_like(rewards, dtype=torch.bool)
        if config.feedback and feedback.features is not None:
            corrected, better = self._corrected(index, feedback, scenes, rewards.amax(dim=1))
            plans = torch.cat((plans, corrected[0]), dim=1)
            rewards = torch.cat((rewards, corrected[1]), dim=1)
            present = torch.cat((present, better), dim=1)
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
        return (losses * scenes.weight).sum() / scenes.weight.sum()

    def _corrected(
        self, index: Tensor, feedback: _Feedback, scenes: _Scenes, best: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """K plans of the refined scenes and their rewards; present only if better than every sample."""
        assert feedback.features is not None
        count = self.config.feedback
        rows = feedback.row[index]
        here = (rows >= 0).nonzero().flatten()
        plans = scenes.pos_m[:, None].expand(-1, count, -1, -1).clone()
        rewards = best.new_zeros(len(index), count)
        better = torch.zeros(len(index), count, dtype=torch.bool, device=best.device)
        if len(here):
            tried = self.sample(feedback.features.take(rows[here]), count)
            earned = self.rewards(scenes.take(here), tried)
            plans = plans.index_copy(0, here, tried)
            rewards[here] = earned
            better[here] = earned > best[here, None]
        return (plans, rewards), better


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
        cache: Features that are known already.

    Raises:
        RoleError: Held-out data.
        RefineError: The policy drives with another decoder, or no pair is usable.
    """
    started = time.monotonic()
    refuse_frozen_decoder(policy, "anchor", head=True, text=False)
    check_roles([*pairs, *replay])
    usable = [p for p in pairs if config.variant == "directional" or p.scene is not None]
    if not usable:
        raise RefineError(
            "the anchor stage has no pairs", fix="collect takeovers first, or switch anchor off"
        )
    cache = cache or FeatureCache(policy)
    scenes = _scenes(policy, usable, cache)
    stage = _Stage(policy, scenes, config, seed, cache)
    anchors = stage.rewards(scenes, torch.stack((scenes.pos_m, scenes.neg_m), dim=1))
    quarantined = 0
    if config.variant == "directional":
        sound = is_consistent(anchors[:, 0], anchors[:, 1])
        quarantined = int((~sound).sum())
        if quarantined == len(usable):
            raise RefineError("in every pair the rejected plan earns more", fix="look at the pairs' scores")
        stage.scenes = scenes = scenes.take(sound.nonzero().flatten())
    stage.calibrate()
    kept = Kept(policy, replay, cache, seed) if replay else None
    before = _figures(stage, kept)

    head = policy.model.action_head
    batch = config.per_device_train_batch_size
    steps = config.epochs * math.ceil(len(scenes.pairs) / batch)
    descent = Descent(head, config, steps, progress)
    feedback = _Feedback(torch.full((len(scenes.pairs),), -1, dtype=torch.long), None)
    for epoch in range(config.epochs):
        if config.feedback and epoch % config.feedback_every == 0:
            feedback = stage.feedback()
        for index in torch.randperm(len(scenes.pairs), generator=stage.generator).split(batch):
            loss = stage.loss(index, feedback)
            if kept is not None:
                loss = loss + config.replay_weight * kept.loss(head, batch)
            if not descent.step(loss):
                break
        if descent.guard.stopped:
            break
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
            "refined_scenes": stage.refined,
            "share_skipped_groups": stage.skipped / max(1, stage.groups),
            "threshold": stage.threshold,
        },
        stopped_reason=descent.guard.stopped,
    )


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
