"""What a stage hands back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Progress = Callable[[int, int, float], None]  # step, steps, loss


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage of one round.

    Attributes:
        stage: Its name.
        seconds: Wall time.
        steps: Optimiser steps whose weights were kept.
        metrics: Figures of the stage; losses are means over its last quarter.
        skipped_reason: Why it did not run; "" if it ran.
        stopped_reason: Why it stopped early with the last finite weights; "" if it ended as planned.
    """

    stage: str
    seconds: float = 0.0
    steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    skipped_reason: str = ""
    stopped_reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; a figure that is not finite has no place in JSON and is left out."""
        metrics = {key: value for key, value in self.metrics.items() if math.isfinite(value)}
        return {**asdict(self), "metrics": metrics}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> StageReport:
        """The inverse of `to_json`."""
        return cls(**data)


def no_progress(step: int, steps: int, loss: float) -> None:
    """Says nothing."""


def flat_metrics(reports: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Stage reports, as JSON, to flat MLflow metrics."""
    flat: dict[str, float] = {}
    for report in reports:
        if not report["skipped_reason"]:
            flat[f"{report['stage']}/seconds"] = float(report["seconds"])
            flat[f"{report['stage']}/steps"] = float(report["steps"])
            flat |= {f"{report['stage']}/{key}": float(value) for key, value in report["metrics"].items()}
    return flat
