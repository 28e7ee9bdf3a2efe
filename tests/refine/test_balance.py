from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from takeover.errors import RefineError
from takeover.models.policy import Policy
from takeover.refine.balance import BATCHES, Balance, last_layer
from takeover.refine.config import SftConfig
from takeover.refine.sft import run_sft

from .conftest import make_samples


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([3.0, 4.0]))


def test_alpha_is_the_ratio_of_the_gradient_norms() -> None:
    layer = Line()
    balance = Balance("balanced", layer)
    # text = w1^2 + w2^2: gradient (6, 8), norm 10. head = (w1 + w2) / 10: gradient (0.1, 0.1), norm 0.141421.
    alpha = balance.of((layer.w**2).sum(), layer.w.sum() / 10)
    assert alpha == pytest.approx(10 / 0.02**0.5, rel=1e-6)
    # Second batch: text = 0.5 w1, norm 0.5; head = w2, norm 1: ratio 0.5. Geometric mean of 70.7107 and 0.5.
    alpha = balance.of(0.5 * layer.w[0], layer.w[1])
    assert alpha == pytest.approx((10 / 0.02**0.5 * 0.5) ** 0.5, rel=1e-6)
    assert balance.figures() == pytest.approx(
        {"head_weight": alpha, "gradient_text": 5.25, "gradient_head": (0.02**0.5 + 1) / 2}
    )


def test_alpha_is_held_after_the_first_batches() -> None:
    layer = Line()
    balance = Balance("balanced", layer)
    for _ in range(BATCHES):
        assert balance.of(2.0 * layer.w[0], layer.w[1]) == pytest.approx(2.0)
    assert balance.of(100.0 * layer.w[0], layer.w[1]) == pytest.approx(2.0)
    twin = Balance("balanced", layer)
    twin.restore(balance.remember())
    assert twin.weight == balance.weight


def test_a_number_stays_what_it_is_and_both_norms_are_told() -> None:
    layer = Line()
    balance = Balance(20.0, layer)
    assert [balance.of(2.0 * layer.w[0], layer.w[1]) for _ in range(3)] == [20.0] * 3
    assert balance.figures() == {"head_weight": 20.0, "gradient_text": 2.0, "gradient_head": 1.0}
    assert Balance(0.0, layer).of(layer.w[0], layer.w[1]) == 0.0


def test_a_head_without_gradient_into_the_backbone_cannot_be_balanced() -> None:
    layer, head = Line(), Line()
    with pytest.raises(RefineError, match="cannot be balanced"):
        Balance("balanced", layer).of(layer.w[0], head.w[0])


@pytest.mark.parametrize("text", [0.0, float("nan")])
def test_a_batch_that_tells_nothing_waits_for_the_next(text: float) -> None:
    """GRPO's, when no group has variance; a lost one, which the guard takes care of."""
    layer = Line()
    balance = Balance("balanced", layer)
    assert balance.of(text * layer.w[0], layer.w[1]) == 0.0
    assert balance.weight == 0.0
    assert balance.of(2.0 * layer.w[0], layer.w[1]) == pytest.approx(2.0)
    assert balance.of(text * layer.w[0], layer.w[1]) == pytest.approx(2.0)


def test_a_text_that_never_tells_cannot_be_balanced() -> None:
    layer = Line()
    balance = Balance("balanced", layer)
    for _ in range(BATCHES - 1):
        assert balance.of(0.0 * layer.w[0], layer.w[1]) == 0.0
    with pytest.raises(RefineError, match="cannot be balanced"):
        balance.of(0.0 * layer.w[0], layer.w[1])


def test_the_measured_layer_is_the_decoders_last(policy: Policy) -> None:
    layer = last_layer(policy.model)
    names = [name for name, module in policy.model.named_modules() if module is layer]
    assert names[0].endswith("language_model.layers.1")  # of two


def test_balanced_sft_logs_alpha_and_norms(policy: Policy, tmp_path: Path) -> None:
    config = SftConfig(max_steps=3, per_device_train_batch_size=4, head_weight="balanced")
    metrics = run_sft(policy, make_samples(8), config, 1, out_dir=tmp_path).metrics
    assert metrics["gradient_text"] > 0
    assert metrics["gradient_head"] > 0
    assert 0 < metrics["head_weight"] < 1e6
    with pytest.raises(ValidationError):
        SftConfig(head_weight="automatic")
