"""KTO: what has no partner. The driver's plans at states without a pair are desirable, failed plans undesirable."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from trl import KTOConfig as TrlConfig
from trl import KTOTrainer

from ..errors import RefineError
from ..models.backbone import settle
from ..models.policy import Policy
from ..vocabulary import DrivingSample, FailedPlan, Float, PolicyInput, PreferencePair
from .checkpoints import Checkpoints
from .config import KtoConfig, LoraSettings
from .datasets import answer, check_roles, draws, head_fields, silence
from .report import Progress, StageReport, no_progress
from .training import (
    HeadLossMixin,
    adapter,
    numbered,
    refuse_frozen_decoder,
    run_trainer,
    split_head_fields,
    trainer_options,
    trl_refusals,
    without_notices,
)

TRL_KEYS = ("beta", "loss_type", "desirable_weight", "undesirable_weight")  # handed to TRL as they are


@dataclass(frozen=True, slots=True)
class KtoRow:
    """One row without a partner."""

    input: PolicyInput
    plan_m: Float  # (8, 2)
    mask: NDArray[np.bool_]  # (8,)
    desirable: bool


class DrivingKTOTrainer(HeadLossMixin, KTOTrainer):
    """KTOTrainer with the head's loss on the desirable rows, which come first in a batch."""

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Tensor:
        fields = split_head_fields(inputs)
        good = int(inputs["label"].sum())
        loss = super()._compute_loss(model, inputs, False)
        fields = {key: value[:good] for key, value in fields.items()}
        return self.with_head(loss, fields, slice(0, good))


def run_kto(
    policy: Policy,
    samples: Sequence[DrivingSample],
    pairs: Sequence[PreferencePair],
    failed: Sequence[FailedPlan],
    config: KtoConfig,
    seed: int,
    progress: Progress = no_progress,
    out_dir: Path = Path("."),
    *,
    replay: Sequence[DrivingSample] = (),
    lora: LoraSettings | None = None,
    checkpoints: Checkpoints | None = None,
) -> StageReport:
    """Raise the driver's plans that have no pair and lower failed ones, in place.

    Args:
        policy: Learns.
        samples: From takeovers; those at a pair's state are left to DPO.
        pairs: From takeovers.
        failed: Plans that were bad where no pair was admitted.
        config: TRL's keys and the mix.
        seed: Of data order and of new weights.
        progress: Called after each step.
        out_dir: Scratch folder of the trainer.
        replay: From uneventful drives.
        lora: When to train an adapter instead of the model.
        checkpoints: Of this stage, in `out_dir`; None writes none.

    Raises:
        RoleError: Held-out data.
        RefineError: A side is empty, TRL refuses the configuration, or the driving decoder would stay as it is.
    """
    started = time.monotonic()
    refuse_frozen_decoder(policy, "kto", head=config.trains_head, text=True)
    settle(policy.model)  # the reference and the policy must be one function at the start
    alone = without_pair(samples, pairs)
    rows = kto_rows(alone, failed, replay, config, seed)
    peft_config = adapter(policy, lora or LoraSettings())
    with without_notices(), trl_refusals("kto"):
        trainer = DrivingKTOTrainer(
            model=policy.model,
            ref_model=copy.deepcopy(policy.model) if peft_config is None else None,
            args=TrlConfig(
                **trainer_options(policy, config, seed, out_dir),
                max_length=None,
                train_sampling_strategy="sequential",
                **{name: getattr(config, name) for name in TRL_KEYS},
            ),
            data_collator=lambda examples: collate_kto(policy, [rows[e["row"]] for e in examples]),
            train_dataset=numbered(
                len(rows), images=[[]] * len(rows)
            ),  # the column says: pictures, no tokens
            processing_class=policy.processor,
            peft_config=peft_config,
        )
    trainer.attach(policy, config, progress)
    figures = {"unpaired_samples": float(len(alone)), "failed_plans": float(len(failed))}
    return run_trainer("kto", trainer, policy, started, figures, checkpoints, config.save_steps)


def without_pair(samples: Sequence[DrivingSample], pairs: Sequence[PreferencePair]) -> list[DrivingSample]:
    """Samples at states that no pair speaks of."""
    paired = {_state(pair.case_id, pair.input) for pair in pairs}
    return [s for s in samples if s.negative_m is None and _state(s.case_id, s.input) not in paired]


def _state(case_id: str, item: PolicyInput) -> tuple[str, float, bytes, bytes]:
    """What tells one moment of a case from another: odometry, and the newest picture."""
    return case_id, float(item.speed_mps), item.history_m_rad.tobytes(), item.images[-1].tobytes()


def kto_rows(
    samples: Sequence[DrivingSample],
    failed: Sequence[FailedPlan],
    replay: Sequence[DrivingSample],
    config: KtoConfig,
    seed: int,
) -> list[KtoRow]:
    """All rows of a KTO stage, batch after batch: desirable ones first, the shares exact in each.

    Without takeover samples replay takes their place, and the other way round.

    Args:
        samples: The driver's, without a pair.
        failed: Undesirable.
        replay: Desirable too.
        config: Mix and size.
        seed: Of the order.

    Raises:
        RoleError: Something held out is among them.
        RefineError: One of the two sides is empty.
    """
    check_roles([*samples, *failed, *replay])
    if not failed or not (samples or replay):
        raise RefineError(
            f"KTO needs both sides: {len(samples) + len(replay)} desirable, {len(failed)} undesirable plans",
            fix="collect more takeovers, or switch kto off",
        )
    rng = np.random.default_rng([seed, 7])
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps
    bad = max(1, round(config.undesirable_share * batch))
    old = min(round(config.replay_share * batch), batch - bad) if samples else batch - bad
    old = old if replay else 0
    new = batch - bad - old
    parts = []
    for items, count in ((samples, new), (replay, old), (failed, bad)):
        n = config.max_steps * count
        index = draws([item.weight for item in items], n, rng) if n else np.zeros(0, np.int64)
        parts.append([[items[i] for i in part] for part in index.reshape(config.max_steps, count)])
    rows: list[KtoRow] = []
    for fresh, kept, worse in zip(*parts, strict=True):
        good = [KtoRow(s.input, s.target_m, s.mask, True) for s in [*fresh, *kept]]
        rows += [good[i] for i in rng.permutation(len(good))]
        rows += [KtoRow(p.input, p.plan_m, p.mask, False) for p in worse]
    return rows


def collate_kto(policy: Policy, rows: Sequence[KtoRow]) -> dict[str, Tensor]:
    """TRL's unpaired batch with the mismatched answers of its KL estimate; head targets of all rows.

    Micro batches of one large batch need not hold both sides; rows are put in order within each.
    """
    rows = sorted(rows, key=lambda row: not row.desirable)
    inputs, masks = [row.input for row in rows], [row.mask for row in rows]
    texts = [policy.prompt(item) for item in inputs]
    answers = [answer(policy, row.plan_m, row.input.speed_mps, row.mask) for row in rows]
    batch = _encoded(policy, inputs, texts, answers, masks)
    other = _encoded(policy, inputs, texts, answers[-1:] + answers[:-1], masks[-1:] + masks[:-1])
    for name in ("input_ids", "attention_mask", "completion_mask", "mm_token_type_ids"):
        if name in other:
            batch[f"KL_{name}"] = other[name]
    batch["label"] = torch.tensor([row.desirable for row in rows])
    return {**batch, **head_fields([row.plan_m for row in rows], masks)}


def _encoded(
    policy: Policy,
    inputs: Sequence[PolicyInput],
    texts: Sequence[str],
    answers: Sequence[str],
    masks: Sequence[NDArray[np.bool_]],
) -> dict[str, Tensor]:
    batch = policy.encode(inputs, texts, answers, frozen=policy.tower_frozen)
    labels = silence(batch.pop("labels"), masks)
    return {**batch, "completion_mask": (labels != -100).long()}
