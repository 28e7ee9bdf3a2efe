"""`loop study`: the protocol of the proof, part after part, on one finished home; resumable, within a budget.

Drives are kept in the home's store, trained arms under `<home>/ablation/`, whole runs under `<home>/study/runs/`, and each
finished part as JSON beside the page: the same command does only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import UsageError
from .evaluate.study_budget import FIRST_FINAL_SEED, PARTS, Budget
from .evaluate.study_page import write_page
from .evaluate.study_section import Section
from .refine.arms import shortened
from .store import history, queries
from .study_parts import StudyParts

if TYPE_CHECKING:
    from .loop import Loop


class Study:
    """One study of one home.

    Args:
        loop: The home, with its configuration.
        budget: Sizes.
        page: Where to write the page; None for beside its pictures, in `<home>/study/<budget>/`.
        runs: Homes of finished runs for the headline; without any, the budget's runs are made.
    """

    def __init__(
        self, loop: Loop, budget: Budget, *, page: Path | None = None, runs: Sequence[Path] = ()
    ) -> None:
        self.loop, self.budget, self._runs = loop, budget, tuple(runs)
        self.folder = loop.home / "study" / budget.name
        self.page = page.resolve() if page is not None else self.folder / "study.md"

    def run(self, parts: Sequence[str] = (), minutes: float = 0.0) -> dict[str, Any]:
        """Do what is not done yet, and write the page after each part.

        Args:
            parts: Of PARTS; none for all.
            minutes: No part begins after them, and no arm that would probably end later; 0 does all.

        Returns:
            What `loop study --json` prints: page, verdicts, and what is not there.

        Raises:
            UsageError: An unknown part.
        """
        unknown = [name for name in parts if name not in PARTS]
        if unknown:
            raise UsageError(f"unknown part `{unknown[0]}`", fix=f"use some of {', '.join(PARTS)}")
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline_s = time.monotonic() + 60 * minutes if minutes else float("inf")
        for name in [name for name in PARTS if not parts or name in parts]:
            if name != "gate":
                self._finished_home()
            found = self._kept(name)
            if found is None or found.missing:
                if time.monotonic() >= deadline_s:
                    self.loop.progress.say(f"no time left for `{name}`; the same command goes on from here")
                    break
                self.loop.progress.say(f"study: {name}")
                self._keep(self._made(name, deadline_s))
            self._write()
        return self._write()

    def _made(self, name: str, deadline_s: float) -> Section:
        started_s, config = time.monotonic(), self.loop.config
        refine = shortened(config.refine, self.budget.steps)
        self.loop.config = config.model_copy(update={"refine": refine})
        try:
            parts = StudyParts(self.loop, config, self.budget, self.folder, self._runs, deadline_s)
            section: Section = getattr(parts, name)()
        finally:
            self.loop.config = config
        return replace(section, seconds=time.monotonic() - started_s)

    def _finished_home(self) -> None:
        """A home without a finished run gets one first."""
        if history.champion(self.loop.store) is None or not queries.rounds(self.loop.store):
            self.loop.progress.say("this home has no finished run: it gets one first")
            self.loop.run()

    def _write(self) -> dict[str, Any]:
        sections = [found for name in PARTS if (found := self._kept(name)) is not None]
        path = write_page(self.page, sections, self.folder, self.budget, self._about())
        return {
            "page": str(path),
            "budget": self.budget.name,
            "verdicts": [
                {"part": section.name, **asdict(verdict)}
                for section in sections
                for verdict in section.verdicts
            ],
            "not_there": [
                *(name for name in PARTS if name not in {section.name for section in sections}),
                *(gap for section in sections for gap in section.missing),
            ],
        }

    def _key(self, name: str) -> str:
        """Of what a part's result depends on: with other generations, sizes or settings it is another result."""
        what: list[Any] = [name, asdict(self.budget), __version__]
        if name != "gate":
            store, config = self.loop.store, self.loop.config
            what += [
                [row["sha256"] for row in queries.generations(store)],
                history.champion(store),
                config.model_dump(mode="json", exclude={"rounds", "sim", "drive"}),
                [str(run.resolve()) for run in self._runs],
            ]
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def _kept(self, name: str) -> Section | None:
        try:
            found = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return Section.from_json(found["section"]) if found["key"] == self._key(name) else None

    def _keep(self, section: Section) -> None:
        path = self.folder / f"{section.name}.json"
        temporary = path.with_suffix(".tmp")
        kept = {"key": self._key(section.name), "section": section.to_json()}
        temporary.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        temporary.replace(path)

    def _about(self) -> str:
        store = self.loop.store
        numbers = [row["generation"] for row in queries.generations(store)]
        there = f"generations 0 to {numbers[-1]}, champion {history.champion(store)}" if numbers else "empty"
        size = " --quick" if self.budget.name == "quick" else ""
        return (
            f"takeover-loop {__version__}; home `{self.loop.home.name}`: {there}. Final seeds from {FIRST_FINAL_SEED}; "
            "95 % intervals in brackets. The rules, sizes and seeds were fixed before any result. The whole again: "
            f"`loop study{size} --home {self.loop.home}`."
        )
