from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeover.scoring.frames import into_ego, odometry, wrap
from takeover.vocabulary import EgoState

TURNED = EgoState(10.0, 5.0, math.pi / 2, 3.0)  # looks along +y


def test_a_point_ahead_and_one_to_the_left() -> None:
    found = into_ego([(10.0, 9.0), (8.0, 5.0)], TURNED)
    assert found == pytest.approx(np.array([(4.0, 0.0), (0.0, 2.0)]), abs=1e-12)


def test_poses_turn_with_the_frame_and_their_yaw_stays_within_half_a_turn() -> None:
    found = into_ego([[(10.0, 9.0, -math.pi + 0.1)]], TURNED)
    assert found == pytest.approx(np.array([[(4.0, 0.0, math.pi / 2 + 0.1)]]))


def test_odometry_ends_at_the_origin() -> None:
    past = [EgoState(0.0, float(y), math.pi / 2, 5.0) for y in (-6, -4, -2, 0)]
    found = odometry(past)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([(-6, 0, 0), (-4, 0, 0), (-2, 0, 0), (0, 0, 0)]), abs=1e-6)


@given(st.floats(-50.0, 50.0))
def test_wrapping_keeps_the_direction(angle_rad: float) -> None:
    found = wrap(angle_rad)
    assert -math.pi < found <= math.pi
    assert math.cos(found - angle_rad) == pytest.approx(1.0)


def test_half_a_turn_is_positive() -> None:
    assert wrap(-math.pi) == wrap(math.pi) == math.pi
