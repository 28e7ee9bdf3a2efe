"""RPC methods of the recorder and the replayer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .methods import Server, value, void
from .recordings import Recorder, Recording
from .replay import Replay


@value
def start_recorder(server: Server, name: str, additional_data: bool = False) -> str:
    """Records from now on; a relative name is taken from the folder that the server runs in."""
    simulation = server.simulation
    simulation.stop_recorder()
    simulation.recorder = Recorder(Path(name).absolute(), simulation.world)
    return str(simulation.recorder.path)


@void
def stop_recorder(server: Server) -> None:
    """Ends the recording, if there is one."""
    server.simulation.stop_recorder()


def _read(server: Server, name: str) -> Recording:
    path, recorder = Path(name).absolute(), server.simulation.recorder
    if recorder is not None and recorder.path == path:
        server.simulation.stop_recorder()
    return Recording.read(path)


@value
def show_recorder_file_info(server: Server, name: str, show_all: bool) -> str:
    """Map, length and events of a recording."""
    return _read(server, name).info(show_all)


@value
def show_recorder_collisions(server: Server, name: str, first: int, second: int) -> str:
    """Contacts in a recording; the kinds travel as character codes."""
    return _read(server, name).collisions(chr(first), chr(second))


@value
def show_recorder_actors_blocked(server: Server, name: str, min_time_s: float, min_distance_cm: float) -> str:
    """Vehicles that stood in a recording."""
    return _read(server, name).blocked(min_time_s, min_distance_cm / 100.0)


@value
def replay_file(
    server: Server,
    name: str,
    start_s: float,
    duration_s: float,
    follow_id: int,
    replay_sensors: bool = False,
    follow_offset: list[Any] | None = None,
) -> str:
    """Drives a recording again; nothing follows an actor, as there is no window, and sensors are not recorded."""
    simulation = server.simulation
    recording = _read(server, name)
    simulation.stop_replay(keep=False)
    simulation.replay = Replay(
        recording, simulation.world, simulation.replay_options, start_s, duration_s, simulation.destroy
    )
    return f"Replaying {name}: {len(recording.frames)} frames, {recording.duration_s:.6g} seconds"


@void
def stop_replayer(server: Server, keep_actors: bool) -> None:
    """Ends the replay, if there is one."""
    server.simulation.stop_replay(keep_actors)


@void
def set_replayer_time_factor(server: Server, factor: float) -> None:
    """Recorded seconds in a simulated one."""
    server.simulation.replay_options.time_factor = factor


@void
def set_replayer_ignore_hero(server: Server, ignore: bool) -> None:
    """Whether replays that follow leave the recorded hero out."""
    server.simulation.replay_options.ignore_hero = ignore


@void
def set_replayer_ignore_spectator(server: Server, ignore: bool) -> None:
    """The spectator is never recorded."""
