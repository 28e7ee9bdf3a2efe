"""Moving vehicles in the ego's way."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ...vocabulary import Case, Command
from ..expert_route import smooth
from ..routes import CHANGE_M
from .base import RUN_UP_S, RouteSpec
from .cast import CAR_LENGTH_M, CARS
from .scripted import Ground, Part, Recipe, ScriptedScenario
from .scripts import EGO_FRONT_M, Arrival, Follow, World
from .towns import ARMS, CROSS_MPS, MERGE, NARROW, WIDE_INNER, WIDE_OUTER

LANE_M = 3.5


def hard_break_route(case: Case) -> ScriptedScenario:
    """The lead brakes hard to a standstill, waits, drives on. Decoy: the car that does so is in the next lane."""
    recipe = Recipe(case)
    draw = recipe.draw
    stretch = draw.pick(WIDE_OUTER if case.decoy else (*WIDE_OUTER, *WIDE_INNER, *NARROW))
    gap_m = draw.uniform("gap_m", 15.0, 21.0)
    after_s = draw.uniform("brake_after_s", 1.2, 2.6)
    hold_s = draw.uniform("hold_s", 1.2, 1.8)
    decel = draw.uniform("decel_mps2", 5.0, 6.5)
    speed = stretch.speed_mps
    stop_s = speed / decel
    conflict_m = stretch.run_up_m + speed * after_s + gap_m + 0.5 * speed * stop_s

    def law(world: World, s_m: float, v_mps: float) -> float:
        since_s = world.time_s - after_s
        if since_s < 0.0:
            return speed
        return 0.0 if since_s < stop_s + hold_s else speed

    def parts(ground: Ground) -> Iterable[Part]:
        d_m = LANE_M if case.decoy else 0.0
        pose = ground.pose(gap_m + 4.9, d_m)
        script = Follow(ground.lane_from(pose), law, brake_mps2=decel)
        yield Part("lead", draw.car(), pose, script, critical=True, start_mps=speed)

    return recipe.build(
        stretch.route(draw.share(), conflict_m - stretch.run_up_m + 22.0), speed, conflict_m, parts
    )


def static_cut_in(case: Case) -> ScriptedScenario:
    """A car pulls out of a standing queue in the next lane. Decoy: the queue stands."""
    recipe = Recipe(case)
    draw = recipe.draw
    stretch = draw.pick(WIDE_INNER)
    before_m = draw.uniform("before_m", 30.0, 38.0)
    place_m = stretch.run_up_m + before_m  # rear of the car that pulls out
    within_s = draw.uniform("within_s", 2.8, 3.3)
    slow_mps = draw.uniform("slow_mps", 3.2, 4.2)
    ramp_m = draw.uniform("ramp_m", 8.5, 10.5)
    ahead = 1 + draw.flag("long_queue", 0.5)
    behind = draw.flag("one_behind", 0.4)
    trigger = Arrival(place_m, within_s)
    started: list[float] = []

    def law(world: World, s_m: float, v_mps: float) -> float:
        if case.decoy or not (started or trigger.fires(world)):
            return 0.0
        if not started:
            started.append(world.time_s)
        return slow_mps if world.time_s - started[0] < 4.0 else stretch.speed_mps

    def parts(ground: Ground) -> Iterable[Part]:
        centre_m = place_m + 0.5 * CAR_LENGTH_M
        s_m = np.linspace(centre_m, centre_m + 90.0, 91)
        d_m = -LANE_M * (1.0 - smooth((s_m - centre_m) / ramp_m))
        path = ground.frame.to_world(s_m, d_m)
        yield Part("cut_in", draw.car(), ground.pose(centre_m, -LANE_M), Follow(path, law), critical=True)
        for number in range(1, ahead + 1):
            yield Part("queue", draw.car(), ground.pose(centre_m + number * (CAR_LENGTH_M + 7.0), -LANE_M))
        if behind:
            yield Part("queue", draw.car(), ground.pose(centre_m - CAR_LENGTH_M - 3.0, -LANE_M))

    return recipe.build(stretch.route(draw.share(), before_m + 36.0), stretch.speed_mps, place_m, parts)


def opposite_vehicle_running_red_light(case: Case) -> ScriptedScenario:
    """A car comes across the junction although the ego has green. Decoy: it stops at its light."""
    recipe = Recipe(case)
    draw = recipe.draw
    arm = draw.pick(tuple(a for a in ARMS if Command.GO_STRAIGHT in a.turns))
    before_m = draw.uniform("before_m", 22.0, 29.0)
    inside_m = arm.turns[Command.GO_STRAIGHT]
    mouth_m = CROSS_MPS * RUN_UP_S + before_m
    narrow = abs(arm.road_id) in (3, 6)
    from_right = draw.flag("from_right", 0.5)
    run_mps = draw.uniform("run_mps", 4.8, 5.6)
    lane_m = 1.75 + (LANE_M if narrow and draw.flag("outer", 0.5) else 0.0)
    # the crossing road's middle is in the middle of the junction; right-hand traffic from the right is left of it
    centre_m = mouth_m + 0.5 * inside_m
    conflict_m = centre_m + (lane_m if from_right else -lane_m)
    own_d_m = {1: 1.75, 2: 5.25}[abs(arm.lane_id)]  # the ego's lane from the middle of its road
    offset_s = draw.uniform("offset_s", -0.2, 0.2)
    stop_line_m = (15.5 if narrow else 19.0) + 8.0  # of the crossing car, from the junction's centre

    ego_s = (conflict_m - EGO_FRONT_M) / CROSS_MPS + offset_s  # after the route's start, at its speed
    far_m = run_mps * ego_s

    def law(world: World, s_m: float, v_mps: float) -> float:
        """Keeps the appointment with the ego until it is near the junction; the decoy brakes for its light."""
        own_left_m = far_m - s_m
        if case.decoy:
            line_m = own_left_m - (stop_line_m - own_d_m if from_right else stop_line_m + own_d_m) - 2.5
            return min(run_mps, math.sqrt(2.0 * 2.0 * max(line_m, 0.0)))
        ego_left_s = (conflict_m - world.ego_s_m - EGO_FRONT_M) / max(world.ego_mps, 3.0) + offset_s
        if ego_left_s < 4.6 or own_left_m < 20.0:
            return max(v_mps, run_mps - 0.5)
        return min(max(own_left_m / ego_left_s, run_mps - 0.5), run_mps + 0.5)

    def parts(ground: Ground) -> Iterable[Part]:
        side = -1.0 if from_right else 1.0
        pose = ground.pose(conflict_m, side * far_m, 0.5 * math.pi * -side)
        path = ground.frame.to_world(conflict_m, side * np.arange(far_m, -55.0, -1.0))
        yield Part("runner", draw.car(CARS), pose, Follow(path, law), critical=True, start_mps=run_mps)

    route = arm.route(Command.GO_STRAIGHT, before_m, 10.0)
    return recipe.build(route, CROSS_MPS, conflict_m, parts, lights="green")


def merger_into_slow_traffic(case: Case) -> ScriptedScenario:
    """The ego's lane ends; the next one is full of slow traffic. Decoy: the slow traffic is one lane further."""
    recipe = Recipe(case)
    draw = recipe.draw
    slow_mps = draw.uniform("slow_mps", 6.0, 7.0)
    change_at_m = draw.uniform("change_at_m", 32.0, 40.0)
    space_m = draw.uniform("space_m", 8.0, 13.0)
    early_m = draw.uniform("early_m", -2.0, 2.0)
    count = 2 + draw.flag("three", 0.5)
    speed = MERGE.speed_mps
    begin_m = MERGE.run_up_m + change_at_m
    conflict_m = begin_m + 0.5 * CHANGE_M
    start = 0.5 + 8.0 * draw.share()
    route = RouteSpec(
        MERGE.map_name,
        MERGE.road_id,
        MERGE.lane_id,
        start,
        begin_m + CHANGE_M + 15.0,
        (),
        ((begin_m, Command.CHANGE_LEFT),),
    )
    meet_s = conflict_m / speed  # after the route's start, at full speed

    def parts(ground: Ground) -> Iterable[Part]:
        lanes = 2 if case.decoy else 1
        for number in range(count):
            s_m = conflict_m - slow_mps * meet_s + early_m + number * (CAR_LENGTH_M + space_m)
            pose = ground.pose(s_m, LANE_M * lanes)
            path = ground.lane_from(pose)
            yield Part(
                f"slow{number}", draw.car(), pose, Follow(path, lambda *_: slow_mps), number == 0, slow_mps
            )

    return recipe.build(route, speed, conflict_m, parts)
