"""What the heads share, and the `mlp` head: SafeAlign's attention pooling and three-layer MLP."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..vocabulary import HISTORY_POINTS, PLAN_POINTS, Command

CONTEXTS = ("prompt", "prompt+reasoning")
EGO_MOTION = 3  # speed, acceleration and yaw rate come first in the ego vector, then the history
HISTORY_SCALE = (10.0, 1.0, 0.3)  # of x [m], y [m] and yaw [rad] of a past pose in the ego vector
EGO_DIM = EGO_MOTION + 3 * HISTORY_POINTS + len(Command)
PLAN_SCALE_M = (
    20.0,
    4.0,
)  # head targets are x / 20 m and y / 4 m: in metres the head's loss drowns the text's


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """Shape of the `flow` head (SpanVLA); what the paper does not give is in docs/constants.md."""

    width: int = 128
    depth: int = 1  # blocks of the velocity network
    attention_heads: int = 4
    memory: int = 16  # learned queries of the bridge: what the velocity network reads of a scene
    steps: int = 5  # Euler steps of a plan
    noise: float = 0.3  # standard deviation of the noise on the history track, in units of PLAN_SCALE_M
    time_shift: float = -0.5  # tau = sigmoid(normal + shift): below 0 early times are drawn more often


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Shape of the heads; stored in the model's config under `driving`."""

    feature: int = 256  # SafeAlign App. A.1: pooled feature
    queries: int = 16  # attention pooling: learned queries, each over feature / queries channels
    ego: bool = True  # the heads also read the odometry as numbers
    context: str = "prompt"  # what they pool over, one of CONTEXTS; `prompt+reasoning` is SafeAlign's
    flow: FlowConfig | None = None  # None: there is no `flow` head

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeadConfig:
        """The inverse of `dataclasses.asdict`; keys that an older checkpoint lacks take their defaults."""
        flow = values.get("flow")
        return cls(**{**values, "flow": FlowConfig(**flow) if flow else None})


class ActionHead(nn.Module):
    """SafeAlign eq. 4 and App. A.1: attention pooling to 256-d, then a three-layer MLP to 8 waypoints.

    `pool` and `decode` are apart because the anchor stage adds noise to the pooled feature between them. Beside the
    paper's pooled feature the MLP reads the odometry, which the paper gives in the prompt's words alone.
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
        draw_linears(self)
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool hidden states.

        Args:
            hidden: (B, T, D) last hidden states.
            mask: (B, T) true where a token counts.

        Returns:
            (B, feature) float32.
        """
        hidden = hidden.to(self.value.weight.dtype)
        logits = self.query(hidden).transpose(1, 2).masked_fill(~mask.bool()[:, None], -1e9)  # (B, Q, T)
        # The weighted mean of the values is the value of the weighted mean, at a fraction of the sums.
        seen = (logits.softmax(dim=-1) @ hidden).transpose(0, 1)  # (Q, B, D)
        weight = self.value.weight.view(self.config.queries, -1, hidden.shape[-1])
        values = (seen @ weight.transpose(1, 2)).transpose(0, 1)  # (B, Q, feature / Q)
        return values.flatten(1) + self.value.bias

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


def draw_linears(module: nn.Module) -> None:
    """Draw the weights of every linear layer inside with 1/sqrt(fan_in); biases are zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=1.0 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)


def to_metres(plan: Tensor) -> Tensor:
    """Head output (..., 8, 2) in units of PLAN_SCALE_M -> metres."""
    return plan * plan.new_tensor(PLAN_SCALE_M)


def from_metres(plan_m: Tensor) -> Tensor:
    """(..., 8, 2) metres -> units of PLAN_SCALE_M."""
    return plan_m / plan_m.new_tensor(PLAN_SCALE_M)


def masked_mean(error: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over the waypoints that count, of which each weighs as its sample does.

    Args:
        error: (B, 8) of each waypoint.
        mask: (B, 8) true where the waypoint counts.
        weight: (B,) weight of each sample, 1 if absent.

    Returns:
        Scalar; 0 where nothing counts.
    """
    share = mask.to(error.dtype)
    if weight is not None:
        share = share * weight[:, None].to(error.dtype)
    return (error * share).sum() / share.sum().clamp_min(1e-6)


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
    error = nn.functional.smooth_l1_loss(
        from_metres(plan_m), from_metres(target_m), reduction="none", beta=0.05
    )
    return masked_mean(error.mean(-1), mask, weight)
