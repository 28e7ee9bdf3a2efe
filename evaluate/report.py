"""The picture and the pages of a run and of a generation: one HTML file each, everything in it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..store.story import spans
from .films import Film, Still

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .closed_loop import CaseResult
    from .generation_report import GenerationFacts
    from .run_facts import GenerationRow, RunFacts, TypeRow

GATE_COLOURS = {"promote": "#1f8a4c", "reject": "#c0392b", "inconclusive": "#9a7400", "start": "#5b6470"}
DARK_GATE_COLOURS = {"promote": "#3fbf77", "reject": "#e8705f", "inconclusive": "#d9b13b", "start": "#9aa5b1"}
LIGHT = {"ink": "#1c2430", "paper": "#ffffff", "grid": "#c9d1d9", "bar": "#3b6ea5"}
DARK = {"ink": "#e3e8ee", "paper": "#161b22", "grid": "#3a434e", "bar": "#6aa5dd"}
KEPT_S = 1.0  # steps of less than this are told together


def plot(facts: RunFacts, path: Path) -> Path:
    """Write the PNG: success rate and driving score with intervals over generations, takeovers per km over rounds."""
    return _written(path, _chart(facts, dark=False))


def run_page(
    facts: RunFacts,
    picture: Path,
    path: Path,
    *,
    films: Mapping[str, Sequence[Film]] | None = None,
    strips: Mapping[str, Sequence[Still]] | None = None,
    links: Mapping[int, str] | None = None,
) -> Path:
    """Write the page of a run.

    Args:
        facts: What it shows.
        picture: Made by `plot`.
        path: Where to write.
        films: Heading to strips of driven cases; None leaves them out and says how to get them.
        strips: Takeover id to its pictures; those without any are rows of a table.
        links: Generation to the page of it, relative to this one.
    """
    pictures = picture.read_bytes(), _chart(facts, dark=True)
    charts = [base64.b64encode(one).decode("ascii") for one in pictures]
    return _page(
        path,
        "report_run.html.j2",
        facts=facts,
        charts=charts,
        films=films,
        strips=strips or {},
        links=links or {},
        steps=_steps(facts.seconds),
        best=_headline(facts),
        groups=[(name, list(some)) for name, some in groupby(facts.types, lambda row: row.group)],
    )


def generation_page(
    facts: GenerationFacts,
    path: Path,
    *,
    films: Mapping[str, Sequence[Film]] | None = None,
    strips: Mapping[str, Sequence[Still]] | None = None,
    back: str = "",
) -> Path:
    """Write the page of a generation.

    Args:
        facts: What it shows.
        path: Where to write.
        films: As of `run_page`.
        strips: As of `run_page`, of the takeovers of its round.
        back: Page of the run, relative to this one; "" for none.
    """
    return _page(path, "report_generation.html.j2", facts=facts, films=films, strips=strips or {}, back=back)


def _page(path: Path, template: str, **values: Any) -> Path:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files(__package__)
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
    )
    environment.filters |= {"percent": _percent, "number": _number, "signed": _signed, "estimate": _estimate}
    environment.filters["combined"] = lambda one, other: {**one, **other}
    environment.globals |= {
        "heat": _heat,
        "ending_of": _ending_of,
        "passed": _passed,
        "failed": _failed,
        "spans": spans,
    }
    return _written(path, environment.get_template(template).render(**values).encode("utf-8"))


def _written(path: Path, content: bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", fix="give another --output") from error
    return path


def _chart(facts: RunFacts, *, dark: bool) -> bytes:
    """The three panels as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    theme = DARK if dark else LIGHT
    style = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), theme["ink"]),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "legend.facecolor"), theme["paper"]),
        "axes.edgecolor": theme["grid"],
        "grid.color": theme["grid"],
        "font.size": 10,
    }
    with pyplot.rc_context(style):
        figure = pyplot.figure(figsize=(13, 4), dpi=110, layout="constrained")
        _panels(figure, facts, theme, DARK_GATE_COLOURS if dark else GATE_COLOURS)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        pyplot.close(figure)
    return file.getvalue()


def _panels(figure: Figure, facts: RunFacts, theme: Mapping[str, str], colours: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots(1, 3)
    rows = facts.rows
    for axis, title, scale, name in (
        (axes[0], "success rate, long tail [%]", 100.0, "sr"),
        (axes[1], "driving score, long tail", 1.0, "ds"),
    ):
        _curve(axis, rows, scale, name, colours)
        axis.set(title=title, ylim=(0, 100), xlabel="generation")
    driven = [r for r in facts.rounds if r.per_km is not None and r.interval is not None]
    rates = [r.per_km or 0.0 for r in driven]
    reach = [[v - r.interval[0], r.interval[1] - v] for r, v in zip(driven, rates, strict=True) if r.interval]
    if driven:
        axes[2].bar([r.round for r in driven], rates, color=theme["bar"], width=0.6)
        axes[2].errorbar(
            [r.round for r in driven], rates, list(zip(*reach, strict=True)), fmt="none", capsize=4, color=theme["ink"]
        )  # fmt: skip
    for r in driven:
        axes[2].annotate(f"gen {', '.join(r.drivers)}", (r.round, 0), (0, 4), textcoords="offset points",
                         ha="center", color=theme["paper"], fontsize=9)  # fmt: skip
    axes[2].set(title="takeovers per km while collecting", xlabel="round")
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.4)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    said = [name for name in colours if any(row.gate == name for row in rows)]
    handles = [Line2D([], [], marker="o", linestyle="", color=colours[name], label=name) for name in said]
    champion = Line2D([], [], color=colours["promote"], label="champion")
    if rows:
        axes[0].legend(handles=[champion, *handles], fontsize=8, loc="lower right", framealpha=0.8)


def _curve(
    axis: Any, rows: Sequence[GenerationRow], scale: float, name: str, colours: Mapping[str, str]
) -> None:
    """A point with its interval for each generation, and the champion of the time as a line."""
    best, line = None, []
    for row in rows:
        best = row if best is None or row.gate == "promote" else best
        line.append(scale * getattr(best, name))
    axis.step([row.generation for row in rows], line, where="post", color=colours["promote"], linewidth=1.5)
    for row in rows:
        value = scale * getattr(row, name)
        low, high = (scale * bound for bound in getattr(row, f"{name}_interval"))
        reach = [[max(value - low, 0.0)], [max(high - value, 0.0)]]  # an interval from 0 may begin at 1e-17
        axis.errorbar(row.generation, value, reach, fmt="o", capsize=4, color=colours[row.gate])


def _headline(facts: RunFacts) -> dict[str, Any]:
    """Champion and start side by side, for the sentence on top."""
    by_number = {row.generation: row for row in facts.rows}
    takeovers = len(facts.takeovers)
    return {
        "champion": by_number.get(facts.champion),
        "start": by_number.get(0),
        "last": facts.rows[-1] if facts.rows else None,
        "takeovers": takeovers,
        "teaching": sum(bool(one["trains"]) for one in facts.takeovers),
        "pairs": sum(int(one["admitted"]) for one in facts.takeovers),
        "promoted": sum(d["outcome"] == "promote" for d in facts.decisions),
        "km": sum(r.driven_km for r in facts.rounds),
    }


def _steps(seconds: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Steps by time with their share; the short ones together at the end."""
    total = sum(seconds.values()) or 1.0
    long = sorted(((n, s) for n, s in seconds.items() if s >= KEPT_S), key=lambda item: -item[1])
    short = sum(s for s in seconds.values() if s < KEPT_S)
    steps = [*long, *([("all others", short)] if short else [])]
    return [(name, spent, spent / total) for name, spent in steps]


def _heat(share: float) -> str:
    """Background of a cell: orange below one half, blue above; faint in the middle, readable on light and on dark."""
    red, green, blue = (213, 94, 0) if share < 0.5 else (86, 180, 233)
    return f"rgba({red},{green},{blue},{0.06 + 1.0 * abs(share - 0.5):.2f})"


def ending(success: bool, infractions: Sequence[str], end: str) -> str:
    """How a drive ended, in words: passed, or what went wrong."""
    if success:
        return "passed"
    wrong = list(dict.fromkeys(infractions))
    told = any(end in name for name in wrong)  # collision_vehicle says collision already
    if end != "route_complete" and not told:
        wrong.append(end)
    return ", ".join(wrong).replace("_", " ") or "route complete"


def _ending_of(result: CaseResult) -> str:
    return ending(result.success, result.infractions, result.end)


def _passed(rows: Sequence[TypeRow], generation: int) -> str:
    """Cases of a group that a generation passed, of those that it drove."""
    cells = [row.cells[generation] for row in rows if generation in row.cells]
    return f"{sum(p for p, _ in cells)}/{sum(n for _, n in cells)}" if cells else "–"


def _failed(row: TypeRow) -> bool:
    return any(passed < cases for passed, cases in row.cells.values())


def _percent(share: float | None, digits: int = 0) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}\u00a0%"


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def _estimate(estimate: Any, digits: int = 1, scale: float = 1.0) -> str:
    """Mean and interval of an `Estimate`, signed."""
    if estimate is None:
        return "–"
    low, high = scale * estimate.lower, scale * estimate.upper
    return f"{_signed(scale * estimate.mean, digits)} [{_signed(low, digits)}, {_signed(high, digits)}]"
