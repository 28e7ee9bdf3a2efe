"""Driving questions and answers in CoReVLA's form (ShareGPT with images): the first lesson of a user's own checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, Image, List
from trl import SFTConfig as TrlConfig
from trl import SFTTrainer

from ..errors import UsageError
from ..models.policy import Policy
from .config import LoraSettings, SftConfig
from .report import Progress, StageReport, no_progress
from .training import HeadLossMixin, adapter, run_trainer, trainer_options, without_notices

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class QaItem:
    """One conversation about pictures: (role, text) turns, user first, and the files of the pictures."""

    turns: tuple[tuple[str, str], ...]
    images: tuple[Path, ...]


class QaTrainer(HeadLossMixin, SFTTrainer):
    """SFTTrainer that loses no numbers; questions have no trajectory, so the head learns nothing here."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Text loss."""
        loss = super().compute_loss(model, inputs, False, num_items_in_batch)
        self.policy.model.take()
        self.guard.see(loss)
        return loss


def load_qa(path: Path) -> list[QaItem]:
    """Read a JSON array or JSON lines of {"conversations": [{"from", "value"}, …], "images": [file, …]}.

    Args:
        path: The file; relative pictures are looked for beside it.

    Raises:
        UsageError: Names the file, the item and what is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", fix="give an existing file to --qa"
        ) from error
    try:
        stripped = text.lstrip()
        raw = (
            json.loads(text)
            if stripped.startswith("[")
            else [json.loads(x) for x in text.splitlines() if x.strip()]
        )
    except ValueError as error:
        raise UsageError(f"{path} is neither JSON nor JSON lines: {error}", fix="mend the file") from error
    if not raw:
        raise UsageError(f"{path} holds no item", fix="give at least one conversation")
    return [_item(path, number, entry) for number, entry in enumerate(raw, start=1)]


def _item(path: Path, number: int, entry: Any) -> QaItem:
    def wrong(what: str) -> UsageError:
        return UsageError(
            f"{path}, item {number}: {what}",
            fix='write {"conversations": [{"from": "human", "value": "<image>…"}, {"from": "gpt", "value": "…"}], '
            '"images": ["a.jpg"]}',
        )

    if not isinstance(entry, dict) or not isinstance(entry.get("conversations"), list):
        raise wrong("has no list `conversations`")
    turns = []
    for turn in entry["conversations"]:
        if (
            not isinstance(turn, dict)
            or turn.get("from") not in ROLES
            or not isinstance(turn.get("value"), str)
        ):
            raise wrong(f"a turn needs `from` ({', '.join(ROLES)}) and a text `value`")
        turns.append((ROLES[turn["from"]], turn["value"].replace("<image>", "").strip()))
    if len(turns) < 2 or turns[0][0] != "user" or turns[-1][0] != "assistant":
        raise wrong("must begin with the human and end with the answer")
    names = entry.get("images", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise wrong("`images` is not a list of file names")
    asked = sum(str(turn["value"]).count("<image>") for turn in entry["conversations"])
    if asked not in (0, len(names)):
        raise wrong(f"{asked} <image> marks but {len(names)} images")
    images = tuple(path.parent / name for name in names)
    missing = [image for image in images if not image.is_file()]
    if missing:
        raise wrong(f"picture {missing[0]} does not exist")
    return QaItem(tuple(turns), images)


def run_qa(
    policy: Policy,
    items: Sequence[QaItem],
    steps: int,
    seed: int,
    progress: Progress = no_progress,
    out_dir: Path = Path("."),
    *,
    batch: int = 4,
    lora: LoraSettings | None = None,
) -> StageReport:
    """Fine-tune on questions and answers, in place; text only, the pictures through TRL's own vision collator.

    Args:
        policy: Learns.
        items: What to learn.
        steps: Optimiser steps.
        seed: Of the order.
        progress: Called after each step.
        out_dir: Scratch folder of the trainer.
        batch: Conversations of a step.
        lora: When to train an adapter instead of the model.
    """
    started = time.monotonic()
    config = SftConfig(max_steps=steps, per_device_train_batch_size=batch, learning_rate=1e-4)
    data = Dataset.from_dict(
        {
            "messages": [[{"role": role, "content": text} for role, text in item.turns] for item in items],
            "images": [[str(image) for image in item.images] for item in items],
        }
    ).cast_column("images", List(Image()))
    with without_notices():
        trainer = QaTrainer(
            model=policy.model,
            args=TrlConfig(**trainer_options(policy, config, seed, out_dir), max_length=None),
            train_dataset=data,
            processing_class=policy.processor,
            peft_config=adapter(policy, lora or LoraSettings()),
        )
    trainer.attach(policy, config, progress)
    return run_trainer("qa", trainer, policy, started, {})
