"""DPO: the driver's plan against the policy's, with replay pairs and the head's loss on the chosen plan."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from trl import DPOConfig as TrlConfig
from trl import DPOTrainer

from ..models.backbone import settle
from ..models.policy import Policy
from ..vocabulary import DrivingSample, PreferencePair
from .checkpoints import Checkpoints
from .config import DpoConfig, LoraSettings
from .datasets import collate_dpo, dpo_rows
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

TRL_KEYS = (
    "beta",
    "label_smoothing",
    "f_divergence_type",
    "f_alpha_divergence_coef",
    "ld_alpha",
    "use_weighting",
    "discopop_tau",
)  # handed to TRL as they are


class DrivingDPOTrainer(HeadLossMixin, DPOTrainer):
    """DPOTrainer with the head's loss on the chosen half of the batch."""

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Tensor:
        fields = split_head_fields(inputs)
        loss = super()._compute_loss(model, inputs, False)
        chosen = fields["target_m"].shape[0]
        fields = {key: value[:chosen] for key, value in fields.items()}
        return self.with_head(loss, fields, slice(0, chosen))


def run_dpo(
    policy: Policy,
    pairs: Sequence[PreferencePair],
    config: DpoConfig,
    seed: int,
    progress: Progress = no_progress,
    out_dir: Path = Path("."),
    *,
    replay: Sequence[DrivingSample] = (),
    lora: LoraSettings | None = None,
    checkpoints: Checkpoints | None = None,
) -> StageReport:
    """Teach a policy to prefer the driver's plans, in place.

    Args:
        policy: Learns.
        pairs: From takeovers.
        config: TRL's keys and the mix.
        seed: Of data order and of new weights.
        progress: Called after each step.
        out_dir: Scratch folder of the trainer.
        replay: From uneventful drives; at least half of each batch.
        lora: When to train an adapter instead of the model.
        checkpoints: Of this stage, in `out_dir`; None writes none.

    Raises:
        RoleError: Held-out data.
        RefineError: No replay, TRL refuses the configuration, or the stage cannot change the driving decoder.
    """
    started = time.monotonic()
    refuse_frozen_decoder(policy, "dpo", head=config.trains_head, text=True)
    settle(policy.model)  # the reference and the policy must be one function at the start
    rows = dpo_rows(policy, pairs, replay, config, seed)
    peft_config = adapter(policy, lora or LoraSettings())
    with without_notices(), trl_refusals("dpo"):
        trainer = DrivingDPOTrainer(
            model=policy.model,
            # TRL would reload the reference from where the model once came from; an adapter is simply
            # switched off.
            ref_model=copy.deepcopy(policy.model) if peft_config is None else None,
            args=TrlConfig(
                **trainer_options(policy, config, seed, out_dir),
                max_length=None,
                train_sampling_strategy="sequential",
                loss_type=list(config.loss_type),
                loss_weights=list(config.loss_weights),
                **{name: getattr(config, name) for name in TRL_KEYS},
            ),
            data_collator=lambda examples: collate_dpo(policy, [rows[e["row"]] for e in examples]),
            train_dataset=numbered(
                len(rows), images=[[]] * len(rows)
            ),  # the column marks the rows as ready for a VLM
            processing_class=policy.processor,
            peft_config=peft_config,
        )
    trainer.attach(policy, config, progress)
    same = sum(row.chosen == row.rejected for row in rows) / len(rows)
    figures = {"share_same_tokens": same}
    return run_trainer("dpo", trainer, policy, started, figures, checkpoints, config.save_steps)
