"""The `flow` head in the stages: trained wherever the `mlp` head is, refused where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from takeover.errors import RefineError
from takeover.models.policy import Policy, PolicyConfig
from takeover.refine.anchor_stage import run_anchor
from takeover.refine.config import (
    AnchorConfig,
    DpoConfig,
    GrpoConfig,
    LoraSettings,
    RefineConfig,
    RefitConfig,
    SftConfig,
)
from takeover.refine.dpo import run_dpo
from takeover.refine.features import fingerprint
from takeover.refine.grpo import run_grpo
from takeover.refine.refit import refit_head
from takeover.refine.sft import run_sft
from takeover.refine.stages import refuse_useless_stages

from .conftest import SMALL, make_pairs, make_samples, same, weights
from .qwen import save_tiny_qwen


def make_flow(seed: int = 0) -> Policy:
    return Policy.tiny(seed, PolicyConfig(decoder="flow", width_px=96, height_px=64), SMALL)


def flow_of(policy: Policy) -> dict[str, object]:
    return {key: value for key, value in weights(policy).items() if key.startswith("flow_head")}


def changed(before: dict[str, object], policy: Policy) -> bool:
    return not same(before, flow_of(policy))  # type: ignore[arg-type]


def test_every_stage_with_a_head_loss_trains_it(tmp_path: Path) -> None:
    policy, twin = make_flow(), make_flow()
    samples, pairs, replay = make_samples(8), make_pairs(4), make_samples(4, 5, negative=False)
    sft = SftConfig(max_steps=2, per_device_train_batch_size=4)
    before = flow_of(policy)
    for each in (policy, twin):
        run_sft(each, samples, sft, 1, out_dir=tmp_path, replay=replay)
    assert changed(before, policy)
    assert same(weights(policy), weights(twin))
    before = flow_of(policy)
    dpo = DpoConfig(max_steps=1, per_device_train_batch_size=4)
    run_dpo(policy, pairs, dpo, 1, out_dir=tmp_path, replay=replay)
    assert changed(before, policy)
    before = flow_of(policy)
    grpo = GrpoConfig(max_steps=1, per_device_train_batch_size=5, num_generations=5)
    run_grpo(policy, pairs, grpo, 1, out_dir=tmp_path, replay=replay)
    assert changed(before, policy)
    before = flow_of(policy)
    silent = Policy(policy.backbone, PolicyConfig(width_px=96, height_px=64, decoder="tokens"))
    run_sft(silent, samples, sft.model_copy(update={"head_weight": 0.0}), 1, out_dir=tmp_path)
    assert not changed(before, silent)


def test_the_refit_fits_both_heads_and_leaves_the_backbone() -> None:
    policy, samples = make_flow(), make_samples(32)
    backbone = fingerprint(policy)
    report = refit_head(policy, samples, RefitConfig(epochs=40, learning_rate=2e-3), 0)
    assert fingerprint(policy) == backbone
    assert report.metrics["ade_m_after"] < 0.5 * report.metrics["ade_m_before"]
    assert report.metrics["mlp_ade_m_after"] < 0.5 * report.metrics["mlp_ade_m_before"]
    driven = np.stack([plan.waypoints_m for plan in policy.plan([s.input for s in samples], "")])
    masks = np.stack([s.mask for s in samples])
    error = np.linalg.norm(driven - np.stack([s.target_m for s in samples]), axis=-1)[masks].mean()
    assert report.metrics["ade_m_after"] == pytest.approx(error, abs=1e-3)
    twin = make_flow()
    refit_head(twin, samples, RefitConfig(epochs=40, learning_rate=2e-3), 0)
    assert same(weights(policy), weights(twin))


def test_the_anchor_stage_does_not_train_it_and_is_refused() -> None:
    policy = make_flow()
    with pytest.raises(RefineError, match="driving decoder flow"):
        run_anchor(policy, make_pairs(2), AnchorConfig(), 0)
    with pytest.raises(RefineError, match="stage anchor cannot"):
        refuse_useless_stages(policy, RefineConfig())
    refuse_useless_stages(policy, RefineConfig.model_validate({"anchor": {"enabled": False}}))
    with pytest.raises(RefineError, match="stage sft cannot"):
        refuse_useless_stages(policy, RefineConfig.model_validate({"sft": {"head_weight": 0}}))


def test_it_learns_beside_an_adapter_on_qwen(tmp_path: Path) -> None:
    config = PolicyConfig(decoder="flow", width_px=96, height_px=64, text_tokens=256)
    policy = Policy.load(save_tiny_qwen(tmp_path / "stock"), config=config)
    before = flow_of(policy)
    lora = LoraSettings(use="always", rank=4, alpha=8)
    sft = SftConfig(max_steps=1, per_device_train_batch_size=2)
    run_sft(policy, make_samples(2), sft, 0, out_dir=tmp_path, lora=lora)
    assert changed(before, policy)
    inputs = [make_samples(1)[0].input]
    plan = policy.plan(inputs, "")[0].waypoints_m
    loaded = Policy.load(policy.save(tmp_path / "saved"))
    assert np.allclose(loaded.plan(inputs, "")[0].waypoints_m, plan, atol=1e-5)
