"""Rewards of plans: PDMS on the scene, preference between the anchors, goal, and format."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.actions import ActionCodec
from ..models.prompts import ParseFailure, parse_answer
from ..scoring.pdms import score_plans
from ..vocabulary import Float
from .anchors import PAPER, AnchorConstants, Variant, total_reward

CLOSENESS_M = 10.0  # without a scene: mean distance to the positive at which the trajectory term reaches 0
UNPARSABLE = -0.5  # below any drivable plan, yet near enough not to rule the group's variance

Array = NDArray[np.float32]


def trajectory_reward(scene: Any, plans_m: Array, pos_m: Float, mask: NDArray[np.bool_]) -> Array:
    """PDMS of plans; where no scene was kept, closeness to the positive.

    Closeness is linear, for an exponential one teaches small policies to stop everywhere.

    Args:
        scene: `scoring.scene.Scene`, or None.
        plans_m: (P, 8, 2) metres, ego frame.
        pos_m: (8, 2).
        mask: (8,) waypoints of the positive that count.

    Returns:
        (P,) in [0, 1].
    """
    if scene is not None:
        return np.asarray(score_plans(scene, plans_m.astype(np.float64)).pdms, np.float32)
    off_m = np.linalg.norm(plans_m - pos_m, axis=-1)[:, mask].mean(axis=-1)
    return (1.0 - np.minimum(off_m, CLOSENESS_M) / CLOSENESS_M).astype(np.float32)


def plan_rewards(
    scene: Any,
    plans_m: Array,
    pos_m: Float,
    neg_m: Float | None,
    mask: NDArray[np.bool_],
    variant: Variant = "directional",
    constants: AnchorConstants = PAPER,
) -> Array:
    """Reward of plans (SafeAlign eq. 11).

    Args:
        scene: `scoring.scene.Scene`, or None for uneventful samples.
        plans_m: (P, 8, 2).
        pos_m: (8, 2) positive anchor.
        neg_m: (8, 2) negative anchor, None if there is none.
        mask: (8,).
        variant: Formula of the preference term.
        constants: Weights.

    Returns:
        (P,) float32.
    """
    values = total_reward(
        torch.from_numpy(trajectory_reward(scene, plans_m, pos_m, mask)),
        torch.from_numpy(np.ascontiguousarray(plans_m, np.float32)),
        torch.from_numpy(np.ascontiguousarray(pos_m, np.float32)),
        None if neg_m is None else torch.from_numpy(np.ascontiguousarray(neg_m, np.float32)),
        torch.from_numpy(np.ascontiguousarray(mask)),
        variant,
        constants,
    )
    return values.numpy()


def batch_rewards(
    scenes: list[Any],
    plans_m: Tensor,
    pos_m: Tensor,
    neg_m: Tensor,
    mask: Tensor,
    variant: Variant,
    constants: AnchorConstants = PAPER,
) -> Tensor:
    """Rewards of a batch of groups without gradient.

    Args:
        scenes: B scenes or None each.
        plans_m: (B, G, 8, 2).
        pos_m: (B, 8, 2).
        neg_m: (B, 8, 2).
        mask: (B, 8).
        variant: Formula.
        constants: Weights.

    Returns:
        (B, G) float32 on the device of the plans.
    """
    plans = plans_m.detach().float().cpu()
    rows = zip(scenes, plans.numpy(), pos_m.cpu().numpy(), mask.cpu().numpy(), strict=True)
    traj = torch.from_numpy(np.stack([trajectory_reward(*row) for row in rows]))
    values = total_reward(traj, plans, pos_m.cpu(), neg_m.cpu(), mask.cpu(), variant, constants)
    return values.to(plans_m.device)


def decode_completion(text: str, codec: ActionCodec, speed_mps: float) -> Float | None:
    """The plan (8, 2) of a completion, None if it is no answer."""
    answer = parse_answer(text, len(codec))
    return None if isinstance(answer, ParseFailure) else codec.decode(answer.actions, speed_mps)
