"""Stored results belong to what drove: weights, decoder and context, and a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from takeover.config import LoopConfig, PolicyConfig
from takeover.evaluate import evaluator
from takeover.evaluate.closed_loop import CaseResult
from takeover.evaluate.evaluator import Evaluator, Silent
from takeover.evaluate.results import to_row
from takeover.evaluate.run_report import write_summary
from takeover.sim_bridge.scenarios.cases import suite
from takeover.store import history
from takeover.store.database import Store
from takeover.store.provenance import became_of
from takeover.store.rows import GenerationRow, PromotionRow
from takeover.vocabulary import Case

CASES = suite("longtail", 2)
SHA256 = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    moved = PromotionRow("p0", None, 0, "promote", False, {"reason": "the first generation"})
    made.put([GenerationRow(0, "1", None, "run", 0, "", SHA256, gate="start"), moved])
    return made


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cases that reached the simulator."""
    names: list[str] = []

    def drive(fleet: Any, cases: Sequence[Case], policy: Any, **_: Any) -> list[CaseResult]:
        names.extend(case.case_id for case in cases)
        return [result(case) for case in cases]

    monkeypatch.setattr(evaluator, "evaluate_cases", drive)
    return names


def result(case: Case, *, success: bool = True) -> CaseResult:
    return CaseResult(case, success, 100.0, 100.0, (), "route_complete", 90.0, 9.0, 0, 0.0)


def evaluator_of(store: Store, **policy: Any) -> Evaluator:
    setting = PolicyConfig(**policy).setting
    return Evaluator(store, lambda: nullcontext(), lambda generation: None, Silent(), setting)  # type: ignore[arg-type, return-value]


def test_another_decoder_or_context_drives_again(store: Store, driven: list[str]) -> None:
    settings: list[dict[str, Any]] = [{}, {"decoder": "flow"}, {"context": "prompt+reasoning"}]
    for policy in settings:
        driven.clear()
        for one in (evaluator_of(store, **policy), evaluator_of(store, **policy).silent()):
            assert len(one.results(0, "longtail", CASES, "")) == 2
            assert len(one.results_of(lambda: None, "b" * 64, "longtail", CASES, "")) == 2  # type: ignore[arg-type, return-value]
            assert len(one.known(0, "longtail", CASES)) == 2
        assert len(driven) == 2 * 2, policy  # each set of weights on both cases, once
    keys = store.query(
        "SELECT DISTINCT weights_sha256 AS key FROM evaluations WHERE generation = 0 ORDER BY 1"
    )
    assert [row["key"] for row in keys] == [SHA256, f"{SHA256}:flow:prompt", f"{SHA256}:mlp:prompt&reasoning"]


def test_a_head_beside_the_decoder_changes_no_drive(store: Store, driven: list[str]) -> None:
    evaluator_of(store).results(0, "longtail", CASES, "")
    assert evaluator_of(store, flow=True).known(0, "longtail", CASES)


def test_a_baseline_is_no_result_of_the_generation(store: Store, driven: list[str]) -> None:
    flow = evaluator_of(store, decoder="flow")
    flow.results(0, "longtail", CASES, "", baseline="auto_brake")
    assert flow.known(0, "longtail", CASES) == []
    assert history.driven_as(store) == {0: SHA256}  # nothing of its own yet
    assert history.status(store.home)["generations"][0]["cases"] == 0
    flow.results(0, "longtail", CASES, "")
    assert history.driven_as(store) == {0: f"{SHA256}:flow:prompt"}


def test_figures_are_of_one_setting(store: Store) -> None:
    """By `mlp` one of two cases passed, by `flow` both of them: never three of four."""

    def put(setting: str, *successes: bool) -> None:
        rows = [result(case, success=good) for case, good in zip(CASES, successes, strict=True)]
        store.put(
            [to_row(one, weights_sha256=SHA256 + setting, suite="longtail", generation=0) for one in rows]
        )

    flow = LoopConfig(policy=PolicyConfig(decoder="flow"))
    put(flow.policy.setting, True, True)
    assert history.status(store.home)["generations"][0]["sr"] == 1.0
    put("", True, False)
    assert history.status(store.home)["generations"][0]["sr"] == 0.5
    assert [row.sr for row in write_summary(store, "run", store.home, LoopConfig(), 1.0).rows] == [0.5]
    assert [row.sr for row in write_summary(store, "run", store.home, flow, 1.0).rows] == [1.0]
    takeover = {"takeover_id": "t", "scenario": CASES[1].scenario, "decoy": CASES[1].decoy}
    ticks = {"onset_tick": 1, "handback_tick": 2, "generation": "0"}
    scene = became_of(store, {**takeover, **ticks})["scene"]
    told = sum(case.scenario == CASES[1].scenario and case.decoy == CASES[1].decoy for case in CASES)
    assert [row["cases"] for row in scene] == [told]
