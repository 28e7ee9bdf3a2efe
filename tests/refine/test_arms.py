from __future__ import annotations

import pytest

from takeover.errors import UsageError
from takeover.refine.arms import DEFAULT_ARMS, Arm, Steps, equalised, parse_arms, steps_of
from takeover.refine.config import RefineConfig

CONFIG = RefineConfig.model_validate(
    {
        "sft": {"max_steps": 40},
        "dpo": {"max_steps": 24},
        "grpo": {"max_steps": 8},
        "refit": {"epochs": 12, "per_device_train_batch_size": 64},
        "anchor": {"epochs": 8, "per_device_train_batch_size": 32},
    }
)


def test_every_arm_takes_as_many_steps_as_the_longest() -> None:
    pairs, scenes = 100, 1000
    goal = steps_of(CONFIG, ("sft", "dpo", "grpo", "anchor"), pairs, scenes)
    # 40 + 24 + 8; 12 epochs of 16 batches and 8 epochs of 4
    assert goal == Steps(72, 12 * 16 + 8 * 4)
    for arm, sft, epochs in (
        (Arm("a", ("sft", "dpo", "grpo", "anchor")), 40, 12),
        (Arm("b", ("sft", "dpo", "grpo")), 40, 14),  # 32 steps of the anchor stage are two epochs of 16
        (Arm("c", ("sft", "dpo")), 48, 14),
        (Arm("d", ("sft",)), 72, 14),
        (Arm("e", ("dpo",)), 48, 14),
        (Arm("f", ("grpo", "anchor")), 64, 12),
    ):
        config = equalised(CONFIG, arm, goal, pairs, scenes)
        assert (config.sft.max_steps, config.refit.epochs) == (sft, epochs), arm.name
        enabled = {name for name in ("sft", "dpo", "kto", "grpo", "anchor") if getattr(config, name).enabled}
        assert enabled == {"sft", *arm.stages}, arm.name
        taken = steps_of(config, [*enabled], pairs, scenes)
        assert taken.text == goal.text
        assert taken.head >= goal.head


def test_an_arm_with_fewer_scenes_still_takes_as_many_head_steps() -> None:
    goal = Steps(72, 12 * 16 + 8 * 4)
    config = equalised(CONFIG, Arm("replay only", ("sft",)), goal, 100, 640)
    assert config.refit.epochs == 23  # 224 steps in epochs of 10


def test_the_default_arms_are_fair_and_say_what_they_change() -> None:
    names = [arm.name for arm in DEFAULT_ARMS]
    assert names[:2] == ["SFT + DPO", "full"]
    assert {"replay only", "DPO's SFT term only"} <= set(names)
    goal = steps_of(CONFIG, ("sft", "dpo", "grpo", "anchor"), 100, 1000)
    for arm in DEFAULT_ARMS:
        config = equalised(CONFIG, arm, goal, 100, 1000)
        assert steps_of(config, arm.stages, 100, 1000).text == goal.text
        assert config.dpo.loss_type == (("sft",) if "term" in arm.name else ("sigmoid", "sft"))
        assert config.sft.negative_share == (0.0 if arm.name == "base SFT" else 0.5)


def test_arms_from_text() -> None:
    arms = parse_arms("sft; sft,dpo ;sft,dpo,grpo,anchor")
    assert [arm.stages for arm in arms] == [("sft",), ("sft", "dpo"), ("sft", "dpo", "grpo", "anchor")]
    assert parse_arms("") == DEFAULT_ARMS
    for bad, words in (("sft,ppo", "ppo"), ("sft;sft", "twice"), ("sft;;dpo", "unknown stage")):
        with pytest.raises(UsageError, match=words) as error:
            parse_arms(bad)
        assert error.value.fix
