"""Impulses, forces, turns and constant speeds, by hand-computed values and through the real client."""

from __future__ import annotations

import math
from collections.abc import Iterator

import carla
import pytest

from takeover.sim_bridge.server import EmbeddedServer

DT_S = 0.05
MASS_KG = 1800.0  # of the car


class Road:
    """A car on a street, a client that ticks."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.client = carla.Client(server.host, server.port, 1)
        self.client.set_timeout(5.0)
        self.world = self.client.load_world("TownCurves")
        self.world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=DT_S))
        self.library = self.world.get_blueprint_library()
        self.point = self.world.get_map().get_spawn_points()[0]
        self.ahead, self.right = self.point.get_forward_vector(), self.point.get_right_vector()
        self.car = self.world.spawn_actor(self.library.find("vehicle.lincoln.mkz_2020"), self.point)
        self.world.tick()

    def speed_after(self, ticks: int) -> float:
        for _ in range(ticks):
            self.world.tick()
        return float(self.car.get_velocity().length())


@pytest.fixture
def road(server: EmbeddedServer) -> Iterator[Road]:
    road = Road(server)
    yield road
    road.car.destroy()
    road.world.apply_settings(carla.WorldSettings(synchronous_mode=False))


def test_an_impulse_is_mass_times_speed(road: Road) -> None:
    road.car.add_impulse(5.0 * MASS_KG * road.ahead)
    assert road.speed_after(1) == pytest.approx(5.0, abs=0.02)  # less 0.12 m/s2 of rolling for one tick
    road.car.add_impulse(20.0 * MASS_KG * road.right)  # across: the tyres take it
    assert road.speed_after(1) == pytest.approx(5.0, abs=0.03)
    place = road.car.get_location()
    road.client.apply_batch_sync([carla.command.ApplyImpulse(road.car.id, -5.0 * MASS_KG * road.ahead)], True)
    assert road.speed_after(1) < 0.1
    assert place.distance(road.car.get_location()) < 0.1


def test_a_force_acts_for_one_step(road: Road) -> None:
    road.car.set_target_velocity(5.0 * road.ahead)
    road.speed_after(1)
    before = road.car.get_velocity().length()
    road.car.add_force(36_000.0 * road.ahead)  # 20 m/s2 on 1800 kg, for 0.05 s: 1 m/s
    assert road.speed_after(1) - before == pytest.approx(1.0, abs=0.02)
    assert road.speed_after(1) - before == pytest.approx(1.0, abs=0.03)


def test_a_turn_fades(road: Road) -> None:
    road.car.set_target_velocity(5.0 * road.ahead)
    road.speed_after(1)
    road.car.set_target_angular_velocity(carla.Vector3D(0.0, 0.0, 40.0))
    yaw = road.car.get_transform().rotation.yaw
    road.world.tick()
    turned = math.remainder(road.car.get_transform().rotation.yaw - yaw, 360.0)
    assert turned == pytest.approx(40.0 * DT_S, abs=0.01)
    assert road.car.get_angular_velocity().z == pytest.approx(40.0, abs=0.2)
    for _ in range(40):
        road.world.tick()
    # a geometric series: 2 degrees for each tick, times exp(-0.05 / 0.2)
    whole = math.remainder(road.car.get_transform().rotation.yaw - yaw, 360.0)
    assert whole == pytest.approx(2.0 / (1.0 - math.exp(-0.25)), abs=0.1)
    assert road.car.get_angular_velocity().z == pytest.approx(0.0, abs=0.1)
    road.car.set_target_angular_velocity(carla.Vector3D(0.0, 0.0, 40.0))
    road.car.set_target_angular_velocity(carla.Vector3D())
    yaw = road.car.get_transform().rotation.yaw
    road.world.tick()
    assert road.car.get_transform().rotation.yaw == pytest.approx(yaw, abs=1e-3)


def test_a_constant_velocity_holds_and_steers(road: Road) -> None:
    road.car.enable_constant_velocity(carla.Vector3D(8.0, 0.0, 0.0))
    road.car.apply_control(carla.VehicleControl(brake=1.0, steer=0.1))
    yaw = road.car.get_transform().rotation.yaw
    for _ in range(20):
        road.world.tick()
        assert road.car.get_velocity().length() == pytest.approx(8.0, abs=0.2)
    assert math.remainder(road.car.get_transform().rotation.yaw - yaw, 360.0) > 3.0
    road.car.disable_constant_velocity()
    assert road.speed_after(60) == 0.0


def test_what_physics_does_not_move_cannot_be_pushed(road: Road) -> None:
    road.car.set_simulate_physics(False)
    answer = road.client.apply_batch_sync([carla.command.ApplyImpulse(road.car.id, road.ahead)], False)[0]
    assert "not moved by physics" in answer.error
    road.car.set_simulate_physics(True)
    for command in (carla.command.ApplyTorque, carla.command.ApplyAngularImpulse):
        assert (
            "not implemented"
            in road.client.apply_batch_sync([command(road.car.id, road.ahead)], False)[0].error
        )


def test_telemetry_tells_of_the_drive(road: Road) -> None:
    road.car.apply_control(carla.VehicleControl(throttle=0.5, steer=0.25))
    speed = road.speed_after(40)
    found = road.car.get_telemetry_data()
    assert found.speed == pytest.approx(speed, abs=0.1)  # of the rear axle
    assert (found.throttle, found.steer, found.brake) == pytest.approx((0.5, 0.25, 0.0))
    assert len(found.wheels) == 4
    assert found.wheels[0].omega == pytest.approx(found.speed / 0.35, rel=1e-4)
    # the engine turns with the wheels through the gear and the final ratio
    ratio = {1: 4.25, 2: 2.5, 3: 1.6, 4: 1.2, 5: 0.97}[found.gear] * 4.0
    assert found.engine_rpm == pytest.approx(
        max(found.wheels[0].omega * ratio * 30.0 / math.pi, 800.0), rel=1e-4
    )
    front = road.car.get_wheel_steer_angle(carla.VehicleWheelLocation.FL_Wheel)
    assert front == pytest.approx(math.degrees(0.25 * 0.6), abs=0.05)  # a quarter of 0.6 rad, to the right
    assert road.car.get_wheel_steer_angle(carla.VehicleWheelLocation.BL_Wheel) == 0.0


def test_imu_gravity(road: Road) -> None:
    assert road.world.get_imui_sensor_gravity() == pytest.approx(9.81)
    road.world.set_imui_sensor_gravity(1.62)
    assert road.world.get_imui_sensor_gravity() == pytest.approx(1.62)
