"""What the driver says decides what trains: in the cockpit, and after the episode is sealed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from takeover.collect.driver_words import GAS, GAS_END, LABEL, PRACTICE, driver_words
from takeover.collect.labels import annotate, label_episode
from takeover.collect.training_data import preference_pairs, recovery_samples
from takeover.errors import UsageError
from takeover.store import queries
from takeover.store.database import Store
from takeover.store.episodes import EpisodeReader
from takeover.store.learnt import sources
from takeover.vocabulary import Phase, Reason, Verdict

from .takeovers import ONSET, record


def said(verdict: str = "", reason: str = "", onset: int = ONSET) -> tuple[str, int, dict[str, Any]]:
    return LABEL, ONSET + 20, {"onset_tick": onset, "verdict": verdict, "reason": reason}


def stored(home: Path, **changes: Any) -> tuple[Store, str]:
    """A home with one labelled drive."""
    path = record(home, driver_kind="human", **changes)
    store = Store(home)
    store.ingest_many([path])
    labels = label_episode(path, 1)
    store.put_labels([path.name], labels.takeovers, labels.segments, labels.pairs)
    return store, path.name


def lessons(store: Store) -> tuple[int, int]:
    pairs = preference_pairs(store, sources(store, 5))
    return len(pairs), len(recovery_samples(store, sources(store), pairs))


def test_an_unlabelled_takeover_has_the_reason_that_was_measured(tmp_path: Path) -> None:
    store, _ = stored(tmp_path, reason="")
    assert store.query("SELECT reason, trains FROM takeovers") == [
        {"reason": "collision_risk", "trains": True}
    ]
    assert min(lessons(store)) > 0


@pytest.mark.parametrize("verdict", ["mistake", "discard"])
def test_a_veto_in_the_drive_stays_in_the_log_and_never_trains(tmp_path: Path, verdict: str) -> None:
    store, _ = stored(tmp_path, events=[said(verdict)])
    row = store.query("SELECT verdict, trains, reason FROM takeovers")[0]
    assert row == {"verdict": verdict, "trains": False, "reason": "collision_risk"}
    assert {r["reject_reason"] for r in queries.pairs(store)} == {f"verdict_{verdict}"}
    assert store.query("SELECT count(*) AS n FROM segments WHERE phase = 'negative'")[0]["n"] == 1
    assert lessons(store) == (0, 0)
    assert sources(store, 5).watched == []


@pytest.mark.parametrize("reason", ["wish", "system_fault"])
def test_a_label_replaces_the_reason_of_the_takeover(tmp_path: Path, reason: str) -> None:
    store, _ = stored(tmp_path, events=[said(reason=reason)])
    assert {r["reject_reason"] for r in queries.pairs(store)} == {f"reason_{reason}"}
    assert lessons(store) == (0, 0)


def test_good_keeps_and_the_last_word_counts(tmp_path: Path) -> None:
    store, _ = stored(tmp_path, events=[said("discard"), said("good"), said(reason="rule")])
    assert store.query("SELECT verdict, reason, trains FROM takeovers") == [
        {"verdict": "good", "reason": "rule", "trains": True}
    ]
    assert min(lessons(store)) > 0


def test_the_drivers_own_frames_are_never_negatives(tmp_path: Path) -> None:
    for index, verdict in enumerate(("good", "mistake", "discard")):
        path = record(tmp_path / str(index), events=[said(verdict)])
        rows = label_episode(path, 1).segments
        assert not [r for r in rows if r.executed_by == "driver" and r.phase is Phase.NEGATIVE]


def test_practice_never_trains(tmp_path: Path) -> None:
    store, _ = stored(tmp_path, events=[(PRACTICE, 0, {})])
    assert store.query("SELECT reason, trains FROM takeovers") == [{"reason": "training", "trains": False}]
    assert {r["reject_reason"] for r in queries.pairs(store)} == {"reason_training"}
    assert lessons(store) == (0, 0)
    assert sources(store, 5).watched == []


def test_a_word_after_sealing_vetoes_and_survives_a_rebuild(tmp_path: Path) -> None:
    store, episode_id = stored(tmp_path)
    before = lessons(store)
    assert min(before) > 0
    manifest = (tmp_path / "episodes" / episode_id / "manifest.json").read_bytes()
    assert annotate(store, episode_id[:8], onset_tick=ONSET, verdict="mistake", note="braked for a shadow")
    assert lessons(store) == (0, 0)
    store.rebuild()
    assert lessons(store) == (0, 0)
    found = queries.episode(store, episode_id)
    assert [(r["verdict"], r["note"]) for r in found["annotations"]] == [("mistake", "braked for a shadow")]
    assert (tmp_path / "episodes" / episode_id / "manifest.json").read_bytes() == manifest
    assert {r["round"] for r in queries.pairs(store)} == {1}
    annotate(store, episode_id, onset_tick=ONSET, verdict="good")
    assert lessons(store) == before


def test_a_whole_episode_can_be_discarded(tmp_path: Path) -> None:
    store, episode_id = stored(tmp_path)
    annotate(store, episode_id, verdict="discard")
    assert lessons(store) == (0, 0)
    assert {r["reject_reason"] for r in queries.pairs(store)} == {"episode_never_trains"}


def test_a_note_changes_no_label(tmp_path: Path) -> None:
    store, episode_id = stored(tmp_path)
    before = queries.pairs(store)
    annotate(store, episode_id, note="nice one")
    assert queries.pairs(store) == before


def test_words_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    store, episode_id = stored(tmp_path)
    for bad in ({"verdict": "great"}, {"reason": "boredom"}, {"onset_tick": 3, "verdict": "good"}):
        with pytest.raises(UsageError) as error:
            annotate(store, episode_id, **bad)
        assert error.value.fix


def test_gas_alone_is_a_negative_of_its_own(tmp_path: Path) -> None:
    events: list[tuple[str, int, dict[str, Any]]] = [
        (GAS, 10, {}),
        (GAS_END, 13, {}),
        (GAS, 18, {}),
        (GAS_END, 20, {}),
    ]
    path = record(tmp_path, events=events)
    labels = label_episode(path, 1)
    override, takeover = labels.takeovers
    assert (override.takeover_id, override.onset_tick, override.handback_tick) == (
        f"{path.name}/gas10",
        10,
        20,
    )
    assert override.reason is Reason.TOO_SLOW
    assert override.trains
    assert takeover.onset_tick == ONSET
    mine = {
        s.phase: (s.start_tick, s.end_tick, s.train_mask)
        for s in labels.segments
        if s.takeover_id.endswith("gas10")
    }
    assert mine[Phase.NEGATIVE] == (0, 10, True)  # the policy drove for less than two seconds before
    assert not any(s.train_mask for s in labels.segments if s.phase is Phase.ADAPTATION)
    assert labels.segments[-1].end_tick == 200
    assert all(a.end_tick == b.start_tick for a, b in zip(labels.segments, labels.segments[1:], strict=False))


def test_words_are_read_once_each(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path, events=[said("good", "comfort"), (GAS, 190, {})]))
    words = driver_words(reader)
    assert words.reasons == {ONSET: Reason.COMFORT}
    assert words.verdicts == {ONSET: Verdict.GOOD}
    assert words.gas == ((190, 200),)
