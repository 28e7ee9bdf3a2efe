"""One sitting of one driver: who, then drive after drive, then what became of the takeovers.

Nothing here draws or drives: pages and drives are the window's (`Window`), cases come from an `Itinerary`, and the store is
touched only before the first drive and after the last.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ...config import DriveConfig
from ...errors import SimulatorError
from ...store import queries
from ...store.database import Store
from ...vocabulary import TICK_S, Case, Outcome
from ..help_requests import Calibration, calibration_of
from ..labels import say
from ..recorder import Recording
from .confidence import asked_words, confidence_row, confidence_words, exposure_of
from .drivers import Driver, DriverBook
from .gauges import words_of
from .labels import WHY_NOT, WORDS
from .schedule import Schedule
from .screens import QUIT, ConsentPage, EndPage, Facts, Page, Saying, StartPage, TakeoverLine, counted

MAX_FAULTS = 3  # of the simulator in a row; then the sitting ends


@dataclass(frozen=True, slots=True)
class Car:
    """The generation behind the wheel.

    Attributes:
        generation: Its number as text.
        weights: Its verified folder; never written to.
        sha256: Of its manifest, as evaluations name it.
    """

    generation: str
    weights: Path
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Trip:
    """One drive to make.

    Attributes:
        case: What to drive.
        episode_id: Under which it is recorded.
        session_id: Sitting or round that it belongs to.
        label: "3", or "3 of 10".
        seed: Kept with the episode.
    """

    case: Case
    episode_id: str
    session_id: str
    label: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DriveOrder:
    """What the window is asked to drive.

    Attributes:
        recording: Identity of the episode.
        car: Who drives.
        label: For the HUD.
        practice: It never trains; stored as an event.
        blind: The HUD hides the generation; stored as an event.
        unsure_m: Disagreement of plans above which the policy asks for help; inf for never.
        sure_because: Why it never asks for that; "" when it does, and in blind mode, where it would tell generations
            apart.
    """

    recording: Recording
    car: Car
    label: str
    practice: bool
    blind: bool
    unsure_m: float = math.inf
    sure_because: str = ""


@dataclass(frozen=True, slots=True)
class Driven:
    """How a drive ended.

    Attributes:
        outcome: Of the simulator.
        path: The sealed or salvaged episode; None when nothing is left of it.
        at_wheel_s: Simulated time, pauses left out.
        left: The driver wants no further drive.
        stopped: By a signal, or by closing the window: nobody looks at a last page.
        again: The driver wants this one from its start.
        fault: Of the simulator; "" for none.
        unrecorded: Why the drive, or its end, was not recorded; "" when it was.
    """

    outcome: Outcome
    path: Path | None
    at_wheel_s: float
    left: bool = False
    again: bool = False
    stopped: bool = False
    fault: str = ""
    unrecorded: str = ""


class Window(Protocol):
    """The cockpit's window with its children, as a sitting needs it."""

    def show(self, page: Page) -> str:
        """Run a page up to its answer."""
        ...

    def work(self, title: str, words: str, task: Callable[[], None]) -> None:
        """Do something that takes seconds while the window goes on answering."""
        ...

    def prepare(self, car: Car) -> None:
        """The world and this generation will be needed soon."""
        ...

    def drive(self, order: DriveOrder) -> Driven:
        """One drive in real time. The policy process gets the order's weights first, if it has others."""
        ...


class Itinerary(Protocol):
    """Gives the drives of a sitting."""

    def next(self, number: int) -> Trip | None:
        """The next drive; None when there is none left."""
        ...

    def done(self, trip: Trip, driven: Driven) -> None:
        """It was driven."""
        ...


@dataclass(frozen=True, slots=True)
class SittingSummary:
    """What came of a sitting; `--json` prints it.

    `confidence` has one entry for each generation: whether plans that disagree foresaw need on its recorded drives, at how
    many false requests per hour, above which disagreement it asks for help (None: it does not), and why not. `asked` is
    what it really asked for in this sitting.
    """

    driver: str
    session_id: str
    drives: int
    practice_drives: int
    minutes: float
    driven_km: float
    takeovers: tuple[dict[str, Any], ...] = ()
    pairs: int = 0
    episodes: tuple[str, ...] = ()
    generations: tuple[str, ...] = ()
    confidence: tuple[dict[str, Any], ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    left: bool = False
    stopped: bool = False
    blind: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def text(self) -> str:
        """For the terminal."""
        facts = Facts(self.drives, self.minutes, self.driven_km, len(self.takeovers), self.pairs)
        lines = [", ".join(facts.tiles)]
        for row in self.takeovers:
            said = ", ".join(WORDS.get(w, w) for w in (row["verdict"], row["reason"]) if w)
            came = counted(row["pairs"], "pair") if row["pairs"] else row["why_not"]
            lines.append(
                f"  {row['episode_id'][:8]} tick {row['onset_tick']:>5}  {row['words']:<40} {said:<28} {came}"
            )
        lines += [f"  {asked_words(self.asked)}"] if self.asked else []
        if not self.blind:
            lines += [f"  {confidence_words(row)}" for row in self.confidence]
        lines += [f"  fault: {fault}" for fault in self.faults]
        return "\n".join(lines)


class Roads:
    """Free choice of cases: practice first, then where takeovers teach most.

    Args:
        schedule: Chooses.
        session_id: Of the sitting.
        practising: Whether the driver still practises.
        minutes: No drive begins after so many; 0 for no end.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        schedule: Schedule,
        session_id: str,
        practising: Callable[[], bool],
        minutes: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schedule, self._session_id, self._practising = schedule, session_id, practising
        self._clock = clock
        self._until_s = clock() + 60.0 * minutes if minutes > 0.0 else None

    def next(self, number: int) -> Trip | None:
        """The next drive; None when the time is over."""
        if self._until_s is not None and self._clock() >= self._until_s:
            return None
        case = self._schedule.next(number, practice=self._practising())
        return Trip(case, str(uuid.uuid4()), self._session_id, f"{number + 1}")

    def done(self, trip: Trip, driven: Driven) -> None:
        """Learn from it."""
        if not driven.fault and not driven.left:
            failed = driven.outcome.takeovers > 0 or not driven.outcome.success
            self._schedule.learn(trip.case, failed)


@dataclass(slots=True)
class Sitting:
    """One sitting.

    Args:
        home: The home folder.
        config: Its settings.
        window: Shows and drives.
        car: Gives the generation behind the wheel; asked before each drive, so it changes only between drives.
        itinerary: Gives the drives, once the driver is known.
        session_id: Of this sitting.
    """

    home: Path
    config: DriveConfig
    window: Window
    car: Callable[[], Car]
    itinerary: Callable[[Callable[[], bool]], Itinerary]
    session_id: str
    _driver: Driver | None = None
    _faults: list[str] = field(default_factory=list)
    _confidence: dict[str, Calibration] = field(default_factory=dict)
    _drives: list[tuple[Trip, Driven, bool, str]] = field(default_factory=list)

    def run(self) -> SittingSummary | None:
        """From the first page to the last drive; None when the driver did not consent."""
        book = DriverBook(self.home)
        self._driver = self._who(book)
        if self._driver is None:
            return None
        roads = self.itinerary(self._practising)
        left = False
        faults_in_row = 0
        trip = roads.next(0)
        while trip is not None and not left:
            car = self.car()
            self.window.prepare(car)
            self._calibrate(car.generation)
            if not self._drives and not self._start(car, trip):
                left = True
                break
            practice = self._practising()
            order = self._order(trip, car, practice)
            driven = self.window.drive(order)
            self._driver = book.drove(self._driver.name, driven.at_wheel_s)
            self._drives.append((trip, driven, practice, car.generation))
            if not driven.again:
                roads.done(trip, driven)
            left = driven.left
            faults_in_row = faults_in_row + 1 if driven.fault else 0
            if driven.fault:
                self._faults.append(f"{trip.case.case_id}: {driven.fault}")
            elif driven.unrecorded:
                self._faults.append(f"{trip.case.case_id} is not recorded whole: {driven.unrecorded}")
            if faults_in_row == MAX_FAULTS:
                raise SimulatorError(
                    f"{MAX_FAULTS} drives in a row ended by a fault: {driven.fault}",
                    fix="see logs/world.log of the home, or run `loop doctor`",
                )
            if driven.again:
                trip = replace(trip, episode_id=str(uuid.uuid5(uuid.UUID(trip.episode_id), "again")))
            elif not left:
                trip = roads.next(len(self._drives))
        return self._summary(left)

    def _who(self, book: DriverBook) -> Driver | None:
        name = self.config.driver
        known = book.find(name) if name else book.latest()
        if known is not None:
            return known
        answer = self.window.show(ConsentPage(name))
        return None if answer == QUIT else book.consent(answer)

    def _practising(self) -> bool:
        return self._driver is not None and self._driver.driven_s < self.config.practice_s

    def _start(self, car: Car, trip: Trip) -> bool:
        assert self._driver is not None
        left_s = max(self.config.practice_s - self._driver.driven_s, 0.0)
        name = "A generation" if self.config.blind else f"Generation {car.generation}"
        page = StartPage(self._driver.name, name, left_s, words_of(trip.case.scenario))
        return self.window.show(page) != QUIT

    def _calibrate(self, generation: str) -> None:
        """Once for each generation, between drives."""

        def read() -> None:
            self._confidence[generation] = calibration_of(
                self.home / "episodes", generation, exposure_of(self.config)
            )

        if generation not in self._confidence:
            self.window.work("Getting ready", "Reading how sure it was on its last drives …", read)

    def _order(self, trip: Trip, car: Car, practice: bool) -> DriveOrder:
        assert self._driver is not None
        recording = Recording(
            trip.episode_id,
            trip.case,
            car.generation,
            "human",
            driver_id=self._driver.pseudonym,
            session_id=trip.session_id,
            style="blind" if self.config.blind else "",
            seed=trip.seed,
        )
        known, least = self._confidence[car.generation], exposure_of(self.config)
        why = "" if self.config.blind else known.off_because(least)
        return DriveOrder(recording, car, trip.label, practice, self.config.blind, known.unsure_m(least), why)

    def _summary(self, left: bool) -> SittingSummary:
        assert self._driver is not None
        drives = self._drives
        return SittingSummary(
            driver=self._driver.name,
            session_id=self.session_id,
            drives=len(drives),
            practice_drives=sum(practice for _, _, practice, _ in drives),
            minutes=sum(driven.at_wheel_s for _, driven, _, _ in drives) / 60.0,
            driven_km=sum(driven.outcome.driven_m for _, driven, _, _ in drives) / 1000.0,
            episodes=tuple(driven.path.name for _, driven, _, _ in drives if driven.path is not None),
            generations=tuple(sorted({generation for _, _, _, generation in drives})),
            confidence=tuple(
                confidence_row(generation, found, exposure_of(self.config))
                for generation, found in sorted(self._confidence.items())
            ),
            stopped=any(driven.stopped for _, driven, _, _ in drives),
            blind=self.config.blind,
            faults=tuple(self._faults),
            left=left,
        )


def takeover_lines(store: Store, episode_ids: Sequence[str]) -> list[TakeoverLine]:
    """Takeovers of labelled drives in order, with what became of each."""
    found = []
    for episode_id in episode_ids:
        episode = queries.episode(store, episode_id)
        for row in episode["takeover_list"]:
            mine = [pair for pair in episode["pairs"] if pair["takeover_id"] == row["takeover_id"]]
            reasons = [pair["reject_reason"] for pair in mine if not pair["admitted"]]
            minutes, seconds = divmod(int(row["onset_tick"] * TICK_S), 60)
            worst = max(sorted(set(reasons)), key=reasons.count) if reasons else ""
            why = WHY_NOT.get(worst, worst.replace("_", " ")) or "no candidate"
            pairs = sum(pair["admitted"] for pair in mine)
            found.append(
                TakeoverLine(
                    episode_id,
                    int(row["onset_tick"]),
                    f"{words_of(episode['scenario'])}, {minutes}:{seconds:02d}",
                    verdict=row["verdict"] or "",
                    reason=row["reason"],
                    pairs=pairs,
                    trains=row["trains"],
                    why_not="" if pairs else why,
                )
            )
    return found


def end_page(summary: SittingSummary, lines: Sequence[TakeoverLine]) -> EndPage:
    """The last page of a sitting."""
    pairs = sum(line.pairs for line in lines)
    facts = Facts(summary.drives, summary.minutes, summary.driven_km, len(lines), pairs)
    return EndPage(facts.tiles, lines, summary.faults)


def keep_words(store: Store, said: Sequence[Saying]) -> list[str]:
    """Store what was said on the end page; gives the episodes that teach something else by it."""
    for one in said:
        say(
            store,
            one.line.episode_id,
            onset_tick=one.line.onset_tick,
            verdict=one.verdict,
            reason=one.reason,
            note=one.note,
        )
    return sorted({one.line.episode_id for one in said if one.verdict or one.reason})
