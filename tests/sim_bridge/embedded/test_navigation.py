"""Where walkers walk, and the client library's own walker AI on it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import carla
import pytest

from takeover.sim_bridge.embedded.navigation import CROSSWALK, SIDEWALK, Mesh, navigation_file, walkable
from takeover.sim_bridge.embedded.town import load_town
from takeover.sim_bridge.server import EmbeddedServer


def islands(mesh: Mesh) -> int:
    """How many parts have no common edge."""
    part = list(range(len(mesh.polygons)))

    def root(number: int) -> int:
        while part[number] != number:
            number = part[number]
        return number

    first: dict[frozenset[int], int] = {}
    for number, (_, corners) in enumerate(mesh.polygons):
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            other = first.setdefault(frozenset((a, b)), number)
            part[root(number)] = root(other)
    return len({root(number) for number in part})


@pytest.mark.parametrize(("name", "crossings"), [("TownCurves", 2), ("TownCross", 4)])
def test_pavements_and_crosswalks_hang_together(name: str, crossings: int) -> None:
    town = load_town(name)
    mesh = walkable(town)
    assert islands(mesh) == 1
    assert sum(area == CROSSWALK for area, _ in mesh.polygons) == crossings
    for area, corners in mesh.polygons:
        if area == SIDEWALK:
            x, y = (sum(mesh.corners[one][axis] for one in corners) / len(corners) for axis in (0, 1))
            lane = town.carla_map.get_waypoint(
                carla.Location(x, y), project_to_road=False, lane_type=carla.LaneType.Sidewalk
            )
            assert lane is not None


def test_corners_that_meet_are_one() -> None:
    mesh = Mesh()
    mesh.add(SIDEWALK, [(0.0, 0.0), (6.0, 0.0), (6.0, 2.0), (0.0, 2.0)])
    mesh.add(SIDEWALK, [(6.0, 0.3), (12.0, 0.0), (12.0, 2.0), (6.0, 2.0)])
    mesh.add(SIDEWALK, [(12.0, 0.0), (12.0, 0.1), (12.0, 0.2)])  # no area
    assert [len(corners) for _, corners in mesh.polygons] == [4, 4]
    assert len(mesh.corners) == 6
    # both the same way round, whatever the order that they were given in
    mesh.add(SIDEWALK, [(0.0, 2.0), (6.0, 2.0), (6.0, 0.0), (0.0, 0.0)])
    assert set(mesh.polygons[2][1]) == set(mesh.polygons[0][1])
    first, again = mesh.polygons[0][1], mesh.polygons[2][1]
    start = again.index(first[0])
    assert again[start:] + again[:start] == first


def test_a_map_without_pavements_has_no_file() -> None:
    assert navigation_file(load_town("TownHighway")) == b""
    assert navigation_file(load_town("TownCross"))[:4] == b"TESM"


WALK = """
import carla, json, os, sys
host, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
client = carla.Client(host, port, 1); client.set_timeout(5.0); client.set_files_base_folder(folder)
world = client.get_world()
world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
world.set_pedestrians_seed(3)
town, library = world.get_map(), world.get_blueprint_library()
def under(walker):
    place = walker.get_location(); place.z = 0.0
    lane = town.get_waypoint(place, project_to_road=False, lane_type=carla.LaneType.Any)
    return str(lane.lane_type) if lane else "nothing", place.x, place.y
places = [world.get_random_location_from_navigation() for _ in range(6)]
kinds = library.filter("walker.pedestrian.*")
# the crosswalk of the straight leads from (130, 9.5) to (130, -9.5)
places.append(carla.Location(150.0, 11.0, 0.0))
spawn = carla.command.SpawnActor
batch = [spawn(kinds[i], carla.Transform(place)) for i, place in enumerate(places)]
walkers = world.get_actors([a.actor_id for a in client.apply_batch_sync(batch, True) if not a.error])
controller = library.find("controller.ai.walker")
batch = [spawn(controller, carla.Transform(), walker) for walker in walkers]
controllers = world.get_actors([a.actor_id for a in client.apply_batch_sync(batch, True)])
world.tick()
for each in controllers:
    each.start(); each.go_to_location(world.get_random_location_from_navigation()); each.set_max_speed(1.5)
controllers[len(controllers) - 1].go_to_location(carla.Location(150.0, -11.0, 0.0))
start = [walker.get_location() for walker in walkers]
seen, track = [], []
for tick in range(1000):
    world.tick()
    if tick % 10 == 0:
        seen += [under(walker)[0] for walker in walkers][:-1]
        track.append(under(walkers[len(walkers) - 1]))
moved = [walker.get_location().distance(place) for walker, place in zip(walkers, start)]
for each in controllers: each.stop()
print(json.dumps([len(places), moved, sorted(set(seen)), track])); sys.stdout.flush(); os._exit(0)
"""


def test_the_client_librarys_walker_ai_walks(tmp_path: Path) -> None:
    with EmbeddedServer.start(navigation=True) as server:
        command = [sys.executable, "-P", "-c", WALK, server.host, str(server.port), str(tmp_path)]
        out = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    asked, moved, seen, track = json.loads(out)
    assert len(moved) == asked
    assert min(moved[:-1]) > 5.0
    assert set(seen) <= {"Sidewalk", "Shoulder", "Driving"}  # the last two on crosswalks
    # over the crosswalk, 4 m wide, to the other side
    across = [(x, y) for _, x, y in track if abs(y) < 9.0]
    assert len(across) > 10
    assert all(abs(x - 130.0) < 2.3 for x, _ in across)
    assert (
        min(math.dist((x, y), (150.0, -11.0)) for _, x, y in track) < 1.5
    )  # then the library sends it elsewhere
    assert list(tmp_path.rglob("TownCurves-*.bin"))  # the client keeps it


def test_a_server_of_the_loop_offers_no_file(server: EmbeddedServer) -> None:
    client = carla.Client(server.host, server.port, 1)
    client.set_timeout(5.0)
    assert client.get_required_files("Nav", False) == []
    assert client.get_world().get_random_location_from_navigation() is None
    with pytest.raises(RuntimeError, match="there is no file"):
        client.request_file("takeover/Nav/TownCurves-0.bin")
