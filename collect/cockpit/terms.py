"""What goes into the loop of an episode and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from ...scoring.driving_score import driving_score
from ...sim_bridge.moment import Moment
from ...vocabulary import Outcome
from ..arbiter import COCKPIT, ArbiterConfig
from ..devices.state import Action, DeviceState


class End(StrEnum):
    """Why the loop of an episode ended."""

    DONE = "done"  # the simulator says so: outcome
    QUIT = "quit"  # the driver left
    RESPAWN = "respawn"  # the driver wants the episode again from its start
    STOPPED = "stopped"  # Ctrl-C, SIGTERM, or the window was closed: nobody looks at a last page
    WORLD_LOST = "world_lost"


class Hands(Protocol):
    """Input devices (`devices.devices.Devices`)."""

    def poll(self, events: Iterable[Any], now_s: float) -> tuple[DeviceState, tuple[Action, ...]]:
        """Hands and feet now, and the presses among the events."""
        ...

    def notices(self) -> tuple[str, ...]:
        """What happened to devices since the last call."""
        ...

    def hold(self, commanded: float | None, state: DeviceState) -> None:
        """Turn the wheel to this steer, if it can; None only centres it. Returns at once."""
        ...


@dataclass(frozen=True, slots=True)
class DriveSettings:
    """Rates and times of the loop.

    Attributes:
        loop_hz: Turns per second when nothing happens; an event begins one at once.
        fps: Pictures per second at most.
        arbiter: How controls are joined.
        unsure_m: Disagreement of plans above which the policy asks for help (`help_requests.calibrate`); inf for never.
        first_plan_s: How long to wait at tick 0 for the first plan.
        set_up_s: How long a world may take to build a case.
        end_s: How long the end of an episode may take.
    """

    loop_hz: float = 100.0
    fps: float = 30.0
    arbiter: ArbiterConfig = COCKPIT
    unsure_m: float = math.inf
    first_plan_s: float = 20.0
    set_up_s: float = 120.0
    end_s: float = 4.0


@dataclass(frozen=True, slots=True)
class EpisodeEnd:
    """How an episode ended.

    Attributes:
        path: Sealed or salvaged episode; None when nothing was recorded.
        onsets: Ticks at which takeovers began.
        problem: What went wrong with world or recording; "" for nothing.
        driven_s: Simulated time.
    """

    end: End
    outcome: Outcome
    path: Path | None = None
    onsets: tuple[int, ...] = ()
    problem: str = ""
    driven_s: float = 0.0


def broken_off(past: Sequence[Moment]) -> Outcome:
    """The outcome of a drive that its driver ended.

    Args:
        past: Moments so far, oldest first.
    """
    moment = past[-1]
    rc = 100.0 * min(moment.route_progress_m / max(moment.route_length_m, 1e-6), 1.0)
    infractions = tuple(infraction for moment in past for infraction in moment.infractions)
    return Outcome(
        success=False,
        rc=rc,
        ds=driving_score(rc, infractions),
        infractions=infractions,
        end="aborted",
        driven_m=max(moment.route_progress_m - past[0].route_progress_m, 0.0),
        duration_s=max(moment.time_s, 0.0),
    )
