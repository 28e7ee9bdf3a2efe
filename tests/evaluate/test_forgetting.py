"""The triangle against sums made by hand, and its cases from a store."""

from pathlib import Path

import pytest

from takeover.errors import RoleError
from takeover.evaluate.closed_loop import CaseResult
from takeover.evaluate.forgetting import known_triangle, takeover_cases, triangle
from takeover.store.database import Store
from takeover.store.rows import TakeoverRow
from takeover.vocabulary import Case, Reason, Role

from ..store.drives import record
from .cases import result

MADE = {0: 0, 1: 1, 2: 2, 3: 3}
ONE = [Case("ParkedObstacle", seed) for seed in range(1000, 1004)]
TWO = [Case("StaticCutIn", seed) for seed in range(2000, 2002)]
CASES = {1: ONE, 2: TWO}


def driven(cases: list[Case], passed: int) -> list[CaseResult]:
    """The first `passed` cases are passed."""
    return [result(case, at < passed) for at, case in enumerate(cases)]


RESULTS = {
    (0, 1): driven(ONE, 1),
    (0, 2): driven(TWO, 0),
    (1, 1): driven(ONE, 3),
    (1, 2): driven(TWO, 1),
    (2, 1): driven(ONE, 4),
    (2, 2): driven(TWO, 2),
    (3, 1): driven(ONE, 1),
    (3, 2): driven(TWO, 2),
}


def test_what_is_kept_and_what_is_forgotten() -> None:
    found = triangle(RESULTS, list(MADE.items()))
    assert found.rounds == (1, 2)
    assert [(c.passed, c.cases, c.learnt) for c in found.cells if c.generation == 1] == [
        (3, 4, True),
        (1, 2, False),
    ]
    assert found.cell(3, 1).share == 0.25
    first, one, two, three = found.transfers
    assert (first.backward, one.backward, one.worst_round) == (None, None, None)
    assert two.backward is not None
    assert two.backward.mean == pytest.approx(4 / 4 - 3 / 4)  # R[2, 1] - R[1, 1]
    assert three.backward is not None
    assert three.worst is not None
    assert three.backward.mean == pytest.approx(((1 - 3) / 4 + (2 - 2) / 2) / 2)
    assert (three.worst_round, three.worst.mean) == (1, -0.5)
    assert -1.0 <= three.worst.lower <= -0.5 <= three.worst.upper <= 0.0
    assert found.forward is not None
    assert found.forward.mean == pytest.approx(1 / 2 - 0 / 2)  # R[1, 2] - R[0, 2]


def test_a_stratum_counts_by_its_mean_whatever_its_size() -> None:
    found = triangle(RESULTS, list(MADE.items()))
    assert found.transfers[3].backward is not None
    assert found.transfers[3].backward.mean == -0.25  # by cases it would be -2/6


def test_a_single_case_says_nothing_of_a_transfer() -> None:
    single = {(g, j): some[:1] if j == 1 else some for (g, j), some in RESULTS.items()}
    found = triangle(single, list(MADE.items()))
    assert found.transfers[2].backward is None  # the only earlier round has one case
    assert found.transfers[3].worst_round == 2


def test_only_what_all_have_driven_counts() -> None:
    known = {g: {r.case: r for j in CASES for r in RESULTS[g, j]} for g in MADE}
    del known[2][ONE[0]]  # killed on the way
    known[3] = {}  # not driven yet
    found = known_triangle(known, MADE, CASES)
    assert found is not None
    assert [g for g, _ in found.generations] == [0, 1, 2]
    assert [found.cell(g, 1).cases for g in (0, 1, 2)] == [3, 3, 3]
    assert known_triangle({0: {}}, MADE, CASES) is None
    assert known_triangle({}, MADE, CASES) is None


def takeover(episode_id: str, number: int = 0, trains: bool = True) -> TakeoverRow:
    name = f"{episode_id}/{number}"
    return TakeoverRow(
        name,
        name,
        episode_id,
        30,
        20,
        "ttc",
        40,
        45,
        Reason.COLLISION_RISK,
        trains,
        False,
        1.0,
        None,
        None,
        "t",
    )


def test_cases_take_types_in_turn_and_grow_at_the_end(tmp_path: Path) -> None:
    store = Store(tmp_path)
    drives = [
        ("run/1", "ParkedObstacle", 1000, True),
        ("run/1", "ParkedObstacle", 1001, True),
        ("run/1", "StaticCutIn", 1002, True),
        ("run/1", "StaticCutIn", 1003, False),  # a mistake, a wish: it teaches nothing
        ("run/2", "StaticCutIn", 2000, True),
        ("other/1", "StaticCutIn", 3000, True),
        ("run/1x", "StaticCutIn", 3001, True),
    ]
    rows = []
    for session, scenario, seed, trains in drives:
        name = record(store.episodes, case=Case(scenario, seed), session_id=session).name
        rows += [takeover(name, 0, trains), takeover(name, 1, trains)]  # two in one drive are one case
    store.recover()
    store.put(rows)
    parked, cut = Case("ParkedObstacle", 1000), Case("StaticCutIn", 1002)
    assert takeover_cases(store, "run", 2) == {1: [parked, cut], 2: [Case("StaticCutIn", 2000)]}
    assert takeover_cases(store, "run", 9)[1] == [parked, cut, Case("ParkedObstacle", 1001)]
    held_out = record(
        store.episodes, case=Case("StaticCutIn", 10_000), role=Role.GATE, session_id="run/2"
    ).name
    store.recover()
    store.put([takeover(held_out)])
    with pytest.raises(RoleError):
        takeover_cases(store, "run", 9)
