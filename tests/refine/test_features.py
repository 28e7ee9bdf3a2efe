from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from takeover.models.policy import Policy, PolicyConfig
from takeover.models.prompts import PromptMode
from takeover.models.threads import training_threads
from takeover.refine import features
from takeover.refine.anchor_stage import run_anchor
from takeover.refine.config import AnchorConfig, FeatureConfig
from takeover.refine.feature_store import FeatureStore
from takeover.refine.features import FeatureCache, feature_cache

from .conftest import SMALL, make_pairs, make_policy, make_samples

CONTEXT = "prompt+reasoning"


def speaking(reason_tokens: int = 6) -> Policy:
    config = PolicyConfig(width_px=96, height_px=64, reason_tokens=reason_tokens)
    return Policy.tiny(0, config, SMALL, context=CONTEXT)


def test_features_are_those_the_head_drives_with_and_are_computed_once(policy: Policy) -> None:
    inputs = [s.input for s in make_samples(5)]
    cache = FeatureCache(policy)
    found = cache.get(inputs)
    plans = policy.model.action_head(found.hidden, found.mask, found.ego).detach().numpy()
    driven = [plan.waypoints_m for plan in policy.plan(inputs, "g")]
    assert np.allclose(plans, np.stack(driven), atol=1e-4)
    assert cache.computed == 5
    again = cache.get(inputs[::-1])
    assert cache.computed == 5
    assert torch.equal(again.hidden[0], found.hidden[4])
    with torch.no_grad():
        policy.model.action_head.query.weight.add_(1.0)
    cache.get(inputs)
    assert cache.computed == 5  # the head is not part of the key
    with torch.no_grad():
        next(policy.model.model.parameters()).add_(0.1)
    cache.get(inputs)
    assert cache.computed == 10


def test_a_frozen_backbone_is_hashed_once(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[tuple[str, ...]] = []
    plain = features._weights_hash
    monkeypatch.setattr(
        features, "_weights_hash", lambda policy, left_out: hashed.append(left_out) or plain(policy, left_out)
    )
    samples, cache = make_samples(3), FeatureCache(policy)
    with cache.frozen():
        found = [cache.get([sample.input]).hidden for sample in samples]
    assert len(hashed) == 1
    with torch.no_grad():
        next(policy.model.model.parameters()).add_(0.1)
    moved = [cache.get([sample.input]).hidden for sample in samples]  # outside, every time anew
    assert len(hashed) == 4
    assert not any(torch.equal(a, b) for a, b in zip(found, moved, strict=True))


def test_the_anchor_stage_hashes_no_backbone_in_its_steps(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    plain = features._weights_hash
    monkeypatch.setattr(
        features, "_weights_hash", lambda policy, left_out: hashed.append(1) or plain(policy, left_out)
    )
    counts = []
    for epochs in (1, 4):
        config = AnchorConfig(epochs=epochs, feedback_every=0, threshold=1.0)
        report = run_anchor(make_policy(), make_pairs(4), config, 0)
        assert report.metrics["refined_groups"] > 0
        counts.append(len(hashed))
        hashed.clear()
    assert counts[0] == counts[1]


def test_a_feature_does_not_depend_on_what_is_computed_beside_it(policy: Policy) -> None:
    inputs = [s.input for s in make_samples(20)]
    together = FeatureCache(policy).get(inputs)
    alone = FeatureCache(policy).get(inputs[17:18])
    length = int(alone.mask.sum())
    assert torch.equal(alone.hidden[0], together.hidden[17, :length])


def test_prompt_frames_and_processor_are_in_the_key(policy: Policy) -> None:
    item = make_samples(1)[0].input
    cache = FeatureCache(policy)
    cache.get([item, item])
    assert cache.computed == 1
    cache.get([replace(item, speed_mps=item.speed_mps + 5.0)])  # the prompt says so
    assert cache.computed == 2
    dark = item.images.copy()
    dark[-1, 0, 0, 0] ^= 255
    cache.get([replace(item, images=dark)])
    assert cache.computed == 3
    cache.get([item], [policy.prompt(item, PromptMode.NEGATIVE, np.zeros((8, 2), np.float32), "why")])
    assert cache.computed == 4


def test_the_disk_gives_back_the_same_bits_to_a_later_run(policy: Policy, tmp_path: Path) -> None:
    inputs = [s.input for s in make_samples(4)]
    plain = FeatureCache(policy).get(inputs)
    first = FeatureCache(policy, FeatureStore(tmp_path, 10_000_000))
    second = FeatureCache(policy, FeatureStore(tmp_path, 10_000_000))
    for cache, computed in ((first, 4), (second, 0)):
        found = cache.get(inputs)
        assert cache.computed == computed
        assert torch.equal(found.hidden, plain.hidden)
        assert torch.equal(found.mask, plain.mask)
        assert torch.equal(found.ego, plain.ego)
    later = FeatureCache(make_policy(seed=1), FeatureStore(tmp_path, 10_000_000))
    later.get(inputs)
    assert later.computed == 4  # another backbone


def test_eight_bits_hardly_move_a_plan(policy: Policy, tmp_path: Path) -> None:
    inputs = [s.input for s in make_samples(4)]
    config = FeatureConfig(store="disk", int8=True, budget_mb=10)
    plans = []
    for cache in (FeatureCache(policy), feature_cache(policy, config, tmp_path)):
        found = cache.get(inputs)
        plans.append(policy.model.action_head(found.hidden, found.mask, found.ego).detach())
    assert 0 < float((plans[0] - plans[1]).abs().max()) < 0.05
    assert list(tmp_path.glob("*.safetensors"))


def test_a_flow_head_finds_its_layers(tmp_path: Path) -> None:
    policy = Policy.tiny(0, PolicyConfig(decoder="flow", width_px=96, height_px=64), SMALL)
    inputs = [s.input for s in make_samples(3)]
    found = feature_cache(policy, FeatureConfig(store="disk"), tmp_path).get(inputs)
    plans = policy.model.flow_head(found.layers, found.mask, found.ego).detach().numpy()
    driven = np.stack([plan.waypoints_m for plan in policy.plan(inputs, "g")])
    assert np.allclose(plans, driven, atol=1e-4)
    some = found.take(torch.tensor([2]))
    assert some.layers is not None
    assert some.layers.shape == (1, *found.hidden.shape[1:2], 1, 32)


def test_with_reasoning_the_backbone_speaks_once_and_the_heads_read_it() -> None:
    policy = speaking()
    inputs = [s.input for s in make_samples(5)]
    cache = FeatureCache(policy)
    found = cache.get(inputs)
    assert (cache.spoken, cache.computed) == (5, 5)
    said = policy.reasonings(inputs, [policy.prompt(item, PromptMode.REASON) for item in inputs])
    lengths = [
        policy.encode([item], [policy.prompt(item, PromptMode.REASON)])["prompt_mask"].sum().item()
        + len(policy.processor.tokenizer(text)["input_ids"][:6])
        for item, text in zip(inputs, said, strict=True)
    ]
    assert found.mask.sum(dim=1).tolist() == lengths
    plans = policy.model.action_head(found.hidden, found.mask, found.ego).detach().numpy()
    driven = np.stack([plan.waypoints_m for plan in policy.plan(inputs, "g")])
    assert np.allclose(plans, driven, atol=1e-4)
    cache.get(inputs)
    assert (cache.spoken, cache.computed) == (5, 5)


def test_words_change_with_the_output_layer_and_features_with_the_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy, words = speaking(), ["a car ahead", "a car ahead", "nothing ahead"]
    head, item = policy.model.get_output_embeddings(), make_samples(1)[0].input
    head.weight = torch.nn.Parameter(head.weight.detach().clone())  # untied: no state depends on it
    monkeypatch.setattr(policy, "reasonings", lambda inputs, _texts, **_: [words.pop(0)] * len(inputs))
    cache = FeatureCache(policy)
    counts = []
    for _ in range(3):
        cache.get([item])
        cache.get([item])
        counts.append((cache.spoken, cache.computed))
        with torch.no_grad():
            head.weight.mul_(2.0)
    assert counts == [(1, 1), (2, 1), (3, 2)]


@pytest.mark.parametrize("decoder", ["mlp", "flow"])
def test_a_plan_with_reasoning_does_not_depend_on_its_neighbours(decoder: str) -> None:
    config = PolicyConfig(decoder=decoder, width_px=96, height_px=64, reason_tokens=6)
    policy = Policy.tiny(0, config, SMALL, context=CONTEXT)
    inputs = [s.input for s in make_samples(5)]
    together = policy.plan(inputs, "")
    assert np.array_equal(policy.plan(inputs[3:4], "")[0].waypoints_m, together[3].waypoints_m)


def test_the_context_travels_with_the_checkpoint(tmp_path: Path) -> None:
    policy = speaking()
    loaded = Policy.load(policy.save(tmp_path))
    assert loaded.reads_reasoning
    assert not Policy.load(tmp_path, context="prompt").reads_reasoning
    inputs = [make_samples(1)[0].input]
    assert np.array_equal(policy.plan(inputs, "")[0].waypoints_m, loaded.plan(inputs, "")[0].waypoints_m)


def test_in_training_the_head_reads_the_reasoning_but_never_the_actions() -> None:
    policy = speaking()
    sample = make_samples(2)[1]
    actions = policy.codec.text(range(8))
    inputs = [sample.input] * 2
    batch = policy.encode(inputs, answers=[sample.reasoning + actions, actions])
    words = len(policy.processor.tokenizer(sample.reasoning)["input_ids"])
    prompt = policy.encode(inputs)["prompt_mask"].sum(dim=1).tolist()
    assert batch["prompt_mask"].sum(dim=1).tolist() == [prompt[0] + words, prompt[1]]
    read = batch["input_ids"][batch["prompt_mask"].bool()]
    forbidden = policy.processor.tokenizer.convert_tokens_to_ids(policy.codec.tokens)
    assert not set(read.tolist()) & set(forbidden)


def test_a_second_thread_computes_the_same_bits() -> None:
    policy, inputs = make_policy(), [sample.input for sample in make_samples(70)]
    alone = FeatureCache(policy).get(inputs)
    with training_threads(2):
        beside = FeatureCache(policy).get(inputs)
    assert torch.equal(alone.hidden, beside.hidden)
    assert torch.equal(alone.mask, beside.mask)
