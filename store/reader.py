"""Reads a sealed episode into numpy columns; pictures are decoded when asked for."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ..errors import DamagedEpisodeError
from ..vocabulary import ActorKind, Agent, Case, EgoState, Frame, Infraction, Outcome
from .framing import HEADER, Record, RecordType, payload_of, scan
from .inputs import InputRow, unpack_inputs
from .records import (
    AGENT_DTYPE,
    COMMANDS,
    EGO_FIELDS,
    EXECUTED_BY,
    HANDOVER,
    TICK_DTYPE,
    ActorInfo,
    EpisodeMeta,
    EventRow,
    PlanRow,
    unpack_actor,
    unpack_event,
    unpack_frame,
    unpack_plan,
)
from .sealing import read_sealed_json
from .writer import FORMAT, MANIFEST, SEGMENT_NAME

READABLE = range(1, FORMAT + 1)

_CODED = {"executed_by": EXECUTED_BY, "handover_state": HANDOVER, "command": COMMANDS}
_NAMES = {column: np.array(names) for column, names in _CODED.items()}
_LAZY = frozenset({int(RecordType.FRAME)})
Columns = dict[str, NDArray[Any]]


class FramePlace(NamedTuple):
    """Where one JPEG lies: segment file, first byte, length. The bytes there are a whole JPEG file."""

    tick: int
    camera: int
    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class AgentTracks:
    """Other road users over all ticks.

    Attributes:
        ids: (N,) actor ids in order of appearance.
        kinds: Their kinds.
        size_m: (N, 2) length, width.
        states: (T, N, 5) x_m, y_m, yaw_rad, vx_mps, vy_mps, world; NaN where absent.
    """

    ids: NDArray[np.int64]
    kinds: tuple[ActorKind, ...]
    size_m: NDArray[np.float64]
    states: NDArray[np.float64]


class EpisodeReader:
    """A sealed episode. Every record read is checked by its CRC; `verify` checks the hashes of whole files.

    Args:
        path: The episode's folder.

    Raises:
        DamagedEpisodeError: no manifest, or a file does not match it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / MANIFEST).is_file():
            raise DamagedEpisodeError(f"{path} is not sealed", fix="`loop doctor` salvages killed recordings")
        self.manifest = read_sealed_json(path / MANIFEST)
        if self.manifest["format"] not in READABLE:
            raise DamagedEpisodeError(
                f"{path} has format {self.manifest['format']}, this version reads up to {FORMAT}",
                fix="upgrade takeover-loop",
            )
        self.meta = EpisodeMeta.from_json(self.manifest["meta"])
        self.outcome = outcome_from_json(self.manifest["outcome"])
        self.truncated: bool = self.manifest["truncated"]
        self.content_sha256: str = self.manifest["content_sha256"]
        self._payloads: dict[RecordType, list[bytes]] = {kind: [] for kind in RecordType}
        self._frames: dict[int, tuple[str, Record]] = {}
        for name, entry in sorted(self.manifest["files"].items()):
            if not SEGMENT_NAME.fullmatch(name):
                raise DamagedEpisodeError(
                    f"{path} names the file {name!r}", fix="it is not one of ours: remove it"
                )
            self._load(name, entry["bytes"])
        counts = {kind.name.lower() + "s": len(found) for kind, found in self._payloads.items()}
        counts["frames"] = len(self._frames)
        if any(counts[kind] != number for kind, number in self.manifest["counts"].items()):
            raise DamagedEpisodeError(
                f"{path} does not hold what its manifest counts",
                fix="`loop doctor` sets damaged episodes aside",
            )

    def _load(self, name: str, size: int) -> None:
        with _mapped(self.path / name) as data:
            if len(data) != size:
                raise DamagedEpisodeError(
                    f"{self.path / name} has {len(data)} bytes, its manifest says {size}",
                    fix="`loop doctor` sets damaged episodes aside",
                )
            for record in scan(data, self.path / name, skip_check_of=_LAZY):
                if record.kind == RecordType.FRAME:
                    tick = int.from_bytes(data[record.start : record.start + 4], "little", signed=True)
                    self._frames[tick] = (name, record)
                elif record.kind in self._payloads:  # a type of a later version is passed over
                    payload = data[record.start : record.start + record.length]
                    self._payloads[RecordType(record.kind)].append(payload)

    @property
    def episode_id(self) -> str:
        """The episode's uuid."""
        return self.meta.episode_id

    @cached_property
    def _tick_parts(self) -> tuple[NDArray[Any], NDArray[Any], list[tuple[int, dict[str, Any]]]]:
        heads, agents, tails = [], [], []
        size, agent_size = TICK_DTYPE.itemsize, AGENT_DTYPE.itemsize
        for row, payload in enumerate(self._payloads[RecordType.TICK]):
            number = int.from_bytes(payload[size - 2 : size], "little")
            end = size + number * agent_size
            heads.append(payload[:size])
            agents.append(payload[size:end])
            if len(payload) > end:
                tails.append((row, msgpack.unpackb(payload[end:])))
        return np.frombuffer(b"".join(heads), TICK_DTYPE), np.frombuffer(b"".join(agents), AGENT_DTYPE), tails

    @cached_property
    def ticks(self) -> Columns:
        """Columns of `TickRow` by name, warm-up first; missing controls are NaN.

        `executed_by`, `handover_state` and `command` are text, `off_road` and `red_light` bool, `agents` a
        count.
        """
        table = self._tick_parts[0]
        columns: Columns = {}
        for name in TICK_DTYPE.names or ():
            column = np.ascontiguousarray(table[name])
            if name in _NAMES:
                column = _NAMES[name][column]
            elif name in ("off_road", "red_light"):
                column = column.astype(np.bool_)
            columns[name] = column
        return columns

    @property
    def warmup(self) -> int:
        """Number of warm-up rows, which is also the row of tick 0."""
        ticks = self.ticks["tick"]
        return int(-ticks[0]) if len(ticks) else 0

    def row(self, tick: int) -> int:
        """Row of a tick in the columns."""
        ticks = self.ticks["tick"]
        row = tick - int(ticks[0]) if len(ticks) else -1
        if not 0 <= row < len(ticks):
            raise IndexError(f"episode {self.episode_id} has no tick {tick}")
        return row

    def ego(self, tick: int) -> EgoState:
        """The ego at a tick."""
        row = self.row(tick)
        return EgoState(*(float(self.ticks[name][row]) for name in EGO_FIELDS))

    @cached_property
    def faults(self) -> dict[int, tuple[str, ...]]:
        """Tick to its faults; only ticks that have some."""
        first = int(self.ticks["tick"][0]) if len(self.ticks["tick"]) else 0
        return {first + row: tuple(tail["faults"]) for row, tail in self._tick_parts[2] if "faults" in tail}

    def lights(self, tick: int) -> tuple[tuple[int, str], ...]:
        """(id, state) of every traffic light at a tick."""
        row = self.row(tick)
        state: list[Any] = []
        for at, tail in self._tick_parts[2]:
            if at > row:
                break
            state = tail.get("lights", state)
        return tuple((int(light), str(colour)) for light, colour in state)

    @cached_property
    def actors(self) -> dict[int, ActorInfo]:
        """What does not change about each road user, by actor id, in order of appearance."""
        found = map(unpack_actor, self._payloads[RecordType.ACTOR])
        return {actor.actor_id: actor for actor in found}

    @cached_property
    def agents(self) -> Columns:
        """Other road users, tick-major: tick, actor_id, x_m, y_m, yaw_rad, speed_mps, vx_mps, vy_mps."""
        table = self._tick_parts[1]
        ticks = np.repeat(self.ticks["tick"], self.ticks["agents"])
        return {
            "tick": ticks,
            **{name: np.ascontiguousarray(table[name]) for name in AGENT_DTYPE.names or ()},
        }

    def agents_at(self, tick: int) -> tuple[Agent, ...]:
        """Other road users at one tick."""
        row = self.row(tick)
        start = int(self.ticks["agents"][:row].sum())
        found = []
        for entry in self._tick_parts[1][start : start + int(self.ticks["agents"][row])]:
            actor = self.actors[int(entry["actor_id"])]
            _, x_m, y_m, yaw_rad, speed_mps, vx_mps, vy_mps = entry.tolist()
            found.append(
                Agent(
                    actor.actor_id,
                    actor.kind,
                    x_m,
                    y_m,
                    yaw_rad,
                    speed_mps,
                    actor.length_m,
                    actor.width_m,
                    actor.name,
                    vx_mps,
                    vy_mps,
                )
            )
        return tuple(found)

    @cached_property
    def tracks(self) -> AgentTracks:
        """Other road users as dense arrays, first axis = row of `ticks`."""
        ids = np.array(list(self.actors), np.int64)
        states = np.full((len(self.ticks["tick"]), len(ids), 5), np.nan)
        order = np.argsort(ids)
        rows = np.repeat(np.arange(len(states)), self.ticks["agents"])
        table = self._tick_parts[1]
        if len(table):
            columns = order[np.searchsorted(ids[order], table["actor_id"])]
            for axis, name in enumerate(("x_m", "y_m", "yaw_rad", "vx_mps", "vy_mps")):
                states[rows, columns, axis] = table[name]
        actors = list(self.actors.values())
        size_m = np.array([(a.length_m, a.width_m) for a in actors], np.float64).reshape(-1, 2)
        return AgentTracks(ids, tuple(a.kind for a in actors), size_m, states)

    @cached_property
    def plans(self) -> list[PlanRow]:
        """Every plan, issued and shadow, in order."""
        return [unpack_plan(payload) for payload in self._payloads[RecordType.PLAN]]

    @cached_property
    def events(self) -> list[EventRow]:
        """Every event, in order."""
        return [unpack_event(payload) for payload in self._payloads[RecordType.EVENT]]

    @cached_property
    def inputs(self) -> list[InputRow]:
        """Raw inputs of the driver's devices, in order; empty for unattended drives."""
        return [unpack_inputs(payload) for payload in self._payloads[RecordType.INPUT]]

    @property
    def frame_ticks(self) -> list[int]:
        """Ticks that have a camera set, in order."""
        return list(self._frames)

    def frame(self, tick: int) -> Frame:
        """Decode the camera set of a tick; KeyError where there is none."""
        payload = self._frame_payload(tick)
        _, places, visible_px = unpack_frame(payload)
        images = [
            simplejpeg.decode_jpeg(bytes(payload[start : start + length]), colorspace="RGB")
            for start, length in places
        ]
        return Frame(tick, np.stack(images), visible_px)

    def images(self, tick: int) -> NDArray[np.uint8]:
        """(V, H, W, 3) RGB of a tick; KeyError where there is no frame."""
        return self.frame(tick).images

    def visible_px(self, tick: int) -> dict[int, int]:
        """Pixels of each visible actor in the frame of a tick, without decoding it."""
        return unpack_frame(self._frame_payload(tick))[2]

    def frames(self) -> list[FramePlace]:
        """Where each JPEG lies, in order of tick and camera."""
        found = []
        for tick, (name, record) in self._frames.items():
            for camera, (start, length) in enumerate(unpack_frame(self._frame_payload(tick))[1]):
                found.append(FramePlace(tick, camera, name, record.start + start, length))
        return found

    def _frame_payload(self, tick: int) -> memoryview:
        name, record = self._frames[tick]
        with (self.path / name).open("rb") as file:
            data = os.pread(file.fileno(), HEADER.size + record.length, record.start - HEADER.size)
        return payload_of(data, Record(record.kind, HEADER.size, record.length), self.path / name)


def outcome_from_json(data: dict[str, Any]) -> Outcome:
    """Inverse of the manifest's form."""
    return Outcome(**{**data, "infractions": tuple(Infraction(**one) for one in data["infractions"])})


def case_of(path: Path) -> Case:
    """The case of a sealed episode, from its manifest alone."""
    return Case(**read_sealed_json(path / MANIFEST)["meta"]["case"])


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise DamagedEpisodeError(
            f"{path} cannot be read: {error}", fix="`loop doctor` sets damaged episodes aside"
        ) from error
    try:
        yield data
    finally:
        data.close()
