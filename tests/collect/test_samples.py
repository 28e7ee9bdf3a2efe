from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from takeover.collect.samples import (
    driver_samples,
    executed_future,
    expert_samples,
    policy_input,
    scene_at,
    uneventful_samples,
)
from takeover.scoring.pdms import score_plans
from takeover.store.episodes import EpisodeReader
from takeover.vocabulary import Command

from .takeovers import CAR, ONSET, ego_at, record


@pytest.fixture
def reader(tmp_path: Path) -> EpisodeReader:
    return EpisodeReader(record(tmp_path))


def test_policy_input_is_what_the_policy_saw(reader: EpisodeReader) -> None:
    seen = policy_input(reader, 60)
    assert seen.images.shape == (2, 1, 24, 48, 3)
    assert int(seen.images[0].mean()) == pytest.approx(150, abs=3)  # the frame of tick 50 comes first
    assert int(seen.images[1].mean()) == pytest.approx(180, abs=3)
    assert seen.history_m_rad[:, 0] == pytest.approx([-15.0, -10.0, -5.0, 0.0])
    assert seen.command is Command.FOLLOW_LANE
    with pytest.raises(KeyError, match="tick 61"):
        policy_input(reader, 61)


def test_the_first_frames_repeat_the_oldest(reader: EpisodeReader) -> None:
    first = policy_input(reader, -20, frames=3)
    assert (first.images == first.images[0]).all()
    assert first.history_m_rad[0, 0] == pytest.approx(0.0)


def test_executed_future_counts_only_the_driver(reader: EpisodeReader) -> None:
    poses, mask = executed_future(reader, 60)
    assert not mask.any()  # two ticks of it are the policy's
    poses, mask = executed_future(reader, 60, first_tick=ONSET)
    assert mask.all()
    assert poses[0, 0] == pytest.approx(ego_at(70).x_m - ego_at(60).x_m)
    _, mask = executed_future(reader, 170)
    assert mask.tolist() == [True, True] + [False] * 6  # recorded up to tick 199
    poses, _ = executed_future(reader, 40, frozenset({"policy"}))
    assert poses.shape == (8, 3)


def test_beyond_the_recording_the_car_goes_on_along_the_route(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path, ticks=ONSET))
    poses, mask = executed_future(reader, 50, frozenset({"policy"}))
    assert mask.tolist() == [True] + [False] * 7
    assert poses[:, 0] == pytest.approx(5.0 * np.arange(1, 9), abs=0.3)


def test_scene_holds_the_recorded_future(reader: EpisodeReader) -> None:
    scene = scene_at(reader, 40)
    assert scene.agent_ids.tolist() == [CAR]
    assert scene.agents.shape == (1, 51, 5)
    assert scene.agents[0, -1, 0] == pytest.approx(60.0)
    assert scene.reference_multiplier == 1.0
    plans = np.stack([5.0 * np.arange(1, 9), np.zeros(8)], 1)[None]
    assert score_plans(scene, plans).nc[0] == 0.0
    late = scene_at(reader, 190)  # nine ticks are left: the car is still there after 5 s
    assert not np.isnan(late.agents).any()


def test_samples_of_driver_and_expert(reader: EpisodeReader, tmp_path: Path) -> None:
    recovered = driver_samples(reader, 68, 146, weight=2.0)
    assert [s.weight for s in recovered] == [2.0] * len(recovered)
    assert all(s.mask.sum() >= 5 for s in recovered)
    assert recovered[0].target_m[0, 0] == pytest.approx(ego_at(80).x_m - ego_at(70).x_m, abs=1e-4)
    expert = EpisodeReader(record(tmp_path / "expert", driver_kind="expert", generation="expert"))
    samples = expert_samples(expert)
    assert len(samples) == len(expert.plans)
    assert all(s.mask.all() and s.reasoning.startswith("{") for s in samples)
    assert samples[0].target_m[-1] == pytest.approx([40.0, 0.0])


def test_what_the_policy_drove_itself_counts_only_while_it_drove(reader: EpisodeReader) -> None:
    samples = uneventful_samples(reader)
    frames_before = [tick for tick in reader.frame_ticks if tick >= 0 and tick + 50 <= ONSET]
    assert len(samples) >= len(frames_before) > 0
    first = samples[0]  # tick 0: the way of the next 4 s, at 10 m/s
    assert first.mask.all() == (ONSET >= 80)
    assert first.target_m[0, 0] == pytest.approx(5.0, abs=0.2)
    last_tick = max(tick for tick in reader.frame_ticks if tick + 50 <= ONSET)
    assert samples[frames_before.index(last_tick)].mask.sum() >= 5
