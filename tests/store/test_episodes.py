"""Sealed episodes: what goes in comes out, damage is seen, killed recordings are salvaged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from takeover.errors import DamagedEpisodeError, StoreError, StoreLockedError
from takeover.store.episodes import (
    EpisodeReader,
    EpisodeWriter,
    complete,
    salvage,
    salvage_all,
    sealed,
    unsealed,
    verify,
)
from takeover.store.maps import load_map, map_path, save_map
from takeover.store.sealing import read_sealed_json, sealed_json
from takeover.vocabulary import ActorKind, Control, Outcome

from .drives import frame, meta, record, tick


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = record(tmp_path / "episodes", ticks=60)
    reader = EpisodeReader(path)
    assert reader.warmup == 10
    assert reader.ticks["tick"].tolist() == list(range(-10, 60))
    expected = tick(7)
    assert reader.ego(7) == expected.ego
    row = reader.row(7)
    assert reader.ticks["executed_by"][row] == "policy"
    assert reader.ticks["executed_by"][0] == "warmup"
    assert reader.ticks["ttc_s"][row] == np.inf
    assert reader.ticks["policy_steer"][row] == expected.policy.steer  # type: ignore[union-attr]
    assert np.isnan(reader.ticks["driver_steer"][row])
    assert reader.agents_at(7) == expected.agents
    assert reader.faults == {33: ("front.rgb: late",)}
    assert reader.lights(19) == ((5, "red"),)
    assert reader.lights(20) == ((5, "green"),)
    assert [event.kind for event in reader.events] == ["takeover", "handback"]
    assert reader.events[0].data == {"reason": "collision_risk"}
    assert reader.meta == meta(reader.episode_id)
    np.testing.assert_array_equal(reader.meta.route_centerline_m, meta("x").route_centerline_m)
    assert reader.outcome == Outcome(True, 100.0, 90.0, takeovers=1, driven_m=60.0)
    assert [row.plan.tick for row in reader.plans] == [0, 10, 20, 30, 40, 50]
    assert reader.plans[3].plan.shadow
    assert reader.plans[3].pose == tick(30).ego
    np.testing.assert_array_equal(reader.plans[0].plan.waypoints_m[:, 0], np.arange(1, 9, dtype=np.float32))


def test_pictures_are_close_and_their_places_hold_whole_jpegs(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path / "episodes", ticks=30))
    assert reader.frame_ticks == [-10, 0, 10, 20]
    original = frame(10)
    images = reader.images(10)
    assert images.shape == original.images.shape
    assert np.abs(images.astype(int) - original.images).mean() < 4
    assert reader.visible_px(10) == original.visible_px
    for place in reader.frames():
        data = (reader.path / place.file).read_bytes()[place.offset : place.offset + place.length]
        assert data[:2] == b"\xff\xd8"
        assert data[-2:] == b"\xff\xd9"


def test_tracks_are_the_agents_in_dense_form(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path / "episodes", ticks=40))
    tracks = reader.tracks
    assert tracks.ids.tolist() == [9, 4]  # in order of appearance
    assert tracks.kinds == (ActorKind.WALKER, ActorKind.VEHICLE)
    late = reader.row(15)
    assert np.isnan(tracks.states[late - 1, 1]).all()
    for position, agent in enumerate(tick(15).agents):
        wanted = [agent.x_m, agent.y_m, agent.yaw_rad, agent.vx_mps, agent.vy_mps]
        assert tracks.states[late, position].tolist() == wanted
        assert tracks.size_m[position].tolist() == [agent.length_m, agent.width_m]


def test_content_hash_ignores_wall_clock_and_nothing_else(tmp_path: Path) -> None:
    name = str(uuid.uuid4())
    first = EpisodeReader(record(tmp_path / "a", name, created_utc="2026-01-01"))
    second = EpisodeReader(record(tmp_path / "b", name, created_utc="2026-01-02"))
    third = EpisodeReader(record(tmp_path / "c", name, ticks=61))
    assert first.content_sha256 == second.content_sha256 != third.content_sha256


def test_segments_roll_over(tmp_path: Path) -> None:
    path = record(tmp_path / "episodes", segment_bytes=20_000)
    reader = EpisodeReader(path)
    assert len(reader.manifest["files"]) > 1
    assert reader.images(50).shape == (1, 24, 48, 3)
    verify(path)


def test_every_flipped_byte_is_detected(tmp_path: Path) -> None:
    path = record(tmp_path / "episodes", ticks=20)
    draw = random.Random(0)
    for file in sorted(path.iterdir()):
        data = file.read_bytes()
        places = {*range(40), len(data) - 1, *(draw.randrange(len(data)) for _ in range(120))}
        for place in places:
            damaged = bytearray(data)
            damaged[place] ^= 1 << draw.randrange(8)
            file.write_bytes(bytes(damaged))
            with pytest.raises(DamagedEpisodeError):
                verify(path)
        file.write_bytes(data)
    verify(path)


def test_reader_alone_notices_damage_where_it_reads(tmp_path: Path) -> None:
    path = record(tmp_path / "episodes", ticks=20)
    file = path / "000.seg"
    data = file.read_bytes()
    place = EpisodeReader(path).frames()[0]
    damaged = bytearray(data)
    damaged[place.offset + 50] ^= 8
    file.write_bytes(bytes(damaged))
    reader = EpisodeReader(path)
    assert len(reader.ticks["tick"]) == 30
    with pytest.raises(DamagedEpisodeError, match="damaged at byte"):
        reader.images(place.tick)
    file.write_bytes(data[:-1])
    with pytest.raises(DamagedEpisodeError, match="bytes"):
        EpisodeReader(path)


def test_missing_and_foreign_files_are_damage(tmp_path: Path) -> None:
    path = record(tmp_path / "episodes", ticks=5)
    (path / "note.txt").write_text("hello")
    with pytest.raises(DamagedEpisodeError, match=r"note\.txt"):
        verify(path)
    (path / "note.txt").unlink()
    (path / "000.seg").unlink()
    with pytest.raises(DamagedEpisodeError, match="missing"):
        verify(path)


def test_a_gap_in_the_ticks_is_refused(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "episodes", meta("a"))
    writer.tick(tick(0))
    with pytest.raises(StoreError, match="tick 2 follows tick 0"):
        writer.tick(tick(2))
    writer.abandon()


@pytest.mark.parametrize("cut", [1, 3, 9, 200, 1200])
def test_salvage_keeps_everything_before_the_torn_record(tmp_path: Path, cut: int) -> None:
    path = record(tmp_path / "episodes", ticks=40, seal=False)
    whole = (path / "000.seg").read_bytes()
    (path / "000.seg").write_bytes(whole[:-cut])
    assert unsealed(tmp_path / "episodes") == [path]
    salvage(path, end="sim_fault")
    verify(path)
    reader = EpisodeReader(path)
    assert reader.truncated
    assert reader.outcome.end == "sim_fault"
    ticks = reader.ticks["tick"]
    assert 35 <= ticks[-1] <= 39
    assert reader.ego(int(ticks[-1])) == tick(int(ticks[-1])).ego
    assert (path / "000.seg").stat().st_size <= len(whole) - cut
    manifest = (path / "manifest.json").read_bytes()
    assert salvage(path) == path  # twice is once
    assert (path / "manifest.json").read_bytes() == manifest


def test_salvage_of_a_recording_in_progress_is_refused(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "episodes", meta("a"))
    with pytest.raises(StoreLockedError, match=str(os.getpid())):
        salvage(writer.path)
    with pytest.raises(StoreLockedError):
        EpisodeWriter(tmp_path / "episodes", meta("a"))
    writer.abandon()


def test_an_id_is_used_once_and_leftovers_are_kept_aside(tmp_path: Path) -> None:
    root = tmp_path / "episodes"
    record(root, "a", ticks=5, seal=False)
    path = record(root, "a", ticks=8)
    assert len(list((tmp_path / "abandoned").iterdir())) == 1
    with pytest.raises(StoreError, match="sealed already"):
        EpisodeWriter(root, meta("a"))
    assert EpisodeReader(path).ticks["tick"][-1] == 7


def test_a_truncated_episode_may_be_driven_again(tmp_path: Path) -> None:
    root = tmp_path / "episodes"
    salvage(record(root, "a", ticks=5, seal=False))
    record(root, "b", ticks=5)
    assert [path.name for path in complete(root)] == ["b"]
    record(root, "a", ticks=8)
    assert [path.name for path in complete(root)] == ["a", "b"]
    assert len(list((tmp_path / "abandoned").iterdir())) == 1


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b"])
def test_an_episode_id_is_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a folder"):
        meta(name)


def test_a_manifest_reaches_no_foreign_file(tmp_path: Path) -> None:
    path = record(tmp_path / "episodes", ticks=5)
    manifest = read_sealed_json(path / "manifest.json")
    manifest["files"]["../../secret"] = manifest["files"]["000.seg"]
    (path / "manifest.json").write_bytes(sealed_json(manifest))
    with pytest.raises(DamagedEpisodeError, match="secret"):
        verify(path)


def test_kill_between_manifest_and_mark_is_sealed(tmp_path: Path) -> None:
    path = record(tmp_path / "episodes", ticks=5)
    (path / ".open").write_text("1")
    verify(path)
    salvage(path)
    assert not (path / ".open").exists()
    assert not EpisodeReader(path).truncated


WRITER = """
import sys
from pathlib import Path
from takeover.store.episodes import EpisodeWriter
from takeover.vocabulary import Outcome
sys.path.insert(0, sys.argv[2])
from drives import frame, meta, tick
import uuid
root = Path(sys.argv[1])
while True:
    writer = EpisodeWriter(root, meta(str(uuid.uuid4())), segment_bytes=60_000)
    for number in range(80):
        if number % 10 == 0:
            writer.frame(frame(number))
        writer.tick(tick(number))
    print("sealed", writer.seal(Outcome(True, 100.0, 100.0)).name, flush=True)
    print("written", writer.counts["ticks"], flush=True)
"""


def test_kill_nine_loses_no_sealed_episode_and_shows_no_half_one(tmp_path: Path) -> None:
    draw = random.Random(1)
    root = tmp_path / "episodes"
    acknowledged: set[str] = set()
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", WRITER, str(root), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        acknowledged.add(process.stdout.readline().split()[1])  # it is up and running
        time.sleep(draw.uniform(0.0, 0.08))
        process.send_signal(signal.SIGKILL)
        acknowledged |= {
            line.split()[1] for line in process.stdout.read().splitlines() if line[:6] == "sealed"
        }
        process.wait()
    saved, lost = salvage_all(tmp_path)
    assert all(EpisodeReader(path).truncated for path in saved)
    assert all((path / "000.seg").stat().st_size < 8000 for path in lost if (path / "000.seg").exists())
    names = {path.name for path in sealed(root)}
    assert acknowledged <= names
    for path in sealed(root):
        verify(path)
        reader = EpisodeReader(path)
        assert reader.truncated or reader.ticks["tick"].tolist() == list(range(80))


def test_map_polygons_are_stored_once_and_checked(tmp_path: Path) -> None:
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    layers = {"roadblocks": [square, square * 2], "lanes": [square], "intersections": []}
    address = save_map(tmp_path, layers)
    assert save_map(tmp_path, layers) == address
    loaded = load_map(tmp_path, address)
    np.testing.assert_array_equal(loaded["roadblocks"][1], square * 2)
    assert loaded["intersections"] == ()
    path = map_path(tmp_path, address)
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedEpisodeError):
        load_map(tmp_path, address)


def test_a_full_disk_stops_the_recording_loudly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0.0, 1000.0, 0.6))
    writer = EpisodeWriter(tmp_path / "episodes", meta("a"), clock=lambda: float(next(clock)))
    writer.tick(tick(0))
    usage = type("Usage", (), {"free": 1_000_000, "total": 10_000_000_000})
    monkeypatch.setattr("takeover.store.writer.shutil.disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match="only 1 MB are free"):
        list(map(writer.tick, map(tick, range(1, 5))))
    writer.abandon()
    assert EpisodeReader(salvage(writer.path)).ticks["tick"].tolist() == [0, 1, 2]


def test_driver_kind_is_one_of_four() -> None:
    with pytest.raises(ValueError, match="driver_kind"):
        meta("a", driver_kind="robot")
    assert Control() == Control(0.0, 0.0, 0.0)
