"""Drives on which nothing goes wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ...vocabulary import Case, Command
from .cast import Draw
from .scripted import Ground, Part, Recipe, ScriptedScenario
from .scripts import Follow, World
from .towns import ARMS, CROSS_MPS, CURVES, NARROW, NARROW_MPS, WIDE_INNER, WIDE_OUTER

PARKED_M = -3.0  # middle of a car on the shoulder, from the middle of the outermost lane


def lane_following(case: Case) -> ScriptedScenario:
    """Straights and curves; some with parked cars beside the road, some with oncoming traffic."""
    recipe = Recipe(case)
    draw = recipe.draw
    straight = draw.flag("straight", 0.35)
    stretch = draw.pick((*WIDE_INNER, *WIDE_OUTER, *NARROW) if straight else CURVES)
    length_m = draw.uniform("length_m", 75.0, 88.0) * (1.15 if stretch.speed_mps > 10.0 else 1.0)
    route = stretch.route(draw.share(), length_m)
    parked = draw.flag("parked", 0.4) and straight and stretch not in WIDE_INNER
    oncoming = draw.flag("oncoming", 0.5) and stretch in NARROW

    def parts(ground: Ground) -> Iterable[Part]:
        if parked:
            for s_m in stretch.run_up_m + np.arange(20.0, 20.0 + draw.uniform("row_m", 5.0, 30.0), 8.0):
                yield Part("parked", draw.car(), ground.pose(float(s_m), PARKED_M))
        if oncoming:
            yield oncoming_car(ground, draw, stretch.run_up_m + draw.uniform("oncoming_at_m", 40.0, 110.0))

    return recipe.build(route, stretch.speed_mps, stretch.run_up_m + 0.5 * length_m, parts)


def car_following(case: Case) -> ScriptedScenario:
    """A lead whose speed goes gently up and down."""
    recipe = Recipe(case)
    draw = recipe.draw
    stretch = draw.pick((*WIDE_INNER, *WIDE_OUTER, *NARROW))
    length_m = draw.uniform("length_m", 66.0, 76.0)
    route = stretch.route(draw.share(), length_m)
    gap_m = draw.uniform("gap_m", 10.0, 22.0)
    mean = draw.uniform("mean_share", 0.75, 0.95) * stretch.speed_mps
    swing = draw.uniform("swing_mps", 0.3, 1.2)
    phase = draw.uniform("phase_rad", 0.0, math.tau)

    def law(world: World, s_m: float, v_mps: float) -> float:
        if world.time_s < 0.0:
            return stretch.speed_mps
        return mean + swing * math.sin(0.9 * world.time_s + phase)

    def parts(ground: Ground) -> Iterable[Part]:
        pose = ground.pose(gap_m + 4.9, 0.0)
        yield Part("lead", draw.car(), pose, Follow(ground.lane_from(pose), law), True, stretch.speed_mps)

    return recipe.build(route, stretch.speed_mps, stretch.run_up_m + 0.5 * length_m, parts)


def junction_turn(case: Case) -> ScriptedScenario:
    """Left, right or straight on at a green light, by the route's command; sometimes a car waits at the side."""
    recipe = Recipe(case)
    draw = recipe.draw
    turn = draw.pick((Command.TURN_LEFT, Command.TURN_RIGHT, Command.GO_STRAIGHT))
    draw.params["turn"] = turn.value
    arm = draw.pick(tuple(a for a in ARMS if turn in a.turns))
    before_m = draw.uniform("before_m", 22.0, 32.0)
    after_m = draw.uniform("after_m", 16.0, 24.0)
    route = arm.route(turn, before_m, after_m)
    conflict_m = before_m + CROSS_MPS * 1.5 + 0.5 * arm.turns[turn]
    return recipe.build(route, CROSS_MPS, conflict_m, lambda ground: (), lights="green")


def oncoming_car(ground: Ground, draw: Draw, s_m: float, speed_mps: float = NARROW_MPS) -> Part:
    """A car in the opposite lane of a narrow road, that keeps its lane and its speed."""
    pose = ground.pose(s_m, 3.5, math.pi)
    return Part(
        "oncoming",
        draw.car(),
        pose,
        Follow(ground.lane_from(pose), lambda *_: speed_mps),
        start_mps=speed_mps,
    )
