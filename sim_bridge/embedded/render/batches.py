"""What goes into a picture and what comes out, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Look(IntEnum):
    """Shape family of an actor; the value of `ActorBatch.kinds`."""

    CAR = 0
    VAN = 1
    TRUCK = 2
    MOTORCYCLE = 3
    BICYCLE = 4
    WALKER = 5
    CONE = 6
    BARRIER = 7
    WARNING_SIGN = 8
    BOX = 9


class Tag(IntEnum):
    """CARLA's semantic tags (0.9.14 and later)."""

    UNLABELED = 0
    ROADS = 1
    SIDEWALKS = 2
    BUILDING = 3
    WALL = 4
    FENCE = 5
    POLE = 6
    TRAFFIC_LIGHT = 7
    TRAFFIC_SIGN = 8
    VEGETATION = 9
    TERRAIN = 10
    SKY = 11
    PEDESTRIAN = 12
    RIDER = 13
    CAR = 14
    TRUCK = 15
    MOTORCYCLE = 18
    BICYCLE = 19
    STATIC = 20
    DYNAMIC = 21
    ROAD_LINE = 24
    GUARD_RAIL = 28


class LightState(IntEnum):
    """Values of `LightBatch.states`, as carla.TrafficLightState."""

    RED = 0
    YELLOW = 1
    GREEN = 2
    OFF = 3
    UNKNOWN = 4


_VANS = ("ambulance", "sprinter", "volkswagen.t2", "fusorosa")
_TRUCKS = ("firetruck", "carlacola", "european_hgv", "cybertruck")
_MOTORCYCLES = ("harley", "kawasaki", "yamaha", "vespa")
_BICYCLES = ("crossbike", "diamondback", "gazelle", "bike")
_BARRIERS = ("barrier", "streetbarrier", "chainbarrier", "guardrail")
_SIGNS = ("trafficwarning", "warningconstruction", "warningaccident", "sign")


def look_of(blueprint_id: str) -> Look:
    """Shape family of a CARLA blueprint id; unknown vehicles are cars, unknown props boxes."""
    if blueprint_id.startswith("walker."):
        return Look.WALKER
    families = (
        (_BICYCLES, Look.BICYCLE),
        (_MOTORCYCLES, Look.MOTORCYCLE),
        (_TRUCKS, Look.TRUCK),
        (_VANS, Look.VAN),
    )
    if blueprint_id.startswith("vehicle."):
        return next((look for names, look in families if any(n in blueprint_id for n in names)), Look.CAR)
    if "cone" in blueprint_id:
        return Look.CONE
    if any(n in blueprint_id for n in _BARRIERS):
        return Look.BARRIER
    return Look.WARNING_SIGN if any(n in blueprint_id for n in _SIGNS) else Look.BOX


@dataclass(frozen=True, slots=True)
class ActorBatch:
    """Moving and placed things of one picture, N rows."""

    ids: NDArray[np.uint32]  # (N,) low 32 bits of the actor id
    kinds: NDArray[np.uint8]  # (N,) Look
    xyzyaw: NDArray[np.float64]  # (N, 4) centre of the box on the GROUND (box bottom), yaw in radians
    extents: NDArray[np.float64]  # (N, 3) half length, half width, half height
    colours: NDArray[np.uint8]  # (N, 3) RGB
    brake_lights: NDArray[np.bool_]  # (N,)
    indicators: NDArray[np.int8]  # (N,) -1 left, 1 right, 0 none, 2 both

    @classmethod
    def empty(cls) -> ActorBatch:
        """No actors."""
        return cls(
            np.zeros(0, np.uint32),
            np.zeros(0, np.uint8),
            np.zeros((0, 4)),
            np.zeros((0, 3)),
            np.zeros((0, 3), np.uint8),
            np.zeros(0, np.bool_),
            np.zeros(0, np.int8),
        )


@dataclass(frozen=True, slots=True)
class LightBatch:
    """Traffic lights, M rows. The pole stands at the pose; lamps face the traffic that drives along `yaw`."""

    ids: NDArray[np.uint32]  # (M,)
    xyzyaw: NDArray[np.float64]  # (M, 4) foot of the pole, travel direction of the governed traffic
    states: NDArray[np.uint8]  # (M,) LightState

    @classmethod
    def empty(cls) -> LightBatch:
        """No lights."""
        return cls(np.zeros(0, np.uint32), np.zeros((0, 4)), np.zeros(0, np.uint8))


@dataclass(frozen=True, slots=True)
class WeatherLook:
    """The part of carla.WeatherParameters that is drawn; percentages as in CARLA."""

    sun_altitude_deg: float = 45.0
    cloudiness: float = 10.0
    precipitation: float = 0.0
    precipitation_deposits: float = 0.0
    fog_density: float = 0.0
    fog_distance_m: float = 0.0
    wetness: float = 0.0


@dataclass(frozen=True, slots=True)
class RenderedView:
    """One camera picture; all four arrays come from the same pass."""

    bgra: NDArray[np.uint8]  # (H, W, 4)
    depth_m: NDArray[np.float32]  # (H, W) along the optical axis; SKY_DEPTH_M where nothing is
    instance: NDArray[np.uint32]  # (H, W) actor id, 0 for the static world
    semantic: NDArray[np.uint8]  # (H, W) Tag


SKY_DEPTH_M = 1000.0  # CARLA's far plane
