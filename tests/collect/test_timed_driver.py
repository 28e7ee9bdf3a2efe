"""The control whose driver drives at random times: as long as asked for, and in its own style."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from takeover.collect.doses import Dose, random_stretches, random_timed_jobs
from takeover.collect.planners import NeverBrake
from takeover.collect.session import run_episode
from takeover.collect.timed_driver import TimedDriver
from takeover.errors import RoleError
from takeover.sim_bridge.bridge import Bridge
from takeover.sim_bridge.drive import Drive
from takeover.sim_bridge.server import EmbeddedServer
from takeover.vocabulary import CameraSpec, Case

from .test_scripted_driver import Log

DOSE = Dose(
    "6f1d3c1e-6a53-4f0e-9a57-3b1f3a5f7c11", "ParkedObstacle/3", "0", "brake_first", 5, (2.0, 1.0, 1.5), 9.0
)


@pytest.fixture(scope="module")
def drive(server: EmbeddedServer) -> Iterator[Drive]:
    with Bridge(server.host, server.port) as bridge:
        drive = Drive(bridge, (CameraSpec(),))
        yield drive
        drive.close()


def test_it_drives_by_the_clock_and_gives_a_reason_that_trains(drive: Drive) -> None:
    log = Log()
    driver = TimedDriver("steer_first", 4, drive, [(1.0, 2.0), (4.0, 1.0)])
    outcome = run_episode(
        drive, Case("LaneFollowing", 9), NeverBrake(drive), driver=driver, subscribers=[log]
    )
    assert outcome.success
    taken = [tick for kind, tick, _ in log.events if kind == "takeover"]
    given = [tick for kind, tick, _ in log.events if kind == "handback"]
    # 20 ticks a second; it decides at frames and ticks, so a few ticks late at most
    assert taken == pytest.approx([20, 80], abs=3)
    assert np.subtract(given, taken) == pytest.approx([40, 20], abs=3)
    assert {data["reason"] for kind, _, data in log.events if kind == "takeover"} == {"rule"}


def test_random_times_keep_the_lengths_and_do_not_overlap() -> None:
    starts = set()
    for seed in range(30):
        stretches = random_stretches(DOSE, np.random.default_rng(seed))
        assert sorted(length for _, length in stretches) == [1.0, 1.5, 2.0]
        ends = [start + length for start, length in stretches]
        assert all(end <= later + 1e-9 for end, (later, _) in zip(ends, stretches[1:], strict=False))
        assert stretches[0][0] >= 0.5
        assert ends[-1] <= 9.0 + 1e-9
        starts.add(round(stretches[0][0], 3))
    assert len(starts) > 20


def test_jobs_repeat_and_stay_in_the_train_role(tmp_path) -> None:  # type: ignore[no-untyped-def]
    first, again = (random_timed_jobs([DOSE], 0, 0, tmp_path) for _ in range(2))
    assert first == again
    assert first[0].case == Case("ParkedObstacle", 3)
    assert (first[0].style, first[0].seed, first[0].generation) == ("brake_first", 5, "0")
    assert random_timed_jobs([DOSE], 0, 1, tmp_path)[0].episode_id != first[0].episode_id
    held_out = Dose(
        **{**{name: getattr(DOSE, name) for name in DOSE.__slots__}, "case_id": "ParkedObstacle/20005"}
    )
    with pytest.raises(RoleError):
        random_timed_jobs([held_out], 0, 0, tmp_path)
