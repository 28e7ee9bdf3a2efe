"""A stock Qwen2.5-VL checkpoint by its folder: it loads, plans with both decoders, and keeps its head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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
