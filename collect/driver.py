"""What a driver is to the drive loop: the human's cockpit and the scripted driver look the same to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..sim_bridge.moment import Moment
from ..vocabulary import Authority, Control, Float, Plan, Reason


@dataclass(frozen=True, slots=True)
class DriverAction:
    """What a driver does on a tick.

    Attributes:
        control: Hands and feet; None while they are off.
        takeover: Takes the car, or keeps it.
        handback: Gives it back.
        reason: Why the car was taken; set while it is held.
        waypoints_m: (8, 2) where the driver means to go, ego frame; None where it is not known (a human).
    """

    control: Control | None = None
    takeover: bool = False
    handback: bool = False
    reason: Reason | None = None
    waypoints_m: Float | None = None


class Driver(Protocol):
    """Watches every tick and may take over."""

    def observe(self, moment: Moment, plan: Plan | None, authority: Authority) -> DriverAction:
        """One tick.

        Args:
            moment: The world now.
            plan: The policy's newest plan, in shadow while the driver drives; None before the first.
            authority: Who moved the car up to now.

        Returns:
            What the driver does from now to the next tick.
        """
        ...
