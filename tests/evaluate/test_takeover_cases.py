"""Takeovers as cases: a real one is driven again to its own state; the rules of admission, hold-out and gate."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from takeover.cli import app
from takeover.collect.fleet import Fleet
from takeover.collect.jobs import EpisodeJob
from takeover.collect.labels import label_episode
from takeover.collect.rerun import Deviation
from takeover.config import GateConfig
from takeover.errors import UsageError
from takeover.evaluate import takeover_cases
from takeover.evaluate.evaluator import Silent
from takeover.evaluate.gate import GateDecision
from takeover.evaluate.takeover_cases import TakeoverCases, TakeoverScene, held_out, lost_cases, verdict
from takeover.evaluate.whatif import what_if
from takeover.loop import RunConfig
from takeover.store import learnt, provenance, queries
from takeover.store.database import Store
from takeover.store.episodes import EpisodeReader
from takeover.store.rows import EvaluationRow, GenerationRow
from takeover.store.story import story
from takeover.vocabulary import Case, Plan, PolicyInput

from ..store.drives import record
from ..store.test_forget import case_row, pair, takeover

SAME = Deviation(0.0, 0.0, 0.0)
EPISODE = "0b2f6a52-6a8e-5a3e-9d0c-3a1f5f0f7f11"


class StraightOn:
    """Generation 0 keeps 8 m/s, into whatever stands there; generation 1 stops where it is."""

    def __init__(self, generation: int) -> None:
        self._mps = 0.0 if generation else 8.0

    def plan(self, inputs: Sequence[PolicyInput], generation: str) -> list[Plan]:
        ahead = np.stack([self._mps * 0.5 * np.arange(1, 9), np.zeros(8)], axis=1).astype(np.float32)
        return [Plan(ahead, 0, generation) for _ in inputs]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(1, logs=tmp_path_factory.mktemp("logs")) as one:
        yield one


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> Store:
    """Generation 0 drove towards a parked car, and the driver took over."""
    store = Store(tmp_path_factory.mktemp("home"))
    job = EpisodeJob(
        EPISODE, Case("ParkedObstacle", 11), generation="0", driver="scripted", style="steer_first", record=store.episodes
    )  # fmt: skip
    result = fleet.run([job], StraightOn(0))[0]
    assert result.path is not None
    assert result.outcome.takeovers >= 1
    store.ingest_many([result.path])
    labels = label_episode(result.path, 1)
    store.put_labels([EPISODE], labels.takeovers, labels.segments, labels.pairs)
    store.put([GenerationRow(n, str(n + 1), n - 1 if n else None, "run", n, "", f"{n}" * 64) for n in (0, 1)])
    return store


def cases_of(store: Store, fleet: Fleet | None = None, *, in_gate: bool = False) -> TakeoverCases:
    def rollouts() -> AbstractContextManager[Fleet]:
        assert fleet is not None, "nothing may be driven here"
        return nullcontext(fleet)

    return TakeoverCases(store, rollouts, StraightOn, Silent(), in_gate=in_gate)


def test_a_takeover_is_certified_by_driving_it_again(home: Store, fleet: Fleet) -> None:
    cases = cases_of(home, fleet)
    (row,) = cases.certify()
    assert (row["failed"], row["expert_passed"], row["tries"]) == (5, 5, 5)
    assert (row["deviation_m"], row["deviation_mps"], row["deviation_deg"]) == (0.0, 0.0, 0.0)
    assert (row["admitted"], row["reason"], row["start_tick"]) == (True, "", 0)
    assert cases_of(home).certify() == []  # nothing is left to try
    name = row["takeover_id"]
    assert cases.drive(0) == {name: False}
    assert cases_of(home).drive(0) == {name: False}  # known: nothing is driven
    assert queries.takeover_cases(home)[0]["passed_by"] == []


def test_a_later_start_is_reached_by_the_recorded_controls(home: Store, fleet: Fleet) -> None:
    """Two seconds of the recorded drive first: the very state of then, whoever plans."""
    reader = EpisodeReader(home.episodes / EPISODE)
    late = TakeoverScene.of(reader, round((takeover_cases.LEAD_S + 2.0) * 20))
    assert late.rerun.start_tick == 40
    results = fleet.run([late.job("expert", planner="expert"), late.job("1")], StraightOn(1))
    assert [late.deviation(one) for one in results] == [SAME, SAME]
    short = replace(late, rerun=replace(late.rerun, controls=late.rerun.controls[:30]))
    result = fleet.run([short.job("expert", planner="expert")])[0]
    assert late.deviation(result).distance_m > 2.0  # half a second at about 8 m/s away from there


def test_what_if_draws_then_and_now_side_by_side(home: Store, fleet: Fleet) -> None:
    row = provenance.takeover_named(home, EPISODE)
    found = what_if(home, cases_of(home, fleet), row, 1)
    assert (found.failed_generation, found.generation, found.certified, found.same_state) == (
        "0",
        1,
        True,
        True,
    )
    assert (found.success, found.then_success) == (
        False,
        EpisodeReader(home.episodes / EPISODE).outcome.success,
    )
    assert found.end in ("timeout", "blocked")  # it stands
    picture = Path(found.picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.parent == home.home / "whatif"
    assert [path.name for path in picture.parent.iterdir()] == [picture.name]  # the drive itself is not kept
    assert "a certified case" in found.text()
    assert found.end in found.text()
    with pytest.raises(UsageError, match="no generation 9"):
        what_if(home, cases_of(home), row, 9)


def test_a_case_begins_eight_seconds_before_the_hazard_on_a_frame(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path, ticks=300))
    # 237 - 160 = 77, and the frame before it; 150 ticks are less than 8 s: from the beginning
    for hazard, start, lead_s in ((237, 70, 8.35), (230, 70, 8.0), (150, 0, 7.5), (3, 0, 0.15)):
        scene = TakeoverScene.of(reader, hazard)
        assert scene.rerun.start_tick == start
        assert scene.lead_s == pytest.approx(lead_s)
        assert set(scene.rerun.controls) <= {(0.0, 0.5, 0.0)}
        assert scene.state[0] == [pytest.approx(0.4 * start), 0.1, 0.01, 8.0]
    assert len(TakeoverScene.of(reader, 237).state) == 3  # the ego, the walker and the car ahead


@pytest.mark.parametrize(
    ("failed", "passed", "off", "why"),
    [
        (3, 4, Deviation(0.5, 0.5, 2.0), ""),
        (2, 5, SAME, "did_not_fail_again"),
        (5, 3, SAME, "expert_fails"),
        (5, 5, Deviation(0.6, 0.0, 0.0), "not_the_same_state"),
        (5, 5, Deviation(math.inf, math.inf, math.inf), "not_the_same_state"),
    ],
)
def test_admission(failed: int, passed: int, off: Deviation, why: str) -> None:
    assert verdict(failed, passed, off) == why


def test_half_are_held_out_by_the_hash_of_their_id() -> None:
    """First bytes of sha256: a/0 d7, b/0 d6, c/0 ef, d/0 18; odd ones are held out."""
    assert [held_out(name) for name in ("a/0", "b/0", "c/0", "d/0")] == [True, False, True, False]
    assert 450 < sum(held_out(f"{number}/0") for number in range(1000)) < 550


def tried(store: Store, successes: dict[int, tuple[bool, ...]]) -> list[str]:
    """Two certified takeovers and one that was not admitted, with results of generations."""
    names = []
    for seed in range(3):
        path = record(store.episodes, case=Case("ParkedObstacle", seed))
        store.ingest_many([path])
        store.put_labels([path.name], [takeover(path.name)], [], [pair(path.name)])
        names.append(f"{path.name}/0")
    seeds = {name: seed for seed, name in enumerate(names)}
    names.sort()
    rows = [
        replace(case_row(name[:-2]), case_id=f"ParkedObstacle/{seeds[name]}", held_out=number == 0)
        for number, name in enumerate(names)
    ]
    store.put([*rows[:2], replace(rows[2], admitted=False, reason="expert_fails")])
    store.put([GenerationRow(n, str(n), None, "run", n, "", f"{n}" * 64) for n in successes])
    store.put(
        [
            EvaluationRow(f"{n}" * 64, "certified", name, "ParkedObstacle", 3, False, n, good, 50.0, 90.0, "")
            for n, results in successes.items()
            for name, good in zip(names, results, strict=False)
        ]
    )
    return names


def test_a_lost_case_is_one_that_the_champion_passes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = tried(store, {0: (True, False), 1: (False, True), 2: (True, True), 3: (True,)})
    assert lost_cases(store, 1, 0) == names[:1]
    assert lost_cases(store, 2, 0) == []
    assert lost_cases(store, 0, 2) == names[1:2]
    with pytest.raises(UsageError, match="1 certified takeovers were not driven by both"):
        lost_cases(store, 3, 0)
    with pytest.raises(UsageError, match="2 certified takeovers"):
        lost_cases(store, 1, 0, ":flow:prompt")
    store.put_labels([names[0][:-2]], [replace(takeover(names[0][:-2]), trains=False)], [])
    assert lost_cases(store, 1, 0) == []  # its driver has called it a mistake since


def test_the_command_lists_what_was_tried(tmp_path: Path) -> None:
    names = tried(Store(tmp_path), {0: (True, False)})
    shown = CliRunner().invoke(app, ["takeovers", "list", "--home", str(tmp_path), "--json"])
    assert shown.exit_code == 0, shown.output
    assert [(row["takeover_id"], row["reason"], row["passed_by"]) for row in json.loads(shown.output)] == [
        (names[0], "", [0]),
        (names[1], "", []),
        (names[2], "expert_fails", []),
    ]
    assert CliRunner().invoke(app, ["takeovers", "list", "--home", str(tmp_path)]).exit_code == 0


def test_the_story_tells_what_came_of_driving_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = tried(store, {0: (False, True), 1: (True, True), 2: (True, False)})
    last = [story(provenance.became_of(store, provenance.takeover_named(store, name)))[-1] for name in names]
    assert last == [
        "Driven again 5 times, generation 0 failed 5 and the expert passed 5: a certified case; generations that pass it: "
        "1-2.",
        "Driven again 5 times, generation 0 failed 5 and the expert passed 5: a certified case; generations that pass it: "
        "0-1.",
        "Driven again 5 times, generation 0 failed 5 and the expert passed 5: no case (expert fails).",
    ]


def decision(outcome: str) -> GateDecision:
    return GateDecision(
        outcome,  # type: ignore[arg-type]
        "17 gained", 17, 1, 64, 0.0001, 0.01, 0.3, 0.3, 0.6, 14.0, (6.0, 22.0), (),
    )  # fmt: skip


def test_the_gate_looks_at_them_only_when_it_is_told_to(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = tried(store, {0: (True, False), 1: (False, True), 2: (True, True)})
    told, untold = cases_of(store, in_gate=True), cases_of(store)
    assert untold.judged(decision("promote"), 1, 0) == decision("promote")
    refused = told.judged(decision("promote"), 1, 0)
    assert (refused.outcome, refused.reason) == ("reject", f"certified takeovers lost: {names[0]}")
    assert told.judged(decision("promote"), 2, 0) == decision("promote")
    assert told.judged(decision("inconclusive"), 1, 0) == decision("inconclusive")


def test_nothing_of_a_held_out_drive_trains_when_that_is_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = tried(store, {})
    held = queries.certified(store, held_out=True)[0]["case_id"]
    again = record(store.episodes, case=Case("ParkedObstacle", int(held[-1])), driver_kind="expert").name
    other = record(store.episodes, case=Case("ParkedObstacle", 9), driver_kind="expert").name
    store.recover()
    everything, taught = learnt.sources(store), learnt.sources(store, hold_out=True)
    assert {row["takeover_id"] for row in everything.pairs} == set(names)
    assert {row["takeover_id"] for row in taught.pairs} == set(names[1:])
    assert {row["episode_id"] for row in everything.experts} == {again, other}
    assert {row["episode_id"] for row in taught.experts} == {
        other
    }  # the expert's drive of the very scene neither


def test_a_run_is_known_by_the_same_hash_as_before_while_it_is_off() -> None:
    assert "takeover_cases" not in RunConfig().model_dump(mode="json")["gate"]
    told = RunConfig(gate=GateConfig(takeover_cases=True))
    assert told.model_dump(mode="json")["gate"]["takeover_cases"] is True
    assert RunConfig.model_validate(told.model_dump(mode="json")) == told
