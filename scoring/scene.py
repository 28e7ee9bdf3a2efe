"""What a plan is scored against: the ego, the other road users' recorded future, the road."""

from __future__ import annotations

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
        polygons, kinds, run_bounds, runs = [], [], [], [0]
        for kind, group in ((ROADBLOCK, roadblocks), (LANE, lanes), (INTERSECTION, intersections)):
            for polygon in group:
                points = np.asarray(polygon, np.float64).reshape(-1, 2)
                if not np.array_equal(points[0], points[-1]):
                    points = np.vstack((points, points[:1]))
                polygons.append(points)
                kinds.append(kind)
                run_bounds += [_bounds(points[at : at + RUN + 1]) for at in range(0, len(points) - 1, RUN)]
                runs.append(len(run_bounds))
        return Area(
            points_m=np.concatenate(polygons) if polygons else np.zeros((0, 2)),
            starts=np.cumsum([0, *map(len, polygons)]),
            runs=np.array(runs, np.int64),
            kinds=np.array(kinds, np.int64),
            bounds_m=np.array([_bounds(p) for p in polygons]).reshape(-1, 4),
            run_bounds_m=np.array(run_bounds).reshape(-1, 4),
        )


def _bounds(points: Array) -> tuple[float, float, float, float]:
    (low_x, low_y), (high_x, high_y) = points.min(0), points.max(0)
    return float(low_x), float(low_y), float(high_x), float(high_y)


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

    def __post_init__(self) -> None:
        area = Area.pack(self.roadblock_polygons, self.lane_polygons, self.intersection_polygons)
        object.__setattr__(self, "area", area)
