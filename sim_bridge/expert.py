"""The privileged expert: plans from the true state, in a way that a small network can imitate.

It keeps one cruise speed per stretch of road, swerves at a fixed time gap, brakes for who steps or drives into its way.
Its manoeuvre is a function of what can be seen, held over time (no dithering). `visible_ids` narrows what it reacts to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..scoring.frames import into_ego
from ..vocabulary import PLAN_POINTS, PLAN_STEP_S, ActorKind, Command, EgoState, Float
from .expert_pass import WAIT_GAP_M, Block, find_block, ways_round
from .expert_predict import STEP_S, STEPS, Forecast, Memory, forecast
from .expert_route import Array, LateralPath, RouteFrame, room_beside, smooth
from .expert_speed import (
    HALF_LENGTH_M,
    HALF_WIDTH_M,
    SpeedProfile,
    SpeedStyle,
    free_run,
    in_corridor,
    plan_speed,
    speed_limits,
)
from .lanes import LaneLines
from .moment import Moment

if TYPE_CHECKING:
    from .drive import Drive

SpeedMeta = Literal["maintain", "accelerate", "decelerate"]
DirectionMeta = Literal["keep lane", "turn left", "turn right", "change left", "change right"]
Meta = tuple[SpeedMeta, DirectionMeta]

KEEP_LANE = LateralPath()
CHANGE_RAD = 0.04  # a lane change of the route swings by more than this
COMMITTED_M = 0.5  # so far out of the lane, a pass is not given up


@dataclass(frozen=True, slots=True)
class ExpertStyle:
    """How the expert drives; the defaults are the teacher of generation 0.

    Attributes:
        speed: Following and yielding.
        cruise_factor: Share of the speed limit.
        clearance_m: Sideways room to a standing obstacle.
        vehicle_margin_m: Sideways room within which a vehicle counts as in the way.
        walker_margin_m: The same for walkers.
        swerve_s: Duration of a swerve at cruise speed.
        pass_factor: Share of the cruise speed while passing.
        oncoming_s: Time that must remain to an oncoming vehicle when passing.
    """

    speed: SpeedStyle = field(default_factory=SpeedStyle)
    cruise_factor: float = 1.0
    clearance_m: float = 0.8
    vehicle_margin_m: float = 0.35
    walker_margin_m: float = 0.6
    swerve_s: float = 2.6
    pass_factor: float = 1.0
    oncoming_s: float = 0.6


@dataclass(frozen=True, slots=True)
class ExpertDecision:
    """A plan and the facts behind it.

    Attributes:
        waypoints_m: (8, 2) float32, ego frame, 0.5 s apart.
        target_speed_mps: Speed at the plan's end.
        meta: Meta-actions for 0-1 s and 1-4 s.
        critical_id: The actor that the plan reacts to; None for none.
        risk_s: Time to collision now, at constant velocities.
        counterfactual_risk_s: Time to collision if the ego kept its speed and its place in the lane.
    """

    waypoints_m: Float
    target_speed_mps: float
    meta: tuple[Meta, Meta]
    critical_id: int | None
    risk_s: float
    counterfactual_risk_s: float


@dataclass(slots=True)
class _Route:
    line_m: Array
    frame: RouteFrame
    room_m: Array
    lanes: LaneLines


@dataclass(slots=True)
class _State:
    """What is carried from one plan of an episode to the next."""

    memory: Memory = field(default_factory=Memory)
    path: LateralPath = KEEP_LANE
    yielded: frozenset[int] = frozenset()
    tick: int = -(10**9)
    margins: Array = field(default_factory=lambda: np.zeros(0))
    view: ExpertView | None = None


@dataclass(frozen=True, slots=True)
class ExpertView:
    """What the last plan was based on, for those who judge other plans by it.

    Attributes:
        frame: The route.
        room_m: (2, M) road to the left and right of the line at `frame.s_m`.
        agents: Expected motion of the agents reckoned with.
        path: The lateral path that was chosen.
    """

    frame: RouteFrame
    room_m: Array
    agents: Forecast
    path: LateralPath


class Expert:
    """Plans for one episode after another; forgets when the route changes or time goes back.

    Args:
        style: How to drive.
    """

    def __init__(self, style: ExpertStyle | None = None) -> None:
        self._style = style or ExpertStyle()
        self._route: _Route | None = None
        self._state = _State()

    def plan(self, drive: Drive, moment: Moment, visible_ids: frozenset[int] | None = None) -> ExpertDecision:
        """Plan from one moment.

        Args:
            drive: The simulator, for route and map.
            moment: Now.
            visible_ids: Actors that may be reacted to; None for all.

        Returns:
            The plan and its reasons.
        """
        route = self._on_route(drive, moment)
        style, frame, ego = self._style, route.frame, moment.ego
        agents = forecast(
            frame,
            self._state.memory.update(moment.tick, moment.agents, visible_ids),
            moment.tick,
            route.lanes.ahead,
        )
        kinds = {agent.actor_id: agent.kind for agent in moment.agents}
        self._state.margins = np.array(
            [
                style.walker_margin_m if kinds.get(i) is ActorKind.WALKER else style.vehicle_margin_m
                for i in agents.ids
            ]
        )
        s_m, d_m = (float(value) for value in frame.project(np.array([ego.x_m, ego.y_m])))
        cruise_mps = moment.speed_limit_mps * style.cruise_factor
        path, stop_at_m, block = self._manoeuvre(route, agents, s_m, d_m, ego, cruise_mps)
        profile = self._profile(route, path, agents, s_m, ego, cruise_mps, stop_at_m)
        self._state.path, self._state.tick = path, moment.tick
        self._state.view = ExpertView(frame, route.room_m, agents, path)
        self._state.yielded = frozenset(agents.ids[n] for n in profile.yielding)
        risk_s, risk_index = _keep_speed_risk(agents, s_m, d_m, ego.speed_mps)
        critical = self._critical(agents, profile, block, path, risk_index)
        waypoints_m = self._waypoints(frame, path, profile, s_m, d_m, ego)
        return ExpertDecision(
            waypoints_m=waypoints_m,
            target_speed_mps=float(profile.v_mps[round(4.0 / STEP_S)]),
            meta=_metas(frame, path, profile, ego.speed_mps, moment.command),
            critical_id=critical,
            risk_s=moment.ttc_s,
            counterfactual_risk_s=risk_s,
        )

    @property
    def view(self) -> ExpertView:
        """What the last plan was based on; there must have been one."""
        assert self._state.view is not None
        return self._state.view

    def _on_route(self, drive: Drive, moment: Moment) -> _Route:
        line_m = drive.route_centerline_m
        if self._route is None or not np.array_equal(self._route.line_m, line_m):
            frame, lanes = RouteFrame(line_m), LaneLines(drive.carla_map)
            self._route = _Route(line_m.copy(), frame, room_beside(frame, lanes.room), lanes)
            self._state = _State()
        elif moment.tick < self._state.tick:
            self._state = _State()
        return self._route

    def _manoeuvre(
        self, route: _Route, agents: Forecast, s_m: float, d_m: float, ego: EgoState, cruise_mps: float
    ) -> tuple[LateralPath, float, Block | None]:
        """Lateral path, stop (inf for none) and the block that both are about."""
        style = self._style
        block = find_block(agents, s_m, style.vehicle_margin_m)
        under_way = (
            self._state.path.offset_m != 0.0 and self._state.path.out_m[0] < s_m < self._state.path.back_m[1]
        )
        if block is None:
            return (self._state.path if under_way else KEEP_LANE), math.inf, None
        paths = ways_round(
            route.frame,
            route.room_m,
            block,
            s_m=s_m,
            offset_m=d_m,
            v_mps=ego.speed_mps,
            cruise_mps=cruise_mps,
            clearance_m=style.clearance_m,
            swerve_s=style.swerve_s,
        )
        if under_way:
            path = self._carry_on(block, paths)
            turned_out = abs(float(path.at(s_m))) > COMMITTED_M
            if turned_out or self._is_free(route, path, agents, s_m, ego, cruise_mps):
                return path, math.inf, block
        paths.sort(
            key=lambda path: (
                abs(path.offset_m) + (0.5 if path.offset_m * self._state.path.offset_m < 0.0 else 0.0)
            )
        )
        for path in paths:
            if self._is_free(route, path, agents, s_m, ego, cruise_mps):
                return path, math.inf, block
        stop_at_m = block.s_m[0] - HALF_LENGTH_M - WAIT_GAP_M
        brake_m = ego.speed_mps**2 / (2.0 * 5.0)
        if s_m + brake_m > stop_at_m:  # too late for the long gap
            stop_at_m = max(s_m + brake_m, block.s_m[0] - HALF_LENGTH_M - 8.0)
        return KEEP_LANE, stop_at_m, block

    def _carry_on(self, block: Block, paths: list[LateralPath]) -> LateralPath:
        """The path under way, moved out or drawn out when more of the block has come into sight."""
        path = self._state.path
        edge = block.d_m[1] if path.offset_m > 0.0 else block.d_m[0]
        needed = edge + math.copysign(HALF_WIDTH_M + self._style.clearance_m, path.offset_m)
        if abs(needed) > abs(path.offset_m) + 0.25:
            wider = [other for other in paths if other.offset_m * path.offset_m > 0.0]
            if wider:
                return wider[0]
        back_m = block.s_m[1] + HALF_LENGTH_M + 1.0
        if back_m > path.back_m[0]:
            length_m = path.back_m[1] - path.back_m[0]
            return replace(path, back_m=(back_m, back_m + length_m))
        return path

    def _is_free(
        self, route: _Route, path: LateralPath, agents: Forecast, s_m: float, ego: EgoState, cruise_mps: float
    ) -> bool:
        """Nobody stands on the path and nobody comes towards the ego while it is on it."""
        inside = in_corridor(path, agents, self._state.margins)
        ahead = agents.s_m[:, 0] + agents.half_along_m[:, 0] > s_m - HALF_LENGTH_M
        if any(still and inside[n, 0] and ahead[n] for n, still in enumerate(agents.still)):
            return False
        limits = speed_limits(route.frame, path, cruise_mps)
        along = free_run(s_m, ego.speed_mps, route.frame.s_m, limits, self._style.speed.accel_mps2)
        shift = round(self._style.oncoming_s / STEP_S)
        times = np.arange(STEPS)
        for n in range(len(agents.ids)):
            if agents.along_mps[n, 0] > -0.5 or not ahead[n]:
                continue
            reach = agents.half_along_m[n] + HALF_LENGTH_M + 1.0
            for late in (-shift, 0, shift):
                near = np.abs(along[np.clip(times + late, 0, STEPS - 1)] - agents.s_m[n]) < reach
                if (near & inside[n]).any():
                    return False
        return True

    def _profile(
        self,
        route: _Route,
        path: LateralPath,
        agents: Forecast,
        s_m: float,
        ego: EgoState,
        cruise_mps: float,
        stop_at_m: float,
    ) -> SpeedProfile:
        if path.offset_m != 0.0:
            cruise_mps *= self._style.pass_factor
        return plan_speed(
            route.frame,
            path,
            agents,
            self._state.margins,
            s_m=s_m,
            v_mps=ego.speed_mps,
            accel_mps2=ego.accel_mps2,
            limits_mps=speed_limits(route.frame, path, cruise_mps),
            stop_at_m=stop_at_m,
            style=self._style.speed,
            yielded_to=self._state.yielded,
        )

    def _critical(
        self,
        agents: Forecast,
        profile: SpeedProfile,
        block: Block | None,
        path: LateralPath,
        risk_index: int,
    ) -> int | None:
        if profile.binding >= 0:
            return agents.ids[profile.binding]
        if block is not None:
            return agents.ids[max(block.indices, key=lambda n: float(agents.half_across_m[n, 0]))]
        if path.offset_m == 0.0 and risk_index >= 0:
            return agents.ids[risk_index]
        return None

    @staticmethod
    def _waypoints(
        frame: RouteFrame, path: LateralPath, profile: SpeedProfile, s_m: float, d_m: float, ego: EgoState
    ) -> Float:
        """The profile as points in the ego frame; an error off the path fades out within about 1.5 s."""
        times_s = PLAN_STEP_S * np.arange(1, PLAN_POINTS + 1)
        along = np.interp(times_s, STEP_S * np.arange(STEPS), profile.s_m)
        fade_m = min(max(1.5 * ego.speed_mps, 6.0), 18.0)
        error_m = d_m - float(path.at(s_m))
        offset = path.at(along) + error_m * (1.0 - smooth((along - s_m) / fade_m))
        return into_ego(frame.to_world(along, offset), ego).astype(np.float32)


def _keep_speed_risk(agents: Forecast, s_m: float, d_m: float, v_mps: float) -> tuple[float, int]:
    """First contact if the ego kept its speed and its offset: (seconds, agent index); (inf, -1) for none."""
    inside = np.abs(agents.d_m - d_m) - agents.half_across_m < HALF_WIDTH_M
    along = s_m + v_mps * STEP_S * np.arange(STEPS)
    touch = inside & (np.abs(agents.s_m - along) < agents.half_along_m + HALF_LENGTH_M)
    if not touch.any():
        return math.inf, -1
    first = np.where(touch.any(axis=1), touch.argmax(axis=1), STEPS)
    index = int(first.argmin())
    return float(first[index] * STEP_S), index


def _metas(
    frame: RouteFrame, path: LateralPath, profile: SpeedProfile, v_mps: float, command: Command
) -> tuple[Meta, Meta]:
    one, four = round(1.0 / STEP_S), round(4.0 / STEP_S)
    s_m, v = profile.s_m, profile.v_mps
    return (
        (_speed_meta(v_mps, v[one]), _direction_meta(frame, path, s_m[: one + 1], 0.12, command)),
        (_speed_meta(v[one], v[four]), _direction_meta(frame, path, s_m[one : four + 1], 0.35, command)),
    )


def _speed_meta(before_mps: float, after_mps: float) -> SpeedMeta:
    if after_mps > before_mps + 0.6:
        return "accelerate"
    if after_mps < before_mps - 0.6:
        return "decelerate"
    return "maintain"


def _direction_meta(
    frame: RouteFrame, path: LateralPath, s_m: Array, turn_rad: float, command: Command
) -> DirectionMeta:
    shift_m = float(path.at(s_m[-1]) - path.at(s_m[0]))
    if abs(shift_m) > 0.4:
        return "change left" if shift_m > 0.0 else "change right"
    yaw_rad = frame.yaw_at(s_m)
    if command in (Command.CHANGE_LEFT, Command.CHANGE_RIGHT):
        if float(np.ptp(yaw_rad)) < CHANGE_RAD:
            return "keep lane"
        return "change left" if command is Command.CHANGE_LEFT else "change right"
    turn = float(yaw_rad[-1] - yaw_rad[0])
    if abs(turn) > turn_rad:
        return "turn left" if turn > 0.0 else "turn right"
    return "keep lane"
