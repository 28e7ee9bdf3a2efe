"""Forgetting a driver: nothing is left, everybody else stays, and a kill on the way does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from takeover.errors import StoreLockedError
from takeover.store import forget as module
from takeover.store import queries
from takeover.store.database import Store
from takeover.store.forget import forget
from takeover.store.rows import (
    AnnotationRow,
    GenerationRow,
    PairRow,
    StepRow,
    TakeoverCaseRow,
    TakeoverRow,
)
from takeover.vocabulary import PairSource, Reason

from .drives import record

ANNA, BEN = "driver-aaaaaaaaaaaa", "driver-bbbbbbbbbbbb"


def takeover(episode_id: str) -> TakeoverRow:
    return TakeoverRow(
        f"{episode_id}/0", f"{episode_id}/0", episode_id, 30, 20, "ttc", 40, 45, Reason.RULE, True, False, 1.0,
        1.0, None, "2",
    )  # fmt: skip


def pair(episode_id: str) -> PairRow:
    return PairRow(
        f"{episode_id}/0/human/30", episode_id, f"{episode_id}/0", 30, PairSource.HUMAN, True, "", 1, "train",
        "ParkedObstacle/3", "2", "", [0.0] * 16, [True] * 8, [0.0] * 16, 1.0, 0.0, 1.0, 0, "2",
    )  # fmt: skip


def case_row(episode_id: str) -> TakeoverCaseRow:
    return TakeoverCaseRow(
        f"{episode_id}/0", episode_id, "ParkedObstacle/3", "ParkedObstacle", 3, False, 0, "", 0, 1.0, 5, 5, 5, 0.0,
        0.0, 0.0, True, "", False,
    )  # fmt: skip


def home_of(path: Path) -> tuple[Store, dict[str, str]]:
    """Two drivers with one labelled drive each; generation 1 learnt from Anna, 2 came of it, 3 from Ben alone."""
    store = Store(path)
    ids = {}
    for driver in (ANNA, BEN):
        episode = record(path / "episodes", driver_kind="human", driver_id=driver)
        store.ingest_many([episode])
        store.put_labels([episode.name], [takeover(episode.name)], [], [pair(episode.name)])
        store.put([AnnotationRow(f"a-{driver}", episode.name, 30, "good", "", f"a note by {driver}")])
        store.put([case_row(episode.name)])
        (path / "whatif").mkdir(exist_ok=True)
        (path / "whatif" / f"{episode.name}.0.generation-1.png").write_bytes(b"drawn")
        ids[driver] = episode.name
    anna, ben = ids[ANNA], ids[BEN]
    store.put(
        [
            *(GenerationRow(n, str(n), parent, "run", n, "", "") for n, parent in ((0, None), (1, 0), (2, 1), (3, 0))),
            StepRow("run", 1, "refine", "", {"data": [f"{anna}/0/human/30"], "episodes": [anna, ben]}),
            StepRow("run", 2, "refine", "", {"data": [], "episodes": []}),
            StepRow("run", 3, "refine", "", {"data": [f"{ben}/0/human/30"], "episodes": [ben]}),
        ]
    )  # fmt: skip
    return store, ids


def traces(home: Path, *words: str) -> list[str]:
    """Files of the home in which one of some words stands."""
    return sorted(
        str(path.relative_to(home))
        for path in home.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    )


def test_nothing_is_left_of_a_driver(tmp_path: Path) -> None:
    store, ids = home_of(tmp_path)
    killed = record(tmp_path / "episodes", driver_kind="human", driver_id=ANNA, seal=False)
    result = forget(store, ANNA)
    assert (result.episodes, result.trained, result.derived, result.done) == (2, (1,), (2,), True)
    left = traces(tmp_path, f"a note by {ANNA}", f"{ids[ANNA]}/0", killed.name)
    allowed = {f"forgotten/{ANNA}.json", "loop.duckdb"}  # the list of ids, and what generation 1 was made of
    assert {name for name in left if not name.startswith("journal/")} <= allowed
    assert all("steps" in name for name in left if name.startswith("journal/"))
    assert not (tmp_path / "episodes" / ids[ANNA]).exists()
    assert [row["driver_id"] for row in queries.episodes(store)] == [BEN]
    assert {row["episode_id"] for row in queries.pairs(store)} == {ids[BEN]}
    assert list(queries.said_later(store, list(ids.values()))) == [ids[BEN]]
    assert [row["episode_id"] for row in queries.takeover_cases(store)] == [ids[BEN]]
    assert [path.name.split(".")[0] for path in (tmp_path / "whatif").iterdir()] == [ids[BEN]]


def test_the_others_stay_as_they_were(tmp_path: Path) -> None:
    store, ids = home_of(tmp_path)
    before = queries.episode(store, ids[BEN])
    forget(store, ANNA)
    assert queries.episode(store, ids[BEN]) == before
    assert [row["generation"] for row in queries.generations(store)] == [0, 1, 2, 3]
    store.rebuild()
    assert queries.episode(store, ids[BEN]) == before


@pytest.mark.parametrize("step", ["_remove_folders", "_scrub_journal", "_result"])
def test_a_kill_on_the_way_is_finished_by_the_same_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store, ids = home_of(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            forget(store, ANNA)
    again = Store(tmp_path)
    again.recover()
    again.rebuild()
    assert [row["driver_id"] for row in queries.episodes(again)] == [BEN]  # not even in between
    result = forget(again, ANNA)
    assert (result.episodes, result.trained, result.derived) == (1, (1,), (2,))
    assert forget(again, ANNA) == result
    assert {row["episode_id"] for row in queries.pairs(again)} == {ids[BEN]}


def test_an_episode_that_comes_back_is_not_taken(tmp_path: Path) -> None:
    store, _ = home_of(tmp_path)
    forget(store, ANNA)
    late = record(tmp_path / "episodes", driver_kind="human", driver_id=ANNA)
    store.recover()
    assert [row["driver_id"] for row in queries.episodes(store)] == [BEN]
    forget(store, ANNA)
    assert not late.exists()


def test_not_while_a_drive_is_recorded(tmp_path: Path) -> None:
    from takeover.store.episodes import EpisodeWriter

    from .drives import meta

    store, ids = home_of(tmp_path)
    writer = EpisodeWriter(tmp_path / "episodes", meta("00000000-0000-0000-0000-00000000000a"))
    with pytest.raises(StoreLockedError):
        forget(store, ANNA)
    writer.abandon()
    assert (tmp_path / "episodes" / ids[ANNA]).exists()
