"""Copies sealed episodes into the index, many in one transaction; keyed by uuid, so twice is once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from ..errors import DamagedEpisodeError
from .episodes import EpisodeReader, quarantine, verify
from .journal import insert, insert_arrow
from .records import EGO_FIELDS, FLOAT_FIELDS
from .sealing import plain
from .writer import MANIFEST

TOMBSTONES = "forgotten"  # of a home: one file a forgotten driver, named by the pseudonym
BATCH = 64  # episodes of one Arrow batch
TABLES = ("episodes", "ticks", "agents", "plans", "frames", "events")
_TICK_COLUMNS = (
    "tick",
    *FLOAT_FIELDS,
    "executed_by",
    "handover_state",
    "plan_tick",
    "off_road",
    "red_light",
    "command",
)


@dataclass(slots=True)
class IngestReport:
    """What an ingest did, by episode id. `damaged` maps a quarantined episode to what is wrong with it."""

    added: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)


def ingest(connection: duckdb.DuckDBPyConnection, home: Path, paths: Sequence[Path]) -> IngestReport:
    """Copy sealed episodes into the index, inside the caller's transaction.

    Args:
        connection: Open for writing.
        home: Home folder; damaged episodes go to its `quarantine/`.
        paths: Folders of sealed episodes.

    Returns:
        What was added, what was there already, what is damaged.
    """
    report = IngestReport()
    forgotten = {stone.stem for stone in (home / TOMBSTONES).glob("*.json")}
    known = dict(connection.execute("SELECT episode_id, manifest_sha256 FROM episodes").fetchall())
    for start in range(0, len(paths), BATCH):
        readers, hashes = [], []
        for path in paths[start : start + BATCH]:
            try:
                digest = _manifest_hash(path)
                if known.get(path.name) == digest:
                    report.known.append(path.name)
                    continue
                verify(path)
                reader = EpisodeReader(path)
                if reader.episode_id != path.name:
                    raise DamagedEpisodeError(
                        f"{path} holds episode {reader.episode_id}", fix="rename the folder back"
                    )
            except DamagedEpisodeError as error:
                report.damaged[path.name] = str(error)
                if path.exists():
                    quarantine(home, path)
                continue
            if reader.meta.driver_id in forgotten:
                continue
            readers.append(reader)
            hashes.append(digest)
            known[path.name] = digest
            report.added.append(path.name)
        if readers:
            _replace(connection, home, readers, hashes)
    return report


def _replace(
    connection: duckdb.DuckDBPyConnection, home: Path, readers: Sequence[EpisodeReader], hashes: Sequence[str]
) -> None:
    ids = [reader.episode_id for reader in readers]
    for table in TABLES:
        connection.execute(f"DELETE FROM {table} WHERE episode_id IN (SELECT unnest(?))", [ids])
    insert(
        connection,
        "episodes",
        [_episode(home, reader, digest) for reader, digest in zip(readers, hashes, strict=True)],
    )
    insert_arrow(connection, "ticks", pa.concat_tables([_ticks(reader) for reader in readers]))
    insert(connection, "agents", [row for reader in readers for row in _agents(reader)])
    insert(connection, "plans", [row for reader in readers for row in _plans(reader)])
    insert(connection, "frames", [row for reader in readers for row in _frames(reader)])
    insert(connection, "events", [row for reader in readers for row in _events(reader)])


def _manifest_hash(path: Path) -> str:
    try:
        return hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    except OSError as error:
        raise DamagedEpisodeError(
            f"{path} is not sealed: {error.strerror}", fix="run `loop doctor`"
        ) from error


def _episode(home: Path, reader: EpisodeReader, digest: str) -> dict[str, Any]:
    meta, outcome = reader.meta, reader.outcome
    return {
        "episode_id": meta.episode_id,
        "path": str(reader.path.resolve().relative_to(home.resolve())),
        "session_id": meta.session_id,
        "case_id": meta.case.case_id,
        "scenario": meta.case.scenario,
        "seed": meta.case.seed,
        "decoy": meta.case.decoy,
        "role": meta.role.value,
        "generation": meta.generation,
        "planner": meta.planner,
        "driver_kind": meta.driver_kind,
        "driver_id": meta.driver_id,
        "style": meta.style,
        "drive_seed": meta.seed,
        "map_name": meta.map_name,
        "map_sha256": meta.map_sha256,
        "polygons_sha256": meta.polygons_sha256,
        "created_utc": meta.created_utc,
        "code_version": meta.code_version,
        "ticks": len(reader.ticks["tick"]) - reader.warmup,
        "warmup": reader.warmup,
        "frames": len(reader.frame_ticks),
        "plans": len(reader.plans),
        "truncated": reader.truncated,
        "success": outcome.success,
        "rc": outcome.rc,
        "ds": outcome.ds,
        "ended": outcome.end,
        "driven_m": outcome.driven_m,
        "duration_s": outcome.duration_s,
        "takeovers": outcome.takeovers,
        "phantom_brakes": outcome.phantom_brakes,
        "standstill_s": outcome.standstill_s,
        "infractions": reader.manifest["outcome"]["infractions"],
        "outcome_extra": reader.manifest["outcome"]["extra"],
        "scenario_info": reader.manifest["meta"]["scenario_info"],
        "content_sha256": reader.content_sha256,
        "manifest_sha256": digest,
    }


def _ticks(reader: EpisodeReader) -> pa.Table:
    columns = reader.ticks
    count = len(columns["tick"])
    table: dict[str, Any] = {
        "episode_id": pa.repeat(reader.episode_id, count),
        **{name: pa.array(columns[name], from_pandas=True) for name in _TICK_COLUMNS},
        "agents": pa.array(columns["agents"]),
        "faults": pa.array(
            [list(reader.faults.get(int(t), ())) for t in columns["tick"]], pa.list_(pa.string())
        ),
    }
    return pa.table(table)


def _agents(reader: EpisodeReader) -> list[dict[str, Any]]:
    if not reader.actors:
        return []
    ticks, states = reader.ticks, reader.tracks.states
    away_m = np.hypot(states[:, :, 0] - ticks["x_m"][:, None], states[:, :, 1] - ticks["y_m"][:, None])
    away_m = np.where(np.isfinite(away_m), away_m, np.inf)
    rows = []
    for index, actor in enumerate(reader.actors.values()):
        seen = np.flatnonzero(np.isfinite(states[:, index, 0]))
        nearest = int(np.argmin(away_m[:, index]))
        rows.append(
            {
                "episode_id": reader.episode_id,
                "actor_id": actor.actor_id,
                "kind": actor.kind.value,
                "name": actor.name,
                "length_m": actor.length_m,
                "width_m": actor.width_m,
                "first_tick": int(ticks["tick"][seen[0]]),
                "last_tick": int(ticks["tick"][seen[-1]]),
                "nearest_m": float(away_m[nearest, index]),
                "nearest_tick": int(ticks["tick"][nearest]),
            }
        )
    return rows


def _plans(reader: EpisodeReader) -> list[dict[str, Any]]:
    pose_fields = EGO_FIELDS[:4]  # x_m, y_m, yaw_rad, speed_mps
    return [
        {
            "episode_id": reader.episode_id,
            "tick": row.plan.tick,
            "generation": row.plan.generation,
            "shadow": row.plan.shadow,
            "waypoints_m": row.plan.waypoints_m.ravel().tolist(),
            **{name: getattr(row.pose, name) for name in pose_fields},
            "text": row.plan.text,
        }
        for row in reader.plans
    ]


def _frames(reader: EpisodeReader) -> list[dict[str, Any]]:
    return [
        {
            "episode_id": reader.episode_id,
            "tick": place.tick,
            "camera": place.camera,
            "file": place.file,
            "byte_offset": place.offset,
            "byte_length": place.length,
        }
        for place in reader.frames()
    ]


def _events(reader: EpisodeReader) -> list[dict[str, Any]]:
    return [
        {"episode_id": reader.episode_id, "tick": event.tick, "kind": event.kind, "data": plain(event.data)}
        for event in reader.events
    ]
