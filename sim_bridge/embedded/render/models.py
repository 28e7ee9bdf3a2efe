"""All shapes of actors and traffic lights in one table, drawn once and stretched to each actor's box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import props, vehicles
from .batches import LightState, Look
from .mesh import Faces, Mesh

WALK_POSES = 4  # of the walker's stride
STRIDE_M = 1.5
FAR_M = 45.0  # beyond it the coarse shape is drawn
Size = tuple[float, float, float]  # half length, half width, half height at which a shape is drawn

_SHAPES: dict[Look, tuple[Callable[[bool], Mesh], Size]] = {
    Look.CAR: (vehicles.car, (2.45, 1.05, 0.75)),
    Look.VAN: (vehicles.van, (2.75, 1.02, 1.15)),
    Look.TRUCK: (vehicles.truck, (4.0, 1.3, 1.7)),
    Look.MOTORCYCLE: (lambda fine: vehicles.two_wheeler(motor=True), (1.05, 0.4, 0.9)),
    Look.BICYCLE: (lambda fine: vehicles.two_wheeler(motor=False), (0.9, 0.4, 0.9)),
    Look.CONE: (lambda fine: props.cone(), (0.22, 0.22, 0.35)),
    Look.BARRIER: (lambda fine: props.barrier(), (0.25, 1.0, 0.58)),
    Look.WARNING_SIGN: (lambda fine: props.warning_sign(), (0.35, 0.6, 1.0)),
    Look.BOX: (lambda fine: props.box(), (0.5, 0.5, 0.5)),
}


@dataclass(frozen=True, slots=True)
class ModelBook:
    """All shapes as one table of faces; model m has the rows start[m] .. start[m + 1].

    Corners are in half-box units: x, y in -1 .. 1, z in 0 .. 2 times the actor's extents.
    """

    faces: Faces
    start: NDArray[np.int64]  # (models + 1,)
    near: NDArray[np.int64]  # (looks, WALK_POSES) model for an actor closer than FAR_M
    far: NDArray[np.int64]  # (looks,) model beyond
    lights: NDArray[np.int64]  # (states,) traffic light models, in metres

    @classmethod
    def build(cls) -> ModelBook:
        """Draws everything; about 10 ms."""
        meshes: list[tuple[Mesh, Size]] = []

        def add(mesh: Mesh, extents: Size) -> int:
            meshes.append((mesh, extents))
            return len(meshes) - 1

        near = np.zeros((len(Look), WALK_POSES), np.int64)
        far = np.zeros(len(Look), np.int64)
        for look, (draw, extents) in _SHAPES.items():
            near[look] = add(draw(True), extents)
            far[look] = add(draw(False), extents)
        for pose in range(WALK_POSES):
            near[Look.WALKER, pose] = add(props.walker(pose), props.WALKER_SIZE)
        far[Look.WALKER] = near[Look.WALKER, 1]
        lights = np.array(
            [add(props.traffic_light(state), (1.0, 1.0, 1.0)) for state in LightState], np.int64
        )
        start = np.zeros(len(meshes) + 1, np.int64)
        parts = []
        for m, (mesh, extents) in enumerate(meshes):
            faces = mesh.freeze()
            start[m + 1] = start[m] + len(faces)
            parts.append((faces, np.array(extents, np.float32)))
        faces = Faces(
            np.concatenate([f.corners / extents for f, extents in parts]),
            *(
                np.concatenate([getattr(f, name) for f, _ in parts])
                for name in ("rgb", "material", "tag", "layer", "slot", "reach_m")
            ),
        )
        return cls(faces, start, near, far, lights)
