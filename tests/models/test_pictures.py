"""Tokens of a frozen tower, kept by picture."""

from dataclasses import replace

import numpy as np
import torch

from takeover.models.backbone import settle
from takeover.models.pictures import SeenPictures
from takeover.models.policy import Policy

from .scenes import make_inputs


def test_kept_tokens_are_the_towers_and_are_made_once() -> None:
    policy, seen = Policy.tiny(0), SeenPictures()
    settle(policy.model)
    images = np.random.default_rng(0).integers(0, 255, (5, 96, 192, 3)).astype(np.uint8)
    images[4] = images[1]
    kept = seen.tokens(policy.backbone, images)
    pixels = policy.backbone.pixels(images)["pixel_values"]
    with torch.no_grad():
        made = policy.backbone.tower(pixels).last_hidden_state
    assert torch.allclose(kept, made, atol=1e-5)
    assert seen.computed == 4  # one picture comes twice
    assert torch.equal(seen.tokens(policy.backbone, images[2:4]), kept[2:4])
    assert seen.computed == 4


def test_what_is_made_of_a_picture_does_not_hang_on_its_neighbours() -> None:
    policy = Policy.tiny(0)
    settle(policy.model)
    images = np.random.default_rng(0).integers(0, 255, (20, 96, 192, 3)).astype(np.uint8)
    alone = torch.cat([SeenPictures().tokens(policy.backbone, images[i : i + 1]) for i in range(20)])
    assert torch.equal(SeenPictures().tokens(policy.backbone, images), alone)


def test_new_weights_empty_it_and_an_equal_tower_does_not() -> None:
    images = np.zeros((1, 96, 192, 3), np.uint8)
    policy, twin = Policy.tiny(0), Policy.tiny(0)
    for one in (policy, twin):
        settle(one.model)
    seen = policy.share_pictures(None)
    assert twin.share_pictures(seen) is seen
    before = seen.tokens(policy.backbone, images)
    seen.tokens(twin.backbone, images)
    assert seen.computed == 1
    with torch.no_grad():
        twin.backbone.tower.out.bias.add_(1.0)
    assert torch.allclose(seen.tokens(twin.backbone, images), before + 1.0, atol=1e-5)
    assert seen.computed == 2


def test_the_limit_holds_and_the_oldest_goes() -> None:
    policy, seen = Policy.tiny(0), SeenPictures(limit=2)
    settle(policy.model)
    images = np.stack([np.full((96, 192, 3), i, np.uint8) for i in range(3)])
    seen.tokens(policy.backbone, images)  # more than fit at once: all are given, two are kept
    seen.tokens(policy.backbone, images[1:])
    assert seen.computed == 3
    seen.tokens(policy.backbone, images[:1])
    assert seen.computed == 4


def test_the_model_takes_tokens_for_pictures() -> None:
    policy = Policy.tiny(0)
    settle(policy.model)
    inputs = make_inputs(2)
    with torch.no_grad():
        plain = policy.head_plans(policy.encode(inputs))
        kept = policy.head_plans(policy.encode(inputs, frozen=True))
    assert policy.encoder.seen.computed > 0
    assert torch.allclose(plain, kept, atol=1e-4)


def test_a_tower_that_still_gathers_statistics_is_not_remembered() -> None:
    policy = Policy.tiny(0)
    assert not SeenPictures.serves(policy.backbone)
    policy.encode(make_inputs(1), frozen=True)
    assert policy.encoder.seen.computed == 0


def test_driving_looks_a_picture_up_that_the_last_plan_has_seen() -> None:
    policy = Policy.tiny(0)
    settle(policy.model)
    first, second = make_inputs(2)
    later = replace(second, images=np.concatenate((first.images[-1:], second.images[-1:])))
    alone = Policy.tiny(0)
    settle(alone.model)
    passes: list[int] = []
    # The tower hands tokens through: pictures have four axes.
    policy.backbone.tower.register_forward_hook(
        lambda tower, given, made: passes.append(len(given[0])) if given and given[0].dim() == 4 else None
    )
    policy.try_plan([first], "")
    seen = sum(passes)
    warm = policy.try_plan([later], "")[0]
    assert sum(passes) - seen == policy.config.batch_size  # one picture is new, in a pass of constant shape
    cold = alone.try_plan([later], "")[0]
    assert warm is not None
    assert cold is not None
    assert np.array_equal(warm.waypoints_m, cold.waypoints_m)
