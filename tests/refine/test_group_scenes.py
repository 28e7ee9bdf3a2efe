from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from takeover.errors import RefineError, RoleError
from takeover.models.policy import Policy
from takeover.refine.config import GrpoConfig
from takeover.refine.group_scenes import grpo_rows, sound_pairs
from takeover.vocabulary import PairSource, Role

from .conftest import REASONING, blocked_road, make_pairs, make_samples


def test_grpo_scenes_follow_the_75_12_12_mix(policy: Policy) -> None:
    pairs, replay = make_pairs(8), make_samples(4, 7, negative=False)
    config = GrpoConfig(max_steps=8, per_device_train_batch_size=18, num_generations=9)
    rows = grpo_rows(policy, pairs, replay, config, 0)
    assert Counter(row.kind for row in rows) == {"positive": 12, "negative": 2, "recovery": 2}
    recovery = {id(p.input) for p in pairs if p.source is PairSource.HUMAN}
    assert all((id(row.input) in recovery) == (row.kind == "recovery") for row in rows)
    assert all((row.neg_m is None) == (row.kind == "positive") for row in rows)


def test_held_out_scenes_are_refused(policy: Policy) -> None:
    with pytest.raises(RoleError):
        grpo_rows(policy, make_pairs(2, role=Role.GATE), make_samples(2), GrpoConfig(), 0)


def test_the_published_variant_takes_pairs_with_a_scene_alone(policy: Policy) -> None:
    pairs = make_pairs(3)
    pairs[0] = replace(pairs[0], scene=blocked_road())
    assert sound_pairs(pairs, "published") == pairs[:1]
    config = GrpoConfig(variant="published")
    rows = grpo_rows(policy, pairs[:1], make_samples(2), config, 0)
    assert all(row.scene is not None and row.neg_m is not None for row in rows)
    with pytest.raises(RefineError, match="no scenes"):
        grpo_rows(policy, [], make_samples(2), config, 0)


def test_fault_g_pairs_whose_positive_earns_no_more_train_in_published_alone() -> None:
    pairs = [replace(pair, scene=blocked_road()) for pair in make_pairs(2)]
    pairs[0] = replace(pairs[0], rejected_m=pairs[0].chosen_m)
    assert sound_pairs(pairs, "published") == pairs
    assert pairs[0] not in sound_pairs(pairs, "directional")


def test_asked_for_reasons_the_anchors_bring_theirs(policy: Policy) -> None:
    pair = replace(make_pairs(1)[0], reasoning_chosen=REASONING)
    (row, *_) = grpo_rows(
        policy, [pair], [], GrpoConfig(reason=True, feedback=0, max_completion_length=200), 0
    )
    assert row.asked
    assert row.text.startswith("reason")
    assert row.reasoning_pos == REASONING
