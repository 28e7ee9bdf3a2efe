from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from takeover.errors import RefineError
from takeover.models.policy import Policy
from takeover.models.prompts import PromptMode
from takeover.refine import grpo as module
from takeover.refine.completion_rewards import UNPARSABLE
from takeover.refine.config import GrpoConfig, LoraSettings, SftConfig
from takeover.refine.group_scenes import grpo_rows
from takeover.refine.groups import Groups
from takeover.refine.grpo import AnchoredGRPOTrainer, run_grpo, shaped_loss
from takeover.refine.rewards import plan_rewards
from takeover.refine.sft import run_sft
from takeover.scoring.analysis import negative_analysis
from takeover.vocabulary import PreferencePair

from .conftest import REASONING, blocked_road, make_pairs, make_policy, make_samples, same, swerve, weights

# Rows of a group: 3 samples, 1 place for a corrected plan, positive, negative.
CONFIG = GrpoConfig(
    max_steps=2, per_device_train_batch_size=12, num_generations=6, feedback_tries=2, takeover_share=1.0
)
PLAIN = CONFIG.model_copy(update={"format_weight": 0.0, "negative_weight": 0.0, "recovery_weight": 0.0})


class Script:
    """Answers in place of `generate`; keeps the prompts that it was asked."""

    def __init__(self, policy: Policy, answers: Iterable[str]) -> None:
        self.tokens = policy.processor.tokenizer
        self.answers = iter(answers)
        self.asked: list[list[str]] = []

    def __call__(self, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        self.asked.append(self.tokens.batch_decode(input_ids, skip_special_tokens=True))
        end = self.tokens.eos_token_id
        rows = [[*self.tokens.encode(next(self.answers), add_special_tokens=False), end] for _ in input_ids]
        width = max(map(len, rows))
        tails = torch.tensor([row + [self.tokens.pad_token_id] * (width - len(row)) for row in rows])
        return torch.cat((input_ids, tails), dim=1)


def groups_of(
    policy: Policy, pair: PreferencePair, answers: Iterable[str], config: GrpoConfig = PLAIN
) -> tuple[Groups, dict[str, Any], Script]:
    """One group after its rollout."""
    script = Script(policy, answers)
    policy.model.generate = script
    groups = Groups(policy, grpo_rows(policy, [pair], [], config, 0), config)
    groups.begin([0] * config.num_generations)
    return groups, groups.rollout([], None), script


def told(groups: Groups, n: int) -> dict[str, list[float]]:
    return {f.__name__: f(completions=[None] * n) for f in groups.reward_functions()}


def test_a_good_group_is_samples_an_empty_place_and_the_anchors(policy: Policy) -> None:
    pair = make_pairs(1)[0]
    speed = pair.input.speed_mps
    good = policy.answer(pair.chosen_m, speed)
    groups, out, script = groups_of(policy, pair, [good, good, policy.answer(pair.rejected_m, speed)])
    assert len(script.asked) == 1  # nothing to refine
    texts = policy.processor.tokenizer.batch_decode(out["completion_ids"], skip_special_tokens=True)
    assert texts[:3] == [good, good, policy.answer(pair.rejected_m, speed)]
    assert texts[4:] == [policy.answer(pair.chosen_m, speed), policy.answer(pair.rejected_m, speed)]
    assert all(ids[-1] == policy.processor.tokenizer.eos_token_id for ids in out["completion_ids"])
    assert len({tuple(ids) for ids in out["prompt_ids"]}) == 1
    assert groups.injected().tolist() == [False, False, False, True, True, True]
    assert groups.counted().tolist() == [True, True, True, False, True, True]
    assert groups.advantages()[3] == 0.0
    assert groups.figures()["refined_groups"] == 0


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
    groups.begin([0] * 6)
    assert groups.rollout([], None)["prompt_ids"][0] == wanted


def test_rewards_and_advantages_of_a_group(policy: Policy) -> None:
    pair = make_pairs(1)[0]
    speed, codec = pair.input.speed_mps, policy.codec
    middle = policy.answer((pair.chosen_m + pair.rejected_m) / 2, speed)
    config = PLAIN.model_copy(update={"feedback": 0})
    groups, _, _ = groups_of(policy, pair, [middle, "no plan", middle, middle], config)
    quality = told(groups, 6)["quality"]
    assert quality[1] == UNPARSABLE
    assert quality[4] > quality[0] > quality[5]
    decoded = codec.encode(pair.chosen_m, speed).waypoints_m
    expected = plan_rewards(None, decoded[None], pair.chosen_m, pair.rejected_m, pair.chosen_mask)[0]
    assert quality[4] == pytest.approx(float(expected))
    found = groups.advantages().tolist()
    # Three alike and one below: 1 / sqrt(3) above the mean, sqrt(3) below, in standard deviations.
    assert found[:4] == pytest.approx([1 / math.sqrt(3), -math.sqrt(3)] + [1 / math.sqrt(3)] * 2, abs=1e-5)
    assert found[4] > 0
    assert found[5] == 0.0  # the negative anchor beats an unparsable sample, yet is never praised
    assert groups.skipped == 0


def test_a_bad_group_is_asked_again_with_its_worst_plan_and_what_is_better_is_kept(policy: Policy) -> None:
    pair = make_pairs(1)[0]
    speed, codec = pair.input.speed_mps, policy.codec
    bad, half = pair.rejected_m, (pair.chosen_m + pair.rejected_m) / 2
    worst = bad + (bad - pair.chosen_m)
    good, poor = policy.answer(pair.chosen_m, speed), policy.answer(bad, speed)
    config = PLAIN.model_copy(update={"threshold": 1.0})
    answers = [poor, policy.answer(worst, speed), policy.answer(half, speed), poor, good]
    groups, out, script = groups_of(policy, pair, answers, config)
    drawn = codec.encode(worst, speed).waypoints_m
    words = negative_analysis(None, drawn, pair.chosen_m, frozenset())
    asked = policy.prompt(pair.input, PromptMode.NEGATIVE, drawn, words)
    assert len(script.asked[1]) == 2
    assert all(asked in prompt for prompt in script.asked[1])
    texts = policy.processor.tokenizer.batch_decode(out["completion_ids"], skip_special_tokens=True)
    assert texts[3] == good  # the second try: the first beat no sample
    assert len({tuple(ids) for ids in out["prompt_ids"]}) == 1  # kept under the prompt that drives
    assert groups.counted().all()
    assert groups.figures() == {
        "share_skipped_groups": 0.0,
        "refined_groups": 1.0,
        "corrected_rows": 1.0,
        "threshold": groups.threshold.value,
    }
    # Eq. 8: the corrected plan counts in the statistics, the anchors do not.
    quality = np.array(told(groups, 6)["quality"])[:4]
    wanted = (quality - quality.mean()) / quality.std()
    assert groups.advantages()[:4].tolist() == pytest.approx(wanted.tolist(), abs=1e-4)


def test_corrections_that_are_no_better_leave_the_place_empty(policy: Policy) -> None:
    pair = make_pairs(1)[0]
    speed = pair.input.speed_mps
    bad, half = (policy.answer(p, speed) for p in (pair.rejected_m, (pair.chosen_m + pair.rejected_m) / 2))
    config = PLAIN.model_copy(update={"threshold": 1.0})
    groups, _, script = groups_of(policy, pair, [bad, half, "no plan", bad, half], config)
    assert len(script.asked) == 2
    assert groups.counted().tolist() == [True, True, True, False, True, True]
    quality = np.array(told(groups, 6)["quality"])[:3]
    wanted = (quality - quality.mean()) / quality.std()
    assert groups.advantages()[:4].tolist() == pytest.approx([*wanted.tolist(), 0.0], abs=1e-4)


def test_a_group_without_variance_is_skipped_counted_and_out_of_the_denominator(policy: Policy) -> None:
    pair = make_pairs(1)[0]
    same_text = policy.answer(pair.rejected_m, pair.input.speed_mps)
    for variant in ("directional", "published"):
        scene_pair = replace(pair, scene=blocked_road(pair.input.speed_mps))
        config = PLAIN.model_copy(update={"variant": variant, "feedback": 0})
        groups, _, _ = groups_of(policy, scene_pair, [same_text] * 4, config)
        assert groups.advantages().tolist() == [0.0] * 6
        assert not groups.counted().any()
        assert groups.skipped == 1
        assert groups.figures()["share_skipped_groups"] == 1.0


def test_anchor_advantages_signed_and_clamped_or_as_in_the_paper(policy: Policy) -> None:
    pair = make_pairs(1)[0]
    pair = replace(pair, scene=blocked_road(pair.input.speed_mps))
    speed = pair.input.speed_mps
    answers = [policy.answer(pair.rejected_m, speed), "no plan", policy.answer(pair.rejected_m * 0.9, speed)]
    found = {}
    for variant in ("directional", "published"):
        config = PLAIN.model_copy(update={"variant": variant, "feedback": 0, "num_generations": 5})
        groups, _, _ = groups_of(policy, pair, answers, config)
        quality = np.array(told(groups, 5)["quality"])
        own, anchors = quality[:3], quality[3:]
        found[variant] = ((anchors - own.mean()) / own.std(), groups.advantages()[3:].tolist())
    plain, got = found["published"]
    assert got == pytest.approx(plain.tolist(), abs=1e-4)
    plain, got = found["directional"]
    assert got == pytest.approx([min(max(plain[0], 0.0), 3.0), min(max(plain[1], -3.0), 0.0)], abs=1e-4)


def test_the_head_learns_the_best_plan_known(policy: Policy) -> None:
    pair = make_pairs(1)[0]
    bad = policy.answer(pair.rejected_m, pair.input.speed_mps)
    groups, _, _ = groups_of(policy, pair, [bad] * 4, PLAIN.model_copy(update={"feedback": 0}))
    targets = groups.head_targets()
    assert torch.equal(targets["target_m"], torch.from_numpy(pair.chosen_m).expand(6, 8, 2))


def test_uneventful_scenes_have_neither_anchors_nor_corrections(policy: Policy) -> None:
    good = policy.answer(swerve(1, 6.0), 6.0)
    policy.model.generate = Script(policy, [good] * 5 + [""])
    groups = Groups(policy, grpo_rows(policy, [], make_samples(2), CONFIG, 0), CONFIG)
    groups.begin([0] * 6)
    assert len(groups.rollout([], None)["completion_ids"]) == 6
    assert not groups.injected().any()
    assert groups.counted().all()
    assert groups.advantages()[5] < 0


def test_policy_shaping_by_hand() -> None:
    """-A f with f = pi / (pi + 0.1): of 0.1 and 0.3, A = 2, -2 * (0.5 + 0.75); a masked token says nothing."""
    logps = torch.tensor([[0.1, 0.3, 0.9]], dtype=torch.float64).log().requires_grad_()
    mask = torch.tensor([[1, 1, 0]])
    loss = shaped_loss(logps, torch.tensor([2.0], dtype=torch.float64), mask, 0.1)
    assert float(loss.detach()) == pytest.approx(-2.5, abs=1e-9)
    (slope,) = torch.autograd.grad(loss, logps)
    # d f / d log pi = gamma pi / (pi + gamma)^2: 0.01 / 0.04 and 0.03 / 0.16
    assert slope[0].tolist() == pytest.approx([-2 * 0.25, -2 * 0.1875, 0.0], abs=1e-9)


def test_shaping_fades_where_the_policy_agrees_and_where_it_never_would() -> None:
    logps = torch.tensor([[1e-6], [0.1], [1.0]], dtype=torch.float64).log().requires_grad_()
    shaped_loss(logps, -torch.ones(3, dtype=torch.float64), torch.ones(3, 1), 0.1).backward()
    assert logps.grad is not None
    rare, middle, sure = logps.grad.flatten().tolist()
    assert rare < 1e-4 < sure < middle
    assert sure == pytest.approx(0.1 / 1.21)


def _one_step(policy: Policy, tmp_path: Path, config: GrpoConfig) -> list[dict[str, Any]]:
    """Losses and gradients of the first step, with the head's part left out."""
    seen: list[dict[str, Any]] = []

    class Watched(AnchoredGRPOTrainer):
        def with_head(self, loss: torch.Tensor, fields: Any, rows: Any = None) -> torch.Tensor:
            logits = policy.model.get_output_embeddings().weight
            (slope,) = torch.autograd.grad(loss, logits, retain_graph=True)
            seen[-1]["slope"] = slope.detach().clone()
            return super().with_head(loss, fields)

        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            seen.append(dict(inputs))
            return super()._compute_loss(model, inputs)

    original = module.AnchoredGRPOTrainer
    module.AnchoredGRPOTrainer = Watched  # type: ignore[misc]
    try:
        run_grpo(policy, make_pairs(6), config, 0, out_dir=tmp_path)
    finally:
        module.AnchoredGRPOTrainer = original  # type: ignore[misc]
    return seen


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights that answer with plans more often than not."""
    policy = make_policy()
    config = SftConfig(max_steps=60, per_device_train_batch_size=16, learning_rate=3e-3, reason_share=0)
    run_sft(policy, make_samples(64), config, 0, out_dir=tmp_path_factory.mktemp("sft"))
    return weights(policy)


def copy_of(state: dict[str, torch.Tensor]) -> Policy:
    policy = make_policy()
    policy.model.load_state_dict(state)
    return policy


def test_injected_rows_get_the_shaped_gradient_inside_trl(
    taught: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """The step's gradient is the sum over tokens of -A w d log pi / tokens, w = 1 or gamma pi / (pi + gamma)^2."""
    policy, fresh = copy_of(taught), copy_of(taught)
    config = CONFIG.model_copy(update={"max_steps": 1})
    speeds = (4.0, 6.0, 8.0)
    answers = [policy.answer(swerve(side, v), v) for v in speeds for side in (1, -1)] + ["no plan"]
    policy.model.generate = Script(policy, answers * 10)
    (batch,) = _one_step(policy, tmp_path, config)
    ids = torch.cat((batch["prompt_ids"], batch["completion_ids"]), dim=1)
    attention = torch.cat((batch["prompt_mask"], batch["completion_mask"]), dim=1)
    logits = fresh.model(input_ids=ids, attention_mask=attention, pixel_values=batch["pixel_values"]).logits
    width = batch["completion_ids"].shape[1]
    logps = logits[:, -width - 1 : -1].log_softmax(-1).gather(2, batch["completion_ids"][..., None])[..., 0]
    counted = batch["completion_mask"] * batch["tool_mask"]
    chance = logps.detach().exp()
    share = torch.where(batch["injected"][:, None], 0.1 * chance / (chance + 0.1) ** 2, 1.0)
    loss = -(batch["advantages"][:, None] * share * logps * counted).sum() / counted.sum()
    (wanted,) = torch.autograd.grad(loss, fresh.model.get_output_embeddings().weight)
    assert float(wanted.abs().max()) > 1e-4
    assert torch.allclose(batch["slope"], wanted, atol=1e-6)
    assert int(batch["num_items_in_batch"]) == int(counted.sum())


def test_grpo_runs_in_trl_with_our_advantages_and_repeats_itself(
    taught: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    policy, twin = copy_of(taught), copy_of(taught)
    before = weights(policy)
    seen = _one_step(policy, tmp_path, CONFIG)
    after = weights(policy)
    for part in ("action_head", "language_model"):
        assert any(part in key and not torch.equal(before[key], after[key]) for key in before)
    assert "forward" not in policy.model.__dict__
    # Two scenes a step, shuffled together with their pictures, prompts and targets.
    assert len(seen) == 2
    for batch in seen:
        assert batch["advantages"].shape == (12,)
        assert batch["target_m"].shape == (12, 8, 2)
        assert int(batch["injected"].sum()) == 6
        per_row = batch["pixel_values"].unflatten(0, (12, 2))
        for i in range(12):
            for j in range(12):
                twins = torch.equal(batch["target_m"][i], batch["target_m"][j])
                alike = torch.equal(per_row[i], per_row[j])
                assert twins == alike or not alike
    report = run_grpo(twin, make_pairs(6), CONFIG, 0, out_dir=tmp_path)
    assert report.steps == 2
    assert report.metrics["share_skipped_groups"] < 1.0
    assert {"rewards_quality_mean", "rewards_form_mean", "threshold"} <= report.metrics.keys()
    assert same(after, weights(twin))


@pytest.mark.parametrize("lora", ["never", "always"])
def test_beta_holds_the_policy_to_where_the_stage_began(
    lora: Literal["never", "always"], taught: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Whatever files the policy once came from: those of another one tell nothing of this stage's start."""
    other = Policy.load(make_policy(seed=3).save(tmp_path / "other"))
    other.model.load_state_dict(taught)
    settings = LoraSettings(use=lora, rank=4, alpha=8)
    found = []
    for policy, beta in ((copy_of(taught), 0.0), (copy_of(taught), 0.5), (other, 0.5)):
        config = CONFIG.model_copy(update={"max_steps": 3, "learning_rate": 1e-3, "beta": beta})
        report = run_grpo(policy, make_pairs(6), config, 0, out_dir=tmp_path, lora=settings)
        found.append((report.metrics.get("kl", 0.0), weights(policy)))
    free, held, twin = found
    assert free[0] == 0.0
    assert 0.0 < held[0] < 1.0  # nothing before the first step, then what two steps have moved
    assert not same(free[1], held[1])
    assert same(held[1], twin[1])


def test_a_batch_must_hold_whole_groups(policy: Policy, tmp_path: Path) -> None:
    config = GrpoConfig(per_device_train_batch_size=12, num_generations=9)
    with pytest.raises(RefineError, match="multiple"):
        run_grpo(policy, make_pairs(2), config, 0, out_dir=tmp_path)


def test_groups_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match="fewer than 2 samples"):
        GrpoConfig(num_generations=4)
    with pytest.raises(ValidationError, match="set feedback to 0"):
        GrpoConfig(reason=True, max_completion_length=200)
    with pytest.raises(ValidationError, match="at least 64"):
        GrpoConfig(reason=True, feedback=0)


def test_asked_to_reason_a_plan_that_keeps_its_word_earns_more(policy: Policy) -> None:
    pair = replace(
        make_pairs(1)[0], reasoning_chosen=REASONING
    )  # maintain keep, twice, as a swerve this slow is
    speed = pair.input.speed_mps
    config = CONFIG.model_copy(update={"reason": True, "feedback": 0, "max_completion_length": 200})
    kept = policy.answer(pair.chosen_m, speed, REASONING)
    broken = policy.answer(pair.chosen_m, speed, REASONING.replace("maintain", "decelerate"))
    mute = policy.answer(pair.chosen_m, speed)
    groups, out, script = groups_of(policy, pair, [kept, broken, mute, mute], config)
    assert all(" reason v " in prompt or "reason v " in prompt for prompt in script.asked[0])
    terms = told(groups, 6)
    assert terms["form"] == [
        1.0,
        1.0,
        0.5,
        0.5,
        1.0,
        0.5,
    ]  # the positive brings its reasoning, the negative has none
    said = terms["agreement"]
    assert said[0] - said[1] == 0.5  # two of four words
    assert said[2] == 0.0
    assert len(set(terms["quality"][:4])) == 1
    first, second, third, _ = groups.advantages()[:4].tolist()
    assert first > second > third
    text = policy.processor.tokenizer.decode(out["completion_ids"][4], skip_special_tokens=True)
    assert text == kept
