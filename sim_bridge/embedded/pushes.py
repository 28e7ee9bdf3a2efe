"""What moves vehicles beside their own engine: impulses, forces, turns and constant speeds that a client sets.

The bicycle model rolls along its heading, so of a push only the part along the heading is kept; the tyres take the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .physics import BIKE_SPEED, WZ, YAW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .actors import Actor, ActorTable

BIKE_YAW, BIKE_ACCEL = 2, 5
SPIN_LAG_S = 0.2  # in which the tyres end most of a turn that the steering does not make


@dataclass(slots=True)
class Push:
    """What acts on one vehicle.

    Attributes:
        accel_mps2: Along its heading, on the next step alone.
        spin_radps: Beside what its steering does, positive to the right as in CARLA; fades.
        constant_mps: Speed that it is held at, or None.
    """

    accel_mps2: float = 0.0
    spin_radps: float = 0.0
    constant_mps: float | None = None

    @property
    def idle(self) -> bool:
        """Nothing acts."""
        return self.accel_mps2 == 0.0 and self.spin_radps == 0.0 and self.constant_mps is None


class Pushes:
    """Pushes of an episode's vehicles, all of them moved by physics.

    Args:
        table: The actors.
    """

    def __init__(self, table: ActorTable) -> None:
        self._table = table
        self._acting: dict[int, Push] = {}

    def __len__(self) -> int:
        return len(self._acting)

    def forget(self, actor: Actor) -> None:
        """An actor is gone."""
        self._acting.pop(actor.id, None)

    def impulse(self, actor: Actor, impulse_ns: Sequence[float]) -> None:
        """Changes a vehicle's speed at once by impulse over mass.

        Args:
            actor: A vehicle.
            impulse_ns: x, y, z in the world [N s].
        """
        self._table.bike[actor.row, BIKE_SPEED] += self._along(actor, impulse_ns) / actor.mass_kg

    def force(self, actor: Actor, force_n: Sequence[float]) -> None:
        """Adds a force to the next step: x, y, z in the world [N]."""
        self._of(actor).accel_mps2 += self._along(actor, force_n) / actor.mass_kg

    def turn(self, actor: Actor, rate_deg_s: Sequence[float]) -> None:
        """Sets how fast a vehicle turns: x, y, z [deg/s], z to the right; zero leaves the steering alone."""
        rate = math.radians(rate_deg_s[2])
        push = self._of(actor)
        own = math.radians(self._table.motion[actor.row, WZ]) - push.spin_radps
        push.spin_radps = rate - own if rate else 0.0

    def hold_speed(self, actor: Actor, velocity_mps: Sequence[float] | None) -> None:
        """Keeps a vehicle at a velocity, x forward in its own frame; None ends that."""
        self._of(actor).constant_mps = None if velocity_mps is None else velocity_mps[0]

    def before_step(self, dt_s: float) -> None:
        """Changes speeds and headings; to be called before the bicycle model's step."""
        bike = self._table.bike
        for actor_id, push in tuple(self._acting.items()):
            actor = self._table.get(actor_id)
            assert actor is not None
            row = actor.row
            bike[row, BIKE_SPEED] += push.accel_mps2 * dt_s
            bike[row, BIKE_YAW] -= push.spin_radps * dt_s
            push.accel_mps2 = 0.0
            push.spin_radps *= math.exp(-dt_s / SPIN_LAG_S)
            if abs(push.spin_radps) < 1e-3:
                push.spin_radps = 0.0
            if push.constant_mps is not None:
                bike[row, BIKE_SPEED], bike[row, BIKE_ACCEL] = push.constant_mps, 0.0
            if push.idle:
                del self._acting[actor_id]

    def after_step(self) -> None:
        """Takes back what pedals and drag did to a speed that is held."""
        for actor_id, push in self._acting.items():
            if push.constant_mps is not None:
                actor = self._table.get(actor_id)
                assert actor is not None
                self._table.bike[actor.row, BIKE_SPEED] = push.constant_mps

    def _of(self, actor: Actor) -> Push:
        return self._acting.setdefault(actor.id, Push())

    def _along(self, actor: Actor, vector: Sequence[float]) -> float:
        yaw = math.radians(self._table.motion[actor.row, YAW])
        return vector[0] * math.cos(yaw) + vector[1] * math.sin(yaw)
