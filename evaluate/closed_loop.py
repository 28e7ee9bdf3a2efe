"""Closed-loop evaluation: the same (scenario, seed) cases for every generation, driven once and kept in the store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..collect.fleet import BatchPlanner, Fleet
from ..collect.jobs import EpisodeJob, EpisodeResult
from ..errors import SimulatorError, UsageError
from ..sim_bridge.scenarios.cases import BRAKING_TYPES, NOMINAL_TYPES
from ..vocabulary import Case

# Rows beside the policy (proof.md 3 and 4): two without any policy, two that change what it does or sees.
BASELINES: dict[str, dict[str, Any]] = {
    "": {},
    "always_brake": {"planner": "always_brake"},
    "never_brake": {"planner": "never_brake"},
    "auto_brake": {"auto_brake_ttc_s": 2.0},
    "black": {"blind": "black"},
    "other": {"blind": "other"},
}


Recorded = tuple[str, Path]  # scenario type and folder of a sealed drive


def another_case(case: Case, recorded: Sequence[Recorded]) -> Path:
    """A drive of another scenario type, the same one for a case whatever else is driven.

    Raises:
        UsageError: There is none.
    """
    others = [path for scenario, path in recorded if scenario != case.scenario]
    if not others:
        raise UsageError(
            "no recorded drive of another case to show", fix="run `loop run` or `loop collect` first"
        )
    return others[case.seed % len(others)]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case, driven by one generation.

    Attributes:
        case: What was driven.
        success: Route complete without infraction.
        ds: Driving score, 0 to 100.
        rc: Route completion, 0 to 100.
        infractions: Kinds of the infractions, in order.
        end: How it ended (`vocabulary.Outcome.end`).
        driven_m: Distance driven.
        duration_s: Simulated seconds.
        phantom_brakes: Brakings without a cause (`scoring.caution`).
        standstill_s: Seconds stood still.
        takeovers: Takeovers during it; 0 in unattended evaluation.
    """

    case: Case
    success: bool
    ds: float
    rc: float
    infractions: tuple[str, ...]
    end: str
    driven_m: float
    duration_s: float
    phantom_brakes: int
    standstill_s: float
    takeovers: int = 0

    @property
    def calm(self) -> bool:
        """Whether nothing calls for hard braking: everyday driving and decoys. Only there a brake can be a phantom."""
        return self.case.decoy or self.case.scenario in NOMINAL_TYPES

    @property
    def braking(self) -> bool:
        """Whether the scenario type can be passed by braking alone."""
        return self.case.scenario in BRAKING_TYPES


def case_result(result: EpisodeResult) -> CaseResult:
    """The measured part of an episode's result."""
    outcome = result.outcome
    return CaseResult(
        case=result.job.case,
        success=outcome.success,
        ds=outcome.ds,
        rc=outcome.rc,
        infractions=tuple(i.kind for i in outcome.infractions),
        end=outcome.end,
        driven_m=outcome.driven_m,
        duration_s=outcome.duration_s,
        phantom_brakes=outcome.phantom_brakes,
        standstill_s=outcome.standstill_s,
        takeovers=outcome.takeovers,
    )


def evaluate_cases(
    fleet: Fleet,
    cases: Sequence[Case],
    policy: BatchPlanner | None,
    *,
    generation: str,
    baseline: str = "",
    recorded: Sequence[Recorded] = (),
    on_result: Callable[[CaseResult], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[CaseResult]:
    """Drive cases unattended, without a driver and without recording.

    Args:
        fleet: Rollout workers.
        cases: What to drive; the result keeps their order.
        policy: The policy; None for baselines.
        generation: Its id.
        baseline: One of `BASELINES`, or "" for the policy as it is.
        recorded: Drives whose pictures the baseline `other` shows.
        on_result: Called after each case.
        stop: Asked now and then; True leaves the cases out that have not begun (gate futility).

    Returns:
        One result a driven case.

    Raises:
        SimulatorError: a case failed on the simulator's side in every try.
    """
    jobs = [
        EpisodeJob(
            episode_id=str(uuid.uuid4()),
            case=case,
            generation=generation,
            **BASELINES[baseline],
            pictures=another_case(case, recorded) if baseline == "other" else None,
        )
        for case in cases
    ]

    def told(result: EpisodeResult) -> None:
        if on_result is not None and not result.fault:
            on_result(case_result(result))

    results = fleet.run(jobs, policy, on_result=told, stop=stop)
    faults = [r for r in results if r.fault]
    if faults:
        raise SimulatorError(
            f"{len(faults)} of {len(jobs)} cases failed in the simulator, "
            f"first {faults[0].job.case.case_id}: {faults[0].fault}",
            fix="run the command again; finished cases are kept",
        )
    return [case_result(r) for r in results]
