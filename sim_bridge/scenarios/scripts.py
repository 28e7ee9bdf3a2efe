"""What scripted actors do: pure functions from what they know to an actuation, one object per actor and episode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ...scoring.frames import wrap
from ...scoring.kinematics import EGO
from ...vocabulary import Agent, Control
from ..expert_route import Array, RouteFrame

EGO_FRONT_M = 2.45  # from the ego's centre to its front
CLOSE_M = 5.0  # a trigger also fires when the ego's front is this near, however slow it is


@dataclass(frozen=True, slots=True)
class World:
    """What a script may know on a tick.

    Attributes:
        time_s: Since tick 0; negative during the run-up.
        ego_s_m: The ego's centre along the route.
        ego_mps: Its speed.
    """

    time_s: float
    ego_s_m: float
    ego_mps: float


@dataclass(frozen=True, slots=True)
class Drive:
    """Actuation of a vehicle."""

    control: Control


@dataclass(frozen=True, slots=True)
class Walk:
    """Actuation of a walker."""

    yaw_rad: float
    speed_mps: float


Actuation = Drive | Walk


class Script(Protocol):
    """Behaviour of one actor during one episode."""

    def act(self, world: World, me: Agent) -> Actuation:
        """Actuation for this tick."""
        ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """Fires when the ego would reach a place within a time.

    Attributes:
        place_m: Along the route.
        within_s: Time left to the ego's front at its present speed.
    """

    place_m: float
    within_s: float

    def fires(self, world: World) -> bool:
        """Whether the ego is that near."""
        left_m = self.place_m - world.ego_s_m - EGO_FRONT_M
        near_m = CLOSE_M if world.ego_mps > 0.5 else 0.0  # nothing ever happens to who stands still
        return world.time_s >= 0.0 and left_m < max(self.within_s * world.ego_mps, near_m)


@dataclass(slots=True)
class Crossing:
    """A walker who stands until the ego is near and then walks straight on.

    Attributes:
        yaw_rad: Direction.
        speed_mps: Speed.
        distance_m: How far; the walker stands afterwards.
        trigger: When to go; None for never (decoy).
        delay_s: After the trigger.
    """

    yaw_rad: float
    speed_mps: float
    distance_m: float
    trigger: Arrival | None
    delay_s: float = 0.0
    _since_s: float | None = None
    _from_m: tuple[float, float] | None = None

    def act(self, world: World, me: Agent) -> Walk:
        """Stand or walk."""
        if self._from_m is None:
            self._from_m = (me.x_m, me.y_m)
        if self._since_s is None and self.trigger is not None and self.trigger.fires(world):
            self._since_s = world.time_s + self.delay_s
        if self._since_s is None or world.time_s < self._since_s:
            return Walk(self.yaw_rad, 0.0)
        walked_m = math.hypot(me.x_m - self._from_m[0], me.y_m - self._from_m[1])
        return Walk(self.yaw_rad, self.speed_mps if walked_m < self.distance_m else 0.0)


@dataclass(slots=True)
class Stroll:
    """A walker who walks along all the time and never crosses."""

    yaw_rad: float
    speed_mps: float

    def act(self, world: World, me: Agent) -> Walk:
        """Walk."""
        return Walk(self.yaw_rad, self.speed_mps)


SpeedLaw = Callable[[World, float, float], float]
"""(world, distance along the own path in m, own speed in m/s) -> wanted speed in m/s."""


@dataclass(slots=True)
class Follow:
    """A vehicle on a path.

    Attributes:
        path_m: (K, 2) world points about 1 m apart, from the vehicle's start on.
        law: Wanted speed.
        accel_mps2: Largest acceleration.
        brake_mps2: Largest deceleration.
    """

    path_m: Array
    law: SpeedLaw
    accel_mps2: float = 2.5
    brake_mps2: float = 7.0
    _frame: RouteFrame = field(init=False)

    def __post_init__(self) -> None:
        self._frame = RouteFrame(self.path_m)

    def act(self, world: World, me: Agent) -> Drive:
        """Pure pursuit along the path, proportional control of the speed."""
        s_m = self._frame.project_one(me.x_m, me.y_m)[0]
        wanted = max(self.law(world, s_m, me.speed_mps), 0.0)
        if wanted < 0.05 and me.speed_mps < 0.3:
            return Drive(Control(brake=1.0))
        accel = min(max(2.0 * (wanted - me.speed_mps), -self.brake_mps2), self.accel_mps2)
        return Drive(pedals(accel, me.speed_mps, self._steer(s_m, me)))

    def _steer(self, s_m: float, me: Agent) -> float:
        ahead_m = max(3.5, 0.7 * me.speed_mps)
        x_m, y_m = self._frame.to_world(np.array(s_m + ahead_m), np.array(0.0))
        bearing = wrap(math.atan2(y_m - me.y_m, x_m - me.x_m) - me.yaw_rad)
        reach_m = max(math.hypot(x_m - me.x_m, y_m - me.y_m), 1.0)
        bend = 2.0 * math.sin(bearing) / reach_m
        return min(max(math.atan(EGO.wheel_base_m * bend) / EGO.max_steer_rad, -1.0), 1.0)


def pedals(accel_mps2: float, speed_mps: float, steer: float = 0.0) -> Control:
    """Control that accelerates about so much."""
    if accel_mps2 < -EGO.rolling_mps2:
        return Control(steer, brake=min(-accel_mps2 / EGO.max_brake_mps2, 1.0))
    pull = accel_mps2 + EGO.rolling_mps2 + EGO.drag_per_m * speed_mps**2
    return Control(steer, throttle=min(max(pull, 0.0) / EGO.max_accel_mps2, 1.0))
