"""Sealed episodes: the door to writing, reading, verifying and salvaging them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ..errors import DamagedEpisodeError, StoreError, StoreLockedError
from ..vocabulary import Outcome
from .framing import RecordType, payload_of, scan, valid_length
from .inputs import InputRow, InputSample
from .reader import EpisodeReader, FramePlace
from .records import EpisodeMeta, EventRow, PlanRow, TickRow
from .sealing import read_sealed_json, sha256_of, sync_folder
from .writer import MANIFEST, OPEN_MARK, EpisodeWriter, lock_leftover, write_manifest

__all__ = [
    "EpisodeMeta",
    "EpisodeReader",
    "EpisodeWriter",
    "EventRow",
    "FramePlace",
    "InputRow",
    "InputSample",
    "PlanRow",
    "TickRow",
    "complete",
    "quarantine",
    "salvage",
    "salvage_all",
    "sealed",
    "unsealed",
    "verify",
]

QUARANTINE = "quarantine"


def sealed(root: Path) -> list[Path]:
    """Sealed episodes in the `episodes` folder, by name."""
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))


def unsealed(root: Path) -> list[Path]:
    """Episodes without a manifest, by name: being recorded, or killed."""
    if not root.is_dir():
        return []
    found = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(path for path in found if not (path / MANIFEST).exists())


def complete(root: Path) -> list[Path]:
    """Sealed episodes that were recorded to their end, by name."""
    return [path for path in sealed(root) if not read_sealed_json(path / MANIFEST)["truncated"]]


def verify(path: Path) -> None:
    """Check every byte of a sealed episode against its manifest.

    Raises:
        DamagedEpisodeError: something is missing, damaged or added; the message names it.
    """
    manifest = EpisodeReader(path).manifest
    for name, entry in manifest["files"].items():
        if not (path / name).is_file() or sha256_of(path / name) != entry["sha256"]:
            raise DamagedEpisodeError(
                f"{path / name} is missing or does not match its manifest", fix="`loop doctor` sets it aside"
            )
    added = {file.name for file in path.iterdir()} - set(manifest["files"]) - {MANIFEST, OPEN_MARK}
    if added:
        raise DamagedEpisodeError(
            f"{path} holds foreign files: {', '.join(sorted(added))}", fix="remove them"
        )


def salvage(path: Path, *, end: str = "aborted") -> Path:
    """Seal a killed recording up to its last valid record, as truncated.

    Args:
        path: The episode's folder.
        end: `Outcome.end` to write; a dead simulator's episode is "sim_fault".

    Returns:
        The folder; a sealed episode is left as it is.

    Raises:
        StoreLockedError: it is still being recorded.
        DamagedEpisodeError: not even the first record is there, or an earlier segment file is damaged.
    """
    descriptor = lock_leftover(path)
    try:
        if (path / MANIFEST).exists():  # killed between the manifest and the mark
            (path / OPEN_MARK).unlink(missing_ok=True)
            return path
        for leftover in path.glob(".*.tmp"):
            leftover.unlink()
        _seal_truncated(path, end)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return path


def _seal_truncated(path: Path, end: str) -> None:
    files: dict[str, dict[str, object]] = {}
    counts = {kind.name.lower() + "s": 0 for kind in RecordType if kind is not RecordType.META}
    content = hashlib.sha256()
    meta: EpisodeMeta | None = None
    segments = sorted(path.glob("*.seg"))
    for file in segments:
        data = file.read_bytes()
        length = valid_length(data)
        if length != len(data) and file != segments[-1]:  # a kill tears the newest file only
            raise DamagedEpisodeError(
                f"{file} is damaged at byte {length}", fix="`loop doctor` sets it aside"
            )
        if length == 0:
            file.unlink()
            continue
        if length != len(data):
            os.truncate(file, length)
        for record in scan(memoryview(data)[:length], file):
            payload = payload_of(data, record, file)
            if record.kind == RecordType.META:
                meta = _meta_of(payload)
                continue
            content.update(bytes([record.kind]))
            content.update(payload)
            counts[RecordType(record.kind).name.lower() + "s"] += 1
        _sync_file(file)
        files[file.name] = {"bytes": length, "sha256": sha256_of(file)}
    if meta is None:
        raise DamagedEpisodeError(f"{path} holds no valid record", fix="`loop doctor` sets it aside")
    created = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    write_manifest(
        path,
        replace(meta, created_utc=created),
        Outcome(success=False, rc=0.0, ds=0.0, end=end),
        files=files,
        counts=counts,
        content_sha256=content.hexdigest(),
        truncated=True,
    )


def quarantine(home: Path, path: Path) -> Path:
    """Move a damaged episode or journal file out of the way, into `quarantine/` of the home folder.

    Returns:
        Its new place.
    """
    folder = home / QUARANTINE
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    path.rename(target)
    sync_folder(folder)
    sync_folder(path.parent)
    return target


def salvage_all(home: Path) -> tuple[list[Path], list[Path]]:
    """Salvage every killed recording of a home; recordings in progress are left alone.

    Returns:
        Folders that are sealed now, and folders that held nothing and were quarantined.
    """
    saved, lost = [], []
    for path in (home / "episodes").glob(".*"):  # killed before the first tick
        with suppress(StoreLockedError):
            lock = lock_leftover(path)
            shutil.rmtree(path)
            if lock is not None:
                os.close(lock)
    for path in unsealed(home / "episodes"):
        try:
            saved.append(salvage(path))
        except StoreLockedError:
            continue
        except StoreError:
            lost.append(quarantine(home, path))
    return saved, lost


def _meta_of(payload: memoryview) -> EpisodeMeta:
    return EpisodeMeta.from_json(json.loads(bytes(payload)))


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
