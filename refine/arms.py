"""Arms of an ablation: combinations of stages, made equal in gradient steps (proof.md 17)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from .config import STAGES, RefineConfig

TRAINED = ("sft", "dpo", "kto", "grpo")  # stages with a trainer: backbone and head together
REFERENCE = "SFT + DPO"


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the table.

    Attributes:
        name: Its name.
        stages: Of sft, dpo, kto, grpo, anchor; the refit follows whatever changes the backbone.
        note: What it is, and its row in SafeAlign's tables.
        changes: Keys of RefineConfig that differ, by section.
        takeovers: What it learns from: all takeovers, only what was driven, none, or a choice that the ablation is given.
    """

    name: str
    stages: tuple[str, ...]
    note: str = ""
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    takeovers: str = "all"


FULL = ("sft", "dpo", "grpo", "anchor")
DEFAULT_ARMS = (
    Arm(REFERENCE, ("sft", "dpo"), "CoReVLA's recipe; the reference of the primary comparison"),
    Arm("full", FULL, "all four stages (ID-6)"),
    Arm("SFT", ("sft",), "recoveries, corrections and negative prompts (ID-2, + CSP)"),
    Arm(
        "SFT + DPO + GRPO",
        ("sft", "dpo", "grpo"),
        "with anchors and feedback, without the anchor stage on the head",
    ),
    Arm("replay only", ("sft",), "longer SFT on replay: more training, no takeovers", takeovers="none"),
    Arm(
        "DPO's SFT term only",
        ("sft", "dpo"),
        "DPO's batches without its preference term",
        {"dpo": {"loss_type": ("sft",), "loss_weights": (1.0,)}},
    ),
    Arm(
        "base SFT",
        ("sft",),
        "what was driven, without corrections and negative prompts (ID-1)",
        {"sft": {"negative_share": 0.0}},
        takeovers="driven",
    ),
    Arm(
        "plain GRPO",
        ("sft", "dpo", "grpo"),
        "neither feedback nor anchors (ID-3)",
        {"grpo": {"anchors": False, "feedback": 0}},
    ),
    Arm(
        "GRPO with feedback",
        ("sft", "dpo", "grpo"),
        "corrected plans in the groups, no anchors (ID-4)",
        {"grpo": {"anchors": False}},
    ),
    Arm(
        "anchors without feedback",
        FULL,
        "anchors in the groups and on the head, no feedback (ID-5)",
        {"grpo": {"feedback": 0}, "anchor": {"feedback": 0}},
    ),
)
FIRST = 2  # arms of the primary comparison: all their seeds are run before the other arms


def parse_arms(text: str) -> tuple[Arm, ...]:
    """Arms of `--stages-list`: "sft;sft,dpo;sft,dpo,grpo,anchor". Without any text, the default ones.

    Raises:
        UsageError: A stage is unknown or named twice.
    """
    if not text.strip():
        return DEFAULT_ARMS
    known = [stage for stage in STAGES if stage != "refit"]
    arms = []
    for part in text.split(";"):
        stages = tuple(name.strip() for name in part.split(",") if name.strip())
        unknown = [name for name in stages if name not in known]
        if unknown or not stages:
            raise UsageError(
                f"unknown stage `{unknown[0] if unknown else ''}`", fix=f"use some of {', '.join(known)}"
            )
        arms.append(Arm(" + ".join(stages), stages))
    if len({arm.name for arm in arms}) < len(arms):
        raise UsageError("an arm is named twice", fix="write each combination of stages once")
    return tuple(arms)


@dataclass(frozen=True, slots=True)
class Steps:
    """Gradient steps of an arm: backbone and head together, and the head alone on cached features."""

    text: int
    head: int


def steps_of(config: RefineConfig, stages: Sequence[str], pairs: int, scenes: int) -> Steps:
    """What some stages take by themselves.

    Args:
        config: Of the stages.
        stages: Names.
        pairs: Scenes of the anchor stage.
        scenes: Scenes of the refit.
    """
    text = sum(getattr(config, name).max_steps for name in TRAINED if name in stages)
    head = config.refit.epochs * _batches(scenes, config.refit.per_device_train_batch_size)
    if "anchor" in stages:
        head += config.anchor.epochs * _batches(pairs, config.anchor.per_device_train_batch_size)
    return Steps(text, head)


def equalised(config: RefineConfig, arm: Arm, goal: Steps, pairs: int, scenes: int) -> RefineConfig:
    """The arm's configuration, with its SFT and its refit prolonged until it takes as many steps as the longest arm.

    Args:
        config: What all arms share.
        arm: Its stages and changes.
        goal: Steps of the longest arm.
        pairs: Scenes of the anchor stage.
        scenes: Scenes of the refit.

    Returns:
        A configuration that takes exactly `goal.text` and at least `goal.head` steps (whole epochs, in the arm's favour).
    """
    own = steps_of(config, arm.stages, pairs, scenes)
    parts: dict[str, Any] = {}
    for name in STAGES:
        section = getattr(config, name)
        update = {**arm.changes.get(name, {})}
        if name == "refit":
            epoch = _batches(scenes, section.per_device_train_batch_size)
            update["epochs"] = section.epochs + math.ceil((goal.head - own.head) / epoch)
        else:
            update["enabled"] = name in arm.stages
        if name == "sft":
            steps = (section.max_steps if "sft" in arm.stages else 0) + goal.text - own.text
            update |= {"enabled": steps > 0, "max_steps": max(steps, 1)}
        parts[name] = type(section).model_validate({**section.model_dump(), **update})
    return config.model_copy(update=parts)


def shortened(config: RefineConfig, share: float) -> RefineConfig:
    """The same stages with a share of their gradient steps, at least one step or epoch each."""
    parts: dict[str, Any] = {}
    for name in STAGES:
        section = getattr(config, name)
        size = "max_steps" if name in TRAINED else "epochs"
        parts[name] = section.model_copy(update={size: max(1, round(share * getattr(section, size)))})
    return config.model_copy(update=parts)


def _batches(rows: int, batch: int) -> int:
    return max(1, math.ceil(rows / batch))
