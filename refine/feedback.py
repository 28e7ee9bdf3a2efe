"""When a group is refined, and with what words: step 3 of SafeAlign's Algorithm 2, for GRPO and the anchor stage."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .anchors import Variant

FeedbackKind = Literal["analysis", "shuffled", "resample"]


class Threshold:
    """Delta, under which a group's best reward (eq. 11 alone) calls for feedback.

    The paper's 0.6 belongs to the published reward. `directional` gives other figures to the same plans, so its delta
    is moved to where it refines as many groups as 0.6 does on the published reward of those plans (proof.md 20).

    Attributes:
        value: Delta in force.
    """

    def __init__(self, published: float, variant: Variant) -> None:
        self._published, self._variant = published, variant
        self._seen: list[tuple[float, float]] = []
        self.value = published

    def observe(self, published_best: Tensor, best: Tensor) -> None:
        """Take more groups into account.

        Args:
            published_best: (n,) best published reward of each group's samples.
            best: (n,) best reward of the same samples by the variant in force.
        """
        if self._variant == "published":
            return
        self._seen += zip(published_best.tolist(), best.tolist(), strict=True)
        found = np.array(self._seen)
        if not len(found):
            return
        below = int((found[:, 0] < self._published).sum())
        ordered = np.sort(found[:, 1])
        # Strictly below the next one: `below` groups are refined, the rest are not.
        self.value = float(ordered[below]) if below < len(ordered) else float(np.nextafter(ordered[-1], 2.0))

    def remember(self) -> dict[str, Any]:
        """What a checkpoint must hold; plain values."""
        return {"value": self.value, "seen": [list(pair) for pair in self._seen]}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `remember`."""
        self.value = state["value"]
        self._seen = [(published, own) for published, own in state["seen"]]


def first_better(earned: Tensor, best: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Choose the first K corrected plans that beat every sample ("truncate to K").

    Args:
        earned: (n, tries) rewards of corrected plans.
        best: (n,) best reward among the group's samples.
        count: K.

    Returns:
        index: (n, K) into the tries; where fewer than K are better (or were tried), any other.
        present: (n, K) true where the chosen one is better.
    """
    better = earned > best[:, None]
    order = (~better).int().argsort(dim=1, stable=True)
    index = order[:, torch.arange(count, device=order.device).clamp_max(earned.shape[1] - 1)]
    present = better.gather(1, index)
    present[:, earned.shape[1] :] = False
    return index, present
