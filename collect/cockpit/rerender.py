"""Pictures of a recorded drive from any seat: the recorded states drawn again by the embedded server's renderer.

No server and no client run: this is drawing. It needs the map's OpenDRIVE text, and an episode holds the hash of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import carla
import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...scoring.kinematics import EGO
from ...sim_bridge import convert
from ...sim_bridge.embedded.maps import load_xodr, map_display_name
from ...sim_bridge.embedded.render import (
    ActorBatch,
    LightBatch,
    Look,
    MapModel,
    Renderer,
    WeatherLook,
    look_of,
)
from ...sim_bridge.embedded.town import Signal, read_town
from ...sim_bridge.map_bake import map_sha256
from ...sim_bridge.scenarios.catalogue import make_scenario
from ...sim_bridge.weather import weather_of as carla_weather
from ...vocabulary import ActorKind, Agent, CameraSpec, Case, EgoState

EGO_ID = 1
EGO_COLOUR = (33, 66, 120)
EGO_HEIGHT_M = 1.5
COLOURS = ((180, 44, 40), (222, 222, 218), (60, 62, 68), (150, 154, 160), (36, 92, 150), (196, 160, 60))
CLOTHES = ((196, 60, 54), (44, 84, 160), (60, 130, 76), (214, 178, 60), (120, 80, 140))
CONE, BARRIER, SIGN = (232, 96, 24), (214, 70, 40), (236, 150, 30)
PROP = (140, 120, 96)
BRAKING_MPS2 = -0.6
BESIDE_M, ALONG_RAD = 3.0, 0.8
STATES = {"red": 0, "yellow": 1, "green": 2, "off": 3, "unknown": 4}
HEIGHT_M = {ActorKind.VEHICLE: 1.5, ActorKind.WALKER: 1.8, ActorKind.CYCLIST: 1.7, ActorKind.STATIC: 1.0}
Picture = NDArray[np.uint8]


class Rerenderer:
    """Draws one recorded episode.

    Args:
        map_name: Of the episode.
        sha256: Of the map's OpenDRIVE text, as recorded.
        route_m: (M, 2) the route's centre line, world; finds the recorded traffic lights among the map's.
        weather: Fields of `carla.WeatherParameters` that differ from clear noon.

    Raises:
        UsageError: The map is none of ours, or not the same as when it was driven.
    """

    def __init__(
        self, map_name: str, sha256: str, route_m: NDArray[np.float64], weather: dict[str, float]
    ) -> None:
        xodr = load_xodr(map_name)
        name = map_display_name(map_name)
        town = read_town(name, xodr)
        if map_sha256(town.carla_map) != sha256:
            raise UsageError(
                f"map {name} has changed since this drive",
                fix="install the version of takeover-loop that recorded it",
            )
        self._renderer = Renderer(MapModel.from_xodr(xodr, name))
        self._signals = town.signals
        self._on_route = _lights_on(town.signals, route_m)
        self.weather = weather_look(weather)

    def picture(
        self,
        camera: CameraSpec,
        ego: EgoState,
        agents: tuple[Agent, ...],
        lights: tuple[tuple[int, str], ...],
        weather: WeatherLook | None = None,
    ) -> Picture:
        """What a camera on the ego sees.

        Args:
            camera: Where it is mounted.
            ego: The ego.
            agents: Everybody else.
            lights: Recorded states of the route's lights, in the order met.
            weather: None for the episode's own.

        Returns:
            (H, W, 4) BGRA.
        """
        inside = abs(camera.x_m) <= 0.5 * EGO.length_m and camera.z_m <= EGO_HEIGHT_M + 0.5
        mount = convert.camera_transform(camera)
        place = carla.Location(mount.location)
        convert.transform(ego.x_m, ego.y_m, ego.yaw_rad).transform(place)
        pose = (place.x, place.y, place.z, camera.pitch_rad, -ego.yaw_rad - camera.yaw_rad, 0.0)
        return self._renderer.render(
            pose,
            camera.width_px,
            camera.height_px,
            camera.fov_deg,
            _batch(ego, agents),
            weather or self.weather,
            self._lights(lights),
            EGO_ID if inside else 0,
        ).bgra

    def _lights(self, recorded: tuple[tuple[int, str], ...]) -> LightBatch:
        if not self._signals:
            return LightBatch.empty()
        states = np.full(len(self._signals), STATES["off"], np.uint8)
        if len(recorded) == len(self._on_route):
            for at, (_, state) in zip(self._on_route, recorded, strict=True):
                states[at] = STATES[state]
        poses = [(*s.pose[:3], math.radians(s.pose[4])) for s in self._signals]
        ids = np.arange(2, len(self._signals) + 2, dtype=np.uint32)
        return LightBatch(ids, np.array(poses, np.float64), states)


def weather_of(case: Case) -> dict[str, float]:
    """Weather fields that a case sets; none for a scenario that this version does not know."""
    try:
        return make_scenario(case).spec.weather
    except UsageError:
        return {}


def weather_look(fields: dict[str, float]) -> WeatherLook:
    """The drawn part of `carla.WeatherParameters.ClearNoon` with some fields changed."""
    weather = carla_weather(fields)
    return WeatherLook(
        weather.sun_altitude_angle,
        weather.cloudiness,
        weather.precipitation,
        weather.precipitation_deposits,
        weather.fog_density,
        weather.fog_distance,
        weather.wetness,
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    look: Look
    colour: tuple[int, int, int]


def _batch(ego: EgoState, agents: tuple[Agent, ...]) -> ActorBatch:
    drawn = [_Drawn(Look.CAR, EGO_COLOUR), *(_looks(agent) for agent in agents)]
    ids = [EGO_ID, *(1000 + at for at in range(len(agents)))]
    poses = [(ego.x_m, -ego.y_m, 0.0, -ego.yaw_rad), *((a.x_m, -a.y_m, 0.0, -a.yaw_rad) for a in agents)]
    sizes = [
        (EGO.length_m, EGO.width_m, EGO_HEIGHT_M),
        *((a.length_m, a.width_m, _height_m(a)) for a in agents),
    ]
    brakes = [ego.accel_mps2 < BRAKING_MPS2, *(False for _ in agents)]
    return ActorBatch(
        np.array(ids, np.uint32),
        np.array([one.look for one in drawn], np.uint8),
        np.array(poses, np.float64),
        0.5 * np.array(sizes, np.float64),
        np.array([one.colour for one in drawn], np.uint8),
        np.array(brakes, np.bool_),
        np.zeros(len(drawn), np.int8),
    )


def _looks(agent: Agent) -> _Drawn:
    """Shape and colour; an episode keeps class, name and size, so colours are made up from the actor's id."""
    if agent.kind is ActorKind.WALKER:
        return _Drawn(Look.WALKER, CLOTHES[agent.actor_id % len(CLOTHES)])
    colour = COLOURS[agent.actor_id % len(COLOURS)]
    if agent.kind is ActorKind.CYCLIST:
        return _Drawn(Look.BICYCLE, colour)
    if agent.kind is ActorKind.VEHICLE:
        return _Drawn(
            Look.TRUCK if agent.length_m > 7.5 else Look.VAN if agent.length_m > 5.4 else Look.CAR, colour
        )
    look = look_of(agent.name)
    known = {Look.CONE: CONE, Look.BARRIER: BARRIER, Look.WARNING_SIGN: SIGN}
    return _Drawn(look, known.get(look, PROP))


def _height_m(agent: Agent) -> float:
    if agent.kind is ActorKind.VEHICLE and agent.length_m > 5.4:
        return 2.6
    return HEIGHT_M[agent.kind]


def _lights_on(signals: tuple[Signal, ...], route_m: NDArray[np.float64]) -> list[int]:
    """Rows of the signals that govern the route, in the order met."""
    if len(route_m) < 2:
        return []
    steps = np.diff(route_m, axis=0)
    headings = np.arctan2(steps[:, 1], steps[:, 0])
    found = []
    for row, signal in enumerate(signals):
        stop = np.array([signal.stop[0], -signal.stop[1]])
        gaps = np.linalg.norm(route_m[:-1] - stop, axis=1)
        at = int(gaps.argmin())
        turn = math.remainder(-math.radians(signal.pose[4]) - float(headings[at]), math.tau)
        if gaps[at] < max(BESIDE_M, signal.half_width_m) and abs(turn) < ALONG_RAD:
            found.append((at, row))
    return [row for _, row in sorted(found)]
