from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from takeover.errors import PolicyError
from takeover.models.canary import fixed_inputs
from takeover.models.policy import POLICY_FILE, Policy, PolicyConfig, usable
from takeover.models.prompts import Answer, parse_answer
from takeover.vocabulary import PolicyInput

from .scenes import make_inputs


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.tiny(0)


def with_decoder(policy: Policy, decoder: str) -> Policy:
    return Policy(policy.backbone, replace(policy.config, decoder=decoder))


@pytest.mark.parametrize("decoder", ["mlp", "tokens"])
def test_a_plan_does_not_depend_on_its_neighbours(policy: Policy, decoder: str) -> None:
    driver = with_decoder(policy, decoder)
    inputs = make_inputs(6)
    together = driver.plan(inputs, "7", ticks=range(6))
    assert [plan.tick for plan in together] == list(range(6))
    assert {plan.generation for plan in together} == {"7"}
    alone = driver.plan([inputs[0]], "7")[0]
    assert alone.waypoints_m.shape == (8, 2)
    assert alone.waypoints_m.dtype == np.float32
    assert np.array_equal(alone.waypoints_m, together[0].waypoints_m)
    assert driver.plan([], "7") == []


def test_the_tokens_decoder_says_only_actions(policy: Policy) -> None:
    driver = with_decoder(policy, "tokens")
    item = make_inputs(1)[0]
    track = driver.plan([item], "")[0].waypoints_m
    fit = policy.codec.encode(track, item.speed_mps)
    assert fit.ade_m < 0.3


def test_both_decoders_change_nothing_in_the_model(policy: Policy) -> None:
    policy.model.train()
    policy.plan(make_inputs(1), "")
    assert policy.model.training
    policy.model.eval()


def test_unusable_plans_never_leave(policy: Policy) -> None:
    broken = Policy.tiny(0)
    with torch.no_grad():
        broken.model.action_head.mlp[-1].bias.fill_(float("nan"))
    assert broken.try_plan(make_inputs(2), "") == [None, None]
    with pytest.raises(PolicyError, match="unusable"):
        broken.plan(make_inputs(2), "")
    with torch.no_grad():
        broken.model.action_head.mlp[-1].bias.fill_(50.0)
    assert broken.try_plan(make_inputs(1), "") == [None]
    line = np.stack((np.arange(1, 9) * 5.0, np.zeros(8)), 1).astype(np.float32)
    assert usable(line)
    assert not usable(line[:4])


def test_wrong_pictures_are_refused(policy: Policy) -> None:
    item = make_inputs(1)[0]
    with pytest.raises(PolicyError, match="pictures"):
        policy.plan([replace(item, images=item.images[:1])], "")
    with pytest.raises(PolicyError, match="pictures"):
        policy.plan([replace(item, images=item.images[:, :, :64])], "")


def test_only_the_newest_frames_are_seen(policy: Policy) -> None:
    item = make_inputs(1)[0]
    older = replace(item, images=np.concatenate((np.zeros_like(item.images), item.images)))
    assert np.array_equal(policy.plan([older], "")[0].waypoints_m, policy.plan([item], "")[0].waypoints_m)


def test_a_policy_sees_pictures_odometry_and_command_only() -> None:
    seen = {field.name for field in fields(PolicyInput)}
    assert seen == {"images", "history_m_rad", "speed_mps", "accel_mps2", "yaw_rate_radps", "command"}


def test_reasoning_is_text_and_any_text_is_parsed(policy: Policy) -> None:
    short = Policy(policy.backbone, replace(policy.config, reason_tokens=12))
    texts = short.reason(make_inputs(2))
    assert len(texts) == 2
    assert not any(isinstance(parse_answer(text, len(policy.codec)), Answer) for text in texts)
    assert short.reason([]) == []


@pytest.mark.parametrize(
    "config", [PolicyConfig(frames=4), PolicyConfig(views=3), PolicyConfig(width_px=128, height_px=64)]
)
def test_other_camera_sets_work(config: PolicyConfig) -> None:
    assert len(Policy.tiny(0, config).plan(make_inputs(2, config), "")) == 2


def test_configuration_travels_with_the_checkpoint(policy: Policy, tmp_path: Path) -> None:
    with_decoder(policy, "tokens").save(tmp_path)
    assert Policy.load(tmp_path).decoder == "tokens"
    assert Policy.load(tmp_path, "mlp").decoder == "mlp"
    with pytest.raises(PolicyError, match="decoder"):
        Policy.load(tmp_path, "telepathy")
    (tmp_path / POLICY_FILE).write_text('{"frames": 2, "wheels": 4}', encoding="utf-8")
    with pytest.raises(PolicyError, match="damaged"):
        Policy.load(tmp_path)


def test_what_cannot_be_loaded_is_a_policy_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot load"):
        Policy.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(PolicyError, match="bert"):
        Policy.load(tmp_path)


def test_the_canary_input_fits(policy: Policy) -> None:
    inputs = fixed_inputs(policy.config)
    assert len(policy.plan(inputs, "canary")) == len(inputs) >= policy.config.batch_size
