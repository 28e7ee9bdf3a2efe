"""A map as faces sorted into cells, ready for the rasteriser."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import carla
import numpy as np
from numpy.typing import NDArray

from .mesh import Faces, Mesh
from .roads import bake_roads
from .scenery import bake_scenery

_CELL_M = 24.0


@dataclass(frozen=True, slots=True)
class MapModel:
    """The static world of one map."""

    name: str
    faces: Faces  # shaded, ordered by cell
    cell_start: NDArray[np.int64]  # (C + 1,) first face of each cell
    cell_ball: NDArray[np.float64]  # (C, 4) centre and radius of each cell's faces
    ground_z: float  # height of the endless grass

    @classmethod
    def from_xodr(cls, xodr_text: str, name: str) -> MapModel:
        """Bakes a map; the same text and name give the same faces.

        Args:
            xodr_text: OpenDRIVE text.
            name: Name of the map; it also seeds the scenery.
        """
        mesh = Mesh()
        shape = bake_roads(carla.Map(name, xodr_text), xodr_text, mesh)
        if shape.surface:
            bake_scenery(shape, name, mesh)
        faces = mesh.freeze().shaded()
        centres = faces.corners[:, :, :2].mean(axis=1).astype(np.float64)
        cell = np.floor(centres / _CELL_M).astype(np.int64)
        order = np.lexsort((np.arange(len(cell)), cell[:, 1], cell[:, 0]))
        faces, cell = faces.take(order), cell[order]
        change = np.flatnonzero(np.any(np.diff(cell, axis=0) != 0, axis=1)) + 1
        start = np.concatenate([[0], change, [len(cell)]]).astype(np.int64)
        balls = np.empty((len(start) - 1, 4))
        for k, (a, b) in enumerate(pairwise(start)):
            points = faces.corners[a:b].reshape(-1, 3).astype(np.float64)
            centre = (points.min(axis=0) + points.max(axis=0)) / 2
            balls[k, :3] = centre
            balls[k, 3] = np.sqrt(((points - centre) ** 2).sum(axis=1).max())
        return cls(name, faces, start, balls, shape.low_z - 0.02)
