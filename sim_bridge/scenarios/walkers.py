"""Walkers in the ego's way."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...vocabulary import Case, Command
from .base import RUN_UP_S
from .cast import CAR_LENGTH_M, Draw
from .nominal import PARKED_M
from .scripted import Ground, Part, Recipe, ScriptedScenario
from .scripts import Arrival, Crossing, Script, Stroll
from .towns import (
    ARMS,
    CROSS_MPS,
    CROSSWALK_FROM_MOUTH_M,
    CROSSWALKS,
    NARROW,
    WIDE_OUTER,
)


def dynamic_object_crossing(case: Case) -> ScriptedScenario:
    """A walker steps off the pavement and crosses. Decoy: the walker stands there, or walks along."""
    recipe = Recipe(case)
    draw = recipe.draw
    stretch = draw.pick((*WIDE_OUTER, *NARROW))
    before_m = draw.uniform("before_m", 32.0, 42.0)
    from_left = stretch in NARROW and draw.flag("from_left", 0.35)
    place_m = stretch.run_up_m + before_m
    trigger = _meeting(draw, place_m, 2.5, 3.0)
    speed_mps = draw.uniform("speed_mps", 1.25, 1.6) + (0.9 if from_left else 0.0)
    side_m = speed_mps * (trigger.within_s + draw.uniform("offset_s", 0.05, 0.35))
    bystander = draw.flag("bystander", 0.4)
    bystander_at = draw.uniform("bystander_m", 8.0, 26.0)
    along = draw.flag("decoy_strolls", 0.5)

    def parts(ground: Ground) -> Iterable[Part]:
        d_m = side_m if from_left else -side_m
        pose = ground.pose(place_m, d_m, -math.copysign(0.5 * math.pi, d_m))
        script: Script = Crossing(pose[2], speed_mps, side_m + 7.0, None if case.decoy else trigger)
        if case.decoy and along:
            pose = ground.pose(place_m, d_m, 0.0)
            script = Stroll(pose[2], 1.0)
        yield Part("crossing_walker", draw.walker(), pose, script, critical=True)
        if bystander:
            other = ground.pose(place_m + bystander_at, -5.2, 0.0)
            yield Part("bystander", draw.walker(), other, Stroll(other[2], 0.0))

    return recipe.build(stretch.route(draw.share(), before_m + 25.0), stretch.speed_mps, place_m, parts)


def pedestrian_crossing(case: Case) -> ScriptedScenario:
    """Two or three walkers cross at a crosswalk, one after the other. Decoy: they wait at the kerb."""
    recipe = Recipe(case)
    draw = recipe.draw
    stretch, crosswalk_m = draw.pick(CROSSWALKS)
    before_m = draw.uniform("before_m", 32.0, 42.0)
    place_m = stretch.run_up_m + before_m
    count = 2 + draw.flag("three", 0.5)
    trigger = _meeting(draw, place_m, 2.5, 3.0)
    speed_mps = draw.uniform("speed_mps", 1.3, 1.6)
    side_m = speed_mps * (trigger.within_s + draw.uniform("offset_s", 0.0, 0.3))

    def parts(ground: Ground) -> Iterable[Part]:
        for number in range(count):
            d_m = -side_m - 0.9 * number
            pose = ground.pose(place_m - 0.6 + 1.1 * number, d_m, 0.5 * math.pi)
            go = None if case.decoy else trigger
            script = Crossing(pose[2], speed_mps * (1.0 - 0.06 * number), side_m + 8.5, go, 0.15 * number)
            yield Part(f"crossing_walker{number}", draw.walker(), pose, script, critical=number == 0)

    return recipe.build(stretch.route_to(crosswalk_m, before_m, 20.0), stretch.speed_mps, place_m, parts)


def vehicle_turning_route_pedestrian(case: Case) -> ScriptedScenario:
    """The ego turns at the junction and a walker crosses the road that it turns into. Decoy: the walker waits."""
    recipe = Recipe(case)
    draw = recipe.draw
    turn = draw.pick((Command.TURN_LEFT, Command.TURN_RIGHT))
    draw.params["turn"] = turn.value
    # The walker comes from the outer side of the turn: the camera does not see the inner one until it is too late.
    from_left = turn is Command.TURN_RIGHT
    wide = (3, 6)  # these arms are narrow and lead into a road with two lanes a side
    arm = draw.pick(tuple(a for a in ARMS if turn in a.turns and not (from_left and a.road_id in wide)))
    before_m = draw.uniform("before_m", 10.0, 16.0)
    place_m = CROSS_MPS * RUN_UP_S + before_m + arm.turns[turn] + CROSSWALK_FROM_MOUTH_M
    kerb_m = 1.75 + 1.0  # a shoulder beside the lane
    if from_left or arm.road_id in wide:
        kerb_m += 3.5
    side_m = kerb_m + draw.uniform("pavement_m", 0.5, 1.3)
    within_s = draw.uniform("within_s", 2.6, 3.1)
    speed_mps = side_m / (within_s + draw.uniform("offset_s", 0.1, 0.4))

    def parts(ground: Ground) -> Iterable[Part]:
        d_m = side_m if from_left else -side_m
        pose = ground.pose(place_m, d_m, -math.copysign(0.5 * math.pi, d_m))
        go = None if case.decoy else Arrival(place_m, within_s)
        script = Crossing(pose[2], speed_mps, side_m + 5.0, go)
        yield Part("crossing_walker", draw.walker(), pose, script, critical=True)

    route = arm.route(turn, before_m, CROSSWALK_FROM_MOUTH_M + 16.0)
    return recipe.build(route, CROSS_MPS, place_m, parts, lights="green")


def parking_crossing_pedestrian(case: Case) -> ScriptedScenario:
    """Unseen type: a walker comes out between cars parked on the shoulder. Decoy: stands between them."""
    recipe = Recipe(case)
    draw = recipe.draw
    stretch = draw.pick((*WIDE_OUTER, *NARROW))
    before_m = draw.uniform("before_m", 32.0, 42.0)
    place_m = stretch.run_up_m + before_m
    trigger = _meeting(draw, place_m, 2.9, 3.3)
    speed_mps = draw.uniform("speed_mps", 1.0, 1.2)
    side_m = speed_mps * (trigger.within_s + draw.uniform("offset_s", 0.05, 0.35))
    gap_m = draw.uniform("gap_m", 4.0, 5.0)

    def parts(ground: Ground) -> Iterable[Part]:
        for offset_m in (-1.5, -0.5, 0.5, 1.5):
            s_m = (
                place_m
                + offset_m * (CAR_LENGTH_M + 1.2)
                + math.copysign(0.5 * gap_m, offset_m)
                - offset_m * 0.6
            )
            yield Part("parked", draw.car(), ground.pose(s_m, PARKED_M))
        pose = ground.pose(place_m, -side_m, 0.5 * math.pi)
        script = Crossing(pose[2], speed_mps, side_m + 7.0, None if case.decoy else trigger)
        yield Part("crossing_walker", draw.walker(), pose, script, critical=True)

    return recipe.build(stretch.route(draw.share(), before_m + 25.0), stretch.speed_mps, place_m, parts)


def _meeting(draw: Draw, place_m: float, low_s: float, high_s: float) -> Arrival:
    return Arrival(place_m, draw.uniform("within_s", low_s, high_s))
