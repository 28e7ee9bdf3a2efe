"""Faces (planar quads; a triangle repeats its last corner) and the boxes made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .batches import Tag

SUN = np.array([0.36, -0.48, 0.80])  # unit vector towards the sun of the baked shading
Colour = tuple[int, int, int]


class Material(IntEnum):
    """How a face reacts to weather and noise."""

    PLAIN = 0
    ASPHALT = 1
    GRASS = 2
    PAVING = 3
    LAMP = 4  # lights itself
    PAINT_MARK = 5  # road marking
    WINDOW = 6  # lit at night
    GLASS = 7


class Slot(IntEnum):
    """Where the colour of an actor's face comes from."""

    FIXED = 0
    PAINT = 1
    PAINT_DARK = 2
    BRAKE = 3
    INDICATOR_LEFT = 4
    INDICATOR_RIGHT = 5
    HEAD_LAMP = 6
    SHADOW = 7
    TAIL = 8  # a brake lamp that also glows faintly at night


def shade(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brightness of faces by their unit normals (N, 3): soft sky light plus the sun; 1 for level ground."""
    sun = np.maximum(normals @ SUN, 0.0)
    return 0.60 + 0.14 * normals[:, 2] + 0.325 * sun


def newell(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit outward normals (N, 3) of quads (N, 4, 3)."""
    following = np.roll(corners, -1, axis=1)
    normal = np.cross(corners, following).sum(axis=1)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


@dataclass(slots=True)
class Mesh:
    """A growing list of faces with their looks."""

    corners: list[NDArray[np.float64]] = field(default_factory=list)  # each (n, 4, 3)
    rows: list[tuple[int, Colour, int, int, int, int, float]] = field(default_factory=list)
    # (count, rgb, material, tag, layer, slot, reach_m)

    def quads(
        self,
        corners: ArrayLike,
        rgb: Colour,
        tag: Tag,
        *,
        material: Material = Material.PLAIN,
        layer: int = 0,
        slot: Slot = Slot.FIXED,
        reach_m: float = 400.0,
    ) -> None:
        """Add quads (n, 4, 3); corners run counter-clockwise in (x, y) for a face that looks up (+z)."""
        array = np.asarray(corners, np.float64).reshape(-1, 4, 3)
        if len(array):
            self.corners.append(array)
            self.rows.append((len(array), rgb, int(material), int(tag), layer, int(slot), reach_m))

    def hexahedron(
        self,
        bottom: Sequence[float],
        top: Sequence[float],
        rgb: Colour,
        tag: Tag,
        *,
        material: Material = Material.PLAIN,
        layer: int = 0,
        slot: Slot = Slot.FIXED,
        reach_m: float = 400.0,
        pose: tuple[float, float, float] = (0.0, 0.0, 0.0),
        lid: bool = True,
        sides: Iterable[int] = (0, 1, 2, 3),
    ) -> None:
        """Add a body between two level rectangles, each (x0, x1, y0, y1, z), turned by `pose` (x, y, yaw).

        `sides` picks among rear (-x), right (+y), front (+x), left (-y).
        """
        low, high = _rectangle(bottom, pose), _rectangle(top, pose)
        walls = [np.stack([low[(k + 1) % 4], low[k], high[k], high[(k + 1) % 4]]) for k in sides]
        if lid:
            walls.append(high[::-1])
        self.quads(np.stack(walls), rgb, tag, material=material, layer=layer, slot=slot, reach_m=reach_m)

    def box(
        self,
        bounds: Sequence[float],
        rgb: Colour,
        tag: Tag,
        *,
        material: Material = Material.PLAIN,
        layer: int = 0,
        slot: Slot = Slot.FIXED,
        reach_m: float = 400.0,
        pose: tuple[float, float, float] = (0.0, 0.0, 0.0),
        lid: bool = True,
        sides: Iterable[int] = (0, 1, 2, 3),
    ) -> None:
        """Add an upright box (x0, x1, y0, y1, z0, z1)."""
        x0, x1, y0, y1, z0, z1 = bounds
        self.hexahedron(
            (x0, x1, y0, y1, z0),
            (x0, x1, y0, y1, z1),
            rgb,
            tag,
            material=material,
            layer=layer,
            slot=slot,
            reach_m=reach_m,
            pose=pose,
            lid=lid,
            sides=sides,
        )

    def freeze(self) -> Faces:
        """The faces as arrays."""
        if not self.corners:
            self.quads(np.zeros((1, 4, 3)), (0, 0, 0), Tag.UNLABELED)
        counts = [row[0] for row in self.rows]

        def column(k: int, dtype: type[np.generic]) -> NDArray[np.generic]:
            return np.repeat(np.array([row[k] for row in self.rows], dtype), counts, axis=0)

        return Faces(
            np.concatenate(self.corners).astype(np.float32),
            column(1, np.uint8),
            column(2, np.uint8),
            column(3, np.uint8),
            column(4, np.uint8),
            column(5, np.uint8),
            column(6, np.float32),
        )


@dataclass(frozen=True, slots=True)
class Faces:
    """Frozen faces, N rows."""

    corners: NDArray[np.float32]  # (N, 4, 3) metres
    rgb: NDArray[np.generic]  # (N, 3) uint8
    material: NDArray[np.generic]  # (N,) uint8 Material
    tag: NDArray[np.generic]  # (N,) uint8 Tag
    layer: NDArray[np.generic]  # (N,) uint8: among coplanar faces the higher one is seen
    slot: NDArray[np.generic]  # (N,) uint8 Slot
    reach_m: NDArray[np.generic]  # (N,) float32: not drawn further away than this

    def __len__(self) -> int:
        return len(self.corners)

    def take(self, order: NDArray[np.int64]) -> Faces:
        """The faces in another order."""
        return Faces(
            self.corners[order],
            self.rgb[order],
            self.material[order],
            self.tag[order],
            self.layer[order],
            self.slot[order],
            self.reach_m[order],
        )

    def shaded(self) -> Faces:
        """The faces with the sun baked into their colours (lamps keep theirs)."""
        factor = shade(newell(self.corners.astype(np.float64)))
        factor = np.where(self.material == Material.LAMP, 1.0, factor)
        rgb = np.clip(np.asarray(self.rgb, np.float64) * factor[:, None], 0, 255).astype(np.uint8)
        return Faces(self.corners, rgb, self.material, self.tag, self.layer, self.slot, self.reach_m)


def _rectangle(bounds: Sequence[float], pose: tuple[float, float, float]) -> NDArray[np.float64]:
    """Corners (4, 3): rear left, rear right, front right, front left, turned and moved by `pose`."""
    x0, x1, y0, y1, z = bounds
    local = np.array([[x0, y0], [x0, y1], [x1, y1], [x1, y0]], np.float64)
    c, s = np.cos(pose[2]), np.sin(pose[2])
    turned = np.stack(
        [local[:, 0] * c - local[:, 1] * s + pose[0], local[:, 0] * s + local[:, 1] * c + pose[1]], 1
    )
    return np.column_stack([turned, np.full(4, z)])
