from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from takeover.models.policy import Policy
from takeover.refine import probe as module
from takeover.refine.config import RefineConfig
from takeover.refine.probe import Probe
from takeover.refine.report import flat_metrics
from takeover.refine.stages import run_stages
from takeover.vocabulary import Plan

from .conftest import make_pairs, make_samples


def many(cases: int) -> list:
    base = make_samples(4, 5, negative=False)
    return [replace(base[i % 4], case_id=f"LaneFollowing/{i}") for i in range(cases)]


def test_a_fixed_few_cases_never_train() -> None:
    replay = many(600)
    held = Probe(replay)
    left_out = {s.case_id for s in replay} - {s.case_id for s in held.training}
    assert 16 <= len(left_out) <= 60  # one in twenty
    later = Probe([*replay, *many(900)[600:]])
    assert left_out <= {s.case_id for s in many(900)} - {s.case_id for s in later.training}
    few = many(40)
    assert Probe(few).training == few  # too few: nothing is held out
    assert Probe(few).figures(None) == {}  # type: ignore[arg-type]


class Planner:
    """Plans a share of the way of every target."""

    def __init__(self, share: float) -> None:
        self.share = share

    def try_plan(self, inputs: list, generation: str) -> list[Plan]:
        steps = np.arange(1, 9, dtype=np.float32) * 0.5
        return [
            Plan(np.stack((self.share * item.speed_mps * steps, 0 * steps), 1), 0, generation)
            for item in inputs
        ]


def test_figures_of_timid_and_of_good_plans() -> None:
    probe = Probe(many(600))
    assert probe.figures(Planner(1.0))["needless_brakes"] == 0.0  # type: ignore[arg-type]
    assert probe.figures(Planner(1.0))["progress_ratio"] == pytest.approx(1.0, abs=0.03)  # type: ignore[arg-type]
    timid = probe.figures(Planner(0.2))  # type: ignore[arg-type]
    assert timid["progress_ratio"] == pytest.approx(0.2, abs=0.01)
    # from v to 0.2 v in two seconds: 0.4 v > 2 m/s2 only above 5 m/s, and the speeds are 4, 6 and 8
    assert 0.0 < timid["needless_brakes"] < 1.0


def test_each_stage_reports_its_caution(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST", 2)
    off = {"enabled": False}
    config = RefineConfig.model_validate(
        {
            "sft": {"max_steps": 1, "per_device_train_batch_size": 2},
            "dpo": off,
            "grpo": off,
            "refit": {"epochs": 1},
            "anchor": off,
        }
    )
    reports = run_stages(policy, make_samples(2), make_pairs(2), many(100), config, 0, tmp_path)
    flat = flat_metrics([report.to_json() for report in reports])
    for name in ("progress_ratio", "needless_brakes", "held_out_ade_m", "unusable_plans"):
        assert f"sft/{name}" in flat
        assert f"sft/{name}_before" in flat
        assert f"refit/{name}" in flat
        assert f"refit/{name}_before" not in flat
