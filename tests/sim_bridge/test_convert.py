from __future__ import annotations

import math

import carla
import pytest

from takeover.sim_bridge import convert
from takeover.vocabulary import CameraSpec, Control


def test_pose_by_hand() -> None:
    # 3 m east, 4 m to CARLA's right, turned 90 degrees clockwise: the house sees y = -4 and yaw = -pi/2.
    where = carla.Transform(carla.Location(x=3.0, y=4.0, z=1.0), carla.Rotation(yaw=90.0))
    assert convert.pose(where) == pytest.approx((3.0, -4.0, -math.pi / 2))


@pytest.mark.parametrize("yaw_deg", [-180.0, -90.0, 0.0, 30.0, 179.0, 270.0, 540.0])
def test_yaw_is_within_half_a_turn(yaw_deg: float) -> None:
    yaw_rad = convert.pose(carla.Transform(carla.Location(), carla.Rotation(yaw=yaw_deg)))[2]
    assert -math.pi < yaw_rad <= math.pi
    assert math.cos(yaw_rad) == pytest.approx(math.cos(math.radians(yaw_deg)), abs=1e-6)
    assert math.sin(yaw_rad) == pytest.approx(-math.sin(math.radians(yaw_deg)), abs=1e-6)


@pytest.mark.parametrize(
    ("x_m", "y_m", "yaw_rad"), [(0.0, 0.0, 0.0), (-12.5, 7.25, 2.0), (100.0, -3.0, -3.1)]
)
def test_pose_round_trip(x_m: float, y_m: float, yaw_rad: float) -> None:
    assert convert.pose(convert.transform(x_m, y_m, yaw_rad)) == pytest.approx((x_m, y_m, yaw_rad), abs=1e-5)


def test_heading_agrees_with_the_library() -> None:
    where = convert.transform(0.0, 0.0, 0.7)
    assert convert.vector(where.get_forward_vector()) == pytest.approx(convert.heading_vector(0.7), abs=1e-6)


def test_rates_and_vectors_by_hand() -> None:
    assert convert.yaw_rate(carla.Vector3D(z=90.0)) == pytest.approx(-math.pi / 2)
    assert convert.vector(carla.Vector3D(x=1.0, y=2.0)) == (1.0, -2.0)
    back = convert.to_vector(1.0, -2.0)
    assert (back.x, back.y, back.z) == (1.0, 2.0, 0.0)


def test_steer_left_is_negative_in_carla() -> None:
    sent = convert.vehicle_control(Control(steer=0.25, throttle=0.5, brake=0.125))
    assert (sent.steer, sent.throttle, sent.brake) == (-0.25, 0.5, 0.125)
    assert convert.control(sent) == Control(steer=0.25, throttle=0.5, brake=0.125)
    assert math.copysign(1.0, convert.control(carla.VehicleControl()).steer) == 1.0


def test_camera_mounting() -> None:
    spec = CameraSpec(x_m=1.0, y_m=0.5, z_m=1.5, pitch_rad=math.radians(5), yaw_rad=math.radians(30))
    where = convert.camera_transform(spec)
    assert (where.location.x, where.location.y, where.location.z) == pytest.approx((1.0, -0.5, 1.5))
    assert (where.rotation.pitch, where.rotation.yaw) == pytest.approx((5.0, -30.0))
