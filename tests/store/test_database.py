"""The index: made from the truth, idempotent, one writer, readers beside it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from takeover.errors import StoreError, StoreLockedError, UsageError
from takeover.store import export, queries
from takeover.store.database import Store, Transaction, rebuild
from takeover.store.episodes import EpisodeReader, sealed
from takeover.store.locking import locked
from takeover.store.rows import (
    EvaluationRow,
    GenerationRow,
    PairRow,
    PromotionRow,
    RoundRow,
    SegmentRow,
    TakeoverRow,
)
from takeover.vocabulary import PairSource, Phase, Reason

from .drives import OUTCOME, frame, record


def contents(store: Store) -> dict[str, list[str]]:
    """Every row of every table, in an order of its own; `migrations` carries the time it was applied."""
    names = [n for n in queries.counts(store) if n != "migrations"]
    return {
        name: sorted(json.dumps(row, default=str) for row in store.query(f"SELECT * FROM {name}"))
        for name in names
    }


def takeover_row(episode: str, number: int = 0) -> TakeoverRow:
    return TakeoverRow(
        f"{episode}/{number}",
        f"{episode}/0",
        episode,
        30,
        22,
        "ttc",
        40,
        45,
        Reason.COLLISION_RISK,
        True,
        False,
        1.0,
        1.5,
        None,
        "1",
    )


def segment_row(episode: str, phase: Phase, start: int, end: int) -> SegmentRow:
    return SegmentRow(
        f"{episode}/s{start}",
        episode,
        f"{episode}/0",
        phase,
        start,
        end,
        "policy",
        "collision_risk",
        True,
        1.0,
        "1",
    )


def pair_row(episode: str, tick: int = 30, **changes: Any) -> PairRow:
    values: dict[str, Any] = {
        "pair_id": f"{episode}/p{tick}",
        "episode_id": episode,
        "takeover_id": f"{episode}/0",
        "tick": tick,
        "source": PairSource.HUMAN,
        "admitted": True,
        "reject_reason": "",
        "round": 1,
        "role": "train",
        "case_id": "ParkedObstacle/3",
        "generation": "2",
        "driver_id": "d",
        "chosen_m": [float(i) for i in range(16)],
        "chosen_mask": [True] * 8,
        "rejected_m": [0.25] * 16,
        "score_chosen": 0.9,
        "score_rejected": 0.0,
        "weight": 1.0,
        "critical_actor_id": 9,
        "segmenter_version": "1",
        "details": {"pixels": 30},
    }
    return PairRow(**{**values, **changes})


def filled(home: Path) -> Store:
    store = Store(home)
    ids = [record(store.episodes, ticks=ticks).name for ticks in (60, 70, 80)]
    store.ingest_many(sealed(store.episodes))
    store.put_labels(
        ids,
        [takeover_row(i) for i in ids],
        [
            s
            for i in ids
            for s in (segment_row(i, Phase.NEGATIVE, 0, 30), segment_row(i, Phase.RECOVERY, 30, 40))
        ],
        [pair_row(i) for i in ids] + [pair_row(ids[0], 40, admitted=False, reject_reason="not_visible")],
    )
    store.put(
        [
            GenerationRow(0, "1", None, "run", 0, "models/0", "aa", {"ds": 70.5}),
            RoundRow("run", 1, "0", "1", "inconclusive", 12.5, {"stages": {"sft": 3.0}}),
            EvaluationRow(
                "aa",
                "longtail",
                "ParkedObstacle/3",
                "ParkedObstacle",
                3,
                False,
                0,
                True,
                90.0,
                100.0,
                "route_complete",
                [{"kind": "collision", "tick": 3}],
            ),
            PromotionRow("run/1", 0, None, "inconclusive", False, {"p": 0.2}),
        ]
    )
    store.mark_step("run", 1, "collect", "k", {"episodes": ids, "loss": float("nan")})
    store.mark_step("run", 1, "collect", "k", {"episodes": ids})
    return store


def test_ingest_twice_is_once_and_columns_are_those_of_the_episode(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record(store.episodes)
    assert len(store.ingest_many(sealed(store.episodes)).added) == 1  # the one that makes the index
    path = record(store.episodes)
    report = store.ingest_many(sealed(store.episodes))
    assert report.added == [path.name]
    before = contents(store)
    again = store.ingest_many([path, path])
    assert again.added == []
    assert set(again.known) == {path.name}
    assert contents(store) == before
    reader = EpisodeReader(path)
    rows = store.query("SELECT * FROM ticks WHERE episode_id = ? ORDER BY tick", [path.name])
    assert [row["tick"] for row in rows] == reader.ticks["tick"].tolist()
    for name in ("x_m", "ttc_s", "executed_by", "off_road", "plan_tick", "policy_steer"):
        assert rows[30][name] == reader.ticks[name][30]
    assert rows[30]["driver_steer"] is None
    assert [row["tick"] for row in rows if row["faults"]] == [33]
    episode = queries.episode(store, path.name[:8])
    assert episode["case_id"] == "ParkedObstacle/3"
    assert episode["scenario_info"]["critical_actor_id"] == 9
    assert (episode["ticks"], episode["warmup"], episode["frames"], episode["plans"]) == (60, 10, 7, 6)
    assert {agent["actor_id"]: agent["first_tick"] for agent in episode["agents"]} == {9: -10, 4: 15}
    with pytest.raises(UsageError, match="no episode begins"):
        queries.episode(store, "zzz")


def test_damaged_episode_is_quarantined_and_the_others_go_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    bad, good = record(store.episodes), record(store.episodes)
    data = bytearray((bad / "000.seg").read_bytes())
    data[5000] ^= 1
    (bad / "000.seg").write_bytes(bytes(data))
    report = store.ingest_many([bad, good])
    assert report.added == [good.name]
    assert list(report.damaged) == [bad.name]
    assert not bad.exists()
    assert len(list((tmp_path / "quarantine").iterdir())) == 1


def test_views_have_one_row_a_segment(tmp_path: Path) -> None:
    store = filled(tmp_path)
    rows = store.query("SELECT * FROM negative_episodes ORDER BY episode_id")
    assert len(rows) == 3
    row = rows[0]
    assert (row["start_tick"], row["end_tick"], row["onset_tick"], row["onset_s"]) == (0, 30, 30, 1.5)
    assert row["plan_ticks_issued"] == [0, 10, 20]
    assert row["plan_ticks_shadow"] == []
    assert (row["driver_kind"], row["style"], row["generation"], row["phase"]) == (
        "scripted",
        "brake_first",
        "2",
        "negative",
    )
    assert [place["tick"] for place in row["frame_paths"]] == [0, 10, 20]
    place = row["frame_paths"][1]
    data = (tmp_path / row["episode_path"] / place["file"]).read_bytes()
    jpeg = data[place["byte_offset"] : place["byte_offset"] + place["byte_length"]]
    assert jpeg[:2] == b"\xff\xd8"
    recoveries = store.query("SELECT plan_ticks_issued, plan_ticks_shadow FROM recovery_episodes")
    assert recoveries == [{"plan_ticks_issued": [], "plan_ticks_shadow": [30]}] * 3
    assert len(queries.segments(store, phase="recovery", session_id="run/1")) == 3


def test_every_tick_has_its_label_at_most_once(tmp_path: Path) -> None:
    store = filled(tmp_path)
    found = store.query(
        "SELECT phase, executed_by, count(*) AS n FROM labelled_ticks GROUP BY ALL ORDER BY ALL NULLS LAST"
    )
    assert [(row["phase"], row["executed_by"], row["n"]) for row in found] == [
        ("negative", "policy", 3 * 30),
        ("recovery", "driver", 3 * 10),
        (None, "driver", 3 * 5),
        (None, "policy", 15 + 25 + 35),
        (None, "warmup", 3 * 10),
    ]


def test_rebuild_equals_the_original_row_by_row(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = contents(store)
    assert before["steps"][0].count("loss") == 0  # the second mark replaced the first
    (tmp_path / "loop.duckdb").unlink()
    report = rebuild(tmp_path)
    assert (len(report.ingest.added), report.ingest.damaged, report.damaged) == (3, {}, {})
    assert contents(Store(tmp_path)) == before
    assert contents(store) == before
    rebuild(tmp_path)
    assert contents(store) == before
    assert [p.name for p in tmp_path.iterdir() if "loop.duckdb" in p.name] == ["loop.duckdb"]


def test_steps_are_remembered(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.step_done("run", 1, "collect") is None
    store.mark_step("run", 1, "collect", "", {"n": 3})
    store.mark_step("run", 1, "collect", "other", {"n": 4})
    assert Store(tmp_path).step_done("run", 1, "collect") == {"n": 3}
    assert store.step_done("run", 2, "collect") is None
    assert [step["payload"]["n"] for step in queries.steps(store, run_id="run")] == [3, 4]


def test_labels_are_replaced_as_a_whole(tmp_path: Path) -> None:
    store = filled(tmp_path)
    episode = queries.episodes(store)[0]["episode_id"]
    store.put_labels([episode], [], [], None)
    assert store.query("SELECT count(*) AS n FROM takeovers")[0]["n"] == 2
    assert store.query("SELECT count(*) AS n FROM pairs WHERE episode_id = ?", [episode])[0]["n"] >= 1
    before = contents(store)
    rebuild(tmp_path)
    assert contents(store) == before


@pytest.mark.parametrize("where", ["head", "middle", "all", "wal"])
def test_damaged_index_is_made_again(tmp_path: Path, where: str) -> None:
    store = filled(tmp_path)
    before = contents(store)
    database = tmp_path / "loop.duckdb"
    if where == "wal":
        script = (
            "import os, sys\nfrom pathlib import Path\nfrom takeover.store.database import Store\n"
            "with Store(Path(sys.argv[1])).transaction() as t:\n"
            "    t.connection.execute('COMMIT')\n"
            "    t.connection.execute('CREATE TABLE z AS SELECT 1 AS a')\n"
            "    t.connection.execute('INSERT INTO z SELECT range FROM range(20000)')\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        subprocess.run([sys.executable, "-P", "-c", script, str(tmp_path)], check=False)
        wal = tmp_path / "loop.duckdb.wal"
        data = bytearray(wal.read_bytes())
        data[len(data) // 2] ^= 1
        wal.write_bytes(bytes(data))
    else:
        data = bytearray(database.read_bytes())
        places = {"head": range(64), "middle": [len(data) // 2], "all": range(4096, len(data), 997)}[where]
        for place in places:
            data[place] ^= 0x55
        database.write_bytes(bytes(data))
    if where == "middle":  # a block that is perhaps not in use: noticed by reading all, or harmless
        assert contents(store) == before
        return
    assert contents(Store(tmp_path)) == before
    assert [p for p in tmp_path.iterdir() if ".corrupt-" in p.name]
    store.mark_step("run", 9, "after")


def test_damaged_journal_file_is_quarantined(tmp_path: Path) -> None:
    store = filled(tmp_path)
    file = next(p for p in sorted((tmp_path / "journal").iterdir()) if "generations" in p.name)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    report = rebuild(tmp_path)
    assert list(report.damaged) == [file.name]
    assert queries.generations(store) == []
    assert len(queries.episodes(store)) == 3


def test_crash_between_journal_and_commit_is_caught_up(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.mark_step("run", 1, "a")
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom takeover.store import database, journal\n"
        "def die(*_): os.kill(os.getpid(), 9)\n"
        "database.journal.note_entry = die\n"
        "database.Store(Path(sys.argv[1])).mark_step('run', 1, 'b')\n"
    )
    subprocess.run([sys.executable, "-P", "-c", script, str(tmp_path)], check=False)
    assert Store(tmp_path).step_done("run", 1, "b") == {}
    assert Store(tmp_path).step_done("run", 1, "a") == {}


def test_an_error_inside_a_transaction_leaves_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before, files = contents(store), sorted((tmp_path / "journal").iterdir())

    def work(open_one: Transaction) -> None:
        open_one.put([GenerationRow(1, "2", 0, "run", 1, "models/1", "bb")])
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        store.write(work)
    assert contents(store) == before
    assert sorted((tmp_path / "journal").iterdir()) == files


def test_user_sql_reads_the_index_and_nothing_else(tmp_path: Path) -> None:
    store = filled(tmp_path)
    for sql in (
        "SELECT * FROM read_text('/etc/passwd')",
        "SET enable_external_access = true",
        "DELETE FROM episodes",
        "CREATE TABLE mine (a INTEGER)",
        f"COPY episodes TO '{tmp_path}/x.csv'",
        f"ATTACH '{tmp_path}/other.duckdb'",
        "SELECT * FROM no_such_table",
    ):
        with pytest.raises(StoreError):
            store.query(sql)
    assert store.query("SELECT 1 AS one") == [{"one": 1}]
    assert type(store.query("SELECT 0.05 * 3 AS time_s")[0]["time_s"]) is float


def test_locked_index_names_the_holder(tmp_path: Path) -> None:
    store = Store(tmp_path, read_wait_s=0.1, write_wait_s=0.1)
    store.mark_step("run", 1, "a")
    with locked(tmp_path / "loop.lock", exclusive=True, wait_s=0):
        for use in (lambda: store.query("SELECT 1"), lambda: store.mark_step("run", 1, "b")):
            started = time.monotonic()
            with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
                use()
            assert time.monotonic() - started < 1.0
    with locked(tmp_path / "loop.lock", exclusive=False, wait_s=0):
        assert store.query("SELECT 1 AS a") == [{"a": 1}]
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
            store.mark_step("run", 1, "b")


def test_foreign_holder_of_the_database_is_named_and_nothing_is_quarantined(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.mark_step("run", 1, "a")
    script = (
        "import duckdb, sys\nc = duckdb.connect(sys.argv[1])\nprint('open', flush=True)\nsys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", script, str(tmp_path / "loop.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(StoreLockedError, match=str(child.pid)):
        store.mark_step("run", 1, "b")
    child.communicate(b"")
    store.mark_step("run", 1, "b")
    assert not [p for p in tmp_path.iterdir() if ".corrupt-" in p.name]


RACER = """
import sys
from pathlib import Path
from takeover.store.database import Store
store = Store(Path(sys.argv[1]), write_wait_s=60)
for number in range(8):
    open(store.database, "rb").close()  # the trap: it would drop DuckDB's own lock
    store.mark_step("run", int(sys.argv[2]), "step", str(number), {"n": number})
    assert store.step_done("run", int(sys.argv[2]), "step", str(number)) == {"n": number}
"""


def test_racing_writers_lose_nothing(tmp_path: Path) -> None:
    Store(tmp_path).mark_step("run", 0, "start")
    racers = [
        subprocess.Popen([sys.executable, "-P", "-c", RACER, str(tmp_path), str(number)])
        for number in range(1, 4)
    ]
    assert [racer.wait(timeout=120) for racer in racers] == [0, 0, 0]
    found = Store(tmp_path).query("SELECT round, count(*) AS n FROM steps GROUP BY round ORDER BY round")
    assert found == [{"round": 0, "n": 1}, *({"round": number, "n": 8} for number in range(1, 4))]


KILLED = """
import sys
from pathlib import Path
from takeover.store.database import Store
from takeover.store.episodes import sealed
sys.path.insert(0, sys.argv[2])
from drives import record
store = Store(Path(sys.argv[1]))
number = 0
while True:
    path = record(store.episodes, ticks=40)
    store.ingest_many([path])
    store.mark_step("run", 1, "step", path.name)
    print(path.name, flush=True)
"""


def test_kill_nine_while_ingesting_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    draw = random.Random(2)
    acknowledged: set[str] = set()
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", KILLED, str(tmp_path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        acknowledged.add(process.stdout.readline().strip())
        time.sleep(draw.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        acknowledged |= {line for line in process.stdout.read().split("\n")[:-1] if len(line) == 36}
        process.wait()
    store = Store(tmp_path)
    store.recover()
    rows = [row["episode_id"] for row in store.query("SELECT episode_id FROM episodes")]
    assert len(rows) == len(set(rows))
    assert acknowledged <= set(rows)
    assert {path.name for path in sealed(store.episodes)} == set(rows)
    steps = [row["key"] for row in store.query("SELECT key FROM steps")]
    assert acknowledged <= set(steps)
    assert len(steps) == len(set(steps))
    before = contents(store)
    rebuild(tmp_path)
    assert contents(store) == before


def test_recover_seals_and_ingests_what_was_killed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    left = record(store.episodes, ticks=30, seal=False)
    (store.episodes / "empty").mkdir()
    saved, lost, report = store.recover()
    assert [path.name for path in saved] == [left.name]
    assert len(lost) == 1
    assert report.added == [left.name]
    assert queries.episodes(store)[0]["truncated"]


def test_newer_index_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.mark_step("run", 1, "a")
    with store.transaction() as open_one:
        open_one.connection.execute("INSERT INTO migrations VALUES ('9999_future.sql', '')")
    with pytest.raises(StoreError, match="newer version"):
        Store(tmp_path).query("SELECT 1")


def test_takeover_rates_leave_out_faults(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record(store.episodes)
    record(store.episodes, outcome=type(OUTCOME)(False, 10.0, 0.0, end="sim_fault", driven_m=500.0))
    record(store.episodes, driver_kind="expert", generation="expert")
    store.ingest_many(sealed(store.episodes))
    rates = queries.takeover_rates(store)
    assert [(rate["generation"], rate["episodes"], rate["takeovers"]) for rate in rates] == [("2", 1, 1)]
    assert rates[0]["takeovers_per_km"] == pytest.approx(1 / 0.06)


def test_named_queries_filter(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert len(queries.episodes(store, scenario="ParkedObstacle", takeovers=True, limit=2)) == 2
    assert queries.episodes(store, takeovers=False) == []
    assert len(queries.pairs(store, round_number=1, admitted=True)) == 3
    assert queries.pairs(store, admitted=False)[0]["reject_reason"] == "not_visible"
    assert sum(row["pairs"] for row in queries.pair_counts(store, round_number=1)) == 4
    found = queries.evaluations(store, weights_sha256="aa", suite="longtail")
    assert found[0]["infractions"] == [{"kind": "collision", "tick": 3}]
    assert queries.rounds(store)[0]["details"] == {"stages": {"sft": 3.0}}
    assert queries.promotions(store)[0]["evidence"] == {"p": 0.2}
    assert queries.generations(store)[0]["metrics"] == {"ds": 70.5}
    assert queries.counts(store)["episodes"] == 3


def test_whole_episodes_and_newest_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole = record(store.episodes, driver_kind="expert", created_utc="2026-01-02")
    record(store.episodes, ticks=20, seal=False, driver_kind="expert")
    old = record(store.episodes, created_utc="2025-12-31")
    store.recover()
    found = queries.episodes(store, driver_kind="expert", role="train", whole=True)
    assert [row["episode_id"] for row in found] == [whole.name]
    assert [row["truncated"] for row in queries.episodes(store, whole=False)] == [True]
    assert queries.episodes(store, newest_first=True)[-1]["episode_id"] == old.name
    names = [row["episode_id"] for row in queries.episodes(store)]
    assert names == sorted(names)


def test_history_comes_in_the_order_of_writing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("b", "a", "c"):
        store.put([PromotionRow(name, 0, 1, "promote", False, created_utc="2026-01-01")])
    assert [row["promotion_id"] for row in queries.promotions(store)] == ["b", "a", "c"]
    rebuild(tmp_path)
    assert [row["promotion_id"] for row in queries.promotions(store)] == ["b", "a", "c"]


def test_exports(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert export.pairs_to_parquet(store, tmp_path / "pairs.parquet") == 3
    table = duckdb.execute(f"SELECT chosen_m, details FROM '{tmp_path}/pairs.parquet'").fetchall()
    assert table[0] == ([float(i) for i in range(16)], '{"pixels": 30}')
    assert export.pairs_to_sharegpt(store, tmp_path / "out", round_number=1) == 3
    items = json.loads((tmp_path / "out" / "pairs.json").read_text())
    assert items[0]["conversations"][0]["value"].startswith("<image><image>\n")
    assert json.loads(items[0]["chosen"]["value"])["0.5s"] == [0.0, 1.0]
    assert json.loads(items[0]["rejected"]["value"])["4.0s"] == [0.25, 0.25]
    assert len(items[0]["images"]) == 2
    assert (tmp_path / "out" / items[0]["images"][1]).read_bytes()[:2] == b"\xff\xd8"
    assert frame(30).tick == 30
