"""The next drive is where the champion fails, and the same every time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from takeover.collect.cockpit.schedule import (
    EXPLORE_EVERY,
    PRACTICE_TYPES,
    Schedule,
    Tally,
    driven_cases,
    tallies,
)
from takeover.errors import UsageError
from takeover.sim_bridge.scenarios.cases import TRAINED_TYPES, role_of
from takeover.store.database import Store
from takeover.store.rows import EvaluationRow
from takeover.vocabulary import Case, Outcome, Role

from ...store.drives import record

FAILS = {name: Tally(1, 20) for name in TRAINED_TYPES} | {"StaticCutIn": Tally(18, 20)}


def types(schedule: Schedule, number: int) -> list[str]:
    return [schedule.next(k).scenario for k in range(number)]


def test_types_that_fail_are_driven_most() -> None:
    counts = Counter(types(Schedule(FAILS, 7), 100))
    assert counts.most_common(1)[0][0] == "StaticCutIn"
    assert counts["StaticCutIn"] > 50


def test_what_is_not_known_is_tried() -> None:
    known = {name: Tally(2, 40) for name in TRAINED_TYPES if name != "HardBreakRoute"}
    assert Counter(types(Schedule(known, 3), 50))["HardBreakRoute"] > 20


def test_a_sitting_repeats_for_its_seed() -> None:
    first = [Schedule(FAILS, 5).next(k) for k in range(20)]
    assert first == [Schedule(FAILS, 5).next(k) for k in range(20)]
    assert first != [Schedule(FAILS, 6).next(k) for k in range(20)]


def test_a_type_that_turns_out_well_goes_back() -> None:
    schedule = Schedule(FAILS, 1)
    for seed in range(200):
        schedule.learn(Case("StaticCutIn", seed), failed=False)
    counts = Counter(types(schedule, 60))
    assert counts["StaticCutIn"] < 20


def test_only_train_cases_each_once() -> None:
    schedule = Schedule(FAILS, 2, driven=frozenset({"StaticCutIn/1"}))
    cases = [schedule.next(k) for k in range(300)]
    assert {role_of(case) for case in cases} == {Role.TRAIN}
    assert len({case.case_id for case in cases}) == 300
    assert any(case.decoy for case in cases)
    assert Case("StaticCutIn", 1) not in cases


def test_one_drive_in_five_is_of_any_type() -> None:
    explored = types(Schedule(FAILS, 4), 200)[EXPLORE_EVERY - 1 :: EXPLORE_EVERY]
    assert len(set(explored)) > 8


def test_wishes_are_kept_and_checked() -> None:
    assert set(types(Schedule(FAILS, 1, ["CarFollowing", "StaticCutIn"]), 30)) == {
        "CarFollowing",
        "StaticCutIn",
    }
    with pytest.raises(UsageError, match="unknown scenario `StaticCut`"):
        Schedule(FAILS, 1, ["StaticCut"])
    with pytest.raises(UsageError):  # an unseen type is no train case
        Schedule(FAILS, 1, ["AccidentTwoWays"])


def test_practice_is_everyday_driving() -> None:
    assert {Schedule(FAILS, 1).next(k, practice=True).scenario for k in range(6)} == set(PRACTICE_TYPES)


def test_the_tally_is_the_champions_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    episodes = tmp_path / "episodes"
    won = Outcome(True, 100.0, 100.0)
    record(episodes, case=Case("StaticCutIn", 1), driver_kind="human")  # one takeover
    record(episodes, case=Case("StaticCutIn", 2), outcome=won)
    record(episodes, case=Case("StaticCutIn", 3, True))
    record(episodes, case=Case("StaticCutIn", 4), generation="1")
    record(episodes, case=Case("StaticCutIn", 5), driver_kind="expert")
    store.recover()
    store.put(
        [
            EvaluationRow(
                "w2", "longtail", "ParkedObstacle/10000", "ParkedObstacle", 10000, False, 2, False, 0, 0, "x"
            ),
            EvaluationRow(
                "w1", "longtail", "ParkedObstacle/10001", "ParkedObstacle", 10001, False, 1, False, 0, 0, "x"
            ),
            EvaluationRow(
                "w2", "final", "ParkedObstacle/20001", "ParkedObstacle", 20001, False, 2, False, 0, 0, "x"
            ),
        ]
    )
    assert tallies(store, "2") == {"StaticCutIn": Tally(1, 2)}  # nothing of what the gate saw
    assert driven_cases(store) == {"StaticCutIn/1"}
