from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from takeover.collect.counterfactual import replan
from takeover.collect.pairs import PairCandidate, PairConfig, build_pairs
from takeover.collect.samples import preference_pair, scene_at
from takeover.collect.segmenter import segment
from takeover.scoring.pdms import score_plans
from takeover.store.episodes import EpisodeReader
from takeover.vocabulary import PairSource, Role

from .takeovers import CAR, ONSET, record


def pairs_of(home: Path, config: PairConfig = PairConfig(), **changes: Any) -> list[PairCandidate]:
    reader = EpisodeReader(record(home, **changes))
    return build_pairs(reader, segment(reader), config)


def test_sources_of_one_takeover(tmp_path: Path) -> None:
    found = pairs_of(tmp_path)
    by_source = {source: [c for c in found if c.source is source] for source in PairSource}
    assert all(c.tick > ONSET for c in by_source[PairSource.HUMAN])
    assert [c.tick for c in by_source[PairSource.HUMAN_ONSET]] == [60]
    assert all(c.tick <= ONSET for c in by_source[PairSource.COUNTERFACTUAL])
    assert not by_source[PairSource.PREDICTED]
    assert {c.source for c in found if c.admitted} == {
        PairSource.HUMAN,
        PairSource.HUMAN_ONSET,
        PairSource.COUNTERFACTUAL,
    }


def test_onset_pair_is_the_drivers_way_against_the_issued_plan(tmp_path: Path) -> None:
    (pair,) = [c for c in pairs_of(tmp_path) if c.source is PairSource.HUMAN_ONSET]
    # 0.1 s at 10 m/s, then 5 m/s2: 1 m + 10 m, and it stands
    assert pair.chosen_m[-1] == pytest.approx([11.0, 0.0], abs=0.01)
    assert pair.rejected_m[:, 0] == pytest.approx(5.0 * np.arange(1, 9))
    assert pair.score_rejected == 0.0  # it hits the car
    assert pair.critical_actor_id == CAR
    assert pair.chosen_mask.all()
    # six of eighty ticks belong to the adaptation, at a quarter of the weight
    assert pair.weight == pytest.approx(1.0 - 0.75 * 6 / 80)
    assert pair.details["rejected_unsafe"]


def test_human_futures_end_with_the_driver(tmp_path: Path) -> None:
    found = [c for c in pairs_of(tmp_path, ticks=150) if c.source is PairSource.HUMAN]
    late = next(c for c in found if c.tick == 110)
    assert late.chosen_mask.tolist() == [True] * 3 + [False] * 5  # recorded up to tick 149
    assert late.reject_reason == "too_short"


def test_a_recovery_goes_on_after_the_cockpit_hung(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path))
    reader.ticks["executed_by"][reader.row(80) : reader.row(88)] = "safe_stop"
    human = {
        c.tick: c.reject_reason for c in build_pairs(reader, segment(reader)) if c.source is PairSource.HUMAN
    }
    assert sorted(human) == [70, *range(90, 150, 10)]
    assert (human[70], human[90]) == (
        "too_short",
        "",
    )  # 0.5 s until the car is stopped; none of the stop's own


def test_counterfactual_is_safe_and_rejected_is_the_rolled_plan(tmp_path: Path) -> None:
    found = [c for c in pairs_of(tmp_path) if c.source is PairSource.COUNTERFACTUAL and c.admitted]
    assert found
    for pair in found:
        assert pair.score_chosen >= pair.score_rejected + 0.1
        assert pair.details["chosen"]["nc"] == 1.0
        assert pair.details["chosen"]["dac"] == 1.0
        # never the driver's rescue: the observed way keeps the plan's speed
        assert pair.rejected_m[-1, 0] == pytest.approx(40.0, abs=0.5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"visible_px": 11}, "not_visible"),
        ({"reason": "wish"}, "reason_wish"),
        ({"reason": "system_fault"}, "reason_system_fault"),
        ({"role": Role.GATE}, "held_out"),
        ({"plan_generation": "1"}, "other_generation"),
        ({"fault_tick": 100}, "sim_fault"),
    ],
)
def test_gates_store_their_reason(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    found = [c for c in pairs_of(tmp_path, **changes) if c.source is PairSource.HUMAN_ONSET]
    assert [c.reject_reason for c in found] == [reason]


def test_braking_for_nothing_gives_no_pair(tmp_path: Path) -> None:
    found = pairs_of(tmp_path, parked_y_m=8.0)  # the decoy: the car stands beside the road
    assert found
    assert not [c for c in found if c.admitted]
    onset = next(c for c in found if c.source is PairSource.HUMAN_ONSET)
    assert onset.reject_reason == "score_gap"
    assert onset.score_rejected > onset.score_chosen
    assert onset.critical_actor_id == 0


def test_near_duplicates_give_way_to_the_harder_one(tmp_path: Path) -> None:
    found = [c for c in pairs_of(tmp_path) if c.source is PairSource.HUMAN]
    kept = [c for c in found if c.admitted]
    merged = [c for c in found if c.reject_reason == "near_duplicate"]
    assert kept
    assert merged
    alone = PairConfig(duplicate_m=0.0)
    free = [c for c in pairs_of(tmp_path / "free", alone) if c.source is PairSource.HUMAN and c.admitted]
    assert len(free) == len(kept) + len(merged)


def test_hardest_first(tmp_path: Path) -> None:
    admitted = [c for c in pairs_of(tmp_path) if c.admitted]
    hardness = [c.hardness for c in admitted]
    assert hardness == sorted(hardness)


def test_predicted_states_lie_on_the_issued_plan(tmp_path: Path) -> None:
    config = PairConfig(human=False, human_onset=False, counterfactual=False, predicted=True)
    reader = EpisodeReader(record(tmp_path))
    found = build_pairs(reader, segment(reader), config)
    at = {c.pair_id.split("/")[-1]: c for c in found if c.tick == 60}
    assert sorted(at) == ["60+1", "60+2", "60+3", "60+4"]
    last = at["60+4"]
    assert last.details["ahead_s"] == pytest.approx(1.0)
    assert last.details["ego"]["x_m"] == pytest.approx(30.0 + 10.0, abs=0.1)
    assert last.rejected_m[:, 0] == pytest.approx(5.0 * np.arange(1, 9), abs=0.3)
    assert last.weight == pytest.approx(0.25)
    pair = preference_pair(reader, last.to_row(1))
    assert pair.scene.ego.x_m == pytest.approx(40.0, abs=0.1)
    assert pair.input.speed_mps == pytest.approx(10.0, abs=0.1)


def test_rows_carry_everything(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path))
    candidate = next(c for c in build_pairs(reader, segment(reader)) if c.admitted)
    row = candidate.to_row(3)
    assert row.round == 3
    assert row.admitted
    assert row.source is candidate.source
    assert np.array(row.chosen_m, np.float32).reshape(8, 2) == pytest.approx(candidate.chosen_m)
    pair = preference_pair(reader, row)
    assert pair.role is Role.TRAIN
    assert pair.input.images.shape == (2, 1, 24, 48, 3)
    assert score_plans(pair.scene, pair.rejected_m[None]).pdms[0] == pytest.approx(
        candidate.score_rejected, abs=0.02
    )
    assert pair.analysis
    assert pair.reasoning_chosen != pair.reasoning_rejected


def test_replan_goes_round_or_stops(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path))
    scene = scene_at(reader, 60)
    plan = replan(scene, 10.0)
    assert plan.shape == (8, 3)
    scores = score_plans(scene, plan[None])
    assert scores.nc[0] * scores.dac[0] == 1.0
    assert scores.pdms[0] > 0.5


def test_no_takeover_no_pairs(tmp_path: Path) -> None:
    assert pairs_of(tmp_path, ticks=ONSET) == []
