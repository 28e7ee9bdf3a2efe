"""Recorder and replayer through the real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import carla
import pytest

from takeover.sim_bridge.server import EmbeddedServer

DT_S = 0.05
CAR = "vehicle.lincoln.mkz_2020"


class Drive:
    """A hero that drives, a walker that walks, and a barrier in the hero's way."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.client = carla.Client(server.host, server.port, 1)
        self.client.set_timeout(5.0)
        self.enter("TownCurves")

    def enter(self, town: str) -> None:
        self.world = self.client.load_world(town)
        self.world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=DT_S))
        self.library = self.world.get_blueprint_library()
        self.point = self.world.get_map().get_spawn_points()[0]

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.world.tick()

    def ahead(self, along: float, across: float = 0.0) -> carla.Transform:
        forward, right = self.point.get_forward_vector(), self.point.get_right_vector()
        return carla.Transform(self.point.location + along * forward + across * right, self.point.rotation)

    def make(self) -> tuple[carla.Vehicle, carla.Walker]:
        blueprint = self.library.find(CAR)
        blueprint.set_attribute("role_name", "hero")
        self.hero = self.world.spawn_actor(blueprint, self.point)
        self.walker = self.world.spawn_actor(
            self.library.find("walker.pedestrian.0002"), self.ahead(8.0, 5.0)
        )
        self.barrier = self.world.spawn_actor(
            self.library.find("static.prop.streetbarrier"), self.ahead(25.0)
        )
        return self.hero, self.walker

    def track(self, count: int) -> list[tuple[float, float]]:
        """Where hero and walker are on each tick."""
        out = []
        for _ in range(count):
            self.tick()
            for kind in ("vehicle.*", "walker.*"):
                for actor in self.world.get_actors().filter(kind):
                    out.append((actor.get_location().x, actor.get_location().y))
        return out

    def go(self) -> None:
        self.hero.apply_control(carla.VehicleControl(throttle=0.9))
        self.walker.apply_control(carla.WalkerControl(-1.0 * self.point.get_right_vector(), 1.2))

    def clear(self) -> None:
        for kind in ("vehicle.*", "walker.*", "static.prop.*"):
            for actor in self.world.get_actors().filter(kind):
                actor.destroy()
        self.tick()


@pytest.fixture
def drive(server: EmbeddedServer) -> Iterator[Drive]:
    drive = Drive(server)
    yield drive
    drive.client.stop_recorder()
    drive.client.stop_replayer(False)
    drive.clear()
    drive.world.apply_settings(carla.WorldSettings(synchronous_mode=False))


def recorded(drive: Drive, path: Path, ticks: int = 100) -> list[tuple[float, float]]:
    """Records the drive; returns what a client saw of it."""
    drive.make()
    drive.tick()
    assert drive.client.start_recorder(str(path)) == str(path)
    drive.go()
    track = drive.track(ticks)
    drive.client.stop_recorder()
    drive.clear()
    return track


def test_a_replay_is_the_same_drive(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "drive.log"
    seen = recorded(drive, path)
    said = drive.client.replay_file(str(path), 0.0, 0.0, 0)
    assert "101 frames, 5 seconds" in said
    again = drive.track(100)
    assert len(again) == len(seen)
    for there, here in zip(seen, again, strict=True):
        assert here == pytest.approx(there, abs=2e-3)
    heroes = [a for a in drive.world.get_actors().filter("vehicle.*") if a.attributes["role_name"] == "hero"]
    assert len(heroes) == 1


def test_actors_stay_after_a_replay_and_physics_has_them(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "drive.log"
    recorded(drive, path)
    drive.client.replay_file(str(path), 0.0, 1.0, 0)
    drive.tick(20)
    car = drive.world.get_actors().filter("vehicle.*")[0]
    moving = car.get_velocity().length()
    assert moving > 1.0
    car.apply_control(carla.VehicleControl(brake=1.0))
    drive.tick(60)
    assert car.get_velocity().length() == 0.0
    drive.client.replay_file(str(path), 0.0, 0.0, 0)
    drive.tick(5)
    drive.client.stop_replayer(False)
    drive.tick()
    assert (
        len(drive.world.get_actors().filter("walker.*")) == 1
    )  # that of the first replay; the second's went


def test_parts_pace_and_hero(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "drive.log"
    seen = recorded(drive, path)
    drive.client.set_replayer_time_factor(2.0)
    drive.client.set_replayer_ignore_hero(True)
    drive.client.replay_file(str(path), -2.0, 0.0, 0)
    found = drive.track(1)
    assert len(found) == 1  # the walker alone
    # from 3 s on, one tick of twice 0.05 s: the 62nd tick, of which the walker is the second entry
    assert found[0] == pytest.approx(seen[2 * 61 + 1], abs=2e-3)
    drive.client.set_replayer_time_factor(1.0)
    drive.client.set_replayer_ignore_hero(False)


def test_what_a_recording_says(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "drive.log"
    recorded(drive, path, ticks=160)
    info = drive.client.show_recorder_file_info(str(path), False)
    assert "Map: TownCurves" in info
    assert "Frames: 161" in info
    assert "Duration: 8 seconds" in info
    assert f": {CAR}" in info
    met = drive.client.show_recorder_collisions(str(path), "h", "o")
    assert sum(CAR in line and "streetbarrier" in line for line in met.splitlines()) == 1
    assert CAR not in drive.client.show_recorder_collisions(str(path), "w", "w")
    assert CAR in drive.client.show_recorder_actors_blocked(str(path), 1.0, 100.0)
    assert CAR not in drive.client.show_recorder_actors_blocked(str(path), 100.0, 100.0)


def test_what_is_no_recording_is_refused(drive: Drive, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot read the recording"):
        drive.client.replay_file(str(tmp_path / "none.log"), 0.0, 0.0, 0)
    (tmp_path / "text.log").write_text("CARLA_RECORDER and more")
    with pytest.raises(RuntimeError, match="not a recording of this server"):
        drive.client.show_recorder_file_info(str(tmp_path / "text.log"), False)
    with pytest.raises(RuntimeError, match="cannot record"):
        drive.client.start_recorder(str(tmp_path / "no" / "folder.log"))
    recorded(drive, tmp_path / "drive.log", ticks=3)
    torn = tmp_path / "torn.log"
    torn.write_bytes((tmp_path / "drive.log").read_bytes()[:-10])  # killed while writing
    assert "Frames: 3" in drive.client.show_recorder_file_info(str(torn), False)
    drive.enter("TownCross")
    with pytest.raises(RuntimeError, match="recorded on TownCurves"):
        drive.client.replay_file(str(tmp_path / "drive.log"), 0.0, 0.0, 0)
