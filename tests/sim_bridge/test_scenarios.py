from __future__ import annotations

import functools
import math

import carla
import numpy as np
import pytest

from takeover.errors import UsageError
from takeover.sim_bridge.drive import WARMUP_TICKS
from takeover.sim_bridge.embedded.maps import load_xodr
from takeover.sim_bridge.expert_route import RouteFrame
from takeover.sim_bridge.lanes import LaneLines
from takeover.sim_bridge.routes import build_route
from takeover.sim_bridge.scenarios.base import RUN_UP_S
from takeover.sim_bridge.scenarios.cases import ALL_TYPES, BRAKING_TYPES, NOMINAL_TYPES, STEERING_TYPES
from takeover.sim_bridge.scenarios.catalogue import make_scenario
from takeover.sim_bridge.scenarios.scripted import Ground, Part
from takeover.sim_bridge.scenarios.scripts import Arrival, Crossing, Follow, Walk, World
from takeover.vocabulary import TICK_S, ActorKind, Agent, Case

SEEDS = range(12)


@functools.cache
def town(name: str) -> carla.Map:
    return carla.Map(name, load_xodr(name))


def placed(case: Case) -> tuple[Ground, list[Part]]:
    scenario = make_scenario(case)
    spec = scenario.spec
    carla_map = town(spec.route.map_name)
    ground = Ground(RouteFrame(build_route(carla_map, spec.route).points_m), LaneLines(carla_map))
    return ground, list(scenario.parts(ground))


def test_run_up_is_the_warm_up_of_drive() -> None:
    assert pytest.approx(WARMUP_TICKS * TICK_S) == RUN_UP_S


@pytest.mark.parametrize("scenario", ALL_TYPES)
def test_every_seed_has_a_short_route_that_exists(scenario: str) -> None:
    for seed in SEEDS:
        spec = make_scenario(Case(scenario, seed)).spec
        route = build_route(town(spec.route.map_name), spec.route)
        assert 50.0 <= route.length_m - RUN_UP_S * spec.start_speed_mps <= 112.0
        assert 6.0 <= spec.target_speed_mps <= 13.0
        assert spec.timeout_s <= 14.0
        assert RUN_UP_S * spec.start_speed_mps < spec.conflict_m < route.length_m


@pytest.mark.parametrize("scenario", [t for t in ALL_TYPES if t not in NOMINAL_TYPES])
def test_decoy_twin_is_the_same_place_with_the_same_draw(scenario: str) -> None:
    for seed in SEEDS:
        real, twin = make_scenario(Case(scenario, seed)).spec, make_scenario(Case(scenario, seed, True)).spec
        if scenario != "HardBreakRoute":  # its twin needs a second lane
            assert (real.route, real.target_speed_mps) == (twin.route, twin.target_speed_mps)


@pytest.mark.parametrize("scenario", [t for t in ALL_TYPES if t not in NOMINAL_TYPES])
def test_a_case_is_reproducible_and_cases_differ(scenario: str) -> None:
    looks = set()
    for seed in SEEDS:
        first, second = placed(Case(scenario, seed))[1], placed(Case(scenario, seed))[1]
        assert [(p.name, p.look, p.pose) for p in first] == [(p.name, p.look, p.pose) for p in second]
        looks.add(str([(p.look, p.pose) for p in first]))
    assert len(looks) == len(SEEDS)


@pytest.mark.parametrize("scenario", BRAKING_TYPES + STEERING_TYPES)
def test_there_is_one_critical_actor(scenario: str) -> None:
    for seed in SEEDS:
        for decoy in (False, True):
            assert sum(part.critical for part in placed(Case(scenario, seed, decoy))[1]) == 1


@pytest.mark.parametrize("scenario", STEERING_TYPES)
def test_steering_types_block_the_lane_and_their_twins_do_not(scenario: str) -> None:
    for seed in SEEDS:
        for decoy in (False, True):
            ground, parts = placed(Case(scenario, seed, decoy))
            critical = next(p for p in parts if p.critical)
            _, d_m = ground.frame.project_one(*critical.pose[:2])
            if scenario == "MergerIntoSlowTraffic":
                assert d_m == pytest.approx(7.0 if decoy else 3.5, abs=0.3)
            else:
                assert (abs(d_m) < 1.0) is not decoy


@pytest.mark.parametrize(
    "scenario", ["DynamicObjectCrossing", "PedestrianCrossing", "VehicleTurningRoutePedestrian"]
)
def test_walkers_start_beside_the_lane_at_a_human_pace(scenario: str) -> None:
    for seed in SEEDS:
        ground, parts = placed(Case(scenario, seed))
        for part in parts:
            if not isinstance(part.script, Crossing) or not part.critical:
                continue
            d_m = ground.frame.project_one(*part.pose[:2])[1]
            assert abs(d_m) > 2.2
            assert 0.9 <= part.script.speed_mps <= 2.6
            assert part.script.trigger is not None
            # at the ego's speed the walker is in its way when it comes: within the lane's middle 2.1 m
            walk_s = part.script.trigger.within_s - part.script.delay_s + 0.3
            left_m = abs(d_m) - part.script.speed_mps * walk_s
            assert abs(left_m) < 1.6


def test_blueprint_and_colour_do_not_tell_the_part() -> None:
    colours: dict[str, set[str]] = {"parked": set(), "lead": set()}
    for seed in range(60):
        for scenario, name in (("ParkedObstacle", "parked"), ("HardBreakRoute", "lead")):
            part = next(p for p in placed(Case(scenario, seed))[1] if p.name == name)
            colours[name].add(part.look[1]["color"])
    means = [np.mean([[int(v) for v in c.split(",")] for c in group], axis=0) for group in colours.values()]
    assert len(colours["parked"]) > 40
    assert np.abs(means[0] - means[1]).max() < 40.0


def test_roles_are_checked() -> None:
    with pytest.raises(UsageError):
        make_scenario(Case("HardBreakRoute", 30_000))


def test_arrival_never_fires_for_who_stands_still() -> None:
    trigger = Arrival(50.0, 2.5)
    assert not trigger.fires(World(1.0, 45.0, 0.0))
    assert not trigger.fires(World(1.0, 20.0, 8.0))
    assert not trigger.fires(World(-0.5, 40.0, 8.0))
    assert trigger.fires(World(1.0, 30.0, 8.0))
    assert trigger.fires(World(1.0, 45.0, 0.6))


def test_a_walker_walks_its_distance_and_stands() -> None:
    script = Crossing(0.5 * math.pi, 1.5, 3.0, Arrival(50.0, 2.5), delay_s=0.1)
    me = Agent(1, ActorKind.WALKER, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5)
    assert script.act(World(0.0, 0.0, 8.0), me) == Walk(0.5 * math.pi, 0.0)
    assert script.act(World(1.0, 30.0, 8.0), me).speed_mps == 0.0
    assert script.act(World(1.2, 31.0, 8.0), me).speed_mps == 1.5
    there = Agent(1, ActorKind.WALKER, 0.0, 3.1, 0.0, 0.0, 0.5, 0.5)
    assert script.act(World(3.2, 40.0, 8.0), there).speed_mps == 0.0


def test_a_scripted_vehicle_steers_back_to_its_path() -> None:
    path = np.stack([np.arange(60.0), np.zeros(60)], axis=1)
    script = Follow(path, lambda *_: 8.0)
    left = script.act(World(0.0, 0.0, 8.0), Agent(1, ActorKind.VEHICLE, 5.0, 1.0, 0.0, 8.0, 4.7, 1.9))
    slow = script.act(World(0.0, 0.0, 8.0), Agent(1, ActorKind.VEHICLE, 5.0, 0.0, 0.0, 4.0, 4.7, 1.9))
    fast = script.act(World(0.0, 0.0, 8.0), Agent(1, ActorKind.VEHICLE, 5.0, 0.0, 0.0, 12.0, 4.7, 1.9))
    assert left.control.steer < -0.01
    assert slow.control.throttle > 0.5
    assert slow.control.steer == pytest.approx(0.0, abs=1e-6)
    assert fast.control.brake > 0.5


def test_a_lane_goes_straight_on_over_a_junction_and_knows_its_room() -> None:
    lanes = LaneLines(town("TownCross"))
    path = lanes.from_pose(1.75, -60.0, 0.5 * math.pi, 130.0)  # north, towards the junction
    assert np.abs(path[:, 0] - 1.75).max() < 0.3
    assert path[-1, 1] > 60.0
    assert lanes.room(1.75, -60.0, 0.5 * math.pi) == pytest.approx((5.25, 1.75), abs=0.05)
    assert lanes.room(1.75, -60.0, -0.5 * math.pi) == pytest.approx((1.75, 5.25), abs=0.05)
