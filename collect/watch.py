"""How a passenger judges a policy's plan: does it hit something, leave the lane, or dawdle?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..sim_bridge.expert import ExpertDecision, ExpertView
from ..sim_bridge.expert_predict import STEP_S
from ..sim_bridge.expert_route import Array
from ..sim_bridge.expert_speed import HALF_LENGTH_M, HALF_WIDTH_M
from ..sim_bridge.moment import Moment
from ..vocabulary import PLAN_HORIZON_S, PLAN_POINTS, PLAN_STEP_S, EgoState, Float, Plan, Reason

OFF_ROAD_M = 0.2  # a side of the car beyond the edge of the road
LANE_LOOK_S = 2.5
SLOW_SHARE = 0.5  # of the speed limit
SLOW_M = 7.0  # behind the own plan after 4 s
SLOW_FOR_S = 1.5


@dataclass(frozen=True, slots=True)
class WatchStyle:
    """When a driver is alarmed.

    Attributes:
        moving_s: The plan meets something that moves within this time.
        standing_s: The plan meets something that stands within this time.
        margin_m: Room that is felt as a hit.
        lane_m: The plan's middle is this far out of the route's lane, for no reason.
    """

    moving_s: float = 2.8
    standing_s: float = 3.5
    margin_m: float = 0.15
    lane_m: float = 1.4


class Watch:
    """Judges plans of one episode.

    Args:
        style: When to be alarmed.
    """

    def __init__(self, style: WatchStyle) -> None:
        self._style = style
        self._slow_since_s = math.inf

    def judge(self, moment: Moment, plan: Plan, own: ExpertDecision, view: ExpertView) -> Reason | None:
        """What is wrong with a plan made at this moment.

        Args:
            moment: Now.
            plan: The policy's plan, made now.
            own: The driver's own plan.
            view: What the driver sees and expects.

        Returns:
            The gravest reason; None if the plan will do.
        """
        s_m, d_m = _rolled(view, moment.ego, plan)
        if self._hits(view, s_m, d_m):
            return Reason.COLLISION_RISK
        if moment.off_road or self._leaves_lane(view, s_m, d_m):
            return Reason.LANE_OR_ROUTE
        return Reason.TOO_SLOW if self._dawdles(moment, plan, own) else None

    def _hits(self, view: ExpertView, s_m: Array, d_m: Array) -> bool:
        agents = view.agents
        steps = len(s_m)
        margin_m = self._style.margin_m
        near = (
            np.abs(agents.s_m[:, :steps] - s_m) < agents.half_along_m[:, :steps] + HALF_LENGTH_M + margin_m
        ) & (np.abs(agents.d_m[:, :steps] - d_m) < agents.half_across_m[:, :steps] + HALF_WIDTH_M + margin_m)
        ahead = agents.s_m[:, 0] > s_m[0]
        for n in np.flatnonzero(near.any(axis=1)):
            first_s = float(near[n].argmax()) * STEP_S
            limit_s = self._style.standing_s if agents.still[n] else self._style.moving_s
            if first_s <= limit_s and (ahead[n] or first_s == 0.0):
                return True
        return False

    def _leaves_lane(self, view: ExpertView, s_m: Array, d_m: Array) -> bool:
        """The plan goes off the road, or out of the lane when nothing stands in it."""
        steps = round(LANE_LOOK_S / STEP_S)
        s_m, d_m = s_m[: steps + 1], d_m[: steps + 1]
        left = np.interp(s_m, view.frame.s_m, view.room_m[0])
        right = np.interp(s_m, view.frame.s_m, view.room_m[1])
        over_m = np.maximum(d_m + HALF_WIDTH_M - left, -d_m + HALF_WIDTH_M - right)
        if float(over_m.max()) > OFF_ROAD_M:
            return True
        astray = np.abs(d_m - view.path.at(s_m))
        return view.path.offset_m == 0.0 and bool(astray[-1] > self._style.lane_m and astray[-1] >= astray[0])

    def _dawdles(self, moment: Moment, plan: Plan, own: ExpertDecision) -> bool:
        """The car is slow, the plan keeps it slow, and the driver would go: for some time now."""
        behind_m = _reach(own.waypoints_m) - _reach(plan.waypoints_m)
        slow = moment.ego.speed_mps < SLOW_SHARE * moment.speed_limit_mps and behind_m > SLOW_M
        if not slow or moment.red_light_ahead:
            self._slow_since_s = math.inf
        elif math.isinf(self._slow_since_s):
            self._slow_since_s = moment.time_s
        return moment.time_s - self._slow_since_s >= SLOW_FOR_S


def _rolled(view: ExpertView, ego: EgoState, plan: Plan) -> tuple[Array, Array]:
    """The plan in the route's frame at STEP_S, from now to its end: s_m, d_m (T,)."""
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    points = np.zeros((PLAN_POINTS + 1, 2))
    points[1:] = plan.waypoints_m
    world = np.stack(
        [
            ego.x_m + cos * points[:, 0] - sin * points[:, 1],
            ego.y_m + sin * points[:, 0] + cos * points[:, 1],
        ],
        axis=1,
    )
    s_m, d_m = view.frame.project(world)
    known_s = np.arange(PLAN_POINTS + 1) * PLAN_STEP_S
    times_s = np.arange(round(PLAN_HORIZON_S / STEP_S) + 1) * STEP_S
    return np.interp(times_s, known_s, s_m), np.interp(times_s, known_s, d_m)


def _reach(waypoints_m: Float) -> float:
    """Length of a plan's way."""
    first = np.linalg.norm(waypoints_m[0])
    return float(first + np.linalg.norm(np.diff(waypoints_m, axis=0), axis=1).sum())
