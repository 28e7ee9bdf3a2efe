"""GRPO on action tokens with SafeAlign's two anchors inside each group.

TRL cannot put a foreign completion into a group. Its rollout function can (`groups.Groups`), and one subclass
with two overrides does the rest: advantages are computed again from the samples' statistics alone, and the
head's loss is added. `tests/refine/test_grpo.py` fails when TRL changes the members used here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from PIL import Image
from torch import Tensor
from trl import GRPOConfig as TrlConfig
from trl import GRPOTrainer

from ..errors import RefineError
from ..models.backbone import settle
from ..models.policy import Policy
from ..vocabulary import DrivingSample, PreferencePair
from .config import GrpoConfig, LoraSettings
from .datasets import HEAD_FIELDS, GrpoRow, grpo_rows
from .groups import Groups
from .report import Progress, StageReport, no_progress
from .training import (
    HeadLossMixin,
    adapter,
    refuse_frozen_decoder,
    run_trainer,
    trainer_options,
    without_notices,
)


class AnchoredGRPOTrainer(HeadLossMixin, GRPOTrainer):
    """GRPOTrainer whose groups hold the anchors."""

    groups: Groups

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.groups.begin([item["row"] for item in inputs])
        output = super()._generate_and_score_completions(inputs)
        device = output["advantages"].device
        output["advantages"] = self.groups.advantages().to(device)
        # TRL shuffles and splits every tensor whose first axis is the batch, so these stay with their rows.
        return {**output, **{key: value.to(device) for key, value in self.groups.head_targets().items()}}

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        fields = {key: inputs[key] for key in HEAD_FIELDS}
        return self.with_head(super()._compute_loss(model, inputs), fields)


def run_grpo(
    policy: Policy,
    pairs: Sequence[PreferencePair],
    config: GrpoConfig,
    seed: int,
    progress: Progress = no_progress,
    out_dir: Path = Path("."),
    *,
    replay: Sequence[DrivingSample] = (),
    lora: LoraSettings | None = None,
) -> StageReport:
    """Improve a policy by trying plans on the pairs' scenes, in place.

    Args:
        policy: Learns.
        pairs: From takeovers, with their scoring scenes.
        config: TRL's keys and the mix.
        seed: Of scenes, of sampling and of new weights.
        progress: Called after each step.
        out_dir: Scratch folder of the trainer.
        replay: From uneventful drives.
        lora: When to train an adapter instead of the model.

    Raises:
        RoleError: Held-out data.
        RefineError: No scenes, a batch that holds no whole group, or the driving decoder would stay as it is.
    """
    started = time.monotonic()
    refuse_frozen_decoder(policy, "grpo", head=config.head_weight > 0, text=True)
    if config.per_device_train_batch_size % config.num_generations:
        raise RefineError(
            f"per_device_train_batch_size {config.per_device_train_batch_size} is no multiple of "
            f"num_generations {config.num_generations}",
            fix="let it count whole groups, anchors included",
        )
    settle(policy.model)  # plans are sampled in evaluation and learnt in training: one function
    rows = grpo_rows(policy, pairs, replay, config, seed)
    groups = Groups(policy, rows, config)
    with without_notices():
        trainer = AnchoredGRPOTrainer(
            model=policy.model,
            reward_funcs=groups.reward,
            rollout_func=groups.rollout,
            args=TrlConfig(
                **trainer_options(policy, config, seed, out_dir),
                beta=config.beta,
                num_generations=config.num_generations,
                temperature=config.temperature,
                max_completion_length=config.max_completion_length,
                shuffle_dataset=False,  # the order is drawn already
            ),
            train_dataset=_scenes(policy, rows),
            processing_class=policy.processor,
            peft_config=adapter(policy, lora or LoraSettings()),
        )
    trainer.groups = groups
    trainer.attach(policy, config, progress)
    report = run_trainer("grpo", trainer, policy, started, {})
    return replace(report, metrics={**report.metrics, "share_skipped_groups": groups.skipped / len(rows)})


def _scenes(policy: Policy, rows: Sequence[GrpoRow]) -> Dataset:
    """Row numbers that turn into TRL's conversational prompts with pictures when they are read."""

    def read(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        found = [rows[i] for i in batch["row"]]
        return {
            "row": batch["row"],
            "prompt": [[{"role": "user", "content": row.text}] for row in found],
            "images": [[Image.fromarray(p) for p in policy.encoder.pictures(row.input)] for row in found],
        }

    return Dataset.from_dict({"row": list(range(len(rows)))}).with_transform(read)
