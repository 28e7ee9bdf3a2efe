"""A CARLA script of your own against the embedded server; nothing of `takeover` is imported.

    python -P -m takeover.sim_bridge.embedded --port 2000 --map TownCross      # in one shell
    python examples/hello_carla.py --port 2000                                 # in another

Puts a car, traffic driven by CARLA's Traffic Manager and a walker into the town, drives ten seconds, says what happened
and writes the last picture of a camera behind the car. The same script runs on a real CARLA 0.9.16 server.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import time

import carla
import numpy as np
from PIL import Image

DT_S = 0.05
SECONDS = 10


def drive(client: carla.Client, traffic_manager_port: int, picture: str) -> None:
    """Spawn, drive, look, tidy up."""
    world = client.get_world()
    before = world.get_settings()
    manager = client.get_trafficmanager(traffic_manager_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(7)
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=DT_S))
    actors: list[carla.Actor] = []
    try:
        library = world.get_blueprint_library()
        points = world.get_map().get_spawn_points()
        for point, name in zip(
            points[::3],
            ("lincoln.mkz_2020", "tesla.model3", "mini.cooper_s_2021", "yamaha.yzf"),
            strict=False,
        ):
            car = world.spawn_actor(library.find(f"vehicle.{name}"), point)
            actors.append(car)
            car.set_autopilot(True, manager.get_port())
        ego = actors[0]
        beside = points[0].location + 15 * points[0].get_forward_vector() + 5 * points[0].get_right_vector()
        walker = world.spawn_actor(
            library.find("walker.pedestrian.0001"), carla.Transform(beside + carla.Location(z=1.0))
        )
        actors.append(walker)
        walker.apply_control(carla.WalkerControl(direction=points[0].get_forward_vector(), speed=1.4))

        camera_type = library.find("sensor.camera.rgb")
        for key, value in {"image_size_x": 640, "image_size_y": 320, "fov": 80, "sensor_tick": 0.5}.items():
            camera_type.set_attribute(key, str(value))
        behind = carla.Transform(carla.Location(x=-7, z=3.5), carla.Rotation(pitch=-12))
        camera = world.spawn_actor(camera_type, behind, attach_to=ego)
        actors.append(camera)
        pictures: queue.Queue[carla.Image] = queue.Queue()
        camera.listen(pictures.put)
        contacts: list[str] = []
        bumper = world.spawn_actor(library.find("sensor.other.collision"), carla.Transform(), attach_to=ego)
        actors.append(bumper)
        bumper.listen(lambda event: contacts.append(event.other_actor.type_id))

        started_s, driven_m, last = time.perf_counter(), 0.0, ego.get_location()
        for _ in range(round(SECONDS / DT_S)):
            world.tick()
            here = ego.get_location()
            driven_m, last = driven_m + here.distance(last), here
        wall_s = time.perf_counter() - started_s
        print(f"{world.get_map().name}: {len(points)} spawn points, {len(actors)} actors of ours")
        print(f"drove {driven_m:.0f} m in {SECONDS} s of the simulator, {wall_s:.1f} s of the clock")
        print(f"limit {ego.get_speed_limit():.0f} km/h, light {ego.get_traffic_light_state()}")
        print(f"touched: {', '.join(contacts) or 'nothing'}")
        image = pictures.get(timeout=5)
        while not pictures.empty():
            image = pictures.get()
        bgra = np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
        Image.fromarray(bgra[..., 2::-1]).save(picture)
        print(f"{picture}: the camera at frame {image.frame}")
    finally:
        manager.shut_down()  # before its cars go: it ends the process when one is missing
        for actor in reversed(actors):
            if actor.type_id.startswith("sensor"):
                actor.stop()
            actor.destroy()
        world.apply_settings(before)


def main() -> None:
    """Connect and drive."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2000)
    parser.add_argument("--tm-port", type=int, default=8000, help="any free port")
    parser.add_argument("--picture", default="hello_carla.png")
    arguments = parser.parse_args()
    client = carla.Client(arguments.host, arguments.port)
    client.set_timeout(10.0)
    drive(client, arguments.tm_port, arguments.picture)
    sys.stdout.flush()
    os._exit(0)  # the client library may abort a normal interpreter exit


if __name__ == "__main__":
    main()
