"""An ablation as Markdown for docs/, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..scoring.statistics import Estimate
from .ablation import ArmFigures

COLUMNS = (
    "arm",
    "seeds",
    "steps",
    "SR [%]",
    "SR gain on gen 0",
    "SR against reference",
    "DS",
    "DS gain",
    "braking",
    "steering",
    "decoys",
)
LEDGER = (
    "arm",
    "no collision",
    "on road",
    "progress",
    "phantom/km",
    "standstill",
    "time lost [s]",
    "nominal SR",
    "nominal gain",
    "training [s]",
)


def main_cells(row: ArmFigures) -> list[str]:
    """One row of the first table: what an arm is worth."""
    return [
        row.arm,
        str(len(row.seeds)),
        f"{row.text_steps} + {row.head_steps}",
        f"{100 * row.sr_mean:.1f} ({', '.join(f'{100 * sr:.0f}' for sr in row.sr)})",
        _points(row.sr_gain),
        "–" if row.sr_against is None else _points(row.sr_against),
        f"{row.ds:.1f}",
        _interval(row.ds_gain, 1.0),
        *(_percent(value) for value in (row.sr_braking, row.sr_steering, row.sr_decoys)),
    ]


def ledger_cells(row: ArmFigures) -> list[str]:
    """One row of the second table: caution and forgetting, and SafeAlign's columns where closed loop has them."""
    return [
        row.arm,
        _percent(row.no_collision),
        _percent(row.on_road),
        f"{row.progress:.1f}",
        f"{row.phantom_per_km:.2f}",
        f"{100 * row.standstill_share:.1f} %",
        f"{row.time_lost_s:+.2f}",
        _percent(row.sr_nominal),
        _points(row.nominal_gain),
        f"{row.train_s:.0f}",
    ]


def markdown(rows: Sequence[ArmFigures], setting: Mapping[str, Any]) -> str:
    """The page.

    Args:
        rows: Generation 0 first.
        setting: What was run: suite, cases, seeds, decoder, reference, missing runs.
    """
    lines = [
        f"# Ablation on {setting['suite']}",
        "",
        f"{setting['cases']} long-tail and {setting['nominal_cases']} nominal cases, the same for every arm; training seeds "
        f"{', '.join(map(str, setting['seeds']))}; every arm starts from generation {setting['generation']}, drives with "
        f"`{setting['decoder']}`, and has the same data, the same gradient steps (backbone + head alone) and one trial: "
        "no arm was tuned. Primary figure, fixed beforehand: pooled SR. Differences are paired by case, 95 % intervals by "
        f"bootstrap clustered by training seed; the reference is `{setting['reference']}`.",
        "",
        *_table(COLUMNS, [main_cells(row) for row in rows]),
        "",
        "Caution and forgetting. Phantom brakes count on decoys and nominal cases; time lost on cases that generation 0 "
        "passes too.",
        "",
        *_table(LEDGER, [ledger_cells(row) for row in rows]),
        "",
        *(f"- **{row.arm}**: {row.note}" for row in rows if row.note),
    ]
    if setting["missing"]:
        lines += ["", f"Not done yet: {', '.join(setting['missing'])}."]
    return "\n".join(lines) + "\n"


def as_json(rows: Sequence[ArmFigures], setting: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values; NaN becomes null."""
    found: dict[str, Any] = json.loads(
        json.dumps({"setting": dict(setting), "arms": [asdict(row) for row in rows]}),
        parse_constant=lambda _: None,
    )
    return found


def picture(rows: Sequence[ArmFigures], path: Path) -> Path:
    """SR gain with intervals and phantom brakes, one line an arm."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = list(reversed(rows))
    figure, axes = pyplot.subplots(
        1, 2, figsize=(11, 1.2 + 0.42 * len(shown)), dpi=110, layout="constrained", sharey=True
    )
    for place, row in enumerate(shown):
        gain = row.sr_gain
        axes[0].errorbar(
            100 * gain.mean,
            place,
            xerr=[[100 * (gain.mean - gain.lower)], [100 * (gain.upper - gain.mean)]],
            fmt="o",
            capsize=4,
            color="#3b6ea5",
        )
        if row.seeds and len(row.sr) > 1:
            base = row.sr_mean - gain.mean
            axes[0].plot([100 * (sr - base) for sr in row.sr], [place] * len(row.sr), "|", color="#888888")
    axes[0].axvline(0.0, color="#555555", linewidth=1)
    axes[0].set_xlabel("SR on the long tail against generation 0 [points]; strokes: training seeds")
    axes[1].barh(range(len(shown)), [row.phantom_per_km for row in shown], color="#c0392b")
    axes[1].set_xlabel("phantom brakes per km")
    axes[0].set_yticks(range(len(shown)), [row.arm for row in shown])
    for axis in axes:
        axis.grid(alpha=0.25)
    figure.savefig(path)
    pyplot.close(figure)
    return path


def write(rows: Sequence[ArmFigures], setting: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write ablation.md, ablation.json and ablation.png.

    Returns:
        The three paths by kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / f"ablation.{kind}" for kind in ("md", "json", "png")}
    text = markdown(rows, setting)
    paths["md"].write_text(f"{text}\n![gain of each arm](ablation.png)\n", encoding="utf-8")
    paths["json"].write_text(json.dumps(as_json(rows, setting), indent=1) + "\n", encoding="utf-8")
    picture(rows, paths["png"])
    return paths


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _points(value: Estimate) -> str:
    return _interval(value, 100.0)


def _interval(value: Estimate, scale: float) -> str:
    return f"{scale * value.mean:+.1f} [{scale * value.lower:+.1f}, {scale * value.upper:+.1f}]"


def _percent(value: float) -> str:
    return "–" if value != value else f"{100 * value:.0f}"
