"""Records an episode: takes references on the drive loop's thread, encodes and writes on its own.

Nothing is dropped. The queue holds about a minute; when it is full, or the disk fails, the next call raises.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import StoreError
from ..sim_bridge.moment import MapPolygons, Moment
from ..sim_bridge.scenarios.cases import role_of
from ..store.episodes import EpisodeMeta, EpisodeWriter, InputRow, InputSample, PlanRow, TickRow
from ..store.maps import save_map
from ..store.records import NO_PLAN, WARMUP
from ..vocabulary import CameraSpec, Case, Control, EgoState, Frame, HandoverState, Outcome, Plan
from .arbiter import Decision
from .jobs import EpisodeJob

QUEUE_LENGTH = 2400  # hand-overs: about a minute at 20 Hz with plans and frames
HAND_OVER_TIMEOUT_S = 5.0
JOIN_TIMEOUT_S = 60.0
_saved_maps: dict[tuple[Path, str], str] = {}  # of this process: (home, map hash) to content address


class RecordedDrive(Protocol):
    """What the recorder asks of `sim_bridge.drive.Drive`, once, after its reset."""

    @property
    def history(self) -> list[Moment]: ...  # noqa: D102
    @property
    def cameras(self) -> tuple[CameraSpec, ...]: ...  # noqa: D102
    @property
    def route_centerline_m(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def map_name(self) -> str: ...  # noqa: D102
    @property
    def map_sha256(self) -> str: ...  # noqa: D102
    @property
    def scenario_info(self) -> dict[str, Any]: ...  # noqa: D102

    def map_polygons(self) -> MapPolygons: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Recording:
    """Identity of a recorded episode. `driver_kind` is none, scripted, human or expert."""

    episode_id: str
    case: Case
    generation: str
    driver_kind: str
    driver_id: str = ""
    session_id: str = ""
    style: str = ""
    planner: str = "policy"
    seed: int = 0


def recording_of(job: EpisodeJob) -> Recording:
    """Identity of the episode that a job asks for."""
    kind = "expert" if job.planner == "expert" and job.driver == "none" else job.driver
    return Recording(
        job.episode_id,
        job.case,
        job.generation,
        kind,
        driver_id=f"scripted-{job.style}" if job.driver == "scripted" else "",
        session_id=job.session_id,
        style=job.style,
        planner=job.planner,
        seed=job.seed,
    )


class Recorder:
    """A subscriber of `session.run_episode` that seals one episode.

    Args:
        root: The `episodes` folder; maps go beside it.
        recording: Identity of the episode.
        drive: Asked for route, map and warm-up when the first moment or plan arrives.
        patience_s: How long a call may wait for room in the queue; the cockpit never waits.

    Raises (every method):
        StoreError: the disk failed or cannot keep up; nothing more is recorded.
    """

    def __init__(
        self,
        root: Path,
        recording: Recording,
        drive: RecordedDrive,
        *,
        patience_s: float = HAND_OVER_TIMEOUT_S,
    ) -> None:
        self._root = root
        self._patience_s = patience_s
        self._recording = recording
        self._drive = drive
        self._queue: queue.Queue[Any] = queue.Queue(QUEUE_LENGTH)
        self._thread: threading.Thread | None = None
        self._writer: EpisodeWriter | None = None
        self._error: BaseException | None = None
        self._outcome: Outcome | None = None
        self._given = {"ticks": 0, "frames": 0, "plans": 0, "inputs": 0}

    def open(self, moment: Moment) -> None:
        """Make the episode's folder now, which takes a while, instead of at the first record."""
        self._start(moment)

    def on_inputs(self, tick: int, samples: tuple[InputSample, ...]) -> None:
        """What the input devices said since the tick before."""
        self._given["inputs"] += 1
        self._hand_over(InputRow(tick, samples))

    def on_moment(
        self,
        moment: Moment,
        decision: Decision,
        policy: Control | None,
        driver: Control | None,
        plan: Plan | None,
    ) -> None:
        """One tick: the state before the step, and what is executed from it."""
        self._start(moment)
        for infraction in moment.infractions:
            data = {"kind": infraction.kind, "actor_id": infraction.actor_id, "detail": infraction.detail}
            self._hand_over(("infraction", moment.tick, data))
        self._give_moment(
            moment,
            _row(
                moment,
                decision.control,
                decision.authority.value,
                decision.state.value,
                policy,
                driver,
                plan.tick if plan is not None else NO_PLAN,
            ),
        )

    def on_plan(self, plan: Plan, pose: EgoState) -> None:
        """A plan was made at `pose`."""
        self._start(None)
        self._given["plans"] += 1
        self._hand_over(PlanRow(plan, pose))

    def on_event(self, kind: str, tick: int, data: dict[str, object]) -> None:
        """Takeover, hand-back, and what else has no place on the tick."""
        self._start(None)
        self._hand_over((kind, tick, dict(data)))

    def on_end(self, outcome: Outcome) -> Path:
        """Write what is left and seal.

        Returns:
            The sealed episode's folder.
        """
        self._start(None)
        self._outcome = outcome
        self._finish()
        assert self._writer is not None
        return self._writer.path

    def abort(self) -> None:
        """Write what was handed over and leave the episode unsealed, for `store.episodes.salvage`."""
        if self._thread is not None:
            self._finish(quiet=True)

    def _start(self, moment: Moment | None) -> None:
        if self._thread is not None:
            return
        self._writer = EpisodeWriter(self._root, self._meta(moment))
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()
        for past in self._drive.history:
            self._give_moment(
                past, _row(past, Control(), WARMUP, HandoverState.AUTONOMOUS.value, None, None, NO_PLAN)
            )

    def _meta(self, moment: Moment | None) -> EpisodeMeta:
        drive, recording = self._drive, self._recording
        first = moment or (drive.history[-1] if drive.history else None)
        return EpisodeMeta(
            episode_id=recording.episode_id,
            case=recording.case,
            role=role_of(recording.case),
            generation=recording.generation,
            driver_kind=recording.driver_kind,
            driver_id=recording.driver_id,
            session_id=recording.session_id,
            style=recording.style,
            planner=recording.planner,
            map_name=drive.map_name,
            map_sha256=drive.map_sha256,
            polygons_sha256=_map_address(self._root.parent, drive),
            cameras=drive.cameras,
            seed=recording.seed,
            route_centerline_m=np.asarray(drive.route_centerline_m, np.float64),
            route_length_m=first.route_length_m if first is not None else 0.0,
            scenario_info=drive.scenario_info,
            created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            code_version=__version__,
        )

    def _give_moment(self, moment: Moment, row: TickRow) -> None:
        if moment.frame is not None:
            self._given["frames"] += 1
            self._hand_over(moment.frame)
        self._given["ticks"] += 1
        self._hand_over(row)

    def _hand_over(self, item: object) -> None:
        if self._error is not None:
            self._raise()
        try:
            self._queue.put(item, block=self._patience_s > 0.0, timeout=self._patience_s)
        except queue.Full:
            raise StoreError(
                f"the disk cannot keep up with episode {self._recording.episode_id}",
                fix="record to a faster disk, or with fewer or smaller cameras",
            ) from None

    def _work(self) -> None:
        writer = self._writer
        assert writer is not None
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, TickRow):
                    writer.tick(item)
                elif isinstance(item, Frame):
                    writer.frame(item)
                elif isinstance(item, PlanRow):
                    writer.plan(item)
                elif isinstance(item, InputRow):
                    writer.inputs(item)
                else:
                    writer.event(*item)
            if self._outcome is None:
                writer.abandon()
                return
            written = {kind: writer.counts[kind] for kind in self._given}
            if written != self._given:
                raise StoreError(f"handed over {self._given}, wrote {written}", fix="report this as a bug")
            writer.seal(self._outcome)
        except (
            BaseException
        ) as error:  # it belongs to the thread that records, which raises it at its next call
            self._error = error
            writer.abandon()

    def _finish(self, *, quiet: bool = False) -> None:
        thread = self._thread
        assert thread is not None
        if self._error is None:
            self._hand_over(None)
            thread.join(JOIN_TIMEOUT_S)
        if thread.is_alive():
            raise StoreError(
                f"the disk did not take episode {self._recording.episode_id} in {JOIN_TIMEOUT_S:.0f} s",
                fix="check the disk; `loop doctor` salvages the drive",
            )
        if self._error is not None and not quiet:
            self._raise()

    def _raise(self) -> None:
        if isinstance(self._error, StoreError):
            raise self._error
        raise StoreError(
            f"recording of episode {self._recording.episode_id} failed: {self._error!r}",
            fix="report this as a bug",
        ) from self._error


def _map_address(home: Path, drive: RecordedDrive) -> str:
    key = (home, drive.map_sha256)
    if key not in _saved_maps:
        polygons = drive.map_polygons()
        _saved_maps[key] = save_map(
            home,
            {
                "roadblocks": polygons.roadblocks,
                "lanes": polygons.lanes,
                "intersections": polygons.intersections,
            },
        )
    return _saved_maps[key]


def _row(
    moment: Moment,
    executed: Control,
    executed_by: str,
    state: str,
    policy: Control | None,
    driver: Control | None,
    plan_tick: int,
) -> TickRow:
    return TickRow(
        tick=moment.tick,
        time_s=moment.time_s,
        ego=moment.ego,
        executed=executed,
        executed_by=executed_by,
        handover_state=state,
        policy=policy,
        driver=driver,
        plan_tick=plan_tick,
        ttc_s=moment.ttc_s,
        route_progress_m=moment.route_progress_m,
        lateral_error_m=moment.lateral_error_m,
        heading_error_rad=moment.heading_error_rad,
        speed_limit_mps=moment.speed_limit_mps,
        off_road=moment.off_road,
        red_light=moment.red_light_ahead,
        command=moment.command.value,
        agents=moment.agents,
        faults=moment.faults,
        lights=moment.lights,
    )
