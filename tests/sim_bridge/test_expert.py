from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from takeover.sim_bridge.expert_pass import find_block, ways_round
from takeover.sim_bridge.expert_predict import STEP_S, Forecast, Memory, forecast
from takeover.sim_bridge.expert_route import LateralPath, RouteFrame, room_beside
from takeover.sim_bridge.expert_speed import (
    HALF_LENGTH_M,
    SpeedProfile,
    SpeedStyle,
    plan_speed,
    speed_limits,
)
from takeover.vocabulary import ActorKind, Agent

STRAIGHT = RouteFrame(np.stack([np.arange(101.0), np.zeros(101)], axis=1))


def vehicle(
    actor_id: int,
    x_m: float,
    y_m: float,
    speed: float = 0.0,
    yaw: float = 0.0,
    kind: ActorKind = ActorKind.VEHICLE,
) -> Agent:
    size = (0.5, 0.5) if kind is ActorKind.WALKER else (4.7, 1.9)
    velocity = speed * math.cos(yaw), speed * math.sin(yaw)
    return Agent(actor_id, kind, x_m, y_m, yaw, speed, *size, "", *velocity)


def walker(actor_id: int, x_m: float, y_m: float, speed: float, yaw: float) -> Agent:
    return vehicle(actor_id, x_m, y_m, speed, yaw, ActorKind.WALKER)


def expected(*looks: Sequence[Agent], every: int = 10) -> Forecast:
    memory = Memory()
    for number, agents in enumerate(looks):
        sightings = memory.update(number * every, agents, None)
    return forecast(STRAIGHT, sightings, (len(looks) - 1) * every, lambda agent, distance: None)


def profile(
    agents: Forecast, s_m: float = 10.0, v_mps: float = 8.0, stop_at_m: float = math.inf
) -> SpeedProfile:
    return plan_speed(
        STRAIGHT,
        LateralPath(),
        agents,
        np.full(len(agents.ids), 0.4),
        s_m=s_m,
        v_mps=v_mps,
        accel_mps2=0.0,
        limits_mps=speed_limits(STRAIGHT, LateralPath(), 8.0),
        stop_at_m=stop_at_m,
        style=SpeedStyle(),
        yielded_to=frozenset(),
    )


def test_route_frame_round_trip_on_a_bend() -> None:
    angle = np.linspace(0.0, 1.5, 61)
    frame = RouteFrame(np.stack([40.0 * np.sin(angle), 40.0 * (1.0 - np.cos(angle))], axis=1))
    s_m, d_m = np.meshgrid(np.linspace(2.0, 55.0, 20), np.linspace(-4.0, 4.0, 9))
    found_s, found_d = frame.project(frame.to_world(s_m, d_m))
    assert np.abs(found_s - s_m).max() < 0.15
    assert np.abs(found_d - d_m).max() < 0.1
    assert frame.curvature[40] == pytest.approx(1.0 / 40.0, rel=0.05)


def test_room_beside_carries_the_last_width_over_a_gap() -> None:
    room = room_beside(STRAIGHT, lambda x, y, yaw: (5.25, 1.75) if x < 50.0 else None)
    assert room[0].min() == room[0].max() == 5.25
    assert room[1].max() == 1.75


def test_free_road_keeps_the_cruise_speed() -> None:
    free = profile(expected([]))
    assert free.v_mps == pytest.approx(np.full(len(free.v_mps), 8.0), abs=0.05)
    assert free.binding == -1


def test_stops_behind_a_standing_car() -> None:
    plan = profile(expected([vehicle(7, 50.0, 0.0)]))
    assert plan.v_mps[-1] < 0.3
    rear = 50.0 - 2.35
    assert 2.0 < rear - (plan.s_m[-1] + HALF_LENGTH_M) < 5.0
    assert np.diff(plan.v_mps).min() / STEP_S > -4.0


def test_brakes_with_a_braking_lead_more_than_with_a_cruising_one() -> None:
    cruising = expected([vehicle(7, 24.0, 0.0, 8.0)], [vehicle(7, 28.0, 0.0, 8.0)])
    braking = expected([vehicle(7, 24.0, 0.0, 8.0)], [vehicle(7, 27.5, 0.0, 5.5)])
    assert braking.along_mps[0, 10] < 0.1
    steps = round(2.0 / STEP_S)
    assert profile(cruising, s_m=14.0).v_mps[steps] > 6.5
    assert profile(braking, s_m=14.0).v_mps[steps] < 5.0


def test_yields_to_a_walker_who_comes_and_not_to_one_who_stands_or_walks_along() -> None:
    place = (30.0, -4.0)
    coming = profile(expected([walker(3, *place, 1.5, 0.5 * math.pi)]))
    standing = profile(expected([walker(3, *place, 0.0, 0.5 * math.pi)]))
    along = profile(expected([walker(3, *place, 1.2, 0.0)]))
    away = profile(expected([walker(3, *place, 1.5, -0.5 * math.pi)]))
    assert coming.yielding == (0,)
    assert coming.v_mps.min() < 4.0
    for other in (standing, along, away):
        assert other.yielding == ()
        assert other.v_mps.min() > 7.8


def test_lets_a_walker_pass_who_is_long_gone_by_then() -> None:
    assert profile(expected([walker(3, 70.0, -2.0, 2.0, 0.5 * math.pi)])).yielding == ()


def test_a_car_that_comes_over_is_followed_before_it_is_in_the_lane() -> None:
    lane = np.array([[30.0, -3.5], [90.0, -3.5]])
    memory = Memory()
    sightings = memory.update(0, [vehicle(5, 30.0, -3.5, 4.0, 0.2)], None)
    agents = forecast(STRAIGHT, sightings, 0, lambda agent, distance: lane)
    assert profile(agents).v_mps.min() < 6.0
    straight_on = memory.update(0, [vehicle(5, 30.0, -3.5, 4.0, 0.0)], None)
    agents = forecast(STRAIGHT, straight_on, 0, lambda agent, distance: lane)
    assert profile(agents).v_mps.min() > 7.8


def test_only_visible_agents_count_and_are_remembered_for_two_seconds() -> None:
    memory = Memory()
    agents = [vehicle(1, 20.0, 0.0, 4.0), vehicle(2, 40.0, 0.0)]
    assert [s.agent.actor_id for s in memory.update(0, agents, frozenset({1}))] == [1]
    gone = memory.update(30, [vehicle(1, 26.0, 0.0, 4.0)], frozenset())
    assert [s.agent.x_m for s in gone] == [20.0]
    ahead = forecast(STRAIGHT, gone, 30, lambda agent, distance: None)
    assert ahead.s_m[0, 0] == pytest.approx(26.0, abs=0.1)  # carried forward, not looked up
    assert memory.update(41, [], frozenset()) == []


def test_ways_round_stay_on_the_road_and_clear_the_block() -> None:
    agents = expected([vehicle(9, 50.0, -0.2)])
    block = find_block(agents, 10.0, 0.35)
    assert block is not None
    kwargs = {
        "s_m": 10.0,
        "offset_m": 0.0,
        "v_mps": 8.0,
        "cruise_mps": 8.0,
        "clearance_m": 0.8,
        "swerve_s": 2.6,
    }
    narrow = np.full((2, len(STRAIGHT.s_m)), 1.75)
    wide = np.stack([np.full(len(STRAIGHT.s_m), 5.25), np.full(len(STRAIGHT.s_m), 1.75)])
    assert ways_round(STRAIGHT, narrow, block, **kwargs) == []
    (path,) = ways_round(STRAIGHT, wide, block, **kwargs)
    beside = path.at(np.linspace(50.0 - 2.35 - HALF_LENGTH_M, 50.0 + 2.35 + HALF_LENGTH_M, 20))
    assert beside.min() == pytest.approx(0.75 + 1.05 + 0.8, abs=1e-6)
    assert float(path.at(10.0)) == 0.0
    assert float(path.at(100.0)) == pytest.approx(0.0, abs=1e-3)


def test_a_parked_car_clear_of_the_lane_is_no_block_and_neither_is_one_that_has_moved() -> None:
    assert find_block(expected([vehicle(9, 50.0, -3.0)]), 10.0, 0.35) is None
    stopped_lead = expected([vehicle(9, 48.0, 0.0, 4.0)], [vehicle(9, 50.0, 0.0, 0.0)])
    assert find_block(stopped_lead, 10.0, 0.35) is None
