from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeover.scoring.boxes import corners, overlaps
from takeover.scoring.kinematics import EGO
from takeover.scoring.ttc import min_ttc_s, time_to_collision, ttc_along
from takeover.vocabulary import ActorKind, Agent, EgoState

HERE = EgoState(0.0, 0.0, 0.0, 10.0)


def car(x: float, y: float, vx: float = 0.0, vy: float = 0.0, yaw: float = 0.0, ident: int = 1) -> Agent:
    return Agent(ident, ActorKind.VEHICLE, x, y, yaw, math.hypot(vx, vy), 4.0, 2.0, "", vx, vy)


def test_boxes_that_touch_overlap() -> None:
    box = (0.0, 0.0, 0.0, 4.0, 2.0)
    others = [(4.0, 0.0, 0.0, 4.0, 2.0), (4.01, 0.0, 0.0, 4.0, 2.0), (2.6, 2.4, math.pi / 4, 4.0, 2.0)]
    assert overlaps(box, others).tolist() == [True, False, True]
    assert overlaps(box, np.zeros((0, 5))).tolist() == []


def test_corners_go_round_from_front_left() -> None:
    turned = corners((1.0, 2.0, math.pi / 2, 4.0, 2.0))
    assert turned == pytest.approx(np.array([[0.0, 4.0], [2.0, 4.0], [2.0, 0.0], [0.0, 0.0]]))


boxes = st.tuples(
    st.floats(-6, 6), st.floats(-6, 6), st.floats(-3.2, 3.2), st.floats(0.3, 6), st.floats(0.3, 3)
)


@settings(max_examples=100, deadline=None)
@given(boxes, boxes)
def test_overlap_agrees_with_sampling_and_is_symmetric(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    hit = bool(overlaps(a, [b])[0])
    assert hit == bool(overlaps(b, [a])[0])
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, 25), np.linspace(-0.5, 0.5, 25))
    x = a[0] + u * a[3] * math.cos(a[2]) - v * a[4] * math.sin(a[2]) - b[0]
    y = a[1] + u * a[3] * math.sin(a[2]) + v * a[4] * math.cos(a[2]) - b[1]
    along, left = x * math.cos(b[2]) + y * math.sin(b[2]), y * math.cos(b[2]) - x * math.sin(b[2])
    if ((np.abs(along) <= b[3] / 2) & (np.abs(left) <= b[4] / 2)).any():
        assert hit


def test_time_to_a_standing_car_and_to_a_slower_one() -> None:
    gap = 30.0 - 2.0 - 0.5 * EGO.length_m
    assert time_to_collision(HERE, [car(30.0, 0.0)]) == pytest.approx(gap / 10.0)
    assert time_to_collision(HERE, [car(30.0, 0.0, 4.0)], 10.0) == pytest.approx(gap / 6.0)
    assert math.isinf(time_to_collision(HERE, [car(30.0, 0.0, 12.0)]))
    assert math.isinf(time_to_collision(HERE, [car(30.0, 0.0, 4.0)], 2.0))  # beyond the horizon
    assert math.isinf(time_to_collision(HERE, []))


def test_overlap_now_is_zero_and_a_passing_lane_is_none() -> None:
    assert time_to_collision(HERE, [car(1.0, 0.5)]) == 0.0
    assert math.isinf(time_to_collision(HERE, [car(30.0, 3.5)]))


def test_crossing_walker_is_met_while_it_is_in_the_way() -> None:
    walker = Agent(2, ActorKind.WALKER, 20.0, 3.0, -math.pi / 2, 1.5, 0.5, 0.5, "", 0.0, -1.5)
    found = time_to_collision(HERE, [walker])
    assert found == pytest.approx((20.0 - 0.25 - 2.45) / 10.0)  # it is already before the car's front by then
    early = Agent(2, ActorKind.WALKER, 20.0, 3.0, -math.pi / 2, 9.0, 0.5, 0.5, "", 0.0, -9.0)
    assert math.isinf(time_to_collision(HERE, [early]))


def test_earliest_of_many() -> None:
    agents = [car(40.0, 0.0), car(30.0, 0.0, ident=2), car(-20.0, 0.0, 30.0, ident=3)]
    assert time_to_collision(HERE, agents) == pytest.approx((20.0 - 2.0 - 2.45) / 20.0)


@settings(max_examples=60, deadline=None)
@given(st.floats(-20, 30), st.floats(-10, 10), st.floats(-12, 12), st.floats(-12, 12), st.floats(-3, 3))
def test_ttc_equals_stepping_in_time(x: float, y: float, vx: float, vy: float, yaw: float) -> None:
    found = time_to_collision(HERE, [car(x, y, vx, vy, yaw)])
    times = np.arange(0.0, 4.0, 0.01)
    mine = [(10.0 * t, 0.0, 0.0, EGO.length_m, EGO.width_m) for t in times]
    hits = [
        bool(overlaps(m, [(x + vx * t, y + vy * t, yaw, 4.0, 2.0)])[0])
        for m, t in zip(mine, times, strict=True)
    ]
    if any(hits):
        assert found == pytest.approx(times[hits.index(True)], abs=0.011)


def test_ttc_along_a_track_ignores_the_absent() -> None:
    track = np.array([(10.0 * t, 0.0, 0.0, 10.0) for t in (0.0, 1.0)])
    agents = np.array([[(30.0, 0.0, 0.0, 0.0, 0.0)] * 2, [(np.nan,) * 5, (12.0, 0.0, 0.0, 0.0, 0.0)]])
    sizes = np.array([(4.0, 2.0), (4.0, 2.0)])
    gap = 30.0 - 2.0 - 2.45
    assert ttc_along(track, agents, sizes) == pytest.approx([gap / 10.0, 0.0])
    assert min_ttc_s(track, agents[:1], sizes[:1]) == pytest.approx(gap / 10.0 - 1.0)
    assert math.isinf(min_ttc_s(track, np.zeros((0, 2, 5)), np.zeros((0, 2))))


def test_ten_agents_fit_a_tick() -> None:
    agents = [car(30.0 + i, 0.0, ident=i) for i in range(10)]

    def took() -> float:
        start = time.perf_counter()
        time_to_collision(HERE, agents)
        return time.perf_counter() - start

    assert min(took() for _ in range(200)) < 60e-6  # 5 us on a busy core
