from __future__ import annotations

import pytest
import torch

from takeover.errors import RefineError, RoleError
from takeover.models.policy import Policy
from takeover.refine.config import RefitConfig
from takeover.refine.features import fingerprint
from takeover.refine.refit import refit_head
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
