"""Counterfactual chain of thought and negative analysis, written by rule from the recorded state of a tick.

Only road users that the policy's pictures show are mentioned. The texts are short: a tiny model writes them.
Numbers are on grids, so that a small vocabulary covers them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models.prompts import Reasoning, write_reasoning
from ..scoring.conflicts import conflicts, critical_agent, off_road_s
from ..scoring.pdms import score_tracks, track_plans
from ..scoring.pdms_kernels import inside
from ..scoring.proposals import Line
from ..scoring.scene import INTERSECTION, KINDS, Scene
from ..scoring.tracker import SPEED
from ..store.episodes import EpisodeReader
from ..vocabulary import PLAN_HORIZON_S, PLAN_PERIOD_TICKS, PLAN_POINTS, PLAN_STEP_S, ActorKind, EgoState

MIN_VISIBLE_PX = 12  # proof.md 7
HIGH_S, MEDIUM_S = 2.0, 4.0  # a time to collision below is a high, a medium risk
META_S = 1.0  # each of the two meta-actions

SPEED_CHANGE_MPS = 0.5  # per second: less is `maintain`
TURN_RAD = math.radians(20.0)  # of the whole plan: less is no turn
TURN_RATE_RADPS = math.radians(4.0)  # in the window of a meta-action
CHANGE_M = 1.5  # sideways at the plan's end: less is no lane change
CHANGE_RATE_MPS = 0.25  # sideways, in the window of a meta-action
_NOUN = {
    ActorKind.VEHICLE: "car",
    ActorKind.WALKER: "walker",
    ActorKind.CYCLIST: "cyclist",
    ActorKind.STATIC: "barrier",
}

Meta = tuple[str, str]


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


def meta_actions(waypoints_m: ArrayLike, speed_mps: float) -> tuple[Meta, Meta]:
    """The two meta-actions of a plan: what it does in its first and in its second second.

    Args:
        waypoints_m: (8, 2) or (8, 3), ego frame.
        speed_mps: At the start.

    Returns:
        Two of (maintain | accelerate | decelerate, keep | turn_left | turn_right | change_left | change_right).
    """
    points = np.vstack(([[0.0, 0.0]], np.asarray(waypoints_m, np.float64)[:, :2]))
    steps = np.diff(points, axis=0)
    length = np.hypot(steps[:, 0], steps[:, 1])
    speeds = np.concatenate(([speed_mps], length / PLAN_STEP_S))  # of the half second before each point
    heading = np.zeros(PLAN_POINTS + 1)
    for i in range(PLAN_POINTS):  # standing still keeps the heading
        heading[i + 1] = math.atan2(steps[i, 1], steps[i, 0]) if length[i] > 0.2 else heading[i]
    heading = np.unwrap(heading)
    turns = abs(heading[-1]) > TURN_RAD
    changes = not turns and abs(points[-1, 1]) > CHANGE_M
    every = round(META_S / PLAN_STEP_S)
    first, second = (
        (
            _speed_action(speeds[start], speeds[start + every]),
            _direction_action(points, heading, start, start + every, turns=turns, changes=changes),
        )
        for start in (0, every)
    )
    return first, second


def chain_of_thought(reader: EpisodeReader, tick: int, scene: Scene, waypoints_m: ArrayLike) -> Reasoning:
    """The five steps for one plan at one tick.

    Args:
        reader: The episode.
        tick: Its tick, with a frame.
        scene: Of that tick.
        waypoints_m: (8, 2) what is going to be done.
    """
    return reason(scene, waypoints_m, visible_agents(reader, tick))


def reason(scene: Scene, waypoints_m: ArrayLike, visible: frozenset[int]) -> Reasoning:
    """The five steps, from the scene alone; see `chain_of_thought`."""
    seen = _only(scene, visible)
    keeping = track_plans(seen, keep_speed_plan(seen)[None])[0]
    contact, _ = conflicts(seen, keeping)
    index = critical_agent(seen, keeping)
    now_s = _ttc_now(seen)
    first_s = float(contact.min()) if len(contact) else math.inf
    return Reasoning(
        scene=f"{_place(scene)}, {scene.ego.speed_mps:.0f} m/s",
        critical_object="none" if index is None else _describe(seen, index),
        current_risk=_risk(now_s),
        counterfactual_risk=f"keeping speed: {_collision(first_s)}",
        meta_actions=meta_actions(waypoints_m, scene.ego.speed_mps),
    )


def write_cot(reasoning: Reasoning) -> str:
    """The JSON text that the policy learns to write."""
    return write_reasoning(reasoning)


def negative_analysis(scene: Scene, bad_m: ArrayLike, good_m: ArrayLike, visible: frozenset[int]) -> str:
    """Four levels: risk, failure along and across, counterfactual, correction.

    Args:
        scene: Of the tick.
        bad_m: (8, 2) or (8, 3), the rejected plan.
        good_m: Likewise, the chosen one.
        visible: Actors that may be named.

    Returns:
        One line, its four parts set off by semicolons.
    """
    bad_poses, good_poses = np.asarray(bad_m, np.float64), np.asarray(good_m, np.float64)
    bad = track_plans(scene, bad_poses[None])[0]
    good = track_plans(scene, good_poses[None])[0]
    gap = bad_poses[-1, :2] - good_poses[-1, :2]
    wrong, right = [], []
    if abs(gap[0]) >= 1.0:
        wrong.append(f"too {'fast' if gap[0] > 0 else 'slow'} {_half(gap[0])} m")
        right.append(f"{'brake' if gap[0] > 0 else 'accelerate'} {_half(gap[0] / PLAN_HORIZON_S)} m/s")
    if abs(gap[1]) >= 0.5:
        wrong.append(f"{'left' if gap[1] > 0 else 'right'} {_half(gap[1])} m")
        right.append(f"{'right' if gap[1] > 0 else 'left'} {_half(gap[1])} m")
    off = np.hypot(*(bad_poses[:, :2] - good_poses[:, :2]).T)
    start = (int(np.argmax(off > 0.5)) if (off > 0.5).any() else 0) * PLAN_STEP_S
    outcome = score_tracks(scene, good[None])
    safe = "safe" if outcome.nc[0] * outcome.dac[0] == 1.0 else "less harm"
    parts = (
        _failure(scene, bad, good, visible),
        ", ".join(wrong or ["timing"]),
        f"otherwise {safe}",
        f"{', '.join(right or ['keep the lane'])} from {start:.1f} s",
    )
    return "; ".join(parts)


def keep_speed_plan(scene: Scene) -> NDArray[np.float64]:
    """(8, 3) plan that keeps speed and distance from the route: the counterfactual of doing nothing."""
    line, ego = Line.of(scene.centerline_m), scene.ego
    along, left, _ = line.place(np.array([ego.x_m, ego.y_m]))
    ahead = np.arange(1.0, PLAN_POINTS + 1.0)
    ahead *= max(ego.speed_mps, 0.0) * PLAN_STEP_S
    world = line.pose(float(along) + ahead, np.full(PLAN_POINTS, float(left)), np.zeros(PLAN_POINTS))
    return _into(world, ego)


def _failure(
    scene: Scene, bad: NDArray[np.float64], good: NDArray[np.float64], visible: frozenset[int]
) -> str:
    contact, ttc = conflicts(scene, bad)
    off_s = off_road_s(scene, bad)
    first = int(contact.argmin()) if len(contact) else -1
    if first >= 0 and contact[first] <= off_s and math.isfinite(contact[first]):
        return f"collision {_name(scene, first, visible)} in {_half(contact[first])} s"
    if math.isfinite(off_s):
        return f"leaves the road in {_half(off_s)} s"
    near = int(ttc.argmin()) if len(ttc) else -1
    if near >= 0 and ttc[near] < HIGH_S:
        return f"too near {_name(scene, near, visible)}, {_half(ttc[near])} s"
    return "too slow" if bad[-1, SPEED] < good[-1, SPEED] else "leaves the lane"


def _name(scene: Scene, index: int, visible: frozenset[int]) -> str:
    return (
        _NOUN[KINDS[scene.agent_kind[index]]]
        if int(scene.agent_ids[index]) in visible
        else "something hidden"
    )


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
        return f"{_NOUN[KINDS[scene.agent_kind[index]]]} ahead"
    ego = scene.ego
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    along, left = (x - ego.x_m) * cos + (y - ego.y_m) * sin, (y - ego.y_m) * cos - (x - ego.x_m) * sin
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
    return f"{_NOUN[KINDS[scene.agent_kind[index]]]} {where} {max(math.hypot(along, left), 0.0):.0f} m"


def _ttc_now(scene: Scene) -> float:
    if not len(scene.agents):
        return math.inf
    standing = track_plans(scene, keep_speed_plan(scene)[None])[0][:1]
    _, ttc = conflicts(scene, standing)
    return float(ttc.min())


def _risk(ttc_s: float) -> str:
    if ttc_s >= MEDIUM_S:
        return "low"
    return f"{'high' if ttc_s < HIGH_S else 'medium'}, time to collision {_half(ttc_s)} s"


def _collision(first_s: float) -> str:
    return f"collision in {_half(first_s)} s" if math.isfinite(first_s) else "no conflict"


def _speed_action(before: float, after: float) -> str:
    change = (after - before) / META_S
    if change > SPEED_CHANGE_MPS:
        return "accelerate"
    return "decelerate" if change < -SPEED_CHANGE_MPS else "maintain"


def _direction_action(
    points: NDArray[np.float64],
    heading: NDArray[np.float64],
    start: int,
    end: int,
    *,
    turns: bool,
    changes: bool,
) -> str:
    turned = (heading[end] - heading[start]) / META_S
    if turns and abs(turned) > TURN_RATE_RADPS:
        return "turn_left" if turned > 0 else "turn_right"
    moved = (points[end, 1] - points[start, 1]) / META_S
    if changes and abs(moved) > CHANGE_RATE_MPS:
        return "change_left" if moved > 0 else "change_right"
    return "keep"


def _into(world: NDArray[np.float64], ego: EgoState) -> NDArray[np.float64]:
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    dx, dy = world[:, 0] - ego.x_m, world[:, 1] - ego.y_m
    return np.stack((dx * cos + dy * sin, dy * cos - dx * sin, world[:, 2] - ego.yaw_rad), -1)


def _half(value: float) -> str:
    return f"{round(abs(float(value)) * 2) / 2:.1f}"
