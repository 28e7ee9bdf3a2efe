"""Our own lock beside the index: DuckDB's is lost when the process opens and closes the database file."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreLockedError

READ_WAIT_S = 2.0
WRITE_WAIT_S = 10.0  # a transaction of ours is short; a longer holder is in trouble
_POLL_S = 0.01


@contextmanager
def locked(path: Path, *, exclusive: bool, wait_s: float) -> Iterator[None]:
    """Hold a lock file.

    Args:
        path: The lock file; it is created and never removed.
        exclusive: One writer alone, or one of several readers.
        wait_s: How long to wait for it.

    Raises:
        StoreLockedError: it stayed taken; the message names the process and its command.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
        while True:
            try:
                fcntl.flock(descriptor, operation)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StoreLockedError(
                        f"{path.parent} is used by {_holder(descriptor)}",
                        fix="wait until that process has ended, or end it, then try again",
                    ) from None
                time.sleep(_POLL_S)
        if exclusive:
            _write_holder(descriptor, json.dumps({"pid": os.getpid(), "command": _command()}))
        try:
            yield
        finally:
            if exclusive:
                _write_holder(descriptor, "")
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 4096, 0)
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} ({holder['command']})"
    except (ValueError, KeyError, TypeError):
        readers = _flock_pids(os.fstat(descriptor))
        return f"process {', '.join(readers)}" if readers else "another process"


def _flock_pids(stat: os.stat_result) -> list[str]:
    """Processes that hold a flock on this file, where the kernel tells (Linux)."""
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    device = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    found = [line.split() for line in lines]
    return sorted(
        {words[4] for words in found if len(words) > 5 and words[1] == "FLOCK" and words[5] == device}
    )


def _write_holder(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200] if sys.argv else "python"
