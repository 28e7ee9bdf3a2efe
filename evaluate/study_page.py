"""The study's page: what was claimed and what came of it first, then each part with its tables, pictures and commands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .study_budget import PARTS, Budget
from .study_section import Section, Table, Verdict

QUICK_MARK = "**quick: few cases, few steps; it shows that the study runs, not what is true**"


def write_page(path: Path, sections: Sequence[Section], pictures: Path, budget: Budget, about: str) -> Path:
    """Write the page.

    Args:
        path: The Markdown file.
        sections: Parts that are done.
        pictures: Folder of their pictures; linked from the page by a relative path.
        budget: What was done.
        about: What was studied: home, generations, version.

    Returns:
        The path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = page(sections, Path(os.path.relpath(pictures, path.parent)), budget, about)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path


def page(sections: Sequence[Section], pictures: Path, budget: Budget, about: str) -> str:
    """The page's text."""
    done = {section.name for section in sections}
    mark = f" ({QUICK_MARK})" if budget.name == "quick" else ""
    lines = ["# Study: do takeovers teach?" + mark, "", about, "", *_verdicts(sections, mark)]
    missing = [name for name in PARTS if name not in done]
    if missing:
        lines += ["", f"Parts that are not there: {', '.join(missing)}."]
    for section in sections:
        lines += ["", f"## {section.title}"]
        for paragraph in section.text:
            lines += ["", paragraph]
        for table in section.tables:
            lines += ["", f"**{table.title}**{mark}", "", *_table(table)]
        for name, shown in section.pictures:
            lines += ["", f"![{shown}]({(pictures / name).as_posix()})"]
        for gap in section.missing:
            lines += ["", f"Not there: {gap}."]
        if section.commands:
            lines += ["", "Made by:", "", *(f"    {command}" for command in section.commands)]
        lines += ["", f"{section.seconds:.0f} s."]
    return "\n".join(lines) + "\n"


def _verdicts(sections: Sequence[Section], mark: str) -> list[str]:
    found: list[tuple[str, Verdict]] = [
        (section.name, verdict) for section in sections for verdict in section.verdicts
    ]
    if not found:
        return ["Nothing is done yet."]
    rows = tuple((verdict.claim, verdict.figure, f"**{verdict.result}**", name) for name, verdict in found)
    return [f"## What was claimed, and what came of it{mark}", "", *_table(Table("", HEAD, rows))]


HEAD = ("claim", "figure", "result", "part")


def _table(table: Table) -> list[str]:
    return [
        "| " + " | ".join(table.head) + " |",
        "|" + "---|" * len(table.head),
        *("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in table.rows),
    ]
