"""Compiles the kernels (or loads them from numba's cache), so that no tick ever waits for a compiler."""

from __future__ import annotations

import numpy as np

from . import kernels, shading
from .batches import ActorBatch, LightBatch, WeatherLook
from .map_model import MapModel
from .mesh import Mesh
from .renderer import Renderer


def warm() -> int:
    """Imports the kernels, which compiles them, and draws one small picture.

    Returns:
        Number of compiled kernels.
    """
    faces = Mesh().freeze()
    empty = MapModel("warm", faces, np.array([0, len(faces)], np.int64), np.zeros((1, 4)), 0.0)
    pose = (0.0, 0.0, 1.6, 0.0, 0.0, 0.0)
    Renderer(empty).render(
        pose, 16, 8, 76.0, ActorBatch.empty(), WeatherLook(precipitation=10.0), LightBatch.empty()
    )
    compiled = (
        kernels.draw_face,
        kernels.draw_static,
        kernels.draw_actors,
        shading.colour_actors,
        shading.shade_pixels,
    )
    return sum(len(kernel.signatures) for kernel in (*compiled, shading.rain_streaks))
