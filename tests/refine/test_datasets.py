from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from takeover.errors import RefineError, RoleError
from takeover.models.policy import Policy
from takeover.refine.config import DpoConfig, SftConfig
from takeover.refine.datasets import (
    check_roles,
    collate_dpo,
    collate_sft,
    dpo_rows,
    draws,
    emphasised,
    hard_first,
    perturbed,
    sft_rows,
    silence,
    with_share,
)
from takeover.vocabulary import Role

from .conftest import make_pairs, make_samples, swerve


@pytest.mark.parametrize("role", [Role.GATE, Role.FINAL])
def test_held_out_data_is_refused(policy: Policy, role: Role) -> None:
    bad_sample, bad_pair = make_samples(2, role=role), make_pairs(2, role=role)
    good_sample, good_pair = make_samples(2), make_pairs(2)
    with pytest.raises(RoleError, match="must not train"):
        check_roles([*good_sample, *bad_pair])
    with pytest.raises(RoleError):
        sft_rows(policy, good_sample, bad_sample, SftConfig(), 0)
    with pytest.raises(RoleError):
        dpo_rows(policy, good_pair, bad_sample, DpoConfig(), 0)


def test_draws_are_even_and_follow_the_weights() -> None:
    counts = Counter(draws([1.0, 1.0, 2.0, 0.0], 400, np.random.default_rng(0)).tolist())
    assert counts == {0: 100, 1: 100, 2: 200}
    with pytest.raises(RefineError):
        draws([0.0], 1, np.random.default_rng(0))


def test_sft_mix_and_curriculum(policy: Policy) -> None:
    samples, replay = make_samples(8), make_samples(8, 7, negative=False)
    config = SftConfig(max_steps=8, per_device_train_batch_size=8, replay_share=0.25, negative_share=0.5)
    rows = sft_rows(policy, samples, replay, config, 3)
    assert len(rows) == 64
    kept = {id(sample.input) for sample in replay}
    for start in range(0, 64, 8):
        assert sum(id(row.input) in kept for row in rows[start : start + 8]) == 2
    negative = [row.text.startswith("negative") for row in rows]
    assert not any(negative[:32])
    # proof.md 19: in stage 2 half of each batch's six takeover rows, and never replay
    assert [sum(negative[start : start + 8]) for start in range(32, 64, 8)] == [3] * 4
    assert not any(shown and id(row.input) in kept for shown, row in zip(negative, rows, strict=True))
    assert any(row.text.startswith("reason") and row.answer.startswith("{") for row in rows)
    again = sft_rows(policy, samples, replay, config, 3)
    assert [(r.text, r.answer) for r in rows] == [(r.text, r.answer) for r in again]


def test_stage_two_as_published_is_half_negative_and_half_normal(policy: Policy) -> None:
    samples, replay = (
        [*make_samples(4), *make_samples(4, 3, negative=False)],
        make_samples(8, 7, negative=False),
    )
    config = SftConfig(max_steps=4, per_device_train_batch_size=8, negative_share=1.0, reason_share=0.0)
    rows = sft_rows(policy, samples, replay, config, 3)[16:]
    targets = {id(s.input): s for s in samples}
    for start in (0, 8):
        shown = [r for r in rows[start : start + 8] if r.text.startswith("negative")]
        assert len(shown) == 4
        for row in shown:  # the target is always the good plan
            assert np.array_equal(row.target_m, targets[id(row.input)].target_m)
    plain = SftConfig(max_steps=4, per_device_train_batch_size=8, negative_share=1.0)
    assert not any(
        r.text.startswith("negative")
        for r in sft_rows(policy, make_samples(4, negative=False), replay, plain, 3)
    )


def test_hard_negatives_come_first() -> None:
    pairs = [replace(p, hardness=float(i % 8), weight=1.0 + (i == 0)) for i, p in enumerate(make_pairs(8))]
    index = hard_first(pairs, 12, 4, 0.5, np.random.default_rng(0))
    assert len(index) == 48
    # Half of twelve steps, in thirds: two steps each from the hardest 2, 4 and 6 of 8 pairs, then from all.
    assert Counter(index[:8].tolist()) in ({0: 5, 1: 3}, {0: 6, 1: 2})  # weights 2 and 1
    assert set(index[8:16].tolist()) == {0, 1, 2, 3}
    assert set(index[16:24].tolist()) == {0, 1, 2, 3, 4, 5}
    assert set(index[24:].tolist()) == set(range(8))
    whole = hard_first(pairs, 12, 4, 0.0, np.random.default_rng(0))
    assert set(whole[:8].tolist()) - {0, 1}


def test_a_dpo_stage_begins_with_the_hardest_pairs(policy: Policy) -> None:
    pairs = [
        replace(p, hardness=float(8 - i)) for i, p in enumerate(make_pairs(8))
    ]  # the last is the hardest
    config = DpoConfig(max_steps=6, per_device_train_batch_size=4)
    rows = dpo_rows(policy, pairs, make_samples(4, 7, negative=False), config, 0)
    first = {id(row.input) for row in rows[:4]}
    assert first & {id(p.input) for p in pairs} <= {id(p.input) for p in pairs[6:]}


def test_bootstrap_needs_no_replay(policy: Policy) -> None:
    rows = sft_rows(policy, make_samples(4), [], SftConfig(max_steps=2, per_device_train_batch_size=8), 0)
    assert len(rows) == 16


def test_dpo_batches_hold_at_most_half_takeovers(policy: Policy) -> None:
    pairs, replay = make_pairs(4), make_samples(4, 7, negative=False)
    rows = dpo_rows(policy, pairs, replay, DpoConfig(max_steps=3, per_device_train_batch_size=6), 0)
    taken = {id(pair.input) for pair in pairs}
    assert [sum(id(row.input) in taken for row in rows[i : i + 6]) for i in (0, 6, 12)] == [3, 3, 3]
    with pytest.raises(RefineError, match="replay"):
        dpo_rows(policy, pairs, [], DpoConfig(), 0)


def test_perturbed_plans_brake_or_drift() -> None:
    good = swerve(1, 8.0)
    bad = [perturbed(good, np.random.default_rng(i)) for i in range(20)]
    brakes = [b for b in bad if b[-1, 0] < 0.8 * good[-1, 0]]
    drifts = [b for b in bad if abs(b[-1, 1] - good[-1, 1]) >= 1.0]
    assert brakes
    assert drifts
    still = np.zeros((8, 2), np.float32)
    assert all(np.abs(perturbed(still, np.random.default_rng(i))).max() > 0.5 for i in range(8))


def test_collated_rows_agree_with_the_policy_and_its_masks(policy: Policy) -> None:
    rows = sft_rows(policy, make_samples(6), [], SftConfig(max_steps=1, per_device_train_batch_size=6), 0)
    batch = collate_sft(policy, rows)
    tokens = policy.processor.tokenizer
    for i, row in enumerate(rows):
        ids = batch["labels"][i]
        kept = ids[ids != -100]
        assert int(kept[-1]) == tokens.eos_token_id
        spoken = tokens.encode(row.answer, add_special_tokens=False)
        assert len(kept) == len(spoken) + 1 - int((~row.mask).sum())
    assert torch.equal(batch["target_mask"], torch.from_numpy(np.stack([r.mask for r in rows])))


def test_silence_drops_the_tokens_of_masked_waypoints_only() -> None:
    labels = torch.tensor([[-100, *range(10, 18), 5, -100], [-100, -100, *range(20, 28), 5]])
    masks = [np.array([True] * 6 + [False] * 2), np.ones(8, np.bool_)]
    out = silence(labels, masks)
    assert out[0].tolist() == [-100, 10, 11, 12, 13, 14, 15, -100, -100, 5, -100]
    assert torch.equal(out[1], labels[1])


def test_preference_batch_is_chosen_then_rejected(policy: Policy) -> None:
    pairs = [replace(p, chosen_mask=np.array([True] * 5 + [False] * 3)) for p in make_pairs(3)]
    rows = dpo_rows(
        policy, pairs, make_samples(3, 7), DpoConfig(max_steps=1, per_device_train_batch_size=4), 0
    )
    batch = collate_dpo(policy, rows)
    assert batch["input_ids"].shape[0] == 8
    assert batch["target_m"].shape[0] == 4
    tokens = policy.processor.tokenizer
    for i, row in enumerate([*rows, *rows]):
        text = row.chosen if i < 4 else row.rejected
        ids = batch["input_ids"][i][batch["completion_mask"][i].bool()].tolist()
        full = [*tokens.encode(text, add_special_tokens=False), tokens.eos_token_id]
        assert ids == [*[t for t, keep in zip(full[:8], row.mask, strict=True) if keep], full[8]]


def test_a_share_of_all_weight() -> None:
    takeovers, replay = make_samples(3), make_samples(9, 7, negative=False)
    scaled = with_share(takeovers, replay, 0.4)
    weight = sum(s.weight for s in scaled)
    assert weight / (weight + sum(s.weight for s in replay)) == pytest.approx(0.4)
    assert scaled[1].weight / scaled[0].weight == pytest.approx(takeovers[1].weight / takeovers[0].weight)
    few = with_share(takeovers[:1], replay, 0.9)
    assert few[0].weight == 4.0 * takeovers[0].weight  # not the 81 that the share asks for
    assert with_share(takeovers, [], 0.4) == takeovers
    assert with_share([], replay, 0.4) == []


def test_expert_drives_of_the_long_tail_are_emphasised() -> None:
    calm = [replace(s, case_id=f"LaneFollowing/{i}") for i, s in enumerate(make_samples(6, negative=False))]
    decoy = [replace(calm[0], case_id="StaticCutIn.decoy/7")]
    hazard = [replace(calm[0], case_id="StaticCutIn/8"), replace(calm[0], case_id="ParkedObstacle/9")]
    samples = emphasised([*calm, *decoy, *hazard], 0.5)
    weight = {s.case_id: s.weight for s in samples}
    assert weight["StaticCutIn/8"] == weight["ParkedObstacle/9"] == pytest.approx(3.5)  # 2 hold as much as 7
    assert {weight[s.case_id] for s in [*calm, *decoy]} == {1.0}
    assert emphasised(calm, 0.0) == calm
