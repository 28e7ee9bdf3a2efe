"""The index `loop.duckdb`: nobody holds a connection between transactions.

Lock `loop.lock`, open, one transaction, close, unlock. The live database file is touched by DuckDB alone: a
plain open() and close() of it by the writer would drop DuckDB's own lock. A missing or damaged index is made
again from `episodes/` and `journal/`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from ..errors import DamagedEpisodeError, StoreError, StoreLockedError
from ..vocabulary import PairSource
from . import journal
from .episodes import quarantine, salvage_all, sealed
from .ingest import IngestReport, ingest
from .locking import READ_WAIT_S, WRITE_WAIT_S, locked
from .rows import (
    PairRow,
    Row,
    SafetyRow,
    SegmentRow,
    StepRow,
    TakeoverRow,
    TrainingRow,
    as_json,
    now_utc,
)
from .sealing import sync_folder

DATABASE = "loop.duckdb"
LOCK = "loop.lock"
EPISODES = "episodes"
_WRITER = {"threads": 1, "autoinstall_known_extensions": "false"}
_READER = {**_WRITER, "enable_external_access": "false", "lock_configuration": "true"}
_MIGRATIONS = "CREATE TABLE IF NOT EXISTS migrations (name VARCHAR, applied_utc VARCHAR)"
_log = logging.getLogger(__name__)
T = TypeVar("T")


class _CorruptIndexError(Exception):
    """The database file or its log cannot be used; the index has to be made again."""


@dataclass(slots=True)
class RebuildReport:
    """What a rebuild read: the episodes, the number of journal files, and damaged journal files by name."""

    ingest: IngestReport = field(default_factory=IngestReport)
    entries: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Transaction:
    """An open write transaction; what is put is journalled before it is committed."""

    connection: duckdb.DuckDBPyConnection
    home: Path
    replacements: list[journal.Replacement] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    made: IngestReport = field(default_factory=IngestReport)  # of an index that this transaction had to make

    def put(self, rows: Sequence[Row]) -> None:
        """Insert rows, each in the place of the one with its key."""
        self._apply(journal.upserts(rows))

    def put_labels(
        self,
        episode_ids: Sequence[str],
        takeovers: Sequence[TakeoverRow],
        segments: Sequence[SegmentRow],
        pairs: Sequence[PairRow] | None = None,
    ) -> None:
        """Replace the labels of episodes; None leaves their pairs."""
        tables: list[tuple[str, Sequence[Row]]] = [("takeovers", takeovers), ("segments", segments)]
        if pairs is not None:
            tables.append(("pairs", pairs))
        keys = [(episode_id,) for episode_id in episode_ids]
        self._apply(
            [
                journal.replacement(table, ("episode_id",), keys, [as_json(row) for row in rows])
                for table, rows in tables
            ]
        )

    def put_safety(
        self, episode_ids: Sequence[str], labels: Sequence[SafetyRow], pairs: Sequence[PairRow] | None
    ) -> None:
        """Replace the safety labels of episodes, and their counterfactual pairs; None leaves their pairs."""
        keys = [(episode_id,) for episode_id in episode_ids]
        changed = [
            journal.replacement("safety_labels", ("episode_id",), keys, [as_json(row) for row in labels])
        ]
        if pairs is not None:
            source = PairSource.COUNTERFACTUAL.value
            own = [(episode_id, source) for episode_id in episode_ids]
            rows = [as_json(row) for row in pairs]
            changed.append(journal.replacement("pairs", ("episode_id", "source"), own, rows))
        self._apply(changed)

    def put_training(self, run_id: str, round_number: int, rows: Sequence[TrainingRow]) -> None:
        """Replace what a round learns from."""
        made = [as_json(row) for row in rows]
        self._apply(
            [journal.replacement("training_data", ("run_id", "round"), [(run_id, round_number)], made)]
        )

    def ingest(self, paths: Sequence[Path]) -> IngestReport:
        """Copy sealed episodes into the index."""
        report = ingest(self.connection, self.home, paths)
        report.added += [name for name in report.known if name in self.made.added]
        report.known = [name for name in report.known if name not in self.made.added]
        report.damaged |= self.made.damaged
        return report

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows as the transaction sees them."""
        return _rows(self.connection, sql, params)

    def _apply(self, replacements: list[journal.Replacement]) -> None:
        journal.apply_replacements(self.connection, replacements)
        self.replacements += replacements
        self.kinds |= {one["table"] for one in replacements}


class Store:
    """The store of a working directory: `episodes/`, `maps/`, `journal/` and the index.

    Args:
        home: The folder; it is created when something is written.
        read_wait_s: How long a reader waits for a writer.
        write_wait_s: How long a writer waits for others.
    """

    def __init__(
        self, home: Path, *, read_wait_s: float = READ_WAIT_S, write_wait_s: float = WRITE_WAIT_S
    ) -> None:
        self.home = home
        self.episodes = home / EPISODES
        self.database = home / DATABASE
        self._read_wait_s = read_wait_s
        self._write_wait_s = write_wait_s
        self._ready = False

    # Writing

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One write transaction; an exception rolls it back.

        Raises:
            StoreLockedError: another process keeps the index.
            StoreError: the index was damaged while in use; it has been made again, so try once more.
        """
        with self._exclusive():
            try:
                with self._open_transaction() as open_one:
                    yield open_one
            except _CorruptIndexError as error:
                self._make_again(error)
                raise StoreError("the index was damaged and has been made again", fix="try again") from error

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction; once more when the index is damaged and had to be made again."""
        with self._exclusive():
            try:
                with self._open_transaction() as open_one:
                    return work(open_one)
            except _CorruptIndexError as error:
                self._make_again(error)
            with self._open_transaction() as open_one:
                return work(open_one)

    def put(self, rows: Sequence[Row]) -> None:
        """Insert rows, each in the place of the one with its key."""
        self.write(lambda open_one: open_one.put(rows))

    def put_labels(
        self,
        episode_ids: Sequence[str],
        takeovers: Sequence[TakeoverRow],
        segments: Sequence[SegmentRow],
        pairs: Sequence[PairRow] | None = None,
    ) -> None:
        """Replace the labels of episodes in one transaction; None leaves their pairs."""
        self.write(lambda open_one: open_one.put_labels(episode_ids, takeovers, segments, pairs))

    def put_safety(
        self, episode_ids: Sequence[str], labels: Sequence[SafetyRow], pairs: Sequence[PairRow] | None
    ) -> None:
        """Replace the safety labels of episodes, and their counterfactual pairs; None leaves their pairs."""
        self.write(lambda open_one: open_one.put_safety(episode_ids, labels, pairs))

    def put_training(self, run_id: str, round_number: int, rows: Sequence[TrainingRow]) -> None:
        """Replace what a round learns from, in one transaction."""
        self.write(lambda open_one: open_one.put_training(run_id, round_number, rows))

    def ingest_many(self, paths: Sequence[Path]) -> IngestReport:
        """Copy sealed episodes into the index in one transaction; known ones are passed over."""
        return self.write(lambda open_one: open_one.ingest(paths))

    def mark_step(
        self, run_id: str, round_number: int, name: str, key: str = "", payload: dict[str, Any] | None = None
    ) -> None:
        """Note that a step of the loop is finished, with what later steps need of it."""
        self.put([StepRow(run_id, round_number, name, key, payload or {})])

    def step_done(self, run_id: str, round_number: int, name: str, key: str = "") -> dict[str, Any] | None:
        """Payload of a finished step; None while it is not finished."""
        found = self.query(
            "SELECT payload FROM steps WHERE run_id = ? AND round = ? AND name = ? AND key = ?",
            [run_id, round_number, name, key],
        )
        return json.loads(found[0]["payload"]) if found else None

    def recover(self) -> tuple[list[Path], list[Path], IngestReport]:
        """After a crash: salvage killed recordings, then ingest every sealed episode that the index lacks.

        Returns:
            Salvaged folders, folders that held nothing and were quarantined, and the report of the ingest.
        """
        saved, lost = salvage_all(self.home)
        return saved, lost, self.ingest_many(sealed(self.episodes))

    def rebuild(self) -> RebuildReport:
        """Make the index again from `episodes/` and `journal/`; the old one is set aside."""
        with self._exclusive():
            return self._create()

    # Reading

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows of one read-only query, which reaches no file but the index.

        Raises:
            StoreLockedError: a writer keeps the index longer than the reader waits.
            StoreError: the query is wrong.
        """
        try:
            with self._reading() as connection:
                return _rows(connection, sql, params)
        except _CorruptIndexError as error:
            with self._exclusive():
                self._make_again(error)
        with self._reading() as connection:
            return _rows(connection, sql, params)

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self._make_ready()
        with self._shared(), self._connect(_READER, read_only=True) as connection:
            yield connection

    def _make_ready(self) -> None:
        """Create, migrate or catch up, once in the life of this object, what a reader cannot."""
        if self._ready and self.database.exists():
            return
        self._ready = False
        with self._shared():
            if self.database.exists():
                with self._connect(_READER, read_only=True) as connection:
                    self._ready = not _pending(connection) and not _behind(connection, self.home)
        if not self._ready:
            self.write(lambda _: None)
            self._ready = True

    # Locks, files

    def _make_again(self, error: _CorruptIndexError) -> None:
        _log.warning("%s is damaged (%s): making it again", self.database, error)
        self._set_aside("corrupt")
        self._create()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with locked(self.home / LOCK, exclusive=True, wait_s=self._write_wait_s):
            yield

    @contextmanager
    def _shared(self) -> Iterator[None]:
        with locked(self.home / LOCK, exclusive=False, wait_s=self._read_wait_s):
            yield

    @contextmanager
    def _connect(
        self, config: dict[str, Any], *, read_only: bool = False, path: Path | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            connection = duckdb.connect(str(path or self.database), read_only=read_only, config=config)
        except duckdb.Error as error:
            raise _opening_error(error, self.database) from error
        try:
            yield connection
        except duckdb.Error as error:
            if _is_corruption(error):
                raise _CorruptIndexError(_first_line(error)) from error
            raise StoreError(
                _first_line(error), fix="see `loop sql` and the tables in store/migrations"
            ) from error
        finally:
            connection.close()

    @contextmanager
    def _open_transaction(self) -> Iterator[Transaction]:
        made = self._create().ingest if not self.database.exists() else IngestReport()
        with self._connect(_WRITER) as connection:
            if _pending(connection):
                _migrate(connection)
                connection.execute("CHECKPOINT")  # DuckDB's replay of schema changes has a history of bugs
            connection.execute("BEGIN")
            _catch_up(connection, self.home)
            open_one = Transaction(connection, self.home, made=made)
            yield open_one
            if open_one.replacements:
                last = journal.entries(self.home)[-1:]
                sequence = int(last[0].name.split("-")[0]) + 1 if last else 1
                kind = "+".join(sorted(open_one.kinds))
                path = journal.write_entry(self.home, sequence, kind, open_one.replacements)
                journal.note_entry(connection, sequence, path.name, kind)
            connection.execute("COMMIT")

    def _create(self) -> RebuildReport:
        """Make the index under a temporary name and put it in place; the caller holds the lock."""
        self.home.mkdir(parents=True, exist_ok=True)
        for leftover in self.home.glob(f"{DATABASE}.new-*"):
            leftover.unlink()
        temporary = self.home / f"{DATABASE}.new-{os.getpid()}"
        report = RebuildReport()
        with self._connect(_WRITER, path=temporary) as connection:
            _migrate(connection)
            connection.execute("BEGIN")
            report.ingest = ingest(connection, self.home, sealed(self.episodes))
            for path in journal.entries(self.home):
                try:
                    journal.apply_entry(connection, path)
                    report.entries += 1
                except DamagedEpisodeError as error:
                    report.damaged[path.name] = str(error)
                    quarantine(self.home, path)
            connection.execute("COMMIT")
            connection.execute("CHECKPOINT")
        old = self._set_aside("replaced")
        temporary.rename(self.database)
        sync_folder(self.home)
        for path in old:
            path.unlink()
        return report

    def _set_aside(self, why: str) -> list[Path]:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        found = [self.database, self.database.with_name(f"{DATABASE}.wal")]
        return [path.rename(path.with_name(f"{path.name}.{why}-{stamp}")) for path in found if path.exists()]


def rebuild(home: Path) -> RebuildReport:
    """Make the index of `home` again from its episodes and its journal."""
    return Store(home).rebuild()


def _shipped() -> list[tuple[str, str]]:
    folder = files("takeover.store") / "migrations"
    return sorted((item.name, item.read_text()) for item in folder.iterdir() if item.name.endswith(".sql"))


def _pending(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    known = connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'migrations'").fetchall()
    applied = (
        {name for (name,) in connection.execute("SELECT name FROM migrations").fetchall()} if known else set()
    )
    shipped = _shipped()
    foreign = applied - {name for name, _ in shipped}
    if foreign:
        raise StoreError(
            f"the index was made by a newer version ({', '.join(sorted(foreign))})",
            fix="upgrade takeover-loop",
        )
    return [(name, text) for name, text in shipped if name not in applied]


def _migrate(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(_MIGRATIONS)
    for name, text in _pending(connection):
        connection.execute("BEGIN")
        connection.execute(text)
        connection.execute("INSERT INTO migrations VALUES (?, ?)", [name, now_utc()])
        connection.execute("COMMIT")


def _behind(connection: duckdb.DuckDBPyConnection, home: Path) -> list[Path]:
    """Journal files that the index does not hold: a crash came between file and commit."""
    held = {name for (name,) in connection.execute("SELECT name FROM journal").fetchall()}
    return [path for path in journal.entries(home) if path.name not in held]


def _catch_up(connection: duckdb.DuckDBPyConnection, home: Path) -> None:
    for path in _behind(connection, home):
        try:
            journal.apply_entry(connection, path)
        except DamagedEpisodeError as error:
            _log.warning("%s; set aside", error)
            quarantine(home, path)


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any]) -> list[dict[str, Any]]:
    result = connection.execute(sql, list(params))
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, map(_native, row), strict=True)) for row in result.fetchall()]


def _native(value: Any) -> Any:
    """Exact decimals, which SQL makes of `0.05 * tick`, as the floats that all other columns are."""
    return float(value) if isinstance(value, Decimal) else value


def _opening_error(error: duckdb.Error, path: Path) -> Exception:
    text = _first_line(error)
    if "lock on file" in text:
        return StoreLockedError(f"{path} is open elsewhere: {text}", fix="close the program that has it open")
    if "Permission denied" in text or "No space left" in text:
        return StoreError(f"{path} cannot be opened: {text}", fix="mend the disk or its permissions")
    return _CorruptIndexError(text)


def _is_corruption(error: duckdb.Error) -> bool:
    text = str(error).lower()
    return isinstance(
        error, (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
    ) or any(
        sign in text
        for sign in ("corrupt", "checksum", "not a valid", "could not read enough", "replaying wal")
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
