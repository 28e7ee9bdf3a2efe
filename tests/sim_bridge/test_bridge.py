from __future__ import annotations

import subprocess
import sys
import threading
import time

import carla
import pytest

from takeover.errors import SimulatorError
from takeover.sim_bridge import convert
from takeover.sim_bridge.bridge import Bridge, check_version
from takeover.sim_bridge.server import EmbeddedServer

CAR = "vehicle.lincoln.mkz_2020"


def onlooker(server: EmbeddedServer) -> carla.World:
    """World of another client, which neither ticks nor changes anything."""
    client = carla.Client(server.host, server.port)
    client.set_timeout(5.0)
    return client.get_world()


def place(bridge: Bridge, number: int = 0) -> carla.Transform:
    return bridge.carla_map.get_spawn_points()[number]


def cars(world: carla.World) -> list[carla.Actor]:
    return list(world.get_actors().filter("vehicle.*"))


def assert_as_found(server: EmbeddedServer) -> None:
    world = onlooker(server)
    settings = world.get_settings()
    assert not settings.synchronous_mode
    assert settings.fixed_delta_seconds is None
    world.wait_for_tick()
    assert cars(world) == []


def test_synchronous_inside_and_restored_after(server: EmbeddedServer) -> None:
    with Bridge(server.host, server.port) as bridge:
        assert bridge.spawn(CAR, place(bridge)) is not None
        bridge.tick()
        settings = bridge.world.get_settings()
        assert settings.synchronous_mode
        assert settings.fixed_delta_seconds == pytest.approx(0.05)
        other = onlooker(server)
        bridge.tick()
        assert len(cars(other)) == 1
    assert_as_found(server)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_restored_when_the_block_raises(server: EmbeddedServer, error: type[BaseException]) -> None:
    with pytest.raises(error), Bridge(server.host, server.port) as bridge:  # noqa: PT012
        ego = bridge.spawn(CAR, place(bridge))
        sensor = bridge.spawn("sensor.other.collision", carla.Transform(), attach_to=ego)
        assert sensor is not None
        sensor.listen(lambda _: None)
        bridge.tick()
        raise error("in the middle")
    assert_as_found(server)


def test_restored_when_setting_up_fails(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Bridge._synchronise

    def interrupted(self: Bridge) -> None:
        original(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Bridge, "_synchronise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Bridge(server.host, server.port).__enter__()
    assert_as_found(server)


def test_a_tick_is_one_step(server: EmbeddedServer) -> None:
    with Bridge(server.host, server.port) as bridge:
        first = bridge.tick()
        second = bridge.tick()
        assert second.frame == first.frame + 1
        assert second.timestamp.elapsed_seconds - first.timestamp.elapsed_seconds == pytest.approx(0.05)


def test_pace(server: EmbeddedServer) -> None:
    with Bridge(server.host, server.port, paced_hz=100.0) as bridge:
        bridge.tick()
        start_s = time.monotonic()
        for _ in range(20):
            bridge.tick()
        assert time.monotonic() - start_s >= 0.185


def test_a_taken_place_and_an_unknown_blueprint(server: EmbeddedServer) -> None:
    with Bridge(server.host, server.port) as bridge:
        assert bridge.spawn(CAR, place(bridge)) is not None
        bridge.tick()
        assert bridge.spawn(CAR, place(bridge)) is None
        with pytest.raises(SimulatorError, match="cannot make"):
            bridge.spawn("vehicle.no.such", place(bridge, 1))
        with pytest.raises(SimulatorError, match="cannot make"):
            bridge.spawn(CAR, place(bridge, 1), no_such_attribute="1")


def test_loads_another_map_and_stays_synchronous(server: EmbeddedServer) -> None:
    with Bridge(server.host, server.port) as bridge:
        other = "TownHighway" if bridge.map_name != "TownHighway" else "TownCurves"
        assert bridge.spawn(CAR, place(bridge)) is not None
        bridge.use_map(other)
        assert bridge.map_name == other
        assert cars(bridge.world) == []
        before = bridge.tick().frame
        assert bridge.tick().frame == before + 1
        assert bridge.world.get_settings().synchronous_mode


def test_commands_are_taken_before_the_tick(server: EmbeddedServer) -> None:
    with Bridge(server.host, server.port) as bridge:
        car = bridge.spawn(CAR, place(bridge))
        assert car is not None
        bridge.tick()
        x_m, y_m, yaw_rad = convert.pose(place(bridge, 1))
        bridge.send([carla.command.ApplyTransform(car.id, convert.transform(x_m, y_m, yaw_rad))])
        snapshot = bridge.tick()
        assert convert.pose(snapshot.find(car.id).get_transform())[:2] == pytest.approx((x_m, y_m), abs=0.2)


def test_a_server_left_synchronous_by_a_lost_client(server: EmbeddedServer) -> None:
    world = onlooker(server)
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.1
    world.apply_settings(settings)
    recipe = world.get_blueprint_library().find(CAR)
    recipe.set_attribute("role_name", "hero")
    world.spawn_actor(recipe, world.get_map().get_spawn_points()[0])
    with Bridge(server.host, server.port) as bridge:
        assert bridge.found_stale
        assert cars(bridge.world) == []
        bridge.tick()
    assert_as_found(server)


def test_a_server_that_another_client_ticks(server: EmbeddedServer) -> None:
    with Bridge(server.host, server.port) as bridge:
        stop = threading.Event()

        def keep_ticking() -> None:
            while not stop.is_set():
                bridge.tick()
                time.sleep(0.02)

        thread = threading.Thread(target=keep_ticking)
        thread.start()
        try:
            with pytest.raises(SimulatorError, match="another client is ticking"):
                Bridge(server.host, server.port).__enter__()
        finally:
            stop.set()
            thread.join()
        bridge.tick()
    assert_as_found(server)


def test_versions() -> None:
    check_version("0.9.16", "0.9.16")
    check_version("0.9.16-3-gabcdef", "0.9.16")
    with pytest.raises(SimulatorError, match=r"0\.9\.15") as caught:
        check_version("0.9.15", "0.9.16")
    assert "CARLA 0.9.16 server" in caught.value.fix


def test_no_server() -> None:
    start_s = time.monotonic()
    with pytest.raises(SimulatorError, match="no CARLA server answers") as caught:
        Bridge("127.0.0.1", 1, timeout_s=0.5).__enter__()
    assert time.monotonic() - start_s < 3.0
    assert caught.value.fix


def test_a_dead_server_is_a_fault_and_no_tick_is_repeated() -> None:
    server = EmbeddedServer.start()
    with Bridge(server.host, server.port, timeout_s=1.0) as bridge:
        bridge.spawn(CAR, place(bridge))
        bridge.tick()
        server.close()
        with pytest.raises(SimulatorError, match="a tick"):
            bridge.tick()
        start_s = time.monotonic()
        with pytest.raises(SimulatorError, match="failed before"):
            bridge.tick()
        assert time.monotonic() - start_s < 0.1
        start_s = time.monotonic()
    assert time.monotonic() - start_s < 5.0  # leaving the block neither hangs nor raises


def test_a_worker_leaves_cleanly(server: EmbeddedServer) -> None:
    code = (
        "from takeover.sim_bridge.bridge import Bridge, leave_process\n"
        f"with Bridge({server.host!r}, {server.port}) as bridge:\n"
        f"    ego = bridge.spawn({CAR!r}, bridge.carla_map.get_spawn_points()[0])\n"
        "    camera = bridge.spawn('sensor.camera.rgb', ego.get_transform(), attach_to=ego, image_size_x='64')\n"
        "    camera.listen(lambda image: None)\n"
        "    bridge.tick()\n"
        "print('said')\n"
        "leave_process(3)\n"
    )
    for _ in range(3):
        left = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
        assert (left.returncode, left.stdout, left.stderr) == (3, "said\n", "")
    assert_as_found(server)
