"""Shapes of walkers, road works and traffic lights, in metres, x forward, y right, ground at z = 0."""

from __future__ import annotations

import math

from .batches import LightState, Tag
from .mesh import Material, Mesh, Slot
from .vehicles import ORANGE, SKIN, WHITE, add_shadow

WALKER_SIZE = (0.30, 0.27, 0.90)  # half sizes of the drawn walker


def walker(pose: int) -> Mesh:
    """Legs and arms swing with the stride; wide enough (0.5 m) to stay visible from every side."""
    mesh, tag = Mesh(), Tag.PEDESTRIAN
    swing = (0.13, 0.30, -0.13, -0.30)[pose]
    add_shadow(mesh, 0.34, 0.32)
    for side in (-1.0, 1.0):
        y, step = 0.12 * side, swing * side
        foot = (step - 0.11, step + 0.15, y - 0.09, y + 0.09, 0.0)
        mesh.box((*foot[:4], 0.0, 0.09), (30, 28, 28), tag)
        mesh.hexahedron(
            (step - 0.11, step + 0.11, y - 0.09, y + 0.09, 0.08),
            (-0.16, 0.16, y - 0.12, y + 0.12, 0.88),
            (0, 0, 0),
            tag,
            slot=Slot.PAINT_DARK,
        )
        arm = 0.27 * side
        mesh.hexahedron(
            (-step - 0.07, -step + 0.08, arm - 0.06, arm + 0.06, 0.78),
            (-0.09, 0.09, arm - 0.07, arm + 0.07, 1.44),
            (0, 0, 0),
            tag,
            slot=Slot.PAINT,
        )
        mesh.box((-step - 0.05, -step + 0.07, arm - 0.05, arm + 0.05, 0.68, 0.79), SKIN, tag)
    mesh.hexahedron(
        (-0.19, 0.19, -0.21, 0.21, 0.86), (-0.18, 0.2, -0.26, 0.26, 1.47), (0, 0, 0), tag, slot=Slot.PAINT
    )
    mesh.box((-0.12, 0.13, -0.11, 0.11, 1.5, 1.76), SKIN, tag)
    mesh.box((-0.14, 0.1, -0.125, 0.125, 1.62, 1.8), (52, 36, 26), tag, layer=2)
    return mesh


def cone() -> Mesh:
    """A traffic cone."""
    mesh, tag = Mesh(), Tag.STATIC
    mesh.box((-0.22, 0.22, -0.22, 0.22, 0.0, 0.06), (200, 70, 10), tag)
    mesh.hexahedron(
        (-0.17, 0.17, -0.17, 0.17, 0.06), (-0.12, 0.12, -0.12, 0.12, 0.28), ORANGE, tag, lid=False
    )
    mesh.hexahedron(
        (-0.12, 0.12, -0.12, 0.12, 0.28), (-0.085, 0.085, -0.085, 0.085, 0.46), WHITE, tag, lid=False
    )
    mesh.hexahedron((-0.085, 0.085, -0.085, 0.085, 0.46), (-0.03, 0.03, -0.03, 0.03, 0.7), ORANGE, tag)
    return mesh


def barrier() -> Mesh:
    """A board across x with red and white fields, on two feet."""
    mesh, tag = Mesh(), Tag.STATIC
    count = 8
    for k in range(count):
        y0, y1 = -1.0 + 2.0 * k / count, -1.0 + 2.0 * (k + 1) / count
        mesh.box((-0.06, 0.06, y0, y1, 0.5, 1.0), (208, 30, 30) if k % 2 else WHITE, tag, sides=(0, 2))
    mesh.box((-0.06, 0.06, -1.0, 1.0, 0.5, 1.0), WHITE, tag, sides=(1, 3), lid=False)
    for y in (-0.75, 0.75):
        mesh.box((-0.25, 0.25, y - 0.06, y + 0.06, 0.0, 0.5), (70, 70, 72), tag)
    for y in (-0.9, 0.9):
        mesh.box((-0.08, 0.08, y - 0.08, y + 0.08, 1.0, 1.16), (255, 178, 20), tag, material=Material.LAMP)
    return mesh


def warning_sign() -> Mesh:
    """An orange board with a black arrow field on a stand; seen from front and rear."""
    mesh, tag = Mesh(), Tag.TRAFFIC_SIGN
    mesh.box((-0.04, 0.04, -0.05, 0.05, 0.0, 0.9), (70, 70, 72), tag)
    mesh.box((-0.35, 0.35, -0.05, 0.05, 0.0, 0.08), (70, 70, 72), tag)
    for side in (-1.0, 1.0):
        x = 0.06 * side

        def diamond(
            radius: float, depth: float, at: float = x, facing: float = side
        ) -> list[list[list[float]]]:
            px = at + 0.01 * depth * facing
            ring = [[px, 0.0, 1.4 + radius], [px, -radius, 1.4], [px, 0.0, 1.4 - radius], [px, radius, 1.4]]
            return [ring if facing > 0 else ring[::-1]]

        mesh.quads(diamond(0.6, 0), (20, 20, 20), tag, layer=1)
        mesh.quads(diamond(0.53, 1), (250, 120, 10), tag, layer=2)
        mesh.quads(diamond(0.22, 2), (20, 20, 20), tag, layer=3)
    return mesh


def box() -> Mesh:
    """A crate with a band."""
    mesh = Mesh()
    mesh.box((-0.5, 0.5, -0.5, 0.5, 0.0, 1.0), (0, 0, 0), Tag.STATIC, slot=Slot.PAINT)
    mesh.box(
        (-0.51, 0.51, -0.51, 0.51, 0.42, 0.58),
        (0, 0, 0),
        Tag.STATIC,
        slot=Slot.PAINT_DARK,
        layer=1,
        lid=False,
    )
    return mesh


def traffic_light(state: LightState) -> Mesh:
    """A pole with a head at eye height and one over the lane; x is the travel direction of its traffic."""
    mesh, tag = Mesh(), Tag.TRAFFIC_LIGHT
    steel = (74, 78, 82)
    mesh.box((-0.09, 0.09, -0.09, 0.09, 0.0, 5.0), steel, Tag.POLE)
    mesh.box((-0.06, 0.06, -4.2, 0.0, 4.72, 4.86), steel, Tag.POLE)
    lit = {LightState.RED: 0, LightState.YELLOW: 1, LightState.GREEN: 2}.get(state, -1)
    bright = ((255, 28, 20), (255, 196, 20), (20, 240, 90))
    dark = ((64, 14, 14), (62, 50, 12), (10, 52, 24))
    for y, low in ((0.0, 2.1), (-3.9, 3.2)):
        mesh.box((-0.16, 0.02, y - 0.40, y + 0.40, low, low + 1.75), (24, 25, 27), tag)
        for k in range(3):
            z = low + 1.44 - 0.56 * k
            on = k == lit
            radius = 0.27 if on else 0.22
            ring = [
                (y + radius * math.cos(a), z + radius * math.sin(a))
                for a in (math.pi / 8 + j * math.pi / 4 for j in range(8))
            ]
            p = [[-0.17, a, b] for a, b in ring][::-1]
            quads = [[p[0], p[1], p[2], p[3]], [p[0], p[3], p[4], p[7]], [p[4], p[5], p[6], p[7]]]
            mesh.quads(
                quads,
                (bright if on else dark)[k],
                tag,
                material=Material.LAMP if on else Material.PLAIN,
                layer=2,
            )
    return mesh
