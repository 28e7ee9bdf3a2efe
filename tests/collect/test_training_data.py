"""What the stages get from the store: negatives that are too slow, and failed plans without a pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from takeover.collect import training_data
from takeover.collect.labels import label_episode
from takeover.collect.training_data import (
    Remembered,
    failed_plans,
    lessons,
    preference_pairs,
    recovery_samples,
)
from takeover.store.database import Store
from takeover.store.learnt import sources
from takeover.vocabulary import PairSource, Plan, Reason

from . import takeovers
from .takeovers import record


def stored(home: Path, **changes: object) -> Store:
    path = record(home, driver_kind="human", **changes)  # type: ignore[arg-type]
    store = Store(home)
    store.ingest_many([path])
    labels = label_episode(path, 1)
    store.put_labels([path.name], labels.takeovers, labels.segments, labels.pairs)
    return store


def test_an_accelerator_override_teaches_that_the_plan_was_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hesitant(tick: int, generation: str, shadow: bool) -> Plan:
        """From 10 m/s down by 2.5 m/s2 to a stand after 20 m, on a road that is free."""
        t = np.arange(1, 9) * 0.5
        x = 10.0 * t - 1.25 * t * t
        return Plan(np.stack([x, np.zeros(8)], 1).astype(np.float32), tick, generation, shadow)

    monkeypatch.setattr(takeovers, "keep_speed", hesitant)
    gas = [("gas_override", 45, {}), ("gas_override_end", 55, {})]
    store = stored(tmp_path, parked_y_m=12.0, events=gas)
    pairs = [p for p in preference_pairs(store, sources(store, 1)) if "/gas45/" in p.pair_id]
    assert pairs, "the override has made no pair"
    for pair in pairs:
        assert pair.source is PairSource.COUNTERFACTUAL
        assert pair.rejected_m[-1, 0] == pytest.approx(20.0, abs=2.0)
        assert pair.chosen_m[-1, 0] > 30.0  # the road is free: it drives on
        assert pair.score_chosen > pair.score_rejected + 0.1  # progress is part of the score
    rows = store.query("SELECT reason, trains FROM takeovers WHERE takeover_id LIKE '%/gas45'")
    assert rows == [{"reason": Reason.TOO_SLOW.value, "trains": True}]
    samples = recovery_samples(store, sources(store), pairs)
    slow = [s for s in samples if s.negative_m is not None]
    assert len(slow) == len(pairs), "SFT gets each as a correction with its negative"
    # 20 m and a stand against 30 m and more: behind at the end, and what to do is to speed up
    assert all(s.analysis.attribution.along_m < -10.0 for s in slow)
    assert all(s.analysis.correction[-1].speed_mps > 5.0 for s in slow)


def test_failed_plans_are_unsafe_seen_and_without_a_pair(tmp_path: Path) -> None:
    store = stored(tmp_path / "short", ticks=100)  # the driver's future is cut off: too short to be chosen
    rows = store.query("SELECT reject_reason, tick, details, rejected_m FROM pairs")
    assert {row["reject_reason"] for row in rows} >= {"too_short"}
    settled = {row["tick"] for row in rows if not row["reject_reason"]}
    plans = failed_plans(store, sources(store, 1))
    assert plans
    for plan in plans:
        assert plan.plan_m[:, 0] == pytest.approx(5.0 * np.arange(1, 9))  # it keeps its speed into the car
        assert plan.mask.all()
    assert len({plan.input.speed_mps for plan in plans} & settled) == 0
    assert failed_plans(store, sources(store, 0)) == []


def test_failed_plans_that_nobody_could_see_are_left_out(tmp_path: Path) -> None:
    store = stored(tmp_path, ticks=100, visible_px=3)
    assert failed_plans(store, sources(store, 1)) == []


def test_a_later_round_reads_no_drive_twice_and_sees_a_changed_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(tmp_path)
    known, opened = Remembered(), []
    read = training_data.EpisodeReader
    monkeypatch.setattr(training_data, "EpisodeReader", lambda path: opened.append(path) or read(path))
    first = lessons(store, sources(store), [], failed=False, known=known)
    assert first.pairs
    assert first.samples
    assert opened
    opened.clear()
    again = lessons(store, sources(store), [], failed=False, known=known)
    assert not opened
    assert again.digest() == first.digest()
    heavier = [{**row, "weight": row["weight"] + 0.5} for row in first.found.pairs]
    later = lessons(store, replace(first.found, pairs=heavier), [], failed=False, known=known)
    assert [pair.weight for pair in later.pairs] == [pair.weight + 0.5 for pair in first.pairs]
