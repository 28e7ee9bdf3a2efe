from __future__ import annotations

import math

import numpy as np
import pytest

from takeover.scoring.caution import caution, time_lost_s
from takeover.scoring.comfort import comfort_share
from takeover.scoring.driving_score import PENALTIES, driving_score, infraction_score, is_success
from takeover.vocabulary import Infraction


def test_driving_score_multiplies_penalties() -> None:
    events = [Infraction("collision_pedestrian", 3), Infraction("red_light", 5)]
    assert infraction_score(events) == pytest.approx(0.5 * 0.7)
    assert driving_score(80.0, events) == pytest.approx(28.0)
    assert driving_score(80.0, [], outside_share=0.25) == pytest.approx(60.0)
    assert (PENALTIES["collision_vehicle"], PENALTIES["collision_static"], PENALTIES["stop_sign"]) == (
        0.6,
        0.65,
        0.8,
    )


def test_unknown_infraction_is_refused() -> None:
    with pytest.raises(KeyError):
        driving_score(100.0, [Infraction("jaywalking", 1)])


def test_success_needs_the_whole_route_and_no_infraction() -> None:
    assert is_success(100.0, [])
    assert not is_success(99.9, [])
    assert not is_success(100.0, [Infraction("outside_lane", 4)])


def test_phantom_brakes_need_force_duration_and_no_cause() -> None:
    accel = np.zeros(100)
    accel[10:20] = -3.0  # phantom
    accel[30:40] = -3.0  # a car is near
    accel[50:52] = -3.0  # too short
    accel[60:70] = -1.9  # too soft
    accel[80:90] = -3.0  # red light
    ttc = np.full(100, math.inf)
    ttc[35] = 4.9
    red = np.zeros(100, bool)
    red[85] = True
    found = caution(accel, np.full(100, 5.0), ttc, red, 0.05)
    assert found.phantom_brakes == 1
    assert found.standstill_s == 0.0


def test_standstill_leaves_out_red_lights() -> None:
    speed = np.zeros(100)
    speed[:40] = 5.0
    red = np.zeros(100, bool)
    red[40:60] = True
    found = caution(np.zeros(100), speed, np.full(100, math.inf), red, 0.05)
    assert found.standstill_s == pytest.approx(2.0)
    assert found.standstill_share == pytest.approx(0.4)


def test_time_lost_counts_common_successes() -> None:
    assert time_lost_s([10.0, 12.0, 9.0], [11.0, 30.0, 9.5], [True, False, True]) == pytest.approx(0.75)
    assert time_lost_s([10.0], [11.0], [False]) == 0.0


def test_comfort_is_a_share_of_pieces() -> None:
    calm = np.zeros(160)  # 8 s at 20 Hz: four pieces
    assert comfort_share(calm, calm, calm, 0.05) == 1.0
    rough = calm.copy()
    rough[60:70] = 6.0  # within the second piece
    assert comfort_share(calm, rough, calm, 0.05) == pytest.approx(0.75)
    assert math.isnan(comfort_share(calm[:30], calm[:30], calm[:30], 0.05))
