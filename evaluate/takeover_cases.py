"""Takeovers as cases: the scene in which the driver had to take over, driven again by any generation.

A case begins 8 s before the hazard (6 to 10 s are asked for), on a tick with a frame, or where the drive begins if that
is later: the recorded controls lead there, and the state is compared with the recorded one. It is admitted only if the
generation that failed fails again in at least 3 of 5 tries and the privileged expert passes at least 4 of 5. The embedded
server repeats a drive exactly, so all tries but the first err a little in wheel and pedals (`collect.rerun`), each in its
own way. Half of the cases, by hash of the takeover's id, can be kept out of training.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..collect.fleet import BatchPlanner, Fleet
from ..collect.jobs import EpisodeJob, EpisodeResult, PlannerKind
from ..collect.rerun import Deviation, Rerun, deviation, state_of
from ..errors import SimulatorError, UsageError
from ..store import history, queries
from ..store.database import Store
from ..store.episodes import EpisodeReader
from ..store.rows import TakeoverCaseRow
from ..vocabulary import PLAN_PERIOD_TICKS, TICK_HZ, TICK_S, Case
from .closed_loop import case_result
from .evaluator import Progress
from .gate import GateDecision
from .results import to_row

SUITE = "certified"  # of the stored results; a case there is named by its takeover
TRIES = 5
LEAST_FAILED = 3  # of TRIES by the generation that failed
LEAST_PASSED = 4  # of TRIES by the expert
LEAD_S = 8.0
CHUNK = 6  # takeovers that are driven before their outcome is stored


@dataclass(frozen=True, slots=True)
class TakeoverScene:
    """What a recorded takeover gives to drive.

    Attributes:
        case: Scenario and seed.
        rerun: The controls up to the start.
        state: Recorded state there (`rerun.state_of`).
        lead_s: From there to the hazard.
    """

    case: Case
    rerun: Rerun
    state: list[list[float]]
    lead_s: float

    @staticmethod
    def of(reader: EpisodeReader, hazard_tick: int) -> TakeoverScene:
        """The scene of a takeover.

        Args:
            reader: Its drive.
            hazard_tick: From here on the hazard lasted.
        """
        begin = max(0, hazard_tick - round(LEAD_S * TICK_HZ))
        begin -= begin % PLAN_PERIOD_TICKS  # plans are made when a frame arrives
        first, columns = reader.warmup, reader.ticks
        names = ("executed_steer", "executed_throttle", "executed_brake")
        rows = zip(*(columns[name][first : first + begin].tolist() for name in names), strict=True)
        state = state_of(reader.ego(begin), reader.agents_at(begin))
        return TakeoverScene(reader.meta.case, Rerun(tuple(rows)), state, (hazard_tick - begin) * TICK_S)

    def job(
        self,
        generation: str,
        *,
        planner: PlannerKind = "policy",
        jitter: int = 0,
        record: Path | None = None,
    ) -> EpisodeJob:
        """A drive of the scene."""
        rerun = replace(self.rerun, jitter=jitter)
        return EpisodeJob(
            str(uuid.uuid4()),
            self.case,
            planner=planner,
            generation=generation,
            rerun=rerun,
            record=record,
        )

    def deviation(self, result: EpisodeResult) -> Deviation:
        """How far the state that was reached is from the recorded one."""
        return deviation(self.state, result.outcome.extra.get("reached"))


def held_out(takeover_id: str) -> bool:
    """Whether a takeover is of the half that is never trained on."""
    return hashlib.sha256(takeover_id.encode()).digest()[0] % 2 == 1


def verdict(failed: int, expert_passed: int, worst: Deviation) -> str:
    """Why a takeover is no case; "" if it is one.

    Args:
        failed: Of TRIES by the generation that failed.
        expert_passed: Of TRIES by the expert.
        worst: Largest deviation of all tries.
    """
    if not worst.small:
        return "not_the_same_state"
    if failed < LEAST_FAILED:
        return "did_not_fail_again"
    return "" if expert_passed >= LEAST_PASSED else "expert_fails"


def lost_cases(store: Store, challenger: int, champion: int, setting: str = "") -> list[str]:
    """Certified takeovers that the champion passes and the challenger fails, by stored results.

    Args:
        store: The store.
        challenger: Generation that is judged.
        champion: Generation that it would follow.
        setting: `PolicyConfig.setting` that both drive with.

    Returns:
        Takeover ids in order.

    Raises:
        UsageError: A case was not driven by both.
    """
    old, new = (_successes(store, number, setting) for number in (champion, challenger))
    ids = [row["takeover_id"] for row in queries.certified(store)]
    missing = [name for name in ids if name not in old or name not in new]
    if missing:
        raise UsageError(
            f"{len(missing)} certified takeovers were not driven by both, first {missing[0]}",
            fix="drive them with `loop takeovers drive`",
        )
    return [name for name in ids if old[name] and not new[name]]


class TakeoverCases:
    """Certifies takeovers, and drives generations on them.

    Args:
        store: The store.
        rollouts: Gives the workers, started when something has to be driven.
        policy: Loads a generation's policy.
        progress: Where to say how far it is.
        setting: `PolicyConfig.setting` that generations drive with.
        in_gate: `gate.takeover_cases`.
    """

    def __init__(
        self,
        store: Store,
        rollouts: Callable[[], AbstractContextManager[Fleet]],
        policy: Callable[[int], BatchPlanner],
        progress: Progress,
        setting: str = "",
        *,
        in_gate: bool = False,
    ) -> None:
        self._store = store
        self._rollouts = rollouts
        self._policy = policy
        self._progress = progress
        self._setting = setting
        self.in_gate = in_gate

    def certify(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Try every accepted takeover that was not tried yet.

        Args:
            limit: At most so many, in order of their ids; None for all.

        Returns:
            The rows of those that were tried now.
        """
        open_ones = self._untried()[:limit]
        if not open_ones:
            return []
        self._progress.stage(
            f"{len(open_ones)} takeovers, {2 * TRIES} drives each", 2 * TRIES * len(open_ones)
        )
        found: list[TakeoverCaseRow] = []
        with self._rollouts() as fleet:
            for number in sorted({int(row["generation"]) for row in open_ones}):
                mine = [row for row in open_ones if int(row["generation"]) == number]
                for start in range(0, len(mine), CHUNK):
                    made = self._try(fleet, number, mine[start : start + CHUNK])
                    self._store.put(made)
                    found += made
        ids = [row.takeover_id for row in found]
        return self._store.query(
            "SELECT * FROM takeover_cases WHERE takeover_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY takeover_id",
            [ids],
        )

    def drive(self, generation: int) -> dict[str, bool]:
        """Which certified takeovers a generation passes; the missing ones are driven, once each and without errors."""
        known = _successes(self._store, generation, self._setting)
        cases = [row for row in queries.certified(self._store) if row["takeover_id"] not in known]
        if cases:
            key = self._key(generation)
            scenes = [self.scene(row["takeover_id"]) for row in cases]
            jobs = [scene.job(str(generation)) for scene in scenes]
            title = f"generation {generation} on {len(jobs)} certified takeovers"
            rows = [
                replace(
                    to_row(case_result(result), weights_sha256=key, suite=SUITE, generation=generation),
                    case_id=case["takeover_id"],
                )
                for case, result in zip(cases, self._sound(jobs, generation, title), strict=True)
            ]
            self._store.put(rows)
        return _successes(self._store, generation, self._setting)

    def judged(self, decision: GateDecision, challenger: int, champion: int) -> GateDecision:
        """The gate's decision, turned down where the challenger loses a certified takeover, if the gate looks at them."""
        if not self.in_gate or decision.outcome != "promote":
            return decision
        for number in (champion, challenger):
            self.drive(number)
        lost = lost_cases(self._store, challenger, champion, self._setting)
        if not lost:
            return decision
        return replace(decision, outcome="reject", reason=f"certified takeovers lost: {', '.join(lost)}")

    def scene(self, takeover_id: str) -> TakeoverScene:
        """The scene of a stored takeover."""
        row = self._store.query(
            "SELECT episode_id, hazard_tick FROM takeovers WHERE takeover_id = ?", [takeover_id]
        )[0]
        return TakeoverScene.of(EpisodeReader(self._store.episodes / row["episode_id"]), row["hazard_tick"])

    def _untried(self) -> list[dict[str, Any]]:
        """Takeovers that train, from a generation that is still known."""
        rows = self._store.query(
            "SELECT t.takeover_id, t.episode_id, e.case_id, e.scenario, e.seed, e.decoy, e.generation FROM takeovers AS t "
            "JOIN episodes AS e USING (episode_id) WHERE t.trains AND e.role = 'train' AND NOT e.truncated "
            "AND t.takeover_id NOT IN (SELECT takeover_id FROM takeover_cases) ORDER BY t.takeover_id"
        )
        known = {str(row["generation"]) for row in queries.generations(self._store)}
        return [row for row in rows if row["generation"] in known]

    def _try(self, fleet: Fleet, number: int, rows: Sequence[dict[str, Any]]) -> list[TakeoverCaseRow]:
        """Drive some takeovers of one generation, and judge them."""
        scenes = [self.scene(row["takeover_id"]) for row in rows]
        jobs = [
            job
            for scene in scenes
            for jitter in range(TRIES)
            for job in (
                scene.job(str(number), jitter=jitter),
                scene.job("expert", planner="expert", jitter=jitter),
            )
        ]
        results = _whole(fleet.run(jobs, self._policy(number), on_result=lambda _: self._progress.advance()))
        found = []
        for place, (row, scene) in enumerate(zip(rows, scenes, strict=True)):
            mine = results[2 * TRIES * place : 2 * TRIES * (place + 1)]
            own, expert = mine[::2], mine[1::2]
            failed = sum(not one.outcome.success for one in own)
            passed = sum(one.outcome.success for one in expert)
            off = [scene.deviation(one) for one in mine]
            worst = Deviation(
                max(one.distance_m for one in off),
                max(one.speed_mps for one in off),
                max(one.angle_deg for one in off),
            )
            reason = verdict(failed, passed, worst)
            found.append(
                TakeoverCaseRow(
                    takeover_id=row["takeover_id"],
                    episode_id=row["episode_id"],
                    case_id=row["case_id"],
                    scenario=row["scenario"],
                    seed=row["seed"],
                    decoy=row["decoy"],
                    generation=number,
                    weights_sha256=self._key(number),
                    start_tick=scene.rerun.start_tick,
                    lead_s=scene.lead_s,
                    tries=TRIES,
                    failed=failed,
                    expert_passed=passed,
                    deviation_m=_finite(worst.distance_m),
                    deviation_mps=_finite(worst.speed_mps),
                    deviation_deg=_finite(worst.angle_deg),
                    admitted=not reason,
                    reason=reason,
                    held_out=held_out(row["takeover_id"]),
                )
            )
        return found

    def _sound(self, jobs: Sequence[EpisodeJob], generation: int, title: str) -> list[EpisodeResult]:
        self._progress.stage(title, len(jobs))
        with self._rollouts() as fleet:
            policy = self._policy(generation)
            return _whole(fleet.run(jobs, policy, on_result=lambda _: self._progress.advance()))

    def redrive(self, scene: TakeoverScene, generation: int, record: Path) -> EpisodeResult:
        """One drive of a scene, recorded.

        Args:
            scene: What to drive.
            generation: Who plans.
            record: Folder for the sealed episode, not of the store.
        """
        job = scene.job(str(generation), record=record)
        return self._sound([job], generation, f"generation {generation} in {scene.case.case_id}")[0]

    def _key(self, generation: int) -> str:
        return f"{history.generation(self._store, generation)['sha256']}{self._setting}"


def _successes(store: Store, generation: int, setting: str) -> dict[str, bool]:
    """Stored results of a generation on takeovers, by takeover."""
    key = f"{history.generation(store, generation)['sha256']}{setting}"
    rows = queries.evaluations(store, weights_sha256=key, suite=SUITE)
    return {row["case_id"]: bool(row["success"]) for row in rows}


def _whole(results: list[EpisodeResult]) -> list[EpisodeResult]:
    faults = [one for one in results if one.fault]
    if faults:
        raise SimulatorError(
            f"{len(faults)} of {len(results)} drives failed in the simulator, first {faults[0].job.case.case_id}: "
            f"{faults[0].fault}",
            fix="run the command again; finished takeovers are kept",
        )
    return results


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
