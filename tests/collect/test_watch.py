from __future__ import annotations

import math

import numpy as np
import pytest

from takeover.collect.watch import SLOW_FOR_S, Watch, WatchStyle
from takeover.sim_bridge.expert import ExpertDecision, ExpertView, Meta
from takeover.sim_bridge.expert_predict import Memory, forecast
from takeover.sim_bridge.expert_route import LateralPath, RouteFrame
from takeover.sim_bridge.moment import Moment
from takeover.vocabulary import ActorKind, Agent, Command, EgoState, Plan, Reason

FRAME = RouteFrame(np.stack([np.arange(101.0), np.zeros(101)], axis=1))
ROOM = np.stack([np.full(len(FRAME.s_m), 5.25), np.full(len(FRAME.s_m), 1.75)])
TIMES_S = np.linspace(0.5, 4.0, 8)


def view(*agents: Agent, path: LateralPath | None = None) -> ExpertView:
    sightings = Memory().update(0, agents, None)
    return ExpertView(FRAME, ROOM, forecast(FRAME, sightings, 0, lambda a, d: None), path or LateralPath())


def moment(time_s: float = 0.0, speed_mps: float = 8.0, **changes: object) -> Moment:
    values: dict[str, object] = {
        "tick": round(time_s * 20),
        "time_s": time_s,
        "ego": EgoState(10.0, 0.0, 0.0, speed_mps),
        "agents": (),
        "frame": None,
        "command": Command.FOLLOW_LANE,
        "route_progress_m": 10.0,
        "route_length_m": 100.0,
        "lateral_error_m": 0.0,
        "heading_error_rad": 0.0,
        "off_road": False,
        "ttc_s": math.inf,
        "speed_limit_mps": 8.0,
    }
    return Moment(**(values | changes))  # type: ignore[arg-type]


def plan(speed_mps: float = 8.0, left_m: float = 0.0, tick: int = 0) -> Plan:
    return Plan(np.stack([speed_mps * TIMES_S, left_m * TIMES_S / 4.0], axis=1).astype(np.float32), tick)


def own(speed_mps: float = 8.0) -> ExpertDecision:
    keep: Meta = ("maintain", "keep lane")
    return ExpertDecision(plan(speed_mps).waypoints_m, speed_mps, (keep, keep), None, math.inf, math.inf)


def car(x_m: float, y_m: float = 0.0, speed_mps: float = 0.0) -> Agent:
    return Agent(4, ActorKind.VEHICLE, x_m, y_m, 0.0, speed_mps, 4.7, 1.9, "", speed_mps, 0.0)


def judge(seen: ExpertView, made: Plan, now: Moment | None = None) -> Reason | None:
    return Watch(WatchStyle()).judge(now or moment(), made, own(), seen)


def test_a_plan_through_a_standing_car_alarms_and_one_that_stops_or_passes_does_not() -> None:
    seen = view(car(38.0))
    assert judge(seen, plan()) is Reason.COLLISION_RISK
    assert judge(seen, plan(4.0)) is None
    passing = LateralPath(2.8, (11.0, 30.0), (45.0, 60.0))
    s_m = 10.0 + 8.0 * TIMES_S
    swerve = Plan(np.stack([8.0 * TIMES_S, passing.at(s_m)], axis=1).astype(np.float32), 0)
    assert judge(view(car(38.0), path=passing), swerve) is None


def test_a_far_car_that_moves_alarms_later_than_one_that_stands() -> None:
    assert judge(view(car(40.0)), plan()) is Reason.COLLISION_RISK
    assert judge(view(car(24.0, speed_mps=5.0)), plan()) is None  # met after 3.1 s
    assert judge(view(car(18.0, speed_mps=4.0)), plan()) is Reason.COLLISION_RISK


def test_a_car_behind_or_beside_is_no_risk() -> None:
    assert judge(view(car(2.0, speed_mps=12.0)), plan()) is None
    assert judge(view(car(30.0, -3.0)), plan()) is None


@pytest.mark.parametrize(
    ("left_m", "reason"), [(3.5, Reason.LANE_OR_ROUTE), (-2.5, Reason.LANE_OR_ROUTE), (0.8, None)]
)
def test_leaving_the_lane_for_no_reason_alarms(left_m: float, reason: Reason | None) -> None:
    assert judge(view(), plan(left_m=left_m)) is reason


def test_standing_on_a_free_road_alarms_after_a_while() -> None:
    watch = Watch(WatchStyle())
    verdicts = []
    for step in range(6):
        now = moment(0.5 * step, speed_mps=0.0)
        verdicts.append(watch.judge(now, plan(0.0, tick=now.tick), own(), view()))
    assert verdicts[: round(SLOW_FOR_S / 0.5)] == [None] * round(SLOW_FOR_S / 0.5)
    assert verdicts[-1] is Reason.TOO_SLOW


def test_standing_at_a_red_light_is_no_fault() -> None:
    watch = Watch(WatchStyle())
    for step in range(8):
        now = moment(0.5 * step, speed_mps=0.0, red_light_ahead=True)
        assert watch.judge(now, plan(0.0, tick=now.tick), own(), view()) is None
