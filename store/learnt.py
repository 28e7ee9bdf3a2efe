"""What a generation learns from, kept at the moment when it is read for training.

Labels are remade at will, drivers change their minds, drives are forgotten: what a generation was made of must not
change with them. The rows hold ids, weights and hashes, nothing of a driver; their digest goes into the generation's
manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..vocabulary import FailedPlan, Phase, PreferencePair
from . import queries
from .database import Store
from .queries import Rows
from .rows import TrainingRow
from .sealing import canonical, sha256_of

ALL_ROUNDS = ALL_DRIVES = 1_000_000  # more than any home has
PARTS = ("kind", "item_id", "episode_id", "takeover_id", "source", "weight", "content_sha256")


@dataclass(frozen=True, slots=True)
class Sources:
    """What the index has for a round, as one moment saw it: training reads these rows, and these are kept.

    Attributes:
        pairs: Candidates of all rounds so far, left out ones with them.
        recoveries: The drivers' segments that train.
        experts: Whole drives of the expert, failed ones with them.
        uneventful: Drives of earlier rounds that are replayed.
        imitable: Safe states of other drives.
        content: Hash of each sealed drive.
    """

    pairs: Rows
    recoveries: Rows
    experts: Rows
    uneventful: Rows
    imitable: Rows
    content: dict[str, str]

    @property
    def admitted(self) -> Rows:
        """The pairs that train."""
        return [row for row in self.pairs if row["admitted"]]

    @property
    def watched(self) -> list[str]:
        """Drives that teach by a pair, a recovery, or because nothing happened in them."""
        rows = [*self.admitted, *self.recoveries, *self.uneventful]
        return sorted({row["episode_id"] for row in rows})


def sources(store: Store, up_to_round: int = ALL_ROUNDS, *, hold_out: bool = False) -> Sources:
    """Read what there is to learn from, in one transaction: a driver's veto comes before all of it or after.

    Args:
        store: The store.
        up_to_round: Last round whose pairs count.
        hold_out: Leave out every drive of a case in which a certified takeover is held out, whoever drove it.
    """
    with store.transaction() as moment:
        content = moment.query("SELECT episode_id, case_id, content_sha256 FROM episodes")
        cases = {row["case_id"] for row in queries.certified(moment, held_out=True)} if hold_out else set()
        held = {row["episode_id"] for row in content if row["case_id"] in cases}

        def taught(rows: Rows) -> Rows:
            return [row for row in rows if row["episode_id"] not in held]

        return Sources(
            pairs=taught([row for row in queries.pairs(moment) if row["round"] <= up_to_round]),
            recoveries=taught(queries.segments(moment, phase=Phase.RECOVERY.value, trains=True)),
            experts=taught(
                queries.episodes(moment, driver_kind="expert", role="train", whole=True, limit=ALL_DRIVES)
            ),
            uneventful=taught(queries.uneventful(moment)),
            imitable=taught(queries.imitable(moment)),
            content={row["episode_id"]: row["content_sha256"] for row in content},
        )


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
    found: Sources,
    pairs: Sequence[PreferencePair],
    failed: Sequence[FailedPlan] = (),
) -> None:
    """Keep what a round learns from: its pairs, the drivers' recoveries, the drives that are replayed.

    Nothing is asked of the index again: it may have changed since.

    Args:
        store: The store.
        run_id: The run.
        round_number: The round; with the run it names the generation to come.
        found: What training reads.
        pairs: As they go into training.
        failed: Plans of refused pairs, if KTO learns from them.
    """
    owners = {row["pair_id"]: row["takeover_id"] for row in found.pairs}
    content = found.content
    rows = [
        TrainingRow(
            run_id,
            round_number,
            kind,
            name,
            name.split("/")[0],
            owners[name],
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
        for row in found.recoveries
    ]
    rows += [_drive(run_id, round_number, row, "expert") for row in found.experts if row["success"]]
    rows += [_drive(run_id, round_number, row, "uneventful") for row in found.uneventful]
    partly = sorted({row["episode_id"] for row in found.imitable})
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


def given_model(store: Store, run_id: str) -> str | None:
    """Checkpoint or hub id that a home's generation 0 was made from by `loop init`; None when it was taught here.

    Args:
        store: The store.
        run_id: The run that makes generation 0, while there is none.
    """
    firsts = [row["run_id"] for row in queries.generations(store) if row["parent"] is None]
    rows = kept(store, firsts[0] if firsts else run_id, 0)
    return next((row["item_id"] for row in rows if (row["kind"], row["source"]) == ("given", "model")), None)


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
