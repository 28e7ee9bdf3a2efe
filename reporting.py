"""`loop report`: the pages of a run and of its generations, with what has to be driven for them.

The short page that `loop run` ends with drives nothing. This one drives a generation's best and worst gate cases again, with
recording, for film strips (kept in `cache/films/`), and on request every generation in the scenes of every round's takeovers
(kept among the evaluations). Whatever was driven before is not driven again.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .collect.jobs import EpisodeJob
from .errors import SimulatorError, UsageError
from .evaluate import films, forgetting
from .evaluate.films import Film, Still
from .evaluate.generation_report import CasePair, GenerationFacts, generation_facts
from .evaluate.report import ending, generation_page, plot, run_page
from .evaluate.run_report import RunFacts, run_facts, run_named
from .store import history
from .store.episodes import EpisodeReader, complete

if TYPE_CHECKING:
    from .collect.fleet import Fleet
    from .evaluate.closed_loop import CaseResult
    from .loop import Loop
    from .vocabulary import Case

PAGE = "loop_report.html"
PICTURE = "loop_report.png"
STRIPS = 6  # takeovers of a round with pictures in the page of the run; the page of a generation shows its round's all
_NAMESPACE = uuid.UUID("2f0c0f5e-54a9-4a0b-9a35-70c6b6f1d0aa")


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
        self._drawn: dict[str, tuple[Still, ...]] = {}

    def triangle(self, cases: int = forgetting.CASES) -> None:
        """Drive what the forgetting triangle lacks.

        Args:
            cases: At most so many a round.
        """
        wanted = forgetting.takeover_cases(self._store, self._run_id, cases)
        if not wanted:
            raise UsageError(
                "no round of this run has a takeover that teaches",
                fix="a triangle needs `loop run --rounds 1`",
            )
        numbers, known = self._numbers(), self._loop.evaluator.known
        if all(
            len(known(g, forgetting.SUITE, some)) == len(some) for g in numbers for some in wanted.values()
        ):
            return
        with self._loop.rollouts():  # started once for all
            forgetting.drive(self._loop.evaluator, numbers, wanted)

    def write(self, output: Path | None = None, *, generation: int | None = None, best: int = 2) -> Written:
        """Write the pages and log each to its run in MLflow.

        Args:
            output: File of the page of the run, or with `generation` of its page; None takes `loop_report.html`, or
                `loop_report-generation-N.html`, of the home. Pages of generations lie beside the page of the run.
            generation: Only the page of this one; None writes all.
            best: So many best and worst cases of each generation as films; 0 drives nothing.
        """
        store, config = self._store, self._loop.config
        run = run_facts(store, self._run_id, config)
        numbers = self._numbers() if generation is None else [generation]
        page = output if output is not None and generation is None else self._loop.home / PAGE
        beside = {number: page.with_name(f"{page.stem}-generation-{number}.html") for number in numbers}
        if generation is not None and output is not None:
            beside = {generation: output}
        facts = [generation_facts(store, number, run, config) for number in numbers]
        shown = self._films(facts, best) if best else {}
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
                    back=page.name if page.exists() else "",
                )
            )
            version = self._loop.registry.version(int(one.made["version"]))
            self._loop.registry.log_file(version.run_id, path)
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

    def _numbers(self) -> list[int]:
        """Generations of the run, and the first one whoever made it."""
        rows = history.generations_of(self._store, self._run_id)
        return sorted({0, *(int(row["generation"]) for row in rows)})

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

    def _films(self, facts: Sequence[GenerationFacts], best: int) -> dict[int, dict[str, list[Film]]]:
        """By generation: films of the worst cases, and of the best ones beside what the parent did there."""
        chosen = {one.generation: (_worst(one.cases, best), _best(one.cases, best)) for one in facts}
        wanted: dict[int, list[Case]] = {}
        for one in facts:
            worst, good = chosen[one.generation]
            wanted.setdefault(one.generation, []).extend(pair.after.case for pair in (*worst, *good))
            if one.parent is not None:
                wanted.setdefault(one.parent, []).extend(pair.after.case for pair in good)
        drives = self._driven({number: list(dict.fromkeys(cases)) for number, cases in wanted.items()})
        found = {}
        for one in facts:
            worst, good = chosen[one.generation]
            own, old = drives[one.generation], drives.get(-1 if one.parent is None else one.parent, {})
            found[one.generation] = {
                "Worst": [_film(pair, one.generation, own) for pair in worst],
                "Best" if one.parent is None else "Gained": [
                    film for pair in good for film in _before_and_after(pair, one, own, old)
                ],
            }
        return found

    def _driven(self, wanted: Mapping[int, Sequence[Case]]) -> dict[int, dict[Case, EpisodeReader]]:
        """Drives of generations in cases, with recording; those that are kept are not driven again."""
        roots, names, setting = {}, {}, self._loop.config.policy.setting
        left: dict[int, list[Case]] = {}
        for number, cases in wanted.items():
            sha256 = str(history.generation(self._store, number)["sha256"])
            roots[number] = self._loop.home / "cache" / "films" / sha256[:16] / "episodes"
            there = {path.name for path in complete(roots[number])}
            for case in cases:
                names[number, case] = str(uuid.uuid5(_NAMESPACE, f"{sha256}{setting}/{case.case_id}"))
                if names[number, case] not in there:
                    left.setdefault(number, []).append(case)
        if left:
            with self._loop.rollouts() as fleet:  # started once for all
                for number, cases in left.items():
                    names |= self._record(fleet, number, cases, roots[number], names)
        return {
            number: {case: EpisodeReader(roots[number] / names[number, case]) for case in cases}
            for number, cases in wanted.items()
        }

    def _record(
        self,
        fleet: Fleet,
        number: int,
        cases: Sequence[Case],
        root: Path,
        names: Mapping[tuple[int, Case], str],
    ) -> dict[tuple[int, Case], str]:
        """Drive cases into sealed episodes of their own, outside the store; gives the names that they have got."""
        progress = self._loop.progress
        progress.stage(f"films: generation {number} drives again", len(cases))
        jobs = []
        for case in cases:
            shutil.rmtree(root / names[number, case], ignore_errors=True)  # a kill left half of it
            jobs.append(EpisodeJob(names[number, case], case, generation=str(number), record=root))
        policy = self._loop.champions.policy(number)
        results = fleet.run(jobs, policy, on_result=lambda _: progress.advance())
        faults = [one.fault for one in results if one.fault]
        if faults:
            raise SimulatorError(
                f"{len(faults)} of {len(jobs)} drives failed in the simulator: {faults[0]}",
                fix="run the command again; `--films 0` drives nothing",
            )
        return {(number, one.job.case): one.path.name for one in results if one.path is not None}


def _film(pair: CasePair, number: int, own: Mapping[Case, EpisodeReader]) -> Film:
    reader = own[pair.after.case]
    return Film(f"{pair.case_id}: generation {number}", _said(pair.after, reader), films.last_stills(reader))


def _before_and_after(
    pair: CasePair,
    facts: GenerationFacts,
    own: Mapping[Case, EpisodeReader],
    old: Mapping[Case, EpisodeReader],
) -> list[Film]:
    """The parent's drive above the generation's own, at the same times."""
    case, strips = pair.after.case, []
    until = _until(own[case], old.get(case))
    if case in old and pair.before is not None:
        note = _said(pair.before, old[case])
        strips.append(
            Film(f"{pair.case_id}: generation {facts.parent}", note, films.last_stills(old[case], until))
        )
    strips.append(
        Film(
            f"{pair.case_id}: generation {facts.generation}",
            _said(pair.after, own[case]),
            films.last_stills(own[case], until),
        )
    )
    return strips


def _worst(cases: Sequence[CasePair], number: int) -> list[CasePair]:
    """Failures by driving score, lost ones first, each type once before any twice."""
    failed = [one for one in cases if not one.after.success]
    failed.sort(key=lambda one: (one.change != "lost", one.after.ds, one.case_id))
    return _each_type_once(failed)[:number]


def _best(cases: Sequence[CasePair], number: int) -> list[CasePair]:
    """Gained cases by how bad the parent was; of a generation without a parent the passed hazards."""
    if any(one.before is not None for one in cases):
        gained = [one for one in cases if one.change == "gained"]
        gained.sort(key=lambda one: (one.before.ds if one.before else 0.0, one.case_id))
        return _each_type_once(gained)[:number]
    passed = [one for one in cases if one.after.success and not one.after.calm]
    return _each_type_once(passed)[:number]


def _each_type_once(cases: Sequence[CasePair]) -> list[CasePair]:
    seen: dict[str, int] = {}
    turns = []
    for one in cases:
        turns.append(seen.get(one.after.case.scenario, 0))
        seen[one.after.case.scenario] = turns[-1] + 1
    return [cases[at] for at in sorted(range(len(cases)), key=lambda at: (turns[at], at))]


def _varied(takeovers: Sequence[Mapping[str, Any]], number: int) -> list[str]:
    """So many takeovers of each round, types in turn, those that gave most pairs first."""
    by_round: dict[int, list[Mapping[str, Any]]] = {}
    for one in sorted(takeovers, key=lambda one: (-one["admitted"], one["takeover_id"])):
        by_round.setdefault(one["round"], []).append(one)
    chosen = []
    for some in by_round.values():
        seen: dict[str, int] = {}
        ranked = []
        for at, one in enumerate(some):
            turn = seen.get(one["scenario"], 0)
            seen[one["scenario"]] = turn + 1
            ranked.append((turn, at))
        chosen += [some[at]["takeover_id"] for _, at in sorted(ranked)[:number]]
    return chosen


def _until(own: EpisodeReader, old: EpisodeReader | None) -> int:
    """Where both strips of a case end: where the parent's drive ended, or a second after the scene was decided."""
    if old is not None and old.frame_ticks[-1] <= own.frame_ticks[-1]:
        return old.frame_ticks[-1]
    return films.closest_tick(own) + 20


def _said(counted: CaseResult, reader: EpisodeReader) -> str:
    """How the drive in the pictures ended; the result that counted is told when it was another."""
    again = reader.outcome
    words = ending(again.success, [one.kind for one in again.infractions], again.end)
    note = f"driven again for this page: {words}, driving score {again.ds:.0f}"
    if (again.success, round(again.ds, 3)) != (counted.success, round(counted.ds, 3)):
        before = ending(counted.success, counted.infractions, counted.end)
        note += f"; when it counted: {before}, driving score {counted.ds:.0f}"
    return note
