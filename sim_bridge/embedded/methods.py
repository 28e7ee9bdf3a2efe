"""RPC methods of the world: settings, maps, weather, lights, Traffic Manager registry. Actors: `methods_actors.py`."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...errors import UsageError
from .maps import map_names
from .navigation import navigation_file
from .simulation import OPENDRIVE_MAP, WORLD_STREAM, Simulation
from .town import Pose, read_town
from .traffic_lights import TrafficLight
from .wire_rpc import DONE, answer, failed, failed_void, ok, rpc_error
from .wire_stream import token
from .world import GROUND_Z_M, WorldError

LOG = logging.getLogger("takeover.embedded")

VERSION = "0.9.16"
MAP_FOLDER = "Carla/Maps/"
NAVIGATION_FOLDER = "Nav"
ROADS_LABEL = 1
REFUSALS = (WorldError, UsageError)  # what a client may do wrong; anything else is a fault of the server


class StreamPort(Protocol):
    """What methods need of the streaming side."""

    port: int

    def expect(self, stream_id: int) -> None:
        """A subscriber is about to connect."""


@dataclass(slots=True)
class Server:
    """What methods act on.

    Attributes:
        simulation: The worlds.
        streams: The streaming side.
        tick: One step in synchronous mode.
        navigation: Clients get the map's pavements for their walkers.
        traffic_managers: Address by port, as clients have registered them.
        faults: What a method could not do though it answered; the caller may not be listening.
    """

    simulation: Simulation
    streams: StreamPort
    tick: Callable[[], int]
    navigation: bool = True
    traffic_managers: dict[int, tuple[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def token(self, stream_id: int) -> list[bytes]:
        """Token of a stream as it travels."""
        return [token(stream_id, self.streams.port)]


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method: what it does, and how its result and its refusal travel."""

    call: Callable[..., Any]
    wrap: Callable[[Any], Any]
    refuse: Callable[[int, str], bytes]


METHODS: dict[str, Method] = {}
Registered = Callable[..., Any]


def value(function: Registered) -> Registered:
    """Registers a method that answers Response<T>."""
    METHODS[function.__name__] = Method(function, ok, lambda number, text: answer(number, failed(text)))
    return function


def void(function: Registered) -> Registered:
    """Registers a method that answers Response<void>."""
    METHODS[function.__name__] = Method(
        function, lambda _: DONE, lambda number, text: answer(number, failed_void(text))
    )
    return function


def bare(function: Registered) -> Registered:
    """Registers a method whose answer has no wrapper."""
    METHODS[function.__name__] = Method(function, lambda result: result, rpc_error)
    return function


def wire_transform(pose: Pose) -> list[list[float]]:
    """`Transform` on the wire."""
    return [list(pose[:3]), list(pose[3:])]


@value
def version(server: Server) -> str:
    """Release that this server speaks for."""
    return VERSION


@value
def get_episode_info(server: Server) -> list[Any]:
    """Episode id and the token of the world stream."""
    return [server.simulation.world.episode_id, server.token(WORLD_STREAM)]


@value
def get_sensor_token(server: Server, stream_id: int) -> list[bytes]:
    """Token of a stream; the client subscribes right after."""
    server.streams.expect(stream_id)
    return server.token(stream_id)


@value
def get_episode_settings(server: Server) -> list[Any]:
    """Settings in force."""
    return server.simulation.settings


@value
def set_episode_settings(server: Server, settings: list[Any]) -> int:
    """Takes settings over; answers the frame."""
    return server.simulation.apply_settings(settings)


@value
def tick_cue(server: Server) -> int:
    """One step in synchronous mode."""
    return server.tick()


@value
def get_available_maps(server: Server) -> list[str]:
    """Maps that can be loaded."""
    return [MAP_FOLDER + name for name in map_names()]


@value
def get_map_info(server: Server) -> list[Any]:
    """Name and spawn points of the present map."""
    town = server.simulation.world.town
    return [MAP_FOLDER + town.name, [wire_transform(pose) for pose in town.spawn_points]]


@value
def get_map_data(server: Server) -> str:
    """OpenDRIVE text of the present map."""
    return server.simulation.world.town.xodr


@value
def get_required_files(server: Server, folder: str, download: bool = True) -> list[str]:
    """Files that the client should fetch: where walkers walk. The map travels as text."""
    name = _navigation_name(server)
    return [name] if folder == NAVIGATION_FOLDER and name else []


@value
def request_file(server: Server, name: str) -> bytes:
    """A file of `get_required_files`; the client keeps it in its cache under that name."""
    if not name or name != _navigation_name(server):
        raise WorldError(f"there is no file {name!r}")
    return navigation_file(server.simulation.world.town)


def _navigation_name(server: Server) -> str:
    """Name that changes with the contents; "" when the map has no pavements, or nobody is to have them."""
    town = server.simulation.world.town
    content = navigation_file(town) if server.navigation else b""
    return f"takeover/{NAVIGATION_FOLDER}/{town.name}-{zlib.crc32(content):08x}.bin" if content else ""


@value
def get_navigation_mesh(server: Server) -> bytes:
    """The file of the map, b"" when it has no pavements."""
    return navigation_file(server.simulation.world.town) if server.navigation else b""


@void
def load_new_episode(server: Server, name: str, reset_settings: bool = True, layers: int = 0) -> None:
    """Starts a new episode; "" reloads the present map."""
    server.simulation.load(server.simulation.town(name), reset_settings)


@void
def copy_opendrive_to_file(server: Server, xodr: str, parameters: list[Any]) -> None:
    """Takes a client's own map; `load_new_episode("OpenDriveMap")` follows."""
    server.simulation.keep_generated(read_town(OPENDRIVE_MAP, xodr))


@value
def get_weather_parameters(server: Server) -> list[float]:
    """14 numbers in the order of `carla.WeatherParameters`."""
    return server.simulation.world.weather


@void
def set_weather_parameters(server: Server, weather: list[float]) -> None:
    """Sets the weather from the next picture on."""
    server.simulation.world.weather = list(weather)


@value
def get_environment_objects(server: Server, tag: int) -> list[Any]:
    """The scenery has no objects of its own."""
    return []


@value
def get_all_level_BBs(server: Server, tag: int) -> list[Any]:
    """The scenery has no boxes."""
    return []


@void
def load_map_layer(server: Server, layers: int) -> None:
    """A map is one piece here; all of it is always there."""


@void
def unload_map_layer(server: Server, layers: int) -> None:
    """As `load_map_layer`."""


@value
def get_names_of_all_objects(server: Server) -> list[str]:
    """The scenery has no objects of its own."""
    return []


@void
def enable_environment_objects(server: Server, ids: list[int], enabled: bool) -> None:
    """Refuses objects that are not there, which is all of them."""
    if ids:
        raise NotImplementedError("the scenery has no objects that could be switched")


@void
def update_lights_state(server: Server, client: str, lights: list[Any], discard: bool = True) -> None:
    """Refuses lamps that are not there, which is all of them."""
    if lights:
        raise NotImplementedError("there are no street lamps")


@void
def update_day_night_cycle(server: Server, client: str, active: bool) -> None:
    """Street lamps that are not there need no hours."""


@value
def get_imui_gravity(server: Server) -> float:
    """What an IMU at rest measures upwards, m/s2."""
    return server.simulation.world.imu_gravity_mps2


@void
def set_imui_gravity(server: Server, gravity_mps2: float) -> None:
    """Changes what IMUs measure; nothing falls differently."""
    server.simulation.world.imu_gravity_mps2 = gravity_mps2


@value
def query_lights_state(server: Server, client: str) -> list[Any]:
    """No street lamps."""
    return []


@value
def project_point(server: Server, start: list[float], direction: list[float], distance_m: float) -> list[Any]:
    """First hit of a ray on the ground."""
    hit = _on_ground(start, [a + b * distance_m for a, b in zip(start, direction, strict=True)])
    return [hit is not None, [hit or [0.0, 0.0, 0.0], ROADS_LABEL]]


@value
def cast_ray(server: Server, start: list[float], end: list[float]) -> list[Any]:
    """Hits of a ray on the ground."""
    hit = _on_ground(start, end)
    return [] if hit is None else [[hit, ROADS_LABEL]]


def _on_ground(start: list[float], end: list[float]) -> list[float] | None:
    drop = start[2] - end[2]
    if drop == 0.0:
        return None
    share = (start[2] - GROUND_Z_M) / drop
    return [a + share * (b - a) for a, b in zip(start, end, strict=True)] if 0.0 <= share <= 1.0 else None


@void
def draw_debug_shape(server: Server, shape: list[Any]) -> None:
    """Debug shapes are for a viewer's window, which this server does not have."""
    LOG.debug("a debug shape is not drawn: %r", shape)


@void
def clear_debug_shape(server: Server) -> None:
    """None is drawn."""


@void
def clear_debug_string(server: Server) -> None:
    """None is drawn."""


@value
def is_sensor_enabled_for_ros(server: Server, stream_id: int) -> bool:
    """No sensor speaks to ROS."""
    return False


@value
def is_traffic_manager_running(server: Server, port: int) -> bool:
    """Whether a client has registered a Traffic Manager."""
    return port in server.traffic_managers


@value
def get_traffic_manager_running(server: Server, port: int) -> list[Any]:
    """Address of a Traffic Manager."""
    return list(server.traffic_managers.get(port, ("", 0)))


@value
def add_traffic_manager_running(server: Server, address: list[Any]) -> bool:
    """Registers a Traffic Manager; the first one on a port stays."""
    host, port = address
    if port in server.traffic_managers:
        return False
    server.traffic_managers[port] = (host, port)
    return True


@value
def destroy_traffic_manager(server: Server, port: int) -> bool:
    """Forgets a Traffic Manager."""
    return server.traffic_managers.pop(port, None) is not None


def _light(server: Server, actor_id: int) -> TrafficLight:
    return server.simulation.world.light(actor_id)


@void
def set_traffic_light_state(server: Server, actor_id: int, state: int) -> None:
    """Shows a state; the cycle goes on from it unless the light is frozen."""
    lights = server.simulation.world.lights
    light = _light(server, actor_id)
    lights.group(light).show(light, state)
    lights.write()


def _set_time(server: Server, actor_id: int, index: int, seconds: float) -> None:
    light = _light(server, actor_id)
    light.times_s[index] = seconds
    light.write(server.simulation.world.table)


@void
def set_traffic_light_green_time(server: Server, actor_id: int, seconds: float) -> None:
    """Length of green."""
    _set_time(server, actor_id, 0, seconds)


@void
def set_traffic_light_yellow_time(server: Server, actor_id: int, seconds: float) -> None:
    """Length of yellow."""
    _set_time(server, actor_id, 1, seconds)


@void
def set_traffic_light_red_time(server: Server, actor_id: int, seconds: float) -> None:
    """Length of the all-red before the next turn."""
    _set_time(server, actor_id, 2, seconds)


@void
def freeze_traffic_light(server: Server, actor_id: int, frozen: bool) -> None:
    """Stops or resumes the cycle of a light's group."""
    lights = server.simulation.world.lights
    for light in lights.group(_light(server, actor_id)).lights:
        light.frozen = frozen
    lights.write()


@void
def freeze_all_traffic_lights(server: Server, frozen: bool) -> None:
    """Stops or resumes every cycle."""
    server.simulation.world.lights.freeze_all(frozen)


@void
def reset_traffic_light_group(server: Server, actor_id: int) -> None:
    """Restarts the cycle of a light's group."""
    lights = server.simulation.world.lights
    lights.group(_light(server, actor_id)).reset()
    lights.write()


@void
def reset_all_traffic_lights(server: Server) -> None:
    """Restarts every cycle."""
    server.simulation.world.lights.reset()


@value
def get_group_traffic_lights(server: Server, actor_id: int) -> list[int]:
    """Ids of the lights of a junction."""
    group = server.simulation.world.lights.group(_light(server, actor_id))
    return [light.actor.id for light in group.lights]


@value
def get_light_boxes(server: Server, actor_id: int) -> list[Any]:
    """Boxes of a light's lamps, in the world."""
    pose = _light(server, actor_id).signal.pose
    return [[[pose[0], pose[1], pose[2] + 3.0], [0.2, 0.3, 0.6], list(pose[3:]), actor_id]]
