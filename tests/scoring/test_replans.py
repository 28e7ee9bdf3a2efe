from __future__ import annotations

import numpy as np
import pytest

from takeover.scoring.replans import RATES_PS, travelled_m, two_stage_plans
from takeover.scoring.scene import Scene
from takeover.vocabulary import EgoState


def empty(speed_mps: float, y_m: float = 0.0) -> Scene:
    return Scene(
        ego=EgoState(0.0, y_m, 0.0, speed_mps),
        agents_t_s=np.arange(0.0, 5.01, 0.1),
        agents=np.zeros((0, 51, 5)),
        agent_size_m=np.zeros((0, 2)),
        agent_kind=np.zeros(0, np.int8),
        centerline_m=np.array([[-20.0, 0.0], [200.0, 0.0]]),
    )


def plan(scene: Scene, first: float, second: float) -> np.ndarray:
    """The centre-line plan of two of the factors."""
    return two_stage_plans(scene, 30.0)[RATES_PS.index(first) * len(RATES_PS) + RATES_PS.index(second)]


def test_two_stages_of_constant_acceleration() -> None:
    (gone,) = travelled_m(10.0, np.array([[-3.0, 0.0]]), 1.0, 30.0)
    # 10 t - 1.5 t2 for one second: 4.625 and 8.5 m; then 7 m/s
    assert gone == pytest.approx([4.625, 8.5, 12.0, 15.5, 19.0, 22.5, 26.0, 29.5])


def test_a_car_that_stands_stays_until_it_is_told_to_go() -> None:
    (stops, goes) = travelled_m(2.0, np.array([[-4.0, -4.0], [-4.0, 1.0]]), 1.0, 30.0)
    assert stops == pytest.approx([0.5] * 8)  # 2 m/s at 4 m/s2: half a second, half a metre
    assert goes[:4] == pytest.approx([0.5, 0.5, 0.625, 1.0])  # from 1 s on 0.5 t2


def test_no_speed_above_the_limit() -> None:
    (gone,) = travelled_m(9.0, np.array([[2.0, 2.0]]), 1.0, 10.0)
    assert gone[:3] == pytest.approx([4.75, 9.75, 14.75])  # 10 m/s after half a second


def test_accelerations_are_in_proportion_to_speed() -> None:
    assert len(two_stage_plans(empty(10.0), 30.0)) == 49
    assert plan(empty(10.0), -0.3, 0.0)[:, 0] == pytest.approx([4.625, 8.5, 12, 15.5, 19, 22.5, 26, 29.5])
    # -0.15 at 20 m/s is -3 m/s2 as well: 20 t - 1.5 t2, then 17 m/s
    assert plan(empty(20.0), -0.15, 0.0)[[0, 1, 7], 0] == pytest.approx([9.625, 18.5, 69.5])
    # a standing car's factors are of 5 m/s: 0.2 gives 1 m/s2, 8 m in 4 s
    assert plan(empty(0.0), 0.2, 0.2)[7, 0] == pytest.approx(8.0)


def test_plans_come_back_to_the_centre_line() -> None:
    found = plan(empty(10.0, y_m=1.0), 0.0, 0.0)
    # 10 m/s and 1 m aside: over 10 x (1.2 + 0.5) = 17 m
    assert found[3:, 1] == pytest.approx([-1.0] * 5, abs=1e-6)
    assert -1.0 < found[0, 1] < 0.0


def test_beside_the_line_plan_after_plan() -> None:
    found = two_stage_plans(empty(10.0), 30.0, (0.0, -0.3), (0.0, 1.0))
    assert found.shape == (8, 8, 3)
    assert found[:4, 7, 1] == pytest.approx([0.0] * 4)
    assert found[4:, 7, 1] == pytest.approx([1.0] * 4, abs=1e-3)
    assert found[4:, 7, 0] == pytest.approx(found[:4, 7, 0])
