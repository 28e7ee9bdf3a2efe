"""What the study's arms learn from."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from takeover.collect.doses import doses
from takeover.collect.labels import label_episode, put_labels
from takeover.collect.training_data import Lessons, lessons
from takeover.store.database import Store
from takeover.store.learnt import sources
from takeover.study_lessons import counterfactual, human, of_styles, swapped
from takeover.vocabulary import Command, PairSource, PolicyInput, PreferencePair, Role

from .collect.takeovers import record

STYLES = {"brake_first": 1, "steer_first": 2, "late_clumsy": 2}  # and the round of its drive


def name(style: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, style))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One drive of each style, each with one takeover; the last round has two."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home)
    for style, number in STYLES.items():
        path = record(home, episode_id=name(style), style=style)
        store.ingest_many([path])
        put_labels(store, [path.name], [label_episode(path, number)])
    return store


@pytest.fixture(scope="module")
def data(store: Store) -> Lessons:
    return lessons(store, sources(store), [], failed=False)


def drives(found: Lessons) -> set[str]:
    return {pair.pair_id.split("/")[0] for pair in found.pairs}


def test_what_was_driven_and_what_was_planned_are_told_apart(store: Store, data: Lessons) -> None:
    driven, planned = human(store, data), counterfactual(store, data)
    assert {p.source for p in driven.pairs} <= {PairSource.HUMAN, PairSource.HUMAN_ONSET}
    assert {p.source for p in planned.pairs} == {PairSource.COUNTERFACTUAL}
    assert len(driven.pairs) + len(planned.pairs) == len(data.pairs)
    recoveries = [s for s in data.samples if s.negative_m is None]
    assert recoveries
    assert len([s for s in driven.samples if s.negative_m is None]) == len(recoveries)
    assert all(s.negative_m is not None for s in planned.samples)
    assert len(planned.samples) == len(planned.pairs)  # each is a correction


def test_the_last_round_comes_from_another_style_and_as_many_drives(store: Store, data: Lessons) -> None:
    assert drives(data) == {name(style) for style in STYLES}
    assert drives(of_styles(store, data, unseen=False)) == {name("brake_first"), name("steer_first")}
    unseen = of_styles(store, data, unseen=True)
    assert drives(unseen) == {name("brake_first"), name("late_clumsy")}
    assert 0 < len(unseen.samples) < len(data.samples)


def test_a_dose_is_what_the_driver_drove(store: Store) -> None:
    found = doses(store)
    assert {dose.style for dose in found} == set(STYLES)
    # from tick 62 to the end at 200, 20 a second
    assert all(dose.lengths_s == pytest.approx((6.9,)) for dose in found)


def pair(number: int) -> PreferencePair:
    view: Any = SimpleNamespace(spec=PolicyInput, command=Command)
    return PreferencePair(
        pair_id=f"p{number}",
        input=view,
        chosen_m=np.full((8, 2), 1.0, np.float32),
        chosen_mask=np.ones(8, np.bool_),
        rejected_m=np.full((8, 2), -1.0, np.float32),
        source=PairSource.COUNTERFACTUAL,
        weight=1.0,
        role=Role.TRAIN,
        case_id="ParkedObstacle/3",
        score_chosen=0.9,
        score_rejected=0.1,
        reasoning_chosen="good",
        reasoning_rejected="bad",
    )


def test_a_fair_coin_swaps_both_sides_and_all_that_is_said_of_them() -> None:
    pairs = [pair(number) for number in range(400)]
    found = swapped(pairs, seed=3)
    turned = [one for one in found if one.chosen_m[0, 0] < 0]
    assert 160 <= len(turned) <= 240
    assert all((o.score_chosen, o.reasoning_chosen, o.rejected_m[0, 0]) == (0.1, "bad", 1.0) for o in turned)
    assert [one.pair_id for one in found] == [one.pair_id for one in pairs]
    assert [one.score_chosen for one in swapped(pairs, 3)] == [one.score_chosen for one in found]
    assert [one.score_chosen for one in swapped(pairs, 4)] != [one.score_chosen for one in found]
