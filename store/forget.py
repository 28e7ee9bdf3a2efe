"""A driver's data leave the store: episodes, index, journal, and so every future training.

The order makes it repeatable. First a tombstone names the pseudonym and the generations that learnt from the driver:
from then on no ingest takes an episode of that driver. Then the folders go, the journal is rewritten without their rows,
and the index is made again, so that nothing is left in its free pages. A kill on the way leaves the tombstone, and the
same call goes on from there. What stays is what each generation was made of: ids, weights and hashes, no content.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DamagedEpisodeError, StoreLockedError
from . import journal, queries
from .database import DATABASE, LOCK, Store
from .episodes import QUARANTINE, unsealed
from .framing import RecordType, payload_of, scan, valid_length
from .ingest import TOMBSTONES
from .locking import WRITE_WAIT_S, locked
from .rows import now_utc
from .sealing import read_sealed_json, sealed_json, sync_folder, write_durably
from .writer import ABANDONED, MANIFEST, lock_leftover

WHATIF = "whatif"  # pictures of drives that were driven again, named by the first one
BY_EPISODE = frozenset(
    {"annotations", "takeovers", "segments", "pairs", "safety_labels", "takeover_cases"}
)  # tables of the journal with an episode_id


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a driver's removal took away, and what it could not.

    Attributes:
        driver_id: The pseudonym.
        episodes: How many drives were removed.
        trained: Generations that were trained on some of them.
        derived: Generations that were refined from those.
        asked_utc: When it was first asked for.
        done: Nothing of it is left to do.
    """

    driver_id: str
    episodes: int
    trained: tuple[int, ...]
    derived: tuple[int, ...]
    asked_utc: str
    done: bool = False


def forget(store: Store, driver_id: str) -> Forgotten:
    """Remove every trace of a driver; the same call again finishes what a kill cut off.

    Args:
        store: The store.
        driver_id: The pseudonym.

    Raises:
        StoreLockedError: A drive of this home is being recorded.
    """
    _refuse_while_recording(store)
    path = store.home / TOMBSTONES / f"{driver_id}.json"
    if path.exists():
        stone = read_sealed_json(path)
    else:
        store.recover()  # a killed recording is salvaged, so that it is found
        stone = _write_tombstone(store, driver_id, path)
    _remove_folders(store.home, driver_id, stone["episode_ids"])
    with locked(store.home / LOCK, exclusive=True, wait_s=WRITE_WAIT_S):
        _scrub_journal(store.home, frozenset(stone["episode_ids"]))
    store.rebuild()
    for leftover in store.home.glob(
        f"{DATABASE}.*-*"
    ):  # damaged indexes that were set aside hold the rows too
        leftover.unlink()
    stone["done"] = True
    write_durably(path, sealed_json(stone))
    return _result(stone)


def touched(store: Store, episode_ids: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Generations that were trained on some episodes, and those that were refined from such."""
    wanted = set(episode_ids)
    made = {(row["run_id"], row["round"]): row for row in queries.generations(store)}
    trained: set[int] = set()
    for step in queries.steps(store):
        row = made.get((step["run_id"], step["round"]))
        if step["name"] != "refine" or row is None:
            continue
        payload = step["payload"]
        pairs = {str(name).split("/")[0] for name in payload.get("data", ())}
        if wanted & (pairs | set(payload.get("episodes", ()))):
            trained.add(int(row["generation"]))
    learnt = store.query(
        "SELECT DISTINCT generation FROM generation_data WHERE episode_id IN (SELECT unnest(?::VARCHAR[]))",
        [sorted(wanted)],
    )
    trained |= {int(row["generation"]) for row in learnt}  # those of `loop refine`, too, which are no step
    derived: set[int] = set()
    for row in made.values():
        if row["parent"] in trained | derived and row["generation"] not in trained:
            derived.add(int(row["generation"]))
    return tuple(sorted(trained)), tuple(sorted(derived))


def _write_tombstone(store: Store, driver_id: str, path: Path) -> dict[str, Any]:
    rows = store.query("SELECT episode_id FROM episodes WHERE driver_id = ? ORDER BY 1", [driver_id])
    ids = [row["episode_id"] for row in rows]
    trained, derived = touched(store, ids)
    result = Forgotten(driver_id, len(ids), trained, derived, now_utc())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, sealed_json({**json.loads(json.dumps(asdict(result))), "episode_ids": ids}))
    return read_sealed_json(path)


def _result(stone: dict[str, Any]) -> Forgotten:
    return Forgotten(
        stone["driver_id"],
        stone["episodes"],
        tuple(stone["trained"]),
        tuple(stone["derived"]),
        stone["asked_utc"],
        stone["done"],
    )


def _refuse_while_recording(store: Store) -> None:
    for path in unsealed(store.episodes):
        try:
            lock = lock_leftover(path)
            if lock is not None:
                os.close(lock)
        except StoreLockedError as error:
            raise StoreLockedError(
                f"a drive is being recorded in {store.home}: {error}", fix="end the drive first"
            ) from error


def _remove_folders(home: Path, driver_id: str, episode_ids: Sequence[str]) -> None:
    """Episodes, and what a kill or damage has left of them elsewhere."""
    ids = set(episode_ids)
    for picture in (home / WHATIF).glob("*.png"):
        if picture.name.split(".")[0] in ids:
            picture.unlink()
    for name in ("episodes", ABANDONED, QUARANTINE):
        folder = home / name
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            if path.is_dir() and (path.name.split(".")[0] in ids or _driver_of(path) == driver_id):
                shutil.rmtree(path)
            elif path.is_file() and any(name in path.read_text("utf-8", "replace") for name in ids):
                path.unlink()  # a damaged journal file
        sync_folder(folder)


def _driver_of(path: Path) -> str:
    """Pseudonym in an episode's manifest, or in the first record of a leftover; "" when neither can be read."""
    if (path / MANIFEST).exists():
        with suppress(DamagedEpisodeError):
            return str(read_sealed_json(path / MANIFEST)["meta"]["driver_id"])
    for file in sorted(path.glob("*.seg"))[:1]:
        data = file.read_bytes()
        for record in scan(memoryview(data)[: valid_length(data)], file):
            if record.kind == RecordType.META:
                return str(json.loads(bytes(payload_of(data, record, file))).get("driver_id", ""))
    return ""


def _scrub_journal(home: Path, episode_ids: frozenset[str]) -> None:
    """Rewrite the entries that hold rows of these episodes; each file is replaced as a whole."""
    for path in journal.entries(home):
        entry = read_sealed_json(path)
        changed = False
        for one in entry["replace"]:
            if one["table"] not in BY_EPISODE:
                continue
            kept = [row for row in one["rows"] if row["episode_id"] not in episode_ids]
            named = [key for key in one["values"] if str(key[0]).split("/")[0] not in episode_ids]
            changed |= len(kept) != len(one["rows"]) or len(named) != len(one["values"])
            one["rows"], one["values"] = kept, named
        if changed:
            write_durably(path, sealed_json(entry))
