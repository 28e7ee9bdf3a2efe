from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from takeover.errors import RefineError
from takeover.models.policy import Policy
from takeover.refine import grpo as module
from takeover.refine.config import GrpoConfig, SftConfig
from takeover.refine.datasets import grpo_rows
from takeover.refine.groups import Groups
from takeover.refine.grpo import AnchoredGRPOTrainer, run_grpo
from takeover.refine.rewards import UNPARSABLE, plan_rewards
from takeover.refine.sft import run_sft

from .conftest import make_pairs, make_policy, make_samples, same, swerve, weights

CONFIG = GrpoConfig(max_steps=2, per_device_train_batch_size=8, num_generations=4, takeover_share=1.0)


def say(policy: Policy, plan_m: np.ndarray, speed: float) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": policy.answer(plan_m, speed)}]


def test_groups_end_with_the_anchors_under_the_scenes_own_prompt(policy: Policy) -> None:
    rows = grpo_rows(policy, make_pairs(4), [], CONFIG, 0)
    groups = Groups(policy, rows, CONFIG)
    groups.begin([0] * 4 + [1] * 4)
    out = groups.rollout([], None)
    tokens = policy.processor.tokenizer
    assert len(out["completion_ids"]) == 8
    for start, row in ((0, rows[0]), (4, rows[1])):
        assert len({tuple(ids) for ids in out["prompt_ids"][start : start + 4]}) == 1
        speed = row.input.speed_mps
        for ids, plan in zip(
            out["completion_ids"][start + 2 : start + 4], (row.pos_m, row.neg_m), strict=True
        ):
            assert plan is not None
            assert tokens.decode(ids, skip_special_tokens=True) == policy.answer(plan, speed)
            assert ids[-1] == tokens.eos_token_id


def test_prompts_are_those_that_trl_would_make(policy: Policy) -> None:
    row = grpo_rows(policy, make_pairs(2), [], CONFIG, 0)[0]
    pictures = policy.encoder.pictures(row.input)
    content = [{"type": "image"}] * len(pictures) + [{"type": "text", "text": row.text}]
    text = policy.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    wanted = policy.processor(images=[list(pictures)], text=[text], return_tensors="pt")["input_ids"][
        0
    ].tolist()
    groups = Groups(policy, [row], CONFIG)
    groups.begin([0] * 4)
    assert groups.rollout([], None)["prompt_ids"][0] == wanted


def test_rewards_and_advantages_of_a_group(policy: Policy) -> None:
    pair = make_pairs(1)[0]
    rows = grpo_rows(policy, [pair], [], CONFIG, 0)
    groups = Groups(policy, rows, CONFIG)
    groups.begin([0] * 4)
    speed = pair.input.speed_mps
    middle = (pair.chosen_m + pair.rejected_m) / 2
    rewards = groups.reward(
        [
            say(policy, middle, speed),
            [{"role": "assistant", "content": "no plan"}],
            say(policy, pair.chosen_m, speed),
            say(policy, pair.rejected_m, speed),
        ]
    )
    assert rewards[1] == UNPARSABLE
    assert rewards[2] > rewards[0] > rewards[3]
    codec = policy.codec
    decoded = codec.encode(pair.chosen_m, speed).waypoints_m
    expected = plan_rewards(None, decoded[None], pair.chosen_m, pair.rejected_m, pair.chosen_mask)[0]
    assert rewards[2] == pytest.approx(float(expected))
    first, second, pos, neg = groups.advantages().tolist()
    assert first == pytest.approx(1.0, abs=1e-5)  # two samples: one standard deviation either way
    assert second == pytest.approx(-1.0, abs=1e-5)
    assert pos > 0
    assert neg == 0.0  # the negative anchor beats an unparsable sample, yet is never praised
    assert groups.skipped == 0


def test_the_head_learns_the_best_plan_known(policy: Policy) -> None:
    pair = make_pairs(1)[0]
    groups = Groups(policy, grpo_rows(policy, [pair], [], CONFIG, 0), CONFIG)
    groups.begin([0] * 4)
    groups.reward([say(policy, pair.rejected_m, pair.input.speed_mps)] * 4)
    targets = groups.head_targets()
    assert torch.equal(targets["target_m"], torch.from_numpy(pair.chosen_m).expand(4, 8, 2))
    groups.advantages()
    assert groups.skipped == 1  # all samples earned the same


def test_uneventful_scenes_have_no_anchors(policy: Policy) -> None:
    groups = Groups(policy, grpo_rows(policy, [], make_samples(2), CONFIG, 0), CONFIG)
    groups.begin([0] * 4)
    out = groups.rollout([], None)
    assert len(out["completion_ids"]) == 4
    good = say(policy, swerve(1, 6.0), 6.0)
    groups.reward([good, good, good, [{"role": "assistant", "content": ""}]])
    assert groups.advantages().shape == (4,)


def test_grpo_runs_in_trl_with_our_advantages_and_repeats_itself(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    class Watched(AnchoredGRPOTrainer):
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            seen.append(dict(inputs))
            return super()._compute_loss(model, inputs)

    monkeypatch.setattr(module, "AnchoredGRPOTrainer", Watched)
    pairs, twin = make_pairs(6), make_policy()
    sft = SftConfig(max_steps=12, per_device_train_batch_size=16, learning_rate=3e-3, reason_share=0)
    for each in (policy, twin):
        run_sft(each, make_samples(16), sft, 0, out_dir=tmp_path)
    before = weights(policy)
    report = run_grpo(policy, pairs, CONFIG, 0, out_dir=tmp_path)
    assert report.steps == 2
    assert {"share_skipped_groups", "rewards_reward_mean"} <= report.metrics.keys()
    after = weights(policy)
    assert any("action_head" in key and not torch.equal(before[key], after[key]) for key in before)
    assert "forward" not in policy.model.__dict__
    # Two scenes a step, shuffled together with their pictures, prompts and targets.
    for batch in seen:
        assert batch["advantages"].shape == (8,)
        assert batch["target_m"].shape == (8, 8, 2)
        per_row = batch["pixel_values"].unflatten(0, (8, 2))
        for i in range(8):
            for j in range(8):
                twins = torch.equal(batch["target_m"][i], batch["target_m"][j])
                alike = torch.equal(per_row[i], per_row[j])
                assert twins == alike or not alike
    run_grpo(twin, pairs, CONFIG, 0, out_dir=tmp_path)
    assert same(after, weights(twin))


def test_a_batch_must_hold_whole_groups(policy: Policy, tmp_path: Path) -> None:
    config = GrpoConfig(per_device_train_batch_size=12, num_generations=8)
    with pytest.raises(RefineError, match="multiple"):
        run_grpo(policy, make_pairs(2), config, 0, out_dir=tmp_path)
