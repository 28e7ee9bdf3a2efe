"""What a person sees of a run: progress on stderr, tables on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from .evaluate.ablation import ArmFigures
    from .evaluate.run_report import RunSummary

GATE_STYLES = {"promote": "bold green", "reject": "red", "inconclusive": "yellow", "start": "dim"}


class RichProgress:
    """One bar a stage: what, how many of how many, time so far, time left. Plain lines when stderr is no terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=self._console,
            transient=False,
            disable=not self._console.is_terminal,
        )
        self._task: Any = None
        self._name, self._done, self._total, self._since_s = "", 0, 0, 0.0

    def __enter__(self) -> RichProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_stage()
        self._bar.stop()

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""
        self._end_stage()
        self._name, self._done, self._total, self._since_s = name, 0, total, time.monotonic()
        self._task = self._bar.add_task(name, total=total, note="")

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Steps of the present stage are done."""
        self._done += steps
        if self._task is not None:
            self._bar.update(self._task, advance=steps, note=note)

    def say(self, text: str) -> None:
        """One line above the bar."""
        self._bar.console.print(text)

    def _end_stage(self) -> None:
        if self._name and not self._console.is_terminal:
            sys.stderr.write(
                f"{self._name}: {self._done}/{self._total} in {time.monotonic() - self._since_s:.1f} s\n"
            )
        if self._task is not None and self._done < self._total:
            self._bar.update(self._task, total=self._done)
        self._name, self._task = "", None


def final_table(summary: RunSummary) -> None:
    """One row a generation, then where the time went and where the page is."""
    table = Table(
        title=f"{summary.promoted} of {summary.rounds} rounds promoted; champion: generation {summary.champion}"
    )
    for name in (
        "gen",
        "gate",
        "SR long tail",
        "DS",
        "SR nominal",
        "takeovers/km",
        "collisions/km",
        "phantom/km",
        "standstill",
        "p",
    ):
        table.add_column(name, justify="left" if name in ("gen", "gate") else "right")
    for r in summary.rows:
        table.add_row(
            f"{r.generation}{' *' if r.champion else ''}",
            f"[{GATE_STYLES[r.gate]}]{r.gate}",
            f"{100 * r.sr:.1f} % [{100 * r.sr_interval[0]:.0f}, {100 * r.sr_interval[1]:.0f}]",
            f"{r.ds:.1f} [{r.ds_interval[0]:.0f}, {r.ds_interval[1]:.0f}]",
            "–" if r.sr_nominal is None else f"{100 * r.sr_nominal:.0f} %",
            "–" if r.takeovers_per_km is None else f"{r.takeovers_per_km:.1f}",
            f"{r.collisions_per_km:.2f}",
            f"{r.phantom_per_km:.2f}",
            f"{100 * r.standstill_share:.0f} %",
            "–" if r.p_value is None else f"{r.p_value:.4f}",
        )
    console = stdout()
    console.print(table)
    total_s = sum(summary.seconds.values())
    parts = sorted(summary.seconds.items(), key=lambda item: -item[1])
    console.print(f"{total_s:.0f} s: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in parts))
    console.print(f"gate: {summary.power_note}")
    console.print(f"report: {summary.page}")


def suite_table(report: Mapping[str, Any]) -> None:
    """Totals and one row a scenario type."""
    totals = report["summary"]
    table = Table(title=f"{report['model']} on {report['suite']}: {totals['cases']} cases")
    for name in ("scenario", "cases", "SR", "DS", "RC"):
        table.add_column(name, justify="left" if name == "scenario" else "right")
    for row in report["by_scenario"]:
        table.add_row(
            row["scenario"],
            str(row["cases"]),
            f"{100 * row['sr']:.0f} %",
            f"{row['ds']:.1f}",
            f"{row['rc']:.1f}",
        )
    low, high = totals["sr_interval"]
    table.add_section()
    table.add_row(
        "all",
        str(totals["cases"]),
        f"{100 * totals['sr']:.1f} % [{100 * low:.0f}, {100 * high:.0f}]",
        f"{totals['ds']:.1f}",
        f"{totals['rc']:.1f}",
    )
    stdout().print(table)
    stdout().print(
        f"collisions/km {totals['collisions_per_km']:.2f}  phantom brakes/km {totals['phantom_per_km']:.2f}  "
        f"standstill {100 * totals['standstill_share']:.1f} %"
    )


def ablation_tables(rows: Sequence[ArmFigures], report: Mapping[str, Any]) -> None:
    """What each arm is worth, then its caution, then where the page is."""
    from .evaluate.ablation_page import COLUMNS, LEDGER, ledger_cells, main_cells

    setting, console = report["setting"], stdout()
    title = f"{setting['cases']} cases of {setting['suite']}, from generation {setting['generation']}"
    for name, columns, cells in (
        (title, COLUMNS, main_cells),
        ("caution and forgetting", LEDGER, ledger_cells),
    ):
        table = Table(title=name)
        for column in columns:
            table.add_column(column, justify="left" if column == "arm" else "right")
        for row in rows:
            table.add_row(*cells(row))
        console.print(table)
    if setting["missing"]:
        console.print(f"not done yet: {', '.join(setting['missing'])}; run the same command again")
    console.print(f"page: {report['files']['md']}")


def status_table(status: Mapping[str, Any]) -> None:
    """Rounds and generations of the home."""
    console = stdout()
    if not status["generations"]:
        console.print("no generation yet: `loop run --rounds 5` makes the first")
        return
    rows_table(status["generations"])
    rows_table([_round_row(row) for row in status["rounds"]])
    console.print(f"champion: generation {status['champion']}")


def _round_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A round in one line: its stages with their seconds, or why they did nothing."""
    stages = [
        f"{s['stage']} {s['skipped_reason'] or s['stopped_reason'] or format(s['seconds'], '.0f') + ' s'}"
        for s in row["stages"]
    ]
    return {
        "run": row["run_id"][:8],
        "round": row["round"],
        "steps": " ".join(row["steps"]),
        "stages": ", ".join(stages),
        "pairs": row["pairs"],
        "outcome": row["outcome"],
    }


def rows_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of a query."""
    if not rows:
        stdout().print("no rows")
        return
    table = Table()
    for name in rows[0]:
        table.add_column(str(name))
    for row in rows:
        table.add_row(
            *("" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values())
        )
    stdout().print(table)


def episode_view(found: Mapping[str, Any]) -> None:
    """One episode: its facts, then its parts as tables."""
    console = stdout()
    for key, value in found.items():
        if isinstance(value, list):
            console.print(f"[bold]{key}")
            rows_table(value)
        else:
            console.print(f"{key}: {value}")


def stdout() -> Console:
    """Tables go here; as wide as they need when it is no terminal."""
    return Console(
        highlight=False, soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 160
    )
