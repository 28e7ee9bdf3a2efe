"""A stock Qwen2.5-VL checkpoint by its folder: it loads, plans with both decoders, and keeps its head."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, Qwen2_5_VLForConditionalGeneration

from takeover.errors import PolicyError
from takeover.models.backbone import heads_of, lora_config
from takeover.models.policy import Policy, PolicyConfig

from ..refine.qwen import save_tiny_qwen
from .scenes import make_inputs

CONFIG = PolicyConfig(width_px=112, height_px=56, text_tokens=256, batch_size=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_qwen(tmp_path_factory.mktemp("qwen"))


def test_it_plans_and_keeps_its_head(checkpoint: Path, tmp_path: Path) -> None:
    policy = Policy.load(checkpoint, config=CONFIG)
    inputs = make_inputs(2, CONFIG)
    plan = policy.plan(inputs, "0")
    assert len(Policy(policy.backbone, replace(CONFIG, decoder="tokens")).plan(inputs, "0")) == 2
    assert len(policy.reason(inputs[:1])) == 1
    again = Policy.load(policy.save(tmp_path / "saved"))
    assert again.config == CONFIG
    assert np.array_equal(again.plan(inputs, "0")[1].waypoints_m, plan[1].waypoints_m)


@pytest.mark.parametrize("tied", [False, True])
def test_a_stock_checkpoint_brings_all_its_weights(tied: bool, tmp_path: Path) -> None:
    save_tiny_qwen(tmp_path / "stock", tied=tied)
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "stock").state_dict()
    policy = Policy.load(tmp_path / "stock", config=CONFIG)
    again = Policy.load(policy.save(tmp_path / "ours"))
    for loaded in (policy, again):
        ours = loaded.model.state_dict()
        assert {key for key in ours if not key.startswith("action_head")} == stock.keys()
        for key, value in stock.items():
            assert torch.equal(ours[key][: len(value)], value), key  # the action tokens come after


def test_heads_keep_their_digits_beside_a_bf16_backbone(checkpoint: Path, tmp_path: Path) -> None:
    policy = Policy.load(checkpoint, config=CONFIG, dtype=torch.bfloat16, flow=True)
    with torch.no_grad():
        for name in heads_of(policy.model):
            for weight in policy.model.get_submodule(name).parameters():
                weight.add_(1e-3 * torch.randn(weight.shape))
    again = Policy.load(policy.save(tmp_path / "saved"), dtype=torch.bfloat16)
    assert again.model.dtype is torch.bfloat16
    before, after = policy.model.state_dict(), again.model.state_dict()
    assert {key: value.dtype for key, value in before.items()} == {k: v.dtype for k, v in after.items()}
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    inputs = make_inputs(2, CONFIG)
    assert np.array_equal(policy.plan(inputs, "0")[0].waypoints_m, again.plan(inputs, "0")[0].waypoints_m)


def test_an_adapter_finds_its_layers_again(checkpoint: Path, tmp_path: Path) -> None:
    """Saved and loaded under names that Qwen's table of older names may rename."""
    learner = Policy.load(checkpoint, config=CONFIG)
    wrapped = get_peft_model(learner.model, lora_config(learner.backbone, learner.codec, rank=4, alpha=8))
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                weight.add_(0.02 * torch.randn(weight.shape))
    wrapped.save_pretrained(tmp_path / "adapter")
    merged = wrapped.merge_and_unload().state_dict()
    again = Policy.load(tmp_path / "adapter", config=CONFIG).model.state_dict()
    stock = Policy.load(checkpoint, config=CONFIG).model.state_dict()
    moved = {key for key, value in merged.items() if not torch.allclose(value, stock[key], atol=1e-5)}
    assert {part for part in ("q_proj", "down_proj", "action_head") if any(part in key for key in moved)} == {
        "q_proj",
        "down_proj",
        "action_head",
    }
    for key, value in merged.items():
        torch.testing.assert_close(again[key], value, rtol=0.0, atol=1e-6)


def test_new_tokens_start_near_the_mean_of_the_old_ones(checkpoint: Path) -> None:
    policy = Policy.load(checkpoint, config=CONFIG)
    rows = policy.processor.tokenizer.convert_tokens_to_ids(policy.codec.tokens)
    for layer in (policy.model.get_input_embeddings(), policy.model.get_output_embeddings()):
        old, new = layer.weight[: min(rows)], layer.weight[rows]
        off = (new - old.mean(dim=0)) / old.std(dim=0)
        assert 0.05 < float(off.detach().std()) < 0.15
        assert len(new.unique(dim=0)) == len(rows)


def test_a_checkpoint_with_a_gap_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "cut")
    file = tmp_path / "cut" / "model.safetensors"
    weights = load_file(file)
    del weights[next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(PolicyError, match=r"lacks 1 weights of the backbone, .*1\.mlp\.up_proj"):
        Policy.load(tmp_path / "cut", config=CONFIG)


def test_a_chat_models_penalties_do_not_bend_plans(checkpoint: Path, tmp_path: Path) -> None:
    """Eight times the same action is a plan, not a slip."""
    shutil.copytree(checkpoint, tmp_path / "chat")
    settings = GenerationConfig.from_pretrained(tmp_path / "chat")
    settings.repetition_penalty, settings.top_p, settings.do_sample = 5.0, 0.1, True
    settings.save_pretrained(tmp_path / "chat")
    inputs = make_inputs(2, CONFIG)
    found = []
    for path in (checkpoint, tmp_path / "chat"):
        policy = Policy.load(path, config=replace(CONFIG, decoder="tokens"))
        rows = policy.processor.tokenizer.convert_tokens_to_ids(policy.codec.tokens)
        with torch.no_grad():  # one action is likelier than the others whatever the state, by little
            policy.model.get_output_embeddings().weight[rows] = 1.0 + 1e-3 * torch.arange(len(rows))[:, None]
        found.append(policy.plan(inputs, "0")[0].waypoints_m)
    assert np.array_equal(*found)


def test_a_fresh_head_is_the_same_for_a_seed(checkpoint: Path) -> None:
    first, twin, other = (Policy.load(checkpoint, config=CONFIG, seed=seed) for seed in (1, 1, 2))
    weights = [p.model.action_head.value.weight for p in (first, twin, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_fast_encoding_is_what_the_processor_makes(checkpoint: Path) -> None:
    policy = Policy.load(checkpoint, config=CONFIG)
    inputs = make_inputs(2, CONFIG)
    rendered = [
        policy.processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}] * 2 + [{"type": "text", "text": policy.prompt(item)}]}],
            add_generation_prompt=True, tokenize=False,
        )
        for item in inputs
    ]  # fmt: skip
    stock = policy.processor(
        images=[[Image.fromarray(view) for view in item.images[:, 0]] for item in inputs],
        text=rendered, padding=True, padding_side="left", return_tensors="pt", add_special_tokens=False,
    )  # fmt: skip
    ours = policy.encode(inputs)
    for key in stock:
        torch.testing.assert_close(stock[key], ours[key])
