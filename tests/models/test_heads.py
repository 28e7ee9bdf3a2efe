from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from takeover.models.encoder import ego_vector
from takeover.models.heads import (
    EGO_DIM,
    PLAN_SCALE_M,
    ActionHead,
    FlowConfig,
    HeadConfig,
    head_loss,
    masked_mean,
)
from takeover.vocabulary import Command, PolicyInput


def test_the_pooling_ignores_masked_tokens_and_the_loss_masked_waypoints() -> None:
    torch.manual_seed(0)
    head = ActionHead(16, HeadConfig(feature=32, queries=4))
    hidden, ego = torch.randn(2, 5, 16), torch.randn(2, EGO_DIM)
    mask = torch.tensor([[0, 1, 1, 1, 0]] * 2)
    other = hidden.clone()
    other[:, [0, 4]] = 99.0
    assert torch.allclose(head(hidden, mask, ego), head(other, mask, ego))
    plan = torch.zeros(1, 8, 2)
    target = torch.tensor(PLAN_SCALE_M).expand(1, 8, 2).clone()
    target[:, 4:] = 1e6
    counts = torch.tensor([[True] * 4 + [False] * 4])
    expected = 1.0 - 0.05 / 2  # smooth L1 of 1 with beta 0.05
    np.testing.assert_allclose(float(head_loss(plan, target, counts)), expected, rtol=1e-6)
    assert float(head_loss(plan, target, torch.zeros(1, 8, dtype=torch.bool))) == 0.0


def test_the_head_is_attention_pooling_to_256_and_three_layers() -> None:
    head = ActionHead(4, HeadConfig(ego=False))
    linear = [layer for layer in head.mlp if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [
        (256, 256),
        (256, 256),
        (256, 16),
    ]
    # One query over one channel: logits 0 and ln 3 weigh two tokens 1/4 and 3/4.
    small = ActionHead(1, HeadConfig(feature=1, queries=1, ego=False))
    with torch.no_grad():
        for layer, weight in ((small.query, 1.0), (small.value, 2.0)):
            layer.weight.fill_(weight)
            layer.bias.zero_()
    hidden = torch.tensor([[[0.0], [float(np.log(3.0))], [5.0]]])
    pooled = small.pool(hidden, torch.tensor([[1, 1, 0]]))
    torch.testing.assert_close(pooled, torch.tensor([[0.75 * 2.0 * float(np.log(3.0))]]))


def test_each_query_pools_its_own_channels() -> None:
    torch.manual_seed(0)
    head = ActionHead(6, HeadConfig(feature=8, queries=2, ego=False))
    hidden, mask = torch.randn(3, 5, 6), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 1, 1, 0]])
    wanted = torch.zeros(3, 8)
    with torch.no_grad():
        for row in range(3):
            tokens = hidden[row][mask[row].bool()]
            for query in range(2):
                weights = head.query(tokens)[:, query].softmax(dim=0)
                mine = slice(4 * query, 4 * query + 4)
                wanted[row, mine] = (weights[:, None] * head.value(tokens)[:, mine]).sum(dim=0)
        torch.testing.assert_close(head.pool(hidden, mask), wanted)


def test_a_sample_weighs_by_its_waypoints_and_its_weight() -> None:
    error = torch.tensor([[1.0, 3.0], [10.0, 99.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert float(masked_mean(error, mask)) == pytest.approx((1.0 + 3.0 + 10.0) / 3)
    assert float(masked_mean(error, mask, torch.tensor([1.0, 2.0]))) == pytest.approx((1.0 + 3.0 + 20.0) / 4)


def test_a_configuration_survives_a_checkpoint_and_older_ones_are_read() -> None:
    config = HeadConfig(context="prompt+reasoning", flow=FlowConfig(width=64))
    assert HeadConfig.from_dict(asdict(config)) == config
    old = {"feature": 128, "queries": 8, "ego": True}
    assert HeadConfig.from_dict(old) == HeadConfig(feature=128, queries=8)


def test_the_ego_vector_has_the_length_that_the_heads_expect() -> None:
    item = PolicyInput(
        np.zeros((2, 1, 4, 4, 3), np.uint8), np.zeros((4, 3), np.float32), 0, 0, 0, Command.TURN_LEFT
    )
    assert ego_vector(item).shape == (EGO_DIM,)
