"""The obstacle sensor by hand-computed ways, and through the real client."""

from __future__ import annotations

import math
import queue
from collections.abc import Iterator
from typing import Any

import carla
import pytest

from takeover.sim_bridge.embedded.obstacles import way_to_box
from takeover.sim_bridge.server import EmbeddedServer

from .test_server_world import CAR, Rig

BOX = (2.0, 1.0)


@pytest.fixture
def rig(server: EmbeddedServer) -> Iterator[Rig]:
    rig = Rig(server)
    yield rig
    rig.close()


@pytest.mark.parametrize(
    ("start", "heading", "radius", "way"),
    [
        (
            (-10.0, 0.0),
            (1.0, 0.0),
            0.5,
            7.5,
        ),  # the front of the box is at -2, the disc's edge half a metre before it
        ((-10.0, 0.0), (-1.0, 0.0), 0.5, None),  # away from it
        (
            (-10.0, 1.4),
            (1.0, 0.0),
            0.5,
            8.0 - math.sqrt(0.25 - 0.16),
        ),  # past the side, against the corner (-2, 1)
        ((-10.0, 1.6), (1.0, 0.0), 0.5, None),  # 0.6 m beside the corner
        ((0.0, 6.0), (0.0, -1.0), 0.25, 4.75),  # from the side
        (
            (-5.0, -4.0),
            (math.sqrt(0.5), math.sqrt(0.5)),
            0.0,
            3.0 * math.sqrt(2.0),
        ),  # exactly into the corner (-2, -1)
        ((2.2, 0.0), (1.0, 0.0), 0.5, 0.0),  # touching already
        ((0.0, 0.0), (1.0, 0.0), 0.5, 0.0),  # inside
    ],
)
def test_the_way_to_a_box(
    start: tuple[float, float], heading: tuple[float, float], radius: float, way: float | None
) -> None:
    found = way_to_box(start, heading, BOX, radius)
    assert found == (None if way is None else pytest.approx(way, abs=1e-6))


def test_the_sensor_sees_what_is_ahead(rig: Rig) -> None:
    ego = rig.spawn(CAR, rig.points[0])
    lead = rig.spawn("vehicle.audi.tt", rig.ahead(0, 14.0))
    front = carla.Transform(carla.Location(x=2.45, z=0.6))
    sensor = rig.spawn("sensor.other.obstacle", front, parent=ego, distance=20.0, hit_radius=0.25)
    short = rig.spawn("sensor.other.obstacle", front, parent=ego, distance=4.0)
    moving = rig.spawn("sensor.other.obstacle", front, parent=ego, distance=20.0, only_dynamics="True")
    heard: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(3)]
    for one, events in zip((sensor, short, moving), heard, strict=True):
        one.listen(events.put)
    frame = rig.tick().frame
    event = heard[0].get(timeout=2.0)
    assert (event.frame, event.actor.id, event.other_actor.id) == (frame, ego.id, lead.id)
    # 14 m between the middles, less the ego's half length, the radius and the lead's half length of 2.09 m
    assert event.distance == pytest.approx(14.0 - 2.45 - 0.25 - 2.09, abs=0.02)
    assert heard[1].empty()
    barrier = rig.spawn("static.prop.streetbarrier", rig.ahead(0, 6.0))
    for events in heard:
        while not events.empty():
            events.get()
    rig.tick()
    assert heard[0].get(timeout=2.0).other_actor.id == barrier.id
    assert heard[1].get(timeout=2.0).other_actor.id == barrier.id  # 3.4 m ahead
    assert heard[2].get(timeout=2.0).other_actor.id == lead.id
