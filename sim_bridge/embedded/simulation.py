"""The server's state over all episodes: settings, clock, the present world, and what each tick sends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .actors import Actor
from .display import DisplayPainter
from .recordings import Recorder
from .replay import Replay, ReplayOptions
from .sensors import Chunks, RendererShelf, Sensors
from .town import Town, load_town
from .wire_stream import MAP_CHANGED, SensorType, episode_header, sensor_header
from .world import IdSource, World

WORLD_STREAM = 1
DEFAULT_STEP_S = 0.05
LONGEST_STEP_S = 0.1  # of a variable time step
OPENDRIVE_MAP = "OpenDriveMap"

# sync, no rendering, fixed step, substepping, substep, substeps, cull, ragdolls, tile, active, spectator as ego
_DEFAULT_SETTINGS: tuple[Any, ...] = (False, False, [False], True, 0.01, 10, 0.0, True, 3000.0, 2000.0, True)


class Simulation:
    """What a server simulates.

    Args:
        map_name: First map.
        seed: Seed of everything random in the world.
        send: Sends a payload to the subscribers of a stream.
        heard: Whether a stream has subscribers.
    """

    def __init__(
        self,
        map_name: str,
        seed: int,
        send: Callable[[int, Chunks], None],
        heard: Callable[[int], bool],
    ) -> None:
        self.seed = seed
        self._send, self._heard = send, heard
        self._ids = IdSource()
        self._renderers = RendererShelf()
        self.painter = DisplayPainter()
        self._generated: Town | None = None
        self.settings: list[Any] = list(_DEFAULT_SETTINGS)
        self._last_tick = time.monotonic()
        self._step_s = 0.0
        self.loaded_at = 0.0
        self.recorder: Recorder | None = None
        self.replay: Replay | None = None
        self.replay_options = ReplayOptions()
        self._start(load_town(map_name), episode_id=1, frame=0, time_s=0.0)

    def _start(self, town: Town, episode_id: int, frame: int, time_s: float) -> None:
        self.world = World(town, episode_id, self._ids, frame, time_s)
        self.sensors = Sensors(self.world, self._renderers, self.painter)
        self._map_changed = episode_id > 1

    def prepare_cameras(self) -> None:
        """Bakes the map for the renderer."""
        self._renderers.get(self.world.town)

    @property
    def synchronous(self) -> bool:
        """Ticks come from a client."""
        return bool(self.settings[0])

    @property
    def fixed_step_s(self) -> float:
        """Fixed time step; 0 for a variable one."""
        given = self.settings[2]
        return float(given[1]) if given[0] else 0.0

    def apply_settings(self, settings: list[Any]) -> int:
        """Takes settings over.

        Entering synchronous mode restarts the traffic lights, so that what follows depends on commands only.
        """
        was_synchronous = self.synchronous
        self.settings = settings
        if self.synchronous and not was_synchronous:
            self.world.lights.reset()
        return self.world.frame

    def town(self, name: str) -> Town:
        """A map by the name that a client uses; "" is the present one.

        Raises:
            UsageError: No such map.
        """
        short = name.rsplit("/", 1)[-1]
        if short in ("", self.world.town.name) and short != OPENDRIVE_MAP:
            return self.world.town
        if short == OPENDRIVE_MAP and self._generated is not None:
            return self._generated
        return load_town(name)

    def keep_generated(self, town: Town) -> None:
        """Remembers a map that a client has sent."""
        self._generated = town

    def load(self, town: Town, reset_settings: bool) -> None:
        """Starts a new episode; its first snapshot goes out when a client subscribes, or with the first tick."""
        if reset_settings:
            self.settings = list(_DEFAULT_SETTINGS)
        self.stop_recorder()
        self.replay = None
        old = self.world
        self._start(town, old.episode_id + 1, old.frame, old.time_s)
        self.prepare_cameras()
        self.loaded_at = time.monotonic()

    def tick(self) -> int:
        """Advances the world and sends snapshot, then sensor data.

        Returns:
            The frame.
        """
        now = time.monotonic()
        step_s = self.fixed_step_s or min(max(now - self._last_tick, 1e-3), LONGEST_STEP_S)
        self._last_tick = now
        world = self.world
        world.step(step_s)
        self._step_s = step_s
        if self.replay is not None and not self.replay.advance(step_s):
            self.replay = None
        if self.recorder is not None:
            self.recorder.note()
        self._send(WORLD_STREAM, self.snapshot())
        self._map_changed = False
        for stream_id, payload in self.sensors.frames(self._heard, step_s):
            self._send(stream_id, payload)
        return world.frame

    def snapshot(self) -> Chunks:
        """Payload of the world stream: the world after the last tick."""
        world = self.world
        flags = MAP_CHANGED if self._map_changed else 0
        header = sensor_header(SensorType.WORLD, world.frame, world.time_s, world.table.motion[0, :6])
        episode = episode_header(world.episode_id, self._last_tick, self._step_s, flags)
        return header, episode, world.records()

    def stop_recorder(self) -> None:
        """Ends the recording, if there is one."""
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None

    def stop_replay(self, keep: bool) -> None:
        """Ends the replay, if there is one; what it has made goes unless it is kept."""
        if self.replay is not None:
            self.replay.end(keep)
            self.replay = None

    def destroy(self, actor: Actor) -> None:
        """Removes an actor with its children."""
        for gone in self.world.destroy(actor):
            self.sensors.forget(gone)
