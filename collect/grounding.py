"""What a picture shows: which road users stand in which cell of it, and how the car lies in its lane.

From the recorded state. A fresh vision tower learns to see by these labels; no policy is given them while it drives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..sim_bridge.scenarios.cases import require_role
from ..store.episodes import EpisodeReader
from ..vocabulary import ActorKind, Agent, CameraSpec, EgoState, Float, Role

KINDS = (ActorKind.VEHICLE, ActorKind.WALKER, ActorKind.STATIC)
HEIGHT_M = {ActorKind.VEHICLE: 1.5, ActorKind.CYCLIST: 1.6, ActorKind.WALKER: 1.8, ActorKind.STATIC: 1.0}
MIN_VISIBLE_PX = 8
MIN_SHARE = 0.2  # of the smaller of cell and box that they must have in common
NEAREST_M = 0.5


@dataclass(frozen=True, slots=True)
class GroundedFrame:
    """One picture with its labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        present: (rows * columns, 3) 1.0 where a road user of `KINDS` stands in the cell.
        range_m: (rows * columns, 3) distance to the nearest one; 0 where there is none.
        lane: (2,) lateral error in metres and heading error in radians, from the route's centre line.
    """

    image: NDArray[np.uint8]
    present: Float
    range_m: Float
    lane: Float


def grounded_frames(readers: Sequence[EpisodeReader], cell_px: int) -> list[GroundedFrame]:
    """Every frame of some episodes' first cameras.

    Args:
        readers: The episodes.
        cell_px: Side of a cell: the tower's stride.

    Raises:
        RoleError: One of them is held out.
    """
    frames = []
    for reader in readers:
        require_role(reader.meta.case, Role.TRAIN)
        camera = reader.meta.cameras[0]
        for tick in reader.frame_ticks:
            seen = reader.visible_px(tick)
            agents = [a for a in reader.agents_at(tick) if seen.get(a.actor_id, 0) >= MIN_VISIBLE_PX]
            present, range_m = cells(agents, reader.ego(tick), camera, cell_px)
            row = reader.row(tick)
            lane = [reader.ticks[name][row] for name in ("lateral_error_m", "heading_error_rad")]
            frames.append(GroundedFrame(reader.images(tick)[0], present, range_m, np.array(lane, np.float32)))
    return frames


def cells(agents: Sequence[Agent], ego: EgoState, camera: CameraSpec, cell_px: int) -> tuple[Float, Float]:
    """Which kinds of road users stand in which cell of a picture, and how far away.

    Args:
        agents: Those to mark.
        ego: Carries the camera.
        camera: Looks straight ahead.
        cell_px: Side of a cell.

    Returns:
        present and range_m as in `GroundedFrame`, row by row from the top left.
    """
    rows, columns = camera.height_px // cell_px, camera.width_px // cell_px
    present = np.zeros((rows, columns, len(KINDS)), np.float32)
    range_m = np.zeros_like(present)
    for agent in sorted(agents, key=lambda a: -math.hypot(a.x_m - ego.x_m, a.y_m - ego.y_m)):  # nearest last
        box = _box_px(agent, ego, camera)
        if box is None:
            continue
        left, top, right, bottom = box
        kind = KINDS.index(ActorKind.VEHICLE if agent.kind is ActorKind.CYCLIST else agent.kind)
        smaller = min((right - left) * (bottom - top), float(cell_px * cell_px))
        for row in range(max(int(top // cell_px), 0), min(int(bottom // cell_px) + 1, rows)):
            for column in range(max(int(left // cell_px), 0), min(int(right // cell_px) + 1, columns)):
                wide = min(right, (column + 1) * cell_px) - max(left, column * cell_px)
                high = min(bottom, (row + 1) * cell_px) - max(top, row * cell_px)
                if wide > 0 and high > 0 and wide * high >= MIN_SHARE * smaller:
                    present[row, column, kind] = 1.0
                    range_m[row, column, kind] = math.hypot(agent.x_m - ego.x_m, agent.y_m - ego.y_m)
    return present.reshape(-1, len(KINDS)), range_m.reshape(-1, len(KINDS))


def _box_px(agent: Agent, ego: EgoState, camera: CameraSpec) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom of an agent in the picture, cut at its edges; None when it is not in it."""
    focal_px = camera.width_px / 2 / math.tan(math.radians(camera.fov_deg) / 2)
    cos, sin = math.cos(agent.yaw_rad), math.sin(agent.yaw_rad)
    half = np.array([(i, j) for i in (-0.5, 0.5) for j in (-0.5, 0.5)]) * (agent.length_m, agent.width_m)
    world = half @ np.array([[cos, sin], [-sin, cos]]) + (agent.x_m - ego.x_m, agent.y_m - ego.y_m)
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    ahead_m = world @ (cos, sin) - camera.x_m
    left_m = world @ (-sin, cos) - camera.y_m
    if ahead_m.max() < NEAREST_M:
        return None
    ahead_m = np.maximum(ahead_m, NEAREST_M)
    across = camera.width_px / 2 - focal_px * left_m / ahead_m
    heights_m = np.array([0.0, HEIGHT_M[agent.kind]])
    down = camera.height_px / 2 - focal_px * (heights_m[:, None] - camera.z_m) / ahead_m
    left, right = max(float(across.min()), 0.0), min(float(across.max()), float(camera.width_px))
    top, bottom = max(float(down.min()), 0.0), min(float(down.max()), float(camera.height_px))
    return (left, top, right, bottom) if right > left and bottom > top else None
