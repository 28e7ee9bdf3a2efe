"""`DrivingMixin`: what turns an image-text-to-text model of transformers into a driving policy.

The mixin adds an action head that reads the last hidden states of the prompt. TRL replaces `forward` on the
instance and calls the backbone itself, so nothing here overrides `forward`: a hook on the backbone keeps
the hidden states of the last training pass, and the trainer collects them with `take()`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..vocabulary import HISTORY_POINTS, PLAN_POINTS, Command

EGO_DIM = 3 + 3 * HISTORY_POINTS + len(Command)
PLAN_SCALE_M = (
    20.0,
    4.0,
)  # head targets are x / 20 m and y / 4 m: in metres the head's loss drowns the text's


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Shape of the action head; stored in the model's config under `driving`."""

    feature: int = 256  # SafeAlign App. A.1: pooled feature
    queries: int = 16  # attention pooling: learned queries, each over feature / queries channels
    ego: bool = True  # the head also reads the odometry as numbers


class ActionHead(nn.Module):
    """SafeAlign eq. 4 and App. A.1: attention pooling to 256-d, then a three-layer MLP to 8 waypoints.

    `pool` and `decode` are apart because the anchor stage adds noise to the pooled feature between them.
    """

    def __init__(self, hidden: int, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(hidden, config.queries)
        self.value = nn.Linear(hidden, config.feature)
        width = config.feature + (EGO_DIM if config.ego else 0)
        self.mlp = nn.Sequential(
            nn.Linear(width, config.feature),
            nn.SiLU(),
            nn.Linear(config.feature, config.feature),
            nn.SiLU(),
            nn.Linear(config.feature, 2 * PLAN_POINTS),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights: 1/sqrt(fan_in), and a small last layer so that first plans stay small."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=1.0 / math.sqrt(module.in_features))
                nn.init.zeros_(module.bias)
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool hidden states.

        Args:
            hidden: (B, T, D) last hidden states.
            mask: (B, T) true where a token counts (prompt tokens only).

        Returns:
            (B, feature) float32.
        """
        hidden = hidden.to(self.value.weight.dtype)
        batch, length, _ = hidden.shape
        logits = self.query(hidden).masked_fill(~mask.bool()[..., None], -1e9)  # (B, T, Q)
        weights = logits.softmax(dim=1)
        values = self.value(hidden).view(batch, length, self.config.queries, -1)
        return torch.einsum("btq,btqc->bqc", weights, values).reshape(batch, -1)

    def decode(self, feature: Tensor, ego: Tensor) -> Tensor:
        """Regress the plan.

        Args:
            feature: (..., feature) pooled feature, perhaps with noise added.
            ego: (..., EGO_DIM) normalised odometry and command.

        Returns:
            (..., 8, 2) in units of PLAN_SCALE_M.
        """
        inputs = torch.cat((feature, ego.to(feature.dtype)), dim=-1) if self.config.ego else feature
        out: Tensor = self.mlp(inputs)
        return out.reshape(*out.shape[:-1], PLAN_POINTS, 2)

    def forward(self, hidden: Tensor, mask: Tensor, ego: Tensor) -> Tensor:
        """Plan in metres: (B, T, D), (B, T), (B, EGO_DIM) -> (B, 8, 2)."""
        return to_metres(self.decode(self.pool(hidden, mask), ego))


def to_metres(plan: Tensor) -> Tensor:
    """Head output (..., 8, 2) in units of PLAN_SCALE_M -> metres."""
    return plan * plan.new_tensor(PLAN_SCALE_M)


def head_loss(plan_m: Tensor, target_m: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Smooth L1 between plans in units of PLAN_SCALE_M, averaged over the waypoints that count.

    Args:
        plan_m: (B, 8, 2) metres.
        target_m: (B, 8, 2) metres.
        mask: (B, 8) true where the waypoint counts.
        weight: (B,) weight of each sample, 1 if absent.

    Returns:
        Scalar.
    """
    scale = plan_m.new_tensor(PLAN_SCALE_M)
    error = nn.functional.smooth_l1_loss(plan_m / scale, target_m / scale, reduction="none", beta=0.05)
    share = mask.to(error.dtype)
    if weight is not None:
        share = share * weight[:, None].to(error.dtype)
    return (error.mean(-1) * share).sum() / share.sum().clamp_min(1e-6)


class DrivingMixin:
    """Adds the action head to a `…ForConditionalGeneration` class, which must come after it in the bases.

    The head's shape lives in `config.driving`, so `save_pretrained` and `from_pretrained` keep it, and a
    checkpoint without one (a stock checkpoint of the hub) gets a fresh head. A flow-matching head will be a
    second module beside `action_head`, fed by the same `take()`.
    """

    action_head: ActionHead

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        if not getattr(config, "driving", None):
            config.driving = asdict(HeadConfig())
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        self.loss_type = "ForCausalLM"  # transformers guesses it from the class's name, and ours says nothing
        hidden = config.get_text_config().hidden_size
        self.action_head = ActionHead(hidden, HeadConfig(**config.driving))
        self._captured: tuple[Tensor, Tensor] | None = None
        self.model.register_forward_hook(self._capture, with_kwargs=True)  # type: ignore[attr-defined]

    def _init_weights(self, module: nn.Module) -> None:
        if not isinstance(module, ActionHead):
            super()._init_weights(module)  # type: ignore[misc]
        elif not any(getattr(weight, "_is_hf_initialized", False) for weight in module.parameters()):
            module.reset_parameters()  # not loaded from a checkpoint

    def _capture(self, _module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if torch.is_grad_enabled() and self.training:  # type: ignore[attr-defined]
            hidden = output.last_hidden_state
            mask = kwargs.get("attention_mask")
            self._captured = (hidden, torch.ones(hidden.shape[:2]) if mask is None else mask)

    def take(self) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, D) and attention mask (B, T) of the last training pass; forgets them.

        Forgetting matters: a kept graph makes `copy.deepcopy` of the model fail.
        """
        if self._captured is None:
            raise RuntimeError("take() without a training pass before it")
        captured, self._captured = self._captured, None
        return captured

    def hidden_states(self, inputs: dict[str, Tensor]) -> Tensor:
        """Last hidden states (B, T, D) of one prefill, without language-model head and cache."""
        return self.model(**inputs, use_cache=False).last_hidden_state  # type: ignore[attr-defined]


def restore_forward(model: nn.Module) -> None:
    """Remove the `forward` that a TRL trainer put on the instance.

    A deep copy of a patched model would keep running the old model's weights in `generate`.
    """
    model.__dict__.pop("forward", None)
