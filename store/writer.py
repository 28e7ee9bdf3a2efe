"""Writes one episode: `episodes/<uuid>/` with segment files, sealed by a manifest.

An unsealed episode has no `manifest.json`; while one is being written, the writer locks its `.open` file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import simplejpeg

from ..errors import StoreError, StoreLockedError
from ..vocabulary import Frame, Outcome
from .framing import RecordType, SegmentWriter
from .inputs import InputRow, pack_inputs
from .records import (
    EpisodeMeta,
    EventRow,
    PlanRow,
    TickRow,
    pack_actor,
    pack_event,
    pack_frame,
    pack_plan,
    pack_tick,
)
from .sealing import canonical, plain, read_sealed_json, sealed_json, sync_folder, write_durably

FORMAT = 2  # 2 adds raw inputs to 1
MANIFEST = "manifest.json"
OPEN_MARK = ".open"
SEGMENT_NAME = re.compile(r"\d{3,}\.seg")
ABANDONED = "abandoned"  # beside `episodes/`: leftovers of killed drives that were driven again
JPEG_QUALITY = 90
SYNC_EVERY_S = 1.0
SEGMENT_BYTES = 64 * 1024 * 1024
MIN_FREE_SHARE = 0.05
MIN_FREE_CAP_BYTES = 2 * 1024**3  # five percent of a large disk is no emergency


class EpisodeWriter:
    """Appends the records of one episode.

    Args:
        root: The `episodes` folder.
        meta: Identity and setting of the episode.
        segment_bytes: A segment file larger than this is followed by a new one.
        clock: Monotonic seconds, for the sync interval.

    Raises:
        StoreError: a whole sealed episode has this id already, or the disk is almost full. A truncated one is set
            aside: the same drive is driven again.
        StoreLockedError: another process is writing this episode.
    """

    def __init__(
        self,
        root: Path,
        meta: EpisodeMeta,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = root / meta.episode_id
        self.meta = meta
        self.counts = {kind.name.lower() + "s": 0 for kind in RecordType if kind is not RecordType.META}
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._files: dict[str, dict[str, Any]] = {}
        self._content = hashlib.sha256()
        self._known_actors: set[int] = set()
        self._lights: tuple[tuple[int, str], ...] | None = None
        self._last_tick: int | None = None
        self._synced_s = clock()
        try:
            self._begin(root)
        except OSError as error:
            raise _disk_error(self.path, error) from error
        self._open = True

    def _begin(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        _require_space(root)
        _set_aside_leftover(self.path)
        hidden = root / f".{self.path.name}.{os.getpid()}"  # nobody may find it before it is locked
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir()
        self._mark = os.open(hidden / OPEN_MARK, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._mark, fcntl.LOCK_EX)
        os.write(self._mark, str(os.getpid()).encode())
        self._segment = SegmentWriter(hidden / segment_name(0))
        self._segment.append(RecordType.META, canonical({**self.meta.to_json(), "created_utc": ""}))
        hidden.rename(self.path)

    def tick(self, row: TickRow) -> None:
        """Append a tick; ticks come without a gap."""
        if self._last_tick is not None and row.tick != self._last_tick + 1:
            raise StoreError(
                f"tick {row.tick} follows tick {self._last_tick}", fix="a recorder must not leave ticks out"
            )
        self._last_tick = row.tick
        for agent in row.agents:
            if agent.actor_id not in self._known_actors:
                self._known_actors.add(agent.actor_id)
                self._append(RecordType.ACTOR, pack_actor(agent))
        changed = row.lights != self._lights
        self._lights = row.lights
        self._append(RecordType.TICK, pack_tick(row, row.lights if changed else None))

    def frame(self, frame: Frame) -> None:
        """Encode and append a camera set."""
        jpegs = [
            simplejpeg.encode_jpeg(image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="444")
            for image in frame.images
        ]
        self._append(RecordType.FRAME, pack_frame(frame.tick, jpegs, frame.visible_px)[0])

    def plan(self, row: PlanRow) -> None:
        """Append a plan, issued or shadow."""
        self._append(RecordType.PLAN, pack_plan(row))

    def event(self, kind: str, tick: int, data: dict[str, Any]) -> None:
        """Append an event."""
        self._append(RecordType.EVENT, pack_event(EventRow(kind, tick, data)))

    def inputs(self, row: InputRow) -> None:
        """Append what the input devices said before a tick."""
        self._append(RecordType.INPUT, pack_inputs(row))

    def seal(self, outcome: Outcome) -> Path:
        """Make the episode durable and immutable.

        Returns:
            Its folder.

        Raises:
            StoreError: the disk refused; the episode stays unsealed and can be salvaged.
        """
        try:
            self._finish_segment()
            write_manifest(
                self.path,
                self.meta,
                outcome,
                files=self._files,
                counts=self.counts,
                content_sha256=self._content.hexdigest(),
                truncated=False,
            )
        except OSError as error:
            raise _disk_error(self.path, error) from error
        finally:
            self.abandon()
        return self.path

    def abandon(self) -> None:
        """Let go of the files; an episode that is not sealed can be salvaged."""
        if self._open:
            self._open = False
            self._segment.abandon()
            os.close(self._mark)

    def _append(self, kind: RecordType, payload: bytes) -> None:
        try:
            if self._segment.size > self._segment_bytes:
                self._finish_segment()
                self._segment = SegmentWriter(self.path / segment_name(len(self._files)))
            self._segment.append(kind, payload)
            self._content.update(bytes([kind]) + payload)
            self.counts[kind.name.lower() + "s"] += 1
            now_s = self._clock()
            if now_s - self._synced_s >= SYNC_EVERY_S:
                self._synced_s = now_s
                self._segment.sync()
                _require_space(self.path)
        except OSError as error:
            raise _disk_error(self.path, error) from error

    def _finish_segment(self) -> None:
        name = segment_name(len(self._files))
        size = self._segment.size
        self._files[name] = {"bytes": size, "sha256": self._segment.close()}


def segment_name(index: int) -> str:
    """File name of the index-th segment."""
    return f"{index:03d}.seg"


def write_manifest(
    path: Path,
    meta: EpisodeMeta,
    outcome: Outcome,
    *,
    files: dict[str, dict[str, Any]],
    counts: dict[str, int],
    content_sha256: str,
    truncated: bool,
) -> None:
    """Seal the folder `path`: manifest first, then the mark of the open recording goes."""
    manifest = {
        "format": FORMAT,
        "meta": meta.to_json(),
        "outcome": plain(asdict(outcome)),
        "files": files,
        "counts": counts,
        "content_sha256": content_sha256,
        "truncated": truncated,
    }
    write_durably(path / MANIFEST, sealed_json(manifest))
    (path / OPEN_MARK).unlink(missing_ok=True)
    sync_folder(path)
    sync_folder(path.parent)


def lock_leftover(path: Path) -> int | None:
    """Lock an unsealed episode that nobody writes any more.

    Returns:
        Descriptor that holds the lock; None when the episode has no open mark.

    Raises:
        StoreLockedError: it is being written.
    """
    try:
        descriptor = os.open(path / OPEN_MARK, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 20).decode() or "unknown"
        os.close(descriptor)
        raise StoreLockedError(
            f"episode {path.name} is being recorded by process {pid}", fix="wait until that process has ended"
        ) from None
    return descriptor


def _set_aside_leftover(path: Path) -> None:
    if not path.exists():
        return
    if (path / MANIFEST).exists() and not read_sealed_json(path / MANIFEST)["truncated"]:
        raise StoreError(f"episode {path.name} is sealed already", fix="record under a new episode id")
    descriptor = lock_leftover(path)
    try:
        folder = path.parent.parent / ABANDONED
        folder.mkdir(exist_ok=True)
        number = sum(1 for _ in folder.glob(f"{path.name}.*"))
        path.rename(folder / f"{path.name}.{number}")
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _require_space(path: Path) -> None:
    usage = shutil.disk_usage(path)
    if usage.free < min(MIN_FREE_SHARE * usage.total, MIN_FREE_CAP_BYTES):
        raise StoreError(
            f"only {usage.free / 1e6:.0f} MB are free for recordings in {path}",
            fix="free disk space, then go on",
        )


def _disk_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot record to {path}: {error.strerror or error}",
        fix="free or mend the disk; `loop doctor` salvages the drive",
    )
