"""The gate's operating curves on gates so small that the answer is known."""

from pathlib import Path

import pytest

from takeover.config import GateConfig
from takeover.evaluate.study_curves import GAINS, WORSE, section, simulate
from takeover.evaluate.study_gate import STUDY, Change, Population, Preset, Simulation
from takeover.evaluate.study_section import Section

SMALL = Preset("small", GateConfig(longtail_cases=40, nominal_cases=16), ((40, 16),))


def test_a_look_more_leaves_each_less_alpha() -> None:
    assert len(STUDY.looks) == 3
    assert STUDY.judged_by.alpha == pytest.approx(0.05 / 3)
    assert SMALL.judged_by.alpha == 0.05


def test_equal_generations_are_hardly_ever_promoted_and_a_great_gain_mostly_is() -> None:
    simulation = Simulation(SMALL, Population(phantom_per_km=0.0), rounds=5, seed=1)
    null = simulation.point(Change("none"), 40, judged=20)
    assert null.generations == 200
    assert null.promoted <= 0.01  # a round's alpha
    assert null.runs_interval[0] <= 0.05
    assert null.judged == 20
    # From 45 % by +45 points over 40 cases: about 20 gained and 1 lost, p below 1e-4.
    gain = simulation.point(Change("much", longtail=0.45), 4)
    assert gain.promoted >= 0.6
    assert gain.rejected != gain.rejected  # nothing was judged in full


def test_what_got_worse_is_caught_by_its_guard() -> None:
    simulation = Simulation(SMALL, Population(), rounds=5, seed=2)
    for change in (
        Change("everyday", longtail=0.45, nominal=-0.5),
        Change("steering", longtail=0.2, steering=-0.4),
        Change("phantom", longtail=0.45, phantom=30.0),
        Change("standstill", longtail=0.45, standstill=0.3),
    ):
        assert simulation.point(change, 3).promoted == 0.0, change.name
    worse = simulation.point(Change("worse", longtail=-0.4), 2, judged=10)
    assert worse.promoted == 0.0
    assert worse.rejected >= 0.8


def test_the_same_seed_gives_the_same_answer() -> None:
    points = [Simulation(SMALL, Population(), 3, 5).point(Change("some", 0.25), 6) for _ in range(2)]
    assert points[0].promoted == points[1].promoted


def test_the_section_judges_and_draws(tmp_path: Path) -> None:
    curves = simulate(2, 4, rounds=2, seed=0, workers=1, presets=[SMALL])
    assert [point.change for point in curves["small"]] == [*GAINS, *WORSE]
    made = section(curves, tmp_path, rounds=2, seed=0, command="loop study --parts gate", presets=[SMALL])
    assert (tmp_path / "gate_curves.png").stat().st_size > 5_000
    assert len(made.verdicts) == 2
    assert made.verdicts[0].result == "not shown"  # four runs cannot show 5 %, nor two generations 95 %
    assert made.verdicts[1].result in ("not shown", "missed")
    null, gain = curves["small"][0], curves["small"][1]
    assert (null.runs, null.generations) == (4, 8)
    assert (gain.runs, gain.generations) == (2, 2)
    assert gain.runs_promoted != gain.runs_promoted
    assert [len(table.rows) for table in made.tables] == [len(GAINS), len(WORSE)]
    assert all(len(row) == len(table.head) for table in made.tables for row in table.rows)
    assert Section.from_json(made.to_json()) == made
