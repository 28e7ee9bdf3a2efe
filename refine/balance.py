"""Alpha of SafeAlign eq. 4: how much the head's loss counts beside the text's.

The paper says that gradients are scaled to similar size, not how. Here: in the last layer that both losses train, the ratio
of the norms of their gradients (as GradNorm measures them), geometric mean over the first batches, then held.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import RefineError

BATCHES = 8  # after which the weight is held: one batch's gradients differ by a factor of two


class Balance:
    """The head's weight, and what both gradients are.

    Args:
        setting: A fixed weight, or `balanced`.
        layer: The last layer that both losses train.
    """

    def __init__(self, setting: float | Literal["balanced"], layer: nn.Module) -> None:
        self._fixed = None if setting == "balanced" else float(setting)
        self._layer = layer
        self._seen: list[tuple[float, float]] = []  # norms of the text's gradient and of the head's
        self._mute = 0  # batches before the first measured one

    @property
    def weight(self) -> float:
        """Alpha, as far as it is known; 0 before the first batch that tells."""
        if self._fixed is not None:
            return self._fixed
        if not self._seen:
            return 0.0
        ratios = [math.log(text / head) for text, head in self._seen]
        return math.exp(math.fsum(ratios) / len(ratios))

    def of(self, text: Tensor, head: Tensor) -> float:
        """Alpha for a batch.

        A batch whose text has no gradient (GRPO's, if no group has variance) or a lost one tells nothing.

        Args:
            text: Loss of the trainer, a scalar with its graph.
            head: Loss of the head, likewise.

        Raises:
            RefineError: Nothing can be balanced: the head sends no gradient into the backbone, or the text sends none
                in any of the first BATCHES batches.
        """
        wanted = BATCHES if self._fixed is None else 1  # a fixed weight is measured once, for the report
        if len(self._seen) < wanted and self._fixed != 0.0:
            norms = self._norm(text), self._norm(head)
            if all(math.isfinite(norm) and norm > 0.0 for norm in norms):
                self._seen.append(norms)
            elif self._fixed is None and not self._seen:
                self._mute += 1
                if norms[1] != 0.0 and self._mute < BATCHES:
                    return 0.0
                raise RefineError(
                    f"the gradients cannot be balanced: {norms[0]:g} of the text, {norms[1]:g} of the head",
                    fix="give refine.*.head_weight a number",
                )
        return self.weight

    def figures(self) -> dict[str, float]:
        """For the report: alpha, and both norms (means over what was measured)."""
        if not self._seen:
            return {"head_weight": self._fixed or 0.0}
        text, head = (math.fsum(norms) / len(self._seen) for norms in zip(*self._seen, strict=True))
        return {"head_weight": self.weight, "gradient_text": text, "gradient_head": head}

    def remember(self) -> list[list[float]]:
        """What a checkpoint must hold."""
        return [list(norms) for norms in self._seen]

    def restore(self, seen: list[list[float]]) -> None:
        """The inverse of `remember`."""
        self._seen = [(text, head) for text, head in seen]

    def _norm(self, loss: Tensor) -> float:
        weights = [p for p in self._layer.parameters() if p.requires_grad]
        if not loss.requires_grad or not weights:
            return 0.0
        parts = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        squares = [part.detach().float().square().sum() for part in parts if part is not None]
        return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def last_layer(model: Any) -> nn.Module:
    """The last decoder layer of a driving model, wrapped in an adapter or not.

    Raises:
        RefineError: The model has no decoder layers where every supported family has them.
    """
    for name, module in model.named_modules():
        if name.endswith("language_model.layers") and isinstance(module, nn.ModuleList) and len(module):
            return module[-1]
    raise RefineError("the model has no language_model.layers", fix="use a family of models/backbone.py")
