"""A recorded drive's beginning again: its controls tick by tick, then whoever plans now drives on.

The embedded server repeats a case exactly, so the same controls lead to the same state; what was reached is reported,
for the caller to compare. The planner plans from the first frame on, so that it has its own past when it gets the car.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..sim_bridge.moment import Moment
from ..vocabulary import PLAN_PERIOD_TICKS, Agent, Control, EgoState, Plan
from .arbiter import Decision

STEER = (
    0.02  # largest error of the wheel, in the units of `Control.steer`; `disturbance.STEER` is 8 times that
)
PEDAL = 0.05  # and of throttle or brake, whichever is pressed


@dataclass(frozen=True, slots=True)
class Rerun:
    """What is driven again.

    Attributes:
        controls: Executed steer, throttle and brake of the ticks 0, 1, ... before the planner gets the car.
        jitter: Seed of small errors of wheel and pedals from then on, so that tries differ; 0 for none.
    """

    controls: tuple[tuple[float, float, float], ...] = ()
    jitter: int = 0

    @property
    def start_tick(self) -> int:
        """First tick that the planner drives."""
        return len(self.controls)


class Replayed:
    """Puts the recorded controls in the place of the decided ones, and errs a little after them.

    Args:
        rerun: What is driven again.
    """

    def __init__(self, rerun: Rerun) -> None:
        self._rerun = rerun
        self._random = np.random.default_rng(rerun.jitter)
        self._tick = 0
        self._steer = self._pedal = 0.0

    def apply(self, control: Control) -> Control:
        """The control of this tick."""
        tick, self._tick = self._tick, self._tick + 1
        if tick < self._rerun.start_tick:
            return Control(*self._rerun.controls[tick])
        if not self._rerun.jitter:
            return control
        if (
            tick - self._rerun.start_tick
        ) % PLAN_PERIOD_TICKS == 0:  # each plan is followed with an error of its own
            self._steer = float(self._random.uniform(-STEER, STEER))
            self._pedal = float(self._random.uniform(-PEDAL, PEDAL))
        return replace(
            control,
            steer=min(max(control.steer + self._steer, -1.0), 1.0),
            throttle=_pressed(control.throttle, self._pedal),
            brake=_pressed(control.brake, self._pedal),
        )


class Reached:
    """A subscriber that remembers the state in which the planner gets the car.

    Args:
        tick: First tick that the planner drives.
    """

    def __init__(self, tick: int) -> None:
        self._tick = tick
        self.state: list[list[float]] | None = None

    def on_moment(
        self,
        moment: Moment,
        decision: Decision,
        policy: Control | None,
        driver: Control | None,
        plan: Plan | None,
    ) -> None:
        """See `session.Subscriber`."""
        if moment.tick == self._tick:
            self.state = state_of(moment.ego, moment.agents)

    def on_plan(self, plan: Plan, pose: EgoState) -> None:
        """Nothing of it is kept."""

    def on_event(self, kind: str, tick: int, data: dict[str, object]) -> None:
        """Nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a reached state is from a recorded one: the largest of ego and other road users.

    Attributes:
        distance_m: Of position.
        speed_mps: Of speed along the heading.
        angle_deg: Of heading.
    """

    distance_m: float
    speed_mps: float
    angle_deg: float

    @property
    def small(self) -> bool:
        """Whether it counts as the same state."""
        return self.distance_m <= 0.5 and self.speed_mps <= 0.5 and self.angle_deg <= 2.0


def state_of(ego: EgoState, agents: Sequence[Agent]) -> list[list[float]]:
    """x_m, y_m, yaw_rad and speed_mps of the ego, then of each other road user in order of appearance."""
    every: list[EgoState | Agent] = [ego, *agents]
    return [[one.x_m, one.y_m, one.yaw_rad, one.speed_mps] for one in every]


def deviation(recorded: Sequence[Sequence[float]], reached: Sequence[Sequence[float]] | None) -> Deviation:
    """Compare two states of `state_of`; infinite when the drive ended before, or has others on the road."""
    if reached is None or len(reached) != len(recorded):
        return Deviation(np.inf, np.inf, np.inf)
    off = np.asarray(reached, np.float64) - np.asarray(recorded, np.float64)
    turned_rad = (off[:, 2] + np.pi) % (2.0 * np.pi) - np.pi
    return Deviation(
        float(np.hypot(off[:, 0], off[:, 1]).max()),
        float(np.abs(off[:, 3]).max()),
        float(np.degrees(np.abs(turned_rad)).max()),
    )


def _pressed(pedal: float, error: float) -> float:
    return min(max(pedal + error, 0.0), 1.0) if pedal > 0.0 else pedal
