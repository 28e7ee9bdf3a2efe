"""Counterfactual chain of thought, written by rule from the recorded state of a tick.

Only road users that the policy's pictures show are mentioned. The texts are short: a tiny model writes them.
Numbers are on grids, so that a small vocabulary covers them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models.prompts import Reasoning, write_reasoning
from ..scoring.analysis import half, noun
from ..scoring.conflicts import conflicts, critical_agent
from ..scoring.frames import into_ego
from ..scoring.meta_actions import meta_actions
from ..scoring.pdms import track_plans
from ..scoring.pdms_kernels import inside
from ..scoring.proposals import Line
from ..scoring.scene import INTERSECTION, Scene
from ..store.episodes import EpisodeReader
from ..vocabulary import PLAN_PERIOD_TICKS, PLAN_POINTS, PLAN_STEP_S

MIN_VISIBLE_PX = 12  # proof.md 7
HIGH_S, MEDIUM_S = 2.0, 4.0  # a time to collision below is a high, a medium risk


def visible_agents(
    reader: EpisodeReader, tick: int, frames: int = 2, min_px: int = MIN_VISIBLE_PX
) -> frozenset[int]:
    """Actors with enough pixels in one of the frames that the policy is given at a tick."""
    there = set(reader.frame_ticks)
    seen: set[int] = set()
    for back in range(frames):
        at = tick - back * PLAN_PERIOD_TICKS
        if at in there:
            seen |= {actor for actor, pixels in reader.visible_px(at).items() if pixels >= min_px}
    return frozenset(seen)


def chain_of_thought(
    reader: EpisodeReader,
    tick: int,
    scene: Scene,
    waypoints_m: ArrayLike,
    *,
    negative_m: ArrayLike | None = None,
) -> Reasoning:
    """The five steps for one plan at one tick.

    Args:
        reader: The episode.
        tick: Its tick, with a frame.
        scene: Of that tick.
        waypoints_m: (8, 2) what is going to be done.
        negative_m: (8, 2) tau_neg of a state whose label y_t is Neg (SafeAlign eq. 1): the risk is high, however far
            the danger is yet, and who is critical to it is critical where keeping the speed would meet nobody.
    """
    return reason(scene, waypoints_m, visible_agents(reader, tick), negative_m=negative_m)


def reason(
    scene: Scene,
    waypoints_m: ArrayLike,
    visible: frozenset[int],
    *,
    negative_m: ArrayLike | None = None,
) -> Reasoning:
    """The five steps, from the scene alone; see `chain_of_thought`."""
    seen = _only(scene, visible)
    keeping = track_plans(seen, keep_speed_plan(seen)[None])[0]
    contact, _ = conflicts(seen, keeping)
    index = critical_agent(seen, keeping)
    if index is None and negative_m is not None:
        index = critical_agent(seen, track_plans(seen, np.asarray(negative_m)[None])[0])
    now_s = _ttc_now(seen)
    first_s = float(contact.min()) if len(contact) else math.inf
    return Reasoning(
        scene=f"{_place(scene)}, {scene.ego.speed_mps:.0f} m/s",
        critical_object="none" if index is None else _describe(seen, index),
        current_risk=_risk(now_s, unsafe=negative_m is not None),
        counterfactual_risk=f"keeping speed: {_collision(first_s)}",
        meta_actions=meta_actions(waypoints_m, scene.ego.speed_mps),
    )


def write_cot(reasoning: Reasoning) -> str:
    """The JSON text that the policy learns to write."""
    return write_reasoning(reasoning)


def keep_speed_plan(scene: Scene) -> NDArray[np.float64]:
    """(8, 3) plan that keeps speed and distance from the route: the counterfactual of doing nothing."""
    line, ego = Line.of(scene.centerline_m), scene.ego
    along, left, _ = line.place(np.array([ego.x_m, ego.y_m]))
    ahead = np.arange(1.0, PLAN_POINTS + 1.0)
    ahead *= max(ego.speed_mps, 0.0) * PLAN_STEP_S
    world = line.pose(float(along) + ahead, np.full(PLAN_POINTS, float(left)), np.zeros(PLAN_POINTS))
    return into_ego(world, ego)


def _only(scene: Scene, ids: frozenset[int]) -> Scene:
    keep = np.isin(scene.agent_ids, sorted(ids))
    return replace(
        scene,
        agents=scene.agents[keep],
        agent_size_m=scene.agent_size_m[keep],
        agent_kind=scene.agent_kind[keep],
        agent_ids=scene.agent_ids[keep],
    )


def _place(scene: Scene) -> str:
    area, ego = scene.area, scene.ego
    for g in np.flatnonzero(area.kinds == INTERSECTION):
        if inside(
            ego.x_m,
            ego.y_m,
            area.points_m,
            area.starts[g],
            area.starts[g + 1],
            area.run_bounds_m,
            area.runs[g],
        ):
            return "junction"
    line = Line.of(scene.centerline_m)
    along, _, yaw = line.place(np.array([ego.x_m, ego.y_m]))
    ahead = np.interp(float(along) + 20.0, line.along_m, line.yaw_rad)
    return "curve" if abs(float(ahead) - float(yaw)) > math.radians(12.0) else "lane"


def _describe(scene: Scene, index: int) -> str:
    """What, where and how far, of an agent now."""
    x, y, _, vx, vy = scene.agents[index, 0]
    if math.isnan(x):
        return f"{noun(scene, index)} ahead"
    ego = scene.ego
    along, left = into_ego((x, y), ego)
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    drift = vy * cos - vx * sin
    toward = vx * cos + vy * sin
    if abs(drift) > 0.5 and abs(left) > 1.0 and left * drift < 0:
        where = f"crossing from the {'left' if left > 0 else 'right'}"
    elif toward < -1.0:
        where = "oncoming"
    elif abs(left) <= 1.5:
        where = "ahead"
    else:
        where = "left" if left > 0 else "right"
    return f"{noun(scene, index)} {where} {max(math.hypot(along, left), 0.0):.0f} m"


def _ttc_now(scene: Scene) -> float:
    if not len(scene.agents):
        return math.inf
    standing = track_plans(scene, keep_speed_plan(scene)[None])[0][:1]
    _, ttc = conflicts(scene, standing)
    return float(ttc.min())


def _risk(ttc_s: float, *, unsafe: bool) -> str:
    level = "high" if unsafe or ttc_s < HIGH_S else "medium" if ttc_s < MEDIUM_S else "low"
    return level if ttc_s >= MEDIUM_S else f"{level}, time to collision {half(ttc_s)} s"


def _collision(first_s: float) -> str:
    return f"collision in {half(first_s)} s" if math.isfinite(first_s) else "no conflict"
