"""What a rollout worker is asked to drive, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..vocabulary import Case, Outcome
from .rerun import Rerun

PlannerKind = Literal["policy", "expert", "always_brake", "never_brake"]
DriverKind = Literal["none", "scripted"]


@dataclass(frozen=True, slots=True)
class EpisodeJob:
    """One episode to drive.

    Attributes:
        episode_id: Identity under which it is recorded; chosen by the caller, so a repeated run doubles nothing.
        case: What to drive.
        planner: Who plans: the parent's policy, the privileged expert, or a baseline.
        generation: Generation id of the policy ("expert" and the baselines name themselves).
        driver: Who watches and may take over.
        style: Style of the scripted driver.
        seed: Seed of the driver and of the disturbance.
        disturb: Push steering and brake now and then, so that an expert drive shows how to come back (as in DART).
        auto_brake_ttc_s: Full brake below this time to collision (a baseline row); 0 for none.
        record: Folder for the sealed episode; None drives without recording.
        session_id: Sitting that the episode belongs to.
        blind: A control of proof.md 4: "black" pictures instead of the real ones, "other": those of `pictures`; "" for none.
        rerun: A recorded drive's beginning that comes before the planner's part; `Outcome.extra["reached"]` is then the
            state after it (`rerun.state_of`), None if the drive ended before. Takes the place of `disturb`.
        pictures: Sealed episode of another case, whose pictures the policy is shown.
        stretches: (start, length) in seconds: the scripted driver drives then, and does not watch (a control of
            proof.md 14); without any it takes over where it sees a need.
    """

    episode_id: str
    case: Case
    planner: PlannerKind = "policy"
    generation: str = ""
    driver: DriverKind = "none"
    style: str = ""
    seed: int = 0
    disturb: bool = False
    auto_brake_ttc_s: float = 0.0
    record: Path | None = None
    session_id: str = ""
    blind: str = ""
    rerun: Rerun | None = None
    pictures: Path | None = None
    stretches: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """How a job ended. `fault` names a simulator fault; such an episode never trains and never counts."""

    job: EpisodeJob
    outcome: Outcome
    path: Path | None = None
    wall_s: float = 0.0
    fault: str = ""
