"""One call per camera picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .batches import ActorBatch, LightBatch, Look, RenderedView, WeatherLook
from .kernels import draw_actors, draw_static
from .map_model import MapModel
from .models import FAR_M, STRIDE_M, WALK_POSES, ModelBook
from .props import WALKER_SIZE
from .shading import colour_actors, rain_streaks, shade_pixels
from .weather import light_tables, noise_tile

SUPERSAMPLE_UP_TO_PX = 400  # wider pictures take one sample per pixel
VIEW_M = 300.0
_LEAST = np.zeros((len(Look), 3))  # half sizes: CARLA's boxes of people are slimmer than the people
_LEAST[Look.WALKER, :2] = WALKER_SIZE[:2]
_LEAST[[Look.MOTORCYCLE, Look.BICYCLE], 1] = 0.33


class Renderer:
    """Draws views of one map. Keeps its buffers; not thread-safe."""

    def __init__(self, map_model: MapModel) -> None:
        self._map = map_model
        self._book = ModelBook.build()
        self._sizes = np.diff(self._book.start)
        self._buffers: dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.int32]]] = {}
        self._reserve(4096)

    @property
    def map_model(self) -> MapModel:
        """The map that it draws; never written to, so renderers may share it."""
        return self._map

    def _reserve(self, faces: int) -> None:
        """Room for `faces` actor faces behind the map's in the per-face tables."""
        static = self._map.faces
        total = len(static) + faces
        self._room = faces
        self._row_of, self._model_face = np.zeros(faces, np.int32), np.zeros(faces, np.int32)
        self._normal = np.zeros((faces, 3))
        self._rgb = np.zeros((total, 3), np.uint8)
        self._material, self._tag, self._layer = (np.zeros(total, np.uint8) for _ in range(3))
        self._owner = np.zeros(total, np.uint32)
        n = len(static)
        self._rgb[:n], self._material[:n] = static.rgb, static.material
        self._tag[:n], self._layer[:n] = static.tag, static.layer

    def render(
        self,
        camera_pose: tuple[float, float, float, float, float, float],
        width_px: int,
        height_px: int,
        fov_deg: float,
        actors: ActorBatch,
        weather: WeatherLook,
        lights: LightBatch,
        exclude_id: int = 0,
    ) -> RenderedView:
        """Draws one picture.

        Args:
            camera_pose: x, y, z in metres, pitch, yaw, roll in radians; CARLA's frame.
            width_px: Columns.
            height_px: Rows.
            fov_deg: Horizontal field of view, as CARLA's camera attribute.
            actors: What moves or was placed.
            weather: Fog, rain, light.
            lights: Traffic lights.
            exclude_id: An actor that is not drawn (the car that carries the camera); 0 = none.
        """
        step = 2 if width_px <= SUPERSAMPLE_UP_TO_PX else 1
        eye = np.array(camera_pose[:3], np.float64)
        axes = camera_axes(*camera_pose[3:])
        focal = step * width_px / (2.0 * math.tan(math.radians(fov_deg) / 2.0))
        cx, cy = step * width_px / 2.0, step * height_px / 2.0
        inverse_depth, face = self._frame_buffers(step * height_px, step * width_px)
        inverse_depth.fill(1e-6)
        face.fill(-1)
        first = len(self._map.faces)
        tables = light_tables(weather)
        batch = self._join(actors, lights, exclude_id)
        book = self._book
        emitted = draw_actors(
            eye,
            axes,
            focal,
            cx,
            cy,
            book.faces.corners,
            book.faces.layer,
            book.faces.reach_m,
            book.start,
            batch.near,
            batch.far,
            batch.xyzyaw,
            batch.extents,
            first,
            VIEW_M,
            FAR_M,
            self._row_of,
            self._model_face,
            self._normal,
            inverse_depth,
            face,
        )
        static = self._map
        draw_static(
            eye,
            axes,
            focal,
            cx,
            cy,
            static.faces.corners,
            static.faces.layer,
            static.faces.reach_m,
            static.cell_start,
            static.cell_ball,
            VIEW_M,
            inverse_depth,
            face,
        )
        colour_actors(
            emitted,
            self._row_of,
            self._model_face,
            self._normal,
            book.faces.rgb,
            book.faces.material,
            book.faces.tag,
            book.faces.layer,
            book.faces.slot,
            batch.ids,
            batch.colours,
            batch.brake,
            batch.indicators,
            tables.night,
            self._rgb[first:],
            self._material[first:],
            self._tag[first:],
            self._layer[first:],
            self._owner[first:],
        )
        bgra = np.empty((height_px, width_px, 4), np.uint8)
        depth = np.empty((height_px, width_px), np.float32)
        instance = np.empty((height_px, width_px), np.uint32)
        semantic = np.empty((height_px, width_px), np.uint8)
        shade_pixels(
            eye,
            axes,
            focal,
            cx,
            cy,
            static.ground_z,
            step,
            inverse_depth,
            face,
            self._rgb,
            self._material,
            self._tag,
            self._layer,
            self._owner,
            tables.ambient,
            tables.glow,
            tables.head,
            tables.transmission,
            tables.fog,
            tables.sky,
            tables.grass,
            noise_tile(),
            bgra,
            depth,
            instance,
            semantic,
        )
        if tables.rain > 0.0:
            seed = int(abs(eye[0]) * 8191 + abs(eye[1]) * 131071 + abs(camera_pose[4]) * 524287)
            rain_streaks(bgra, seed, tables.rain, 90.0 if tables.night else 215.0)
        return RenderedView(bgra, depth, instance, semantic)

    def _frame_buffers(self, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        key = (height, width)
        if key not in self._buffers:
            self._buffers[key] = (np.empty(key, np.float32), np.empty(key, np.int32))
        return self._buffers[key]

    def _join(self, actors: ActorBatch, lights: LightBatch, exclude_id: int) -> _Rows:
        """Actors and lights as one table; makes room for their faces."""
        keep = np.flatnonzero(actors.ids != exclude_id) if exclude_id else np.arange(len(actors.ids))
        kinds, xyzyaw = actors.kinds[keep].astype(np.int64), np.asarray(actors.xyzyaw, np.float64)[keep]
        extents = np.array(actors.extents, np.float64)[keep].reshape(-1, 3)
        extents = np.maximum(extents, _LEAST[kinds])
        along = xyzyaw[:, 0] * np.cos(xyzyaw[:, 3]) + xyzyaw[:, 1] * np.sin(xyzyaw[:, 3])
        stride = np.floor(along * (WALK_POSES / STRIDE_M)).astype(np.int64) % WALK_POSES
        count = len(lights.ids)
        near = np.concatenate(
            [self._book.near[kinds, stride], self._book.lights[lights.states.astype(np.int64)]]
        )
        far = np.concatenate([self._book.far[kinds], self._book.lights[lights.states.astype(np.int64)]])
        room = int(np.maximum(self._sizes[near], self._sizes[far]).sum())
        if room > self._room:
            self._reserve(2 * room)
        return _Rows(
            near,
            far,
            np.ascontiguousarray(
                np.concatenate([xyzyaw.reshape(-1, 4), np.asarray(lights.xyzyaw, np.float64).reshape(-1, 4)])
            ),
            np.ascontiguousarray(np.concatenate([extents, np.ones((count, 3))])),
            np.concatenate([actors.ids[keep], lights.ids]).astype(np.uint32),
            np.ascontiguousarray(
                np.concatenate([actors.colours[keep].reshape(-1, 3), np.zeros((count, 3), np.uint8)])
            ),
            np.concatenate([actors.brake_lights[keep], np.zeros(count, np.bool_)]).astype(np.uint8),
            np.concatenate([actors.indicators[keep], np.zeros(count, np.int8)]).astype(np.int8),
        )


class _Rows:
    """Actors and lights of one picture as the kernels take them, A rows."""

    def __init__(
        self,
        near: NDArray[np.int64],
        far: NDArray[np.int64],
        xyzyaw: NDArray[np.float64],
        extents: NDArray[np.float64],
        ids: NDArray[np.uint32],
        colours: NDArray[np.uint8],
        brake: NDArray[np.uint8],
        indicators: NDArray[np.int8],
    ) -> None:
        self.near, self.far, self.xyzyaw, self.extents = near, far, xyzyaw, extents
        self.ids, self.colours, self.brake, self.indicators = ids, colours, brake, indicators


def camera_axes(pitch: float, yaw: float, roll: float) -> NDArray[np.float64]:
    """Rows forward, right, up in the world, as carla.Transform turns them."""
    cp, sp, cy, sy, cr, sr = (
        math.cos(pitch),
        math.sin(pitch),
        math.cos(yaw),
        math.sin(yaw),
        math.cos(roll),
        math.sin(roll),
    )
    return np.array(
        [
            [cp * cy, cp * sy, sp],
            [cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, -cp * sr],
            [-cy * sp * cr - sy * sr, -sy * sp * cr + cy * sr, cp * cr],
        ]
    )
