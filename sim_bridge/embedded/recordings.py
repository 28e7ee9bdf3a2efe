"""Recordings of an episode: who was where on every tick, in a msgpack stream of our own (CARLA's .log is Unreal's).

The first object is the header, each further one a tick: an interrupted recording is good up to its last whole tick.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from .blueprints import Kind
from .physics import VX, X, Y
from .wire_stream import MOTION_COLUMNS
from .world import World, WorldError

FORMAT, VERSION = "takeover recording", 1
BOUNCING_S = 0.8  # a car that pushes against a barrier comes back after half a second
RECORDED = (Kind.VEHICLE, Kind.WALKER, Kind.PROP)


@dataclass(frozen=True, slots=True)
class Person:
    """One recorded actor.

    Attributes:
        id: When it was recorded.
        description: `ActorDescription` to spawn it again.
    """

    id: int
    description: list[Any]

    @property
    def type_id(self) -> str:
        """Its blueprint."""
        return str(self.description[1])

    @property
    def is_hero(self) -> bool:
        """Its role is "hero"."""
        return any(name == "role_name" and value == "hero" for name, _, value in self.description[2])


@dataclass(frozen=True, slots=True)
class Frame:
    """One tick.

    Attributes:
        time_s: Since the start of the recording.
        ids: Of the actors there, in the order of the rows of `motion`.
        motion: (N, 15) as `ActorTable.motion`.
        lights: State of every traffic light, in their order.
        contacts: Pairs of ids that touched.
    """

    time_s: float
    ids: list[int]
    motion: NDArray[np.float32]
    lights: list[int]
    contacts: list[list[int]]


class Recorder:
    """Writes a recording while the world runs.

    Args:
        path: File, replaced when it exists.
        world: Episode to record.

    Raises:
        WorldError: The file cannot be written.
    """

    def __init__(self, path: Path, world: World) -> None:
        self.path = path
        self._world = world
        self._known: set[int] = set()
        self._start_s = world.time_s
        try:
            self._file = path.open("wb", buffering=0)  # a server that is killed has written every tick
        except OSError as error:
            raise WorldError(f"cannot record: {error}") from error
        when = datetime.now(UTC).isoformat(timespec="seconds")
        self._write([FORMAT, VERSION, world.town.name, when])
        self.note()

    def note(self) -> None:
        """Records the world as it is now."""
        world = self._world
        actors = [one for one in world.table if one.kind in RECORDED]
        fresh = [[one.id, world.describe(one)[2]] for one in actors if one.id not in self._known]
        self._known.update(one.id for one in actors)
        rows = [one.row for one in actors]
        motion = world.table.motion[rows].astype("<f4").tobytes()
        lights = [light.state for light in world.lights.lights]
        contacts = [[contact.first.id, contact.second.id] for contact in world.contacts]
        self._write(
            [world.time_s - self._start_s, fresh, [one.id for one in actors], motion, lights, contacts]
        )

    def close(self) -> None:
        """Ends the recording."""
        self._file.close()

    def _write(self, record: list[Any]) -> None:
        self._file.write(msgpack.packb(record))


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that has been read.

    Attributes:
        town: Map that it was made on.
        date: When it was begun, UTC.
        people: Actors by recorded id.
        frames: In order of time, at least one.
    """

    town: str
    date: str
    people: dict[int, Person]
    frames: list[Frame]

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Reads a file.

        Raises:
            WorldError: It is not there or not a recording.
        """
        people: dict[int, Person] = {}
        frames: list[Frame] = []
        try:
            with path.open("rb") as file:
                objects = msgpack.Unpacker(file)
                header = next(objects, None)
                if not isinstance(header, list) or header[:2] != [FORMAT, VERSION]:
                    raise WorldError(f"{path} is not a recording of this server")
                for time_s, fresh, ids, motion, lights, contacts in objects:
                    people.update((key, Person(key, description)) for key, description in fresh)
                    table = np.frombuffer(motion, "<f4").reshape(-1, MOTION_COLUMNS)
                    frames.append(Frame(time_s, ids, table, lights, contacts))
        except OSError as error:
            raise WorldError(f"cannot read the recording: {error}") from error
        except (ValueError, msgpack.UnpackException) as error:
            if isinstance(error, WorldError):
                raise
            raise WorldError(f"{path} is not a recording of this server: {error}") from error
        if not frames:
            raise WorldError(f"{path} holds no tick")
        return cls(header[2], header[3], people, frames)

    @property
    def duration_s(self) -> float:
        """From the first tick to the last."""
        return self.frames[-1].time_s

    def at(self, time_s: float) -> tuple[Frame, Frame, float]:
        """The ticks around a time, and how far it lies between them, in [0, 1]."""
        after = min(bisect_left(self.frames, time_s, key=lambda frame: frame.time_s), len(self.frames) - 1)
        before = max(after - 1, 0)
        first, second = self.frames[before], self.frames[after]
        span = second.time_s - first.time_s
        share = (time_s - first.time_s) / span if span > 0.0 else 1.0
        return first, second, min(max(share, 0.0), 1.0)

    def info(self, show_all: bool) -> str:
        """What `Client.show_recorder_file_info` shows."""
        lines = [f"Version: {VERSION}", f"Map: {self.town}", f"Date: {self.date}", ""]
        known: set[int] = set()
        for number, frame in enumerate(self.frames, start=1):
            events = [f" Create {key}: {self.people[key].type_id}" for key in frame.ids if key not in known]
            events += [f" Destroy {key}" for key in sorted(known - set(frame.ids))]
            events += [f" Collision between {a} and {b}" for a, b in frame.contacts]
            known = set(frame.ids)
            if events or show_all:
                lines += [f"Frame {number} at {frame.time_s:.6g} seconds", *events]
        return "\n".join(
            [*lines, "", f"Frames: {len(self.frames)}", f"Duration: {self.duration_s:.6g} seconds"]
        )

    def collisions(self, first: str, second: str) -> str:
        """What `Client.show_recorder_collisions` shows.

        Args:
            first: Kind of one: h hero, v vehicle, w walker, t traffic light, o other, a any.
            second: Of the other.
        """
        rows = [
            f"{frame.time_s:8.2f}  {self.people[a].type_id} {a}  {self.people[b].type_id} {b}"
            for a, b, frame in self._meetings()
            if (self._is(a, first) and self._is(b, second)) or (self._is(a, second) and self._is(b, first))
        ]
        head = [
            f"Version: {VERSION}",
            f"Map: {self.town}",
            f"Date: {self.date}",
            "",
            "    Time  Actor 1  Actor 2",
        ]
        return "\n".join(
            [*head, *rows, "", f"Frames: {len(self.frames)}", f"Duration: {self.duration_s:.6g} seconds"]
        )

    def _meetings(self) -> Iterator[tuple[int, int, Frame]]:
        """The first tick of every contact; bodies that bounce for a while meet once."""
        last_s: dict[tuple[int, int], float] = {}
        for frame in self.frames:
            for a, b in frame.contacts:
                if frame.time_s - last_s.get((a, b), -math.inf) > BOUNCING_S:
                    yield a, b, frame
                last_s[a, b] = frame.time_s

    def _is(self, actor_id: int, kind: str) -> bool:
        person = self.people[actor_id]
        prefix = {"v": "vehicle.", "w": "walker.", "t": "traffic."}.get(kind)
        if prefix is not None:
            return person.type_id.startswith(prefix)
        if kind == "h":
            return person.is_hero
        return kind == "a" or not person.type_id.startswith(("vehicle.", "walker.", "traffic."))

    def blocked(self, min_time_s: float, min_distance_m: float) -> str:
        """What `Client.show_recorder_actors_blocked` shows: vehicles that stayed within a distance for a time."""
        anchors: dict[int, tuple[float, float, float]] = {}
        longest: dict[int, tuple[float, float]] = {}
        for frame in self.frames:
            for key, row in zip(frame.ids, frame.motion, strict=True):
                if not self.people[key].type_id.startswith("vehicle."):
                    continue
                x, y = float(row[X]), float(row[Y])
                start = anchors.setdefault(key, (x, y, frame.time_s))
                if math.hypot(x - start[0], y - start[1]) > min_distance_m:
                    anchors[key] = (x, y, frame.time_s)
                    continue
                for_s = frame.time_s - start[2]
                if for_s >= min_time_s and for_s > longest.get(key, (0.0, 0.0))[1]:
                    longest[key] = (start[2], for_s)
        rows = [
            f"{since:8.2f}  {key} {self.people[key].type_id}  {for_s:.2f}"
            for key, (since, for_s) in sorted(longest.items(), key=lambda item: -item[1][1])
        ]
        head = [
            f"Version: {VERSION}",
            f"Map: {self.town}",
            f"Date: {self.date}",
            "",
            "    Time  Actor  Duration",
        ]
        return "\n".join(
            [*head, *rows, "", f"Frames: {len(self.frames)}", f"Duration: {self.duration_s:.6g} seconds"]
        )


def between(first: Frame, second: Frame, share: float) -> dict[int, NDArray[np.float64]]:
    """Motion of everyone in the second tick, between both; who was not in the first is where the second has it.

    Returns:
        Recorded id to (15,).
    """
    earlier = dict(zip(first.ids, first.motion.astype(np.float64), strict=True))
    out = {}
    for key, row in zip(second.ids, second.motion.astype(np.float64), strict=True):
        start = earlier.get(key, row)
        step = row - start
        step[3:VX] = (step[3:VX] + 180.0) % 360.0 - 180.0
        out[key] = start + share * step
    return out
