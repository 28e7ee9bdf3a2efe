"""The world of the embedded server, seen through the real client."""

from __future__ import annotations

import hashlib
import math
import queue
from collections.abc import Iterator
from typing import Any

import carla
import numpy as np
import pytest

from takeover.scoring.kinematics import EGO, pedals_to_actuators, step_bicycle
from takeover.sim_bridge.server import EmbeddedServer

CAR = "vehicle.lincoln.mkz_2020"
DT_S = 0.05


class Rig:
    """A client in synchronous mode that removes what it spawned."""

    def __init__(self, server: EmbeddedServer, town: str = "TownCurves") -> None:
        self.client = carla.Client(server.host, server.port, 1)
        self.client.set_timeout(5.0)
        self.world = self.client.load_world(town)
        settings = self.world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = True, DT_S
        self.world.apply_settings(settings)
        self.library = self.world.get_blueprint_library()
        self.points = self.world.get_map().get_spawn_points()
        self.actors: list[carla.Actor] = []

    def spawn(
        self,
        name: str,
        place: carla.Transform | None = None,
        parent: carla.Actor | None = None,
        **attributes: object,
    ) -> carla.Actor:
        blueprint = self.library.find(name)
        for key, value in attributes.items():
            blueprint.set_attribute(key, str(value))
        actor = self.world.spawn_actor(blueprint, place or carla.Transform(), attach_to=parent)
        self.actors.append(actor)
        return actor

    def ahead(self, number: int, along: float, across: float = 0.0, z: float = 0.0) -> carla.Transform:
        """Pose in front of a spawn point."""
        base = self.points[number]
        forward, right = base.get_forward_vector(), base.get_right_vector()
        place = base.location + along * forward + across * right
        place.z = z
        return carla.Transform(place, base.rotation)

    def tick(self, count: int = 1) -> carla.WorldSnapshot:
        for _ in range(count):
            self.world.tick()
        return self.world.get_snapshot()

    def close(self) -> None:
        for actor in self.actors:
            if isinstance(actor, carla.Sensor) and actor.is_listening():
                actor.stop()
        self.client.apply_batch_sync([carla.command.DestroyActor(a.id) for a in reversed(self.actors)], False)
        settings = self.world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = False, None
        self.world.apply_settings(settings)


@pytest.fixture
def rig(server: EmbeddedServer) -> Iterator[Rig]:
    rig = Rig(server)
    yield rig
    rig.close()


def speed(actor: carla.Actor) -> float:
    return actor.get_velocity().length()


def test_ticks_are_steps(rig: Rig) -> None:
    before = rig.tick()
    after = rig.tick(10)
    assert after.frame - before.frame == 10
    assert after.timestamp.elapsed_seconds - before.timestamp.elapsed_seconds == pytest.approx(0.5)
    assert after.timestamp.delta_seconds == pytest.approx(DT_S)


def test_without_synchronous_mode_the_clock_ticks(server: EmbeddedServer) -> None:
    client = carla.Client(server.host, server.port)
    client.set_timeout(5.0)
    world = client.get_world()
    frames = [world.wait_for_tick(2.0) for _ in range(4)]
    assert frames[-1].frame > frames[0].frame
    seconds = frames[-1].timestamp.elapsed_seconds - frames[0].timestamp.elapsed_seconds
    assert 0.1 < seconds < 0.6


def test_a_car_moves_as_the_house_model(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    rig.tick()
    start = ego.get_transform()
    ego.apply_control(carla.VehicleControl(throttle=0.6, steer=-0.2))
    rig.tick(40)
    state = np.array([[start.location.x, -start.location.y, -math.radians(start.rotation.yaw), 0, 0, 0]])
    for _ in range(40):
        command = pedals_to_actuators(state, 0.2, 0.6, 0.0)
        state = step_bicycle(state, command[:, 0], command[:, 1], DT_S, EGO)
    end = ego.get_transform()
    assert (end.location.x, -end.location.y) == pytest.approx((state[0, 0], state[0, 1]), abs=1e-3)
    assert math.remainder(math.radians(end.rotation.yaw) + state[0, 2], math.tau) == pytest.approx(
        0, abs=1e-4
    )
    assert ego.get_angular_velocity().z < 0.0  # steered left: counter-clockwise is negative in CARLA
    assert ego.get_control().throttle == pytest.approx(0.6)


def test_braking_stops_and_holds(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    ego.set_target_velocity(10.0 * rig.points[0].get_forward_vector())
    rig.tick()
    assert speed(ego) == pytest.approx(10.0, abs=0.1)
    ego.apply_control(carla.VehicleControl(brake=1.0))
    rig.tick(60)
    assert speed(ego) == 0.0
    assert rig.points[0].location.distance(ego.get_location()) < 12.0


def test_a_blocked_place_and_bodies_hold(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    rig.tick()
    assert rig.world.try_spawn_actor(rig.library.find(CAR), ego.get_transform()) is None
    barrier = rig.spawn("static.prop.streetbarrier", rig.ahead(0, 15.0))
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sensor = rig.spawn("sensor.other.collision", parent=ego)
    sensor.listen(events.put)
    ego.set_target_velocity(20.0 * rig.points[0].get_forward_vector())
    ego.apply_control(carla.VehicleControl(throttle=1.0))
    gap = []
    for _ in range(40):
        rig.tick()
        gap.append(ego.get_location().distance(barrier.get_location()))
    assert min(gap) > 2.45  # half of the car's length: never inside
    assert gap[-1] < 4.0
    event = events.get(timeout=2.0)
    assert event.other_actor.id == barrier.id
    assert event.actor.id == ego.id
    assert event.normal_impulse.length() > 1e4


def test_two_cars_share_the_impact(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    other = rig.spawn("vehicle.tesla.model3", rig.ahead(0, 12.0))
    ego.set_target_velocity(8.0 * rig.points[0].get_forward_vector())
    rig.tick(40)
    assert 0.0 < speed(other) < 8.0
    assert speed(ego) <= speed(other) + 0.5


def test_a_walker_walks_and_stops_a_car(rig: Rig) -> None:
    walker = rig.spawn("walker.pedestrian.0004", rig.ahead(0, 10.0, 3.0, z=1.0))
    rig.tick()
    assert walker.get_location().z == pytest.approx(0.93, abs=0.01)
    left = -1.0 * rig.points[0].get_right_vector()
    walker.apply_control(carla.WalkerControl(direction=left, speed=1.5))
    rig.tick(20)
    assert speed(walker) == pytest.approx(1.5, abs=1e-3)
    assert walker.get_location().distance(rig.ahead(0, 10.0, 1.5, z=0.93).location) < 0.05
    ego = rig.spawn(CAR, rig.points[0])
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    rig.spawn("sensor.other.collision", parent=ego).listen(events.put)
    ego.set_target_velocity(10.0 * rig.points[0].get_forward_vector())
    rig.tick(25)
    assert events.get(timeout=2.0).other_actor.type_id == "walker.pedestrian.0004"
    assert speed(ego) == 0.0


def test_transforms_and_held_actors(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    target = rig.ahead(0, 30.0)
    ego.set_transform(target)
    rig.tick()
    assert ego.get_location().distance(target.location) < 0.01
    ego.set_simulate_physics(False)
    ego.apply_control(carla.VehicleControl(throttle=1.0))
    rig.tick(10)
    assert ego.get_location().distance(target.location) < 0.01


def test_children_follow_and_go_with_their_parent(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    mount = carla.Transform(carla.Location(1.0, 0.5, 1.6), carla.Rotation(pitch=-10.0, yaw=30.0))
    camera = rig.spawn("sensor.camera.rgb", mount, parent=ego)
    rig.tick()
    place = ego.get_transform().transform(carla.Location(1.0, 0.5, 1.6))
    assert camera.get_location().distance(place) < 1e-3
    assert camera.get_transform().rotation.pitch == pytest.approx(-10.0, abs=1e-3)
    turn = camera.get_transform().rotation.yaw - ego.get_transform().rotation.yaw
    assert math.remainder(turn - 30.0, 360.0) == pytest.approx(0.0, abs=1e-3)
    assert camera.parent.id == ego.id
    ego.destroy()
    rig.tick()
    assert camera.id not in [actor.id for actor in rig.world.get_actors()]


def test_ids_are_never_used_twice(rig: Rig) -> None:
    first = rig.spawn(CAR, rig.points[0])
    rig.tick()
    assert first.destroy()
    second = rig.spawn(CAR, rig.points[0])
    assert second.id > first.id
    rig.world = rig.client.reload_world(False)
    third = rig.spawn(CAR, rig.points[0])
    assert third.id > second.id


def test_batches_answer_one_by_one(rig: Rig) -> None:
    blueprint = rig.library.find(CAR)
    spawn = carla.command.SpawnActor
    answers = rig.client.apply_batch_sync(
        [
            spawn(blueprint, rig.points[0]).then(
                carla.command.ApplyVehicleControl(
                    carla.command.FutureActor, carla.VehicleControl(throttle=1.0)
                )
            ),
            spawn(blueprint, rig.points[0]),
            carla.command.DestroyActor(123456),
        ],
        True,
    )
    assert [bool(a.error) for a in answers] == [False, True, True]
    assert "collision" in answers[1].error
    rig.tick(10)
    moving = rig.world.get_actor(answers[0].actor_id)
    rig.actors.append(moving)
    assert speed(moving) > 0.5


def test_vehicle_lights_and_physics_control(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    lights = carla.VehicleLightState(carla.VehicleLightState.LeftBlinker | carla.VehicleLightState.Position)
    ego.set_light_state(lights)
    rig.tick()
    assert int(ego.get_light_state()) == int(lights)
    physics = ego.get_physics_control()
    assert physics.mass == pytest.approx(1800.0)
    assert physics.wheels[0].max_steer_angle == pytest.approx(math.degrees(EGO.max_steer_rad), abs=1e-3)
    physics.mass = 2000.0
    ego.apply_physics_control(physics)
    assert ego.get_physics_control().mass == pytest.approx(2000.0)


def test_weather_is_kept(rig: Rig) -> None:
    rig.world.set_weather(carla.WeatherParameters.HardRainNoon)
    rig.tick()
    found = rig.world.get_weather()
    assert found.precipitation == pytest.approx(carla.WeatherParameters.HardRainNoon.precipitation)
    assert found.sun_altitude_angle == pytest.approx(carla.WeatherParameters.HardRainNoon.sun_altitude_angle)


def test_traffic_lights(server: EmbeddedServer) -> None:
    rig = Rig(server, "TownCross")
    try:
        rig.tick()
        lights = rig.world.get_actors().filter("traffic.traffic_light*")
        assert len(lights) == 4
        states = [str(light.state) for light in lights]
        assert sorted(states) == ["Green", "Green", "Red", "Red"]
        light = lights[0]
        lanes = light.get_affected_lane_waypoints()
        assert lanes
        opposite = next(one for one in lights if one.id != light.id and one.state == light.state)
        assert {one.id for one in light.get_group_traffic_lights()} == {one.id for one in lights}
        rig.tick(210)
        assert sorted(str(one.state) for one in lights) == ["Red", "Red", "Yellow", "Yellow"]
        rig.tick(100)
        assert [str(one.state) for one in lights] == [{"Red": "Green", "Green": "Red"}[s] for s in states]
        assert light.state == opposite.state
        light.set_state(carla.TrafficLightState.Red)
        light.freeze(True)
        rig.tick(400)
        assert light.state == carla.TrafficLightState.Red
        assert light.is_frozen()
        # a car before the stop line stands at its light
        stop = lanes[0].previous(4.0)[0].transform
        stop.location.z = 0.3
        ego = rig.spawn(CAR, stop)
        rig.tick()
        assert ego.is_at_traffic_light()
        assert ego.get_traffic_light().id == light.id
        assert ego.get_traffic_light_state() == carla.TrafficLightState.Red
    finally:
        rig.close()


def test_the_same_commands_give_the_same_world(server: EmbeddedServer) -> None:
    def digest() -> str:
        rig = Rig(server, "TownCross")
        rng, state = np.random.default_rng(7), hashlib.sha256()
        cars = [
            rig.spawn(name, rig.points[9 * i])
            for i, name in enumerate(
                (CAR, "vehicle.tesla.model3", "vehicle.carlamotors.firetruck", "vehicle.yamaha.yzf", CAR)
            )
        ]
        walker = rig.spawn("walker.pedestrian.0001", rig.ahead(0, 12.0, z=1.0))
        for _ in range(500):
            commands = []
            for car in cars:
                throttle, steer, brake = rng.random(), rng.uniform(-0.4, 0.4), rng.random() * 0.3
                control = carla.VehicleControl(throttle=throttle, steer=steer, brake=brake)
                commands.append(carla.command.ApplyVehicleControl(car.id, control))
            walk = carla.WalkerControl(carla.Vector3D(rng.uniform(-1, 1), rng.uniform(-1, 1), 0.0), 1.3)
            commands.append(carla.command.ApplyWalkerControl(walker.id, walk))
            rig.client.apply_batch(commands)
            for seen in sorted(rig.tick(), key=lambda one: one.id):
                where, velocity = seen.get_transform(), seen.get_velocity()
                state.update(
                    repr((where.location.x, where.location.y, where.rotation.yaw, velocity.x)).encode()
                )
            state.update(
                repr([str(one.state) for one in rig.world.get_actors().filter("traffic.*")]).encode()
            )
        rig.close()
        return state.hexdigest()

    assert digest() == digest()
