from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from takeover.cli import app
from takeover.collect.labels import annotate, label_episode, put_labels
from takeover.collect.pairing import pair_episodes
from takeover.collect.pairs import PairConfig
from takeover.collect.training_data import imitable_states, preference_pairs, uneventful_replay
from takeover.errors import UsageError
from takeover.store import queries
from takeover.store.database import Store
from takeover.store.learnt import sources
from takeover.vocabulary import Role

from .takeovers import ONSET, record


def rows(store: Store, **wanted: Any) -> list[dict[str, Any]]:
    return queries.pairs(store, **wanted)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A labelled drive with a takeover, one without, and a held-out one."""
    taken = record(tmp_path)
    paths = [taken, record(tmp_path, ticks=ONSET), record(tmp_path, role=Role.GATE)]
    store = Store(tmp_path)
    store.ingest_many(paths)
    put_labels(store, [taken.name], [label_episode(taken, 3)])
    return tmp_path


def test_pairs_of_every_drive(home: Path) -> None:
    store = Store(home)
    human = rows(store, source="human")
    said: list[int] = []
    report = pair_episodes(store, begun=said.append, told=lambda: said.append(1))
    assert said == [3, 1, 1, 1]
    assert report.episodes == 3
    assert report.pairs["admitted"] > 0
    assert report.pairs["held_out"] > 0
    assert sum(report.pairs.values()) == sum(report.states["neg"].values())
    assert sum(report.positives.values()) == sum(report.states["pos"].values())
    assert rows(store, source="human") == human
    made = rows(store, source="counterfactual")
    assert len(made) == sum(report.pairs.values())
    by_round = {row["role"]: row["round"] for row in made if row["takeover_id"]}
    assert by_round == {"train": 3, "gate": 0}
    assert {row["round"] for row in made if not row["takeover_id"]} == {0}
    assert not [row for row in made if row["admitted"] and row["role"] != "train"]
    assert len(preference_pairs(store, sources(store, 3))) == len(rows(store, admitted=True))


def test_again_changes_nothing(home: Path) -> None:
    store = Store(home)
    pair_episodes(store)
    pairs, labels = rows(store), queries.safety_labels(store)
    entries = sorted((home / "journal").iterdir())
    pair_episodes(store)
    assert sorted((home / "journal").iterdir()) == entries  # nothing was written again
    assert rows(store) == pairs
    assert queries.safety_labels(store) == labels
    store.rebuild()
    assert rows(store) == pairs
    assert queries.safety_labels(store) == labels


def test_the_command_says_what_it_found(home: Path) -> None:
    done = CliRunner().invoke(app, ["pair", "--home", str(home), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["episodes"] == 3
    assert report["variant"] == "ours"
    assert report["pairs"]["admitted"] == len(
        [row for row in rows(Store(home), source="counterfactual") if row["admitted"]]
    )
    again = CliRunner().invoke(app, ["pair", "--home", str(home), "--episodes", "all"])
    assert f"{report['pairs']['admitted']} pairs admitted" in again.stdout


def test_chosen_drives_alone(home: Path) -> None:
    store = Store(home)
    name = next(
        row["episode_id"] for row in queries.episodes(store, takeovers=False) or queries.episodes(store)
    )
    before = {row["pair_id"] for row in rows(store) if row["episode_id"] != name}
    report = pair_episodes(store, [name[:8]], pairs=PairConfig(variant="safealign"))
    assert report.episodes == 1
    assert {row["pair_id"] for row in rows(store) if row["episode_id"] != name} == before
    assert {row["variant"] for row in queries.safety_labels(store)} == {"safealign"}
    with pytest.raises(UsageError, match="no episode begins with `zz`"):
        pair_episodes(store, ["zz"])


@pytest.mark.parametrize("rules", [PairConfig(), PairConfig(counterfactual=False)])
def test_a_later_word_makes_the_same_pairs_again(home: Path, rules: PairConfig) -> None:
    store = Store(home)
    pair_episodes(store, pairs=PairConfig(variant="safealign"))
    taken = next(row["episode_id"] for row in queries.segments(store, phase="recovery"))
    before = [row for row in rows(store, source="counterfactual") if row["episode_id"] == taken]
    assert before
    annotate(store, taken, onset_tick=ONSET, verdict="good", pairs=rules)
    after = [row for row in rows(store, source="counterfactual") if row["episode_id"] == taken]
    assert [row["pair_id"] for row in after] == [row["pair_id"] for row in before]
    annotate(store, taken, onset_tick=ONSET, verdict="discard", pairs=rules)
    assert not [row for row in rows(store, admitted=True) if row["episode_id"] == taken]


def test_rounds_may_look_at_every_state(home: Path) -> None:
    path = record(home, reason="rule")
    labels = label_episode(path, 1, pairs=PairConfig(every_episode=True))
    assert labels.safety is not None
    assert len(labels.safety) == 20
    sources = [pair.source.value for pair in labels.pairs]
    assert {"human", "human_onset", "counterfactual"} == set(sources)
    assert sources.count("counterfactual") == sum(row.label == "neg" for row in labels.safety)
    assert label_episode(path, 1).safety is None


def test_safe_states_of_bad_drives_are_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from . import takeovers

    monkeypatch.setattr(takeovers, "ONSET", 150)
    path = record(tmp_path, parked_y_m=8.0)
    store = Store(tmp_path)
    store.ingest_many([path])
    assert not uneventful_replay(store, sources(store))
    pair_episodes(store)
    (*_, last) = found = imitable_states(store, sources(store))
    assert len(found) == 8  # ticks 0 to 70: 4 s by the policy
    assert last.mask.all()
    assert last.target_m[-1] == pytest.approx([40.0, 0.0], abs=0.01)
    assert '"meta_actions": [["maintain", "keep"]' in last.reasoning
    assert len(uneventful_replay(store, sources(store))) == 8
