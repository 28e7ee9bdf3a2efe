"""What sensors send on a tick. Cameras are rendered only when due and heard; equal views share one pass."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import carla
import msgpack
import numpy as np
from numpy.typing import NDArray

from .actors import Actor
from .blueprints import Kind
from .display import DISPLAY_ROLE, DisplayPainter, Shot
from .lidar import VIEW_DEG, VIEW_PX, LidarSpec, lidar_payload, rays, scan
from .obstacles import first_obstacle
from .physics import AX, WX, WZ, YAW, Z
from .render import ActorBatch, LightBatch, MapModel, RenderedView, Renderer, WeatherLook, look_of
from .town import Town
from .wire_stream import SensorType, image_header, sensor_header
from .world import World, is_lit

Chunks = tuple[bytes, ...]

BODIES = (Kind.VEHICLE, Kind.WALKER, Kind.PROP)
CAMERAS = (SensorType.RGB, SensorType.DEPTH, SensorType.SEMANTIC, SensorType.INSTANCE)
FAR_PLANE_M = 1000.0
TIME_SLACK_S = 1e-6
_CLOTHES = (
    (196, 60, 54),
    (44, 84, 160),
    (60, 130, 76),
    (214, 178, 60),
    (120, 80, 140),
    (230, 230, 226),
    (70, 70, 76),
)
_PROP_COLOURS = {"cone": (232, 96, 24), "barrier": (214, 70, 40), "warning": (236, 150, 30)}
_PLAIN_PROP = (140, 120, 96)


class RendererShelf:
    """One renderer per map; baking a map takes long, so it happens at loading, never in a tick."""

    def __init__(self) -> None:
        self._renderers: dict[str, Renderer] = {}

    def get(self, town: Town) -> Renderer:
        """The renderer of a map."""
        key = f"{town.name}/{zlib.crc32(town.xodr.encode())}"
        if key not in self._renderers:
            self._renderers[key] = Renderer(MapModel.from_xodr(town.xodr, town.name))
        return self._renderers[key]


@dataclass(frozen=True, slots=True)
class View:
    """What decides a camera's picture."""

    pose: tuple[float, ...]
    width_px: int
    height_px: int
    fov_deg: float
    exclude_id: int

    @property
    def pose_rad(self) -> tuple[float, float, float, float, float, float]:
        """x, y, z in metres, pitch, yaw, roll in radians."""
        x, y, z, pitch, yaw, roll = self.pose
        return x, y, z, math.radians(pitch), math.radians(yaw), math.radians(roll)


class Sensors:
    """Sensors of one episode.

    Args:
        world: The episode.
        renderers: Renderers by map.
        painter: Draws the cameras that are for people.
    """

    def __init__(self, world: World, renderers: RendererShelf, painter: DisplayPainter) -> None:
        self._world, self._renderers, self._painter = world, renderers, painter
        self._due_s: dict[int, float] = {}
        self._swept_deg: dict[int, float] = {}
        self._looks: dict[int, tuple[int, tuple[int, int, int]]] = {}

    def forget(self, actor: Actor) -> None:
        """An actor is gone."""
        self._due_s.pop(actor.id, None)
        self._swept_deg.pop(actor.id, None)
        self._looks.pop(actor.id, None)
        self._painter.forget(actor.stream_id)

    def frames(self, heard: Callable[[int], bool], step_s: float) -> Iterator[tuple[int, Chunks]]:
        """Payloads of this tick.

        Args:
            heard: Whether anyone listens to a stream.
            step_s: Length of the tick.

        Yields:
            Stream id and payload.
        """
        world = self._world
        views: dict[View, RenderedView] = {}
        for sensor in world.table.layout().sensors:
            kind = sensor.blueprint.sensor
            if kind is SensorType.LANE_INVASION:
                continue
            if kind is SensorType.COLLISION:
                if world.contacts and heard(sensor.stream_id):
                    yield from self._collisions(sensor)
                continue
            if not self._is_due(sensor) or not heard(sensor.stream_id):
                continue
            if kind in CAMERAS:
                view = self._view(sensor)
                if kind is SensorType.RGB and sensor.value("role_name", "") == DISPLAY_ROLE:
                    self._painter.offer(self._shot(sensor, view))
                    continue
                if view not in views:
                    views[view] = self._render(view)
                yield sensor.stream_id, self._image(sensor, view, views[view])
            elif kind is SensorType.GNSS:
                x, y, z = world.table.motion[sensor.row, :3].tolist()
                place = world.town.carla_map.transform_to_geolocation(carla.Location(x, y, z))
                yield (
                    sensor.stream_id,
                    self._packed(sensor, [place.latitude, place.longitude, place.altitude]),
                )
            elif kind is SensorType.IMU:
                yield sensor.stream_id, self._packed(sensor, self._inertia(sensor))
            elif kind is SensorType.LIDAR:
                yield sensor.stream_id, (self._header(sensor), self._scan(sensor, step_s))
            elif kind is SensorType.OBSTACLE:
                bodies = (actor for actor in world.table if actor.kind in BODIES and actor.solid)
                if (found := first_obstacle(world.table, sensor, bodies)) is not None:
                    ends = [[*world.describe(one), b""] for one in (sensor.parent or sensor, found[0])]
                    yield sensor.stream_id, self._packed(sensor, [*ends, found[1]])

    def _is_due(self, sensor: Actor) -> bool:
        now_s = self._world.time_s
        due_s = self._due_s.get(sensor.id, now_s)
        if now_s < due_s - TIME_SLACK_S:
            return False
        period_s = float(sensor.value("sensor_tick", "0"))
        self._due_s[sensor.id] = max(due_s + period_s, now_s) if period_s > 0.0 else now_s
        return True

    def _header(self, sensor: Actor) -> bytes:
        assert sensor.blueprint.sensor is not None
        world = self._world
        pose = world.table.motion[sensor.row, :6]
        return sensor_header(sensor.blueprint.sensor, world.frame, world.time_s, pose)

    def _packed(self, sensor: Actor, value: list[object]) -> Chunks:
        return self._header(sensor), bytes(msgpack.packb(value))

    def _collisions(self, sensor: Actor) -> Iterator[tuple[int, Chunks]]:
        world = self._world
        for contact in world.contacts:
            if sensor.parent is contact.first:
                other, sign = contact.second, 1.0
            elif sensor.parent is contact.second:
                other, sign = contact.first, -1.0
            else:
                continue
            impulse = [sign * contact.impulse[0], sign * contact.impulse[1], 0.0]
            event = [[*world.describe(one), b""] for one in (sensor.parent, other)]
            yield sensor.stream_id, self._packed(sensor, [*event, impulse])

    def _inertia(self, sensor: Actor) -> list[object]:
        motion = self._world.table.motion
        body = motion[sensor.parent.row if sensor.parent else sensor.row]
        yaw = math.radians(motion[sensor.row, YAW])
        cos, sin = math.cos(yaw), math.sin(yaw)
        ax, ay = body[AX], body[AX + 1]
        accel = [ax * cos + ay * sin, -ax * sin + ay * cos, self._world.imu_gravity_mps2]
        gyro = np.radians(body[WX : WZ + 1]).tolist()
        return [accel, gyro, (yaw + math.pi / 2.0) % math.tau]

    def _scan(self, sensor: Actor, step_s: float) -> bytes:
        spec = LidarSpec.of(sensor)
        step_s = max(step_s, float(sensor.value("sensor_tick", "0")))
        azimuths, elevations, after_deg = rays(spec, self._swept_deg.get(sensor.id, 0.0), step_s)
        self._swept_deg[sensor.id] = after_deg
        x, y, z, _, yaw, _ = self._world.table.motion[sensor.row, :6].tolist()

        def depth_of(turn_rad: float) -> NDArray[np.float32]:
            pose = (x, y, z, 0.0, yaw + math.degrees(turn_rad), 0.0)
            return self._render(View(pose, VIEW_PX, VIEW_PX, VIEW_DEG, self._body_around(sensor))).depth_m

        counts, points = scan(spec, azimuths, elevations, depth_of, (self._world.frame, sensor.id))
        return lidar_payload(math.radians(after_deg), counts, points)

    def _body_around(self, sensor: Actor) -> int:
        """Id of the parent when the sensor is inside its body, which it then looks out of; else 0."""
        parent, table = sensor.parent, self._world.table
        if parent is None:
            return 0
        x, y, z = table.mount[sensor.row, :3].tolist()
        hx, hy, hz = table.extent[parent.row].tolist()
        return parent.id if abs(x) <= hx and abs(y) <= hy and z <= 2.0 * hz + 0.5 else 0

    def _view(self, sensor: Actor) -> View:
        table, exclude = self._world.table, self._body_around(sensor)
        width, height = int(sensor.value("image_size_x", "800")), int(sensor.value("image_size_y", "600"))
        fov = float(sensor.value("fov", "90"))
        return View(tuple(table.motion[sensor.row, :6].tolist()), width, height, fov, exclude)

    def _render(self, view: View) -> RenderedView:
        return self._renderers.get(self._world.town).render(
            view.pose_rad, view.width_px, view.height_px, view.fov_deg,
            self._actors(), self._weather(), self._lights(), view.exclude_id,
        )  # fmt: skip

    def _shot(self, sensor: Actor, view: View) -> Shot:
        return Shot(
            sensor.stream_id,
            self._image_header(sensor, view),
            self._renderers.get(self._world.town).map_model,
            view.pose_rad,
            view.width_px,
            view.height_px,
            view.fov_deg,
            self._actors(),
            self._weather(),
            self._lights(),
            view.exclude_id,
        )

    def _weather(self) -> WeatherLook:
        w = self._world.weather
        return WeatherLook(
            sun_altitude_deg=w[5], cloudiness=w[0], precipitation=w[1], precipitation_deposits=w[2],
            fog_density=w[6], fog_distance_m=w[7], wetness=w[9],
        )  # fmt: skip

    def _actors(self) -> ActorBatch:
        table = self._world.table
        drawn = [a for a in table if a.kind in (Kind.VEHICLE, Kind.WALKER, Kind.PROP)]
        if not drawn:
            return ActorBatch.empty()
        rows = [a.row for a in drawn]
        looks = [self._look(a) for a in drawn]
        lit = [is_lit(a) for a in drawn]
        where = table.motion[rows][:, (0, 1, Z, YAW)]
        where[:, 2] += table.box_z[rows] - table.extent[rows, 2]
        where[:, 3] = np.radians(where[:, 3])
        return ActorBatch(
            np.array([a.id for a in drawn], np.uint32),
            np.array([kind for kind, _ in looks], np.uint8),
            where,
            table.extent[rows],
            np.array([colour for _, colour in looks], np.uint8),
            np.array([brake for brake, _ in lit], np.bool_),
            np.array([side for _, side in lit], np.int8),
        )

    def _look(self, actor: Actor) -> tuple[int, tuple[int, int, int]]:
        found = self._looks.get(actor.id)
        if found is None:
            name = actor.blueprint.id
            colour = _PLAIN_PROP
            if actor.kind is Kind.VEHICLE:
                default = next(a.value for a in actor.blueprint.attributes if a.name == "color")
                red, green, blue = (int(part) for part in actor.value("color", default).split(","))
                colour = (red, green, blue)
            elif actor.kind is Kind.WALKER:
                colour = _CLOTHES[int(name.rsplit(".", 1)[-1]) % len(_CLOTHES)]
            else:
                colour = next((c for key, c in _PROP_COLOURS.items() if key in name), _PLAIN_PROP)
            found = self._looks[actor.id] = (int(look_of(name)), colour)
        return found

    def _lights(self) -> LightBatch:
        lights = self._world.lights.lights
        if not lights:
            return LightBatch.empty()
        poses = [(*light.signal.pose[:3], math.radians(light.signal.pose[4])) for light in lights]
        return LightBatch(
            np.array([light.actor.id for light in lights], np.uint32),
            np.array(poses, np.float64),
            np.array([light.state for light in lights], np.uint8),
        )

    def _image(self, sensor: Actor, view: View, picture: RenderedView) -> Chunks:
        return self._image_header(sensor, view), _pixels(sensor.blueprint.sensor, picture).tobytes()

    def _image_header(self, sensor: Actor, view: View) -> bytes:
        return self._header(sensor) + image_header(view.width_px, view.height_px, view.fov_deg)


def _pixels(kind: SensorType | None, picture: RenderedView) -> NDArray[np.uint8]:
    """(H, W, 4) BGRA as CARLA encodes each camera."""
    if kind is SensorType.RGB:
        return picture.bgra
    out = np.full((*picture.depth_m.shape, 4), 255, np.uint8)
    if kind is SensorType.DEPTH:
        steps = np.clip(picture.depth_m / FAR_PLANE_M, 0.0, 1.0).astype(np.float64) * (256**3 - 1)
        code = steps.astype(np.uint32)
        for channel, shift in ((2, 0), (1, 8), (0, 16)):
            out[..., channel] = (code >> shift) & 0xFF
        return out
    out[..., 2] = picture.semantic
    if kind is SensorType.INSTANCE:
        out[..., 1] = picture.instance & 0xFF
        out[..., 0] = (picture.instance >> 8) & 0xFF
    else:
        out[..., :2] = 0
    return out
