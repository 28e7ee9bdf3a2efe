"""Watching a recorded drive: commands, timeline, pictures from any seat, the ways out to mp4 and Rerun."""

import os
import sys
from pathlib import Path

import carla
import numpy as np
import pytest

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import pygame

from takeover.collect.cockpit.player import Move, Player
from takeover.collect.cockpit.recorded import Recorded, find_episode
from takeover.collect.cockpit.replay import Theatre
from takeover.collect.cockpit.rerun_view import write_recording
from takeover.collect.cockpit.video import export_video
from takeover.errors import UsageError
from takeover.sim_bridge.embedded.maps import load_xodr
from takeover.sim_bridge.map_bake import map_sha256
from takeover.vocabulary import Authority, HandoverState

from ...store.drives import record

MAP = "TownCurves"


def shipped() -> dict[str, str]:
    return {"map_name": MAP, "map_sha256": map_sha256(carla.Map(MAP, load_xodr(MAP)))}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An episode on a town that is shipped."""
    return record(tmp_path_factory.mktemp("known"), **shipped())


@pytest.fixture(scope="module")
def recorded(known: Path) -> Recorded:
    return Recorded(known)


@pytest.fixture
def theatre(recorded: Recorded) -> Theatre:
    return Theatre(recorded)


def press(theatre: Theatre, *keys: int) -> None:
    for key in keys:
        theatre.handle(pygame.event.Event(pygame.KEYDOWN, key=key))


def test_playing_follows_the_clock_and_stops_at_the_end() -> None:
    player = Player(0, 100)
    player.advance(1.0)
    assert player.tick == 20
    player.move(Move.FASTER)
    player.advance(1.0)
    assert player.tick == 60
    player.advance(60.0)
    assert (player.tick, player.playing) == (100, False)
    player.move(Move.PAUSE)  # play again
    assert (player.tick, player.playing) == (0, True)


def test_slow_motion_shows_every_tick() -> None:
    player = Player(0, 100)
    for _ in range(3):
        player.move(Move.SLOWER)
    assert player.speed == pytest.approx(0.1)
    seen = []
    for _ in range(60):
        player.advance(1.0 / 30.0)
        seen.append(player.tick)
    assert sorted(set(seen)) == list(range(5))


def test_scrubbing_stays_inside() -> None:
    player = Player(0, 50)
    player.move(Move.BACK)
    assert player.tick == 0
    for _ in range(9):
        player.move(Move.FORWARD)
    assert player.tick == 50
    player.move(Move.STEP_BACK)
    assert (player.tick, player.playing) == (49, False)


def test_jumps_land_a_second_before_each_takeover() -> None:
    player = Player(0, 300, [60, 200])
    assert [move_to(player, Move.NEXT) for _ in range(3)] == [40, 180, 300]
    assert [move_to(player, Move.PREVIOUS) for _ in range(3)] == [180, 40, 0]


def move_to(player: Player, move: Move) -> int:
    player.move(move)
    return player.tick


def test_keys_and_mouse_move_the_cursor(theatre: Theatre) -> None:
    press(theatre, pygame.K_RIGHT)
    assert theatre.player.tick == 20
    press(theatre, pygame.K_HOME, pygame.K_PAGEDOWN)
    assert theatre.player.tick == 10  # the takeover is at 30
    press(theatre, pygame.K_SPACE)
    assert not theatre.player.playing
    bar = theatre.timeline.rect
    theatre.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(bar.right - 1, bar.centery), button=1))
    assert theatre.player.tick == theatre.recorded.last
    theatre.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(bar.centerx, bar.top - 50), button=1))
    assert theatre.player.tick == theatre.recorded.last  # beside the timeline
    theatre.handle(pygame.event.Event(pygame.MOUSEMOTION, pos=bar.center, buttons=(1, 0, 0), rel=(0, 0)))
    assert abs(theatre.player.tick - theatre.recorded.last // 2) <= 1
    press(theatre, pygame.K_ESCAPE)
    assert theatre.closed


def test_every_seat_is_there_on_a_known_map(theatre: Theatre) -> None:
    names = [camera.name for camera in theatre.recorded.views]
    assert names == ["chase", "hood", "front"]
    pictures = []
    for _ in names:
        surface = pygame.Surface((1280, 720), 0, 32)
        theatre.draw(surface)
        pictures.append(pygame.surfarray.array3d(surface))
        press(theatre, pygame.K_TAB)
    assert theatre.view == 0
    assert not np.array_equal(pictures[0], pictures[1])


def test_the_state_of_a_tick_is_what_was_recorded(recorded: Recorded) -> None:
    camera = recorded.views[0]
    before, driving = recorded.state(20, camera), recorded.state(35, camera)
    assert (before.authority, before.takeovers, before.device) == (Authority.POLICY, 0, None)
    assert (driving.authority, driving.handover) == (Authority.DRIVER, HandoverState.DRIVER)
    assert driving.takeovers == 1
    assert driving.device is not None
    assert driving.device.brake == 1.0
    assert driving.ghost_steer == pytest.approx(0.25)  # where the policy would steer
    assert driving.plan_m is not None  # the shadow plan
    assert driving.driver_m is not None
    assert driving.driver_m[0, 0] == pytest.approx(4.0, abs=0.01)  # where the car really was half a second on
    assert driving.notices[0].text == "takeover: collision risk"
    assert "route complete" in recorded.state(recorded.last, camera).alert


def test_an_unknown_map_falls_back_to_the_recorded_frames_and_says_so(tmp_path: Path) -> None:
    changed = Recorded(record(tmp_path, map_sha256="ab" * 32))
    assert "has changed" in changed.problem
    unknown = Recorded(record(tmp_path, map_name="Town10HD"))
    assert "Town10HD" in unknown.problem
    assert [camera.name for camera in unknown.views] == ["front"]
    assert any(unknown.problem == one.text for one in unknown.state(5, unknown.views[0]).notices)
    picture = pygame.surfarray.array3d(unknown.picture(5, unknown.views[0])).swapaxes(0, 1)
    assert picture[360].std() > 20.0  # the frame: a ramp
    assert (picture[5] == picture[5, 0]).all()  # above it


def test_a_picture_shows_the_agents_where_they_are_at_their_tick(recorded: Recorded) -> None:
    first = pygame.surfarray.array3d(recorded.picture(16, recorded.views[1]))
    later = pygame.surfarray.array3d(recorded.picture(59, recorded.views[1]))
    assert not np.array_equal(first, later)
    assert np.array_equal(first, pygame.surfarray.array3d(recorded.picture(16, recorded.views[1])))


def test_an_episode_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    path = record(tmp_path / "episodes", "abc-1")
    record(tmp_path / "episodes", "abd-2")
    assert find_episode(tmp_path, "abc") == path
    assert find_episode(tmp_path, str(path)) == path
    with pytest.raises(UsageError, match="2 episodes begin"):
        find_episode(tmp_path, "ab")
    with pytest.raises(UsageError, match="no episode begins"):
        find_episode(tmp_path, "x")


def test_an_mp4_holds_every_tick_in_real_time(tmp_path: Path) -> None:
    import av

    theatre = Theatre(Recorded(record(tmp_path / "drive", ticks=12, **shipped())))
    out = tmp_path / "drive.mp4"
    shares: list[float] = []
    pictures = export_video(theatre, out, view="hood", progress=shares.append)
    assert pictures == 12 + 20  # the last one stays for a second
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (1280, 720, 20)
        assert sum(1 for _ in container.decode(stream)) == pictures
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive", "drive.mp4"]


def test_an_mp4_that_cannot_be_is_one_line_with_its_fix(
    theatre: Theatre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no view 'roof'"):
        export_video(theatre, tmp_path / "x.mp4", view="roof")
    with pytest.raises(UsageError, match="cannot be written"):
        export_video(theatre, tmp_path / "nowhere" / "x.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match="needs the package av") as caught:
        export_video(theatre, tmp_path / "x.mp4")
    assert caught.value.fix == "pip install 'takeover-loop[viz]'"


def test_without_rerun_the_fix_is_named(known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(UsageError, match="rerun-sdk") as caught:
        write_recording(known, tmp_path / "x.rrd")
    assert "viz" in caught.value.fix


def test_a_rerun_recording_is_written_and_holds_all_entities(known: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun")  # 170 MB: not among the tools of development
    out = tmp_path / "drive.rrd"
    assert write_recording(known, out) == out.stat().st_size > 10_000
    data = out.read_bytes()
    assert data[:3] == b"RRF"
    assert b"takeover" in data
