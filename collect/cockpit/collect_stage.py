"""A human at the wheel for `loop drive` and for the collect stage of `loop run`; needs the loop only as a `Host`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from ...config import DriveConfig, LoopConfig
from ...errors import TakeoverError, UsageError
from ...sim_bridge.scenarios.cases import NOMINAL_TYPES
from ...store import queries
from ...store.database import Store
from ...store.episodes import EpisodeReader, complete
from ..help_requests import asked_in
from ..jobs import EpisodeJob
from .confidence import asked_row
from .schedule import Schedule, driven_cases, tallies
from .screens import Saying
from .sitting import (
    Car,
    Driven,
    Itinerary,
    Roads,
    Sitting,
    SittingSummary,
    Trip,
    end_page,
    keep_words,
    takeover_lines,
)

ID_CHARACTERS = 12


class Cockpit(Protocol):
    """What is needed of `window.CockpitWindow`; tests have one without a screen."""

    def show(self, page: Any) -> str: ...  # noqa: D102
    def work(self, title: str, words: str, task: Callable[[], None]) -> None: ...  # noqa: D102
    def prepare(self, car: Car) -> None: ...  # noqa: D102
    def drive(self, order: Any) -> Driven: ...  # noqa: D102


def drive_freely(
    store: Store,
    config: DriveConfig,
    window: Cockpit,
    car: Callable[[], Car],
    label: Callable[[Sequence[str]], object],
    seed: int,
) -> SittingSummary | None:
    """`loop drive`: a sitting with freely chosen cases, then segments and pairs of it, then the end page.

    Args:
        store: The home's.
        config: Of the sitting.
        window: Shows and drives.
        car: The generation behind the wheel, looked up again before every drive.
        label: Cuts drives into segments and pairs, by their ids.
        seed: Of the choice of cases.

    Returns:
        What came of it; None when the driver did not consent.
    """
    if config.free and config.scenarios:
        raise UsageError("--free and --scenarios exclude each other", fix="give one of them")
    session_id = uuid.uuid4().hex[:ID_CHARACTERS]
    first = car()
    schedule = Schedule(
        tallies(store, first.generation),
        seed,
        NOMINAL_TYPES if config.free else config.scenarios,
        driven_cases(store),
    )

    def roads(practising: Callable[[], bool]) -> Itinerary:
        return Roads(schedule, session_id, practising, config.minutes)

    summary = Sitting(store.home, config, window, car, roads, session_id).run()
    return _ended(store, summary, window, label)


def drive_jobs(
    store: Store,
    config: DriveConfig,
    window: Cockpit,
    car: Callable[[], Car],
    jobs: Sequence[EpisodeJob],
    label: Callable[[Sequence[str]], object],
    told: Callable[[Driven], None] = lambda _: None,
) -> SittingSummary | None:
    """The collect stage of `loop run`: the drives of a round that are not sealed yet, after practice if there is any left.

    The sitting ends with the same page as `drive_freely`'s, for the drives of this sitting; the round labels them once
    more in its own step, with what was said on that page.

    Args:
        store: The home's.
        config: Of the sitting.
        window: Shows and drives.
        car: The generation behind the wheel.
        jobs: Of the round.
        label: Cuts drives into segments and pairs, by their ids.
        told: Called after each drive.

    Raises:
        TakeoverError: The driver left before the last one; the same command continues.
    """
    there = {path.name for path in complete(store.episodes)}
    left = [job for job in jobs if job.episode_id not in there]
    if not left:
        return None
    queue = JobQueue(left, len(jobs), told, Schedule({}, 0, driven=driven_cases(store)))
    summary = Sitting(store.home, config, window, car, queue.with_practice, left[0].session_id).run()
    summary = _ended(store, summary, window, label)
    if queue.left:
        raise TakeoverError(
            f"{queue.left} of {len(jobs)} drives are left", fix="run the same command again to drive on"
        )
    return summary


class JobQueue:
    """The jobs of a round as drives.

    Args:
        jobs: Those to drive.
        total: Of the round.
        told: Called after each.
        practice: Gives the cases that a new driver practises on.
    """

    def __init__(
        self, jobs: Sequence[EpisodeJob], total: int, told: Callable[[Driven], None], practice: Schedule
    ) -> None:
        self._jobs, self._total, self._told, self._practice = list(jobs), total, told, practice
        self._practising: Callable[[], bool] = lambda: False

    @property
    def left(self) -> int:
        """Jobs that have not been driven."""
        return len(self._jobs)

    def with_practice(self, practising: Callable[[], bool]) -> JobQueue:
        """Now it is known who drives."""
        self._practising = practising
        return self

    def next(self, number: int) -> Trip | None:
        """Practice, or the next job."""
        if self._practising():
            case = self._practice.next(number, practice=True)
            return Trip(case, str(uuid.uuid4()), "practice", "practice")
        if not self._jobs:
            return None
        job = self._jobs[0]
        label = f"{self._total - len(self._jobs) + 1} of {self._total}"
        return Trip(job.case, job.episode_id, job.session_id, label, job.seed)

    def done(self, trip: Trip, driven: Driven) -> None:
        """A sealed drive is off the list; one that the simulator lost is driven again."""
        job = self._jobs[0] if self._jobs else None
        mine = job is not None and (trip.case, trip.session_id) == (job.case, job.session_id)
        if mine and driven.path is not None and not driven.fault:
            self._jobs.pop(0)
            self._told(driven)


def with_takeovers(
    store: Store, summary: SittingSummary, window: Cockpit, label: Callable[[Sequence[str]], object]
) -> SittingSummary:
    """Show the end page if anybody looks, learn from what is said there, and add the takeovers to the summary."""
    lines = takeover_lines(store, summary.episodes)
    page = end_page(summary, lines)
    if not summary.stopped:
        window.show(page)
    if page.said:
        window.work("Thank you", "Your words are kept …", partial(_hear, store, page.said, label))
        lines = takeover_lines(store, summary.episodes)
    rows = tuple(
        {
            "episode_id": line.episode_id,
            "onset_tick": line.onset_tick,
            "words": line.words,
            "verdict": line.verdict,
            "reason": line.reason,
            "pairs": line.pairs,
            "trains": line.trains,
            "why_not": line.why_not,
        }
        for line in lines
    )
    there = {path.name: path for path in complete(store.episodes)}
    asked = asked_in(EpisodeReader(there[name]) for name in summary.episodes if name in there)
    return replace(summary, takeovers=rows, pairs=sum(line.pairs for line in lines), asked=asked_row(asked))


def _ended(
    store: Store,
    summary: SittingSummary | None,
    window: Cockpit,
    label: Callable[[Sequence[str]], object],
) -> SittingSummary | None:
    """Label what was driven while the window is still there to say what became of it, then show the end page."""
    if summary is None or not summary.drives:
        store.recover()
        return summary
    window.work(
        "Well driven", "Your takeovers become segments and pairs …", partial(_learn, store, summary, label)
    )
    return with_takeovers(store, summary, window, label)


def _learn(store: Store, summary: SittingSummary, label: Callable[[Sequence[str]], object]) -> None:
    store.recover()
    whole = {path.name for path in complete(store.episodes)}
    label([name for name in summary.episodes if name in whole])


def _hear(store: Store, said: Sequence[Saying], label: Callable[[Sequence[str]], object]) -> None:
    changed = keep_words(store, said)
    if changed:
        label(changed)


def sit(
    store: Store,
    config: LoopConfig,
    car: Callable[[], Car],
    label: Callable[[Sequence[str]], object],
    *,
    demo: bool = False,
) -> SittingSummary | None:
    """`drive_freely` in a real window."""
    from .window import CockpitWindow

    with CockpitWindow(store.home, config.drive, config.sim, demo=demo) as window:
        return drive_freely(store, config.drive, window, car, label, config.seed)


def drive_round(
    store: Store,
    config: LoopConfig,
    car: Callable[[], Car],
    jobs: Sequence[EpisodeJob],
    label: Callable[[Sequence[str]], object],
    told: Callable[[], None],
) -> dict[str, Any]:
    """`drive_jobs` in a real window; gives the payload of the collect step."""
    from .window import CockpitWindow

    with CockpitWindow(store.home, config.drive, config.sim) as window:
        drive_jobs(store, config.drive, window, car, jobs, label, lambda _: told())
    driven = [
        row["episode_id"]
        for session in sorted({job.session_id for job in jobs})
        for row in queries.episodes(store, session_id=session, limit=1_000_000)
    ]
    return {"episodes": len(jobs), "faults": 0, "ids": sorted({*driven, *(job.episode_id for job in jobs)})}
