"""Labels of a picture against projections worked out by hand."""

import numpy as np
import pytest

from takeover.collect.grounding import cells
from takeover.vocabulary import ActorKind, Agent, CameraSpec, EgoState

CAMERA = (
    CameraSpec()
)  # 192 x 96 px, 76 degrees: focal length 122.9 px; 1.2 m ahead of the ego's centre, 1.6 m high


def walker(x_m: float, y_m: float) -> Agent:
    return Agent(7, ActorKind.WALKER, x_m, y_m, 0.0, 0.0, 0.5, 0.5)


def test_a_walker_straight_ahead_stands_on_the_middle_line() -> None:
    present, range_m = cells([walker(20.0, 0.0)], EgoState(0.0, 0.0, 0.0, 8.0), CAMERA, 32)
    # x = 96 +- 1.6 px, y from 46.7 to 58.7 px: second row, third and fourth of six columns, half of it in each
    assert np.argwhere(present).tolist() == [[8, 1], [9, 1]]
    assert range_m[8, 1] == pytest.approx(20.0)


def test_left_is_left_and_turns_with_the_car() -> None:
    left, _ = cells([walker(20.0, 6.0)], EgoState(0.0, 0.0, 0.0, 8.0), CAMERA, 32)
    # 96 - 122.9 * 6 / 18.8 = 56.8 px: second column
    assert np.argwhere(left).tolist() == [[7, 1]]
    ahead, _ = cells([walker(0.0, 20.0)], EgoState(0.0, 0.0, np.pi / 2, 8.0), CAMERA, 32)
    assert np.argwhere(ahead).tolist() == [[8, 1], [9, 1]]


def test_what_is_behind_or_beside_the_picture_is_not_in_it() -> None:
    present, _ = cells([walker(-10.0, 0.0), walker(5.0, 20.0)], EgoState(0.0, 0.0, 0.0, 8.0), CAMERA, 32)
    assert not present.any()


def test_the_nearest_gives_the_range_and_a_near_car_fills_several_cells() -> None:
    cars = [Agent(k, ActorKind.VEHICLE, x_m, 0.0, 0.0, 0.0, 4.5, 2.0) for k, x_m in enumerate((30.0, 9.0))]
    present, range_m = cells(cars, EgoState(0.0, 0.0, 0.0, 8.0), CAMERA, 32)
    assert present[:, 0].sum() >= 4
    assert range_m[8, 0] == pytest.approx(9.0)
