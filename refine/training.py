"""What the TRL stages share: arguments, the head's loss, the guard against lost numbers, adapters."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback
from trl.trainer import utils as trl_utils

from ..errors import RefineError
from ..models.backbone import lora_config, settle
from ..models.heads import head_loss
from ..models.policy import Policy
from ..models.vla import restore_forward
from .balance import Balance, last_layer
from .checkpoints import Checkpoints, Saving
from .config import LoraSettings, TrainerConfig
from .datasets import HEAD_FIELDS
from .report import Progress, StageReport


def trainer_options(policy: Policy, config: TrainerConfig, seed: int, out_dir: Path) -> dict[str, Any]:
    """Arguments that SFTConfig, DPOConfig and GRPOConfig have in common."""
    return {
        "output_dir": str(out_dir),
        "max_steps": config.max_steps,
        "per_device_train_batch_size": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler_type,
        "warmup_steps": round(config.warmup_share * config.max_steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": policy.model.device.type == "cpu",
        "bf16": False,  # TRL's default; on a CPU it is slower, and a bf16 backbone needs no autocast
        "gradient_checkpointing": False,
        "report_to": [],
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
    }


WEIGHTS = "learnt.pt"  # in a checkpoint: tensors alone, read with weights_only


@contextmanager
def without_notices() -> Iterator[None]:
    """Keep the libraries' deprecation notices among themselves off the user's terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", message=".*rollout_func.*")
        yield


@contextmanager
def trl_refusals(stage: str) -> Iterator[None]:
    """Turn TRL's refusal of a configuration into one line with its fix.

    Raises:
        RefineError: TRL has refused.
    """
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        raise RefineError(
            f"TRL refuses the configuration of {stage}: {str(error).splitlines()[0]}",
            fix=f"change refine.{stage}",
        ) from error


@contextmanager
def labelled_positions_alone() -> Iterator[None]:
    """Let TRL's head score the positions that have a label, a seventh of them, on any device.

    It does so only where Triton is, lest a compiler meet a new shape in every batch; nothing is compiled here. The
    loss is the same.
    """
    if not hasattr(trl_utils, "_use_triton"):  # before TRL 1.16 there was no such choice
        yield
        return
    chosen = trl_utils._use_triton
    trl_utils._use_triton = lambda device: True  # of the positions alone: the kernels ask their own module
    try:
        yield
    finally:
        trl_utils._use_triton = chosen


def numbered(n: int, **columns: list[Any]) -> Dataset:
    """A dataset of row numbers: the collator looks the rows up, so nothing is processed twice."""
    return Dataset.from_dict({"row": list(range(n)), **columns})


def adapter(policy: Policy, settings: LoraSettings) -> Any:
    """LoRA configuration for a large backbone; None to train the whole model."""
    size = sum(p.numel() for p in policy.model.parameters())
    if settings.use == "never" or (settings.use == "auto" and size <= settings.above_params):
        return None
    config = lora_config(
        policy.backbone, policy.codec, rank=settings.rank, alpha=settings.alpha, dropout=settings.dropout
    )
    tokens = config.trainable_token_indices
    tied = policy.model.get_output_embeddings().weight is policy.model.get_input_embeddings().weight
    if isinstance(tokens, dict) and not tied:
        # Action tokens are new: where the output layer is not tied, its rows for them must train as well.
        config.trainable_token_indices = {**tokens, "lm_head": tokens["embed_tokens"]}
    return config


def refuse_frozen_decoder(
    policy: Policy, stage: str, *, head: bool, text: bool, flow: bool | None = None
) -> None:
    """Refuse a stage that cannot change the decoder that drives (proof.md 16).

    Args:
        policy: Names its decoder.
        stage: For the message.
        head: Whether the stage trains the `mlp` head.
        text: Whether the stage trains the text.
        flow: Whether the stage trains the `flow` head; as the other head if not said.

    Raises:
        RefineError: The driving decoder would stay as it is.
    """
    changed = {"mlp": head, "flow": head if flow is None else flow, "tokens": text}
    if not changed[policy.decoder]:
        remedy = "give the stage a positive head_weight" if text else "drive with policy.decoder mlp"
        raise RefineError(
            f"stage {stage} cannot change the driving decoder {policy.decoder}",
            fix=f"{remedy}, or switch the stage off",
        )


class FiniteGuard(TrainerCallback):
    """Keeps the last finite weights; when a loss or a weight is lost, puts them back and stops.

    Attributes:
        losses: Loss of each kept step.
        stopped: Why training stopped early, "" if it did not.
    """

    def __init__(self, model: nn.Module, steps: int, progress: Progress) -> None:
        self._model, self._steps, self._progress = model, steps, progress
        self._seen: list[float] = []
        self.losses: list[float] = []
        self.stopped = ""
        self.begin()

    def begin(self) -> None:
        """Take the present weights for the last finite ones; again after a checkpoint has been loaded."""
        self._state = list(_learnt(self._model).values())
        self._saved = [value.detach().clone() for value in self._state]

    def see(self, loss: Tensor) -> None:
        """Remember a (micro) batch's loss."""
        self._seen.append(float(loss.detach()))

    def check(self, step: int) -> bool:
        """Keep the weights of a finished step, or restore the last finite ones.

        Returns:
            False when training must stop.
        """
        loss, self._seen = math.fsum(self._seen), []
        with torch.no_grad():
            if not math.isfinite(loss):
                self.stopped = f"the loss of step {step} was not finite"
            elif not all(bool(torch.isfinite(value.sum())) for value in self._state):
                self.stopped = f"a weight was not finite after step {step}"
            if self.stopped:
                _copy(self._saved, self._state)
                return False
            _copy(self._state, self._saved)
        self.losses.append(loss)
        self._progress(step, self._steps, loss)
        return True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Transformers calls this after each optimiser step."""
        if not self.check(int(state.global_step)):
            control.should_training_stop = True

    def late_loss(self) -> float:
        """Mean loss over the last quarter of the kept steps, NaN if there are none."""
        tail = self.losses[-max(1, len(self.losses) // 4) :]
        return math.fsum(tail) / len(tail) if tail else math.nan


def _learnt(model: nn.Module) -> dict[str, Tensor]:
    """Weights that train, and buffers: a fresh tower gathers its statistics in them."""
    trained = {name: p.data for name, p in model.named_parameters() if p.requires_grad}
    return trained | dict(model.named_buffers())


def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    for old, new in zip(target, source, strict=True):
        old.copy_(new)


class HeadLossMixin:
    """Adds the head's loss to a TRL trainer; must come before the trainer in the bases.

    TRL calls the backbone itself, so the hidden states of its own pass are taken from the model's hook: no
    second pass.
    """

    policy: Policy
    guard: FiniteGuard
    balance: Balance
    tower_rate: float

    def attach(self, policy: Policy, config: TrainerConfig, progress: Progress) -> None:
        """Say which policy learns and who watches; before `train`."""
        self.policy = policy
        self.tower_rate = config.tower_rate
        if not config.tower_rate and not hasattr(self.model, "merge_and_unload"):  # type: ignore[attr-defined]
            settle(policy.model)  # its statistics are a part of what it sees
            policy.backbone.tower.requires_grad_(False)
        self.balance = Balance(config.head_weight, last_layer(policy.model))
        self.guard = FiniteGuard(self.model, config.max_steps, progress)  # type: ignore[attr-defined]
        self.add_callback(self.guard)  # type: ignore[attr-defined]
        self.remove_callback(PrinterCallback)  # type: ignore[attr-defined]
        output = policy.model.get_output_embeddings()
        if not hasattr(output, "bias"):
            output.bias = (
                None  # peft's wrapper of trainable tokens hides it, and TRL's fused head asks for it
            )

    def create_optimizer(self, *arguments: Any) -> Any:
        """Transformers', with a lower rate for the tower."""
        optimizer = super().create_optimizer(*arguments)  # type: ignore[misc]
        tower = {id(p) for p in self.policy.backbone.tower.parameters()}
        for group in list(optimizer.param_groups):
            slow = [p for p in group["params"] if id(p) in tower]
            if slow and self.tower_rate < 1.0:
                group["params"] = [p for p in group["params"] if id(p) not in tower]
                optimizer.add_param_group({**group, "params": slow, "lr": self.tower_rate * group["lr"]})
        return optimizer

    def with_head(self, loss: Tensor, fields: dict[str, Tensor], rows: slice = slice(None)) -> Tensor:
        """The trainer's loss plus that of the heads, and the guard told.

        Args:
            loss: Of the trainer.
            fields: ego, prompt_mask (B, P), target_m (B, 8, 2) and target_mask (B, 8).
            rows: Rows of the captured batch that the fields belong to.
        """
        model = self.policy.model
        states = model.take()
        mask, ego = fields["prompt_mask"], fields["ego"]
        target_m, counts = fields["target_m"], fields["target_mask"]
        length = mask.shape[1]
        plans = model.action_head(states.last[rows, :length], mask, ego)
        # TRL has divided its own loss by the accumulation steps already.
        share = 1.0 / self.current_gradient_accumulation_steps  # type: ignore[attr-defined]
        term = share * head_loss(plans, target_m, counts)
        total = loss + self.balance.of(loss, term) * term
        if self.balance.weight and model.has_flow_head:
            # Its own weight: nothing of it reaches the backbone, and 20 of it would fill the clipped gradient.
            flow = model.flow_head.loss(states.layers[rows, :length], mask, ego, target_m, counts)
            total = total + share * flow
        self.guard.see(total)
        return total

    def remember(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the trainer's own files; plain values."""
        return {
            "losses": self.guard.losses,
            "balance": self.balance.remember(),
            "metrics": dict(self._metrics["train"]),  # type: ignore[attr-defined]
            "tokens": getattr(self, "_total_train_tokens", 0),  # GRPO counts them in the trainer's own state
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `remember`, after the trainer has loaded its files."""
        self.guard.begin()
        self.guard.losses = list(state["losses"])
        self.balance.restore(state["balance"])
        self._metrics["train"].update(state["metrics"])  # type: ignore[attr-defined]
        self._total_train_tokens = state["tokens"]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write what trains, under the names that it has in memory.

        `save_pretrained` renames parts of a LLaVA, and the trainer would load such a file in half without an error.
        """
        folder = Path(output_dir or self.args.output_dir)  # type: ignore[attr-defined]
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(_learnt(self.model), folder / WEIGHTS)  # type: ignore[attr-defined]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        saved = torch.load(Path(resume_from_checkpoint) / WEIGHTS, weights_only=True)
        learnt = _learnt(self.model)  # type: ignore[attr-defined]
        if saved.keys() != learnt.keys():
            raise RefineError(
                f"{resume_from_checkpoint} holds other weights", fix="remove it and run the command again"
            )
        with torch.no_grad():
            _copy([saved[name] for name in learnt], list(learnt.values()))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """TRL would write one beside each checkpoint; a generation has its own."""

    def _send_telemetry(self) -> None:
        """TRL would report each run to its makers; recordings of people's drives are nobody's business."""


def split_head_fields(inputs: dict[str, Any]) -> dict[str, Tensor]:
    """Take the head's fields out of a batch."""
    return {key: inputs.pop(key) for key in HEAD_FIELDS}


def run_trainer(
    stage: str,
    trainer: Any,
    policy: Policy,
    started: float,
    metrics: dict[str, float],
    checkpoints: Checkpoints | None = None,
    every: int = 0,
) -> StageReport:
    """Train, merge an adapter into the policy, mend what TRL left on the model.

    Args:
        stage: Name in the report.
        trainer: With `HeadLossMixin`, attached.
        policy: Gets the trained model.
        started: `time.monotonic()` when the stage began.
        metrics: More figures for the report.
        checkpoints: Where to go on from, and where to write; None writes none.
        every: Steps between two of them; 0 goes by the clock.
    """
    resume_from = None
    if checkpoints is not None:
        saving = Saving(checkpoints, trainer, every)
        trainer.add_callback(saving)
        resume_from = saving.resume_from
    try:
        with without_notices(), labelled_positions_alone():
            trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    finally:
        model = trainer.model
        if hasattr(model, "merge_and_unload"):
            policy.model = model.merge_and_unload()
        restore_forward(policy.model)
        settle(policy.model)  # what follows the first lesson must be the same in training and in driving
        policy.model.forget()
        policy.model.requires_grad_(True)
        policy.model.zero_grad(set_to_none=True)
        policy.model.eval()
    guard: FiniteGuard = trainer.guard
    return StageReport(
        stage,
        seconds=time.monotonic() - started,
        steps=len(guard.losses),
        metrics={
            "loss": guard.late_loss(),
            **trainer.balance.figures(),
            **trainer_metrics(trainer),
            **metrics,
        },
        stopped_reason=guard.stopped,
    )


def trainer_metrics(trainer: Any) -> dict[str, float]:
    """TRL's own figures, means over the stage."""
    history = trainer.state.log_history[-1] if trainer.state.log_history else {}
    left_out = ("train_", "epoch", "step", "total_flos")
    return {
        key.replace("/", "_"): float(value)
        for key, value in history.items()
        if not key.startswith(left_out) and isinstance(value, int | float)
    }
