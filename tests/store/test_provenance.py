"""What a generation learnt from stays as it was, whatever happens to labels and drives; and a takeover finds it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from takeover.errors import UsageError
from takeover.store import learnt, provenance, queries
from takeover.store.database import Store
from takeover.store.forget import forget
from takeover.store.rows import (
    EvaluationRow,
    GenerationRow,
    PairRow,
    PromotionRow,
    SegmentRow,
    StepRow,
    TakeoverRow,
)
from takeover.store.story import spans, story
from takeover.vocabulary import (
    Command,
    FailedPlan,
    PairSource,
    Phase,
    PolicyInput,
    PreferencePair,
    Reason,
    Role,
)

from .drives import OUTCOME, record

ANNA, BEN = "driver-aaaaaaaaaaaa", "driver-bbbbbbbbbbbb"
CASES = [f"ParkedObstacle/{seed}" for seed in range(4)]
RESULTS = {0: (True, False, False, False), 1: (False, True, True, False), 2: (True, True, True, True)}


@dataclass
class Home:
    """A home with an expert's drive, and one of each driver with a takeover."""

    store: Store
    anna: str
    ben: str
    expert: str


def takeover_row(episode_id: str, **changes: Any) -> TakeoverRow:
    return replace(
        TakeoverRow(
            f"{episode_id}/0", f"{episode_id}/0", episode_id, 30, 20, "ttc", 40, 45, Reason.RULE, True, False, 1.0,
            1.0, None, "2",
        ),
        **changes,
    )  # fmt: skip


def pair_row(episode_id: str, tick: int, source: PairSource, weight: float, reject: str = "") -> PairRow:
    return PairRow(
        f"{episode_id}/0/{source.value}/{tick}", episode_id, f"{episode_id}/0", tick, source, not reject, reject, 1,
        "train", "ParkedObstacle/3", "0", "", [0.0] * 16, [True] * 8, [0.0] * 16, 1.0, 0.0, weight, 0, "2",
    )  # fmt: skip


def as_trained(store: Store) -> list[PreferencePair]:
    """The admitted pairs as they reach the trainers; their pictures are of no matter here."""
    seen = PolicyInput(
        np.zeros((2, 1, 4, 4, 3), np.uint8), np.zeros((4, 3)), 8.0, 0.0, 0.0, next(iter(Command))
    )
    plan = np.zeros((8, 2))
    return [
        PreferencePair(
            row["pair_id"], seen, plan, np.ones(8, bool), plan, PairSource(row["source"]), row["weight"], Role.TRAIN,
            row["case_id"], 1.0, 0.0,
        )
        for row in queries.pairs(store, admitted=True)
    ]  # fmt: skip


def label(store: Store, episode_id: str, *, weight: float = 1.0) -> None:
    """Two pairs and a recovery, and one candidate that is left out."""
    store.put_labels(
        [episode_id],
        [takeover_row(episode_id, weight=weight)],
        [
            SegmentRow(
                f"{episode_id}/{phase}", episode_id, f"{episode_id}/0", phase, start, end, who, "rule", True, weight, "2"
            )
            for phase, start, end, who in ((Phase.NEGATIVE, 0, 30, "policy"), (Phase.RECOVERY, 30, 40, "driver"))
        ],
        [
            pair_row(episode_id, 20, PairSource.COUNTERFACTUAL, weight),
            pair_row(episode_id, 30, PairSource.HUMAN_ONSET, 0.25 * weight),
            pair_row(episode_id, 40, PairSource.HUMAN, weight, "score_gap"),
        ],
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    store = Store(tmp_path)
    root = tmp_path / "episodes"
    ids = [record(root, driver_kind="human", driver_id=driver, generation="0").name for driver in (ANNA, BEN)]
    expert = record(
        root, driver_kind="expert", driver_id="", generation="expert", outcome=replace(OUTCOME, takeovers=0)
    )
    store.recover()
    for episode_id in ids:
        label(store, episode_id)
    return Home(store, *ids, expert.name)


def keep(store: Store, number: int) -> None:
    """A round reads its data, and keeps what it read."""
    learnt.keep_round(store, "run", number, learnt.sources(store), as_trained(store))


def register(store: Store, number: int, parent: int | None, gate: str) -> None:
    """A generation with its stored results on four cases, judged against its parent."""
    sha256 = f"{number}" * 64
    rows: list[Any] = [GenerationRow(number, str(number + 1), parent, "run", number, "", sha256, gate=gate)]
    rows += [
        EvaluationRow(
            sha256, "longtail", case, "ParkedObstacle", seed, False, number, success, 50.0, 90.0, ""
        )
        for seed, (case, success) in enumerate(zip(CASES, RESULTS[number], strict=True))
    ]
    if parent is None:
        rows.append(PromotionRow("p0", None, number, "promote", False, {"reason": "the first generation"}))
    store.put(rows)


def test_what_a_round_read_stays_as_it_was(home: Home) -> None:
    keep(home.store, 1)
    register(home.store, 1, None, "start")
    kept = learnt.kept(home.store, "run", 1)
    assert [
        (row["kind"], row["source"], row["weight"]) for row in kept if row["episode_id"] == home.anna
    ] == [
        ("pair", "counterfactual", 1.0),
        ("pair", "human_onset", 0.25),
        ("recovery", "human", 1.0),
    ]
    assert [(r["source"], r["item_id"]) for r in kept if r["kind"] == "replay"] == [("expert", home.expert)]
    before = learnt.digest(kept)
    label(home.store, home.anna, weight=2.0)  # a driver changes the verdict later
    home.store.rebuild()
    assert learnt.digest(learnt.kept(home.store, "run", 1)) == before
    view = home.store.query(
        "SELECT item_id, weight FROM generation_data WHERE generation = 1 AND kind = 'pair' ORDER BY 1"
    )
    assert {row["weight"] for row in view} == {1.0, 0.25}
    keep(home.store, 1)  # read again: as it is now, nothing twice
    again = learnt.kept(home.store, "run", 1)
    assert len(again) == len(kept)
    assert learnt.digest(again) != before


def test_what_changes_while_a_round_reads_is_not_kept(home: Home) -> None:
    found, pairs = learnt.sources(home.store), as_trained(home.store)
    home.store.put_labels([home.anna], [], [], [])  # the driver takes it all back, before the list is written
    record(home.store.episodes, driver_kind="expert", outcome=replace(OUTCOME, takeovers=0))
    home.store.recover()
    learnt.keep_round(home.store, "run", 1, found, pairs)
    kept = learnt.kept(home.store, "run", 1)
    assert [(r["kind"], r["takeover_id"]) for r in kept if r["episode_id"] == home.anna] == [
        ("pair", f"{home.anna}/0"),
        ("pair", f"{home.anna}/0"),
        ("recovery", f"{home.anna}/0"),
    ]
    assert [r["item_id"] for r in kept if r["kind"] == "replay"] == [home.expert]
    assert found.watched == sorted([home.anna, home.ben])
    assert learnt.sources(home.store).watched == [home.ben]
    assert learnt.sources(home.store, 0).pairs == []


def test_generation_zero_says_which_drives_taught_what(home: Home) -> None:
    failed = record(home.store.episodes, driver_kind="expert", outcome=replace(OUTCOME, success=False))
    home.store.recover()
    drives = queries.episodes(home.store, driver_kind="expert", role="train", whole=True)
    learnt.keep_drives(home.store, "run", drives)
    kept = {row["item_id"]: row["source"] for row in learnt.kept(home.store, "run", 0)}
    assert kept == {home.expert: "expert", failed.name: "grounding"}


def test_what_loop_init_was_given(tmp_path: Path) -> None:
    store, qa = Store(tmp_path), tmp_path / "qa.jsonl"
    qa.write_bytes(b"{}")
    learnt.keep_given(store, "run", "some/checkpoint", qa)
    kept = [(row["item_id"], row["source"], row["content_sha256"]) for row in learnt.kept(store, "run", 0)]
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # sha256 of the bytes {}
    assert sorted(kept) == [(str(qa), "qa", digest), ("some/checkpoint", "model", "")]


def test_made_of_names_parents_drivers_and_cases(home: Home) -> None:
    register(home.store, 0, None, "start")
    keep(home.store, 1)
    register(home.store, 1, 0, "inconclusive")
    evidence = {"gained": 2, "lost": 1, "cases": 4, "p_value": 0.5, "outcome": "inconclusive"}
    home.store.put([PromotionRow("p1", 0, 1, "inconclusive", False, evidence, "run", 1)])
    stage = {
        "stage": "sft",
        "seconds": 2.0,
        "steps": 3,
        "metrics": {},
        "skipped_reason": "",
        "stopped_reason": "",
    }
    home.store.put([StepRow("run", 1, "refine", "", {"stages": [stage], "data": []})])
    made = provenance.made_of(home.store, provenance.generation_named(home.store, "1"))
    assert (made["parents"], made["children"], made["parent_version"]) == ([0], [], "1")
    assert (made["gate"]["gained_cases"], made["gate"]["lost_cases"]) == (CASES[1:3], CASES[:1])
    assert made["stages"] == [stage]
    assert {
        (d["driver_id"], d["pairs"], d["recoveries"], d["takeovers"]) for d in made["data"]["drivers"]
    } == {
        (ANNA, 2, 1, 1),
        (BEN, 2, 1, 1),
        ("expert", 0, 0, 0),
    }
    sources = {(s["kind"], s["source"]): (s["items"], s["weight"]) for s in made["data"]["sources"]}
    assert sources[("pair", "human_onset")] == (2, 0.5)
    assert [row["to_generation"] for row in made["log"]] == [1]
    first = provenance.made_of(home.store, provenance.generation_named(home.store, "champion"))
    assert (first["generation"], first["children"], first["gate"]) == (0, [1], None)
    assert not first["data"]["kept"]


def test_a_takeover_is_told_to_its_driver(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    register(home.store, 0, None, "start")
    found = provenance.became_of(home.store, provenance.takeover_named(home.store, home.anna[:8]))
    assert story(found)[1].endswith("and no generation has learnt from it yet.")
    for number, gate in ((1, "inconclusive"), (2, "promote")):
        keep(home.store, number)
        register(home.store, number, 0, gate)
    home.store.put([PromotionRow("p2", 0, 2, "promote", False, {})])
    found = provenance.became_of(home.store, provenance.takeover_named(home.store, f"{home.anna}/0"))
    assert story(found) == [
        "Your takeover of 00:00 (rule): generation 0 failed in ParkedObstacle/3 after 1.5 s, and you drove for 0.8 s.",
        "It went into 2 pairs and 1 recovery (1 candidate left out: score_gap 1), and shaped generations 1-2; "
        "promoted: 2.",
        "On the 4 ParkedObstacle cases of the gate's suites that both have driven the champion, generation 2, passes 4; "
        "generation 0, which failed here, passed 1.",
    ]
    assert [(g["generation"], g["pairs"], g["recoveries"], g["weight"]) for g in found["generations"]] == [
        (1, 2, 1, 2.25),
        (2, 2, 1, 2.25),
    ]
    assert found["later"] == []


def test_champion_and_failed_generation_are_compared_on_the_same_cases(home: Home) -> None:
    """The champion has passed 4 of 4; generation 0, given up after its first two cases, 1 of 2: 2 against 1 of these."""
    register(home.store, 0, None, "start")
    register(home.store, 2, 0, "promote")
    home.store.put([PromotionRow("p2", 0, 2, "promote", False, {})])
    home.store.write(
        lambda open_one: open_one.connection.execute(
            "DELETE FROM evaluations WHERE generation = 0 AND seed >= 2"
        )
    )
    found = provenance.became_of(home.store, provenance.takeover_named(home.store, f"{home.anna}/0"))
    assert [(row["generation"], row["cases"], row["passed"]) for row in found["scene"]] == [
        (0, 2, 1),
        (2, 4, 4),
    ]
    assert found["compared"] == {"cases": 2, "champion": 2, "failed": 1}
    home.store.put([PromotionRow("p3", 2, 0, "rollback", False, {})])
    found = provenance.became_of(home.store, provenance.takeover_named(home.store, f"{home.anna}/0"))
    assert found["compared"] is None
    assert story(found)[-1].endswith("generation 0, passes 1 of 2; it is the one that failed here.")


def test_a_failed_plan_belongs_to_its_takeover(home: Home) -> None:
    pair = as_trained(home.store)[0]
    refused = f"{home.anna}/0/human/40"
    plan = FailedPlan(pair.input, pair.rejected_m, pair.chosen_mask, 0.5, Role.TRAIN, "c", refused)
    learnt.keep_round(home.store, "run", 1, learnt.sources(home.store), [], [plan])
    register(home.store, 1, None, "start")
    found = provenance.became_of(home.store, provenance.takeover_named(home.store, home.anna))
    assert [(g["pairs"], g["failed_plans"], g["weight"]) for g in found["generations"]] == [(0, 1, 1.5)]
    assert "2 pairs and 1 recovery and 1 plan to keep away from" in story(found)[1]


def test_generations_from_before_data_were_kept_are_read_from_their_steps(home: Home) -> None:
    register(home.store, 0, None, "start")
    names = [f"{home.anna}/0/counterfactual/20", f"{home.ben}/0/human_onset/30"]
    home.store.put([StepRow("run", 1, "refine", "", {"stages": [], "data": names})])
    register(home.store, 1, 0, "inconclusive")
    found = provenance.became_of(home.store, provenance.takeover_named(home.store, home.ben))
    assert [(g["generation"], g["pairs"], g["recoveries"]) for g in found["generations"]] == [(1, 1, None)]


def test_a_forgotten_driver_leaves_ids_alone(home: Home) -> None:
    register(home.store, 0, None, "start")
    keep(home.store, 1)
    register(home.store, 1, 0, "inconclusive")
    before = learnt.digest(learnt.kept(home.store, "run", 1))
    assert forget(home.store, ANNA).trained == (1,)  # no step names it: what was kept does
    assert learnt.digest(learnt.kept(home.store, "run", 1)) == before
    made = provenance.made_of(home.store, provenance.generation_named(home.store, "1"))
    assert {d["driver_id"]: d["forgotten"] for d in made["data"]["drivers"]} == {
        ANNA: True,
        BEN: False,
        "expert": False,
    }
    for text in (home.anna[:9], f"{home.anna}/0"):
        with pytest.raises(UsageError, match=f"removed with its driver {ANNA}"):
            provenance.takeover_named(home.store, text)


def test_unknown_names_get_the_nearest(home: Home, tmp_path: Path) -> None:
    for number, parent in ((0, None), (1, 0)):
        register(home.store, number, parent, "")
    with pytest.raises(UsageError, match="no generation `7`") as caught:
        provenance.generation_named(home.store, "7")
    assert "the nearest is 1" in caught.value.fix
    with pytest.raises(UsageError, match="no takeover `zzzz`"):
        provenance.takeover_named(home.store, "zzzz")
    with pytest.raises(UsageError) as caught:
        provenance.takeover_named(home.store, f"{home.ben}/7")
    assert f"the nearest is {home.ben}/0" in caught.value.fix
    two = [takeover_row(home.ben), takeover_row(home.ben, takeover_id=f"{home.ben}/1")]
    home.store.put_labels([home.ben], two, [])
    with pytest.raises(UsageError, match="2 takeovers begin"):
        provenance.takeover_named(home.store, home.ben)
    empty = Store(tmp_path / "empty")
    with pytest.raises(UsageError, match="no generation `champion`"):
        provenance.generation_named(empty, "champion")
    with pytest.raises(UsageError, match="no takeover"):
        provenance.takeover_named(empty, "3f2a")
    assert not (tmp_path / "empty").exists()


def test_spans() -> None:
    assert spans([1, 2, 3, 4, 6]) == "1-4, 6"
    assert spans([5]) == "5"
    assert spans([]) == ""
