"""What a plan is scored against: the ego, the other road users' recorded future, the road."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..vocabulary import ActorKind, EgoState
from .kinematics import EGO, VehicleParams

Array = NDArray[np.float64]
Polygons = tuple[Array, ...]

KINDS: tuple[ActorKind, ...] = (ActorKind.VEHICLE, ActorKind.WALKER, ActorKind.CYCLIST, ActorKind.STATIC)
STATIC = KINDS.index(ActorKind.STATIC)
ROADBLOCK, LANE, INTERSECTION = range(3)
RUN = 8  # edges per bounding box


def kind_codes(kinds: Sequence[ActorKind]) -> NDArray[np.int8]:
    """(N,) positions in `KINDS`."""
    return np.array([KINDS.index(kind) for kind in kinds], np.int8)


@dataclass(frozen=True, slots=True)
class Area:
    """Polygons in one buffer, for the kernels.

    Attributes:
        points_m: (K, 2) corners, polygon after polygon, each closed: its last corner is its first.
        starts: (G + 1,) where each polygon begins in `points_m`.
        runs: (G + 1,) where each polygon begins in `run_bounds_m`.
        kinds: (G,) ROADBLOCK, LANE or INTERSECTION.
        bounds_m: (G, 4) min x, min y, max x, max y.
        run_bounds_m: (R, 4) the same for every `RUN` edges: most edges are never looked at.
    """

    points_m: Array
    starts: NDArray[np.int64]
    runs: NDArray[np.int64]
    kinds: NDArray[np.int64]
    bounds_m: Array
    run_bounds_m: Array

    @staticmethod
    def pack(
        roadblocks: Sequence[ArrayLike], lanes: Sequence[ArrayLike], intersections: Sequence[ArrayLike]
    ) -> Area:
        """Join polygons; each is (K, 2), open or closed."""
        polygons, kinds, run_bounds, runs = [], [], [np.zeros((0, 4))], [0]
        for kind, group in ((ROADBLOCK, roadblocks), (LANE, lanes), (INTERSECTION, intersections)):
            for polygon in group:
                points = np.asarray(polygon, np.float64).reshape(-1, 2)
                if not np.array_equal(points[0], points[-1]):
                    points = np.vstack((points, points[:1]))
                polygons.append(points)
                kinds.append(kind)
                run_bounds.append(_run_bounds(points))
                runs.append(runs[-1] + len(run_bounds[-1]))
        return Area(
            points_m=np.concatenate(polygons) if polygons else np.zeros((0, 2)),
            starts=np.cumsum([0, *map(len, polygons)]),
            runs=np.array(runs, np.int64),
            kinds=np.array(kinds, np.int64),
            bounds_m=np.array([np.concatenate((p.min(0), p.max(0))) for p in polygons]).reshape(-1, 4),
            run_bounds_m=np.concatenate(run_bounds),
        )


def _run_bounds(points: Array) -> Array:
    """(R, 4) bounds of every RUN edges of a closed polygon; neighbouring runs share a corner."""
    starts = np.arange(0, len(points) - 1, RUN)
    last = points[np.minimum(starts + RUN, len(points) - 1)]
    low = np.minimum(np.minimum.reduceat(points[:-1], starts), last)
    high = np.maximum(np.maximum.reduceat(points[:-1], starts), last)
    return np.hstack((low, high))


# Scenes of one drive share their map: packing the same polygons again would cost more than scoring plans on them.
_PACKED: OrderedDict[tuple[int, ...], tuple[tuple[Polygons, Polygons, Polygons], Area]] = OrderedDict()
_PACKED_MOST = 128


def _packed(roadblocks: Polygons, lanes: Polygons, intersections: Polygons) -> Area:
    """`Area.pack`, remembered by the identity of the polygons (which the memory keeps alive)."""
    key = (
        len(roadblocks),
        len(lanes),
        *(id(p) for group in (roadblocks, lanes, intersections) for p in group),
    )
    if key not in _PACKED:
        area = Area.pack(roadblocks, lanes, intersections)
        _PACKED[key] = ((roadblocks, lanes, intersections), area)
        while len(_PACKED) > _PACKED_MOST:
            _PACKED.popitem(last=False)
    return _PACKED[key][1]


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment with what followed, as recorded: nobody reacts to a plan.

    Attributes:
        ego: World frame, box centre.
        agents_t_s: (Ta,) times of the agents' states from now on, increasing, up to 5 s.
        agents: (N, Ta, 5) x, y, yaw, vx, vy; world, box centre; NaN where an agent is absent. Linear in between.
        agent_size_m: (N, 2) length, width.
        agent_kind: (N,) int8, see `KINDS`.
        centerline_m: (M, 2) route, world.
        roadblock_polygons: Drivable, each (K, 2) world.
        lane_polygons: Single lanes; they tell lanes apart and do not make ground drivable.
        intersection_polygons: Drivable, too.
        reference_progress_m: Progress of the reference proposal that EP is relative to (proof.md 10).
        reference_multiplier: NC x DAC of that proposal; 0 for no reference.
        vehicle: The ego's size and wheel base.
        agent_ids: (N,) actor ids, where known.
    """

    ego: EgoState
    agents_t_s: Array
    agents: Array
    agent_size_m: Array
    agent_kind: NDArray[np.int8]
    centerline_m: Array
    roadblock_polygons: Polygons = ()
    lane_polygons: Polygons = ()
    intersection_polygons: Polygons = ()
    reference_progress_m: float = 0.0
    reference_multiplier: float = 0.0
    vehicle: VehicleParams = EGO
    agent_ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    area: Area = field(init=False, repr=False, compare=False)
    # What `pdms` makes of a scene once; a scene's arrays must not change afterwards.
    prepared: tuple[Array, NDArray[np.int64]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        area = _packed(self.roadblock_polygons, self.lane_polygons, self.intersection_polygons)
        object.__setattr__(self, "area", area)
