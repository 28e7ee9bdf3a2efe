"""The surfaces of a map as polygons for scoring, baked from `carla.Map`, kept on disk by the map's hash."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from pathlib import Path

import carla
import numpy as np
from numpy.typing import NDArray

from . import convert
from .moment import MapPolygons, Polygon

BAKE_VERSION = 1
STEP_M = 1.0
END_STEPS_M = (0.5, 0.25, 0.12, 0.06, 0.03)  # towards the ends of a lane, which the steps miss
OVERLAP_M = 0.1  # of polygons with the next along the road
SEAM_M = 0.02  # of polygons side by side
SECTORS = 180  # of the outline of a junction seen from its middle
LONG = 2.5  # a junction longer than this times its width has no crossing in its middle
DENSE_M = 0.25
KINDS = ("roadblocks", "lanes", "intersections")

Array = NDArray[np.float64]
LaneKey = tuple[int, int, int]


def map_sha256(carla_map: carla.Map) -> str:
    """Hash of the map's OpenDRIVE text."""
    return hashlib.sha256(carla_map.to_opendrive().encode()).hexdigest()


def cache_folder() -> Path:
    """Where baked maps are kept: `$XDG_CACHE_HOME/takeover-loop/maps`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "takeover-loop" / "maps"


def map_polygons(carla_map: carla.Map, folder: Path | None = None) -> MapPolygons:
    """Polygons of a map, from the cache or baked now.

    Args:
        carla_map: The map.
        folder: Cache; None is `cache_folder()`.

    Returns:
        Its polygons.
    """
    folder = folder or cache_folder()
    path = folder / f"{map_sha256(carla_map)}.v{BAKE_VERSION}.npz"
    if path.is_file():
        with np.load(path) as data:
            return MapPolygons(*(_split(data[k], data[f"{k}_ends"]) for k in KINDS))
    baked = bake(carla_map)
    arrays: dict[str, Array] = {}
    for kind in KINDS:
        polygons = getattr(baked, kind)
        arrays[kind] = np.concatenate([np.empty((0, 2)), *polygons])
        arrays[f"{kind}_ends"] = np.cumsum([len(p) for p in polygons], dtype=np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    partial.replace(path)
    return baked


def _split(points: Array, ends: NDArray[np.int64]) -> tuple[Polygon, ...]:
    return tuple(np.split(points, ends[:-1])) if len(ends) else ()


def bake(carla_map: carla.Map) -> MapPolygons:
    """Bakes the polygons of a map.

    Args:
        carla_map: The map.

    Returns:
        Lanes from their edges; roadblocks from the outer edges of adjoining lanes of one direction;
        junctions from their lanes and, where those cross, the outline of all of them.
    """
    starts: dict[LaneKey, carla.Waypoint] = {}
    edges: dict[LaneKey, tuple[Array, Array]] = {}
    for key, along in _lanes(carla_map).items():
        starts[key] = along[0]
        edges[key] = _edges(along)
    lanes = {key: _outline(*sides) for key, sides in edges.items()}
    roadblocks = []
    junctions: dict[int, list[LaneKey]] = defaultdict(list)
    for key, start in starts.items():
        if start.is_junction:
            junctions[start.junction_id].append(key)
        elif _beside(start, left=True) not in edges:
            rightmost = key
            while (nxt := _beside(starts[rightmost], left=False)) in edges:
                rightmost = nxt
            roadblocks.append(_outline(edges[key][0], edges[rightmost][1]))
    intersections = []
    for keys in junctions.values():
        intersections += [lanes[key] for key in keys]
        if len(keys) > 1:
            intersections += _middle([edges[key] for key in keys])
    return MapPolygons(tuple(roadblocks), tuple(lanes.values()), tuple(intersections))


def _beside(start: carla.Waypoint, *, left: bool) -> LaneKey | None:
    """Key of the driving lane of the same direction beside the start of a lane."""
    other = start.get_left_lane() if left else start.get_right_lane()
    if other is None or other.lane_id * start.lane_id < 0 or other.lane_type != carla.LaneType.Driving:
        return None
    return (other.road_id, other.section_id, other.lane_id)


def _lanes(carla_map: carla.Map) -> dict[LaneKey, list[carla.Waypoint]]:
    """Waypoints of each driving lane in driving direction, at one s for all lanes of a section."""
    lanes: dict[LaneKey, list[carla.Waypoint]] = defaultdict(list)
    for waypoint in carla_map.generate_waypoints(STEP_M):
        if waypoint.lane_type == carla.LaneType.Driving:
            lanes[(waypoint.road_id, waypoint.section_id, waypoint.lane_id)].append(waypoint)
    for key, along in lanes.items():
        along.sort(key=lambda w: w.s, reverse=key[2] > 0)
        for step_m in END_STEPS_M:
            for last, follow, place in (
                (along[-1], along[-1].next, len(along)),
                (along[0], along[0].previous, 0),
            ):
                same = [w for w in follow(step_m) if (w.road_id, w.section_id, w.lane_id) == key]
                if same and abs(same[0].s - last.s) > 1e-3:
                    along.insert(place if place == 0 else len(along), same[0])
    return lanes


def _edges(along: list[carla.Waypoint]) -> tuple[Array, Array]:
    """Left and right edge of a lane, (K, 2) each, a little longer and wider so that seams close."""
    table = np.array([(*convert.pose(w.transform), 0.5 * w.lane_width + SEAM_M) for w in along])
    heading = np.stack([np.cos(table[:, 2]), np.sin(table[:, 2])], axis=1)
    normal = np.stack([-heading[:, 1], heading[:, 0]], axis=1) * table[:, 3:]
    middle = table[:, :2].copy()
    middle[0] -= OVERLAP_M * heading[0]
    middle[-1] += OVERLAP_M * heading[-1]
    return middle + normal, middle - normal


def _outline(left: Array, right: Array) -> Polygon:
    return np.concatenate([left, right[::-1]])


def _middle(edges: list[tuple[Array, Array]]) -> list[Polygon]:
    """Outline of crossing lanes as seen from their middle: it also covers the gaps between them."""
    points = np.concatenate([_dense(_outline(left, right)) for left, right in edges])
    centred = points - points.mean(axis=0)
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(centred.T)))
    if spread[1] > LONG * spread[0]:
        return []
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    delta = points - middle
    radius = np.hypot(delta[:, 0], delta[:, 1])
    sector = ((np.arctan2(delta[:, 1], delta[:, 0]) / math.tau + 0.5) * SECTORS).astype(int) % SECTORS
    outer = [np.flatnonzero(sector == i) for i in range(SECTORS)]
    return [np.array([points[rows[radius[rows].argmax()]] for rows in outer if len(rows)])]


def _dense(outline: Polygon) -> Array:
    """Points at most DENSE_M apart on a closed outline."""
    closed = np.concatenate([outline, outline[:1]])
    gaps = np.hypot(*np.diff(closed, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(gaps)])
    grid = np.arange(0.0, along[-1], DENSE_M)
    return np.stack([np.interp(grid, along, closed[:, 0]), np.interp(grid, along, closed[:, 1])], axis=1)


def inside_any(x_m: float, y_m: float, polygons: tuple[Polygon, ...]) -> bool:
    """Whether a point lies in one of the polygons (even-odd rule)."""
    for polygon in polygons:
        ax, ay = polygon[:, 0], polygon[:, 1]
        bx, by = np.roll(ax, -1), np.roll(ay, -1)
        straddles = (ay > y_m) != (by > y_m)
        if not straddles.any():
            continue
        ax, ay, bx, by = ax[straddles], ay[straddles], bx[straddles], by[straddles]
        if int((x_m < ax + (y_m - ay) * (bx - ax) / (by - ay)).sum()) % 2:
            return True
    return False
