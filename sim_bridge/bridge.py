"""The connection to a CARLA server, real or embedded; all that it changes is put back on leaving."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn

import carla

from ..errors import SimulatorError
from ..vocabulary import TICK_S
from . import convert

LOG = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 60.0  # a real server takes long to load a town
CLOSE_TIMEOUT_S = 1.0  # of the calls that tidy up after a fault
ALIVE_S = 0.25  # a server in synchronous mode whose frame stands still for so long has lost its client
CLEARANCES_M = (0.0, 0.3)  # a real server refuses what touches the road
WALKER_ORIGIN_M = 0.93  # the origin of a walker is its middle
ROLE_PREFIX = "takeover"  # of every role name that we give, the ego's "hero" apart
EGO_ROLE = "hero"


def leave_process(code: int = 0) -> NoReturn:
    """Ends a process that holds a `carla.Client`: the library may abort the interpreter's own exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Bridge:
    """A server in synchronous mode, as a context manager.

    Whatever way the block is left, the bridge destroys what it spawned and restores the settings it found.

    Args:
        host: Name or address.
        port: RPC port.
        timeout_s: Of each call; a tick that takes longer is a `SimulatorError` and is never sent twice.
        paced_hz: Ticks per second of wall-clock time; None is as fast as it goes.

    Attributes:
        client: Connected client.
        world: World of the present episode.
        carla_map: Its map.
        found_stale: The server had been left in synchronous mode by a client that is gone.
    """

    client: carla.Client
    world: carla.World
    carla_map: carla.Map

    def __init__(
        self, host: str, port: int, timeout_s: float = 5.0, *, paced_hz: float | None = None
    ) -> None:
        self.host, self.port, self.timeout_s = host, port, timeout_s
        self.found_stale = False
        self._period_s = 1.0 / paced_hz if paced_hz else 0.0
        self._next_tick_s = 0.0
        self._original: carla.WorldSettings | None = None
        self._actors: dict[int, carla.Actor] = {}
        self._blueprints: carla.BlueprintLibrary | None = None
        self._broken = ""

    def __enter__(self) -> Bridge:
        try:
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def map_name(self) -> str:
        """Short name of the map, such as `TownCurves`."""
        return str(self.carla_map.name).rsplit("/", 1)[-1]

    def _connect(self) -> None:
        try:
            self.client = carla.Client(self.host, self.port, 1)
            self.client.set_timeout(self.timeout_s)
            server = self.client.get_server_version()
        except RuntimeError as error:
            raise SimulatorError(
                f"no CARLA server answers at {self.host}:{self.port} within {self.timeout_s:g} s",
                fix="start a CARLA 0.9.16 server there, or leave --carla out to use the embedded server",
            ) from error
        check_version(server, self.client.get_client_version())
        try:
            self._use_world(self.client.get_world())
            settings = self.world.get_settings()
            self.found_stale = settings.synchronous_mode
            if self.found_stale:
                self._take_over()
                settings.synchronous_mode = False
                settings.fixed_delta_seconds = None
            self._original = settings
            self._synchronise()
        except RuntimeError as error:
            raise self._fault("setting up the world", error) from error

    def _use_world(self, world: carla.World) -> None:
        self.world = world
        self.carla_map = world.get_map()
        self._blueprints = None

    def _take_over(self) -> None:
        """A server in synchronous mode at connection: refuse if its client lives, else clear what it left."""
        before = self.world.get_snapshot().frame
        time.sleep(ALIVE_S)
        if self.world.get_snapshot().frame != before:
            raise SimulatorError(
                f"another client is ticking the server at {self.host}:{self.port}",
                fix="end that client, or start a server of your own",
            )
        self.world.tick(self.timeout_s)  # a new client knows no actor before its first snapshot
        left = [
            actor.id
            for actor in self.world.get_actors()
            if actor.attributes.get("role_name", "").startswith((ROLE_PREFIX, EGO_ROLE))
            or actor.type_id.startswith("sensor.")
        ]
        self.client.apply_batch_sync([carla.command.DestroyActor(i) for i in left], False)
        LOG.warning(
            "%s:%d was left in synchronous mode; removed %d actors of the lost client",
            self.host,
            self.port,
            len(left),
        )

    def _synchronise(self) -> None:
        settings = self.world.get_settings()
        settings.synchronous_mode = True
        settings.fixed_delta_seconds = TICK_S
        settings.deterministic_ragdolls = True
        self.world.apply_settings(settings)

    def use_map(self, name: str) -> None:
        """Loads a map unless the world has it already; destroys our actors either way.

        Args:
            name: Short name, such as `TownCurves`.

        Raises:
            SimulatorError: The server does not have it or does not answer.
        """
        self.destroy_all()
        if self.map_name == name:
            return
        self._check()
        try:
            self.client.set_timeout(max(LOAD_TIMEOUT_S, self.timeout_s))
            self._use_world(self.client.load_world(name))
            self.client.set_timeout(self.timeout_s)
            self._synchronise()
        except RuntimeError as error:
            raise self._fault(f"loading map {name}", error) from error

    def spawn(
        self,
        blueprint: str,
        where: carla.Transform,
        *,
        attach_to: carla.Actor | None = None,
        role: str = ROLE_PREFIX,
        **attributes: str,
    ) -> carla.Actor | None:
        """Spawns an actor that the bridge will destroy.

        Args:
            blueprint: Blueprint id.
            where: Place, relative to `attach_to` if that is given.
            attach_to: Parent.
            role: Role name, for blueprints that have one.
            **attributes: Blueprint attributes.

        Returns:
            The actor; None when the place is taken.

        Raises:
            SimulatorError: Unknown blueprint or attribute, or a failed call.
        """
        self._check()
        try:
            if self._blueprints is None:
                self._blueprints = self.world.get_blueprint_library()
            recipe = self._blueprints.find(blueprint)
            if recipe.has_attribute("role_name"):
                recipe.set_attribute("role_name", role)
            for key, value in attributes.items():
                recipe.set_attribute(key, value)
            actor = self.world.try_spawn_actor(recipe, where, attach_to)
        except (IndexError, ValueError) as error:
            raise SimulatorError(
                f"the server cannot make {blueprint}: {error}", fix="check blueprint and attributes"
            ) from error
        except RuntimeError as error:
            raise self._fault(f"spawning {blueprint}", error) from error
        if actor is not None:
            self._actors[actor.id] = actor
        return actor

    def place(
        self, blueprint: str, x_m: float, y_m: float, yaw_rad: float, z_m: float, role: str, **attributes: str
    ) -> carla.Actor | None:
        """Spawns an actor on the road, in the house frame.

        Args:
            blueprint: Blueprint id.
            x_m: World.
            y_m: World.
            yaw_rad: World.
            z_m: Height of the road.
            role: Role name.
            **attributes: Blueprint attributes.

        Returns:
            The actor; None when the place is taken.
        """
        base_m = z_m + (WALKER_ORIGIN_M if blueprint.startswith("walker.") else 0.0)
        for clear_m in CLEARANCES_M:
            where = convert.transform(x_m, y_m, yaw_rad, base_m + clear_m)
            actor = self.spawn(blueprint, where, role=role, **attributes)
            if actor is not None:
                return actor
        return None

    def destroy(self, actor_ids: Sequence[int]) -> None:
        """Destroys actors of ours, sensors before their parents."""
        mine = [self._actors.pop(i) for i in reversed(actor_ids) if i in self._actors]
        if not mine:
            return
        try:
            for actor in mine:
                if isinstance(actor, carla.Sensor) and actor.is_listening():
                    actor.stop()
            self.client.apply_batch_sync([carla.command.DestroyActor(actor.id) for actor in mine], False)
        except RuntimeError as error:
            raise self._fault("destroying actors", error) from error

    def destroy_all(self) -> None:
        """Destroys every actor that was spawned through the bridge."""
        self.destroy(list(self._actors))

    def send(self, commands: list[carla.command]) -> None:
        """Sends commands without waiting; the server takes them before the next tick."""
        self.client.apply_batch(commands)

    def tick(self) -> carla.WorldSnapshot:
        """One step of the world.

        Returns:
            The world after it.

        Raises:
            SimulatorError: No answer in time. The server may have stepped all the same, so a tick is never
                repeated and the bridge refuses further ticks.
        """
        self._check()
        if self._period_s:
            self._pace()
        try:
            frame = self.world.tick(self.timeout_s)
        except RuntimeError as error:
            raise self._fault("a tick", error) from error
        snapshot = self.world.get_snapshot()
        if snapshot.frame != frame:
            raise self._fault("a tick", RuntimeError(f"asked for frame {frame}, got frame {snapshot.frame}"))
        return snapshot

    def _pace(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_tick_s:
            time.sleep(self._next_tick_s - now_s)
        self._next_tick_s = max(self._next_tick_s, now_s - self._period_s) + self._period_s

    def _check(self) -> None:
        if self._broken:
            raise SimulatorError(
                f"the simulator failed before: {self._broken}", fix="restart the server and the worker"
            )

    def _fault(self, what: str, error: Exception) -> SimulatorError:
        self._broken = f"{what}: {str(error).strip().splitlines()[0]}"
        return SimulatorError(
            f"the CARLA server at {self.host}:{self.port} failed in {self._broken}",
            fix="restart the server; raise sim.timeout_s if it is only slow",
        )

    def close(self) -> None:
        """Destroys our actors and restores the settings; never raises, so that it hides no earlier error."""
        try:
            if self._broken:
                self.client.set_timeout(CLOSE_TIMEOUT_S)
            with contextlib.suppress(SimulatorError):  # a dead server: its actors are gone with it
                self.destroy_all()
            if self._original is not None:
                self.world.apply_settings(self._original)
        except RuntimeError as error:
            LOG.warning(
                "could not restore %s:%d: %s", self.host, self.port, str(error).strip().splitlines()[0]
            )
        finally:
            self._original = None
            self._actors.clear()


def check_version(server: str, client: str) -> None:
    """Refuses a server of another release: the wire layouts are version-bound.

    Raises:
        SimulatorError: With the way to mend it.
    """
    wanted = re.match(r"\d+\.\d+\.\d+", client)
    found = re.match(r"\d+\.\d+\.\d+", server)
    if wanted and found and wanted[0] == found[0]:
        return
    raise SimulatorError(
        f"the server is CARLA {server}, the client library is {client}",
        fix=f"start a CARLA {wanted[0] if wanted else client} server; the wire format is bound to it",
    )
