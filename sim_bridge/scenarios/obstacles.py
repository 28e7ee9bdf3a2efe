"""Standing things in the lane: stopping before them loses the episode."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...vocabulary import Case
from .cast import BIG_CARS, CARS, Draw
from .nominal import PARKED_M
from .scripted import Ground, Part, Recipe, ScriptedScenario
from .scripts import EGO_FRONT_M, Follow, Stroll, World
from .towns import NARROW, NARROW_MPS, WIDE_OUTER

BEHIND_M = 27.0


def parked_obstacle(case: Case) -> ScriptedScenario:
    """A car stands in the outer of two lanes. Decoy: it stands on the shoulder."""
    recipe = Recipe(case)
    draw = recipe.draw
    stretch = draw.pick(WIDE_OUTER)
    before_m = draw.uniform("before_m", 38.0, 48.0)
    place_m = stretch.run_up_m + before_m
    offset_m = draw.uniform("offset_m", -0.5, 0.3)
    d_m = PARKED_M if case.decoy else offset_m
    traffic = draw.flag("traffic", 0.3)

    def parts(ground: Ground) -> Iterable[Part]:
        yield Part("parked", draw.car((*CARS, *BIG_CARS)), ground.pose(place_m, d_m), critical=True)
        if traffic:  # drives on well ahead in the lane that the ego needs
            pose = ground.pose(stretch.run_up_m + 24.0, 3.5)
            law = Follow(ground.lane_from(pose), lambda *_: stretch.speed_mps)
            yield Part("traffic", draw.car(), pose, law, start_mps=stretch.speed_mps)

    return recipe.build(stretch.route(draw.share(), before_m + BEHIND_M), stretch.speed_mps, place_m, parts)


def parked_obstacle_two_ways(case: Case) -> ScriptedScenario:
    """A car stands in the only lane; the way round leads through the oncoming one, at times not free.

    Decoy: it stands on the shoulder.
    """
    return _two_ways(case, accident=False)


def accident_two_ways(case: Case) -> ScriptedScenario:
    """Unseen type: two crashed cars stand askew in the only lane, people beside them. Decoy: on the shoulder."""
    return _two_ways(case, accident=True)


def construction_obstacle(case: Case) -> ScriptedScenario:
    """Cones and a barrier close the outer of two lanes. Decoy: they stand on the shoulder."""
    recipe = Recipe(case)
    draw = recipe.draw
    stretch = draw.pick(WIDE_OUTER)
    before_m = draw.uniform("before_m", 38.0, 48.0)
    place_m = stretch.run_up_m + before_m
    shift_m = PARKED_M if case.decoy else 0.0
    cones = 2 + draw.flag("long", 0.5)
    cone = draw.pick(("static.prop.constructioncone", "static.prop.trafficcone01"))
    width_m = 0.9 if case.decoy else 1.4

    def parts(ground: Ground) -> Iterable[Part]:
        yield Part(
            "warning", ("static.prop.trafficwarning", {}), ground.pose(place_m, shift_m), critical=True
        )
        for d_m in (-0.75, 0.75):
            yield Part(
                "barrier", ("static.prop.streetbarrier", {}), ground.pose(place_m + 2.0, shift_m + d_m)
            )
        for number in range(cones):
            behind = ground.pose(place_m + 2.5 + 2.5 * number, shift_m + width_m)
            yield Part("cone", (cone, {}), behind)
        for number in (1, 2):  # they lead out of the lane
            ahead = ground.pose(place_m - 1.5 - 2.5 * number, shift_m + width_m - 0.9 * number)
            yield Part("cone", (cone, {}), ahead)

    return recipe.build(stretch.route(draw.share(), before_m + BEHIND_M), stretch.speed_mps, place_m, parts)


def _two_ways(case: Case, *, accident: bool) -> ScriptedScenario:
    recipe = Recipe(case)
    draw = recipe.draw
    stretch = draw.pick(NARROW)
    before_m = draw.uniform("before_m", 38.0, 46.0)
    place_m = stretch.run_up_m + before_m
    offset_m = draw.uniform("offset_m", -0.6, 0.0)
    d_m = PARKED_M if case.decoy else offset_m
    oncoming = draw.flag("oncoming", 0.5)
    gone_m = draw.uniform("gone_m", 19.0, 25.0)
    skew = draw.uniform("skew_rad", 0.1, 0.25)

    def parts(ground: Ground) -> Iterable[Part]:
        yield Part(
            "parked", draw.car(CARS), ground.pose(place_m, d_m, skew if accident else 0.0), critical=True
        )
        if accident:
            yield Part("parked", draw.car(CARS), ground.pose(place_m + 6.2, d_m - 0.1, -skew))
            person = ground.pose(place_m + 3.0, -4.6, 1.0)
            yield Part("bystander", draw.walker(), person, Stroll(person[2], 0.0))
        if oncoming:
            yield _comes_towards(ground, draw, place_m, gone_m)

    return recipe.build(stretch.route(draw.share(), before_m + BEHIND_M), stretch.speed_mps, place_m, parts)


def _comes_towards(ground: Ground, draw: Draw, place_m: float, gone_m: float) -> Part:
    """An oncoming car that is level with the obstacle when the ego, at its speed, is `gone_m` before it."""
    speed_mps = 7.5
    ego_s = (place_m - gone_m) / NARROW_MPS  # from the route's start, the run-up included
    pose = ground.pose(place_m + speed_mps * ego_s, 3.5, math.pi)
    path = ground.lane_from(pose)
    level_m = speed_mps * ego_s

    def law(world: World, s_m: float, v_mps: float) -> float:
        """Keeps the appointment while the ego is far; drives on once it is near."""
        ego_left_m = place_m - gone_m - world.ego_s_m
        own_left_m = level_m - s_m
        if ego_left_m < EGO_FRONT_M or own_left_m < 5.0:
            return speed_mps
        return min(max(own_left_m * max(world.ego_mps, 2.0) / ego_left_m, 5.5), 9.5)

    return Part("oncoming", draw.car(), pose, Follow(path, law), start_mps=speed_mps)
