"""The recorder between the drive loop's calls and the sealed episode."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from takeover.collect.arbiter import Decision
from takeover.collect.jobs import EpisodeJob
from takeover.collect.recorder import Recorder, recording_of
from takeover.errors import StoreError
from takeover.sim_bridge.moment import MapPolygons, Moment
from takeover.store.episodes import EpisodeReader, salvage, unsealed, verify
from takeover.store.maps import load_map
from takeover.vocabulary import (
    ActorKind,
    Agent,
    Authority,
    CameraSpec,
    Case,
    Command,
    Control,
    EgoState,
    Frame,
    HandoverState,
    Infraction,
    Outcome,
    Plan,
    Role,
)

SQUARE = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0]])


def moment(tick: int) -> Moment:
    image = np.full((1, 96, 192, 3), 100 + tick % 100, np.uint8)
    return Moment(
        tick=tick,
        time_s=tick * 0.05,
        ego=EgoState(0.4 * tick, 0.0, 0.0, 8.0),
        agents=(Agent(7, ActorKind.WALKER, 30.0, 0.1 * tick, 0.0, 1.0, 0.5, 0.5, "walker"),),
        frame=Frame(tick, image, {7: 20}) if tick % 10 == 0 else None,
        command=Command.TURN_LEFT,
        route_progress_m=0.4 * tick,
        route_length_m=90.0,
        lateral_error_m=-0.2,
        heading_error_rad=0.1,
        off_road=False,
        ttc_s=2.5,
        speed_limit_mps=13.0,
        infractions=(Infraction("collision", tick, 7, "walker"),) if tick == 25 else (),
    )


@dataclass
class DriveStandIn:
    """The six things that a recorder asks of a drive."""

    history: list[Moment] = field(default_factory=lambda: [moment(t) for t in range(-20, 0)])
    cameras: tuple[CameraSpec, ...] = (CameraSpec(),)
    route_centerline_m: Any = field(default_factory=lambda: np.zeros((90, 2)))
    map_name: str = "TownCurves"
    map_sha256: str = "cd" * 32
    scenario_info: dict[str, Any] = field(
        default_factory=lambda: {"critical_actor_id": np.int64(7), "delay_s": np.inf}
    )

    def map_polygons(self) -> MapPolygons:
        return MapPolygons((SQUARE,), (SQUARE, SQUARE + 1), ())


JOB = EpisodeJob(
    str(uuid.UUID(int=1)),
    Case("ParkedObstacle", 4),
    generation="3",
    driver="scripted",
    style="late_clumsy",
    seed=9,
)


def drive_through(recorder: Recorder, ticks: int = 40) -> None:
    plan: Plan | None = None
    for number in range(ticks):
        now = moment(number)
        if number % 10 == 0:
            plan = Plan(np.full((8, 2), float(number), np.float32), number, "3", shadow=number >= 30)
            recorder.on_plan(plan, now.ego)
        driver = number >= 30
        if number == 30:
            recorder.on_event("takeover", number, {"reason": "collision_risk"})
        recorder.on_moment(
            now,
            Decision(
                Control(0.0, 0.0, 1.0) if driver else Control(0.0, 0.4, 0.0),
                Authority.DRIVER if driver else Authority.POLICY,
                HandoverState.DRIVER if driver else HandoverState.AUTONOMOUS,
            ),
            Control(0.0, 0.4, 0.0),
            Control(0.0, 0.0, 1.0) if driver else None,
            plan,
        )


def test_a_drive_is_sealed_with_all_that_was_handed_over(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "episodes", recording_of(JOB), DriveStandIn())
    drive_through(recorder)
    path = recorder.on_end(
        Outcome(False, 50.0, 40.0, (Infraction("collision", 25, 7),), "collision", takeovers=1)
    )
    assert path == tmp_path / "episodes" / JOB.episode_id
    verify(path)
    reader = EpisodeReader(path)
    assert reader.ticks["tick"].tolist() == list(range(-20, 40))
    assert reader.frame_ticks == [-20, -10, 0, 10, 20, 30]
    assert reader.manifest["counts"] == {
        "actors": 1,
        "ticks": 60,
        "frames": 6,
        "plans": 4,
        "events": 2,
        "inputs": 0,
    }
    assert reader.ticks["executed_by"][[0, 20, 49, 50]].tolist() == ["warmup", "policy", "policy", "driver"]
    assert reader.ticks["plan_tick"][[19, 20, 45]].tolist() == [-1_000_000, 0, 20]
    assert reader.ticks["command"][5] == "turn_left"
    assert reader.ticks["heading_error_rad"][5] == 0.1
    assert [plan.plan.shadow for plan in reader.plans] == [False, False, False, True]
    assert [(event.kind, event.tick) for event in reader.events] == [("infraction", 25), ("takeover", 30)]
    assert np.abs(reader.images(20).astype(int) - moment(20).frame.images).max() <= 2  # type: ignore[union-attr]
    meta = reader.meta
    assert (meta.role, meta.driver_kind, meta.driver_id) == (Role.TRAIN, "scripted", "scripted-late_clumsy")
    assert (meta.route_length_m, meta.seed, meta.generation) == (90.0, 9, "3")
    assert meta.scenario_info == {"critical_actor_id": 7, "delay_s": None}
    assert len(load_map(tmp_path, meta.polygons_sha256)["lanes"]) == 2
    assert reader.outcome.infractions[0].kind == "collision"


def test_identity_says_who_drove() -> None:
    assert recording_of(JOB).driver_kind == "scripted"
    assert recording_of(replace(JOB, driver="none")).driver_kind == "none"
    expert = recording_of(replace(JOB, driver="none", planner="expert", generation="expert"))
    assert (expert.driver_kind, expert.driver_id) == ("expert", "")


def test_an_aborted_drive_can_be_salvaged(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "episodes", recording_of(JOB), DriveStandIn())
    drive_through(recorder, 33)
    recorder.abort()
    left = unsealed(tmp_path / "episodes")
    assert [path.name for path in left] == [JOB.episode_id]
    reader = EpisodeReader(salvage(left[0], end="sim_fault"))
    assert reader.ticks["tick"][-1] == 32
    assert reader.outcome.end == "sim_fault"


def test_abort_before_the_first_tick_leaves_nothing(tmp_path: Path) -> None:
    Recorder(tmp_path / "episodes", recording_of(JOB), DriveStandIn()).abort()
    assert not (tmp_path / "episodes").exists()


def test_a_failing_disk_is_told_at_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "episodes", recording_of(JOB), DriveStandIn())
    drive_through(recorder, 5)

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("takeover.store.framing.os.write", refuse)
    with pytest.raises(StoreError, match="No space left on device"):
        _keep_driving(recorder)
    with pytest.raises(StoreError, match="No space left"):
        recorder.on_end(Outcome(True, 100.0, 100.0))
    recorder.abort()
    monkeypatch.undo()
    assert EpisodeReader(salvage(tmp_path / "episodes" / JOB.episode_id)).truncated


def _keep_driving(recorder: Recorder) -> None:
    decision = Decision(Control(), Authority.POLICY, HandoverState.AUTONOMOUS)
    for number in range(5, 500):
        recorder.on_moment(moment(number), decision, None, None, None)
        time.sleep(0.001)


def test_handing_over_is_quick(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "episodes", recording_of(JOB), DriveStandIn())
    drive_through(recorder, 1)
    decision = Decision(Control(), Authority.POLICY, HandoverState.AUTONOMOUS)
    moments = [moment(number) for number in range(1, 200)]
    took = []
    for now in moments:
        started = time.perf_counter()
        recorder.on_moment(now, decision, None, None, None)
        took.append(time.perf_counter() - started)
        time.sleep(0.0005)
    recorder.on_end(Outcome(True, 100.0, 100.0))
    assert sorted(took)[len(took) // 2] < 0.001  # the median: the machine may be busy
