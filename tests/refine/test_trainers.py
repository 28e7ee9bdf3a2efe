from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import DPOTrainer, GRPOTrainer, SFTTrainer

from takeover.config import load_config
from takeover.errors import RefineError, UsageError
from takeover.loop import RunConfig
from takeover.models.policy import Policy
from takeover.refine import dpo
from takeover.refine.config import DpoConfig, LoraSettings, SftConfig
from takeover.refine.dpo import run_dpo
from takeover.refine.sft import run_sft
from takeover.refine.training import FiniteGuard

from .conftest import make_pairs, make_policy, make_samples, same, weights

SFT = SftConfig(max_steps=4, per_device_train_batch_size=4)
DPO = DpoConfig(max_steps=3, per_device_train_batch_size=4)


def test_trl_still_has_the_members_that_are_overridden() -> None:
    def names(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    sft = ["self", "model", "inputs", "return_outputs", "num_items_in_batch"]
    assert names(SFTTrainer.compute_loss) == sft
    assert names(DPOTrainer._compute_loss) == ["self", "model", "inputs", "return_outputs"]
    assert names(GRPOTrainer._compute_loss) == ["self", "model", "inputs"]
    assert names(GRPOTrainer._generate_and_score_completions) == ["self", "inputs"]
    assert "rollout_func" in names(GRPOTrainer.__init__)
    for trainer in (SFTTrainer, DPOTrainer, GRPOTrainer):
        assert names(trainer._send_telemetry) == ["self"]


def test_sft_changes_text_and_head_and_repeats_itself(policy: Policy, tmp_path: Path) -> None:
    twin, before = make_policy(), weights(policy)
    steps: list[int] = []
    samples, replay = make_samples(8), make_samples(4, 5, negative=False)
    report = run_sft(policy, samples, SFT, 1, lambda i, n, loss: steps.append(i), tmp_path, replay=replay)
    run_sft(twin, samples, SFT, 1, out_dir=tmp_path, replay=replay)
    after = weights(policy)
    assert steps == [1, 2, 3, 4]
    assert report.steps == 4
    assert not report.stopped_reason
    for part in ("action_head.mlp", "action_head.query", "language_model"):
        assert any(part in key and not torch.equal(before[key], after[key]) for key in before), part
    assert same(after, weights(twin))
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_nothing_of_the_trainer_stays_on_the_model(policy: Policy, tmp_path: Path) -> None:
    run_sft(policy, make_samples(8), SFT, 1, out_dir=tmp_path)
    assert "forward" not in policy.model.__dict__
    assert not policy.model.training
    assert all(p.grad is None and p.requires_grad for p in policy.model.parameters())
    batch = policy.encode([s.input for s in make_samples(2)])
    twin = copy.deepcopy(policy.model)  # would run the old weights if TRL's forward were still there
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
        keys = ("input_ids", "attention_mask", "pixel_values")
        logits = twin(**{key: batch[key] for key in keys}).logits
    assert float(logits.abs().max()) == 0.0


def test_a_bootstrap_ends_the_use_of_batch_statistics(tmp_path: Path) -> None:
    policy, twin = make_policy(fresh=True), make_policy(fresh=True)
    for each in (policy, twin):
        run_sft(each, make_samples(8), SFT, 1, out_dir=tmp_path)
    assert same(weights(policy), weights(twin))
    batch = policy.encode([s.input for s in make_samples(4)])
    plans = [policy.head_plans(batch)]
    policy.model.train()
    plans.append(policy.head_plans(batch))
    policy.model.eval()
    assert torch.equal(*plans)


def test_sft_learns_its_task(policy: Policy, tmp_path: Path) -> None:
    def error() -> float:
        held = make_samples(16, 99)
        plans = policy.plan([s.input for s in held], "g")
        return (
            sum(float(abs(p.waypoints_m - s.target_m).mean()) for p, s in zip(plans, held, strict=True)) / 16
        )

    before = error()
    config = SftConfig(max_steps=60, per_device_train_batch_size=16, learning_rate=3e-3, reason_share=0.1)
    report = run_sft(policy, make_samples(64), config, 0, out_dir=tmp_path)
    assert error() < 0.25 * before
    assert report.metrics["mean_token_accuracy"] > 0.3


def test_dpo_changes_the_head_and_repeats_itself(policy: Policy, tmp_path: Path) -> None:
    twin, before = make_policy(), weights(policy)
    pairs, replay = make_pairs(6), make_samples(4, 5, negative=False)
    report = run_dpo(policy, pairs, DPO, 1, out_dir=tmp_path, replay=replay)
    run_dpo(twin, pairs, DPO, 1, out_dir=tmp_path, replay=replay)
    after = weights(policy)
    assert report.steps == 3
    assert {"rewards_margins", "rewards_accuracies", "share_same_tokens"} <= report.metrics.keys()
    assert any("action_head" in key and not torch.equal(before[key], after[key]) for key in before)
    assert same(after, weights(twin))
    assert "forward" not in policy.model.__dict__


def test_dpo_prefers_the_chosen_plans(policy: Policy, tmp_path: Path) -> None:
    config = DpoConfig(
        max_steps=25, per_device_train_batch_size=8, learning_rate=2e-3, loss_weights=(1.0, 0.2)
    )
    report = run_dpo(
        policy, make_pairs(16), config, 0, out_dir=tmp_path, replay=make_samples(16, 5, negative=False)
    )
    assert report.metrics["rewards_margins"] > 0.1


def test_keys_of_trl_reach_trl_under_its_names(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "beta": 0.3,
        "loss_type": ("robust", "sft"),
        "loss_weights": (0.2, 1.0),
        "label_smoothing": 0.1,
        "f_divergence_type": "js_divergence",
        "f_alpha_divergence_coef": 0.7,
        "ld_alpha": 0.5,
        "discopop_tau": 0.1,
    }
    seen = {}
    trl_config = dpo.TrlConfig

    def noted(**arguments: Any) -> Any:
        seen.update(arguments)
        return trl_config(**arguments)

    monkeypatch.setattr(dpo, "TrlConfig", noted)
    config = DpoConfig(max_steps=1, per_device_train_batch_size=4, **given)
    run_dpo(policy, make_pairs(4), config, 1, out_dir=tmp_path, replay=make_samples(4, 5))
    assert {key: tuple(v) if isinstance(v := seen[key], list) else v for key in given} == given


def test_what_trl_does_not_know_or_refuses_is_one_line_with_its_fix(policy: Policy, tmp_path: Path) -> None:
    for key, value, words in (
        ("bta", 0.1, "did you mean `beta`"),
        ("loss_type", ["sigmoit", "sft"], "sigmoid"),
        ("max_length", 512, "image tokens"),
        ("precompute_ref_log_probs", True, "pictures"),
        ("use_weighting", True, "sft"),
    ):
        with pytest.raises(UsageError) as error:
            load_config(RunConfig, flags={f"refine.dpo.{key}": value})
        text = f"{error.value} {error.value.fix}"
        assert words in text, text
        assert "\n" not in text
    config = DpoConfig(max_steps=1, loss_type=("exo_pair",), loss_weights=(1.0,))  # needs label_smoothing
    with pytest.raises(RefineError, match="Label smoothing") as refused:
        run_dpo(policy, make_pairs(4), config, 1, out_dir=tmp_path, replay=make_samples(4, 5))
    assert refused.value.fix == "change refine.dpo"


def test_lora_is_merged_back_and_the_head_survives(policy: Policy, tmp_path: Path) -> None:
    before, kind = weights(policy), type(policy.model)
    lora = LoraSettings(use="always", rank=4, alpha=8)
    run_sft(policy, make_samples(8), SFT, 1, out_dir=tmp_path, lora=lora)
    run_dpo(policy, make_pairs(4), DPO, 1, out_dir=tmp_path, replay=make_samples(4, 5), lora=lora)
    after = weights(policy)
    assert type(policy.model) is kind
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert any("action_head" in key for key in changed)
    assert any("q_proj" in key for key in changed)
    assert not any("vision_tower" in key for key in changed)
    policy.plan([make_samples(1)[0].input], "g")


def test_a_stage_that_cannot_change_the_driving_decoder_is_refused(policy: Policy, tmp_path: Path) -> None:
    with pytest.raises(RefineError, match="driving decoder"):
        run_sft(policy, make_samples(4), SftConfig(head_weight=0.0), 0, out_dir=tmp_path)
    with pytest.raises(RefineError, match="driving decoder"):
        run_dpo(
            policy, make_pairs(4), DpoConfig(head_weight=0.0), 0, out_dir=tmp_path, replay=make_samples(2)
        )


def test_lost_numbers_restore_the_last_finite_weights(tmp_path: Path) -> None:
    policy, reference, seen = make_policy(fresh=True), make_policy(fresh=True), []

    def spoil(step: int, steps: int, loss: float) -> None:
        seen.append(step)
        if step == 2:
            with torch.no_grad():
                policy.model.action_head.query.weight[0, 0] = torch.nan

    report = run_sft(policy, make_samples(8), SFT, 1, spoil, tmp_path)
    assert seen == [1, 2]
    assert report.steps == 2
    assert "not finite" in report.stopped_reason
    assert all(bool(torch.isfinite(p).all()) for p in policy.model.parameters())
    # The kept weights are those of an undisturbed run after two steps.
    stop = []
    run_sft(reference, make_samples(8), SFT, 1, lambda i, n, loss: stop.append(weights(reference)), tmp_path)
    assert same(weights(policy), stop[1])


def test_guard_notices_a_lost_weight_behind_a_finite_loss() -> None:
    model = torch.nn.Linear(2, 1)
    first = model.weight.detach().clone()
    guard = FiniteGuard(model, 3, lambda i, n, loss: None)
    guard.see(torch.tensor(1.0))
    assert guard.check(1)
    with torch.no_grad():
        model.bias.fill_(torch.inf)
        model.weight.mul_(3)
    guard.see(torch.tensor(1.0))
    assert not guard.check(2)
    assert torch.equal(model.weight, first)


def test_the_tower_moves_at_its_share_of_the_rate(tmp_path: Path) -> None:
    moved = {}
    for rate in (1.0, 0.1, 0.0):
        policy, config = make_policy(), SFT.model_copy(update={"max_steps": 1, "tower_rate": rate})
        before = weights(policy)
        run_sft(
            policy, make_samples(8), config, 1, out_dir=tmp_path, replay=make_samples(4, 5, negative=False)
        )
        steps = {key: (value - before[key]).abs().max().item() for key, value in weights(policy).items()}
        moved[rate] = max(step for key, step in steps.items() if "vision_tower" in key)
        assert max(step for key, step in steps.items() if "language_model" in key) > 0
    # AdamW's first step has the size of the rate.
    assert moved[0.1] == pytest.approx(0.1 * moved[1.0], rel=1e-3)
    assert moved[0.0] == 0.0
