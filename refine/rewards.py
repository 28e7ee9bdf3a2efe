"""Rewards of plans: PDMS on the scene, preference between the anchors, goal; SpanVLA's nearness."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..scoring.pdms import score_plans
from ..vocabulary import Float, PreferencePair
from .anchors import PAPER, AnchorConstants, Variant, total_reward

CLOSENESS_M = 10.0  # without a scene: mean distance to the positive at which the trajectory term reaches 0

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


def anchor_rewards(pair: PreferencePair, variant: Variant, constants: AnchorConstants = PAPER) -> Tensor:
    """(2,) rewards of a pair's own positive and negative: r_pos and r_neg of SafeAlign's Algorithm 2."""
    pos, neg = (np.asarray(plan, np.float32)[:, :2] for plan in (pair.chosen_m, pair.rejected_m))
    both = plan_rewards(pair.scene, np.stack((pos, neg)), pos, neg, pair.chosen_mask, variant, constants)
    return torch.from_numpy(both)


def nearness(plans_m: Array, other_m: Float, mask: NDArray[np.bool_], radius_m: float) -> Array:
    """SpanVLA's shaping term: 1 on a trajectory, falling evenly to 0 at a radius, 0 beyond.

    Bounded on purpose: a repulsion without an end drives plans to extremes, an attraction without one forbids the
    other ways to recover (SpanVLA 3.5.1; the radius is published nowhere, so the distance is a mean over points in
    metres, which a person can choose).

    Args:
        plans_m: (P, 8, 2).
        other_m: (8, 2), the negative or the recovery.
        mask: (8,) waypoints that count.
        radius_m: Above 0.

    Returns:
        (P,) in [0, 1].
    """
    off_m = np.linalg.norm(plans_m - other_m, axis=-1)[:, mask].mean(axis=-1)
    return np.maximum(0.0, 1.0 - off_m / radius_m).astype(np.float32)
