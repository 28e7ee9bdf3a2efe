"""SafeAlign's anchors, equations 5 to 13, as pure functions of plans.

Two variants. `published` is the paper to the letter: d is the L2 norm of the whole flattened plan in metres,
the Huber loss tests an L1 norm against a squared L2 norm, advantages are neither clamped nor re-signed.
`directional`, the default, repairs what is wrong with it (letters as in the tests):

a. the anchors' own terms have no gradient, so they act on the head's noise-free plan instead;
b. `r_pref` rewards any distance from the negative, so it becomes progress along the axis from negative to
positive;
c. the margin is measured on the whole sequence (0.35 m a point), so the hinge becomes metres a point along
that axis;
d. terms that need an absent negative are left out and the other weights renormalised;
e. a group whose rewards agree has no advantage instead of an infinite one;
f. Huber is discontinuous, so it becomes the mean over points of a proper Huber of the point's distance;
g. a pair whose positive does not earn more than its negative is quarantined (`is_consistent`).

Plans are (..., G, 8, 2) float tensors in metres, ego frame; anchors (..., 8, 2); masks (..., 8) true where a
waypoint counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Variant = Literal["published", "directional"]


@dataclass(frozen=True, slots=True)
class AnchorConstants:
    """Appendix A.2 of SafeAlign; the values that the paper does not give are ours and say so."""

    w_traj: float = 0.5
    w_pref: float = 0.3
    w_goal: float = 0.2
    s_goal_m: float = 3.0
    c_clip: float = 1.5
    eta: float = 1e-6
    margin_m: float = 1.0
    huber_delta: float = 1.0  # ours
    off_axis_m: float = 2.0  # ours, directional: mean distance from the axis at which r_pref falls to 1/e
    advantage_clip: float = 3.0  # ours, directional
    min_std: float = 1e-3  # ours, directional: a group below is skipped


PAPER = AnchorConstants()


def distance(a_m: Tensor, b_m: Tensor, mask: Tensor) -> Tensor:
    """L2 norm of two flattened plans' difference over the waypoints that count: (..., 8, 2) -> (...)."""
    return _masked(a_m - b_m, mask).flatten(-2).norm(dim=-1)


def preference_reward(
    plans_m: Tensor,
    pos_m: Tensor,
    neg_m: Tensor,
    mask: Tensor,
    variant: Variant,
    constants: AnchorConstants = PAPER,
) -> Tensor:
    """How far plans are from the negative and near the positive (eq. 12), in [0, 1].

    Args:
        plans_m: (..., G, 8, 2).
        pos_m: (..., 8, 2) positive anchor.
        neg_m: (..., 8, 2) negative anchor.
        mask: (..., 8).
        variant: Which formula.
        constants: Constants of the formula.

    Returns:
        (..., G).
    """
    pos, neg, valid = pos_m.unsqueeze(-3), neg_m.unsqueeze(-3), mask.unsqueeze(-2)
    if variant == "published":
        ratio = distance(plans_m, neg, valid) / (distance(pos, neg, valid) + constants.eta)
        return ratio.clamp(0.0, constants.c_clip) / constants.c_clip
    along, off_m = _along_axis(plans_m, pos, neg, valid, constants)
    return along.clamp(0.0, 1.0) * torch.exp(-off_m / constants.off_axis_m)


def goal_reward(plans_m: Tensor, pos_m: Tensor, mask: Tensor, constants: AnchorConstants = PAPER) -> Tensor:
    """exp(-FDE / s_goal) to the positive's last waypoint that counts (eq. 13): (..., G, 8, 2) -> (..., G)."""
    steps = torch.arange(1, mask.shape[-1] + 1, device=mask.device)
    last = (mask * steps).argmax(dim=-1)
    index = last[..., None, None].expand(*last.shape, 1, 2)
    goal = pos_m.gather(-2, index)  # (..., 1, 2)
    groups = plans_m.shape[-3]
    index = index.unsqueeze(-3).expand(*last.shape, groups, 1, 2)
    end = plans_m.gather(-2, index).squeeze(-2)  # (..., G, 2)
    return torch.exp(-(end - goal).norm(dim=-1) / constants.s_goal_m)


def total_reward(
    traj: Tensor | None,
    plans_m: Tensor,
    pos_m: Tensor,
    neg_m: Tensor | None,
    mask: Tensor,
    variant: Variant,
    constants: AnchorConstants = PAPER,
) -> Tensor:
    """Weighted reward of plans (eq. 11).

    Args:
        traj: (..., G) PDMS in [0, 1]; None where no scene was kept.
        plans_m: (..., G, 8, 2).
        pos_m: (..., 8, 2).
        neg_m: (..., 8, 2); None for a scene without a negative.
        mask: (..., 8).
        variant: Which formula; `published` knows neither an absent scene nor an absent negative.
        constants: Weights.

    Returns:
        (..., G).
    """
    if variant == "published" and (traj is None or neg_m is None):
        raise ValueError("the published reward is undefined without a scene or without a negative anchor")
    terms = [(constants.w_goal, goal_reward(plans_m, pos_m, mask, constants))]
    if traj is not None:
        terms.append((constants.w_traj, traj))
    if neg_m is not None:
        preference = preference_reward(plans_m, pos_m, neg_m, mask, variant, constants)
        terms.append((constants.w_pref, preference))
    total = sum(weight for weight, _ in terms) if variant == "directional" else 1.0
    value = torch.zeros_like(terms[0][1])
    for weight, term in terms:
        value = value + (weight / total) * term
    return value


def is_consistent(reward_pos: Tensor, reward_neg: Tensor) -> Tensor:
    """True where the positive earns more than the negative; other pairs are quarantined."""
    return reward_pos > reward_neg


def group_advantages(
    samples: Tensor,
    anchors: Tensor,
    variant: Variant,
    present: Tensor | None = None,
    constants: AnchorConstants = PAPER,
) -> tuple[Tensor, Tensor]:
    """Advantages against the statistics of samples and corrected samples only (eq. 8).

    Args:
        samples: (..., R) rewards of sampled and corrected plans.
        anchors: (..., 2) rewards of the positive and the negative anchor.
        variant: `published` divides by whatever standard deviation there is.
        present: (..., R) false where a corrected sample is absent; None for all there.
        constants: Clip and smallest standard deviation of `directional`.

    Returns:
        Advantages (..., R) of the samples, 0 where absent, and (..., 2) of the anchors.
    """
    given = samples.dtype
    # In double precision the mean of equal rewards is that reward, so a group without variance shows as one.
    samples, anchors = samples.double(), anchors.double()
    here = torch.ones_like(samples) if present is None else present.to(samples.dtype)
    count = here.sum(-1, keepdim=True)
    mean = (samples * here).sum(-1, keepdim=True) / count
    std = (((samples - mean) ** 2 * here).sum(-1, keepdim=True) / count).sqrt()  # population
    if variant == "published":
        return (((samples - mean) / std) * here).to(given), ((anchors - mean) / std).to(given)
    alive = (std > constants.min_std).to(samples.dtype)
    scale = alive / std.clamp_min(constants.min_std)
    limit = constants.advantage_clip
    advantage = ((samples - mean) * scale).clamp(-limit, limit) * here
    pos, neg = ((anchors - mean) * scale).split(1, dim=-1)
    signed = torch.cat((pos.clamp(0.0, limit), neg.clamp(-limit, 0.0)), dim=-1)
    return advantage.to(given), signed.to(given)


def huber(
    plans_m: Tensor, pos_m: Tensor, mask: Tensor, variant: Variant, constants: AnchorConstants = PAPER
) -> Tensor:
    """Pull towards the positive anchor (eq. 10): (..., G, 8, 2), (..., 8, 2) -> (..., G)."""
    delta = constants.huber_delta
    error = _masked(plans_m - pos_m.unsqueeze(-3), mask.unsqueeze(-2))
    if variant == "published":
        l1 = error.flatten(-2).abs().sum(-1)
        return torch.where(l1 <= delta, 0.5 * (error**2).flatten(-2).sum(-1), delta * (l1 - 0.5 * delta))
    squared = (error**2).sum(-1)  # (..., G, 8)
    far = delta * (squared.clamp_min(delta**2).sqrt() - 0.5 * delta)
    return _mean_points(torch.where(squared <= delta**2, 0.5 * squared, far), mask.unsqueeze(-2))


def hinge(
    plans_m: Tensor,
    pos_m: Tensor,
    neg_m: Tensor,
    mask: Tensor,
    variant: Variant,
    constants: AnchorConstants = PAPER,
) -> Tensor:
    """Push away from the negative anchor (second branch of eq. 9): (..., G, 8, 2) -> (..., G).

    `directional` measures metres a point gained along the axis from negative to positive, and its margin
    never asks for more than the positive itself has.
    """
    pos, neg, valid = pos_m.unsqueeze(-3), neg_m.unsqueeze(-3), mask.unsqueeze(-2)
    if variant == "published":
        return (constants.margin_m - distance(plans_m, neg, valid)).clamp_min(0.0)
    along, _ = _along_axis(plans_m, pos, neg, valid, constants)
    length_m = distance(pos, neg, valid) / valid.sum(-1).clamp_min(1).sqrt()  # root mean square over points
    margin_m = length_m.clamp_max(constants.margin_m)
    return (margin_m - along * length_m).clamp_min(0.0)


def contrastive_loss(
    plans_m: Tensor,
    advantages: Tensor,
    anchor_advantages: Tensor,
    centre_m: Tensor,
    pos_m: Tensor,
    neg_m: Tensor,
    mask: Tensor,
    variant: Variant,
    present: Tensor | None = None,
    constants: AnchorConstants = PAPER,
) -> Tensor:
    """Advantage-weighted two-branch loss of a group (eq. 9).

    Args:
        plans_m: (..., R, 8, 2) sampled and corrected plans.
        advantages: (..., R), no gradient.
        anchor_advantages: (..., 2) of positive and negative.
        centre_m: (..., 8, 2) the head's plan without noise; `directional` lets the anchors act on it.
        pos_m: (..., 8, 2).
        neg_m: (..., 8, 2).
        mask: (..., 8).
        variant: Which formula.
        present: (..., R) false where a corrected sample is absent.
        constants: Margin and Huber threshold.

    Returns:
        (...) one loss a scene.
    """
    advantages, anchor_advantages = advantages.detach(), anchor_advantages.detach()
    here = torch.ones_like(advantages) if present is None else present.to(advantages.dtype)
    anchors = torch.stack((pos_m, neg_m), dim=-3)
    last_two = anchors if variant == "published" else centre_m.unsqueeze(-3).expand_as(anchors)
    group = torch.cat((plans_m, last_two), dim=-3)
    weight = torch.cat((advantages, anchor_advantages), dim=-1)
    share = torch.cat((here, torch.ones_like(anchor_advantages)), dim=-1)
    pull = huber(group, pos_m, mask, variant, constants)
    push = hinge(group, pos_m, neg_m, mask, variant, constants)
    terms = torch.where(weight >= 0, weight * pull, weight.abs() * push)
    return (terms * share).sum(-1) / share.sum(-1)


def _masked(error: Tensor, mask: Tensor) -> Tensor:
    return error * mask.unsqueeze(-1).to(error.dtype)


def _mean_points(values: Tensor, mask: Tensor) -> Tensor:
    share = mask.to(values.dtype)
    return (values * share).sum(-1) / share.sum(-1).clamp_min(1.0)


def _along_axis(
    plans_m: Tensor, pos: Tensor, neg: Tensor, valid: Tensor, constants: AnchorConstants
) -> tuple[Tensor, Tensor]:
    """Share of the way from negative to positive, and mean distance in metres from the segment."""
    axis = _masked(pos - neg, valid)
    offset = _masked(plans_m - neg, valid)
    along = (offset * axis).flatten(-2).sum(-1) / ((axis**2).flatten(-2).sum(-1) + constants.eta)
    rest = offset - along.clamp(0.0, 1.0)[..., None, None] * axis
    off_m = _mean_points((rest**2).sum(-1).clamp_min(1e-12).sqrt(), valid)
    return along, off_m
