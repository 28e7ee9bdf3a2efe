"""The picture and the page of a run: what each generation earned, and what the gate said of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

GATE_COLOURS = {"promote": "#2a9d55", "reject": "#c0392b", "inconclusive": "#b58900", "start": "#555555"}


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """One line of the final table.

    Attributes:
        generation: Number; 0 is the start.
        gate: start | promote | reject | inconclusive.
        sr: Long-tail success rate in [0, 1] with its 95 % interval.
        ds: Mean long-tail driving score, 0 to 100, with its 95 % interval.
        sr_nominal: Nominal success rate in [0, 1]; None when the gate gave up before the nominal cases.
        takeovers_per_km: While it drove in the collect stage; None before it has driven.
        collisions_per_km: On the long-tail gate cases.
        phantom_per_km: Phantom brakes, all gate cases.
        standstill_share: Share of the time stood still, all gate cases.
        p_value: Of the primary test against the champion; None for generation 0.
        champion: Whether it is the champion now.
        cases: Long-tail cases driven; fewer than the suite when the gate gave up early.
    """

    generation: int
    gate: str
    sr: float
    sr_interval: tuple[float, float]
    ds: float
    ds_interval: tuple[float, float]
    sr_nominal: float | None
    takeovers_per_km: float | None
    collisions_per_km: float
    phantom_per_km: float
    standstill_share: float
    p_value: float | None
    champion: bool
    cases: int


def plot(rows: Sequence[GenerationRow], path: Path) -> Path:
    """Write the PNG: SR and DS with intervals over generations, coloured by the gate's outcome, and takeovers per km."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4), dpi=110, layout="constrained")
    numbers = [row.generation for row in rows]
    champions, best = [], None
    for row in rows:
        best = row if best is None or row.gate == "promote" else best
        champions.append(best)
    panels = (
        (
            "success rate, long tail [%]",
            [100 * r.sr for r in rows],
            [(100 * r.sr_interval[0], 100 * r.sr_interval[1]) for r in rows],
            [100 * c.sr for c in champions],
        ),
        (
            "driving score, long tail",
            [r.ds for r in rows],
            [r.ds_interval for r in rows],
            [c.ds for c in champions],
        ),
    )
    for axis, (title, values, intervals, line) in zip(axes, panels, strict=False):
        axis.step(numbers, line, where="post", color="#2a9d55", linewidth=1.5, label="champion")
        for number, value, (low, high), row in zip(numbers, values, intervals, rows, strict=True):
            axis.errorbar(
                number,
                value,
                [[max(value - low, 0.0)], [max(high - value, 0.0)]],  # an interval from 0 may begin at 1e-17
                fmt="o",
                capsize=4,
                color=GATE_COLOURS[row.gate],
            )
        axis.set_ylim(0, 100)
        axis.set_title(title)
    driven = [r for r in rows if r.takeovers_per_km is not None]
    axes[2].bar([r.generation for r in driven], [r.takeovers_per_km or 0.0 for r in driven], color="#3b6ea5")
    axes[2].set_title("takeovers per km while collecting")
    for axis in axes:
        axis.set_xlabel("generation")
        axis.set_xticks(numbers)
        axis.grid(alpha=0.25)
    handles = [
        pyplot.Line2D([], [], marker="o", linestyle="", color=c, label=n) for n, c in GATE_COLOURS.items()
    ]
    axes[0].legend(handles=[*axes[0].get_legend_handles_labels()[0], *handles], fontsize=8, loc="upper left")
    figure.savefig(path)
    pyplot.close(figure)
    return path


def page(
    rows: Sequence[GenerationRow],
    decisions: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, float],
    picture: Path,
    path: Path,
    title: str,
) -> Path:
    """Write the self-contained HTML page.

    Args:
        rows: One a generation.
        decisions: The gate's evidence, one a round.
        seconds: Wall time by stage.
        picture: PNG made by `plot`, embedded.
        path: Where to write.
        title: Heading.
    """
    from jinja2 import Environment

    template = resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    html = (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            title=title,
            rows=rows,
            decisions=decisions,
            seconds=sorted(seconds.items(), key=lambda item: -item[1]),
            total_s=sum(seconds.values()),
            colours=GATE_COLOURS,
            picture=base64.b64encode(picture.read_bytes()).decode("ascii"),
        )
    )
    path.write_text(html, encoding="utf-8")
    return path
