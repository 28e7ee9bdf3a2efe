"""Several simulators at once, one policy: the parent's side of the rollout workers.

One worker is one process with one server and one CARLA client (two Traffic Managers or a dying server in one process
take everything down with them). The parent imports neither carla nor the simulator: it owns the policy, collects the
plan requests of a cohort and answers them in one batch. Two cohorts take turns: one simulates while the other plans.

Order is by slot and case, never by arrival, and the batch keeps its shape, so a run repeats exactly.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ..errors import SimulatorError
from ..vocabulary import Outcome, Plan, PolicyInput
from .jobs import EpisodeJob, EpisodeResult

MAX_TRIES = 3  # of one job, when its worker dies or reports a simulator fault
START_TIMEOUT_S = 120.0  # first start compiles the renderer
ANSWER_TIMEOUT_S = 60.0


class BatchPlanner(Protocol):
    """The policy as the fleet needs it (`models.policy.Policy`)."""

    def plan(self, inputs: Sequence[PolicyInput], generation: str) -> list[Plan]:
        """Plan for all inputs in one batch."""
        ...


@dataclass(slots=True)
class _Slot:
    process: subprocess.Popen[bytes]
    pipe: Connection
    queue: deque[tuple[int, EpisodeJob]] = field(default_factory=deque)
    current: tuple[int, EpisodeJob] | None = None
    tries: int = 0
    asked_s: float = 0.0  # when it was last given something to do


class Fleet:
    """A fixed number of rollout workers.

    Args:
        workers: How many.
        carla: "host:port[,host:port…]" of real servers, one a worker; empty starts embedded servers.
        timeout_s: Client time-out of the workers.
        logs: Folder for `worker-<slot>.log`, where workers and their servers write; None leaves them the terminal.
    """

    def __init__(
        self, workers: int, *, carla: str = "", timeout_s: float = 5.0, logs: Path | None = None
    ) -> None:
        self._servers = [part.strip() for part in carla.split(",") if part.strip()]
        if self._servers:
            workers = min(workers, len(self._servers))
        self._timeout_s = timeout_s
        self._logs = logs
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)
            for index in range(workers):
                self._log(index).write_bytes(b"")
        self._slots = [self._start(index) for index in range(workers)]
        try:
            for index in range(workers):
                self._await_ready(index)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop every worker; each tidies its server up before it goes."""
        for slot in self._slots:
            try:
                slot.pipe.send(None)
            except OSError:  # already gone
                continue
        for slot in self._slots:
            try:
                slot.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                slot.process.kill()
                slot.process.wait()
            slot.pipe.close()
        self._slots = []

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers, by slot."""
        return [slot.process.pid for slot in self._slots]

    def run(
        self,
        jobs: Sequence[EpisodeJob],
        policy: BatchPlanner | None = None,
        *,
        on_result: Callable[[EpisodeResult], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> list[EpisodeResult]:
        """Drive all jobs.

        Args:
            jobs: Dealt to the slots in turn, those of one type together.
            policy: Plans for jobs whose planner is "policy".
            on_result: Called at each finished episode, in the order of finishing.
            stop: Asked after each episode; True drops the jobs that have not begun.

        Returns:
            One result a job that was driven, in the order of `jobs`.
        """
        results: dict[int, EpisodeResult] = {}
        # Type by type: a change of map stalls a worker as long as a third of a drive takes.
        order = sorted(range(len(jobs)), key=lambda index: jobs[index].case.scenario)
        for place, index in enumerate(order):
            self._slots[place % len(self._slots)].queue.append((index, jobs[index]))
        half = (len(self._slots) + 1) // 2
        cohorts = [c for c in (range(half), range(half, len(self._slots))) if len(c)]
        for slot_index in range(len(self._slots)):
            self._next_job(slot_index)
        while any(slot.current for slot in self._slots):
            if policy is None:
                self._finish_some(results, on_result, stop)
                continue
            for cohort in cohorts:
                self._turn(cohort, policy, results, on_result, stop)
        return [results[index] for index in sorted(results)]

    def _finish_some(
        self,
        results: dict[int, EpisodeResult],
        on_result: Callable[[EpisodeResult], None] | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        """Without a policy nobody waits for anybody: serve whichever slots have something to say."""
        busy = {slot.pipe: index for index, slot in enumerate(self._slots) if slot.current is not None}
        oldest_s = min(self._slots[index].asked_s for index in busy.values())
        left_s = max(oldest_s + ANSWER_TIMEOUT_S - time.monotonic(), 0.0)
        ready = [busy[pipe] for pipe in wait(list(busy), left_s) if isinstance(pipe, Connection)]
        hung = [i for i in busy.values() if self._slots[i].asked_s + ANSWER_TIMEOUT_S < time.monotonic()]
        for slot_index in sorted({*ready, *hung}):
            view = self._hear(slot_index, results, on_result, stop, wait_s=0.0)
            if view is not None:
                raise ValueError("a job asks for the policy's plan, but no policy was given")

    def _turn(
        self,
        cohort: range,
        policy: BatchPlanner,
        results: dict[int, EpisodeResult],
        on_result: Callable[[EpisodeResult], None] | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        requests: list[tuple[int, PolicyInput]] = []
        for slot_index in cohort:
            view = self._until_request(slot_index, results, on_result, stop)
            if view is not None:
                requests.append((slot_index, view))
        if not requests:
            return
        generation = next(s.current[1].generation for s in (self._slots[i] for i, _ in requests) if s.current)
        # Finished slots are padded with the first request, so the batch keeps its shape to the end.
        views = [view for _, view in requests]
        padded = views + [views[0]] * (len(cohort) - len(views))
        plans = policy.plan(padded, generation)
        for (slot_index, _), plan in zip(requests, plans, strict=False):
            try:
                self._slots[slot_index].pipe.send(plan.waypoints_m)
            except OSError:
                continue  # the worker died meanwhile: its end of file is handled in the next turn

    def _until_request(
        self,
        slot_index: int,
        results: dict[int, EpisodeResult],
        on_result: Callable[[EpisodeResult], None] | None,
        stop: Callable[[], bool] | None,
    ) -> PolicyInput | None:
        """Serve a slot until it asks for a plan, or has nothing left to drive."""
        while self._slots[slot_index].current is not None:
            view = self._hear(slot_index, results, on_result, stop, wait_s=ANSWER_TIMEOUT_S)
            if view is not None:
                return view
        return None

    def _hear(
        self,
        slot_index: int,
        results: dict[int, EpisodeResult],
        on_result: Callable[[EpisodeResult], None] | None,
        stop: Callable[[], bool] | None,
        *,
        wait_s: float,
    ) -> PolicyInput | None:
        """Take one message of a busy slot: its request for a plan, or its result, after which it drives on."""
        slot = self._slots[slot_index]
        assert slot.current is not None
        index, job = slot.current
        try:
            message: Any = slot.pipe.recv() if slot.pipe.poll(wait_s) else None
        except (EOFError, OSError):
            message = None
        if isinstance(message, PolicyInput):
            return message
        if not isinstance(message, EpisodeResult):
            said = message if isinstance(message, str) else ""
            reason = said or f"the rollout worker died or hung{self._words(slot_index)}"
            message = EpisodeResult(job, _fault_outcome(), fault=reason)
            self._restart(slot_index)
        slot = self._slots[slot_index]
        if message.fault and slot.tries + 1 < MAX_TRIES:
            slot.tries += 1
            if job.record is not None:
                job = replace(job, episode_id=str(uuid.uuid5(uuid.UUID(job.episode_id), f"try {slot.tries}")))
            slot.current = (index, job)
            self._give(slot, job)
            return None
        results[index] = message
        if on_result is not None:
            on_result(message)
        if stop is not None and stop():
            for each in self._slots:
                each.queue.clear()
        self._next_job(slot_index)
        return None

    def _next_job(self, slot_index: int) -> None:
        slot = self._slots[slot_index]
        slot.current, slot.tries = (slot.queue.popleft() if slot.queue else None), 0
        if slot.current is not None:
            self._give(slot, slot.current[1])

    @staticmethod
    def _give(slot: _Slot, job: EpisodeJob) -> None:
        slot.asked_s = time.monotonic()
        slot.pipe.send(job)

    def _start(self, index: int) -> _Slot:
        ours, theirs = Pipe()
        arguments = ["--fd", str(theirs.fileno()), "--timeout-s", str(self._timeout_s), "--seed", str(index)]
        if self._servers:
            arguments += ["--carla", self._servers[index]]
        with contextlib.ExitStack() as stack:
            log = None if self._logs is None else stack.enter_context(self._log(index).open("ab"))
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "takeover.collect.worker", *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then closes its workers
            )
        theirs.close()
        return _Slot(process, ours)

    def _await_ready(self, index: int) -> None:
        slot = self._slots[index]
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if slot.pipe.poll(0.2):
                try:
                    message = slot.pipe.recv()
                except EOFError:
                    break
                if message == "ready":
                    return
                raise SimulatorError(str(message), fix="`loop doctor` checks the CARLA side")
            if slot.process.poll() is not None:
                break
        raise SimulatorError(
            f"rollout worker {index} did not start (exit status {slot.process.poll()}){self._words(index)}",
            fix="run `loop doctor`; with --carla check that the server answers",
        )

    def _log(self, index: int) -> Path:
        assert self._logs is not None
        return self._logs / f"worker-{index}.log"

    def _words(self, index: int) -> str:
        """The last line that a worker wrote, and where the others are."""
        if self._logs is None:
            return ""
        lines = self._log(index).read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last} ({self._log(index)})" if last else ""

    def _restart(self, slot_index: int) -> None:
        old = self._slots[slot_index]
        old.process.kill()
        old.process.wait()
        old.pipe.close()
        fresh = self._start(slot_index)
        fresh.queue, fresh.current, fresh.tries = old.queue, old.current, old.tries
        self._slots[slot_index] = fresh
        self._await_ready(slot_index)


def _fault_outcome() -> Outcome:
    return Outcome(success=False, rc=0.0, ds=0.0, end="sim_fault")
