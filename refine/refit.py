"""Refit of the heads after the backbone has changed, and what every stage that trains heads alone needs.

The backbone is frozen, so each scene's hidden states are computed once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from ..errors import RefineError
from ..models.backbone import heads_of
from ..models.flow import FlowHead
from ..models.heads import ActionHead, head_loss
from ..models.policy import Policy
from ..models.prompts import PromptMode
from ..models.threads import training_threads
from ..vocabulary import DrivingSample
from .anchors import huber
from .checkpoints import Checkpoints
from .config import AnchorConfig, RefitConfig
from .datasets import check_roles, draws
from .features import FeatureCache
from .report import Progress, StageReport, no_progress
from .training import FiniteGuard, refuse_frozen_decoder


class Descent:
    """Steps of the head alone, watched by a guard."""

    def __init__(
        self, head: nn.Module, config: AnchorConfig | RefitConfig, steps: int, progress: Progress
    ) -> None:
        self.guard = FiniteGuard(head, steps, progress)
        self._head, self._max_norm, self._done = head, config.max_grad_norm, 0
        self._optimiser = torch.optim.AdamW(
            head.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True
        )
        # A short warm-up and a fall to zero: at a steady rate it would shake a head that is fitted already.
        self._schedule = get_cosine_schedule_with_warmup(self._optimiser, max(1, steps // 10), steps)

    def step(self, loss: Tensor) -> bool:
        """Follow a loss; False when training must stop."""
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._head.parameters(), self._max_norm)
        self._optimiser.step()
        self._schedule.step()
        self._done += 1
        self.guard.see(loss)
        return self.guard.check(self._done)

    def remember(self) -> dict[str, Any]:
        """What a checkpoint must hold of the head and of the way down."""
        return {
            "head": self._head.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "done": self._done,
            "losses": self.guard.losses,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `remember`."""
        self._head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self._done = state["done"]
        self.guard.begin()
        self.guard.losses = state["losses"]


class Kept:
    """Samples that the head must go on planning as before, after the prompt that drives unless others are given."""

    def __init__(
        self,
        policy: Policy,
        samples: Sequence[DrivingSample],
        cache: FeatureCache,
        seed: int,
        texts: Sequence[str] | None = None,
    ) -> None:
        self._samples = samples
        self._rng = np.random.default_rng([seed, 4])
        device = policy.model.device
        self.features = cache.get([sample.input for sample in samples], texts)
        self.weight = torch.tensor([s.weight for s in samples], device=device)
        self.target_m = torch.from_numpy(np.stack([s.target_m for s in samples])).float().to(device)
        self.mask = torch.from_numpy(np.stack([s.mask for s in samples])).to(device)

    def loss(self, head: Any, batch: int) -> Tensor:
        """Huber of a random batch, in the unit of the directional loss."""
        index = torch.from_numpy(draws([s.weight for s in self._samples], batch, self._rng))
        features = self.features.take(index)
        plans = head(features.hidden, features.mask, features.ego)
        return huber(plans[:, None], self.target_m[index], self.mask[index], "directional").mean()

    def remember(self) -> dict[str, Any]:
        """State of the order that is to come."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `remember`."""
        self._rng.bit_generator.state = state

    def plans(self, head: ActionHead | FlowHead) -> Tensor:
        """What a head plans, (n, 8, 2) metres, without gradient."""
        features = self.features
        with torch.no_grad():
            if isinstance(head, FlowHead):
                plans: Tensor = head(features.layers, features.mask, features.ego)
            else:
                plans = head(features.hidden, features.mask, features.ego)
        return plans

    def ade_m(self, head: ActionHead | FlowHead) -> float:
        """Mean distance to the targets."""
        error = (self.plans(head) - self.target_m).norm(dim=-1)
        return float(error[self.mask].mean())


def refit_head(
    policy: Policy,
    samples: Sequence[DrivingSample],
    config: RefitConfig,
    seed: int,
    progress: Progress = no_progress,
    *,
    cache: FeatureCache | None = None,
    checkpoints: Checkpoints | None = None,
) -> StageReport:
    """Fit the heads to a backbone that has changed under them, in place and without gradient into the backbone.

    Args:
        policy: Drives with a head; the `flow` head is fitted too where there is one.
        samples: Replay, and the takeovers' samples too, for replay alone would unlearn them.
        config: Size.
        seed: Of choice and order.
        progress: Called after each step.
        cache: Features that are known already.
        checkpoints: Of this stage; None writes none.

    Raises:
        RoleError: Held-out data.
        RefineError: The policy drives with another decoder, or there are no samples.
    """
    started = time.monotonic()
    refuse_frozen_decoder(policy, "refit", head=True, text=False)
    check_roles(samples)
    rng = np.random.default_rng([seed, 5])
    if not samples:
        raise RefineError("the refit has no samples", fix="give replay, or switch refit off")
    cache = cache or FeatureCache(policy)
    kept = Kept(policy, samples, cache, seed)
    taught = [kept]
    shown = [s for s in samples if config.corrections and s.negative_m is not None and s.analysis]
    if shown:
        texts = [policy.prompt(s.input, PromptMode.NEGATIVE, s.negative_m, s.analysis) for s in shown]
        taught.append(Kept(policy, shown, cache, seed, texts))
    model, batch = policy.model, config.per_device_train_batch_size
    heads = {name: model.get_submodule(name) for name in heads_of(model)}
    steps = config.epochs * sum(math.ceil(len(part.weight) / batch) for part in taught)
    descent = Descent(nn.ModuleDict(heads), config, steps, progress)
    generator = torch.Generator().manual_seed(seed)
    before = _errors_m(policy, kept)
    first, state = 0, checkpoints.kept() if checkpoints is not None else None
    if state is not None:
        first, rng.bit_generator.state = state["epochs"], state["rng"]
        generator.set_state(state["noise"])
        descent.restore(state["descent"])
    with training_threads(1):  # a step is a few small products: a second thread costs more than it brings
        for epoch in range(first, config.epochs):
            for source, part in _parts(taught, batch, rng):
                features = source.features.take(part)
                target_m, counts, share = source.target_m[part], source.mask[part], source.weight[part]
                plans = model.action_head(features.hidden, features.mask, features.ego)
                loss = head_loss(plans, target_m, counts, share)
                if model.has_flow_head:
                    loss = loss + model.flow_head.loss(
                        features.layers, features.mask, features.ego, target_m, counts, share, generator
                    )
                if not descent.step(loss):
                    break
            if descent.guard.stopped:
                break
            if checkpoints is not None and checkpoints.due(epoch + 1, config.save_epochs):
                state = {"epochs": epoch + 1, "rng": rng.bit_generator.state, "noise": generator.get_state()}
                checkpoints.keep(epoch + 1, {**state, "descent": descent.remember()})
    policy.model.zero_grad(set_to_none=True)
    return StageReport(
        "refit",
        seconds=time.monotonic() - started,
        steps=len(descent.guard.losses),
        metrics={
            "loss": descent.guard.late_loss(),
            **{f"{name}_before": value for name, value in before.items()},
            **{f"{name}_after": value for name, value in _errors_m(policy, kept).items()},
        },
        stopped_reason=descent.guard.stopped,
    )


def _parts(taught: Sequence[Kept], batch: int, rng: np.random.Generator) -> list[tuple[Kept, Tensor]]:
    """Batches of an epoch, each of one kind of prompt (their lengths differ), in random order."""
    parts = [
        (kept, part)
        for kept in taught
        for part in torch.from_numpy(rng.permutation(len(kept.weight))).split(batch)
    ]
    return [parts[i] for i in rng.permutation(len(parts))] if len(taught) > 1 else parts


def _errors_m(policy: Policy, kept: Kept) -> dict[str, float]:
    """`ade_m` of the head that drives, and that of the other one if there is one."""
    model = policy.model
    errors = {"ade_m": kept.ade_m(policy.driving_head)}
    if model.has_flow_head:
        name, other = (
            ("mlp_ade_m", model.action_head) if policy.decoder == "flow" else ("flow_ade_m", model.flow_head)
        )
        errors[name] = kept.ade_m(other)
    return errors
