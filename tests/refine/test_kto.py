from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from trl import KTOTrainer

from takeover.errors import RefineError, RoleError
from takeover.models.policy import Policy
from takeover.refine.config import KtoConfig
from takeover.refine.kto import collate_kto, kto_rows, run_kto, without_pair
from takeover.vocabulary import Role

from .conftest import make_failed, make_pairs, make_policy, make_samples, same, weights

KTO = KtoConfig(max_steps=3, per_device_train_batch_size=8)


def test_shares_of_every_batch() -> None:
    samples, replay = make_samples(4, negative=False), make_samples(6, 5, negative=False)
    rows = kto_rows(samples, make_failed(3), replay, KTO, 0)
    own, old = {id(s.input) for s in samples}, {id(s.input) for s in replay}
    for start in range(0, 24, 8):
        batch = rows[start : start + 8]
        assert [row.desirable for row in batch] == [True] * 6 + [False] * 2
        assert sum(id(row.input) in own for row in batch) == 2
        assert sum(id(row.input) in old for row in batch) == 4
    alone = kto_rows([], make_failed(3), replay, KTO, 0)
    assert sum(row.desirable for row in alone) == 18
    with pytest.raises(RefineError, match="both sides"):
        kto_rows(samples, [], replay, KTO, 0)
    with pytest.raises(RoleError):
        kto_rows(samples, make_failed(2, role=Role.FINAL), replay, KTO, 0)


def test_what_has_a_pair_is_left_to_dpo() -> None:
    samples, pairs = make_samples(4, negative=False), make_pairs(2)
    paired = [replace(pairs[0], input=samples[1].input, case_id=samples[1].case_id), pairs[1]]
    assert without_pair([*samples, *make_samples(2, 9)], paired) == [samples[0], samples[2], samples[3]]


def test_a_batch_has_mismatched_answers_for_the_kl(policy: Policy) -> None:
    rows = kto_rows(make_samples(3, negative=False), make_failed(3), [], replace_config(4), 0)
    batch = collate_kto(policy, rows)
    tokens = policy.processor.tokenizer

    def said(prefix: str, i: int) -> list[int]:
        return batch[f"{prefix}input_ids"][i][batch[f"{prefix}completion_mask"][i].bool()].tolist()

    whole = [i for i, row in enumerate(rows) if row.mask.all()]
    assert batch["label"].tolist() == [True] * 3 + [False]
    for i in whole:
        assert said("", i)[-1] == tokens.eos_token_id
        assert said("KL_", (i + 1) % 4) == said("", i)
    assert torch.equal(batch["target_m"][3], torch.from_numpy(np.float32(rows[3].plan_m)))


def replace_config(batch: int) -> KtoConfig:
    return KTO.model_copy(update={"max_steps": 1, "per_device_train_batch_size": batch})


def test_kto_changes_the_policy_and_repeats_itself(policy: Policy, tmp_path: Path) -> None:
    twin, before = make_policy(), weights(policy)
    samples, replay = make_samples(4, negative=False), make_samples(4, 5, negative=False)
    for each in (policy, twin):
        report = run_kto(
            each, samples, make_pairs(2), make_failed(4), KTO, 1, out_dir=tmp_path, replay=replay
        )
    after = weights(policy)
    assert (report.stage, report.steps) == ("kto", 3)
    assert {"kl", "rewards_margins", "unpaired_samples", "failed_plans"} <= report.metrics.keys()
    for part in ("action_head", "language_model"):
        assert any(part in key and not torch.equal(before[key], after[key]) for key in before), part
    assert same(after, weights(twin))
    assert "forward" not in policy.model.__dict__


def test_failed_plans_become_less_likely_than_the_drivers(policy: Policy, tmp_path: Path) -> None:
    config = KtoConfig(max_steps=30, learning_rate=2e-3, head_weight=1.0)
    report = run_kto(policy, make_samples(8, negative=False), [], make_failed(8), config, 0, out_dir=tmp_path)
    assert report.metrics["rewards_margins"] > 0.1


def test_the_heads_targets_are_the_desirable_plans_alone(tmp_path: Path) -> None:
    """Failed plans reach the tokens, never the head: without desirable takeovers the head learns replay."""
    plans = {}
    for name, failed in (("as is", make_failed(4)), ("moved", None)):
        policy = make_policy()
        other = failed or [replace(p, plan_m=p.plan_m + np.float32(3.0)) for p in make_failed(4)]
        config = KTO.model_copy(update={"undesirable_weight": 0.0, "desirable_weight": 0.0})
        run_kto(policy, [], [], other, config, 1, out_dir=tmp_path, replay=make_samples(4, 5, negative=False))
        plans[name] = {k: v for k, v in weights(policy).items() if "action_head" in k}
    assert same(plans["as is"], plans["moved"])


def test_trl_still_has_the_members_that_are_overridden() -> None:
    import inspect

    assert list(inspect.signature(KTOTrainer._compute_loss).parameters) == [
        "self",
        "model",
        "inputs",
        "return_outputs",
    ]
