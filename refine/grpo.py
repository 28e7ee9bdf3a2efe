"""GRPO on action tokens with SafeAlign's two anchors inside each group.

TRL cannot put a foreign completion into a group. Its rollout function can (`groups.Groups`), and one subclass with
three overrides does the rest: advantages are computed again from the samples' statistics alone, empty places are
masked, injected rows get ELF-VLA's policy shaping, and the head's loss is added. `tests/refine/test_trl_contract.py`
fails when TRL changes what is built upon.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from trl import GRPOConfig as TrlConfig
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from ..errors import RefineError
from ..models.backbone import settle
from ..models.policy import Policy
from ..models.threads import training_threads
from ..vocabulary import DrivingSample, PreferencePair
from .checkpoints import Checkpoints
from .config import GrpoConfig, LoraSettings
from .datasets import HEAD_FIELDS, check_roles
from .group_scenes import GrpoRow, grpo_rows, sound_pairs
from .groups import Groups
from .report import Progress, StageReport, no_progress
from .teacher import Teacher
from .training import (
    HeadLossMixin,
    adapter,
    numbered,
    refuse_frozen_decoder,
    run_trainer,
    trainer_options,
    without_notices,
)


class AnchoredGRPOTrainer(HeadLossMixin, GRPOTrainer):
    """GRPOTrainer whose groups hold corrected plans and the anchors.

    Three overrides, each around the parent's own: what is scored, what is remembered, what is lost.
    """

    groups: Groups
    gamma: float | None  # of ELF-VLA's policy shaping; None for TRL's ratio on every row
    _logps: Tensor

    def hold_to(self, reference: Any, beta: float) -> None:
        """Add beta times the KL to a model's answers.

        TRL would build the reference from the files that the policy once came from: in the middle of a round another
        policy's, or none.
        """
        add_fused_lm_head(reference, temperature=self.temperature)
        self.ref_model = self.accelerator.prepare_model(reference, evaluation_mode=True)
        self.beta = beta

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.groups.begin([item["row"] for item in inputs])
        output = super()._generate_and_score_completions(inputs)
        device, groups = output["advantages"].device, self.groups
        # TRL takes a mask of tokens that the loss leaves out: empty places and groups without variance are such.
        counted = output["completion_mask"] * groups.counted().to(device)[:, None]
        # TRL shuffles and splits every tensor whose first axis is the batch, so these stay with their rows.
        own = {"advantages": groups.advantages(), "injected": groups.injected(), **groups.head_targets()}
        return {
            **output,
            **{key: value.to(device) for key, value in own.items()},
            "tool_mask": counted,
            "num_items_in_batch": self.accelerator.gather(counted.sum()).sum(),
        }

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **options)
        self._logps = found[0]
        return found

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        advantages, injected = inputs["advantages"], inputs["injected"] & (self.gamma is not None)
        own = {**inputs, "advantages": advantages.masked_fill(injected, 0.0)}
        loss = super()._compute_loss(model, own)
        if self.gamma is not None:
            mask = inputs["completion_mask"] * inputs["tool_mask"] * injected[:, None]
            # TRL's own denominator of `dapo`: all tokens of the generation batch, of one accumulation window.
            tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
            tokens = tokens * self.current_gradient_accumulation_steps / self.args.steps_per_generation
            loss = loss + shaped_loss(self._logps, advantages, mask, self.gamma) / tokens
        del self._logps  # a kept graph holds the memory of a step
        return self.with_head(loss, {key: inputs[key] for key in HEAD_FIELDS})

    def remember(self) -> dict[str, Any]:
        """With what the groups have come to."""
        return {**super().remember(), "groups": self.groups.remember()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `remember`."""
        super().restore(state)
        self.groups.restore(state["groups"])


def shaped_loss(logps: Tensor, advantages: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """ELF-VLA's objective of rows that another prompt or person wrote, -A f(pi) with f = pi / (pi + gamma).

    Instead of the ratio to an old policy that never would have written them, and without a clip. Its gradient is that
    of log pi times A gamma pi / (pi + gamma)^2: strongest at pi = gamma, and it fades where the policy agrees already
    as well as where a negative anchor has become impossible.

    Args:
        logps: (B, T) log-probabilities of the rows' tokens under the prompt that drives.
        advantages: (B,).
        mask: (B, T) tokens that count.
        gamma: Above 0.

    Returns:
        Sum over the tokens.
    """
    probability = logps.exp()
    return -(advantages[:, None] * probability / (probability + gamma) * mask).sum()


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
    teacher: Teacher | None = None,
    checkpoints: Checkpoints | None = None,
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
        teacher: Finds words for what failed; by rule if absent.
        checkpoints: Of this stage, in `out_dir`; None writes none.

    Raises:
        RoleError: Held-out data.
        RefineError: No scenes, a batch that holds no whole group, or the driving decoder would stay as it is.
    """
    started = time.monotonic()
    refuse_frozen_decoder(policy, "grpo", head=config.trains_head, text=True)
    if config.per_device_train_batch_size % config.num_generations:
        raise RefineError(
            f"per_device_train_batch_size {config.per_device_train_batch_size} is no multiple of "
            f"num_generations {config.num_generations}",
            fix="let it count whole groups, anchors included",
        )
    check_roles([*pairs, *replay])
    settle(policy.model)  # plans are sampled in evaluation and learnt in training: one function
    sound = sound_pairs(pairs, config.variant)
    rows = grpo_rows(policy, sound, replay, config, seed)
    groups = Groups(policy, rows, config, teacher)
    peft_config = adapter(policy, lora or LoraSettings())
    # An adapter is simply switched off.
    reference = copy.deepcopy(policy.model) if config.beta and peft_config is None else None
    with without_notices():
        trainer = AnchoredGRPOTrainer(
            model=policy.model,
            reward_funcs=groups.reward_functions(),
            rollout_func=groups.rollout,
            args=TrlConfig(
                **trainer_options(policy, config, seed, out_dir),
                beta=config.beta if reference is None else 0.0,
                num_generations=config.num_generations,
                temperature=config.temperature,
                max_completion_length=config.max_completion_length,
                reward_weights=groups.reward_weights(),
                loss_type="dapo",  # the denominator in `_compute_loss` is its
                shuffle_dataset=False,  # the order is drawn already
            ),
            train_dataset=numbered(len(rows)),
            processing_class=policy.processor,
            peft_config=peft_config,
        )
    if reference is not None:
        trainer.hold_to(reference.requires_grad_(False), config.beta)
    trainer.data_collator = _collator(policy, rows)
    trainer.groups = groups
    trainer.gamma = config.shaping_gamma if config.policy_shaping else None
    trainer.attach(policy, config, progress)
    with training_threads(
        1
    ):  # token by token the steps are tiny: waiting for a second thread doubled the stage
        report = run_trainer("grpo", trainer, policy, started, {}, checkpoints, config.save_steps)
    left_out = 0 if config.variant == "published" else len(pairs) - len(sound)
    figures = {**groups.figures(), "quarantined_pairs": float(left_out)}
    figures |= {} if teacher is None else teacher.figures()
    return replace(report, metrics={**report.metrics, **figures})


def _collator(
    policy: Policy, rows: Sequence[GrpoRow]
) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Turns row numbers into TRL's conversational prompts with pictures.

    A transform of the dataset would do the same, but `datasets` pickles all that a transform holds, the policy and
    every picture, only to name it: a fifth of the stage.
    """

    def read(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = [rows[item["row"]] for item in batch]
        return [
            {
                "row": item["row"],
                "prompt": [{"role": "user", "content": row.text}],
                "images": [Image.fromarray(p) for p in policy.encoder.pictures(row.input)],
            }
            for item, row in zip(batch, found, strict=True)
        ]

    return read
