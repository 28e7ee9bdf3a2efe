"""`loop report`: the pages of a run and of its generations, with what has to be driven for them.

The short page that `loop run` ends with drives nothing. This one drives a generation's best and worst gate cases again, with
recording, for film strips (kept in `cache/films/`), and on request every generation in the scenes of every round's takeovers
(kept among the evaluations). Whatever was driven before is not driven again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .evaluate import films, forgetting
from .evaluate.case_films import CaseFilms
from .evaluate.films import Still
from .evaluate.generation_report import GenerationFacts, generation_facts
from .evaluate.report import generation_page, plot, run_page
from .evaluate.run_facts import RunFacts, run_facts, run_named
from .evaluate.run_report import PAGE
from .evaluate.variety import in_turn
from .store import history, queries
from .store.episodes import EpisodeReader

if TYPE_CHECKING:
    from .loop import Loop

STRIPS = 6  # takeovers of a round with pictures in the page of the run; the page of a generation shows its round's all


@dataclass(frozen=True, slots=True)
class Written:
    """What `loop report` has written: the facts of each page, and where the pages are."""

    run: RunFacts
    generations: tuple[GenerationFacts, ...]
    pages: tuple[Path, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "run": self.run.as_dict(),
            "generations": [one.as_dict() for one in self.generations],
            "pages": [str(path) for path in self.pages],
        }


class Reporter:
    """Reports of one home.

    Args:
        loop: The home, with its configuration.
        run: Beginning of the run's id; "" takes the newest.

    Raises:
        UsageError: There is no such run.
    """

    def __init__(self, loop: Loop, run: str = "") -> None:
        self._loop = loop
        self._store = loop.store
        self._run_id = run_named(loop.store, run)
        self._cases = CaseFilms(
            loop.store, loop.rollouts, loop.champions.policy, loop.progress, loop.config.policy.setting
        )
        self._drawn: dict[str, tuple[Still, ...]] = {}

    def triangle(self, cases: int = forgetting.CASES) -> None:
        """Drive what the forgetting triangle lacks: the takeovers' scenes, and what `loop takeovers certify` has admitted.

        Args:
            cases: At most so many a round.
        """
        wanted = forgetting.takeover_cases(self._store, self._run_id, cases)
        if not wanted:
            raise UsageError(
                "no round of this run has a takeover that teaches",
                fix="a triangle needs `loop run --rounds 1`",
            )
        numbers, evaluator = self._numbers(), self._loop.evaluator
        certified = self._loop.takeover_cases
        every = [case for some in wanted.values() for case in some]
        done = all(len(evaluator.known(g, forgetting.SUITE, every)) == len(every) for g in numbers)
        if done and not queries.certified(self._store):
            return
        with self._loop.rollouts():  # started once for all
            forgetting.drive(evaluator, numbers, wanted)
            for number in numbers:
                certified.drive(number)

    def write(self, output: Path | None = None, *, generation: int | None = None, best: int = 2) -> Written:
        """Write the pages and log each to its run in MLflow.

        Args:
            output: File of the page of the run, or with `generation` of its page; None takes `loop_report.html`, or
                `loop_report-generation-N.html`, of the home. Pages of generations lie beside the page of the run.
            generation: Only the page of this one; None writes all.
            best: So many best and worst cases of each generation as films; 0 drives nothing.
        """
        if output is not None and output.is_dir():
            raise UsageError(f"--output {output} is a folder", fix="name a file, for example report.html")
        store, config = self._store, self._loop.config
        run = run_facts(store, self._run_id, config)
        numbers = self._numbers(run.champion) if generation is None else [generation]
        page = output if output is not None and generation is None else self._loop.home / PAGE
        beside = {number: page.with_name(f"{page.stem}-generation-{number}.html") for number in numbers}
        if generation is not None and output is not None:
            beside = {generation: output}
        facts = [generation_facts(store, number, run, config) for number in numbers]
        shown = self._cases.films(facts, best) if best else {}
        linked = generation is None or page.exists()
        pages: list[Path] = []
        for one in facts:
            strips = self._strips([t["takeover_id"] for t in one.takeovers], run)
            path = beside[one.generation]
            pages.append(
                generation_page(
                    one,
                    path,
                    films=shown.get(one.generation),
                    strips=strips,
                    back=page.name if linked and path.parent == page.parent else "",
                )
            )
            version = self._loop.registry.version(int(one.made["version"]))
            self._loop.registry.log_file(version.run_id, path)
            self._loop.registry.log_metrics(version.run_id, _metrics(one), step=int(one.made["round"]))
        if generation is None:
            picture = plot(run, page.with_suffix(".png"))
            strips = self._strips(_varied(run.takeovers, STRIPS), run)
            links = {number: path.name for number, path in beside.items()}
            pages.insert(
                0, run_page(run, picture, page, films=shown.get(run.champion), strips=strips, links=links)
            )
            parent = store.step_done(self._run_id, 0, "mlflow")
            if parent is not None:
                for path in (picture, page):
                    self._loop.registry.log_file(parent["parent"], path)
        return Written(run, tuple(facts), tuple(pages))

    def _numbers(self, *others: int) -> list[int]:
        """Generations of the run, the first one whoever made it, and some others."""
        rows = history.generations_of(self._store, self._run_id)
        return sorted({0, *others, *(int(row["generation"]) for row in rows)})

    def _strips(self, names: Sequence[str], run: RunFacts) -> dict[str, tuple[Still, ...]]:
        """Pictures of takeovers, from the sealed drives; those whose drive was removed have none."""
        rows = {one["takeover_id"]: one for one in run.takeovers}
        there = {name: self._loop.home / rows[name]["path"] for name in names if name not in self._drawn}
        there = {name: path for name, path in there.items() if path.is_dir()}
        if there:
            self._loop.progress.stage("film strips of takeovers", len(there))
        for name, path in there.items():
            self._drawn[name] = films.takeover_stills(EpisodeReader(path), int(rows[name]["onset_tick"]))
            self._loop.progress.advance()
        return {name: self._drawn[name] for name in names if name in self._drawn}


def _metrics(facts: GenerationFacts) -> dict[str, float]:
    """Caution and forgetting of a generation for its run in MLflow; what was not measured is left out."""
    row, kept = facts.ledger, facts.transfer
    found: dict[str, float | None] = {}
    if row is not None:
        found["caution/phantom_per_km"] = row.figures.phantom_per_km
        found["caution/standstill_share"] = row.figures.standstill_share
        found["caution/progress"] = row.figures.progress
    if row is not None and row.champion is not None and row.champion.time_lost is not None:
        found["caution/time_lost_s"] = row.champion.time_lost.mean
    if kept is not None and kept.backward is not None:
        found["forgetting/backward_transfer"] = kept.backward.mean
    return {name: value for name, value in found.items() if value is not None}


def _varied(takeovers: Sequence[Mapping[str, Any]], number: int) -> list[str]:
    """So many takeovers of each round, types in turn, those that gave most pairs first."""
    by_round: dict[int, list[Mapping[str, Any]]] = {}
    for one in sorted(takeovers, key=lambda one: (-one["admitted"], one["takeover_id"])):
        by_round.setdefault(one["round"], []).append(one)
    return [
        one["takeover_id"]
        for some in by_round.values()
        for one in in_turn(some, lambda one: str(one["scenario"]))[:number]
    ]
