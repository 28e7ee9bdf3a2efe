"""From a recorded tick to what learns from it: the policy's input, who drove where, and the scene that scores plans.

Everything here reads sealed episodes only; nothing is imported that could open a simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..scoring.analysis import negative_analysis
from ..scoring.frames import into_ego, odometry
from ..scoring.kinematics import EGO
from ..scoring.proposals import Line, with_reference
from ..scoring.scene import Polygons, Scene, kind_codes
from ..store.episodes import EpisodeReader
from ..store.maps import load_map
from ..store.rows import PairRow
from ..vocabulary import (
    HISTORY_POINTS,
    PLAN_PERIOD_TICKS,
    PLAN_POINTS,
    PLAN_STEP_S,
    TICK_HZ,
    TICK_S,
    Authority,
    Command,
    DrivingSample,
    EgoState,
    Float,
    PolicyInput,
    PreferencePair,
)
from .cot import chain_of_thought, visible_agents, write_cot
from .pair_types import hardness

STEP_TICKS = round(PLAN_STEP_S * TICK_HZ)
HORIZON_TICKS = STEP_TICKS * PLAN_POINTS
MIN_VALID_POINTS = 5  # 2.5 s (proof.md 8)
NEAR_M = 90.0  # agents and polygons farther away cannot matter within 5 s
SCENE_S = 5.0
EVERY_TICKS = 2  # the scene's agents at 10 Hz
DRIVER_ONLY = frozenset({Authority.DRIVER.value})
POLICY_ONLY = frozenset({Authority.POLICY.value})
Mask = NDArray[np.bool_]


def policy_input(reader: EpisodeReader, tick: int, frames: int = 2) -> PolicyInput:
    """What the policy saw at a tick with a frame; equal to `session.policy_input` but for the JPEG.

    Args:
        reader: The episode.
        tick: One of `reader.frame_ticks`.
        frames: Frames, PLAN_STEP_S apart; before the first one the oldest is repeated.

    Raises:
        KeyError: There is no frame at this tick.
    """
    there = set(reader.frame_ticks)
    if tick not in there:
        raise KeyError(f"episode {reader.episode_id} has no frame at tick {tick}")
    used = [
        t for t in range(tick - (frames - 1) * PLAN_PERIOD_TICKS, tick + 1, PLAN_PERIOD_TICKS) if t in there
    ]
    images = [reader.images(t) for t in used]
    images = [images[0]] * (frames - len(images)) + images
    first = -reader.warmup
    past = range(HISTORY_POINTS - 1, -1, -1)
    ego = reader.ego(tick)
    return PolicyInput(
        images=np.stack(images),
        history_m_rad=odometry([reader.ego(max(tick - k * STEP_TICKS, first)) for k in past]),
        speed_mps=ego.speed_mps,
        accel_mps2=ego.accel_mps2,
        yaw_rate_radps=ego.yaw_rate_radps,
        command=Command(str(reader.ticks["command"][reader.row(tick)])),
    )


def executed_future(
    reader: EpisodeReader, tick: int, by: frozenset[str] = DRIVER_ONLY, first_tick: int | None = None
) -> tuple[NDArray[np.float64], Mask]:
    """Where the car went in the 4 s after a tick, and for how long one of `by` drove it.

    Args:
        reader: The episode.
        tick: Now.
        by: Values of `executed_by` that count.
        first_tick: From here on they must have driven; `tick` if None.

    Returns:
        Poses (8, 3) of the box centre in the ego frame, and (8,) true up to the last waypoint that counts. Waypoints
        after the recording's end go on along the route at the last speed; they never count.
    """
    ticks = reader.ticks
    start = reader.row(tick)
    rows = start + STEP_TICKS * np.arange(1, PLAN_POINTS + 1)
    last = len(ticks["tick"]) - 1
    held = np.minimum(rows, last)
    world = np.stack([ticks[name][held] for name in ("x_m", "y_m", "yaw_rad")], -1)
    over = rows > last
    if over.any():
        end = reader.ego(int(ticks["tick"][last]))
        world[over] = _onward(reader, end, np.asarray((rows[over] - last) * TICK_S, np.float64))
    own = np.isin(ticks["executed_by"], sorted(by))
    since = start if first_tick is None else reader.row(first_tick)
    broken = np.flatnonzero(~own[since:])
    until = since + (int(broken[0]) if len(broken) else len(own) - since)
    return into_ego(world, reader.ego(tick)), (rows <= until) & ~over


def executed_track(reader: EpisodeReader, tick: int) -> NDArray[np.float64]:
    """(41, 7) the motion recorded in the 4 s after a tick, in the form of `pdms.track_plans`: nothing is tracked anew.

    After the recording's end it goes on along the route at the last speed.
    """
    ticks = reader.ticks
    start, last = reader.row(tick), len(ticks["tick"]) - 1
    rows = start + EVERY_TICKS * np.arange(HORIZON_TICKS // EVERY_TICKS + 1)
    names = ("x_m", "y_m", "yaw_rad", "speed_mps", "accel_mps2", "steer_rad", "yaw_rate_radps")
    track = np.stack([ticks[name][np.minimum(rows, last)] for name in names], -1)
    over = rows > last
    if over.any():
        end = reader.ego(int(ticks["tick"][last]))
        track[over, :3] = _onward(reader, end, np.asarray((rows[over] - last) * TICK_S, np.float64))
        track[over, 4:] = 0.0
    track[:, 2] = np.unwrap(track[:, 2])
    track[:, 0] -= EGO.rear_to_centre_m * np.cos(track[:, 2])
    track[:, 1] -= EGO.rear_to_centre_m * np.sin(track[:, 2])
    return track


def issued_plans(reader: EpisodeReader) -> dict[int, tuple[Float, bool, str]]:
    """Tick to (waypoints (8, 2), shadow, generation) of each plan."""
    return {
        row.plan.tick: (row.plan.waypoints_m, row.plan.shadow, row.plan.generation) for row in reader.plans
    }


@dataclass(frozen=True, slots=True)
class Layer:
    """Polygons of one kind, and the box round each: (G, 4) min x, min y, max x, max y."""

    polygons: Polygons
    bounds_m: NDArray[np.float64]

    def near(self, ego: EgoState) -> Polygons:
        """Those within reach of a scene."""
        at = np.array([ego.x_m, ego.y_m])
        near = (self.bounds_m[:, 2:] >= at - NEAR_M) & (self.bounds_m[:, :2] <= at + NEAR_M)
        return tuple(self.polygons[g] for g in np.flatnonzero(near.all(axis=1)))


def map_layers(reader: EpisodeReader) -> Mapping[str, Layer]:
    """The polygons of the episode's map, read once per process.

    Raises:
        DamagedEpisodeError: They are missing or damaged.
    """
    return _load_map(reader.path.parent.parent, reader.meta.polygons_sha256)


def scene_at(
    reader: EpisodeReader,
    tick: int,
    layers: Mapping[str, Layer] | None = None,
    *,
    reference: bool = True,
) -> Scene:
    """The scene of a tick: recorded agents for the next 5 s, road and route, with its EP reference.

    Agents that are there when the recording ends go on at their last velocity.

    Args:
        reader: The episode.
        tick: Now.
        layers: Of its map; None reads them.
        reference: False leaves out the EP reference, for scenes that only words are made from.
    """
    layers = map_layers(reader) if layers is None else layers
    ego = reader.ego(tick)
    row = reader.row(tick)
    times = np.arange(0.0, SCENE_S + 1e-9, EVERY_TICKS * TICK_S)
    tracks = reader.tracks
    rows = row + EVERY_TICKS * np.arange(len(times))
    last = len(tracks.states) - 1
    states = tracks.states[np.minimum(rows, last)]  # (51, N, 5), a copy
    late = np.maximum(rows - last, 0)[:, None, None] * TICK_S
    states[..., :2] += late * states[..., 3:5]
    gap = np.hypot(states[..., 0] - ego.x_m, states[..., 1] - ego.y_m)
    near = np.asarray((gap < NEAR_M).any(axis=0))  # NaN is not near
    line = Line.of(reader.meta.route_centerline_m)
    limit = float(reader.ticks["speed_limit_mps"][row])
    scene = Scene(
        ego=ego,
        agents_t_s=times,
        agents=np.ascontiguousarray(states[:, near].transpose(1, 0, 2)),
        agent_size_m=tracks.size_m[near],
        agent_kind=kind_codes([kind for kind, keep in zip(tracks.kinds, near, strict=True) if keep]),
        centerline_m=line.points_m,
        roadblock_polygons=layers["roadblocks"].near(ego),
        lane_polygons=layers["lanes"].near(ego),
        intersection_polygons=layers["intersections"].near(ego),
        agent_ids=tracks.ids[near],
    )
    return with_reference(scene, limit) if reference else scene


def expert_samples(reader: EpisodeReader, frames: int = 2) -> list[DrivingSample]:
    """Imitation of an expert's drive: its plan at every frame, with its reasoning.

    The plan is the target rather than the way driven, for the drive may have been disturbed on purpose.
    """
    plans = issued_plans(reader)
    layers = map_layers(reader)
    samples = []
    for tick in reader.frame_ticks:
        if tick not in plans:
            continue
        waypoints_m = plans[tick][0]
        scene = scene_at(reader, tick, layers, reference=False)
        samples.append(
            DrivingSample(
                input=policy_input(reader, tick, frames),
                target_m=waypoints_m,
                mask=np.ones(PLAN_POINTS, np.bool_),
                reasoning=write_cot(chain_of_thought(reader, tick, scene, waypoints_m)),
                role=reader.meta.role,
                case_id=reader.meta.case.case_id,
            )
        )
    return samples


def driver_samples(
    reader: EpisodeReader, start_tick: int, end_tick: int, weight: float, frames: int = 2
) -> list[DrivingSample]:
    """Imitation of a driver between two ticks: the way driven, as long as the driver drove.

    Args:
        reader: The episode.
        start_tick: First tick.
        end_tick: Tick after the last.
        weight: Of the segment.
        frames: Of the policy's input.

    Returns:
        One sample per frame with at least 2.5 s driven by the driver.
    """
    layers = map_layers(reader)
    samples = []
    for tick in reader.frame_ticks:
        if not start_tick <= tick < end_tick:
            continue
        poses, mask = executed_future(reader, tick)
        if int(mask.sum()) < MIN_VALID_POINTS:
            continue
        waypoints_m = poses[:, :2].astype(np.float32)
        scene = scene_at(reader, tick, layers, reference=False)
        samples.append(
            DrivingSample(
                input=policy_input(reader, tick, frames),
                target_m=waypoints_m,
                mask=mask,
                reasoning=write_cot(chain_of_thought(reader, tick, scene, waypoints_m)),
                weight=weight,
                role=reader.meta.role,
                case_id=reader.meta.case.case_id,
            )
        )
    return samples


def uneventful_samples(reader: EpisodeReader, frames: int = 2) -> list[DrivingSample]:
    """What a policy did right by itself: the way driven in an episode that succeeded without a takeover.

    Among them the decoys: what looks like a hazard and was rightly passed. Without them takeovers, which over-represent
    danger, teach to brake for everything.
    """
    samples = []
    for tick in reader.frame_ticks:
        poses, mask = executed_future(reader, tick, POLICY_ONLY) if tick >= 0 else (None, None)
        if poses is None or mask is None or int(mask.sum()) < MIN_VALID_POINTS:
            continue
        samples.append(
            DrivingSample(
                input=policy_input(reader, tick, frames),
                target_m=poses[:, :2].astype(np.float32),
                mask=mask,
                reasoning="",
                role=reader.meta.role,
                case_id=reader.meta.case.case_id,
            )
        )
    return samples


def policy_sample(reader: EpisodeReader, tick: int, frames: int = 2) -> DrivingSample:
    """Imitation of what the policy itself did from a tick on, with the reasoning for it.

    Args:
        reader: The episode.
        tick: With a frame.
        frames: Of the policy's input.
    """
    poses, mask = executed_future(reader, tick, POLICY_ONLY)
    waypoints_m = poses[:, :2].astype(np.float32)
    scene = scene_at(reader, tick, reference=False)
    return DrivingSample(
        input=policy_input(reader, tick, frames),
        target_m=waypoints_m,
        mask=mask,
        reasoning=write_cot(chain_of_thought(reader, tick, scene, waypoints_m)),
        role=reader.meta.role,
        case_id=reader.meta.case.case_id,
    )


def preference_pair(reader: EpisodeReader, row: PairRow, frames: int = 2) -> PreferencePair:
    """A stored pair with its pictures, scene, reasoning and analysis.

    Args:
        reader: Its episode.
        row: The pair; a predicted one carries its odometry in `details`.
        frames: Of the policy's input.
    """
    ahead_s = float(row.details.get("ahead_s", 0.0))
    chosen = np.array(row.chosen_m, np.float32).reshape(PLAN_POINTS, 2)
    rejected = np.array(row.rejected_m, np.float32).reshape(PLAN_POINTS, 2)
    inputs = policy_input(reader, row.tick, frames)
    scene = scene_at(reader, row.tick)
    if ahead_s > 0.0:
        state = EgoState(**row.details["ego"])
        scene = shifted(scene, state, ahead_s)
        inputs = replace(
            inputs,
            speed_mps=state.speed_mps,
            accel_mps2=state.accel_mps2,
            yaw_rate_radps=state.yaw_rate_radps,
        )
    visible = visible_agents(reader, row.tick, frames)
    negative = rejected if row.details.get("label") == "neg" else None  # of Algorithm 1
    return PreferencePair(
        pair_id=row.pair_id,
        input=inputs,
        chosen_m=chosen,
        chosen_mask=np.array(row.chosen_mask, np.bool_),
        rejected_m=rejected,
        source=row.source,
        weight=row.weight,
        role=reader.meta.role,
        case_id=row.case_id,
        score_chosen=float(row.score_chosen or 0.0),
        score_rejected=float(row.score_rejected or 0.0),
        reasoning_chosen=write_cot(chain_of_thought(reader, row.tick, scene, chosen, negative_m=negative)),
        reasoning_rejected=write_cot(
            chain_of_thought(reader, row.tick, scene, rejected, negative_m=negative)
        ),
        analysis=negative_analysis(scene, rejected, chosen, visible),
        scene=scene,
        visible_ids=visible,
        hardness=hardness(row.details),
    )


def shifted(scene: Scene, ego: EgoState, ahead_s: float) -> Scene:
    """The scene `ahead_s` later with another ego; the agents' last second is cut off accordingly."""
    times = scene.agents_t_s - ahead_s
    keep = times >= -1e-6
    return replace(scene, ego=ego, agents_t_s=times[keep], agents=np.ascontiguousarray(scene.agents[:, keep]))


def _onward(reader: EpisodeReader, end: EgoState, after_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (K, 3) of a car that keeps its speed and its distance from the route."""
    line = Line.of(reader.meta.route_centerline_m)
    along, left, _ = line.place(np.array([end.x_m, end.y_m]))
    return line.pose(
        float(along) + end.speed_mps * after_s, np.full(len(after_s), float(left)), np.zeros(len(after_s))
    )


@lru_cache(maxsize=32)
def _load_map(home: Path, address: str) -> Mapping[str, Layer]:
    return {
        name: Layer(polygons, np.array([(*p.min(0), *p.max(0)) for p in polygons]).reshape(-1, 4))
        for name, polygons in load_map(home, address).items()
    }
