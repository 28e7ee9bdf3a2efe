"""Figures of a table against values worked out by hand."""

from dataclasses import asdict

import pytest

from takeover.evaluate.closed_loop import CaseResult
from takeover.evaluate.results import from_row, to_row
from takeover.evaluate.summary import suite_report, summarise
from takeover.vocabulary import Case

RESULTS = [
    CaseResult(
        Case("DynamicObjectCrossing", 10_000), True, 100.0, 100.0, (), "route_complete", 100.0, 10.0, 0, 1.0
    ),
    CaseResult(
        Case("ParkedObstacle", 10_001),
        False,
        30.0,
        50.0,
        ("collision_vehicle",),
        "collision",
        50.0,
        6.0,
        1,
        0.0,
    ),
    CaseResult(
        Case("DynamicObjectCrossing", 10_002, True),
        True,
        100.0,
        100.0,
        (),
        "route_complete",
        100.0,
        9.0,
        2,
        4.0,
    ),
    CaseResult(Case("HardBreakRoute", 10_003), False, 0.0, 0.0, (), "timeout", 0.0, 15.0, 0, 15.0),
]


def test_rates() -> None:
    figures = summarise(RESULTS)
    assert (figures.cases, figures.sr, figures.ds, figures.rc) == (4, 0.5, 57.5, 62.5)
    assert figures.driven_km == pytest.approx(0.25)
    assert figures.collisions_per_km == pytest.approx(4.0)
    assert figures.phantom_per_km == pytest.approx(20.0)  # 2 on the decoy's 0.1 km
    assert figures.standstill_share == pytest.approx(20 / 40)
    assert figures.sr_interval[0] < 0.5 < figures.sr_interval[1]


def test_report_keeps_decoys_and_kinds_apart() -> None:
    report = suite_report(RESULTS, suite="longtail", model="0")
    assert {name: part["cases"] for name, part in report["parts"].items()} == {
        "braking": 2,
        "steering": 1,
        "decoys": 1,
    }
    assert [c["success"] for c in report["cases"]] == [1, 0, 1, 0]
    assert report["cases"][1]["infractions"] == ["collision_vehicle"]


@pytest.mark.parametrize("result", RESULTS)
def test_rows_round_trip(result: CaseResult) -> None:
    row = to_row(result, weights_sha256="abc", suite="longtail", generation=0)
    assert from_row(asdict(row)) == result
