"""The fleet against real workers, each with the carla client and an embedded server of its own."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from takeover.collect.fleet import Fleet
from takeover.collect.jobs import EpisodeJob, EpisodeResult
from takeover.collect.plans import bootstrap_jobs, episode_id, round_jobs
from takeover.config import BootstrapConfig, CollectConfig
from takeover.errors import SimulatorError
from takeover.sim_bridge.scenarios.cases import TRAINED_TYPES
from takeover.store.episodes import EpisodeReader, complete, verify
from takeover.vocabulary import Case, Plan, PolicyInput

SLOW_MPS = 6.0


class StraightOn:
    """A policy without eyes; remembers the shapes of its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.seen: list[PolicyInput] = []

    def plan(self, inputs: Sequence[PolicyInput], generation: str) -> list[Plan]:
        self.sizes.append(len(inputs))
        self.seen.extend(inputs)
        ahead = np.stack([SLOW_MPS * 0.5 * np.arange(1, 9), np.zeros(8)], axis=1).astype(np.float32)
        return [Plan(ahead, 0, generation) for _ in inputs]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(2, logs=tmp_path_factory.mktemp("logs")) as two:
        yield two


def job(name: str, seed: int, **options: object) -> EpisodeJob:
    return EpisodeJob(episode_id("test", 1, seed), Case(name, seed), generation="7", **options)  # type: ignore[arg-type]


def test_results_come_in_the_order_of_the_jobs(fleet: Fleet) -> None:
    jobs = [
        job("LaneFollowing", seed, planner=kind)
        for seed, kind in ((3, "always_brake"), (4, "expert"), (5, "always_brake"))
    ]
    results = fleet.run(jobs)
    assert [r.job for r in results] == jobs
    assert [r.outcome.success for r in results] == [False, True, False]
    assert results[0].outcome.end in ("timeout", "blocked")
    assert results[0].outcome.standstill_s > 3.0


def test_without_a_policy_no_worker_waits_for_another(fleet: Fleet) -> None:
    jobs = [job("LaneFollowing", seed, planner="expert") for seed in (3, 4, 5, 6, 7, 8)]
    finished: list[int] = []
    fleet.run(jobs, on_result=lambda result: finished.append(jobs.index(result.job)))
    assert sorted(finished) == list(range(6))
    # jobs 0, 2, 4 are the first worker's: served one worker after the other, they would come first
    assert {index % 2 for index in finished[:3]} == {0, 1}


def test_the_policy_sees_images_odometry_and_command_only_and_batches_keep_their_shape(fleet: Fleet) -> None:
    policy = StraightOn()
    fleet.run([job("CarFollowing", 1), job("LaneFollowing", 2)], policy)
    assert set(policy.sizes) == {1}  # two workers: two cohorts of one
    view = policy.seen[0]
    assert set(PolicyInput.__dataclass_fields__) == {
        "images",
        "history_m_rad",
        "speed_mps",
        "accel_mps2",
        "yaw_rate_radps",
        "command",
    }
    assert view.images.shape == (2, 1, 96, 192, 3)
    assert view.images.dtype == np.uint8
    assert view.images.std() > 5.0
    np.testing.assert_allclose(view.history_m_rad[-1], 0.0, atol=1e-6)
    assert view.history_m_rad[0, 0] < -1.0


def test_a_policy_can_be_shown_the_pictures_of_another_case(fleet: Fleet, tmp_path: Path) -> None:
    recorded = fleet.run([job("LaneFollowing", 3, planner="expert", record=tmp_path / "episodes")])[0].path
    assert recorded is not None
    reader, policy = EpisodeReader(recorded), StraightOn()
    fleet.run([job("CarFollowing", 1, blind="other", pictures=recorded)], policy)
    ticks = reader.frame_ticks
    start = ticks.index(0)  # a drive begins with the frames of its tick 0 and half a second before
    for view, newest in zip(policy.seen[:4], ticks[start:], strict=False):
        np.testing.assert_array_equal(view.images[1], reader.images(newest))
        np.testing.assert_array_equal(view.images[0], reader.images(newest - 10))
    assert policy.seen[1].speed_mps > 0.0  # the odometry is its own


def test_the_scripted_driver_takes_over_from_a_blind_policy_and_the_drive_is_sealed(
    fleet: Fleet, tmp_path: Path
) -> None:
    jobs = [
        job("ParkedObstacle", seed, driver="scripted", style="steer_first", record=tmp_path / "episodes")
        for seed in (11, 21)
    ]
    results = fleet.run(jobs, StraightOn())
    assert sum(r.outcome.takeovers for r in results) >= 1
    for result in results:
        assert result.path is not None
        verify(result.path)
        reader = EpisodeReader(result.path)
        assert reader.meta.driver_kind == "scripted"
        assert len(reader.plans) == sum(t >= 0 for t in reader.frame_ticks)
        shadow = [p.plan.tick for p in reader.plans if p.plan.shadow]
        by_driver = {
            int(t)
            for t, who in zip(reader.ticks["tick"], reader.ticks["executed_by"], strict=True)
            if who == "driver"
        }
        assert all(t in by_driver or t + 1 in by_driver for t in shadow)


def test_the_same_job_drives_the_same_way_twice(fleet: Fleet, tmp_path: Path) -> None:
    readers = []
    for run in ("a", "b"):
        one = job(
            "DynamicObjectCrossing",
            31,
            driver="scripted",
            style="brake_first",
            record=tmp_path / run / "episodes",
        )
        result = fleet.run([one], StraightOn())[0]
        assert result.path is not None
        readers.append(EpisodeReader(result.path))
    first, second = readers
    for name, column in first.ticks.items():
        np.testing.assert_array_equal(column, second.ticks[name], err_msg=name)
    # Ids differ: a server never repeats one.
    np.testing.assert_array_equal(first.tracks.states, second.tracks.states)
    for tick in first.frame_ticks:
        np.testing.assert_array_equal(first.images(tick), second.images(tick))


def test_a_killed_worker_is_replaced_and_its_drive_repeated(fleet: Fleet, tmp_path: Path) -> None:
    jobs = [job("LaneFollowing", 40 + k, planner="expert", record=tmp_path / "episodes") for k in range(4)]
    victim = fleet.pids[0]
    threading.Timer(0.7, lambda: os.kill(victim, signal.SIGKILL)).start()
    finished: list[EpisodeResult] = []
    results = fleet.run(jobs, on_result=finished.append)
    assert victim not in fleet.pids
    assert [r.fault for r in results] == [""] * 4
    assert len(finished) == 4
    assert len(complete(tmp_path / "episodes")) == 4


def test_stop_drops_what_has_not_begun(fleet: Fleet) -> None:
    jobs = [job("LaneFollowing", 50 + k, planner="expert") for k in range(8)]
    results = fleet.run(jobs, stop=lambda: True)
    assert 0 < len(results) < 8


def test_no_worker_outlives_its_fleet() -> None:
    with Fleet(1) as short:
        pid = short.pids[0]
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker still runs")


def test_a_worker_that_cannot_start_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no standard library: it dies with words on stderr
    with pytest.raises(SimulatorError, match=r"worker 0 did not start.*: .*worker-0\.log\)") as caught:
        Fleet(1, logs=tmp_path / "logs")
    lines = (tmp_path / "logs" / "worker-0.log").read_text().split("\n")
    assert [line for line in lines if line.strip()][-1].strip() in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="no CARLA server answers"):
        Fleet(1, carla="127.0.0.1:1", timeout_s=0.5, logs=tmp_path)


def test_jobs_are_repeatable_and_of_the_train_role(tmp_path: Path) -> None:
    first = bootstrap_jobs("r", BootstrapConfig(), 0, tmp_path)
    assert first == bootstrap_jobs("r", BootstrapConfig(), 0, tmp_path)
    rounds = [round_jobs("r", k, "0", CollectConfig(), 0, tmp_path) for k in (1, 2)]
    ids = [j.episode_id for jobs in (first, *rounds) for j in jobs]
    assert len(set(ids)) == len(ids)
    cases = [j.case for jobs in (first, *rounds) for j in jobs]
    assert len(set(cases)) == len(cases)
    assert all(case.seed < 10_000 for case in cases)
    asked = BootstrapConfig(nominal_episodes=3, longtail_episodes=0, decoy_episodes=12)
    decoys = [j.case for j in bootstrap_jobs("r", asked, 0, tmp_path) if j.case.decoy]
    assert len(decoys) == 12
    assert {case.scenario for case in decoys} == set(TRAINED_TYPES)
