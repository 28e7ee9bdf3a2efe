"""What the index knows and no episode holds: one sealed JSON file a transaction, numbered, never changed.

An entry is a list of replacements: delete the rows of `table` whose columns `by` have one of `values`, then
insert `rows`. Playing all entries in order makes the tables again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ..errors import StoreError
from .rows import Row, as_json
from .sealing import read_sealed_json, sealed_json, write_durably

FOLDER = "journal"
JSON_COLUMNS = frozenset(
    {"details", "evidence", "metrics", "payload", "infractions", "outcome_extra", "scenario_info", "data"}
)
TABLES = frozenset(
    {
        "annotations",
        "takeovers",
        "segments",
        "pairs",
        "safety_labels",
        "takeover_cases",
        "rounds",
        "steps",
        "training_data",
        "generations",
        "evaluations",
        "promotions",
    }
)
Replacement = dict[str, Any]


def upserts(rows: Iterable[Row]) -> list[Replacement]:
    """Replacements that put each row in the place of the one with its key."""
    by_table: dict[str, list[Row]] = {}
    for row in rows:
        by_table.setdefault(row.TABLE, []).append(row)
    found = []
    for table, members in by_table.items():
        key = members[0].KEY
        latest = {tuple(data[column] for column in key): data for data in map(as_json, members)}
        found.append(replacement(table, key, list(latest), list(latest.values())))
    return found


def replacement(
    table: str, by: Sequence[str], values: Sequence[Sequence[Any]], rows: Sequence[dict[str, Any]]
) -> Replacement:
    """One replacement."""
    return {"table": table, "by": list(by), "values": [list(value) for value in values], "rows": list(rows)}


def entries(home: Path) -> list[Path]:
    """Journal files in order."""
    return sorted((home / FOLDER).glob("[0-9]*.json"))


def write_entry(home: Path, sequence: int, kind: str, replacements: list[Replacement]) -> Path:
    """Make an entry durable."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sequence:08d}-{kind}.json"
    write_durably(path, sealed_json({"sequence": sequence, "kind": kind, "replace": replacements}))
    return path


def apply_entry(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Apply a journal file and note that it was.

    Raises:
        DamagedEpisodeError: the file does not match its hash.
    """
    entry = read_sealed_json(path)
    apply_replacements(connection, entry["replace"])
    note_entry(connection, entry["sequence"], path.name, entry["kind"])


def note_entry(connection: duckdb.DuckDBPyConnection, sequence: int, name: str, kind: str) -> None:
    """Remember that the index holds a journal file."""
    connection.execute("INSERT INTO journal VALUES (?, ?, ?)", [sequence, name, kind])


def apply_replacements(connection: duckdb.DuckDBPyConnection, replacements: list[Replacement]) -> None:
    """Delete and insert as the replacements say."""
    for one in replacements:
        table, by = one["table"], one["by"]
        columns = set(_columns(connection, table)) if table in TABLES else set()
        used = {*by, *(name for row in one["rows"] for name in row)}
        if not used <= columns:
            raise StoreError(
                f"a journal entry names unknown columns of {table}: {', '.join(sorted(used - columns))}",
                fix="upgrade takeover-loop",
            )
        if one["values"]:
            keys = pa.table({name: [value[i] for value in one["values"]] for i, name in enumerate(by)})
            match = " AND ".join(f"{table}.{name} IS NOT DISTINCT FROM keys.{name}" for name in by)
            connection.register("keys", keys)
            connection.execute(f"DELETE FROM {table} USING keys WHERE {match}")
            connection.unregister("keys")
        insert(connection, table, one["rows"])


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows by column name in one batch."""
    if not rows:
        return
    ready = [
        {
            name: json.dumps(value, sort_keys=True) if name in JSON_COLUMNS else value
            for name, value in row.items()
        }
        for row in rows
    ]
    insert_arrow(connection, table, pa.Table.from_pylist(ready))


def insert_arrow(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Insert an Arrow table by column name."""
    connection.register("incoming", rows)
    try:
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
    finally:
        connection.unregister("incoming")


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    found = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = ?", [table]
    ).fetchall()
    return [name for (name,) in found]
