"""The ledger against figures computed by hand."""

import pytest

from takeover.evaluate.caution_ledger import figures, ledger
from takeover.vocabulary import Case

from .cases import result

CALM, DECOY, HAZARD = (
    Case("LaneFollowing", 10_000),
    Case("ParkedObstacle", 10_001, decoy=True),
    Case("ParkedObstacle", 10_002),
)


def test_phantom_brakes_count_only_where_nothing_happens() -> None:
    found = figures(
        [
            result(CALM, phantom_brakes=1, driven_m=300.0, standstill_s=2.0),
            result(DECOY, phantom_brakes=2, driven_m=200.0),
            result(HAZARD, success=False, phantom_brakes=5, driven_m=500.0, duration_s=20.0),
        ]
    )
    assert (found.phantom_brakes, found.calm_km) == (3, 0.5)
    assert found.phantom_per_km == 6.0
    # Exact Poisson interval of 3 events (tables: 0.6187 to 8.7673) over half a kilometre.
    assert found.phantom_interval == pytest.approx((0.6187 / 0.5, 8.7673 / 0.5), rel=1e-3)
    assert found.standstill_share == 2.0 / 40.0
    assert found.progress == pytest.approx((100 + 100 + 50) / 3)
    assert found.speed_mps == 1000.0 / 40.0


def test_no_calm_case_gives_no_rate() -> None:
    found = figures([result(HAZARD)])
    assert (found.phantom_per_km, found.phantom_interval) == (None, None)


def test_a_challenger_is_compared_on_the_cases_that_it_drove() -> None:
    start = [result(CALM), result(DECOY), result(HAZARD, success=False)]
    champion = [
        result(CALM, duration_s=11.0),
        result(DECOY, duration_s=11.0),
        result(HAZARD, duration_s=14.0),
    ]
    gave_up = [
        result(DECOY, duration_s=13.0, phantom_brakes=1, driven_m=250.0),
        result(HAZARD, success=False),
    ]
    rows = ledger({0: start, 1: champion, 2: gave_up, 3: []}, {0: None, 1: 0, 2: 1, 3: 1})
    assert [row.generation for row in rows] == [0, 1, 2]
    assert (rows[0].champion, rows[0].start) == (None, None)
    one = rows[1].champion
    assert one is not None
    assert one == rows[1].start  # its champion was generation 0
    assert one.time_lost is not None
    assert (one.passed_by_both, one.time_lost.mean) == (2, 1.0)  # the hazard was not passed by both
    assert one.progress.mean == pytest.approx(50 / 3)
    two = rows[2].champion
    assert two is not None
    assert two.time_lost is not None
    assert (two.against, two.before.cases, two.after.cases) == (1, 2, 2)
    assert (two.passed_by_both, two.time_lost.mean) == (1, 2.0)
    assert (two.before.phantom_per_km, two.after.phantom_per_km) == (0.0, 4.0)
    assert rows[2].start is not None
    assert rows[2].start.against == 0


def test_nothing_shared_is_nothing_compared() -> None:
    rows = ledger({0: [result(CALM)], 1: [result(HAZARD)]}, {0: None, 1: 0})
    assert rows[1].champion is None
    both_failed = ledger({0: [result(HAZARD, success=False)], 1: [result(HAZARD)]}, {0: None, 1: 0})
    assert both_failed[1].champion is not None
    assert both_failed[1].champion.time_lost is None
