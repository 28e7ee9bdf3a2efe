"""Drives of one scene side by side: what the camera saw, and plan, path and other road users from above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..scoring.frames import into_ego, into_world
from ..scoring.kinematics import EGO
from ..store.episodes import EpisodeReader
from ..store.maps import load_map
from ..store.records import PlanRow
from ..vocabulary import PLAN_HORIZON_S, TICK_HZ, TICK_S, EgoState

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

AHEAD_M, BEHIND_M, ASIDE_M = 50.0, 12.0, 13.0  # what is drawn around the ego
PATH_S = 8.0  # how much of a drive
ROAD, LINE, OTHER, PLANNED, DRIVEN = "#e4e4e0", "#a8a8a0", "#b3541e", "#3b6ea5", "#2a9d55"


@dataclass(frozen=True, slots=True)
class View:
    """One column.

    Attributes:
        title: What it shows.
        reader: The drive.
        tick: When.
        plan: Of that time; None for none.
        who: Whose path is drawn from then on, as long as it is theirs (`executed_by`).
    """

    title: str
    reader: EpisodeReader
    tick: int
    plan: PlanRow | None
    who: str


def draw(path: Path, title: str, views: Sequence[View], home: Path, origin: EgoState) -> None:
    """Write the PNG.

    Args:
        path: Where to write.
        title: Above all columns.
        views: The columns, of drives on one map; the first drive's map is in `home`.
        home: Home of the map.
        origin: Ego whose frame all columns are drawn in, x to the right.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(views), figsize=(5.2 * len(views), 6.0), dpi=110, layout="constrained", squeeze=False
    )
    figure.suptitle(title)
    road = [
        into_ego(polygon, origin)
        for layer in ("roadblocks", "intersections")
        for polygon in load_map(home, views[0].reader.meta.polygons_sha256)[layer]
    ]
    line = into_ego(views[0].reader.meta.route_centerline_m, origin)
    for (above, below), view in zip(axes.T, views, strict=True):
        tick = max(t for t in view.reader.frame_ticks if t <= view.tick)
        above.imshow(view.reader.images(tick)[0])
        above.set_title(view.title)
        above.set_xlabel(f"camera at {tick * TICK_S:.1f} s")
        above.set_xticks([])
        above.set_yticks([])
        for polygon in road:
            below.fill(polygon[:, 0], polygon[:, 1], color=ROAD, linewidth=0)
        below.plot(line[:, 0], line[:, 1], color=LINE, linestyle=(0, (5, 4)), linewidth=1.0, label="route")
        _scene(below, view, origin)
        below.set_xlim(-BEHIND_M, AHEAD_M)
        below.set_ylim(-ASIDE_M, ASIDE_M)
        below.set_aspect("equal")
        below.set_xlabel(f"from above at {view.tick * TICK_S:.1f} s [m]")
        below.legend(fontsize=7, loc="upper right")
    figure.savefig(path)
    pyplot.close(figure)


def _scene(axis: Axes, view: View, origin: EgoState) -> None:
    reader, row = view.reader, view.reader.row(view.tick)
    tracks, ticks = reader.tracks, reader.ticks
    soon = slice(row, row + round(PLAN_HORIZON_S * TICK_HZ))
    for number, size in enumerate(tracks.size_m):
        state = tracks.states[row, number]
        if np.isfinite(state).all():
            way = into_ego(tracks.states[soon, number, :2], origin)
            axis.plot(way[:, 0], way[:, 1], color=OTHER, linestyle=":", linewidth=1.2)
            _box(axis, state[:3], size, origin, OTHER)
    way = into_ego(np.stack((ticks["x_m"], ticks["y_m"]), 1), origin)
    axis.plot(way[: row + 1, 0], way[: row + 1, 1], color=LINE, linewidth=1.6)
    driven = way[row : row + _lasts(ticks["executed_by"][row:], view.who)]
    if len(driven):
        label = "the driver's path" if view.who == "driver" else "path driven"
        axis.plot(driven[:, 0], driven[:, 1], color=DRIVEN, linewidth=1.6, label=f"{label}, a dot a second")
        axis.plot(driven[::TICK_HZ, 0], driven[::TICK_HZ, 1], color=DRIVEN, marker=".", linestyle="")
    ego = reader.ego(view.tick)
    _box(axis, np.array((ego.x_m, ego.y_m, ego.yaw_rad)), (EGO.length_m, EGO.width_m), origin, "#333333")
    if view.plan is not None:
        points = into_ego(into_world(view.plan.plan.waypoints_m, view.plan.pose), origin)
        axis.plot(
            points[:, 0],
            points[:, 1],
            color=PLANNED,
            marker="o",
            markersize=4,
            linewidth=1.0,
            label="plan, 4 s",
        )


def _lasts(executed_by: NDArray[np.str_], who: str) -> int:
    """For how many ticks from now on somebody drives, of those that are drawn."""
    others = np.flatnonzero(executed_by[: round(PATH_S * TICK_HZ)] != who)
    return int(others[0]) if len(others) else min(len(executed_by), round(PATH_S * TICK_HZ))


def _box(axis: Axes, pose: Array, size_m: Sequence[float] | Array, origin: EgoState, colour: str) -> None:
    cos, sin = math.cos(pose[2]), math.sin(pose[2])
    corners = 0.5 * np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * np.asarray(size_m)
    world = pose[:2] + corners @ np.array([(cos, sin), (-sin, cos)])
    placed = into_ego(world, origin)
    axis.fill(placed[:, 0], placed[:, 1], color=colour, alpha=0.85, linewidth=0)
