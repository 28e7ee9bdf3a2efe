"""What the expert expects of other road users: constant motion, plus the cues of a cut-in and of a braking lead."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..scoring.frames import wrap
from ..vocabulary import TICK_S, ActorKind, Agent
from .expert_route import Array, RouteFrame

STEP_S = 0.2
HORIZON_S = 8.0
STEPS = round(HORIZON_S / STEP_S) + 1
MEMORY_S = 2.0  # an agent that went out of sight is still reckoned with for so long

CUT_IN_MPS = 0.35  # sideways speed towards the route from which a vehicle is taken to be coming over
CUT_IN_TARGET_MPS = 1.0
STANDING_MPS = 0.3

LaneAhead = Callable[[Agent, float], Array | None]
"""(agent, distance_m) -> (K, 2) world points from the agent on along its lane; None where it follows no lane."""


@dataclass(slots=True)
class Sighting:
    """What is remembered of one agent.

    Attributes:
        agent: Newest sighting.
        tick: Of it.
        moved: It has moved since it was first seen.
        accel_mps2: From the last two sightings.
        yaw_rate_radps: From the last two sightings.
    """

    agent: Agent
    tick: int
    moved: bool
    accel_mps2: float = 0.0
    yaw_rate_radps: float = 0.0


@dataclass(slots=True)
class Memory:
    """Agents seen in the last `MEMORY_S`, by id."""

    sightings: dict[int, Sighting] = field(default_factory=dict)

    def update(self, tick: int, agents: Sequence[Agent], visible: frozenset[int] | None) -> list[Sighting]:
        """Takes in one look at the world.

        Args:
            tick: Now.
            agents: All agents.
            visible: Ids that can be seen; None for all.

        Returns:
            Agents to reckon with, nearest sighting first in id order; positions of unseen ones are carried forward.
        """
        for agent in agents:
            if visible is not None and agent.actor_id not in visible:
                continue
            old = self.sightings.get(agent.actor_id)
            moved = agent.speed_mps > STANDING_MPS or (old is not None and old.moved)
            new = Sighting(agent, tick, moved)
            if old is not None and 0 < tick - old.tick <= round(1.0 / TICK_S):
                elapsed_s = (tick - old.tick) * TICK_S
                new.accel_mps2 = (agent.speed_mps - old.agent.speed_mps) / elapsed_s
                new.yaw_rate_radps = wrap(agent.yaw_rad - old.agent.yaw_rad) / elapsed_s
            elif old is not None and old.tick == tick:
                new.accel_mps2, new.yaw_rate_radps = old.accel_mps2, old.yaw_rate_radps
            self.sightings[agent.actor_id] = new
        oldest = tick - round(MEMORY_S / TICK_S)
        self.sightings = {k: v for k, v in self.sightings.items() if v.tick >= oldest}
        return [self.sightings[k] for k in sorted(self.sightings)]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected motion of N agents in the route's frame; T = STEPS samples, STEP_S apart, the first one now.

    Attributes:
        ids: (N,) actor ids.
        s_m: (N, T) along the route.
        d_m: (N, T) to the left.
        half_along_m: (N, T) half extent along the route.
        half_across_m: (N, T) half extent across it.
        along_mps: (N, T) speed along the route, negative for oncoming.
        across_mps: (N,) sideways speed now.
        still: (N,) has stood since first seen.
        walker: (N,) is a walker.
    """

    ids: tuple[int, ...]
    s_m: Array
    d_m: Array
    half_along_m: Array
    half_across_m: Array
    along_mps: Array
    across_mps: Array
    still: tuple[bool, ...]
    walker: tuple[bool, ...]


def forecast(frame: RouteFrame, sightings: Sequence[Sighting], tick: int, lane_ahead: LaneAhead) -> Forecast:
    """Expected motion of the agents over HORIZON_S.

    Vehicles about parallel to a lane follow it (or come over, at the cue of a cut-in); others, and walkers, go on
    straight. A braking vehicle goes on braking until it stands.

    Args:
        frame: The route.
        sightings: Agents to reckon with.
        tick: Now.
        lane_ahead: Lane geometry.

    Returns:
        Their forecast, in the order given.
    """
    t_s: Array = np.linspace(0.0, HORIZON_S, STEPS)
    count = len(sightings)
    s_m, d_m = np.zeros((count, STEPS)), np.zeros((count, STEPS))
    along, across = np.zeros((count, STEPS)), np.zeros((count, STEPS))
    speed_along, speed_across = np.zeros((count, STEPS)), np.zeros(count)
    for n, sighting in enumerate(sightings):
        agent = sighting.agent
        since_s: Array = t_s + (tick - sighting.tick) * TICK_S
        travelled, speed = _advance(agent, sighting.accel_mps2, since_s)
        path, lane_yaw_rad = _path(agent, float(travelled[-1]), lane_ahead)
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        arc_m = np.concatenate([[0.0], np.cumsum(steps)])
        xy = np.stack(
            [np.interp(travelled, arc_m, path[:, 0]), np.interp(travelled, arc_m, path[:, 1])], axis=1
        )
        heading = np.interp(travelled, arc_m[:-1], np.unwrap(np.arctan2(*np.diff(path, axis=0).T[::-1])))
        s_m[n], d_m[n] = frame.project(xy)
        relative = heading - frame.yaw_at(s_m[n])
        drift_mps = agent.speed_mps * math.sin(wrap(agent.yaw_rad - lane_yaw_rad))
        d_m[n] = _coming_over(d_m[n], drift_mps, since_s, math.cos(float(relative[0])))
        speed_along[n] = speed * np.cos(relative)
        speed_across[n] = agent.speed_mps * math.sin(float(relative[0])) + drift_mps
        cos, sin = np.abs(np.cos(relative)), np.abs(np.sin(relative))
        along[n] = 0.5 * (agent.length_m * cos + agent.width_m * sin)
        across[n] = 0.5 * (agent.length_m * sin + agent.width_m * cos)
    return Forecast(
        ids=tuple(sighting.agent.actor_id for sighting in sightings),
        s_m=s_m,
        d_m=d_m,
        half_along_m=along,
        half_across_m=across,
        along_mps=speed_along,
        across_mps=speed_across,
        still=tuple(not sighting.moved for sighting in sightings),
        walker=tuple(sighting.agent.kind is ActorKind.WALKER for sighting in sightings),
    )


def _path(agent: Agent, distance_m: float, lane_ahead: LaneAhead) -> tuple[Array, float]:
    """Where an agent goes, (K >= 2, 2) world points from where it is, and its lane's direction (its own without one)."""
    yaw_rad = agent.yaw_rad
    if agent.kind is ActorKind.WALKER:
        if math.hypot(agent.vx_mps, agent.vy_mps) > STANDING_MPS:
            yaw_rad = math.atan2(agent.vy_mps, agent.vx_mps)
    elif agent.kind is not ActorKind.STATIC and distance_m > 1.0:
        lane = lane_ahead(agent, distance_m + 2.0)
        if lane is not None:
            start = lane[1] - lane[0]
            return lane, math.atan2(start[1], start[0])
    reach_m = max(distance_m, 1.0)
    ahead = np.array([math.cos(yaw_rad), math.sin(yaw_rad)])
    here = np.array([agent.x_m, agent.y_m])
    return np.stack([here, here + 0.5 * reach_m * ahead, here + reach_m * ahead]), agent.yaw_rad


def _advance(agent: Agent, accel_mps2: float, t_s: Array) -> tuple[Array, Array]:
    """Distance travelled and speed at t; braking goes on until standstill, speeding up is not counted on."""
    v_mps = max(agent.speed_mps, 0.0)
    braking = accel_mps2 if agent.kind is not ActorKind.WALKER and accel_mps2 < -0.7 else 0.0
    if braking == 0.0:
        return v_mps * t_s, np.full_like(t_s, v_mps)
    stop_s = v_mps / -braking
    t_s = np.minimum(t_s, stop_s)
    return v_mps * t_s + 0.5 * braking * t_s**2, v_mps + braking * t_s


def _coming_over(d_m: Array, drift_mps: float, t_s: Array, ahead: float) -> Array:
    """Offsets of a vehicle that leaves its lane towards the route: it goes on until it is in the route's lane."""
    side = float(d_m[0])
    if ahead < 0.8 or side * drift_mps >= 0.0 or abs(drift_mps) < CUT_IN_MPS or not 1.0 < abs(side) < 6.0:
        return d_m
    rate = max(abs(drift_mps), CUT_IN_TARGET_MPS)
    return np.sign(d_m) * np.maximum(np.abs(d_m) - rate * t_s, 0.0)
