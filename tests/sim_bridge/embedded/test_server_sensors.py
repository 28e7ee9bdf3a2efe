"""Cameras and the other sensors of the embedded server, seen through the real client."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import carla
import numpy as np
import pytest
from numpy.typing import NDArray

from takeover.sim_bridge.server import EmbeddedServer

from .test_server_world import CAR, Rig

FRONT = carla.Transform(carla.Location(x=1.2, z=1.6))
SIZE = {"image_size_x": 192, "image_size_y": 96, "fov": 76.0}


@pytest.fixture
def rig(server: EmbeddedServer) -> Iterator[Rig]:
    rig = Rig(server)
    yield rig
    rig.close()


class Ear:
    """Images of a camera on a car."""

    def __init__(
        self,
        rig: Rig,
        kind: str,
        parent: carla.Actor | None,
        where: carla.Transform = FRONT,
        **attributes: object,
    ) -> None:
        self.sensor = rig.spawn(f"sensor.camera.{kind}", where, parent=parent, **(SIZE | attributes))
        self.images: queue.SimpleQueue[carla.Image] = queue.SimpleQueue()
        self.sensor.listen(self.images.put)

    def next(self) -> tuple[carla.Image, NDArray[np.uint8]]:
        image = self.images.get(timeout=3.0)
        return image, np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)


def test_all_cameras_see_the_same_moment(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    lead = rig.spawn("vehicle.audi.tt", rig.ahead(0, 14.0), color="255,0,0")
    kinds = ("rgb", "instance_segmentation", "semantic_segmentation", "depth")
    rgb, instance, semantic, depth = [Ear(rig, kind, ego) for kind in kinds]
    frame = rig.tick().frame
    image, pixels = rgb.next()
    assert (image.frame, image.width, image.height, image.fov) == (frame, 192, 96, 76.0)
    assert (
        image.transform.location.distance(ego.get_transform().transform(carla.Location(x=1.2, z=1.6))) < 1e-3
    )
    _, ids = instance.next()
    mask = ids[..., 1].astype(int) + 256 * ids[..., 0].astype(int) == lead.id & 0xFFFF
    assert 60 < mask.sum() < 2000
    assert not (ids[..., 1].astype(int) + 256 * ids[..., 0].astype(int) == ego.id & 0xFFFF).any()
    red = pixels[mask].astype(int)
    assert (red[:, 2] > red[:, 0] + 40).mean() > 0.3
    _, tags = semantic.next()
    assert set(np.unique(tags[mask][:, 2])) == {14}
    assert (ids[..., 2] == tags[..., 2]).all()
    _, code = depth.next()
    metres = (code[..., 2] + 256.0 * code[..., 1] + 65536.0 * code[..., 0]) / (256**3 - 1) * 1000.0
    assert np.median(metres[mask]) == pytest.approx(14.0 - 2.1 - 1.2, abs=1.0)


def test_a_camera_keeps_its_period(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    ears = [Ear(rig, kind, ego, sensor_tick=0.5) for kind in ("rgb", "instance_segmentation")]
    first = rig.tick().frame
    rig.tick(30)
    for ear in ears:
        assert [ear.next()[0].frame - first for _ in range(4)] == [0, 10, 20, 30]
        assert ear.images.empty()


def test_brake_lamps_light_when_braking(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    lead = rig.spawn("vehicle.audi.tt", rig.ahead(0, 9.0), color="20,20,24")
    ear = Ear(rig, "rgb", ego)
    redness = []
    for brake in (0.0, 1.0):
        lead.apply_control(carla.VehicleControl(brake=brake))
        rig.tick()
        _, pixels = ear.next()
        pixels = pixels.astype(int)
        redness.append(((pixels[..., 2] > 200) & (pixels[..., 1] < 120)).sum())
    assert redness[1] > redness[0] + 4


def test_a_following_camera_sees_its_own_car(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    behind = carla.Transform(carla.Location(x=-8.0, z=4.0), carla.Rotation(pitch=-15.0))
    ear = Ear(rig, "instance_segmentation", ego, where=behind)
    rig.tick()
    _, ids = ear.next()
    assert (ids[..., 1] == ego.id & 0xFF).sum() > 200


def test_a_stopped_camera_sends_nothing_and_can_go(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    ear = Ear(rig, "rgb", ego)
    rig.tick(2)
    ear.next(), ear.next()
    ear.sensor.stop()
    rig.tick(3)
    assert ear.images.empty()


def test_place_and_inertia(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for kind in ("gnss", "imu"):
        rig.spawn(f"sensor.other.{kind}", parent=ego).listen(found.put)
    ego.apply_control(carla.VehicleControl(throttle=1.0))
    rig.tick(10)
    events = [found.get(timeout=2.0) for _ in range(20)]
    place = next(e for e in reversed(events) if isinstance(e, carla.GnssMeasurement))
    wanted = rig.world.get_map().transform_to_geolocation(ego.get_location())
    assert (place.latitude, place.longitude) == pytest.approx((wanted.latitude, wanted.longitude), abs=1e-7)
    inertia = max((e for e in events if isinstance(e, carla.IMUMeasurement)), key=lambda e: e.frame)
    assert inertia.accelerometer.x > 1.0
    assert inertia.accelerometer.z == pytest.approx(9.81)


def test_lights_are_drawn(server: EmbeddedServer) -> None:
    rig = Rig(server, "TownCross")
    try:
        rig.tick()
        light = rig.world.get_actors().filter("traffic.traffic_light*")[0]
        stop = light.get_stop_waypoints()[0].previous(12.0)[0].transform
        stop.location.z = 1.6
        ear = Ear(rig, "rgb", None, where=stop, image_size_x=400, image_size_y=300)
        pictures = []
        for state in (carla.TrafficLightState.Red, carla.TrafficLightState.Green):
            light.set_state(state)
            light.freeze(True)
            rig.tick()
            pictures.append(ear.next()[1].astype(int))
        changed = np.abs(pictures[0] - pictures[1])[..., :3].max(axis=2) > 40
        assert changed.sum() > 6
        assert (pictures[0][changed][:, 2] - pictures[1][changed][:, 2]).max() > 60
        assert (pictures[1][changed][:, 1] - pictures[0][changed][:, 1]).max() > 60
    finally:
        rig.close()
