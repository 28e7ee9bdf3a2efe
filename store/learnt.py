"""What a generation learns from, kept at the moment when it is read for training.

Labels are remade at will, drivers change their minds, drives are forgotten: what a generation was made of must not
change with them. The rows hold ids, weights and hashes, nothing of a driver; their digest goes into the generation's
manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..vocabulary import FailedPlan, Phase, PreferencePair
from . import queries
from .database import Store
from .queries import Rows
from .rows import TrainingRow
from .sealing import canonical, sha256_of

PARTS = ("kind", "item_id", "episode_id", "takeover_id", "source", "weight", "content_sha256")


def keep_drives(store: Store, run_id: str, drives: Rows) -> None:
    """Keep what generation 0 learns from.

    Args:
        store: The store.
        run_id: The run.
        drives: Rows of `queries.episodes`: the expert's. Those that failed teach to see, not to drive.
    """
    rows = [_drive(run_id, 0, row, "expert" if row["success"] else "grounding") for row in drives]
    store.put_training(run_id, 0, rows)


def keep_round(
    store: Store,
    run_id: str,
    round_number: int,
    pairs: Sequence[PreferencePair],
    failed: Sequence[FailedPlan] = (),
) -> None:
    """Keep what a round learns from: its pairs, the drivers' recoveries, the drives that are replayed.

    Args:
        store: The store.
        run_id: The run.
        round_number: The round; with the run it names the generation to come.
        pairs: As they go into training.
        failed: Plans of refused pairs, if KTO learns from them.
    """
    owners = {row["pair_id"]: row["takeover_id"] for row in queries.pairs(store)}
    content = _content(store)
    rows = [
        TrainingRow(
            run_id,
            round_number,
            kind,
            name,
            name.split("/")[0],
            owners.get(name, ""),  # a driver's veto may have taken the pair away since it was read
            source,
            weight,
            content[name.split("/")[0]],
        )
        for kind, name, source, weight in [
            *(("pair", pair.pair_id, pair.source.value, pair.weight) for pair in pairs),
            *(("failed", plan.pair_id, "policy", plan.weight) for plan in failed),
        ]
    ]
    rows += [
        TrainingRow(
            run_id,
            round_number,
            "recovery",
            row["segment_id"],
            row["episode_id"],
            row["takeover_id"],
            "human",
            row["weight"],
            content[row["episode_id"]],
        )
        for row in queries.segments(store, phase=Phase.RECOVERY.value, trains=True)
    ]
    experts = queries.episodes(store, driver_kind="expert", role="train", whole=True, limit=1_000_000)
    rows += [_drive(run_id, round_number, row, "expert") for row in experts if row["success"]]
    rows += [_drive(run_id, round_number, row, "uneventful") for row in queries.uneventful(store)]
    partly = sorted({row["episode_id"] for row in queries.imitable(store)})
    rows += [
        TrainingRow(run_id, round_number, "replay", name, name, "", "imitable", 1.0, content[name])
        for name in partly
    ]
    store.put_training(run_id, round_number, rows)


def keep_given(store: Store, run_id: str, model: str, qa: Path | None) -> None:
    """Keep what `loop init` was given: a checkpoint by path or hub id, and a file of driving QA."""
    rows = [TrainingRow(run_id, 0, "given", model, "", "", "model", 1.0, "")]
    if qa is not None:
        rows.append(TrainingRow(run_id, 0, "given", str(qa), "", "", "qa", 1.0, sha256_of(qa)))
    store.put_training(run_id, 0, rows)


def kept(store: Store, run_id: str, round_number: int) -> Rows:
    """What a round learnt from; empty for rounds from before it was kept."""
    sql = "SELECT * FROM training_data WHERE run_id = ? AND round = ? ORDER BY kind, item_id"
    return store.query(sql, [run_id, round_number])


def digest(rows: Rows) -> str:
    """Hex sha256 of what a round learnt from, in whatever order: every id, weight, source and drive's content."""
    return hashlib.sha256(canonical(sorted([row[name] for name in PARTS] for row in rows))).hexdigest()


def ids_digest(ids: Iterable[str]) -> str:
    """What manifests held before weights and contents were kept: 16 hex digits over the sorted ids."""
    return hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest()[:16]


def dataset(rows: Rows) -> Rows:
    """The same rows as MLflow's dataset of the round keeps them."""
    return [{name: row[name] for name in PARTS} for row in rows]


def _drive(run_id: str, round_number: int, row: dict[str, object], source: str) -> TrainingRow:
    name = str(row["episode_id"])
    return TrainingRow(
        run_id, round_number, "replay", name, name, "", source, 1.0, str(row["content_sha256"])
    )


def _content(store: Store) -> dict[str, str]:
    rows = store.query("SELECT episode_id, content_sha256 FROM episodes")
    return {row["episode_id"]: row["content_sha256"] for row in rows}
