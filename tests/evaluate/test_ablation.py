from __future__ import annotations

import json
from pathlib import Path

import pytest

from takeover.evaluate.ablation import SeedResult, arm_figures
from takeover.evaluate.ablation_page import as_json, markdown, write
from takeover.evaluate.closed_loop import CaseResult
from takeover.vocabulary import Case

SETTING = {
    "suite": "longtail",
    "cases": 4,
    "nominal_cases": 2,
    "seeds": [0, 1],
    "generation": 0,
    "decoder": "mlp",
    "reference": "SFT + DPO",
    "tuning_trials": 1,
    "missing": ["full (seed 1)"],
}


def result(
    scenario: str,
    seed: int,
    won: bool,
    *,
    decoy: bool = False,
    infractions: tuple[str, ...] = (),
    phantom: int = 0,
    still_s: float = 0.0,
    duration_s: float = 10.0,
) -> CaseResult:
    return CaseResult(
        Case(scenario, seed, decoy),
        won,
        100.0 if won else 40.0,
        100.0 if won else 50.0,
        infractions,
        "route_complete",
        100.0,
        duration_s,
        phantom,
        still_s,
    )


def outcome(tail: tuple[bool, ...], nominal: tuple[bool, bool], **late: float) -> SeedResult:
    """Two braking cases, a steering one, a decoy; two nominal ones."""
    scenarios = ("DynamicObjectCrossing", "HardBreakRoute", "ParkedObstacle", "StaticCutIn")
    return SeedResult(
        [
            result(s, i, won, decoy=i == 3, infractions=() if won else ("collision_vehicle",), **late)  # type: ignore[arg-type]
            for i, (s, won) in enumerate(zip(scenarios, tail, strict=True))
        ],
        [result("LaneFollowing", 10 + i, won, **late) for i, won in enumerate(nominal)],  # type: ignore[arg-type]
        text_steps=72,
        head_steps=9,
        seconds=30.0,
    )


BASE = outcome((False, False, False, True), (True, True))


def test_figures_by_hand() -> None:
    arm = {
        0: outcome((True, True, False, True), (True, False), duration_s=12.0),
        1: outcome((True, False, True, True), (True, True), duration_s=12.0, phantom=1),
    }
    row = arm_figures("arm", "", arm, BASE)
    assert row.sr == (0.75, 0.75)
    assert row.sr_mean == 0.75
    assert row.sr_gain.mean == pytest.approx(0.5)  # 1 of 4 before
    assert row.sr_gain.lower <= 0.5 <= row.sr_gain.upper
    assert row.ds == pytest.approx(0.75 * 100 + 0.25 * 40)
    assert row.ds_gain.mean == pytest.approx(30.0)  # two of four cases rise by 60
    assert row.sr_braking == pytest.approx(3 / 4)
    assert row.sr_steering == pytest.approx(1 / 2)
    assert row.sr_decoys == 1.0
    assert row.no_collision == pytest.approx(6 / 8)
    assert row.on_road == 1.0
    assert row.progress == pytest.approx((6 * 100 + 2 * 50) / 8)
    # calm: a decoy and two nominal cases a seed, 0.1 km each; seed 1 brakes once on each of its three
    assert row.phantom_per_km == pytest.approx(3 / 0.6)
    assert row.time_lost_s == pytest.approx(2.0)
    assert row.sr_nominal == pytest.approx(3 / 4)
    assert row.nominal_gain.mean == pytest.approx(-0.25)
    assert (row.text_steps, row.head_steps, row.train_s) == (72, 9, 30.0)


def test_arms_are_compared_seed_by_seed() -> None:
    reference = {0: outcome((True, False, False, True), (True, True)), 1: BASE}
    better = {0: outcome((True, True, True, True), (True, True)), 2: BASE}
    row = arm_figures("full", "", better, BASE, reference)
    assert row.sr_against is not None
    assert row.sr_against.mean == pytest.approx(0.5)  # seed 0 alone is in both: two of four cases more
    assert arm_figures("SFT + DPO", "", reference, BASE, reference).sr_against is None
    other = SeedResult(list(reversed(BASE.longtail)), BASE.nominal)
    with pytest.raises(ValueError, match="same cases"):
        arm_figures("mixed up", "", {0: other}, BASE)


def test_the_interval_is_wider_when_seeds_disagree() -> None:
    def width(*tails: tuple[bool, ...]) -> float:
        gain = arm_figures(
            "arm", "", {i: outcome(tail, (True, True)) for i, tail in enumerate(tails)}, BASE
        ).sr_gain
        return gain.upper - gain.lower

    all_won, none_won = (True,) * 4, (False, False, False, True)
    assert width(all_won, none_won) > width(all_won, all_won)


def test_page_json_and_picture(tmp_path: Path) -> None:
    rows = [arm_figures("generation 0", "the start", {0: BASE}, BASE)]
    rows.append(arm_figures("SFT + DPO", "reference", {0: BASE}, BASE))
    text = markdown(rows, SETTING)
    assert "| generation 0 | 1 | 72 + 9 | 25.0 (25) | +0.0 [+0.0, +0.0]" in text
    assert "Not done yet: full (seed 1)." in text
    paths = write(rows, SETTING, tmp_path)
    assert paths["png"].read_bytes()[:4] == b"\x89PNG"
    found = json.loads(paths["json"].read_text())
    assert found == as_json(rows, SETTING)
    assert found["arms"][1]["sr_gain"] == {"mean": 0.0, "lower": 0.0, "upper": 0.0}
