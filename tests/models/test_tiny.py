"""The tiny model: its parts are transformers' own, and the head survives what happens to a model."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, LlavaForConditionalGeneration

from takeover.models.backbone import freeze, lora_config
from takeover.models.encoder import model_inputs
from takeover.models.heads import EGO_DIM, ActionHead, head_loss
from takeover.models.policy import Policy
from takeover.models.tiny import ConvTower
from takeover.models.vla import restore_forward

from .scenes import make_inputs


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.tiny(0)


def plans(policy: Policy) -> Tensor:
    with torch.inference_mode():
        return policy.head_plans(policy.encode(make_inputs(2))).clone()


def test_a_seed_makes_the_same_policy(policy: Policy) -> None:
    assert torch.equal(plans(policy), plans(Policy.tiny(0)))
    assert not torch.equal(plans(policy), plans(Policy.tiny(1)))
    assert 1.0e6 < policy.model.num_parameters() < 2.0e6


def test_fast_encoding_is_what_the_processor_makes(policy: Policy) -> None:
    inputs = make_inputs(3)
    texts = [policy.prompt(item) for item in inputs]
    content = [[{"type": "image"}] * 2 + [{"type": "text", "text": text}] for text in texts]
    rendered = [
        policy.processor.apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False
        )
        for parts in content
    ]
    stock = policy.processor(
        images=[[Image.fromarray(view) for view in item.images[:, 0]] for item in inputs],
        text=rendered, padding=True, padding_side="left", return_tensors="pt", add_special_tokens=False,
    )  # fmt: skip
    ours = policy.encode(inputs)
    assert torch.equal(stock["input_ids"], ours["input_ids"])
    assert torch.equal(stock["attention_mask"], ours["attention_mask"])
    torch.testing.assert_close(stock["pixel_values"], ours["pixel_values"])
    assert ours["ego"].shape == (3, EGO_DIM)


def test_action_tokens_survive_decoding_without_special_tokens(policy: Policy) -> None:
    tokenizer = policy.processor.tokenizer
    text = policy.codec.text(range(8))
    ids = tokenizer.encode(text)
    assert len(ids) == 8
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_labels_cover_the_answer_only(policy: Policy) -> None:
    inputs = make_inputs(2)
    batch = policy.encode(inputs, answers=[policy.codec.text(range(8))] * 2)
    spoken = batch["labels"] != -100
    assert spoken.sum(1).tolist() == [9, 9]
    assert not (spoken & batch["prompt_mask"].bool()).any()
    assert torch.equal(spoken | batch["prompt_mask"].bool(), batch["attention_mask"].bool())
    assert batch["labels"][spoken].view(2, 9)[0, -1] == policy.processor.tokenizer.eos_token_id


def test_saved_policies_plan_alike_and_are_stock_checkpoints(policy: Policy, tmp_path: Path) -> None:
    folder = policy.save(tmp_path / "saved")
    assert torch.equal(plans(Policy.load(folder)), plans(policy))
    assert not [file for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pkl", ".py")]
    assert AutoConfig.from_pretrained(folder).model_type == "llava"
    stock = LlavaForConditionalGeneration.from_pretrained(folder)  # the head's weights are left over, no more
    item = model_inputs(policy.encode(make_inputs(1)))
    with torch.inference_mode():
        torch.testing.assert_close(stock(**item).logits, policy.model(**item).logits)


def test_a_copy_plans_alike_and_captures_its_own_states(policy: Policy) -> None:
    twin = copy.deepcopy(policy.model).train()
    batch = policy.encode(make_inputs(2))
    twin.model(**model_inputs(batch))  # TRL's fused head calls the backbone, never forward()
    states = twin.take()
    assert states.last.requires_grad
    assert torch.equal(states.mask, batch["attention_mask"])
    assert states.layers is None
    with pytest.raises(RuntimeError):
        twin.take()
    with pytest.raises(RuntimeError):
        policy.model.take()
    with torch.no_grad():
        twin.model(**model_inputs(batch))  # reference and rollout passes are not captured
    with pytest.raises(RuntimeError):
        twin.take()


def test_forward_put_on_the_instance_is_removed(policy: Policy) -> None:
    twin = copy.deepcopy(policy.model)
    twin.forward = policy.model.forward
    restore_forward(twin)
    assert twin.forward.__self__ is twin


def test_the_head_survives_lora(policy: Policy, tmp_path: Path) -> None:
    base = policy.save(tmp_path / "base")
    learner = Policy.load(base)
    config = lora_config(learner.backbone, learner.codec, rank=4, alpha=8)
    assert isinstance(config, LoraConfig)
    wrapped = get_peft_model(learner.model, config)
    trained = {name for name, weight in wrapped.named_parameters() if weight.requires_grad}
    assert any("action_head" in name for name in trained)
    assert not any("vision_tower" in name and "lora" in name for name in trained)
    wrapped.train()
    batch = learner.encode(make_inputs(2), answers=[learner.codec.text(range(8))] * 2)
    optimizer = torch.optim.SGD([w for w in wrapped.parameters() if w.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = wrapped(**model_inputs(batch), labels=batch["labels"]).loss
        plan = learner.model.action_head(learner.model.take().last, batch["prompt_mask"], batch["ego"])
        (loss + head_loss(plan, torch.ones_like(plan), torch.ones(2, 8))).backward()
        optimizer.step()
    wrapped.save_pretrained(tmp_path / "adapter")
    learner.model = wrapped.merge_and_unload().eval()
    assert isinstance(learner.model.action_head, ActionHead)
    after = plans(learner)
    assert not torch.allclose(after, plans(policy))
    again = Policy.load(tmp_path / "adapter", config=learner.config)
    torch.testing.assert_close(plans(again), after, rtol=1e-4, atol=1e-4)


def test_a_loaded_tower_is_the_same_in_training_and_evaluation(policy: Policy, tmp_path: Path) -> None:
    pixels = torch.randn(2, 3, 96, 192)
    fresh, loaded = Policy.tiny(0), Policy.load(policy.save(tmp_path))
    for learner, same in ((fresh, False), (loaded, True)):
        tower = learner.model.model.vision_tower
        assert isinstance(tower, ConvTower)
        with torch.no_grad():
            calm = learner.model.eval() and tower(pixels).last_hidden_state
            busy = learner.model.train() and tower(pixels).last_hidden_state
        assert torch.equal(calm, busy) is same


def test_what_freezes_is_frozen(policy: Policy) -> None:
    learner = Policy.tiny(0)
    for part, share in (("backbone", "action_head"), ("vision", "language_model")):
        freeze(learner.backbone, part)
        names = [name for name, weight in learner.model.named_parameters() if weight.requires_grad]
        assert any(share in name for name in names)
        assert not any("vision_tower" in name for name in names)
        assert part == "vision" or all(name.startswith("action_head") for name in names)
    with pytest.raises(ValueError, match="part"):
        freeze(learner.backbone, "wheels")
