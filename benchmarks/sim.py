"""How fast the embedded server is, through the real CARLA client: ticks and camera sets per second.

    python -P benchmarks/sim.py [--seconds 4] [--map TownCurves]

A tick is one batch of controls for every car, one synchronous step and its snapshot. A camera set is a colour picture and
an instance segmentation of the policy's view (192 x 96), rendered on every tick and waited for. Medians of five pieces.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable

import carla

from takeover.sim_bridge import convert
from takeover.sim_bridge.bridge import Bridge, leave_process
from takeover.sim_bridge.sensors import BLUEPRINTS
from takeover.sim_bridge.server import EmbeddedServer
from takeover.vocabulary import CameraSpec

PIECES = 5
WAIT_S = 5.0


def rate(step: Callable[[], None], seconds: float) -> tuple[float, float, float]:
    """Calls per second: median, least and most of the pieces."""
    rates = []
    for _ in range(PIECES):
        count, started_s = 0, time.perf_counter()
        while (passed_s := time.perf_counter() - started_s) < seconds / PIECES:
            step()
            count += 1
        rates.append(count / passed_s)
    return statistics.median(rates), min(rates), max(rates)


def spawn_cars(bridge: Bridge, count: int) -> list[carla.Actor]:
    """Cars at spawn points, some way apart."""
    points = bridge.carla_map.get_spawn_points()
    every = max(1, len(points) // count)
    cars = [bridge.spawn("vehicle.lincoln.mkz_2020", point) for point in points[::every][:count]]
    return [car for car in cars if car is not None]


def row(name: str, cars: int, rates: tuple[float, float, float]) -> None:
    """One line of the table."""
    print(f"{name:13} {cars:7} {rates[0]:8.0f} {rates[1]:8.0f} {rates[2]:8.0f}", flush=True)


def measure(bridge: Bridge, actors: int, seconds: float) -> None:
    """One row without cameras, one with."""
    cars = spawn_cars(bridge, actors)
    commands = [carla.command.ApplyVehicleControl(car.id, carla.VehicleControl(throttle=0.3)) for car in cars]

    def tick() -> None:
        bridge.send(commands)
        bridge.world.tick(WAIT_S)

    for _ in range(50):
        tick()
    row("ticks", len(cars), rate(tick, seconds))

    spec = CameraSpec()
    arrived: list[int] = []
    for kind in BLUEPRINTS.values():
        camera = bridge.spawn(
            kind,
            convert.camera_transform(spec),
            attach_to=cars[0],
            image_size_x=str(spec.width_px),
            image_size_y=str(spec.height_px),
            fov=str(spec.fov_deg),
        )
        assert camera is not None
        camera.listen(lambda image: arrived.append(int(image.frame)))

    def tick_with_pictures() -> None:
        bridge.send(commands)
        frame = bridge.world.tick(WAIT_S)
        deadline_s = time.perf_counter() + WAIT_S
        while arrived.count(frame) < len(BLUEPRINTS):
            if time.perf_counter() > deadline_s:
                raise RuntimeError(f"the pictures of frame {frame} did not come")
            time.sleep(0)
        arrived.clear()

    for _ in range(20):
        bridge.world.tick(WAIT_S)
    time.sleep(0.2)
    arrived.clear()
    row("camera sets", len(cars), rate(tick_with_pictures, seconds))
    bridge.destroy_all()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0, help="of each row")
    parser.add_argument("--map", default="TownCurves")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}, {arguments.map}"
    )
    print(f"{'per second':13} {'actors':>7} {'median':>8} {'least':>8} {'most':>8}")
    with EmbeddedServer.start(map_name=arguments.map) as server, Bridge(server.host, server.port) as bridge:
        for actors in (1, 30):
            measure(bridge, actors, arguments.seconds)
    print(f"load after {os.getloadavg()[0]:.1f}")
    sys.stdout.flush()
    leave_process()


if __name__ == "__main__":
    main()
