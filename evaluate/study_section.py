"""What a part of the study says: verdicts, tables, pictures, commands; kept as JSON so that no part is done twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..scoring.statistics import Estimate

Result = Literal["met", "missed", "not shown", "not there"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim of the protocol.

    Attributes:
        claim: What was asked, with its figure, fixed beforehand.
        figure: What came of it.
        result: met, missed, not shown (the evidence does not suffice), not there (not measured).
    """

    claim: str
    figure: str
    result: Result


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the study.

    Attributes:
        name: Of the part, as `--parts` takes it.
        title: Heading.
        text: Paragraphs before the tables.
        verdicts: For the page's first table.
        tables: In order.
        pictures: File names beside the page, with what they show.
        commands: That make this part, or one row of it, again.
        missing: What is not there.
        seconds: That it took.
    """

    name: str
    title: str
    text: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Section:
        """Inverse of `to_json`."""
        return cls(
            name=found["name"],
            title=found["title"],
            text=tuple(found["text"]),
            verdicts=tuple(Verdict(**one) for one in found["verdicts"]),
            tables=tuple(
                Table(one["title"], tuple(one["head"]), tuple(map(tuple, one["rows"])))
                for one in found["tables"]
            ),
            pictures=tuple((name, shown) for name, shown in found["pictures"]),
            commands=tuple(found["commands"]),
            missing=tuple(found["missing"]),
            seconds=found["seconds"],
        )


def percent(share: float, interval: Sequence[float] | None = None) -> str:
    """Shares as 54.0 [44.0, 63.0]; a dash for none."""
    if share != share:
        return "–"
    if interval is None:
        return f"{100 * share:.0f}"
    return f"{100 * share:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def points(value: Estimate | None, scale: float = 100.0) -> str:
    """A difference as +10.0 [+0.0, +20.0]; a dash for none."""
    if value is None or value.mean != value.mean:
        return "–"
    return f"{scale * value.mean:+.1f} [{scale * value.lower:+.1f}, {scale * value.upper:+.1f}]"


def at_least(bound: float, value: Estimate) -> Result:
    """Met where the mean reaches the bound and the interval lies above zero; not shown where only the mean does."""
    if value.mean < bound:
        return "missed"
    return "met" if value.lower > 0 else "not shown"
