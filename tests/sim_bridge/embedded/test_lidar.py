"""The lidar: rays and ranges by hand, and a scan through the real client."""

from __future__ import annotations

import math
import queue
from collections.abc import Iterator
from typing import Any

import carla
import numpy as np
import pytest
from numpy.typing import NDArray

from takeover.sim_bridge.embedded.lidar import VIEW_PX, LidarSpec, rays, scan
from takeover.sim_bridge.server import EmbeddedServer

from .test_server_world import CAR, Rig

SPEC = LidarSpec(3, 50.0, 7200.0, 10.0, 10.0, -30.0, 360.0, 0.004, 0.0, 0.0)


@pytest.fixture
def rig(server: EmbeddedServer) -> Iterator[Rig]:
    rig = Rig(server)
    yield rig
    rig.close()


def test_a_tick_sweeps_half_a_turn() -> None:
    azimuths, elevations, after = rays(SPEC, 90.0, 0.05)  # 10 Hz: 180 degrees in 0.05 s
    assert len(azimuths) == 120  # 7200 / s for 0.05 s in three channels
    assert math.degrees(azimuths[0]) == pytest.approx(90.0)
    assert math.degrees(azimuths[1] - azimuths[0]) == pytest.approx(1.5)
    assert np.degrees(elevations) == pytest.approx([10.0, -10.0, -30.0])
    assert after == 270.0


def test_a_wall_all_round_is_a_square() -> None:
    azimuths = np.radians([0.0, 30.0, 90.0, -60.0, 180.0])

    def wall(_: float) -> NDArray[np.float32]:
        return np.full(
            (VIEW_PX, VIEW_PX), 8.0, np.float32
        )  # planar depth: a wall 8 m ahead, whatever way one looks

    counts, points = scan(SPEC, azimuths, np.radians([10.0, -10.0, -30.0]), wall, (0, 0))
    assert counts == [5, 5, 5]
    level = points[:5]
    assert level[0, :3] == pytest.approx([8.0, 0.0, 8.0 * math.tan(math.radians(10.0))], abs=1e-4)
    assert level[1, :2] == pytest.approx([8.0, 8.0 * math.tan(math.radians(30.0))], abs=1e-4)
    assert level[2, :2] == pytest.approx([0.0, 8.0], abs=1e-4)  # to the right
    assert level[3, :2] == pytest.approx([8.0 * math.tan(math.radians(30.0)), -8.0], abs=1e-4)
    assert level[4, :2] == pytest.approx([-8.0, 0.0], abs=1e-4)
    way = np.linalg.norm(points[:, :3], axis=1)
    assert points[:, 3] == pytest.approx(np.exp(-0.004 * way), abs=1e-5)


def test_what_is_out_of_range_gives_no_point() -> None:
    def far(_: float) -> NDArray[np.float32]:
        return np.full((VIEW_PX, VIEW_PX), 60.0, np.float32)

    counts, points = scan(SPEC, np.radians([0.0, 10.0]), np.radians([0.0]), far, (0, 0))
    assert counts == [0]
    assert points.shape == (0, 4)


def test_a_car_ahead_and_the_road_below(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    rig.spawn("vehicle.mercedes.sprinter", rig.ahead(0, 12.0))
    place = carla.Transform(carla.Location(x=0.0, z=2.4))
    numbers = {"channels": 16, "range": 40.0, "points_per_second": 64000, "rotation_frequency": 20.0}
    sensor = rig.spawn("sensor.lidar.ray_cast", place, parent=ego, upper_fov=0.0, lower_fov=-30.0, **numbers)
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sensor.listen(events.put)
    frame = rig.tick().frame
    scan = events.get(timeout=3.0)
    assert (scan.frame, scan.channels) == (frame, 16)
    points = np.frombuffer(scan.raw_data, np.float32).reshape(-1, 4)
    assert len(points) == sum(scan.get_point_count(channel) for channel in range(16))
    ahead = points[(np.abs(points[:, 1]) < 0.5) & (points[:, 0] > 0.0) & (points[:, 2] > -2.0)]
    # the van's back: 12 m less half of 5.91 m
    assert np.median(ahead[:, 0]) == pytest.approx(12.0 - 2.955, abs=0.4)
    behind = points[(points[:, 0] < -5.0) & (np.abs(points[:, 1]) < 2.0)]
    assert behind[:, 2] == pytest.approx(-2.4, abs=0.15)  # the road
    assert len(behind) > 100
