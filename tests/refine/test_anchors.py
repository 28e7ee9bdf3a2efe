from __future__ import annotations

import math

import pytest
import torch

from takeover.refine.anchors import (
    PAPER,
    Variant,
    contrastive_loss,
    distance,
    goal_reward,
    group_advantages,
    hinge,
    huber,
    is_consistent,
    preference_reward,
    total_reward,
)

ALL = torch.ones(8, dtype=torch.bool)
T = torch.arange(1.0, 9.0)


def straight(speed_per_step: float) -> torch.Tensor:
    """(8, 2) along x with constant spacing, float64."""
    return torch.stack((speed_per_step * T, torch.zeros(8)), dim=-1).double()


POS, NEG = straight(2.0), straight(3.0)  # offsets 1, 2, ..., 8 m; sum of squares 204
D = math.sqrt(204.0)


def close(value: torch.Tensor, expected: float) -> bool:
    return abs(float(value) - expected) < 1e-6


# The paper, against numbers worked out by hand.


def test_distance_is_the_norm_of_the_whole_sequence_over_the_waypoints_that_count() -> None:
    assert close(distance(POS, NEG, ALL), D)
    half = torch.tensor([True] * 4 + [False] * 4)
    assert close(distance(POS, NEG, half), math.sqrt(30.0))


def test_published_preference_reward() -> None:
    plans = torch.stack((POS, NEG, straight(2.5), straight(1.0)))
    values = preference_reward(plans, POS, NEG, ALL, "published")
    # ratios 1, 0, 1/2 and 2 -> clipped to 1.5; eta moves the first one by 1e-6/14.28/1.5
    for value, expected in zip(values, (1 / 1.5, 0.0, 0.5 / 1.5, 1.0), strict=True):
        assert close(value, expected)


def test_goal_reward() -> None:
    plans = torch.stack((POS, NEG, straight(2.5)))  # end points 16, 24 and 20 m
    values = goal_reward(plans, POS, ALL)
    for value, expected in zip(values, (1.0, math.exp(-8 / 3), math.exp(-4 / 3)), strict=True):
        assert close(value, expected)
    short = torch.tensor([True] * 5 + [False] * 3)  # the last one that counts is the fifth: 10 m against 15 m
    assert close(goal_reward(NEG[None], POS, short)[0], math.exp(-5 / 3))


def test_published_total_reward() -> None:
    traj = torch.tensor([0.8], dtype=torch.float64)
    value = total_reward(traj, straight(2.5)[None], POS, NEG, ALL, "published")
    assert close(value[0], 0.5 * 0.8 + 0.3 * (0.5 / 1.5) + 0.2 * math.exp(-4 / 3))


def test_published_advantages_use_the_samples_statistics_for_the_anchors_too() -> None:
    samples = torch.tensor([0.2, 0.4, 0.6], dtype=torch.float64)  # mean 0.4, population std sqrt(0.08/3)
    anchors = torch.tensor([0.9, 0.7], dtype=torch.float64)
    std = math.sqrt(0.08 / 3)
    got, (pos, neg) = group_advantages(samples, anchors, "published")
    for value, expected in zip(got, (-0.2 / std, 0.0, 0.2 / std), strict=True):
        assert close(value, expected)
    assert close(pos, 0.5 / std)
    assert close(neg, 0.3 / std)  # neither clamped nor re-signed


def test_published_huber_both_branches() -> None:
    near, far = POS.clone(), POS.clone()
    near[0, 0] += 0.3
    near[3, 1] -= 0.4  # L1 0.7, squared L2 0.25
    far[0, 0] += 3.0
    far[3, 1] -= 4.0  # L1 7
    values = huber(torch.stack((near, far)), POS, ALL, "published")
    assert close(values[0], 0.125)
    assert close(values[1], 6.5)


def test_published_contrastive_loss() -> None:
    good, bad = POS.clone(), NEG.clone()
    good[0, 0] += 0.5  # Huber 0.125
    bad[0, 1] += 0.6  # 0.6 m from the negative: hinge 0.4
    loss = contrastive_loss(
        torch.stack((good, bad)),
        torch.tensor([2.0, -0.5], dtype=torch.float64),
        torch.tensor([3.0, -1.5], dtype=torch.float64),
        POS,
        POS,
        NEG,
        ALL,
        "published",
    )
    # (2 * 0.125 + 0.5 * 0.4 + 3 * 0 + 1.5 * 1.0) / 4: the negative anchor adds a constant
    assert close(loss, (0.25 + 0.2 + 1.5) / 4)


# The paper's faults, and that the default has none of them.


def _anchor_gradient(variant: Variant) -> float:
    centre = straight(2.7).requires_grad_()
    loss = contrastive_loss(
        centre.detach()[None],
        torch.zeros(1, dtype=torch.float64),
        torch.tensor([1.0, -1.0], dtype=torch.float64),
        centre,
        POS,
        NEG,
        ALL,
        variant,
    )
    if not loss.requires_grad:
        return 0.0
    return float(torch.autograd.grad(loss, centre)[0].abs().sum())


def test_fault_a_anchors_give_no_gradient() -> None:
    assert _anchor_gradient("published") == 0.0
    assert _anchor_gradient("directional") > 0.0


def test_fault_b_a_full_stop_beats_the_gentle_correction() -> None:
    stop, floor = straight(0.0), straight(4.6)
    plans = torch.stack((POS, stop, floor))
    pos, stopped, floored = preference_reward(plans, POS, NEG, ALL, "published")
    assert stopped > pos
    assert floored > pos
    pos, stopped, floored = preference_reward(plans, POS, NEG, ALL, "directional")
    assert close(pos, 1.0)
    assert stopped < 0.5 * pos
    assert floored == 0.0


def test_fault_b_subtle_corrections_pay_for_overshoot_in_the_whole_reward() -> None:
    pos, neg, past = straight(2.0), straight(2.2), straight(1.9)  # end points 1.6 m apart, below s_goal
    same = torch.full((2,), 0.9, dtype=torch.float64)
    plans = torch.stack((pos, past))
    at_pos, beyond = total_reward(same, plans, pos, neg, ALL, "published")
    assert beyond > at_pos
    at_pos, beyond = total_reward(same, plans, pos, neg, ALL, "directional")
    assert beyond < at_pos


def test_fault_c_a_bad_plan_farther_than_the_margin_is_not_pushed() -> None:
    bad = straight(3.2)  # faster still than the negative: 2.9 m away on the sequence, wrong side
    assert float(hinge(bad[None], POS, NEG, ALL, "published")) == 0.0
    assert float(hinge(bad[None], POS, NEG, ALL, "directional")) > PAPER.margin_m
    assert float(hinge(POS[None], POS, NEG, ALL, "directional")) == 0.0


def test_fault_c_the_push_at_the_negative_itself_points_to_the_positive() -> None:
    moved: tuple[tuple[Variant, bool], ...] = (("published", False), ("directional", True))
    for variant, moves in moved:
        plan = NEG.clone()[None].requires_grad_()
        value = hinge(plan, POS, NEG, ALL, variant).sum()
        step = -torch.autograd.grad(value, plan)[0][0]
        assert bool((step[:, 0] < 0).all()) is moves  # x shrinks from 3t towards 2t


def test_the_margin_never_asks_for_more_than_the_positive_has() -> None:
    pos = straight(2.95)  # 0.25 m a point from the negative, less than the margin
    assert close(hinge(pos[None], pos, NEG, ALL, "directional")[0], 0.0)


def test_fault_d_no_negative() -> None:
    traj = torch.tensor([0.8], dtype=torch.float64)
    with pytest.raises(ValueError, match="undefined"):
        total_reward(traj, POS[None], POS, None, ALL, "published")
    value = total_reward(traj, POS[None], POS, None, ALL, "directional")
    assert close(value[0], (0.5 * 0.8 + 0.2) / 0.7)


def test_fault_e_a_group_without_variance() -> None:
    same, anchors = torch.full((6,), 0.5, dtype=torch.float64), torch.tensor([0.9, 0.1], dtype=torch.float64)
    got, injected = group_advantages(same, anchors, "published")
    assert not torch.isfinite(torch.cat((got, injected))).all()
    got, injected = group_advantages(same, anchors, "directional")
    assert bool((got == 0).all() and (injected == 0).all())


def test_fault_f_huber_jumps() -> None:
    below, above = POS.clone(), POS.clone()
    below[:2, 0] += 0.5 - 1e-9  # L1 just below delta over two components
    above[:2, 0] += 0.5 + 1e-9
    a, b = huber(torch.stack((below, above)), POS, ALL, "published")
    assert float(b - a) > 0.2
    below, above = POS.clone(), POS.clone()
    below[0, 0] += 1.0 - 1e-9
    above[0, 0] += 1.0 + 1e-9
    a, b = huber(torch.stack((below, above)), POS, ALL, "directional")
    assert abs(float(b - a)) < 1e-8
    assert close(a, 0.5 / 8)  # mean over points


def test_fault_g_inconsistent_pairs_are_recognised() -> None:
    assert is_consistent(torch.tensor([0.5, 0.5, 0.4]), torch.tensor([0.4, 0.5, 0.5])).tolist() == [
        True,
        False,
        False,
    ]


def test_directional_anchor_advantages_are_signed_and_clamped() -> None:
    samples = torch.tensor([0.1, 0.2], dtype=torch.float64)
    _, (pos, neg) = group_advantages(samples, torch.tensor([0.9, 0.9], dtype=torch.float64), "directional")
    assert float(pos) == PAPER.advantage_clip
    assert float(neg) == 0.0


def test_absent_corrected_samples_count_nowhere() -> None:
    rewards, present = torch.tensor([0.2, 0.4, 9.0]).double(), torch.tensor([True, True, False])
    anchors = torch.tensor([0.5, 0.1]).double()
    masked = group_advantages(rewards, anchors, "directional", present)
    plain = group_advantages(rewards[:2], anchors, "directional")
    assert torch.allclose(masked[0][:2], plain[0])
    assert float(masked[0][2]) == 0.0
    assert torch.allclose(masked[1], plain[1])
    plans = torch.stack((straight(2.2), straight(2.6), straight(9.0)))
    with_hole = contrastive_loss(plans, *masked, POS, POS, NEG, ALL, "directional", present)
    without = contrastive_loss(plans[:2], *plain, POS, POS, NEG, ALL, "directional")
    assert torch.allclose(with_hole, without)


def test_waypoints_outside_the_mask_change_nothing() -> None:
    mask = torch.tensor([True] * 5 + [False] * 3)
    spoiled = straight(2.5)
    spoiled[5:] += 50.0
    for variant in ("published", "directional"):
        for function in (preference_reward, hinge):
            a = function(straight(2.5)[None], POS, NEG, mask, variant)
            b = function(spoiled[None], POS, NEG, mask, variant)
            assert torch.equal(a, b)
        assert torch.equal(
            huber(straight(2.5)[None], POS, mask, variant), huber(spoiled[None], POS, mask, variant)
        )


def test_batches_agree_with_single_scenes() -> None:
    torch.manual_seed(0)
    plans, pos, neg = torch.randn(3, 4, 8, 2), torch.randn(3, 8, 2), torch.randn(3, 8, 2)
    mask = torch.ones(3, 8, dtype=torch.bool)
    advantage, anchor = torch.randn(3, 4), torch.randn(3, 2)
    for variant in ("published", "directional"):
        many = contrastive_loss(plans, advantage, anchor, pos, pos, neg, mask, variant)
        for i in range(3):
            one = contrastive_loss(
                plans[i], advantage[i], anchor[i], pos[i], pos[i], neg[i], mask[i], variant
            )
            assert torch.allclose(many[i], one, atol=1e-6)
