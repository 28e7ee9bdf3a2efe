"""What the cockpit says to its children and hears from them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sim_bridge.moment import MapPolygons, Moment
from ...vocabulary import CameraSpec, Case, Control, Float, PolicyInput

STALE_ORDER = -1  # number of the stop that the world process makes when it hears no orders
_ORDER = struct.Struct("<q3d?")


@dataclass(frozen=True, slots=True)
class Order:
    """A control for the car, on its own socket: it overtakes everything else.

    Attributes:
        number: Counts up; the world reports which one was executed.
        control: What to apply at once.
        reverse: With the reverse gear.
    """

    number: int
    control: Control
    reverse: bool = False

    def pack(self) -> bytes:
        """One datagram."""
        control = self.control
        return _ORDER.pack(self.number, control.steer, control.throttle, control.brake, self.reverse)

    @staticmethod
    def unpack(data: bytes) -> Order:
        """Inverse of `pack`."""
        number, steer, throttle, brake, reverse = _ORDER.unpack(data)
        return Order(number, Control(steer, throttle, brake), reverse)


@dataclass(frozen=True, slots=True)
class SetUp:
    """To the world: build this case and hold at tick 0."""

    case: Case


@dataclass(frozen=True, slots=True)
class Run:
    """To the world: let time pass, or hold it."""

    running: bool


@dataclass(frozen=True, slots=True)
class Seat:
    """To the world: show the picture of this camera."""

    camera: CameraSpec


@dataclass(frozen=True, slots=True)
class Weather:
    """To the world: another weather from the next tick on, by CARLA's name."""

    preset: str


@dataclass(frozen=True, slots=True)
class Ready:
    """From a child: it can be used."""


@dataclass(frozen=True, slots=True)
class SetOut:
    """From the world: the case is built. Holds what the recorder asks of a drive (`recorder.RecordedDrive`)."""

    case: Case
    moment: Moment
    history: list[Moment]
    cameras: tuple[CameraSpec, ...]
    route_centerline_m: NDArray[np.float64]
    map_name: str
    map_sha256: str
    scenario_info: dict[str, Any]
    polygons: MapPolygons

    def map_polygons(self) -> MapPolygons:
        """Baked surfaces of the map."""
        return self.polygons


@dataclass(frozen=True, slots=True)
class Step:
    """From the world: one tick.

    Attributes:
        moment: The world after it.
        executed: The control that the server had on it.
        number: Of the order that this control came from; STALE_ORDER for the world's own stop.
        real_time_factor: Simulated per real second of the last ticks.
    """

    moment: Moment
    executed: Control
    number: int
    real_time_factor: float


@dataclass(frozen=True, slots=True)
class Fault:
    """From a child: it cannot go on; its end of file follows."""

    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """To the policy: plan, or reason, from here."""

    tick: int
    view: PolicyInput


@dataclass(frozen=True, slots=True)
class Answer:
    """From the policy: a plan, or words, for a tick; an unusable plan comes as None."""

    tick: int
    waypoints_m: Float | None = None
    text: str = ""
