from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import carla
import pytest

from takeover.errors import UsageError
from takeover.sim_bridge.bridge import Bridge
from takeover.sim_bridge.sensors import CameraSet, CollisionSensor
from takeover.sim_bridge.server import EmbeddedServer
from takeover.vocabulary import PLAN_PERIOD_TICKS, CameraSpec

CAR = "vehicle.lincoln.mkz_2020"
FRONT, LEFT = CameraSpec("front", 64, 32), CameraSpec("left", 64, 32, yaw_rad=0.9)
Stage = tuple[Bridge, CameraSet, carla.Actor]


@pytest.fixture
def rig(server: EmbeddedServer) -> Iterator[Stage]:
    with Bridge(server.host, server.port) as bridge:
        ego = bridge.spawn(CAR, bridge.carla_map.get_spawn_points()[0])
        yield bridge, CameraSet(bridge, ego, (FRONT,), wait_s=0.5), ego


def settle(bridge: Bridge, cameras: CameraSet) -> carla.WorldSnapshot:
    for _ in range(3):
        snapshot = bridge.tick()
        if cameras.find_phase(snapshot.frame):
            return snapshot
    raise AssertionError("no image")


def test_every_tick_is_complete(rig: Stage) -> None:
    bridge, cameras, _ = rig
    snapshot = settle(bridge, cameras)
    first = snapshot.frame
    for _ in range(6 * PLAN_PERIOD_TICKS):
        got = cameras.collect(snapshot.frame)
        assert got.faults == ()
        assert (got.images is not None) == ((snapshot.frame - first) % PLAN_PERIOD_TICKS == 0)
        if got.images is not None:
            assert got.images.shape == (1, 32, 64, 3)
            assert [view.shape for view in got.instances] == [(32, 64)]
        snapshot = bridge.tick()


def test_faults_are_named(rig: Stage) -> None:
    bridge, cameras, _ = rig
    snapshot = settle(bridge, cameras)
    old: list[Any] = []
    while not old:
        try:
            old.append(cameras._arrived.get(timeout=0.5))
        except queue.Empty:
            break
    for item in old * 2:
        cameras._arrived.put(item)
    key = ".".join(old[0][0])
    assert cameras.collect(snapshot.frame).faults == (f"{key}: duplicate",)
    cameras._arrived.put(old[0])
    snapshot = bridge.tick()
    assert cameras.collect(snapshot.frame).faults == (f"{key}: late",)
    cameras.sensors[1].stop()
    for _ in range(PLAN_PERIOD_TICKS - 1):
        snapshot = bridge.tick()
    got = cameras.collect(snapshot.frame)
    assert got.faults == ("front.instance: lost",)
    assert got.images is None
    assert got.frame(0, ()) is None


def test_two_views(rig: Stage) -> None:
    bridge, _, ego = rig
    cameras = CameraSet(bridge, ego, (FRONT, LEFT), wait_s=0.5)
    snapshot = settle(bridge, cameras)
    got = cameras.collect(snapshot.frame)
    assert got.faults == ()
    assert got.images is not None
    assert got.images.shape == (2, 32, 64, 3)
    assert (got.images[0] != got.images[1]).any()
    with pytest.raises(UsageError, match="differ in size"):
        CameraSet(bridge, ego, (FRONT, CameraSpec("wide", 128, 32)))


def test_visible_pixels(rig: Stage) -> None:
    bridge, cameras, _ = rig
    snapshot = settle(bridge, cameras)
    frame = cameras.collect(snapshot.frame).frame(7, [1 << 15])
    assert frame is not None
    assert frame.tick == 7
    assert frame.visible_px == {}


def test_collision_sensor_is_silent_without_a_collision(rig: Stage) -> None:
    bridge, _, ego = rig
    sensor = CollisionSensor(bridge, ego)
    bridge.tick()
    assert sensor.collect() == []
