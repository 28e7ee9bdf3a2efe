"""A Traffic Manager that has missed its step is woken; one that follows is left alone."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import carla
import msgpack
import pytest

from takeover.sim_bridge.embedded.traffic_managers import PATIENCE_S, StepWatch, nudge
from takeover.sim_bridge.server import EmbeddedServer

OFF, ON = [0, 1, "set_synchronous_mode", [False]], [0, 2, "set_synchronous_mode", [True]]
WAITS = [False]


@pytest.fixture
def still_world(server: EmbeddedServer) -> Iterator[carla.World]:
    """A world that waits for ticks, and the clock's again afterwards."""
    client = carla.Client(server.host, server.port, 1)
    client.set_timeout(5.0)
    world = client.load_world("TownCurves")
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
    yield world
    world.apply_settings(carla.WorldSettings(synchronous_mode=False))


class Caller:
    """A connection to the RPC port that makes the calls of a client with a Traffic Manager."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._sock = socket.create_connection((server.host, server.port), 5.0)
        self._answers = msgpack.Unpacker()

    def call(self, method: str, *args: object) -> object:
        self._sock.sendall(msgpack.packb([0, 1, method, [WAITS, *args]]))
        while True:
            self._answers.feed(self._sock.recv(65536))
            for _, number, error, result in self._answers:
                assert error is None
                if number:
                    return result

    def send(self, method: str, *args: object) -> None:
        """Fires and forgets."""
        self._sock.sendall(msgpack.packb([0, 0, method, [[True], *args]]))

    def close(self) -> None:
        self._sock.close()


def requests_at(listener: socket.socket, within_s: float) -> list[object]:
    """What the server asks of a Traffic Manager; each request is answered."""
    listener.settimeout(within_s)
    try:
        sock, _ = listener.accept()
    except TimeoutError:
        return []
    asked: list[object] = []
    reader = msgpack.Unpacker()
    with sock:
        sock.settimeout(5.0)
        while data := sock.recv(65536):
            reader.feed(data)
            for request in reader:
                asked.append(request)
                sock.sendall(msgpack.packb([1, request[1], None, None]))
    return asked


def test_silence_after_a_tick_is_a_missed_step(server: EmbeddedServer, still_world: carla.World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        caller = Caller(server)
        assert caller.call("add_traffic_manager_running", ["192.0.2.1", port]) == [[1, True]]
        caller.call("tick_cue")
        caller.call("apply_batch", [], False)  # the step of this tick; then the client rests
        assert requests_at(listener, PATIENCE_S + 0.5) == []
        caller.call("tick_cue")
        started_s = time.monotonic()
        assert requests_at(listener, PATIENCE_S + 3.0) == [OFF, ON]
        assert time.monotonic() - started_s > PATIENCE_S - 0.1
        assert requests_at(listener, 0.3) == []  # once a tick
        caller.close()


def test_the_managers_of_a_client_that_is_gone_are_forgotten(server: EmbeddedServer) -> None:
    first, second = Caller(server), Caller(server)
    assert first.call("add_traffic_manager_running", ["127.0.0.1", 21999]) == [[1, True]]
    assert second.call("add_traffic_manager_running", ["127.0.0.1", 21999]) == [[1, False]]
    first.close()
    until_s = time.monotonic() + 5.0
    while second.call("is_traffic_manager_running", 21999) == [[1, True]]:
        assert time.monotonic() < until_s
    second.close()


def test_nothing_is_awaited_without_a_manager() -> None:
    watch = StepWatch("127.0.0.1", {8000: ("127.0.0.1", 8000)})
    watch.called(is_tick=True)
    assert watch.wait_s() is None
    watch.ports.add(8000)
    watch.called(is_tick=False)
    assert watch.wait_s() is None
    watch.called(is_tick=True)
    waits_s = watch.wait_s()
    assert waits_s is not None
    assert 0.0 <= waits_s <= PATIENCE_S


def test_nobody_at_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not nudge("127.0.0.1", port)


def test_a_nudge_is_one_step_of_the_real_one(server: EmbeddedServer, still_world: carla.World) -> None:
    body = (
        "import carla, os, sys, time\n"
        f"client = carla.Client({server.host!r}, {server.port}, 1); client.set_timeout(5.0)\n"
        "world = client.get_world()\n"
        "manager = client.get_trafficmanager(22000 + os.getpid() % 7000); manager.set_synchronous_mode(True)\n"
        "place = world.get_map().get_spawn_points()[0]\n"
        "car = world.spawn_actor(world.get_blueprint_library().find('vehicle.tesla.model3'), place)\n"
        "world.tick(); car.set_autopilot(True, manager.get_port())\n"
        "print(manager.get_port(), car.id); sys.stdout.flush()\n"
        "sys.stdin.readline(); manager.shut_down(); car.destroy(); os._exit(0)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", body], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    port, car_id = (int(word) for word in child.stdout.readline().split())
    still_world.tick()
    car = still_world.get_actor(car_id)
    assert isinstance(car, carla.Vehicle)
    assert car.get_control().throttle == 0.0
    assert nudge("127.0.0.1", port)
    until_s = time.monotonic() + 5.0
    while car.get_control().throttle == 0.0:
        assert time.monotonic() < until_s
        still_world.tick()
    child.communicate("\n", timeout=20.0)


def test_traffic_as_generate_traffic_makes_it(server: EmbeddedServer, still_world: carla.World) -> None:
    body = (
        "import carla, os, sys\n"
        f"client = carla.Client({server.host!r}, {server.port}, 1); client.set_timeout(5.0)\n"
        "world = client.get_world()\n"
        "manager = client.get_trafficmanager(22000 + os.getpid() % 7000); manager.set_synchronous_mode(True)\n"
        "spawn, autopilot = carla.command.SpawnActor, carla.command.SetAutopilot\n"
        "places = world.get_map().get_spawn_points()[::12][:10]\n"
        "kinds = world.get_blueprint_library().filter('vehicle.*')\n"
        "then = autopilot(carla.command.FutureActor, True, manager.get_port())\n"
        "batch = [spawn(kinds[i % len(kinds)], place).then(then) for i, place in enumerate(places)]\n"
        "answers = client.apply_batch_sync(batch, True)\n"
        "print(len(answers), [a.error for a in answers if a.error])\n"
        "cars = world.get_actors([a.actor_id for a in answers]); start = [c.get_location() for c in cars]\n"
        "for _ in range(200): world.tick()\n"
        "moved = [s.distance(c.get_location()) for s, c in zip(start, cars)]\n"
        "print(sum(m > 10.0 for m in moved), [round(m) for m in moved])\n"
        "client.apply_batch_sync([autopilot(c.id, False, manager.get_port()) for c in cars], True)\n"
        "for c in cars: c.apply_control(carla.VehicleControl(brake=1.0))\n"
        "for _ in range(120): world.tick()\n"
        "print(max(c.get_velocity().length() for c in cars)); sys.stdout.flush()\n"
        "client.apply_batch_sync([carla.command.DestroyActor(c.id) for c in cars], True)\n"
        "os._exit(0)\n"
    )
    child = subprocess.Popen([sys.executable, "-P", "-c", body], stdout=subprocess.PIPE, text=True)
    spawned, moved, still = child.communicate(timeout=60)[0].splitlines()
    assert spawned == "10 []"
    assert moved.startswith("10 "), moved
    assert float(still) == 0.0


def test_only_vehicles_have_an_autopilot(server: EmbeddedServer, still_world: carla.World) -> None:
    client = carla.Client(server.host, server.port, 1)
    client.set_timeout(5.0)
    client.get_world()  # the client library's batches with autopilots need one
    library, place = still_world.get_blueprint_library(), still_world.get_map().get_spawn_points()[0]
    before = len(still_world.get_actors())
    then = carla.command.SetAutopilot(carla.command.FutureActor, True, 8000)
    batch = [carla.command.SpawnActor(library.find("walker.pedestrian.0001"), place).then(then)]
    answer = client.apply_batch_sync(batch, True)[0]
    assert "is not a vehicle" in answer.error
    assert len(still_world.get_actors()) == before  # the walker does not stay behind


def test_what_was_refused_is_told_to_the_script_and_not_to_its_manager(server: EmbeddedServer) -> None:
    caller = Caller(server)
    caller.call("add_traffic_manager_running", ["127.0.0.1", 21998])
    caller.send("open_vehicle_door", 1, 0)
    assert caller.call("get_vehicle_light_states") == [[1, []]]  # as the manager's thread does
    assert "open_vehicle_door" in str(caller.call("version"))
    assert caller.call("version") == [[1, "0.9.16"]]
    caller.close()


def test_the_box_of_an_actor_that_has_just_gone(server: EmbeddedServer, still_world: carla.World) -> None:
    place = still_world.get_map().get_spawn_points()[0]
    car = still_world.spawn_actor(still_world.get_blueprint_library().find("vehicle.lincoln.mkz_2020"), place)
    still_world.tick()
    assert car.destroy()
    caller = Caller(server)
    answer = caller.call("get_actor_bounding_box", car.id)  # by a manager that saw it in the last snapshot
    assert isinstance(answer, list)
    assert answer[0][1][1] == pytest.approx([2.45, 1.05, 0.75])  # half of 4.9 x 2.1 x 1.5 m
    assert "unable to find actor" in str(caller.call("get_actor_bounding_box", 999_999))
    caller.close()
