from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from trl.trainer import utils

from takeover.models.encoder import model_inputs
from takeover.refine.config import SftConfig
from takeover.refine.datasets import collate_sft, sft_rows
from takeover.refine.training import labelled_positions_alone

from .conftest import make_policy, make_samples


def test_the_head_scores_labelled_positions_alone_and_the_loss_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[int] = []
    inner = utils._ChunkedLogProbFunction

    class Counting:
        @staticmethod
        def apply(hidden: torch.Tensor, *rest: Any) -> Any:
            scored.append(len(hidden))
            return inner.apply(hidden, *rest)

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", Counting)
    before = utils._use_triton
    found = []
    for context in (nullcontext(), labelled_positions_alone()):
        policy = make_policy()
        rows = sft_rows(policy, make_samples(4), [], SftConfig(max_steps=1, per_device_train_batch_size=4), 0)
        batch = collate_sft(policy, rows)
        utils.add_fused_lm_head(policy.model, outputs=("log_probs",))
        with context:
            loss = policy.model(**model_inputs(batch), labels=batch["labels"], fused_lm_head=True).loss
        loss.backward()
        slope = policy.model.get_input_embeddings().weight.grad
        assert slope is not None
        found.append((float(loss.detach()), slope.clone(), int((batch["labels"][:, 1:] != -100).sum())))
    (plain, slope, labelled), (lean, same, _) = found
    assert lean == pytest.approx(plain, rel=1e-6)
    torch.testing.assert_close(same, slope, rtol=1e-4, atol=1e-7)
    assert scored[1] == labelled < scored[0] / 3
    assert utils._use_triton is before
