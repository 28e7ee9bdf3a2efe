"""SFT: imitation of recoveries and corrections with replay, text and head in one pass (SafeAlign eq. 4)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from trl import SFTConfig as TrlConfig
from trl import SFTTrainer

from ..models.policy import Policy
from ..vocabulary import DrivingSample
from .checkpoints import Checkpoints
from .config import LoraSettings, SftConfig
from .datasets import collate_sft, sft_rows
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


class DrivingSFTTrainer(HeadLossMixin, SFTTrainer):
    """SFTTrainer with the head's loss."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Text loss plus head loss."""
        fields = split_head_fields(inputs)
        return self.with_head(super().compute_loss(model, inputs, False, num_items_in_batch), fields)


def run_sft(
    policy: Policy,
    samples: Sequence[DrivingSample],
    config: SftConfig,
    seed: int,
    progress: Progress = no_progress,
    out_dir: Path = Path("."),
    *,
    replay: Sequence[DrivingSample] = (),
    lora: LoraSettings | None = None,
    checkpoints: Checkpoints | None = None,
) -> StageReport:
    """Fine-tune a policy on samples, in place.

    Args:
        policy: Learns.
        samples: From takeovers, or all there are for a bootstrap.
        config: Mix and size.
        seed: Of data order and of new weights.
        progress: Called after each step.
        out_dir: Scratch folder of the trainer; nothing is left there.
        replay: From uneventful drives.
        lora: When to train an adapter instead of the model.
        checkpoints: Of this stage, in `out_dir`; None writes none.

    Raises:
        RoleError: Held-out data.
        RefineError: Nothing to learn from, or the stage cannot change the driving decoder.
    """
    started = time.monotonic()
    refuse_frozen_decoder(policy, "sft", head=config.trains_head, text=True)
    rows = sft_rows(policy, samples, replay, config, seed)
    with without_notices(), trl_refusals("sft"):
        trainer = DrivingSFTTrainer(
            model=policy.model,
            args=TrlConfig(
                **trainer_options(policy, config, seed, out_dir),
                max_length=None,
                train_sampling_strategy="sequential",
                dataset_kwargs={"skip_prepare_dataset": True},
            ),
            data_collator=lambda examples: collate_sft(policy, [rows[e["row"]] for e in examples]),
            train_dataset=numbered(len(rows)),
            processing_class=policy.processor,
            peft_config=adapter(policy, lora or LoraSettings()),
        )
    trainer.attach(policy, config, progress)
    return run_trainer("sft", trainer, policy, started, {}, checkpoints, config.save_steps)
