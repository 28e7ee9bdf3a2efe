from __future__ import annotations

import math

import numpy as np
import pytest

from takeover.models.policy import Policy
from takeover.refine import gaps
from takeover.refine.config import RefitConfig
from takeover.refine.gaps import context_gap, mean_distance_m, text_gap

from .conftest import make_policy, make_samples, same, weights


def test_the_distance_is_over_the_waypoints_that_count() -> None:
    a, b = np.zeros((8, 2), np.float32), np.tile(np.array([3.0, 4.0], np.float32), (8, 1))
    b[4:] = 100.0
    mask = np.array([True] * 4 + [False] * 4)
    assert mean_distance_m([a], [b], [mask]) == pytest.approx(5.0)
    assert math.isnan(mean_distance_m([a], [b], [~mask & mask]))
    assert math.isnan(mean_distance_m([], [], []))


@pytest.mark.parametrize("decoder", ["mlp", "tokens"])
def test_text_and_head_are_compared_whatever_drives(decoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "SCENES", 5)
    policy, samples = make_policy(decoder=decoder), make_samples(9)
    before = weights(policy)
    report = text_gap(policy, samples)
    assert report.stage == "gap"
    assert report.steps == 0
    assert report.metrics["unusable"] == 0.0
    assert same(before, weights(policy))
    assert text_gap(policy, samples[::-1]).metrics == report.metrics  # the choice does not hang on the order
    inputs = [samples[0].input]
    drivers = [Policy(policy.backbone, make_policy(decoder=d).config) for d in ("mlp", "tokens")]
    plans = [driver.plan(inputs, "")[0].waypoints_m for driver in drivers]
    alone = text_gap(policy, samples[:1]).metrics["text_head_ade_m"]
    assert alone == pytest.approx(float(np.linalg.norm(plans[0] - plans[1], axis=1).mean()), rel=1e-5)
    assert text_gap(policy, []).skipped_reason == "no scenes"


def test_both_contexts_are_fitted_from_the_same_start(policy: Policy) -> None:
    before = weights(policy)
    found = context_gap(policy, make_samples(16), make_samples(4, 9), RefitConfig(epochs=2), 0)
    assert same(before, weights(policy))
    assert policy.model.head_config.context == "prompt"
    assert found["between_m"] > 0
    assert found["prompt_ade_m"] != found["prompt+reasoning_ade_m"]
