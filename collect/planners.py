"""Who plans in an episode: the parent's policy over a pipe, the privileged expert, or a baseline."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import PolicyError
from ..scoring.frames import into_ego
from ..sim_bridge.drive import Drive
from ..sim_bridge.expert import Expert
from ..sim_bridge.moment import Moment
from ..store.episodes import EpisodeReader
from ..vocabulary import PLAN_POINTS, PLAN_STEP_S, Plan, PolicyInput
from .jobs import EpisodeJob

VISIBLE_PX = 8
REMEMBERED_TICKS = 40  # 2 s


class Planner(Protocol):
    """Makes a plan when a frame arrives."""

    def plan(self, view: PolicyInput, moment: Moment, *, shadow: bool) -> Plan:
        """Plan from what the policy may see (`view`); `moment` is for privileged planners only."""
        ...


class RemotePolicy:
    """Sends the policy's input to the parent process and waits for its plan. Sees `view` and nothing else."""

    def __init__(
        self, pipe: Connection, generation: str, blind: str = "", pictures: Path | None = None
    ) -> None:
        self._pipe = pipe
        self._generation = generation
        self._blind = blind
        self._other: EpisodeReader | None = None
        if blind == "other":
            if pictures is None:
                raise ValueError("a policy that is shown another case needs a recording of it")
            self._other = EpisodeReader(pictures)

    def plan(self, view: PolicyInput, moment: Moment, *, shadow: bool) -> Plan:
        """Ask the parent.

        Raises:
            EOFError: the parent is gone.
            PolicyError: the answer is no finite plan.
        """
        if self._blind == "black":
            view = replace(view, images=np.zeros_like(view.images))
        elif self._other is not None:
            view = replace(view, images=_pictures(self._other, moment.tick, len(view.images)))
        self._pipe.send(view)
        waypoints_m = self._pipe.recv()
        if waypoints_m is None:
            raise EOFError("the parent closed the fleet")
        if waypoints_m.shape != (PLAN_POINTS, 2) or not np.isfinite(waypoints_m).all():
            raise PolicyError(f"the policy answered an unusable plan of shape {waypoints_m.shape}")
        return Plan(waypoints_m, moment.tick, self._generation, shadow)


def _pictures(reader: EpisodeReader, tick: int, frames: int) -> NDArray[np.uint8]:
    """(frames, V, H, W, 3) pictures of a recorded drive up to a tick of another one; after its end its last ones."""
    ticks = reader.frame_ticks
    newest = max(bisect_right(ticks, tick) - 1, 0)
    used = [ticks[max(newest - back, 0)] for back in range(frames - 1, -1, -1)]
    return np.stack([reader.images(one) for one in used])


class ExpertPlanner:
    """The expert, generation 0's teacher. It knows states exactly, but only of actors that the pictures have shown.

    What it does for the sake of something invisible could not be learnt from pictures, only guessed.
    """

    def __init__(self, drive: Drive, expert: Expert) -> None:
        self._drive = drive
        self._expert = expert
        self._seen: dict[int, int] = {}  # actor id -> tick of the last frame that showed it

    def plan(self, view: PolicyInput, moment: Moment, *, shadow: bool) -> Plan:
        """The expert's waypoints."""
        if moment.frame is not None:
            pixels = moment.frame.visible_px
            self._seen |= {actor: moment.tick for actor, count in pixels.items() if count >= VISIBLE_PX}
        seen = frozenset(a for a, tick in self._seen.items() if moment.tick - tick <= REMEMBERED_TICKS)
        decision = self._expert.plan(self._drive, moment, seen)
        return Plan(decision.waypoints_m, moment.tick, "expert", shadow)


class AlwaysBrake:
    """Stands still: the row that shows what braking alone earns (proof.md 3)."""

    def plan(self, view: PolicyInput, moment: Moment, *, shadow: bool) -> Plan:
        """Stop where you are."""
        return Plan(np.zeros((PLAN_POINTS, 2), np.float32), moment.tick, "always_brake", shadow)


class NeverBrake:
    """Follows the route's centre line at the speed limit, whatever comes (proof.md 3)."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive

    def plan(self, view: PolicyInput, moment: Moment, *, shadow: bool) -> Plan:
        """Points of the centre line ahead, at the speed limit; straight on behind the route's end."""
        route, ego = self._drive.route, moment.ego
        step_m = moment.speed_limit_mps * PLAN_STEP_S
        world = [route.pose_at(moment.route_progress_m + step_m * k)[:2] for k in range(1, PLAN_POINTS + 1)]
        waypoints_m = into_ego(world, ego)
        return Plan(waypoints_m.astype(np.float32), moment.tick, "never_brake", shadow)


def make_planner(job: EpisodeJob, drive: Drive, pipe: Connection) -> Planner:
    """The planner that a job names."""
    if job.planner == "expert":
        return ExpertPlanner(drive, Expert())
    if job.planner == "always_brake":
        return AlwaysBrake()
    if job.planner == "never_brake":
        return NeverBrake(drive)
    return RemotePolicy(pipe, job.generation, job.blind, job.pictures)
