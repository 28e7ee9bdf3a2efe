from __future__ import annotations

import pytest
import torch

from takeover.errors import RefineError, RoleError
from takeover.models.policy import Policy
from takeover.models.prompts import PromptMode
from takeover.refine.config import RefitConfig
from takeover.refine.features import FeatureCache, fingerprint
from takeover.refine.refit import Kept, refit_head
from takeover.vocabulary import Role

from .conftest import make_policy, make_samples


def test_refit_follows_a_changed_backbone_without_touching_it(policy: Policy) -> None:
    samples = make_samples(32)
    with torch.no_grad():
        for parameter in policy.model.model.language_model.parameters():
            parameter.mul_(1.2)
    backbone = fingerprint(policy)
    report = refit_head(policy, samples, RefitConfig(epochs=20, learning_rate=2e-3), 0)
    assert fingerprint(policy) == backbone
    assert report.metrics["ade_m_after"] < 0.5 * report.metrics["ade_m_before"]
    assert report.steps == 20


def test_refused_where_it_cannot_change_what_drives() -> None:
    with pytest.raises(RefineError, match="driving decoder"):
        refit_head(make_policy(decoder="tokens"), make_samples(2), RefitConfig(), 0)


def test_held_out_samples_are_refused(policy: Policy) -> None:
    with pytest.raises(RoleError):
        refit_head(policy, make_samples(2, role=Role.FINAL), RefitConfig(), 0)


def test_corrections_are_fitted_where_they_are_asked_for() -> None:
    """The good plan after a correction prompt: far off unless it was taught, and the plain prompt's hardly worse."""
    samples = make_samples(32)
    errors = {}
    for on in (False, True):
        policy = make_policy()
        config = RefitConfig(epochs=20, learning_rate=2e-3, corrections=on)
        report = refit_head(policy, samples, config, 0)
        texts = [policy.prompt(s.input, PromptMode.NEGATIVE, s.negative_m, s.analysis) for s in samples]
        corrected = Kept(policy, samples, FeatureCache(policy), 0, texts)
        errors[on] = corrected.ade_m(policy.model.action_head), report.metrics["ade_m_after"]
        assert report.steps == (40 if on else 20)
    assert errors[True][0] < 0.5 * errors[False][0]
    assert errors[True][1] < 1.5 * errors[False][1]


def test_samples_without_an_analysis_have_no_correction(policy: Policy) -> None:
    config = RefitConfig(epochs=2, corrections=True)
    assert refit_head(policy, make_samples(8, negative=False), config, 0).steps == 2
