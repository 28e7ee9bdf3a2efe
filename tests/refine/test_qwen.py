"""The same stages on a stock Qwen2.5-VL checkpoint, loaded by path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from takeover.models.policy import Policy, PolicyConfig
from takeover.refine.anchor_stage import run_anchor
from takeover.refine.config import AnchorConfig, DpoConfig, GrpoConfig, LoraSettings, SftConfig
from takeover.refine.dpo import run_dpo
from takeover.refine.grpo import run_grpo
from takeover.refine.sft import run_sft

from .conftest import make_pairs, make_samples, weights
from .qwen import save_tiny_qwen

LORA = LoraSettings(use="always", rank=4, alpha=8)


CONFIG = PolicyConfig(width_px=96, height_px=64, text_tokens=256)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_qwen(tmp_path_factory.mktemp("qwen"))


def load(checkpoint: Path) -> Policy:
    return Policy.load(checkpoint, config=CONFIG)


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], part: str) -> bool:
    return any(part in key and not torch.equal(before[key], after[key]) for key in before)


def test_all_stages_run_on_qwen_with_lora(checkpoint: Path, tmp_path: Path) -> None:
    policy = load(checkpoint)
    samples, replay, pairs = make_samples(4), make_samples(4, 5, negative=False), make_pairs(4)
    start = weights(policy)
    sft = SftConfig(max_steps=2, per_device_train_batch_size=2)
    assert run_sft(policy, samples, sft, 0, out_dir=tmp_path, replay=replay, lora=LORA).steps == 2
    after_sft = weights(policy)
    assert after_sft.keys() == start.keys()
    assert changed(start, after_sft, "q_proj")
    assert changed(start, after_sft, "action_head")
    assert changed(start, after_sft, "lm_head")  # the rows of the action tokens
    assert not changed(start, after_sft, "visual")
    dpo = DpoConfig(max_steps=2, per_device_train_batch_size=2)
    assert run_dpo(policy, pairs, dpo, 0, out_dir=tmp_path, replay=replay, lora=LORA).steps == 2
    after_dpo = weights(policy)
    assert changed(after_sft, after_dpo, "q_proj")
    grpo = GrpoConfig(max_steps=1, per_device_train_batch_size=5, num_generations=5, takeover_share=1.0)
    assert run_grpo(policy, pairs, grpo, 0, out_dir=tmp_path, replay=replay, lora=LORA).steps == 1
    after_grpo = weights(policy)
    assert changed(after_dpo, after_grpo, "q_proj")
    # The first step only warms up.
    assert run_anchor(policy, pairs, AnchorConfig(epochs=2, feedback=1), 0, replay=replay).steps == 2
    final = weights(policy)
    assert changed(after_grpo, final, "action_head")
    assert not changed(after_grpo, final, "language_model")
    plan = policy.plan([samples[0].input], "g")[0]
    assert np.isfinite(plan.waypoints_m).all()
    loaded = Policy.load(policy.save(tmp_path / "saved"))
    assert np.allclose(loaded.plan([samples[0].input], "g")[0].waypoints_m, plan.waypoints_m, atol=1e-5)


@pytest.mark.parametrize("tower_rate", [0.0, 0.1])
def test_full_fine_tuning_of_a_small_qwen(checkpoint: Path, tmp_path: Path, tower_rate: float) -> None:
    policy = load(checkpoint)
    start = weights(policy)
    sft = SftConfig(max_steps=1, per_device_train_batch_size=2, tower_rate=tower_rate)
    run_sft(policy, make_samples(2), sft, 0, out_dir=tmp_path)
    dpo = DpoConfig(max_steps=1, per_device_train_batch_size=2, tower_rate=tower_rate)
    run_dpo(policy, make_pairs(2), dpo, 0, out_dir=tmp_path, replay=make_samples(2))
    assert changed(start, weights(policy), "language_model")
    assert bool(changed(start, weights(policy), "visual")) is (tower_rate > 0)


def test_stages_beside_a_bf16_backbone_whose_output_layer_is_tied(tmp_path: Path) -> None:
    """As Qwen2.5-VL-3B is: the heads learn in float32, the tie outlives the adapter."""
    stock = save_tiny_qwen(tmp_path / "stock", tied=True)
    policy = Policy.load(stock, config=CONFIG, dtype=torch.bfloat16)
    samples, replay, pairs = make_samples(4), make_samples(4, 5, negative=False), make_pairs(4)
    before = weights(policy)
    run_sft(
        policy, samples, SftConfig(max_steps=2, per_device_train_batch_size=2), 0, out_dir=tmp_path, lora=LORA
    )
    grpo = GrpoConfig(max_steps=1, per_device_train_batch_size=5, num_generations=5, takeover_share=1.0)
    run_grpo(policy, pairs, grpo, 0, out_dir=tmp_path, replay=replay, lora=LORA)
    run_anchor(policy, pairs, AnchorConfig(epochs=2, feedback=1), 0, replay=replay)
    model, after = policy.model, weights(policy)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.dtype is torch.bfloat16
    assert after["action_head.value.weight"].dtype is torch.float32
    for part in ("q_proj", "lm_head", "action_head"):
        assert changed(before, after, part)
    assert np.isfinite(policy.plan([samples[0].input], "g")[0].waypoints_m).all()
