"""Projection against pixels computed by hand, and against the renderer that draws the pictures."""

import math

import numpy as np
import pytest

from takeover.collect.cockpit.overlay import driver_path, from_now, project, ribbon
from takeover.collect.cockpit.views import CHASE, HOOD, letterbox, policy_view
from takeover.vocabulary import CameraSpec, EgoState

# 200 x 100 at 90 degrees: focal length 100 px, middle (100, 50); 1 m above the ego's origin.
LEVEL = CameraSpec("level", 200, 100, fov_deg=90.0, x_m=0.0, z_m=1.0)


@pytest.mark.parametrize(
    ("point", "column", "row", "depth"),
    [
        ((10.0, 0.0, 1.0), 100.0, 50.0, 10.0),  # straight ahead at the camera's height
        ((10.0, 0.0, 0.0), 100.0, 60.0, 10.0),  # 1 m below at 10 m: 100 * 1 / 10 px down
        ((10.0, 2.0, 0.0), 80.0, 60.0, 10.0),  # 2 m to the left: 20 px left
        ((5.0, -1.0, 2.0), 120.0, 30.0, 5.0),  # to the right and above
    ],
)
def test_pixels_by_hand(point: tuple[float, float, float], column: float, row: float, depth: float) -> None:
    pixels, found = project(point, LEVEL)
    assert pixels == pytest.approx([column, row])
    assert found == pytest.approx(depth)


def test_a_pitched_camera_sees_the_road_in_its_middle() -> None:
    pitched = CameraSpec("down", 200, 100, fov_deg=90.0, x_m=-2.0, z_m=2.0, pitch_rad=-math.pi / 4)
    pixels, depth = project((0.0, 0.0, 0.0), pitched)  # 2 m ahead, 2 m below: on the axis
    assert pixels == pytest.approx([100.0, 50.0])
    assert depth == pytest.approx(2.0 * math.sqrt(2.0))


def test_a_camera_turned_left_moves_the_world_to_the_right() -> None:
    turned = CameraSpec("left", 200, 100, fov_deg=90.0, x_m=0.0, z_m=0.0, yaw_rad=math.radians(45.0))
    pixels, _ = project((10.0, 0.0, 0.0), turned)
    assert pixels[0] == pytest.approx(200.0)


def test_a_plan_is_seen_from_where_the_car_is_now() -> None:
    plan = np.stack([np.arange(1.0, 9.0) * 4.0, np.zeros(8)], -1)
    made = EgoState(10.0, 5.0, math.pi / 2, 8.0)  # heading north
    now = EgoState(10.0, 13.0, math.pi / 2, 8.0)  # 8 m on, a second later
    left = from_now(plan, made, now, 1.0)
    assert left[:, 0] == pytest.approx(np.arange(1.0, 7.0) * 4.0)
    assert left[:, 1] == pytest.approx(np.zeros(6), abs=1e-5)


def test_the_drivers_path_is_the_circle_of_the_bicycle() -> None:
    straight = driver_path(10.0, 0.0)
    assert straight[:, 0] == pytest.approx(np.arange(5.0, 31.0, 5.0))
    assert straight[:, 1] == pytest.approx(np.zeros(6))
    left = driver_path(6.0, 0.2)
    radius = 2.85 / math.tan(0.2)
    distance = np.hypot(left[:, 0] + 1.425, left[:, 1] - radius)  # of the box centre from the turning centre
    assert distance == pytest.approx(np.full(6, math.hypot(radius, 1.425)), rel=1e-5)
    assert (np.diff(left[:, 1]) > 0.0).all()


def test_a_ribbon_has_the_width_of_the_car_and_narrows_with_distance() -> None:
    strip = ribbon(np.array([[10.0, 0.0], [20.0, 0.0], [40.0, 0.0]]), LEVEL, half_width_m=1.0)
    assert strip is not None
    widths = strip[:, 1, 0] - strip[:, 0, 0]
    assert widths[-1] == pytest.approx(2.0 * 100.0 / 40.0)
    assert (np.diff(widths) < 0.0).all()
    assert strip[:, :, 0].mean(axis=1) == pytest.approx(np.full(len(strip), 100.0))


@pytest.mark.parametrize("camera", [CHASE, HOOD, policy_view(CameraSpec())])
def test_a_ribbon_lies_in_the_picture_for_every_view(camera: CameraSpec) -> None:
    turn = np.stack([np.arange(1.0, 9.0) * 4.0, np.arange(1.0, 9.0) ** 2 * 0.1], -1)
    strip = ribbon(turn, camera)
    assert strip is not None
    far = strip[-1].mean(axis=0)
    assert 0.0 < far[0] < 0.5 * camera.width_px  # the plan bends to the left
    assert 0.3 * camera.height_px < far[1] < camera.height_px


def test_a_car_that_stands_has_no_ribbon() -> None:
    assert ribbon(np.zeros((8, 2)), CHASE) is None
    assert ribbon(np.zeros((0, 2)), CHASE) is None


def test_the_policys_picture_keeps_its_angle_in_the_window() -> None:
    spec = CameraSpec()  # 192 x 96: twice as wide as high
    assert letterbox(spec) == (40, 680)
    whole = policy_view(spec)
    point = (30.0, 4.0, 0.5)
    small, _ = project(point, spec)
    large, _ = project(point, whole)
    assert large == pytest.approx([small[0] * 1280 / 192, 40 + small[1] * 640 / 96])
