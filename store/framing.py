"""Append-only segment files made of CRC-framed records.

A file is `MAGIC` followed by records of `length u32 | crc32 u32 | type u8 | payload`, little-endian. `length`
is that of the payload, the CRC covers length, type and payload. A torn tail starts at the first bad record.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from mmap import mmap
from pathlib import Path
from typing import NamedTuple

from ..errors import DamagedEpisodeError

MAGIC = b"TKOVSEG\x01"
HEADER = struct.Struct("<IIB")
_CHECKED = struct.Struct("<IB")
MAX_PAYLOAD = 64 * 1024 * 1024  # a longer length is damage, not data


class RecordType(IntEnum):
    """Kinds of record; numbers are never reused."""

    META = 1
    ACTOR = 2
    TICK = 3
    FRAME = 4
    PLAN = 5
    EVENT = 6
    INPUT = 7  # since format 2


class Record(NamedTuple):
    """Place of one record in a segment file. `start` is the payload's first byte."""

    kind: int
    start: int
    length: int


def checksum(kind: int, payload: bytes | memoryview) -> int:
    """CRC of one record."""
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(len(payload), kind)))


class SegmentWriter:
    """Appends records to a new file. Unbuffered: what was appended survives a kill of this process.

    Args:
        path: File to create; it must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._hash = hashlib.sha256()
        self.size = 0
        self._write(MAGIC)

    def append(self, kind: RecordType, payload: bytes) -> int:
        """Append one record.

        Returns:
            Offset of the payload in the file.
        """
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a record of {len(payload)} bytes is over the limit of {MAX_PAYLOAD}")
        start = self.size + HEADER.size
        self._write(HEADER.pack(len(payload), checksum(kind, payload), kind) + payload)
        return start

    def sync(self) -> None:
        """Make everything appended so far survive a power loss."""
        os.fdatasync(self._descriptor)

    def close(self) -> str:
        """Sync and close.

        Returns:
            sha256 of the file.
        """
        try:
            os.fsync(self._descriptor)
        finally:
            self.abandon()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Close without a sync; does nothing when it is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self._hash.update(view[:written])
            self.size += written
            view = view[written:]


def scan(
    data: bytes | memoryview | mmap, path: Path, *, skip_check_of: frozenset[int] = frozenset()
) -> Iterator[Record]:
    """Walk the records of a whole segment file.

    Args:
        data: The file's bytes.
        path: Its name, for messages.
        skip_check_of: Types whose CRC the caller checks later, when it reads them.

    Raises:
        DamagedEpisodeError: a record does not check, or bytes are left over.
    """
    end = MAGIC_SIZE
    for record in _walk(data, skip_check_of):
        end = record.start + record.length
        yield record
    if end != len(data) or bytes(data[:MAGIC_SIZE]) != MAGIC:
        raise DamagedEpisodeError(
            f"{path} is damaged at byte {end if len(data) > end else len(data)}",
            fix="run `loop doctor`, which sets damaged episodes aside",
        )


def valid_length(data: bytes | memoryview) -> int:
    """Bytes of the longest valid prefix; 0 when not even the magic is there."""
    if bytes(data[:MAGIC_SIZE]) != MAGIC:
        return 0
    end = MAGIC_SIZE
    for record in _walk(data, frozenset()):
        end = record.start + record.length
    return end


def payload_of(data: bytes | memoryview, record: Record, path: Path) -> memoryview:
    """Payload of a record, its CRC checked."""
    view = memoryview(data)[record.start : record.start + record.length]
    crc = HEADER.unpack_from(data, record.start - HEADER.size)[1]
    if checksum(record.kind, view) != crc:
        raise DamagedEpisodeError(
            f"{path} is damaged at byte {record.start}",
            fix="run `loop doctor`, which sets damaged episodes aside",
        )
    return view


MAGIC_SIZE = len(MAGIC)


def _walk(data: bytes | memoryview | mmap, unchecked: frozenset[int]) -> Iterator[Record]:
    position, size = MAGIC_SIZE, len(data)
    while position + HEADER.size <= size:
        length, crc, kind = HEADER.unpack_from(data, position)
        start = position + HEADER.size
        if start + length > size:
            return
        if kind not in unchecked and checksum(kind, data[start : start + length]) != crc:
            return
        yield Record(kind, start, length)
        position = start + length
