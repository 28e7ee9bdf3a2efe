"""Feedback refinement of the anchor stage: SafeAlign's Algorithm 2, lines 13 to 17, and its two controls.

Feedback counts as feedback only if plans from the scene's own analysis beat plans from another scene's analysis and
as many plain samples (proof.md 18); `feedback_kind` chooses, `FeedbackFigures` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..models.policy import Policy
from ..models.prompts import PromptMode
from ..vocabulary import Float, PreferencePair
from .config import AnchorConfig
from .features import FeatureCache, Features
from .feedback import first_better
from .teacher import Failure, Teacher

Sample = Callable[[Features, int], Tensor]  # features of n scenes, count -> (n, count, 8, 2) metres


@dataclass(frozen=True, slots=True)
class Corrected:
    """Places for K corrected plans in n groups.

    Attributes:
        plans_m: (n, K, 8, 2) metres.
        rewards: (n, K).
        present: (n, K) false for an empty place.
    """

    plans_m: Tensor
    rewards: Tensor
    present: Tensor


@dataclass(slots=True)
class FeedbackFigures:
    """What the refinement came to.

    Attributes:
        groups: Groups whose best sample was below the threshold.
        tried: Corrected plans that were tried.
        better: Those that beat every sample of their group.
        gain: Sum over the tries of their reward less the group's best.
    """

    groups: int = 0
    tried: int = 0
    better: int = 0
    gain: float = 0.0

    def to_metrics(self) -> dict[str, float]:
        """Per try, so that kinds of feedback can be compared."""
        tried = max(1, self.tried)
        return {
            "refined_groups": float(self.groups),
            "corrected_better_share": self.better / tried,
            "corrected_gain": self.gain / tried,
        }


class Refinement:
    """Corrected plans for groups that are not good enough."""

    def __init__(
        self, policy: Policy, config: AnchorConfig, cache: FeatureCache, teacher: Teacher, sample: Sample
    ) -> None:
        self._policy, self._config, self._cache = policy, config, cache
        self._teacher, self._sample = teacher, sample
        self._row = torch.zeros(0, dtype=torch.long)
        self._features: Features | None = None
        self.scenes = 0  # analyses made
        self.figures = FeedbackFigures()

    @property
    def every_step(self) -> bool:
        """Whether each group's own worst sample is analysed, as the paper does, or analyses are kept for epochs."""
        return self._config.variant == "published" or self._config.feedback_every == 0

    def analyse(self, pairs: Sequence[PreferencePair], plans_m: Tensor, low: Tensor, rewards: Tensor) -> None:
        """Build the correction prompts of scenes from their worst samples.

        Args:
            pairs: n scenes.
            plans_m: (n, N, 8, 2) samples.
            low: (n,) bool, scenes that need one.
            rewards: (n, N).
        """
        chosen = low.nonzero().flatten()
        self._row = torch.full((len(pairs),), -1, dtype=torch.long, device=low.device)
        self._features = None
        kind = self._config.feedback_kind
        if not len(chosen) or kind == "resample" or (kind == "shuffled" and len(pairs) < 2):
            return
        self._row[chosen] = torch.arange(len(chosen), device=low.device)
        worst = plans_m.detach().float().cpu().numpy()[np.arange(len(pairs)), rewards.argmin(dim=1).cpu()]
        inputs, texts = [], []
        for i in chosen.tolist():
            # A control shows the scene's own worst plan too, but words that belong to its neighbour.
            about = (i + 1) % len(pairs) if kind == "shuffled" else i
            words = self._teacher.analyse(_failure(pairs[about], worst[about]))
            inputs.append(pairs[i].input)
            texts.append(self._policy.prompt(pairs[i].input, PromptMode.NEGATIVE, worst[i], words))
        self.scenes += len(chosen)
        self._features = self._cache.get(inputs, texts)

    def correct(
        self,
        index: Tensor,
        best: Tensor,
        low: Tensor,
        features: Features,
        judge: Callable[[Tensor, Tensor], Tensor],
    ) -> Corrected:
        """Try corrected plans for some groups and keep the first K that beat every sample.

        Args:
            index: (n,) scenes as `analyse` knows them.
            best: (n,) best reward among each group's samples.
            low: (n,) bool, groups below the threshold.
            features: Of the n scenes' own prompts, for plain sampling.
            judge: (positions in the batch, plans) -> rewards.
        """
        count, tries = self._config.feedback, self._config.feedback_tries
        plain = self._config.feedback_kind == "resample"
        rows = torch.zeros_like(index) if plain else self._row[index]
        here = (low & (rows >= 0)).nonzero().flatten()
        plans = best.new_zeros(len(index), count, 8, 2)
        rewards, present = best.new_zeros(len(index), count), best.new_zeros(len(index), count).bool()
        if len(here) and (plain or self._features is not None):
            source = features.take(here) if self._features is None else self._features.take(rows[here])
            tried = self._sample(source, tries)
            earned = judge(here, tried)
            chosen, kept = first_better(earned, best[here], count)
            at = torch.arange(len(here), device=here.device)[:, None]
            plans = plans.index_copy(0, here, tried[at, chosen])
            rewards[here], present[here] = earned.gather(1, chosen), kept
            self._count(earned, best[here])
        return Corrected(plans, rewards, present)

    def _count(self, earned: Tensor, best: Tensor) -> None:
        figures = self.figures
        figures.groups += len(best)
        figures.tried += earned.numel()
        figures.better += int((earned > best[:, None]).sum())
        figures.gain += float((earned - best[:, None]).sum())


def _failure(pair: PreferencePair, bad_m: Float) -> Failure:
    good_m = np.asarray(pair.chosen_m, np.float32)[:, :2]
    return Failure(pair.input, pair.scene, np.asarray(bad_m, np.float32), good_m, pair.visible_ids)
