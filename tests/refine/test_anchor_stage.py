from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from takeover.errors import RefineError, RoleError
from takeover.models.policy import Policy
from takeover.refine.anchor_stage import run_anchor
from takeover.refine.config import AnchorConfig, SftConfig
from takeover.refine.features import fingerprint
from takeover.refine.sft import run_sft
from takeover.vocabulary import Role

from .conftest import blocked_road, make_pairs, make_policy, make_samples, same, weights

CONFIG = AnchorConfig(epochs=3, per_device_train_batch_size=8, learning_rate=2e-3, feedback_every=2)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_anchor_stage_raises_reward_and_keeps_the_backbone(weight: float, tmp_path: Path) -> None:
    policy = make_policy(fresh=True)
    lesson = SftConfig(max_steps=10, per_device_train_batch_size=16, learning_rate=3e-3, reason_share=0.0)
    run_sft(policy, make_samples(16, 3), lesson, 0, out_dir=tmp_path)
    pairs, replay = make_pairs(16), make_samples(16, 5, negative=False)
    backbone, steps = fingerprint(policy), []
    config = CONFIG.model_copy(update={"epochs": 30, "replay_weight": weight})
    report = run_anchor(policy, pairs, config, 0, lambda i, n, loss: steps.append((i, n)), replay=replay)
    assert fingerprint(policy) == backbone
    assert steps[-1] == (60, 60)
    assert report.metrics["reward_after"] > report.metrics["reward_before"] + 0.1
    assert report.metrics["refined_scenes"] > 0
    if weight:
        assert report.metrics["replay_ade_m_after"] < report.metrics["replay_ade_m_before"]


def test_the_published_variant_runs_on_scenes(policy: Policy) -> None:
    scene = blocked_road()
    pairs = [replace(p, scene=scene if i else None) for i, p in enumerate(make_pairs(5))]
    report = run_anchor(policy, pairs, CONFIG.model_copy(update={"variant": "published"}), 0)
    assert report.steps == 3
    assert report.metrics["threshold"] == 0.6
    assert not report.stopped_reason


def test_anchor_stage_repeats_itself() -> None:
    first, second = make_policy(), make_policy()
    for policy in (first, second):
        run_anchor(policy, make_pairs(6), CONFIG, 3, replay=make_samples(4, 5))
    assert same(weights(first), weights(second))


def test_pairs_whose_positive_earns_no_more_are_quarantined(policy: Policy) -> None:
    pairs = make_pairs(4)
    pairs[0] = replace(pairs[0], rejected_m=pairs[0].chosen_m)
    report = run_anchor(policy, pairs, CONFIG, 0)
    assert report.metrics["quarantined_pairs"] == 1
    with pytest.raises(RefineError, match="no pair that it could learn from"):
        run_anchor(policy, pairs[:1], CONFIG, 0)


def test_refused_where_it_cannot_change_what_drives() -> None:
    policy = make_policy(decoder="tokens")
    with pytest.raises(RefineError, match="driving decoder"):
        run_anchor(policy, make_pairs(2), CONFIG, 0)


def test_held_out_pairs_are_refused(policy: Policy) -> None:
    with pytest.raises(RoleError):
        run_anchor(policy, make_pairs(2, role=Role.GATE), CONFIG, 0)
