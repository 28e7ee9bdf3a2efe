"""Durable small files: canonical JSON that detects damage; a crash leaves the old file or the new one."""

from __future__ import annotations

import hashlib
import json
import math
import os
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedEpisodeError

SEAL = "sha256"  # key of the self hash in a sealed JSON file


def sync_folder(folder: Path) -> None:
    """Make created, renamed and removed names of `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name, fsync, rename to `path`, fsync the folder.

    A failed fsync is never repeated (the kernel may have dropped the pages): the error goes to the caller.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def plain(value: Any) -> Any:
    """JSON values: enums by value, arrays and tuples as lists, keys as text, non-finite numbers as None."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, dict):
        return {str(key.value if isinstance(key, Enum) else key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def canonical(value: Any) -> bytes:
    """The one JSON form of `value`: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    ).encode()


def sealed_json(value: dict[str, Any]) -> bytes:
    """`value` with its own hash, in canonical form."""
    return canonical({**value, SEAL: hashlib.sha256(canonical(value)).hexdigest()})


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Read a file made by `sealed_json`; any changed byte is noticed.

    Raises:
        DamagedEpisodeError: it cannot be read, is not canonical, or does not match its hash.
    """
    try:
        data = path.read_bytes()
        value = json.loads(data)
        seal = value.pop(SEAL)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedEpisodeError(
            f"{path} is unreadable: {type(error).__name__}",
            fix="run `loop doctor`, which sets damaged files aside",
        ) from error
    if seal != hashlib.sha256(canonical(value)).hexdigest() or data != canonical({**value, SEAL: seal}):
        raise DamagedEpisodeError(
            f"{path} does not match its own hash", fix="run `loop doctor`, which sets damaged files aside"
        )
    return value


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes. Never of the live database file: closing it would drop DuckDB's lock."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
