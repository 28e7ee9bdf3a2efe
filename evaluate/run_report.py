"""What `loop run` ends with: the short page, its picture, and the figures for the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config import LoopConfig
from ..store.database import Store
from .report import plot, run_page
from .run_facts import GenerationRow, run_facts

PAGE = "loop_report.html"
PICTURE = "loop_report.png"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What `loop run` says at its end.

    Attributes:
        rounds: Rounds that are done.
        promoted: Rounds whose challenger was promoted.
        champion: Generation that has the car now.
        rows: One a generation.
        decisions: The gate's evidence, one a round.
        seconds: Wall time by stage, all sittings of the run together.
        sitting_s: Wall time of this sitting.
        power_note: Size and power of the gate.
        picture: The plot.
        page: The HTML page.
    """

    rounds: int
    promoted: int
    champion: int
    rows: tuple[GenerationRow, ...]
    decisions: tuple[dict[str, Any], ...]
    seconds: dict[str, float]
    sitting_s: float
    power_note: str
    picture: Path
    page: Path

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain


def write_summary(store: Store, run_id: str, home: Path, config: LoopConfig, sitting_s: float) -> RunSummary:
    """Read the run back, write `loop_report.png` and `loop_report.html` into the home; drives nothing, shows no films.

    Args:
        store: The index.
        run_id: The run.
        home: Where to write.
        config: Sizes of the gate's suites, and with which decoder generations drove.
        sitting_s: Wall time of this sitting.
    """
    facts = run_facts(store, run_id, config)
    picture = plot(facts, home / PICTURE)
    page = run_page(facts, picture, home / PAGE)
    return RunSummary(
        rounds=len(facts.decisions),
        promoted=sum(d["outcome"] == "promote" for d in facts.decisions),
        champion=facts.champion,
        rows=facts.rows,
        decisions=facts.decisions,
        seconds=facts.seconds,
        sitting_s=sitting_s,
        power_note=facts.power_note,
        picture=picture,
        page=page,
    )
