"""Figures and verdicts of the study on results small enough to count by hand."""

from __future__ import annotations

import math

import pytest

from takeover.config import GateConfig
from takeover.evaluate.ablation import SeedResult
from takeover.evaluate.closed_loop import CaseResult, another_case
from takeover.evaluate.study_headline import WholeRun, pooled, table, verdicts
from takeover.evaluate.study_rows import (
    HEAD,
    Row,
    blind_verdict,
    difference,
    fair_start,
    margins,
    rows_table,
    score,
    shown_above_zero,
    steering,
    taken_away,
)
from takeover.evaluate.study_trials import null_trials, twin_trials, verdict
from takeover.scoring.statistics import Estimate
from takeover.vocabulary import Case

TYPES = ("DynamicObjectCrossing", "ParkedObstacle")  # one to brake for, one to steer round


def drives(wins: str, *, scenario: str = "") -> list[CaseResult]:
    """One case a letter: 1 for success."""
    return [
        CaseResult(
            case=Case(scenario or TYPES[i % 2], 20_040 + i),
            success=letter == "1",
            ds=100.0 if letter == "1" else 40.0,
            rc=100.0,
            infractions=() if letter == "1" else ("collision_vehicle",),
            end="route_complete",
            driven_m=80.0,
            duration_s=10.0,
            phantom_brakes=0,
            standstill_s=0.0,
        )
        for i, letter in enumerate(wins)
    ]


def result(wins: str, nominal: str = "1111") -> SeedResult:
    return SeedResult(drives(wins), drives(nominal, scenario="LaneFollowing"))


BASE = result("10001000")


def test_differences_are_paired_and_can_leave_cases_out() -> None:
    new = {0: result("11101100")}
    found = difference({0: BASE}, new)
    assert found is not None
    assert found.mean == pytest.approx(3 / 8)
    assert difference({0: BASE}, new, score).mean == pytest.approx(3 * 60 / 8)  # type: ignore[union-attr]
    # steering types are the cases 1, 3, 5, 7: from 0 of 4 to 2 of 4
    assert difference({0: BASE}, new, keep=steering).mean == pytest.approx(0.5)  # type: ignore[union-attr]
    two = {1: result("11111111"), 2: result("10001000")}
    assert difference({0: BASE}, two).mean == pytest.approx(0.375)  # type: ignore[union-attr]
    assert difference({3: BASE, 4: BASE}, two) is None  # no seed in common


def test_the_table_has_gains_and_an_exact_p() -> None:
    rows = [Row("generation 0", {0: BASE}), Row("better", {0: result("11101110")})]
    made = rows_table("cases", rows, BASE)
    assert len(made.rows[0]) == len(HEAD)
    assert made.rows[0][-1] == "–"
    assert made.rows[1][1] == "75.0"
    assert made.rows[1][-1] == "4, 0, 0.0625"  # 0.5 ** 4
    assert made.rows[1][3:5] == ("100", "50")


def test_a_blind_control_takes_the_gain_away() -> None:
    seeing = result("11111100")  # +4 of 8
    none = taken_away(BASE, seeing, result("10001000"))
    assert none.mean == pytest.approx(1.0)
    half = taken_away(BASE, seeing, result("11101000"))
    assert half.mean == pytest.approx(0.5)
    assert blind_verdict("claim", half).result == "missed"
    assert blind_verdict("claim", Estimate(1.2, 0.9, 1.5)).result == "met"
    assert blind_verdict("claim", Estimate(1.0, 0.4, 1.5)).result == "not shown"
    nothing = taken_away(BASE, BASE, result("00000000"))
    assert math.isnan(nothing.mean)
    assert blind_verdict("claim", nothing).result == "not shown"


def test_a_difference_must_lie_above_zero() -> None:
    assert shown_above_zero("claim", Estimate(0.1, 0.02, 0.2)).result == "met"
    assert shown_above_zero("claim", Estimate(0.1, -0.02, 0.2)).result == "not shown"
    assert shown_above_zero("claim", Estimate(-0.1, -0.3, 0.2)).result == "missed"
    assert shown_above_zero("claim", None).result == "not there"


def test_a_fair_start() -> None:
    assert fair_start(drives("10011001"), drives("1" * 10)).result == "met"
    extreme = fair_start(drives("10101010"), drives("1" * 10))
    assert (extreme.result, extreme.figure) == (
        "missed",
        "100 %, 50 %; at 0 or 100: DynamicObjectCrossing, ParkedObstacle",
    )
    assert fair_start(drives("10011001"), drives("1100")).result == "missed"
    assert fair_start([], []).result == "not there"


def test_margins_are_those_of_the_gate() -> None:
    assert (
        margins(BASE, result("11111111", "0011"), GateConfig()).result == "missed"
    )  # half of everyday driving
    assert margins(BASE, result("11111111"), GateConfig()).result == "met"


def run(name: str, start: str, end: str) -> WholeRun:
    return WholeRun(name, 1, 1, 5, result(start), result(end), result("1" * len(start)))


def test_the_headline_needs_three_runs_each_above_zero() -> None:
    good = [run(str(i), "0" * 80 + "1" * 20, "0" * 40 + "1" * 60) for i in range(3)]
    assert pooled(good).mean == pytest.approx(0.4)
    assert pooled(good, ds=True).mean == pytest.approx(0.4 * 60)
    assert pooled(good, last=True).mean == pytest.approx(0.8)
    assert [v.result for v in verdicts(good)] == ["met", "met"]
    assert [v.result for v in verdicts(good[:2])] == ["not shown", "not shown"]
    assert [v.result for v in verdicts([])] == ["not there", "not there"]
    worse = [*good[:2], run("bad", "0" * 80 + "1" * 20, "0" * 85 + "1" * 15)]
    assert [v.result for v in verdicts(worse)] == ["missed", "missed"]
    assert len(table(good).rows) == 5


def test_twins_and_null_trials_count_promotions() -> None:
    start, same = result("10" * 20), result("10" * 20)
    better = result("1" * 40)
    twins = twin_trials({1: start, 2: same, 3: better}, GateConfig())
    assert len(twins) == 6
    outcome = {(t.champion, t.challenger): t.decision.outcome for t in twins}
    assert outcome["twin 1", "twin 2"] == "inconclusive"
    assert outcome["twin 1", "twin 3"] == "promote"  # 20 gained, none lost
    assert outcome["twin 3", "twin 1"] == "reject"
    assert verdict("claim", twins, 40).result == "missed"  # 2 of 6
    null = null_trials(start, dict.fromkeys(range(40), same), GateConfig())
    assert verdict("claim", null, 40).result == "met"
    assert verdict("claim", null[:20], 40).result == "not shown"
    assert verdict("claim", [], 40).result == "not there"


def test_another_case_is_of_another_type_and_stays_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    recorded = [(name, tmp_path / f"{name}{i}") for i in range(3) for name in TYPES]
    case = Case("ParkedObstacle", 20_041)
    shown = another_case(case, recorded)
    assert shown.name.startswith("DynamicObjectCrossing")
    assert another_case(case, recorded) == shown
