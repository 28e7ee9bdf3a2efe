"""A rollout worker: `python -P -m takeover.collect.worker`, started by `collect.fleet`.

Holds one server, one CARLA client and no policy. Leaves by `os._exit` after tidying up, because the carla client may
abort the interpreter's own exit.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from dataclasses import replace
from multiprocessing.connection import Connection

from ..errors import TakeoverError
from ..sim_bridge.bridge import Bridge, leave_process
from ..sim_bridge.drive import Drive
from ..sim_bridge.server import server_at
from ..vocabulary import CameraSpec, Outcome
from .disturbance import Disturbance
from .jobs import EpisodeJob, EpisodeResult
from .planners import make_planner
from .recorder import Recorder, recording_of
from .rerun import Reached, Replayed
from .scripted_driver import ScriptedDriver
from .session import Pushes, Subscriber, run_episode
from .timed_driver import TimedDriver


def main() -> None:
    """Serve jobs until the parent closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--carla", default="")
    parser.add_argument("--timeout-s", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pipe = Connection(arguments.fd)
    try:
        with (
            server_at(arguments.carla, arguments.seed) as (host, port),
            Bridge(host, port, timeout_s=arguments.timeout_s) as bridge,
        ):
            drive = Drive(bridge, (CameraSpec(),))
            pipe.send("ready")
            _serve(pipe, drive)
            drive.close()
    except TakeoverError as error:
        with contextlib.suppress(OSError):
            pipe.send(f"{error} ({error.fix})")
    except (EOFError, OSError):
        pass  # the parent went away: nothing is left to do
    finally:
        leave_process()


def _serve(pipe: Connection, drive: Drive) -> None:
    while True:
        job = pipe.recv()
        if job is None:
            return
        started_s = time.monotonic()
        outcome = _drive(job, drive, pipe)  # a fault ends the worker: the parent starts another
        path = job.record / job.episode_id if job.record is not None else None
        pipe.send(EpisodeResult(job, outcome, path, time.monotonic() - started_s))


def _drive(job: EpisodeJob, drive: Drive, pipe: Connection) -> Outcome:
    planner = make_planner(job, drive, pipe)
    driver: ScriptedDriver | None = None
    if job.driver == "scripted" and job.stretches:
        driver = TimedDriver(job.style, job.seed, drive, job.stretches)
    elif job.driver == "scripted":
        driver = ScriptedDriver(job.style, job.seed, drive)
    subscribers: list[Subscriber] = []
    recorder: Recorder | None = None
    reached = None if job.rerun is None else Reached(job.rerun.start_tick)
    if reached is not None:
        subscribers.append(reached)
    if job.record is not None:
        recorder = Recorder(job.record, recording_of(job), drive)
        subscribers.append(recorder)
    try:
        outcome = run_episode(
            drive,
            job.case,
            planner,
            driver=driver,
            subscribers=subscribers,
            disturbance=_pushes(job),
            auto_brake_ttc_s=job.auto_brake_ttc_s,
        )
    except BaseException:
        if recorder is not None:
            recorder.abort()
        raise
    if reached is not None:
        outcome = replace(outcome, extra={**outcome.extra, "reached": reached.state})
    if recorder is not None:
        recorder.on_end(outcome)
    return outcome


def _pushes(job: EpisodeJob) -> Pushes | None:
    if job.rerun is not None:
        return Replayed(job.rerun)
    return Disturbance(job.seed) if job.disturb else None


if __name__ == "__main__":
    main()
