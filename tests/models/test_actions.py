from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeover.models.actions import ActionCodec
from takeover.scoring.kinematics import rollout_actions

CODEC = ActionCodec()


def test_tokens_are_distinct_and_in_order() -> None:
    assert len(CODEC) == 9 * 13 == len(set(CODEC.tokens))
    assert CODEC.text([0, 116]) == "<a0><a116>"


def test_own_trajectories_come_back_exactly() -> None:
    rng = np.random.default_rng(0)
    for speed in (3.0, 8.0, 12.0):
        track = CODEC.decode(rng.integers(30, 90, 8), speed)
        assert CODEC.encode(track, speed).ade_m < 0.12


@pytest.mark.parametrize("speed", [0.0, 2.0, 6.0, 10.0, 14.0])
def test_smooth_drives_round_trip_within_a_quarter_metre(speed: float) -> None:
    rng = np.random.default_rng(int(speed))
    for _ in range(8):
        accel = np.repeat(rng.normal(0, 1.2, 4), 20)[None]
        bends = rng.normal(0, 0.03, 5)
        bends[0] *= 0.3
        curvature = np.interp(np.arange(80), [0, 20, 40, 60, 80], bends)[None]
        track = rollout_actions(speed, accel, curvature, 0.05)[0, 9::10]
        fit = CODEC.encode(track, speed)
        assert fit.ade_m < 0.25
        np.testing.assert_allclose(fit.waypoints_m, CODEC.decode(fit.actions, speed))


def test_emergency_stop_and_lane_change_fit() -> None:
    t = np.arange(1, 9) * 0.5
    stop = np.stack((np.minimum(10 * t - 3.25 * t**2, 7.69), np.zeros(8)), 1)
    stop[t > 10 / 6.5, 0] = 7.69
    assert CODEC.encode(stop, 10.0).ade_m < 0.4  # braking comes in steps of 2 m/s2
    change = np.stack((10 * t, 3.5 * (t / 4 - np.sin(2 * np.pi * t / 4) / (2 * np.pi))), 1)
    assert CODEC.encode(change, 10.0).ade_m < 0.2


def test_masked_waypoints_say_nothing() -> None:
    t = np.arange(1, 9) * 0.5
    track = np.stack((8 * t, np.zeros(8)), 1)
    spoiled = track.copy()
    spoiled[4:] = 1e6
    mask = np.arange(8) < 4
    fit = CODEC.encode(spoiled, 8.0, mask)
    assert fit.actions == CODEC.encode(track, 8.0, mask).actions
    assert fit.ade_m < 0.1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, len(CODEC) - 1), min_size=8, max_size=8), st.floats(0, 20, allow_nan=False))
def test_every_token_sequence_is_a_finite_plan_that_never_reverses(actions: list[int], speed: float) -> None:
    track = CODEC.decode(actions, speed)
    assert np.isfinite(track).all()
    steps = np.linalg.norm(np.diff(track, axis=0, prepend=np.zeros((1, 2))), axis=1)
    assert (steps <= (speed + 2.8 * 4) * 0.5 + 1.5).all()
