"""The actors of an episode: what each is, and their state as arrays in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...scoring.kinematics import VehicleParams
from .blueprints import Blueprint, Kind
from .wire_stream import ACTIVE, MOTION_COLUMNS, RECORD, STATE_BYTES

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

_FIRST_CAPACITY = 64


@dataclass(slots=True, eq=False)
class Actor:
    """One actor; numbers that change every tick live in the `ActorTable`, in row `row`.

    Attributes:
        id: Never used twice in the life of the server.
        blueprint: What it is.
        attributes: As given at spawning, name to (type, value).
        parent: Attached to it.
        children: Attached to this one.
        stream_id: Of sensors, else 0.
        row: Index into the arrays.
        control: Vehicle: throttle, steer, brake, hand brake, reverse, manual shift, gear.
        params: Vehicle: the bicycle model.
        mass_kg: For impacts.
        lights: Vehicle: `carla.VehicleLightState` flags.
        simulated: Physics moves it.
        solid: It takes part in contacts.
        at_light: Vehicle: id of the traffic light that it stands at, or 0.
        box: Centre and half sizes, where they are not the blueprint's.
        physics: Vehicle: physics control that a client has set.
        ackermann_settings: Vehicle: gains that a client has set.
    """

    id: int
    blueprint: Blueprint
    attributes: dict[str, tuple[int, str]] = field(default_factory=dict)
    parent: Actor | None = None
    children: list[Actor] = field(default_factory=list)
    stream_id: int = 0
    row: int = -1
    control: tuple[float, float, float, bool, bool, bool, int] = (0.0, 0.0, 0.0, False, False, False, 0)
    params: VehicleParams | None = None
    mass_kg: float = 0.0
    lights: int = 0
    simulated: bool = True
    solid: bool = True
    at_light: int = 0
    box: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    physics: list[Any] | None = None
    ackermann_settings: list[float] | None = None

    @property
    def kind(self) -> Kind:
        """What it is to the world."""
        return self.blueprint.kind

    def value(self, name: str, default: str) -> str:
        """An attribute's value."""
        found = self.attributes.get(name)
        return found[1] if found else default

    def bounding_box(self) -> list[Any]:
        """As `BoundingBox` on the wire, relative to the actor."""
        centre, extent = self.box or ((0.0, 0.0, self.blueprint.box_z_m), self.blueprint.extent_m)
        return [list(centre), list(extent), [0.0, 0.0, 0.0], self.id]


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows by part, rebuilt when actors come or go.

    Attributes:
        fleets: Moving vehicles by equal parameters: packed parameters and rows.
        vehicles: Rows that the bicycle model moves.
        walkers: Rows of walkers.
        bodies: Rows of all vehicles that can touch something.
        obstacles: Rows of walkers and props.
        children: Rows of attached actors, parents first.
        parents: Row of each child's parent.
        sensors: Sensors in the order of their ids.
    """

    fleets: tuple[tuple[Array, Rows], ...]
    vehicles: Rows
    walkers: Rows
    bodies: Rows
    obstacles: Rows
    children: Rows
    parents: Rows
    sensors: tuple[Actor, ...]


class ActorTable:
    """Actors and their arrays. Rows are compact and ordered by id; a row is only good until the next removal."""

    motion: Array
    before: Array
    mount: Array
    bike: Array
    pedals: Array
    walk: Array
    extent: Array
    box_z: Array
    mass: Array
    to_centre: Array
    records: NDArray[Any]

    def __init__(self) -> None:
        self._actors: list[Actor] = []
        self._by_id: dict[int, Actor] = {}
        self._layout: Layout | None = None
        self._reserve(_FIRST_CAPACITY)

    def _reserve(self, capacity: int) -> None:
        count = len(self._actors)
        for name, shape, kind in (
            ("motion", (capacity, MOTION_COLUMNS), np.float64),
            ("before", (capacity, MOTION_COLUMNS), np.float64),
            ("mount", (capacity, 6), np.float64),  # pose relative to the parent
            ("bike", (capacity, 6), np.float64),  # state of the bicycle model, house frame
            ("pedals", (capacity, 4), np.float64),  # steer (left positive), throttle, brake, reverse
            ("walk", (capacity, 3), np.float64),  # velocity x, y and yaw [deg] of walkers
            ("extent", (capacity, 3), np.float64),
            ("box_z", (capacity,), np.float64),
            ("mass", (capacity,), np.float64),
            ("to_centre", (capacity,), np.float64),
            ("records", (capacity,), RECORD),
        ):
            fresh = np.zeros(shape, kind)
            if count:
                fresh[:count] = getattr(self, name)[:count]
            setattr(self, name, fresh)
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._actors)

    def __iter__(self) -> Iterator[Actor]:
        return iter(self._actors)

    def get(self, actor_id: int) -> Actor | None:
        """An actor by id."""
        return self._by_id.get(actor_id)

    def add(self, actor: Actor) -> None:
        """Appends an actor; its row is zero but for size and mass."""
        if len(self._actors) == self._capacity:
            self._reserve(2 * self._capacity)
        row = actor.row = len(self._actors)
        self._actors.append(actor)
        self._by_id[actor.id] = actor
        for array in (self.motion, self.before, self.mount, self.bike, self.pedals, self.walk):
            array[row] = 0.0
        self.extent[row] = actor.blueprint.extent_m
        self.box_z[row] = actor.blueprint.box_z_m
        self.mass[row] = actor.mass_kg
        self.to_centre[row] = actor.params.rear_to_centre_m if actor.params else 0.0
        self.records[row] = (actor.id, ACTIVE, 0.0, bytes(STATE_BYTES))
        self._layout = None

    def remove(self, actor: Actor) -> None:
        """Takes an actor out; later rows move up."""
        row, count = actor.row, len(self._actors)
        for array in (
            self.motion, self.before, self.mount, self.bike, self.pedals, self.walk,
            self.extent, self.box_z, self.mass, self.to_centre, self.records,
        ):  # fmt: skip
            array[row : count - 1] = array[row + 1 : count].copy()
        del self._actors[row]
        del self._by_id[actor.id]
        for later in self._actors[row:]:
            later.row -= 1
        actor.row = -1
        self._layout = None

    def changed(self) -> None:
        """Forgets the layout: parameters or roles of actors have changed."""
        self._layout = None

    def layout(self) -> Layout:
        """Rows by part."""
        if self._layout is None:
            self._layout = self._lay_out()
        return self._layout

    def _lay_out(self) -> Layout:
        def rows(*kinds: Kind) -> Rows:
            chosen = [a.row for a in self._actors if a.kind in kinds and a.solid and a.parent is None]
            return np.array(chosen, np.int64)

        moving = [a for a in self._actors if a.kind is Kind.VEHICLE and a.simulated and a.parent is None]
        moving.sort(key=lambda actor: (repr(actor.params), actor.row))
        fleets = []
        for params, fleet in groupby(moving, key=attrgetter("params")):
            fleets.append((params.packed(), np.array([actor.row for actor in fleet], np.int64)))
        attached = [a for a in self._actors if a.parent is not None]
        return Layout(
            tuple(fleets),
            np.array(sorted(a.row for a in moving), np.int64),
            np.array([a.row for a in self._actors if a.kind is Kind.WALKER and a.parent is None], np.int64),
            rows(Kind.VEHICLE),
            rows(Kind.WALKER, Kind.PROP),
            np.array([a.row for a in attached], np.int64),
            np.array([a.parent.row for a in attached if a.parent], np.int64),
            tuple(a for a in self._actors if a.kind is Kind.SENSOR),
        )
