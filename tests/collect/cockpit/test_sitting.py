"""Sittings with a window that needs no screen: it answers pages and records made-up drives."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pygame
import pytest

from takeover.collect.cockpit import sitting
from takeover.collect.cockpit.collect_stage import drive_freely, drive_jobs
from takeover.collect.cockpit.drivers import DriverBook
from takeover.collect.cockpit.forgetting import forget_driver
from takeover.collect.cockpit.screens import QUIT, ConsentPage, EndPage, Page, StartPage
from takeover.collect.cockpit.sitting import Car, Driven, DriveOrder
from takeover.collect.devices.state import Action, DeviceState
from takeover.collect.driver_words import PRACTICE
from takeover.collect.help_requests import Calibration, Exposure
from takeover.collect.labels import label_episode
from takeover.collect.pairs import PairConfig
from takeover.collect.plans import round_jobs
from takeover.config import CollectConfig, DriveConfig
from takeover.errors import SimulatorError, TakeoverError, UsageError
from takeover.sim_bridge.scenarios.cases import role_of
from takeover.store import queries
from takeover.store.database import Store
from takeover.vocabulary import Outcome, Role

from ..takeovers import ONSET, record

TRAINED = DriveConfig(driver="Anna", practice_s=0.0)


class Window:
    """Answers pages, and drives by writing a made-up episode."""

    def __init__(self, home: Path, drives: int = 3) -> None:
        self.home, self.left = home, drives
        self.orders: list[DriveOrder] = []
        self.pages: list[Page] = []
        self.cars: list[Car] = []
        self.change: Callable[[Driven], Driven] = lambda driven: driven
        self.at_end: Callable[[EndPage], None] = lambda page: None
        self.consents = True

    def show(self, page: Page) -> str:
        self.pages.append(page)
        if isinstance(page, ConsentPage):
            return (page.typed or "Anna") if self.consents else QUIT
        if isinstance(page, EndPage):
            self.at_end(page)
        return "go"

    def work(self, title: str, words: str, task: Callable[[], None]) -> None:
        task()

    def prepare(self, car: Car) -> None:
        self.cars.append(car)

    def drive(self, order: DriveOrder) -> Driven:
        self.orders.append(order)
        self.left -= 1
        one = order.recording
        path = record(
            self.home,
            episode_id=one.episode_id,
            case=one.case,
            role=role_of(one.case),
            generation="2",
            driver_kind="human",
            driver_id=one.driver_id,
            session_id=one.session_id,
            style=one.style,
            reason="",
            events=[(PRACTICE, 0, {})] if order.practice else [],
        )
        outcome = Outcome(True, 100.0, 100.0, takeovers=1, driven_m=50.0)
        return self.change(Driven(outcome, path, 10.0, left=self.left <= 0))


def car() -> Car:
    return Car("2", Path("/weights"), "w2")


NO_REPLANS = PairConfig(counterfactual=False)  # a home's own rules: by default there are re-plans


def labelled(store: Store, ids: list[str]) -> None:
    said = queries.said_later(store, ids)
    labels = [
        label_episode(store.episodes / name, 0, pairs=NO_REPLANS, annotations=said.get(name, ()))
        for name in ids
    ]
    store.put_labels(
        ids,
        [row for one in labels for row in one.takeovers],
        [row for one in labels for row in one.segments],
        [row for one in labels for row in one.pairs],
    )


def sit(home: Path, window: Window, config: DriveConfig = TRAINED, seed: int = 1):  # type: ignore[no-untyped-def]
    store = Store(home)
    return store, drive_freely(store, config, window, car, partial(labelled, store), seed)


def test_from_consent_to_pairs(tmp_path: Path) -> None:
    window = Window(tmp_path)
    store, summary = sit(tmp_path, window)
    assert [type(page) for page in window.pages] == [ConsentPage, StartPage, EndPage]
    assert (summary.drives, len(summary.takeovers)) == (3, 3)
    assert summary.pairs > 0
    assert summary.pairs == sum(row["pairs"] for row in summary.takeovers)
    driver = DriverBook(tmp_path).all()[0]
    rows = queries.episodes(store, driver_kind="human")
    assert {row["driver_id"] for row in rows} == {driver.pseudonym}
    assert {row["role"] for row in rows} == {Role.TRAIN.value}
    assert driver.driven_s == 30.0
    assert "3 drives" in summary.text()
    assert "pairs" in summary.text()
    store, again = sit(tmp_path, Window(tmp_path, 1), replace_driver(""))
    assert again.drives == 1  # the only driver of the home is not asked again


def replace_driver(name: str) -> DriveConfig:
    return TRAINED.model_copy(update={"driver": name})


def test_without_consent_nothing_is_recorded(tmp_path: Path) -> None:
    window = Window(tmp_path)
    window.consents = False
    _, summary = sit(tmp_path, window)
    assert summary is None
    assert window.orders == []
    assert DriverBook(tmp_path).all() == []


def test_the_first_minutes_are_practice(tmp_path: Path) -> None:
    window = Window(tmp_path, 4)
    store, summary = sit(tmp_path, window, DriveConfig(driver="Anna", practice_s=15.0))
    assert [order.practice for order in window.orders] == [True, True, False, False]
    assert summary.practice_drives == 2
    trains = {
        row["episode_id"]: row["trains"] for row in store.query("SELECT episode_id, trains FROM takeovers")
    }
    assert [trains[order.recording.episode_id] for order in window.orders] == [False, False, True, True]
    assert [row["why_not"] for row in summary.takeovers] == ["practice", "practice", "", ""]
    second = Window(tmp_path, 1)
    sit(tmp_path, second, DriveConfig(driver="Anna", practice_s=15.0))
    assert not second.orders[0].practice


def test_the_generation_changes_only_between_drives(tmp_path: Path) -> None:
    window = Window(tmp_path)
    cars = iter([car(), car(), Car("3", Path("/w3")), Car("4", Path("/w4"))])
    drive_freely(Store(tmp_path), TRAINED, window, lambda: next(cars), lambda ids: None, 1)
    assert [order.recording.generation for order in window.orders] == ["2", "3", "4"]
    assert [one.generation for one in window.cars] == ["2", "3", "4"]


def test_the_policy_asks_for_help_only_where_its_drives_say_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def found(root: Path, generation: str, least: Exposure) -> Calibration:
        assert (root, least) == (tmp_path / "episodes", Exposure(0.05, 40))
        read.append(generation)
        requests, chance = (10, 0.1) if generation == "2" else (10, 0.9)
        return Calibration(1.5, 11.0, 8, 40, 1.0 / 11.0, requests, chance)

    monkeypatch.setattr(sitting, "calibration_of", found)
    window = Window(tmp_path, 4)
    cars = iter([car(), car(), car(), Car("3", Path("/w3")), Car("3", Path("/w3"))])
    config = TRAINED.model_copy(update={"help_min_hours": 0.05, "help_min_needs": 40})
    summary = drive_freely(Store(tmp_path), config, window, lambda: next(cars), lambda ids: None, 1)
    assert summary is not None
    assert read == ["2", "3"], "once for each generation"
    assert [order.unsure_m for order in window.orders] == [1.5, 1.5, math.inf, math.inf]
    assert [row["asks_above_m"] for row in summary.confidence] == [1.5, None]
    assert "8 of 40 needs foreseen, 11 false requests an hour" in summary.text()
    assert "generation 3 does not ask" in summary.text()
    assert [order.sure_because != "" for order in window.orders] == [False, False, True, True]


def test_blind_is_kept_with_the_episode(tmp_path: Path) -> None:
    window = Window(tmp_path, 1)
    store, summary = sit(tmp_path, window, TRAINED.model_copy(update={"blind": True}))
    assert window.orders[0].blind
    assert queries.episodes(store)[0]["style"] == "blind"
    assert window.orders[0].sure_because == ""
    assert "generation" not in summary.text()


def test_words_on_the_end_page_count(tmp_path: Path) -> None:
    window = Window(tmp_path, 1)

    def veto(page: EndPage) -> None:
        keys = [pygame.K_n, *map(ord, "shadow"), pygame.K_RETURN]
        for key in keys:
            event = pygame.event.Event(pygame.KEYDOWN, key=key, unicode=chr(key) if key < 128 else "")
            page.step([event], DeviceState(), (), 0.0)
        page.step([], DeviceState(), (Action.MISTAKE,), 0.0)

    window.at_end = veto
    store, summary = sit(tmp_path, window)
    assert summary.takeovers[0]["verdict"] == "mistake"
    assert not summary.takeovers[0]["trains"]
    assert summary.pairs == 0
    notes = queries.said_later(store, summary.episodes)[summary.episodes[0]]
    assert [(row["onset_tick"], row["verdict"], row["note"]) for row in notes] == [
        (ONSET, "", "shadow"),
        (ONSET, "mistake", ""),
    ]


def test_words_of_the_last_page_teach_by_the_homes_own_rules(tmp_path: Path) -> None:
    window = Window(tmp_path, 1)
    window.at_end = lambda page: page.step([], DeviceState(), (Action.GOOD,), 0.0)
    store, summary = sit(tmp_path, window)
    assert summary.takeovers[0]["verdict"] == "good"
    assert {row["source"] for row in queries.pairs(store)} == {
        "human",
        "human_onset",
    }


def test_a_simulator_that_fails_again_and_again_ends_the_sitting(tmp_path: Path) -> None:
    window = Window(tmp_path, 9)
    window.change = lambda driven: replace(driven, fault="server died")
    with pytest.raises(SimulatorError, match="server died"):
        sit(tmp_path, window)
    assert len(window.orders) == 3


def test_a_drive_that_the_disk_did_not_take_is_told_at_the_end(tmp_path: Path) -> None:
    window = Window(tmp_path, 2)
    window.change = lambda driven: replace(driven, unrecorded="4 % are free" if window.left == 0 else "")
    _, summary = sit(tmp_path, window)
    assert len(window.orders) == 2, "the sitting goes on"
    case = window.orders[1].recording.case.case_id
    assert summary.faults == (f"{case} is not recorded whole: 4 % are free",)
    assert "4 % are free" in summary.text()


def test_nobody_waits_at_the_last_page_of_a_sitting_that_was_stopped(tmp_path: Path) -> None:
    window = Window(tmp_path, 1)
    window.change = lambda driven: replace(driven, stopped=True)
    _, summary = sit(tmp_path, window)
    assert not any(isinstance(page, EndPage) for page in window.pages)
    assert summary.pairs > 0, "labelled all the same"


def test_a_respawn_is_the_same_case_under_a_new_name(tmp_path: Path) -> None:
    window = Window(tmp_path, 2)
    window.change = lambda driven: replace(driven, again=window.left == 1)
    sit(tmp_path, window)
    first, second = (order.recording for order in window.orders)
    assert first.case == second.case
    assert first.episode_id != second.episode_id


def test_contradictions_are_refused(tmp_path: Path) -> None:
    both = TRAINED.model_copy(update={"free": True, "scenarios": ("StaticCutIn",)})
    with pytest.raises(UsageError):
        sit(tmp_path, Window(tmp_path), both)


def test_a_round_continues_with_the_drives_that_are_missing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    jobs = round_jobs("run", 1, "2", CollectConfig(episodes=4), 0, store.episodes)
    first = Window(tmp_path, 2)
    with pytest.raises(TakeoverError, match="2 of 4 drives are left"):
        drive_jobs(store, TRAINED, first, car, jobs, partial(labelled, store))
    assert isinstance(first.pages[-1], EndPage), "who leaves early sees what became of it too"
    killed = first.orders[1].recording.episode_id
    shutil.rmtree(store.episodes / killed)  # as if it had died on the way
    second = Window(tmp_path, 9)
    told: list[Driven] = []
    summary = drive_jobs(store, TRAINED, second, car, jobs, partial(labelled, store), told.append)
    assert [order.recording.episode_id for order in second.orders] == [job.episode_id for job in jobs[1:]]
    assert [order.label for order in second.orders] == ["2 of 4", "3 of 4", "4 of 4"]
    assert len(told) == 3
    assert summary is not None
    assert [type(page) for page in second.pages] == [StartPage, EndPage]
    assert [row["episode_id"] for row in summary.takeovers] == [job.episode_id for job in jobs[1:]]
    assert summary.pairs > 0
    assert drive_jobs(store, TRAINED, second, car, jobs, partial(labelled, store)) is None
    assert len(second.orders) == 3


def test_practice_comes_before_the_drives_of_a_round(tmp_path: Path) -> None:
    store = Store(tmp_path)
    jobs = round_jobs("run", 1, "2", CollectConfig(episodes=2), 0, store.episodes)
    window = Window(tmp_path, 9)
    config = DriveConfig(driver="Anna", practice_s=15.0)
    drive_jobs(store, config, window, car, jobs, partial(labelled, store))
    assert [order.practice for order in window.orders] == [True, True, False, False]
    assert {order.recording.session_id for order in window.orders[:2]} == {"practice"}


def test_a_driver_is_forgotten_by_name(tmp_path: Path) -> None:
    store, summary = sit(tmp_path, Window(tmp_path))
    pseudonym = DriverBook(tmp_path).all()[0].pseudonym
    logged = tmp_path / "mlartifacts" / "0"
    logged.mkdir(parents=True)
    for folder in (tmp_path, logged):
        (folder / "loop_report.html").write_text(f"<td>{pseudonym}</td>")
        (folder / "other.html").write_text("<td>nobody</td>")
    report = forget_driver(tmp_path, "Anna")
    assert (report.episodes, report.trained, report.pages) == (3, (), 2)
    assert "2 pages of `loop report`" in report.text()
    assert [path.name for path in sorted(tmp_path.rglob("*.html"))] == ["other.html", "other.html"]
    assert queries.episodes(store) == []
    assert DriverBook(tmp_path).all() == []
    assert not any((tmp_path / "episodes" / name).exists() for name in summary.episodes)
    assert forget_driver(tmp_path, report.driver_id).episodes == 3  # by pseudonym, once more
    with pytest.raises(UsageError, match="no driver `Anna`"):
        forget_driver(tmp_path, "Anna")
