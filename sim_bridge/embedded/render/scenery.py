"""Buildings, trees, lamps and rails beside the roads: fixed by the map's name, clear of every lane."""

from __future__ import annotations

import math
import zlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .batches import Tag
from .mesh import Colour, Material, Mesh
from .roads import Edge, RoadShape

_WALLS: tuple[Colour, ...] = (
    (176, 108, 86),
    (206, 190, 160),
    (150, 152, 156),
    (122, 136, 152),
    (190, 150, 112),
    (216, 210, 198),
    (140, 92, 80),
)
_CROWNS: tuple[Colour, ...] = ((58, 96, 44), (72, 112, 50), (50, 84, 52), (88, 116, 58))
_PANE: Colour = (70, 84, 100)
_LIT: Colour = (255, 214, 140)
_SPACING_M = 9.0


def bake_scenery(shape: RoadShape, name: str, mesh: Mesh) -> None:
    """Adds the scenery of a map to `mesh`; the same name gives the same scenery."""
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    lanes = cKDTree(np.concatenate(shape.surface))
    taken: list[tuple[float, float, float]] = []
    for edge in shape.edges:
        if edge.pavement:
            _line_street(edge, lanes, taken, random, mesh)
        else:
            _line_highway(edge, lanes, taken, random, mesh)


def _free(x: float, y: float, radius: float, lanes: cKDTree, taken: list[tuple[float, float, float]]) -> bool:
    """Whether a disc keeps 3.2 m from the middles of all lanes, and off what stands already."""
    if lanes.query((x, y))[0] < radius + 3.2:
        return False
    return all((x - a) ** 2 + (y - b) ** 2 > (radius + r) ** 2 for a, b, r in taken)


def _walk(edge: Edge, spacing_m: float) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Places (point, outward) along an edge."""
    steps = np.linalg.norm(np.diff(edge.points[:, :2], axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    s = np.arange(spacing_m / 2, along[-1], spacing_m)
    points = np.stack([np.interp(s, along, edge.points[:, k]) for k in range(3)], axis=1)
    outward = np.stack([np.interp(s, along, edge.outward[:, k]) for k in range(3)], axis=1)
    return list(zip(points, outward, strict=True))


def _line_street(
    edge: Edge,
    lanes: cKDTree,
    taken: list[tuple[float, float, float]],
    random: np.random.RandomState,
    mesh: Mesh,
) -> None:
    for k, (point, outward) in enumerate(_walk(edge, _SPACING_M)):
        draw = random.random_sample(8)
        yaw = math.atan2(outward[1], outward[0])
        if k % 4 == 1:
            _lamp_post(point, yaw, mesh)
        if draw[0] < 0.50:
            half_depth, half_front, height = (
                4 + 4 * draw[1],
                4.5 + 4.5 * draw[2],
                3.2 * (2 + int(4 * draw[3])),
            )
            gap = half_depth + 2.5 + 5.0 * draw[4]
            x, y = point[0] + outward[0] * gap, point[1] + outward[1] * gap
            radius = math.hypot(half_depth, half_front) * 0.92
            if _free(x, y, radius, lanes, taken):
                taken.append((x, y, radius))
                wall = _WALLS[int(draw[5] * len(_WALLS))]
                _building((x, y, yaw), point[2], half_depth, half_front, height, wall, draw[6], mesh)
        elif draw[0] < 0.9:
            gap = 2.2 + 7.0 * draw[1]
            x, y = point[0] + outward[0] * gap, point[1] + outward[1] * gap
            if _free(x, y, 1.2, lanes, taken):
                taken.append((x, y, 2.0))
                _tree((x, y, point[2]), 0.8 + 0.5 * draw[2], _CROWNS[int(draw[3] * len(_CROWNS))], mesh)


def _line_highway(
    edge: Edge,
    lanes: cKDTree,
    taken: list[tuple[float, float, float]],
    random: np.random.RandomState,
    mesh: Mesh,
) -> None:
    places = _walk(edge, 4.0)
    low, high = np.array([0.0, 0.0, 0.42]), np.array([0.0, 0.0, 0.78])
    for (a, out_a), (b, out_b) in pairwise(places):
        p, q = a + 0.5 * out_a, b + 0.5 * out_b
        if lanes.query(p[:2])[0] < 1.6 or lanes.query(q[:2])[0] < 1.6:
            continue
        rail = np.stack([p + low, q + low, q + high, p + high])
        mesh.quads(np.stack([rail, rail[::-1]]), (188, 192, 196), Tag.GUARD_RAIL, reach_m=160)
        mesh.box(
            (-0.06, 0.06, -0.06, 0.06, 0, 0.7),
            (96, 98, 102),
            Tag.GUARD_RAIL,
            pose=(p[0], p[1], 0.0),
            lid=False,
            reach_m=40,
        )
    for point, outward in _walk(edge, 11.0):
        draw = random.random_sample(5)
        gap = 6.0 + 22.0 * draw[0]
        x, y = point[0] + outward[0] * gap, point[1] + outward[1] * gap
        if draw[4] < 0.75 and _free(x, y, 1.5, lanes, taken):
            taken.append((x, y, 2.0))
            _tree((x, y, point[2]), 0.9 + 0.8 * draw[1], _CROWNS[int(draw[2] * len(_CROWNS))], mesh)


def _building(
    pose: tuple[float, float, float],
    z: float,
    half_depth: float,
    half_front: float,
    height: float,
    wall: Colour,
    style: float,
    mesh: Mesh,
) -> None:
    """A block with windows: separate ones towards the road (local -x), bands on the other sides."""
    bounds = (-half_depth, half_depth, -half_front, half_front)
    mesh.box((*bounds, z - 0.2, z + height), wall, Tag.BUILDING, pose=pose, lid=False)
    roof = (wall[0] * 2 // 3, wall[1] * 2 // 3, wall[2] * 2 // 3)
    if style < 0.45:
        ridge = (-half_depth * 0.25, half_depth * 0.25, -half_front, half_front, z + height + 2.2)
        eaves = (*bounds, z + height)
        mesh.hexahedron(eaves, ridge, (132, 62, 48), Tag.BUILDING, pose=pose)
    else:
        wide = (-half_depth - 0.15, half_depth + 0.15, -half_front - 0.15, half_front + 0.15)
        mesh.box((*wide, z + height - 0.4, z + height + 0.35), roof, Tag.BUILDING, pose=pose)
    mesh.box(
        (-half_depth - 0.05, -half_depth, -0.6, 0.6, z, z + 2.2),
        (70, 52, 44),
        Tag.BUILDING,
        pose=pose,
        layer=2,
        sides=(0,),
        lid=False,
        reach_m=70,
    )
    count = max(2, int(2 * half_front / 2.8))
    pitch = 2 * half_front / count
    for storey in range(int(height / 3.2)):
        low, high = z + 3.2 * storey + 1.0, z + 3.2 * storey + 2.4
        band = (-half_depth * 0.8, half_depth * 0.8, -half_front - 0.02, half_front + 0.02, low, high)
        mesh.box(band, _PANE, Tag.BUILDING, pose=pose, layer=1, sides=(1, 3), lid=False, reach_m=110)
        for k in range(count):
            y = -half_front + (k + 0.5) * pitch
            if storey == 0 and abs(y) < 1.3:
                continue
            lit = (k * 7 + storey * 5 + int(style * 100)) % 3 == 0
            bounds6 = (-half_depth - 0.02, half_depth, y - 0.32 * pitch, y + 0.32 * pitch, low, high)
            mesh.box(
                bounds6,
                _PANE,
                Tag.BUILDING,
                pose=pose,
                layer=1,
                sides=(0,),
                lid=False,
                material=Material.WINDOW if lit else Material.PLAIN,
                reach_m=110,
            )


def _tree(place: tuple[float, float, float], size: float, crown: Colour, mesh: Mesh) -> None:
    x, y, z = place
    pose = (x, y, 0.7 * x + 0.3 * y)
    mesh.box(
        (-0.16 * size, 0.16 * size, -0.16 * size, 0.16 * size, z - 0.1, z + 2.2 * size),
        (92, 70, 52),
        Tag.VEGETATION,
        pose=pose,
        lid=False,
    )
    for low, high, a, b in ((1.6, 3.0, 1.1, 1.9), (3.0, 5.4, 1.9, 0.7)):
        bottom = (-a * size, a * size, -a * size, a * size, z + low * size)
        top = (-b * size, b * size, -b * size, b * size, z + high * size)
        mesh.hexahedron(bottom, top, crown, Tag.VEGETATION, pose=pose)
        crown = (crown[0] + 8, crown[1] + 10, crown[2] + 6)


def _lamp_post(point: NDArray[np.float64], yaw: float, mesh: Mesh) -> None:
    pose = (float(point[0] - 0.3 * math.cos(yaw)), float(point[1] - 0.3 * math.sin(yaw)), yaw)
    z = float(point[2])
    mesh.box(
        (-0.07, 0.07, -0.07, 0.07, z, z + 6.2), (84, 88, 92), Tag.POLE, pose=pose, lid=False, reach_m=140
    )
    mesh.box((-1.7, 0.07, -0.05, 0.05, z + 6.1, z + 6.22), (84, 88, 92), Tag.POLE, pose=pose, reach_m=90)
    mesh.box((-2.0, -1.4, -0.14, 0.14, z + 6.0, z + 6.14), (240, 236, 214), Tag.POLE, pose=pose, reach_m=90)
