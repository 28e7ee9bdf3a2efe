"""Films of the best and worst gate cases: evaluation records nothing, so these are driven again, with recording.

The drives lie in `cache/films/` of the home, outside the store: nothing trains on them and no query meets them. A case is
driven once for a set of weights.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ..collect.fleet import BatchPlanner, Fleet
from ..collect.jobs import EpisodeJob
from ..errors import SimulatorError
from ..store import history
from ..store.database import Store
from ..store.episodes import EpisodeReader, complete
from ..vocabulary import Case
from .closed_loop import CaseResult
from .evaluator import Progress
from .films import Film, closest_tick, last_stills
from .generation_report import CasePair, GenerationFacts
from .report import ending
from .variety import in_turn

_NAMESPACE = uuid.UUID("2f0c0f5e-54a9-4a0b-9a35-70c6b6f1d0aa")
AFTER_TICKS = 20  # of a strip without a failure: a second after the scene was decided


class CaseFilms:
    """Drives and shows cases of one home.

    Args:
        store: The index; the films lie beside it.
        rollouts: Gives the workers, started when something has to be driven.
        policy: Loads a generation's policy.
        progress: Where to say how far it is.
        setting: `PolicyConfig.setting`.
    """

    def __init__(
        self,
        store: Store,
        rollouts: Callable[[], AbstractContextManager[Fleet]],
        policy: Callable[[int], BatchPlanner],
        progress: Progress,
        setting: str = "",
    ) -> None:
        self._store = store
        self._home = store.home
        self._rollouts = rollouts
        self._policy = policy
        self._progress = progress
        self._setting = setting

    def films(self, facts: Sequence[GenerationFacts], best: int) -> dict[int, dict[str, list[Film]]]:
        """By generation and heading: films of the worst cases, and of the best ones beside what the parent did there.

        Args:
            facts: Of the generations.
            best: So many of each kind.

        Raises:
            SimulatorError: A drive failed on the simulator's side in every try.
        """
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
        roots, names, setting = {}, {}, self._setting
        left: dict[int, list[Case]] = {}
        for number, cases in wanted.items():
            sha256 = str(history.generation(self._store, number)["sha256"])
            roots[number] = self._home / "cache" / "films" / sha256[:16] / "episodes"
            there = {path.name for path in complete(roots[number])}
            for case in cases:
                names[number, case] = str(uuid.uuid5(_NAMESPACE, f"{sha256}{setting}/{case.case_id}"))
                if names[number, case] not in there:
                    left.setdefault(number, []).append(case)
        if left:
            with self._rollouts() as fleet:  # started once for all
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
        progress = self._progress
        progress.stage(f"films: generation {number} drives again", len(cases))
        jobs = []
        for case in cases:
            shutil.rmtree(root / names[number, case], ignore_errors=True)  # a kill left half of it
            jobs.append(EpisodeJob(names[number, case], case, generation=str(number), record=root))
        policy = self._policy(number)
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
    return Film(f"{pair.case_id}: generation {number}", _said(pair.after, reader), last_stills(reader))


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
        strips.append(Film(f"{pair.case_id}: generation {facts.parent}", note, last_stills(old[case], until)))
    strips.append(
        Film(
            f"{pair.case_id}: generation {facts.generation}",
            _said(pair.after, own[case]),
            last_stills(own[case], until),
        )
    )
    return strips


def _worst(cases: Sequence[CasePair], number: int) -> list[CasePair]:
    """Failures by driving score, lost ones first, each type once before any twice."""
    failed = [one for one in cases if not one.after.success]
    failed.sort(key=lambda one: (one.change != "lost", one.after.ds, one.case_id))
    return in_turn(failed, _type)[:number]


def _best(cases: Sequence[CasePair], number: int) -> list[CasePair]:
    """Gained cases by how bad the parent was; of a generation without a parent the passed hazards."""
    if any(one.before is not None for one in cases):
        gained = [one for one in cases if one.change == "gained"]
        gained.sort(key=lambda one: (one.before.ds if one.before else 0.0, one.case_id))
        return in_turn(gained, _type)[:number]
    passed = [one for one in cases if one.after.success and not one.after.calm]
    return in_turn(passed, _type)[:number]


def _type(pair: CasePair) -> str:
    return pair.after.case.scenario


def _until(own: EpisodeReader, old: EpisodeReader | None) -> int:
    """Where both strips of a case end: where the parent's drive ended, or a second after the scene was decided."""
    if old is not None and old.frame_ticks[-1] <= own.frame_ticks[-1]:
        return old.frame_ticks[-1]
    return closest_tick(own) + AFTER_TICKS


def _said(counted: CaseResult, reader: EpisodeReader) -> str:
    """How the drive in the pictures ended; the result that counted is told when it was another."""
    again = reader.outcome
    words = ending(again.success, [one.kind for one in again.infractions], again.end)
    note = f"driven again for this page: {words}, driving score {again.ds:.0f}"
    if (again.success, round(again.ds, 3)) != (counted.success, round(counted.ds, 3)):
        before = ending(counted.success, counted.infractions, counted.end)
        note += f"; when it counted: {before}, driving score {counted.ds:.0f}"
    return note
