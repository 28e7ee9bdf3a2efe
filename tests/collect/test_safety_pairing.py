from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from takeover.collect.counterfactual import best_replan
from takeover.collect.pair_gates import Choice, judge, tracked
from takeover.collect.pairs import PairCandidate, PairConfig, build_pairs
from takeover.collect.safety_pairing import safety_pairing
from takeover.collect.samples import preference_pair, scene_at
from takeover.collect.segmenter import segment
from takeover.scoring.pdms import score_plans
from takeover.scoring.replans import two_stage_plans
from takeover.store.episodes import EpisodeReader
from takeover.store.maps import save_map
from takeover.store.rows import SafetyRow
from takeover.vocabulary import EgoState, PairSource, Role

from . import takeovers
from .takeovers import CAR, ONSET, record

SAFEALIGN = PairConfig(variant="safealign")


def found_in(
    home: Path, config: PairConfig = PairConfig(), annotations: Any = (), **changes: Any
) -> tuple[dict[int, SafetyRow], list[PairCandidate]]:
    reader = EpisodeReader(record(home, **changes))
    labels, candidates = safety_pairing(reader, segment(reader, annotations=annotations), config)
    return {label.tick: label for label in labels}, candidates


def test_every_state_has_a_label(tmp_path: Path) -> None:
    labels, _ = found_in(tmp_path)
    assert sorted(labels) == list(range(0, 200, 10))
    # 60 m less half a car each (2.4 + 2.45 m) is 55.15 m; after 4 s at 10 m/s 15.15 m are left: 1.5 s
    assert labels[0].label == "neg"
    assert labels[0].cause == "ttc"
    assert labels[0].min_ttc_s == pytest.approx(1.515, abs=0.02)
    assert labels[0].observed == "issued_plan"  # the driver's rescue at tick 62 is within the 4 s
    assert labels[20].min_ttc_s == pytest.approx(0.515, abs=0.02)
    assert labels[40].min_ttc_s == 0.0
    assert labels[70].observed == "driver"
    assert not labels[70].trains
    # at tick 110 the car stands at 41 m: safe, but nobody's plan
    assert (labels[110].label, labels[110].reason) == ("pos", "driven_by_driver")


def test_a_rescue_is_nobodys_where_the_policy_made_no_plan(tmp_path: Path) -> None:
    """At tick 20 the policy drives, without a plan of its own; the driver brakes 2.1 s later."""
    labels, candidates = found_in(tmp_path, unplanned=[20])
    assert {tick: labels[tick].observed for tick in (10, 20, 30)} == {
        10: "issued_plan",
        20: "driver",
        30: "issued_plan",
    }
    assert (labels[20].reason, labels[20].generation) == ("driven_by_driver", "")
    assert not [one for one in candidates if one.admitted and one.tick == 20]


def test_the_threshold_is_a_key(tmp_path: Path) -> None:
    labels, _ = found_in(tmp_path, PairConfig(risk_ttc_s=1.5))
    assert labels[0].label == "pos"
    assert labels[10].label == "neg"


@pytest.mark.parametrize("variant", ["safealign", "ours"])
def test_drives_without_a_takeover_give_pairs(tmp_path: Path, variant: Any) -> None:
    path = record(tmp_path, ticks=ONSET)
    reader = EpisodeReader(path)
    assert not segment(reader).takeovers
    assert not build_pairs(reader, segment(reader))
    _, candidates = safety_pairing(reader, segment(reader), PairConfig(variant=variant))
    admitted = [c for c in candidates if c.admitted]
    assert admitted
    for pair in admitted:
        assert pair.source is PairSource.COUNTERFACTUAL
        assert pair.takeover_id == ""
        assert pair.pair_id == f"{path.name}/counterfactual/{pair.tick}"
        assert pair.rejected_m[-1, 0] == pytest.approx(40.0, abs=0.5)
        assert pair.score_chosen >= pair.score_rejected + 0.1
        assert pair.critical_actor_id == CAR
        assert pair.details["label"] == "neg"
        assert pair.details["variant"] == variant


def test_the_papers_positive_is_the_best_of_its_re_plans(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path))
    scene = scene_at(reader, 40)
    observed = np.stack([5.0 * np.arange(1, 9), np.zeros(8)], 1)
    plans = two_stage_plans(scene, 10.0)
    best = best_replan(scene, 10.0, observed, SAFEALIGN)
    scores = score_plans(scene, plans)
    assert score_plans(scene, best.plan_m[None]).pdms[0] == pytest.approx(scores.pdms.max())
    assert any(np.allclose(best.plan_m, plan) for plan in plans)
    assert best.counts["replans"] == 49
    assert best.counts["collide"] == int((scores.nc < 1.0).sum()) > 0
    assert sum(best.counts.values()) == 2 * 49  # each has one fate
    lateral = best_replan(scene, 10.0, observed, PairConfig())
    assert lateral.counts["replans"] == (49 + 7) * 7  # two stages and IDM; in the lane, and round what stands
    alone = best_replan(scene, 10.0, observed, PairConfig(lateral=False))
    assert alone.counts["replans"] == 49 + 7


def test_the_best_of_four_by_hand(tmp_path: Path) -> None:
    """10 m/s, a car's rear at 33.15 m less the own front; each stage keeps the speed or brakes at 3 m/s2.

    Keeping on collides. Braking first and then rolling at 7 m/s ends 29.5 m on, half a second from the car: no TTC. To
    brake all the time is safe, and 16.7 m far; braking from 1 s on is safe, and 26.5 m far: 10 + 10 s - 1.5 s2.
    """
    reader = EpisodeReader(record(tmp_path))
    scene = scene_at(reader, 0)
    agents = scene.agents.copy()
    agents[0, :, 0] = 38.0
    scene = replace(scene, agents=agents, reference_progress_m=26.5, reference_multiplier=1.0)
    keep = np.stack([5.0 * np.arange(1, 9), np.zeros(8)], 1)
    best = best_replan(scene, 30.0, keep, replace(SAFEALIGN, stage_rates_ps=(-0.3, 0.0)))
    assert best.counts["replans"] == 4
    assert best.counts["collide"] == 1
    assert best.plan_m[:, 0] == pytest.approx([5.0, 10.0, 14.625, 18.5, 21.625, 24.0, 25.625, 26.5])


def test_truncated_drives_are_labelled_and_never_train(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path))
    reader.truncated = True
    labels, candidates = safety_pairing(reader, segment(reader))
    assert {label.reason for label in labels} == {"truncated"}
    assert {candidate.reject_reason for candidate in candidates} == {"truncated"}


def test_what_the_policy_did_counts_where_nobody_took_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeovers, "ONSET", 150)  # through the car, and on
    labels, candidates = found_in(tmp_path)
    assert {labels[tick].observed for tick in range(0, 71, 10)} == {"executed"}
    assert labels[80].observed == "issued_plan"
    pair = next(c for c in candidates if c.tick == 40)
    assert pair.rejected_m == pytest.approx(np.stack([5.0 * np.arange(1, 9), np.zeros(8)], 1), abs=0.01)
    beside, none = found_in(tmp_path / "beside", parked_y_m=8.0)
    assert not none
    assert (beside[0].label, beside[0].min_ttc_s, beside[0].trains) == ("pos", None, True)
    assert beside[80].reason == "not_executed"


def test_leaving_the_road_is_unsafe_to_us_and_unseen_by_the_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeovers, "ONSET", 150)
    short = [np.array([[-60.0, -1.75], [30.0, -1.75], [30.0, 5.25], [-60.0, 5.25]])]
    layers = {"roadblocks": short, "lanes": short, "intersections": []}
    changes = {"parked_y_m": 8.0, "polygons_sha256": save_map(tmp_path, layers)}
    save_map(tmp_path / "published", layers)
    ours, pairs = found_in(tmp_path, **changes)
    assert (ours[0].label, ours[0].cause) == ("neg", "off_road")
    assert next(c for c in pairs if c.tick == 0).admitted
    published, none = found_in(tmp_path / "published", SAFEALIGN, **changes)
    assert not none
    assert (published[0].label, published[0].reason) == ("pos", "off_road")


def test_needless_braking_is_safe_and_nothing_to_imitate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def braking(tick: int) -> EgoState:
        return EgoState(0.5 * tick, 0.0, 0.0, 10.0, -3.0 if 40 <= tick < 50 else 0.0)

    monkeypatch.setattr(takeovers, "ONSET", 150)
    monkeypatch.setattr(takeovers, "ego_at", braking)
    labels, _ = found_in(tmp_path, parked_y_m=8.0)
    assert {labels[tick].reason for tick in range(0, 50, 10)} == {"phantom_brake"}
    assert labels[50].trains


def test_behind_the_routes_end_the_road_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeovers, "ONSET", 150)
    short = [np.array([[-60.0, -1.75], [30.0, -1.75], [30.0, 5.25], [-60.0, 5.25]])]
    polygons = save_map(tmp_path, {"roadblocks": short, "lanes": short, "intersections": []})
    route = np.stack([np.arange(-40.0, 26.0), np.zeros(66)], 1)  # ends at 25 m, the road at 30 m
    changes = {"polygons_sha256": polygons, "route_centerline_m": route}
    beside, _ = found_in(tmp_path, parked_y_m=8.0, **changes)
    assert (beside[0].label, beside[0].reason) == ("pos", "off_road")
    ahead, candidates = found_in(tmp_path, ticks=199, **changes)
    assert (ahead[0].label, ahead[0].reason) == ("neg", "route_ends")
    assert not [c for c in candidates if c.admitted]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"visible_px": 11}, "not_visible"),
        ({"role": Role.GATE}, "held_out"),
        ({"role": Role.FINAL}, "held_out"),
        ({"fault_tick": 100}, "sim_fault"),
        ({"plan_generation": "1"}, "other_generation"),
        ({"reason": "wish"}, "reason_wish"),
        (
            {"annotations": [{"onset_tick": ONSET, "verdict": "mistake", "reason": ""}]},
            "verdict_mistake",
        ),
        (
            {"annotations": [{"onset_tick": None, "verdict": "discard", "reason": ""}]},
            "episode_never_trains",
        ),
    ],
)
def test_gates_store_their_reason(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    labels, candidates = found_in(tmp_path, **changes)
    assert labels[40].label == "neg"
    assert (labels[40].trains, labels[40].reason) == (False, reason)
    assert [c.reject_reason for c in candidates if c.tick == 40] == [reason]
    assert not [c for c in candidates if c.admitted]


def test_nothing_drives_on_at_a_red_light(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path, parked_y_m=8.0))
    scene = scene_at(reader, 20)
    on = np.stack([4.0 * np.arange(1, 9), np.zeros(8)], 1)
    waits = np.stack([np.linspace(4.0, 16.0, 8), np.zeros(8)], 1)
    choice = Choice(
        PairSource.COUNTERFACTUAL, 20, scene, *tracked(scene, on), np.ones(8, bool), *tracked(scene, waits),
        "2", 1.0, at_red=True,
    )  # fmt: skip
    assert judge(reader, None, choice, PairConfig(), "1").reject_reason == "chosen_runs_red"


def test_a_pair_reads_back_with_its_label_in_the_words(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path))
    _, candidates = safety_pairing(reader, segment(reader))
    early = min((c for c in candidates if c.admitted), key=lambda c: c.tick)
    pair = preference_pair(reader, early.to_row(0))
    assert '"current_risk": "high' in pair.reasoning_chosen  # y_t is Neg
    assert pair.chosen_mask.all()
    assert pair.score_chosen == pytest.approx(early.score_chosen)


def test_near_duplicates_are_known_to_their_labels(tmp_path: Path) -> None:
    labels, candidates = found_in(tmp_path)
    for candidate in candidates:
        label = labels[candidate.tick]
        assert (label.reason, label.trains) == (candidate.reject_reason, candidate.admitted)
