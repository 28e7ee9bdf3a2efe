"""Shapes of vehicles and two-wheelers, in metres, x forward, y right, ground at z = 0."""

from __future__ import annotations

import math

from .batches import Tag
from .mesh import Colour, Material, Mesh, Slot

SKIN, ORANGE, WHITE = (214, 160, 124), (245, 96, 14), (236, 236, 232)
_TYRE, _RIM, _GLASS, _TRIM = (22, 22, 24), (120, 122, 126), (34, 42, 52), (40, 41, 44)
_SHADOW = (38, 39, 41)


def add_shadow(mesh: Mesh, half_x: float, half_y: float) -> None:
    """A dark patch on the ground below an actor; it belongs to the road in the id picture."""
    quad = [
        [-half_x, -half_y, 0.02],
        [half_x, -half_y, 0.02],
        [half_x, half_y, 0.02],
        [-half_x, half_y, 0.02],
    ]
    mesh.quads([quad], _SHADOW, Tag.ROADS, layer=6, slot=Slot.SHADOW, reach_m=120)


def _disc(centre: tuple[float, float, float], radius: float, side: float) -> list[list[list[float]]]:
    """An octagon in the x-z plane that looks towards side * y, as three quads."""
    x, y, z = centre
    ring = [
        (x + radius * math.cos(a), z + radius * math.sin(a))
        for a in (math.pi / 8 + k * math.pi / 4 for k in range(8))
    ]
    order = range(8) if side < 0 else range(7, -1, -1)
    p = [[ring[k][0], y, ring[k][1]] for k in order]
    return [[p[0], p[1], p[2], p[3]], [p[0], p[3], p[4], p[7]], [p[4], p[5], p[6], p[7]]]


def _wheel(mesh: Mesh, x: float, y: float, radius: float, width: float, tag: Tag) -> None:
    """A wheel whose outer side is at y, with its tread seen from front and rear."""
    side = math.copysign(1.0, y)
    mesh.quads(_disc((x, y, radius), radius, side), _TYRE, tag)
    mesh.quads(_disc((x, y + 0.01 * side, radius), radius * 0.55, side), _RIM, tag, layer=2, reach_m=25)
    inner = y - side * width
    bounds = (x - radius * 0.92, x + radius * 0.92, min(y, inner), max(y, inner), 0.0, radius * 1.5)
    mesh.box(bounds, _TYRE, tag, sides=(0, 2), lid=False)


def _lamps(
    mesh: Mesh, rear_x: float, front_x: float, half_y: float, z: float, size: tuple[float, float], tag: Tag
) -> None:
    """Brake, indicator and head lamps; brake lamps are large so that they still show at 40 m."""
    width, height = size
    for side, slot in ((1.0, Slot.INDICATOR_RIGHT), (-1.0, Slot.INDICATOR_LEFT)):
        outer, inner = side * half_y, side * (half_y - width)
        mid = side * (half_y - 0.28 * width)

        def lamp(
            x: float, a: float, b: float, colour: Colour, what: Slot, rear: bool, h: float = height
        ) -> None:
            low, high = (x - 0.04, x + 0.1) if rear else (x - 0.1, x + 0.04)
            bounds = (low, high, min(a, b), max(a, b), z, z + h)
            mesh.box(bounds, colour, tag, material=Material.LAMP, layer=3, slot=what)

        lamp(rear_x, mid, inner, (92, 12, 14), Slot.TAIL, True)
        lamp(rear_x, outer, mid, (150, 84, 12), slot, True, height * 0.9)
        lamp(front_x, mid, inner, (206, 208, 210), Slot.HEAD_LAMP, False, height * 0.8)
        lamp(front_x, outer, mid, (150, 84, 12), slot, False, height * 0.7)


def _window(
    mesh: Mesh, bottom: tuple[float, ...], top: tuple[float, ...], sides: tuple[int, ...], tag: Tag
) -> None:
    """Panes just outside a body, on some of its sides."""
    mesh.hexahedron(bottom, top, _GLASS, tag, material=Material.GLASS, layer=2, sides=sides, lid=False)


def car(fine: bool) -> Mesh:
    """A saloon; without detail for distances."""
    mesh, tag = Mesh(), Tag.CAR
    add_shadow(mesh, 2.6, 1.15)
    mesh.hexahedron(
        (-2.38, 2.38, -0.98, 0.98, 0.22),
        (-2.42, 2.42, -1.03, 1.03, 0.58),
        (0, 0, 0),
        tag,
        slot=Slot.PAINT,
        lid=False,
    )
    mesh.hexahedron(
        (-2.42, 2.42, -1.03, 1.03, 0.58), (-2.30, 2.15, -0.93, 0.93, 0.95), (0, 0, 0), tag, slot=Slot.PAINT
    )
    mesh.hexahedron(
        (-1.85, 1.15, -0.90, 0.90, 0.94),
        (-1.20, 0.30, -0.72, 0.72, 1.42),
        _GLASS,
        tag,
        material=Material.GLASS,
    )
    mesh.box((-1.24, 0.34, -0.74, 0.74, 1.40, 1.48), (0, 0, 0), tag, slot=Slot.PAINT)
    _lamps(mesh, -2.38, 2.32, 1.0, 0.62, (0.62, 0.22), tag)
    bounds = (-1.86, -1.6, -0.3, 0.3, 0.96, 1.04)
    mesh.box(bounds, (70, 10, 12), tag, material=Material.LAMP, layer=3, slot=Slot.BRAKE, reach_m=60)
    if fine:
        mesh.box((-2.45, 2.45, -0.9, 0.9, 0.24, 0.42), _TRIM, tag, layer=1, sides=(0, 2), lid=False)
        mesh.box(
            (-2.46, 2.46, -0.26, 0.26, 0.46, 0.58), WHITE, tag, layer=2, sides=(0, 2), lid=False, reach_m=30
        )
        for side in (-1.0, 1.0):
            for x in (-1.48, 1.5):
                _wheel(mesh, x, 1.04 * side, 0.34, 0.24, tag)
            # the pillar between the side windows, and the mirror
            for x in (-0.42, -0.34):
                mesh.box(
                    (x, x + 0.1, min(0.8 * side, 0.86 * side), max(0.8 * side, 0.86 * side), 0.94, 1.41),
                    (0, 0, 0),
                    tag,
                    slot=Slot.PAINT,
                    lid=False,
                    reach_m=25,
                )
            mesh.box(
                (0.7, 0.9, min(0.92 * side, 1.1 * side), max(0.92 * side, 1.1 * side), 0.96, 1.1),
                (0, 0, 0),
                tag,
                slot=Slot.PAINT_DARK,
                reach_m=25,
            )
    else:
        mesh.box((-2.0, 2.0, -1.0, 1.0, 0.0, 0.24), _TYRE, tag, lid=False)
    return mesh


def van(fine: bool) -> Mesh:
    """A delivery van."""
    mesh, tag = Mesh(), Tag.CAR
    add_shadow(mesh, 2.9, 1.15)
    mesh.hexahedron(
        (-2.72, 2.70, -1.0, 1.0, 0.3), (-2.72, 2.60, -1.0, 1.0, 1.15), (0, 0, 0), tag, slot=Slot.PAINT
    )
    mesh.hexahedron(
        (-2.72, 2.0, -1.0, 1.0, 1.15), (-2.66, 1.3, -0.94, 0.94, 2.28), (0, 0, 0), tag, slot=Slot.PAINT
    )
    _window(mesh, (1.9, 2.04, -0.9, 0.9, 1.2), (1.32, 1.46, -0.84, 0.84, 2.05), (2,), tag)
    mesh.box(
        (-2.74, -2.6, -0.82, 0.82, 1.3, 1.95),
        _GLASS,
        tag,
        material=Material.GLASS,
        layer=2,
        sides=(0,),
        lid=False,
    )
    _window(mesh, (0.3, 1.75, -1.01, 1.01, 1.22), (0.3, 1.3, -0.97, 0.97, 1.95), (1, 3), tag)
    _lamps(mesh, -2.7, 2.64, 1.0, 0.75, (0.42, 0.42), tag)
    mesh.box(
        (-2.76, -2.6, -0.3, 0.3, 2.06, 2.16),
        (70, 10, 12),
        tag,
        material=Material.LAMP,
        layer=3,
        slot=Slot.BRAKE,
        reach_m=60,
    )
    if fine:
        mesh.box((-2.75, 2.73, -0.9, 0.9, 0.3, 0.5), _TRIM, tag, layer=1, sides=(0, 2), lid=False)
        for side in (-1.0, 1.0):
            for x in (-1.7, 1.75):
                _wheel(mesh, x, 1.02 * side, 0.37, 0.26, tag)
    else:
        mesh.box((-2.4, 2.4, -0.98, 0.98, 0.0, 0.3), _TYRE, tag, lid=False)
    return mesh


def truck(fine: bool) -> Mesh:
    """A lorry with a box body."""
    mesh, tag = Mesh(), Tag.TRUCK
    add_shadow(mesh, 4.1, 1.4)
    mesh.box((-3.95, 1.9, -1.25, 1.25, 0.95, 3.4), (206, 206, 200), tag)
    mesh.box((-3.9, 3.6, -1.1, 1.1, 0.5, 0.95), _TRIM, tag, lid=False)
    mesh.hexahedron(
        (2.05, 3.95, -1.2, 1.2, 0.5), (2.05, 3.9, -1.2, 1.2, 1.6), (0, 0, 0), tag, slot=Slot.PAINT
    )
    mesh.hexahedron(
        (2.05, 3.9, -1.2, 1.2, 1.6), (2.05, 3.5, -1.15, 1.15, 2.75), (0, 0, 0), tag, slot=Slot.PAINT
    )
    _window(mesh, (3.8, 3.93, -1.05, 1.05, 1.65), (3.4, 3.54, -1.0, 1.0, 2.55), (2,), tag)
    _window(mesh, (2.6, 3.75, -1.21, 1.21, 1.65), (2.6, 3.45, -1.17, 1.17, 2.5), (1, 3), tag)
    _lamps(mesh, -3.92, 3.88, 1.15, 0.6, (0.6, 0.3), tag)
    mesh.box((-3.97, -3.8, -1.2, 1.2, 0.98, 1.1), ORANGE, tag, layer=2, sides=(0,), lid=False)
    if fine:
        for side in (-1.0, 1.0):
            for x in (-2.9, -1.75, 2.9):
                _wheel(mesh, x, 1.24 * side, 0.5, 0.35, tag)
    else:
        mesh.box((-3.4, 3.4, -1.2, 1.2, 0.0, 0.55), _TYRE, tag, lid=False)
    return mesh


def two_wheeler(*, motor: bool) -> Mesh:
    """A motorcycle or a bicycle with its rider."""
    tag = Tag.MOTORCYCLE if motor else Tag.BICYCLE
    mesh = Mesh()
    radius, half = (0.32, 0.09) if motor else (0.34, 0.04)
    reach = 0.72 if motor else 0.56
    add_shadow(mesh, 1.0, 0.35)
    for x in (-reach, reach):
        for side in (-1.0, 1.0):
            mesh.quads(_disc((x, side * half, radius), radius, side), _TYRE, tag)
            mesh.quads(
                _disc((x, side * (half + 0.005), radius), radius * 0.7, side),
                (90, 92, 96),
                tag,
                layer=2,
                reach_m=25,
            )
        mesh.box(
            (x - radius * 0.9, x + radius * 0.9, -half, half, 0.02, radius * 1.6),
            _TYRE,
            tag,
            sides=(0, 2),
            lid=False,
        )
    if motor:
        mesh.hexahedron(
            (-0.7, 0.55, -0.17, 0.17, 0.35), (-0.85, 0.5, -0.2, 0.2, 0.85), (0, 0, 0), tag, slot=Slot.PAINT
        )
        mesh.box(
            (-0.92, -0.8, -0.16, 0.16, 0.68, 0.84),
            (96, 10, 12),
            tag,
            material=Material.LAMP,
            layer=3,
            slot=Slot.TAIL,
        )
        mesh.box(
            (0.6, 0.8, -0.12, 0.12, 0.78, 0.98),
            (206, 208, 210),
            tag,
            material=Material.LAMP,
            layer=3,
            slot=Slot.HEAD_LAMP,
        )
    else:
        mesh.hexahedron(
            (-0.5, 0.5, -0.04, 0.04, 0.34), (-0.2, 0.42, -0.04, 0.04, 0.88), (0, 0, 0), tag, slot=Slot.PAINT
        )
    mesh.box((0.42, 0.52, -0.34, 0.34, 0.98, 1.05), _TRIM, tag)
    for side in (-1.0, 1.0):
        y = 0.13 * side
        mesh.hexahedron(
            (-0.05, 0.15, y - 0.08, y + 0.08, 0.3),
            (-0.3, 0.05, y - 0.09, y + 0.09, 0.95),
            (38, 44, 70),
            Tag.RIDER,
        )
        mesh.hexahedron(
            (0.1, 0.4, y * 2.2 - 0.06, y * 2.2 + 0.06, 1.0),
            (-0.1, 0.1, y * 1.7 - 0.07, y * 1.7 + 0.07, 1.42),
            (0, 0, 0),
            Tag.RIDER,
            slot=Slot.PAINT_DARK,
        )
    mesh.hexahedron(
        (-0.35, 0.02, -0.2, 0.2, 0.88), (-0.15, 0.2, -0.24, 0.24, 1.46), (0, 0, 0), Tag.RIDER, slot=Slot.PAINT
    )
    head: Colour = (30, 30, 34) if motor else SKIN
    mesh.box((-0.05, 0.22, -0.13, 0.13, 1.48, 1.76), head, Tag.RIDER)
    if not motor:
        mesh.box((-0.07, 0.24, -0.14, 0.14, 1.66, 1.79), (210, 60, 50), Tag.RIDER, layer=2)
    return mesh
