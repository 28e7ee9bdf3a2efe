"""SafeAlign's Algorithm 2 on one scene, step by step, against figures worked out on paper (published variant)."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from takeover.models.heads import PLAN_SCALE_M
from takeover.models.policy import Policy
from takeover.refine import rewards as rewards_module
from takeover.refine.anchor_stage import run_anchor
from takeover.refine.anchors import contrastive_loss, group_advantages, huber, total_reward
from takeover.refine.config import AnchorConfig
from takeover.refine.feedback import Threshold, first_better

from .conftest import blocked_road, make_pairs

ALL = torch.ones(8, dtype=torch.bool)


def straight(metres_a_point: float) -> torch.Tensor:
    """(8, 2) along x, float64."""
    ahead = metres_a_point * torch.arange(1.0, 9.0, dtype=torch.float64)
    return torch.stack((ahead, torch.zeros(8, dtype=torch.float64)), dim=-1)


POS, NEG = straight(2.0), straight(3.0)
SAMPLES = torch.stack((straight(2.5), straight(2.8)))
TRIES = torch.stack((straight(2.9), straight(2.1)))


def rewards(pdms: list[float], plans: torch.Tensor) -> list[float]:
    traj = torch.tensor(pdms, dtype=torch.float64)
    return [float(v) for v in total_reward(traj, plans, POS, NEG, ALL, "published")]


def near(got: list[float], wanted: list[float]) -> bool:
    return len(got) == len(wanted) and all(abs(a - b) < 1e-6 for a, b in zip(got, wanted, strict=True))


def test_algorithm_2_by_hand() -> None:
    # Step 1, eq. 11-13. 2.5: d is half of the anchors' distance, the end 4 m from the positive's;
    # 0.5 * 0.8 + 0.3 * (0.5 / 1.5) + 0.2 * exp(-4 / 3). 2.8: 0.5 * 0.2 + 0.3 * (0.2 / 1.5) + 0.2 * exp(-6.4 / 3).
    sampled = rewards([0.8, 0.2], SAMPLES)
    assert near(sampled, [0.5527194, 0.1636884])
    # Step 2: 0.5 * 0.9 + 0.3 * (1 / 1.5) + 0.2, and 0.2 * exp(-8 / 3) alone.
    anchors = rewards([0.9, 0.0], torch.stack((POS, NEG)))
    assert near(anchors, [0.85, 0.0138967])
    # Step 3: the best, 0.553, is below delta = 0.6; of two tries only the second beats it; K = 2 leaves a place empty.
    delta = Threshold(0.6, "published")
    assert max(sampled) < delta.value
    tried = rewards([0.1, 0.9], TRIES)
    assert near(tried, [0.0881436, 0.7831857])
    index, present = first_better(torch.tensor([tried]), torch.tensor([max(sampled)]), 2)
    assert index[0, 0] == 1
    assert present.tolist() == [[True, False]]
    # Step 4, eq. 8: mean 0.4998645 and population deviation 0.2556553 of 0.5527194, 0.1636884, 0.7831857.
    group = torch.tensor([*sampled, tried[1], tried[0]], dtype=torch.float64)
    here = torch.tensor([True, True, True, False])
    own, injected = group_advantages(group, torch.tensor(anchors).double(), "published", here)
    assert near(own.tolist(), [0.2067430, -1.3149585, 1.1082155, 0.0])
    assert near(injected.tolist(), [1.3695609, -1.9008711])
    # Step 5, eq. 9 and 10. 2.5: L1 18, so 18 - 0.5. 2.8: 2.86 m from the negative, beyond m. 2.1: L1 3.6, so 3.1.
    # Positive: 0. Negative: m - 0. Five trajectories in T: the empty place is none.
    plans = torch.cat((SAMPLES, TRIES[1:], TRIES[:1]))
    pull = huber(plans[:3], POS, ALL, "published")
    assert near(pull.tolist(), [17.5, 25.1 + 3.2, 3.1])
    loss = contrastive_loss(plans, own, injected, POS, POS, NEG, ALL, "published", here)
    # (0.2067430 * 17.5 + 0 + 1.1082155 * 3.1 + 0 + 1.9008711 * 1) / 5
    assert near([float(loss)], [1.7908683])


def test_the_stage_comes_to_the_same_loss(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of `run_anchor` on that scene: the head says those plans, the scorer those PDM scores."""
    scores = {2.5: 0.8, 2.8: 0.2, 2.9: 0.1, 2.1: 0.9, 2.0: 0.9, 3.0: 0.0}
    drawn = iter((SAMPLES, TRIES))

    def score(_: Any, plans: Any) -> Any:
        return SimpleNamespace(pdms=np.array([scores[round(float(plan[0, 0]), 3)] for plan in plans]))

    def decode(self: Any, feature: torch.Tensor, ego: torch.Tensor) -> torch.Tensor:
        plans = next(drawn)[None] if feature.dim() == 3 else POS[None]
        return (plans / torch.tensor(PLAN_SCALE_M)).float() + 0.0 * feature.sum()

    monkeypatch.setattr(rewards_module, "score_plans", score)
    monkeypatch.setattr(type(policy.model.action_head), "decode", decode)
    pair = replace(
        make_pairs(1)[0],
        chosen_m=POS.numpy().astype(np.float32),
        rejected_m=NEG.numpy().astype(np.float32),
        scene=blocked_road(4.0),
        weight=3.0,
    )
    config = AnchorConfig(variant="published", epochs=1, samples=2, feedback=2, feedback_tries=2)
    losses: list[float] = []
    report = run_anchor(policy, [pair], config, 0, lambda step, steps, loss: losses.append(loss))
    assert losses == pytest.approx([1.7908683], abs=2e-6)  # in single precision
    assert report.metrics["corrected_better_share"] == 0.5
    assert report.metrics["corrected_gain"] == pytest.approx(
        (0.0881436 + 0.7831857) / 2 - 0.5527194, abs=1e-6
    )


def test_the_threshold_moves_with_the_rate_not_with_the_figure() -> None:
    delta = Threshold(0.6, "directional")
    assert delta.value == 0.6
    # Published: two of four below 0.6. Own: the two lowest are 0.1 and 0.3, the next is 0.7.
    delta.observe(torch.tensor([0.5, 0.59, 0.6, 0.9]), torch.tensor([0.1, 0.7, 0.3, 0.8]))
    assert abs(delta.value - 0.7) < 1e-6
    assert sum(v < delta.value for v in (0.1, 0.7, 0.3, 0.8)) == 2
    # Further groups count with the earlier ones: now three of six.
    delta.observe(torch.tensor([0.2, 0.95]), torch.tensor([0.75, 0.9]))
    assert abs(delta.value - 0.75) < 1e-6
    published = Threshold(0.6, "published")
    published.observe(torch.tensor([0.9]), torch.tensor([0.1]))
    assert published.value == 0.6


def test_a_threshold_that_refines_all_or_none() -> None:
    none, every = Threshold(0.6, "directional"), Threshold(0.6, "directional")
    own = torch.tensor([0.2, 0.4], dtype=torch.float64)
    none.observe(torch.tensor([0.7, 0.8]), own)
    assert none.value == 0.2  # nothing is strictly below
    every.observe(torch.tensor([0.1, 0.2]), own)
    assert 0.4 < every.value < 0.4001


def test_the_first_better_ones_are_kept_in_their_order() -> None:
    earned = torch.tensor([[0.5, 0.9, 0.4, 0.8], [0.1, 0.2, 0.3, 0.5], [0.6, 0.7, 0.8, 0.9]])
    index, present = first_better(earned, torch.tensor([0.5, 0.5, 0.5]), 2)
    assert index[0].tolist() == [1, 3]
    assert index[2].tolist() == [0, 1]
    assert present.tolist() == [[True, True], [False, False], [True, True]]
    index, present = first_better(torch.tensor([[0.9]]), torch.tensor([0.5]), 3)  # fewer tries than places
    assert present.tolist() == [[True, False, False]]
    assert index.max() == 0
