"""Drives a recording again: recorded actors move as they did, physics and clients move the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from .actors import Actor
from .blueprints import Kind
from .physics import VX
from .recordings import Recording, between
from .world import World, WorldError

LOG = logging.getLogger("takeover.embedded")


@dataclass(slots=True)
class ReplayOptions:
    """What clients set for replays.

    Attributes:
        time_factor: Recorded seconds in a simulated one.
        ignore_hero: Leave the recorded hero out.
    """

    time_factor: float = 1.0
    ignore_hero: bool = False


class Replay:
    """One replay.

    Args:
        recording: What to drive.
        world: Where; its map must be the recording's.
        options: Read on every tick.
        start_s: From where; below zero counts from the end.
        duration_s: How long; 0 up to the end.
        destroy: Removes an actor with its children.

    Raises:
        WorldError: Another map.
    """

    def __init__(
        self,
        recording: Recording,
        world: World,
        options: ReplayOptions,
        start_s: float,
        duration_s: float,
        destroy: Callable[[Actor], None],
    ) -> None:
        if recording.town != world.town.name:
            raise WorldError(f"recorded on {recording.town}: load that map first")
        self._recording, self._world, self._options, self._destroy = recording, world, options, destroy
        self._time_s = min(
            max(start_s if start_s >= 0.0 else recording.duration_s + start_s, 0.0), recording.duration_s
        )
        self._end_s = (
            min(self._time_s + duration_s, recording.duration_s) if duration_s > 0.0 else recording.duration_s
        )
        self._actors: dict[int, Actor] = {}
        self._made: set[int] = set()
        self._refused: set[int] = set()
        self._place()

    def advance(self, dt_s: float) -> bool:
        """Moves everyone on by one tick.

        Returns:
            False after the last tick; the actors stay where they are, and physics has them again.
        """
        self._time_s += dt_s * self._options.time_factor
        self._place()
        if self._time_s < self._end_s - 1e-6:
            return True
        self.end(keep=True)
        return False

    def end(self, keep: bool) -> None:
        """Stops; actors that the replay has made go unless they are kept."""
        for key, actor in self._actors.items():
            if actor.row < 0:
                continue
            if key in self._made and not keep:
                self._destroy(actor)
            elif actor.kind is Kind.VEHICLE:
                speed = self._world.table.motion[actor.row, VX : VX + 3].tolist()
                self._world.simulate(actor, True)
                self._world.push(actor, speed)
        self._actors.clear()
        self._world.lights.freeze_all(False)

    def _place(self) -> None:
        world = self._world
        first, second, share = self._recording.at(min(self._time_s, self._end_s))
        where = between(first, second, share)
        for key in [key for key in self._actors if key not in where]:
            actor = self._actors.pop(key)
            if key in self._made and actor.row >= 0:
                self._destroy(actor)
        for key, motion in where.items():
            found = self._actors.get(key) or self._find(key, motion.tolist())
            if found is None or found.row < 0:
                continue
            x, y, z, pitch, yaw, roll = motion[:VX].tolist()
            world.place(found, (x, y, z, pitch, yaw, roll))
            world.table.motion[found.row, VX:] = motion[VX:]
        for light, state in zip(world.lights.lights, second.lights, strict=False):
            light.state, light.frozen = state, True
        world.lights.write()

    def _find(self, key: int, motion: list[float]) -> Actor | None:
        """The actor that is still there, or a new one."""
        person, world = self._recording.people[key], self._world
        if key in self._refused or (self._options.ignore_hero and person.is_hero):
            return None
        actor = world.table.get(key)
        if actor is None or actor.blueprint.id != person.type_id:
            x, y, z, pitch, yaw, roll = motion[:VX]
            try:
                actor = world.spawn(person.description, (x, y, z, pitch, yaw, roll))
            except WorldError as error:
                self._refused.add(key)
                LOG.error("the replay goes without actor %d (%s): %s", key, person.type_id, error)
                return None
            self._made.add(key)
        if actor.kind is Kind.VEHICLE:
            world.simulate(actor, False)
        elif actor.kind is Kind.WALKER:
            world.push(actor, (0.0, 0.0, 0.0))
        self._actors[key] = actor
        return actor
