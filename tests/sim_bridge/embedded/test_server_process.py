"""The embedded server as a process and its manners towards clients, through the real client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import carla
import pytest

from takeover.errors import SimulatorError
from takeover.sim_bridge.embedded.maps import load_xodr
from takeover.sim_bridge.server import EmbeddedServer

CAR = "vehicle.lincoln.mkz_2020"


def client_of(server: EmbeddedServer) -> carla.Client:
    client = carla.Client(server.host, server.port, 1)
    client.set_timeout(5.0)
    return client


def script(server: EmbeddedServer, body: str) -> subprocess.Popen[str]:
    """Runs a client in a process of its own."""
    head = "import carla, os, sys, time\n"
    head += f"client = carla.Client({server.host!r}, {server.port}, 1); client.set_timeout(5.0)\n"
    head += "world = client.get_world()\n"
    return subprocess.Popen([sys.executable, "-P", "-c", head + body], stdout=subprocess.PIPE, text=True)


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def gone(pid: int, within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().split(") ")[1][0] == "Z":
                    return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def test_maps_can_be_changed(server: EmbeddedServer) -> None:
    client = client_of(server)
    assert {name.rsplit("/")[-1] for name in client.get_available_maps()} >= {"TownCurves", "TownCross"}
    world = client.load_world("TownCross")
    assert world.get_map().name == "Carla/Maps/TownCross"
    assert world.get_map().to_opendrive() == load_xodr("TownCross")
    episode = world.id
    world = client.reload_world()
    assert world.id > episode
    with pytest.raises(RuntimeError, match="unknown map"):
        client.load_world("TownOfNowhere")
    world = client.generate_opendrive_world(load_xodr("TownHighway"))
    assert world.get_map().name == "Carla/Maps/OpenDriveMap"
    client.load_world("TownCurves")


def test_an_unknown_call_fails(server: EmbeddedServer) -> None:
    client = client_of(server)
    with pytest.raises(RuntimeError, match="apply_color_texture_to_objects"):
        client.get_world().apply_color_texture_to_object(
            "a wall", carla.MaterialParameter.Diffuse, carla.TextureColor(2, 2)
        )
    assert client.get_server_version() == "0.9.16"


def test_an_unknown_call_that_nobody_waits_for_fails_the_next_one(server: EmbeddedServer) -> None:
    client = client_of(server)
    world = client.get_world()
    ego = world.spawn_actor(world.get_blueprint_library().find(CAR), world.get_map().get_spawn_points()[0])
    try:
        ego.add_angular_impulse(carla.Vector3D(1.0, 0.0, 0.0))
        with pytest.raises(RuntimeError, match="add_actor_angular_impulse"):
            world.get_settings()
        world.get_settings()
        client.apply_batch([carla.command.ApplyTorque(ego.id, carla.Vector3D(1.0, 0.0, 0.0))])
        with pytest.raises(RuntimeError, match="ApplyTorque"):
            world.get_settings()
    finally:
        ego.destroy()


def test_a_second_client_sees_the_same_world_even_when_nobody_ticks(server: EmbeddedServer) -> None:
    first = client_of(server)
    world = first.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    ego = world.spawn_actor(world.get_blueprint_library().find(CAR), world.get_map().get_spawn_points()[0])
    world.tick()
    try:
        child = script(
            server, "print([a.type_id for a in world.get_actors()]); sys.stdout.flush(); os._exit(0)"
        )
        assert CAR in child.communicate(timeout=20)[0]
    finally:
        ego.destroy()
        settings.synchronous_mode, settings.fixed_delta_seconds = False, None
        world.apply_settings(settings)


def test_a_killed_client_does_no_harm(server: EmbeddedServer) -> None:
    body = (
        "bp = world.get_blueprint_library()\n"
        "camera = world.spawn_actor(bp.find('sensor.camera.rgb'), carla.Transform(carla.Location(z=2.0)))\n"
        "camera.listen(lambda image: None)\n"
        "print('ready', camera.id); sys.stdout.flush()\n"
        "time.sleep(60)\n"
    )
    child = script(server, body)
    camera = int(first_line(child).split()[1])
    child.kill()
    child.wait()
    client = client_of(server)
    world = client.get_world()
    world.wait_for_tick(2.0)
    world.wait_for_tick(2.0)
    assert client.apply_batch_sync([carla.command.DestroyActor(camera)], False)[0].error == ""


def test_nonsense_on_the_ports_is_survived(server: EmbeddedServer) -> None:
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xc1" * 100, b""):
        with socket.create_connection((server.host, server.port)) as sock:
            sock.sendall(data)
    assert client_of(server).get_server_version() == "0.9.16"


def test_the_traffic_manager_drives() -> None:
    body = (
        "import json\n"
        "settings = world.get_settings(); settings.synchronous_mode = True; settings.fixed_delta_seconds = 0.05\n"
        "world.apply_settings(settings)\n"
        "bp = world.get_blueprint_library(); places = world.get_map().get_spawn_points()\n"
        "def manager(port):\n"  # below the ephemeral ports, which any client may be given meanwhile
        "    try: return client.get_trafficmanager(port)\n"
        "    except RuntimeError: return manager(port + 1)\n"
        "tm = manager(20000 + os.getpid() % 9000); tm.set_synchronous_mode(True); tm.set_random_device_seed(1)\n"
        "cars = [world.spawn_actor(bp.find('vehicle.tesla.model3'), places[i]) for i in (0, 40)]\n"
        "world.tick()\n"
        "for car in cars: car.set_autopilot(True, tm.get_port())\n"
        "start = [car.get_location() for car in cars]\n"
        "for _ in range(300): world.tick()\n"
        "way = world.get_map()\n"
        "on_road = [way.get_waypoint(c.get_location(), project_to_road=False) is not None for c in cars]\n"
        "print(json.dumps([[a.distance(c.get_location()) for a, c in zip(start, cars)], on_road]))\n"
        "sys.stdout.flush(); os._exit(0)\n"
    )
    with EmbeddedServer.start() as server:
        out = script(server, body).communicate(timeout=60)[0]
    moved, on_road = json.loads(out)
    assert min(moved) > 20
    assert all(on_road)


def test_a_session_like_manual_control(server: EmbeddedServer) -> None:
    client = client_of(server)
    world = client.get_world()
    town = world.get_map()
    blueprint = world.get_blueprint_library().filter("vehicle.*")[0]
    blueprint.set_attribute("role_name", "hero")
    if blueprint.has_attribute("color"):
        blueprint.set_attribute("color", blueprint.get_attribute("color").recommended_values[0])
    player = world.try_spawn_actor(blueprint, town.get_spawn_points()[3])
    assert player is not None
    physics = player.get_physics_control()
    physics.use_sweep_wheel_collision = True
    player.apply_physics_control(physics)
    library = world.get_blueprint_library()
    attached = []
    for kind in ("collision", "lane_invasion", "gnss", "imu"):
        sensor = world.spawn_actor(library.find(f"sensor.other.{kind}"), carla.Transform(), attach_to=player)
        sensor.listen(lambda event: None)
        attached.append(sensor)
    boom = carla.Transform(carla.Location(x=-5.5, z=2.8), carla.Rotation(pitch=8.0))
    camera = world.spawn_actor(
        library.find("sensor.camera.rgb"),
        boom,
        attach_to=player,
        attachment_type=carla.AttachmentType.SpringArmGhost,
    )
    images: list[carla.Image] = []
    camera.listen(images.append)
    player.set_light_state(carla.VehicleLightState(carla.VehicleLightState.LowBeam))
    world.set_weather(carla.WeatherParameters.WetSunset)
    for _ in range(10):
        player.apply_control(carla.VehicleControl(throttle=1.0))
        world.wait_for_tick(2.0)
    assert player.get_velocity().length() > 0.2
    assert images
    assert world.get_spectator().type_id == "spectator"
    camera.stop()
    world.set_weather(carla.WeatherParameters.ClearNoon)
    for actor in (camera, *attached, player):
        assert actor.destroy()


def test_the_server_reports_itself_and_ends_with_its_parent() -> None:
    server = EmbeddedServer.start(map_name="TownHighway")
    assert client_of(server).get_world().get_map().name.endswith("TownHighway")
    server.close()
    server.close()
    assert not server.alive
    assert gone(server.pid, 0.1)


def test_the_server_ends_when_its_parent_is_killed() -> None:
    body = (
        "import os, time\n"
        "from takeover.sim_bridge.server import EmbeddedServer\n"
        "print(EmbeddedServer.start().pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", body], stdout=subprocess.PIPE, text=True)
    pid = int(first_line(parent))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(pid)


def test_a_map_that_does_not_exist() -> None:
    with pytest.raises(SimulatorError, match="did not start"):
        EmbeddedServer.start(map_name="TownOfNowhere")


def test_alone_it_reports_on_standard_output() -> None:
    command = [sys.executable, "-P", "-m", "takeover.sim_bridge.embedded", "--map", "TownCross"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        report = json.loads(first_line(child))
        client = carla.Client(report["host"], report["port"], 1)
        client.set_timeout(5.0)
        assert client.get_server_version() == "0.9.16"
    finally:
        child.terminate()
        child.wait(5)


def test_warming_only_fills_the_cache() -> None:
    command = [sys.executable, "-P", "-m", "takeover.sim_bridge.embedded", "--warm"]
    assert subprocess.run(command, check=True, capture_output=True, timeout=120).stdout == b""
