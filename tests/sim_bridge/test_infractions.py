from __future__ import annotations

from dataclasses import dataclass

import pytest

from takeover.scoring.driving_score import PENALTIES
from takeover.sim_bridge.infractions import COLLISION_KINDS, Judge, Observation
from takeover.sim_bridge.lights import RouteLight
from takeover.vocabulary import TICK_S, ActorKind, EgoState, Outcome


def observe(
    tick: int,
    progress_m: float,
    *,
    speed_mps: float = 8.0,
    lateral_m: float = 0.0,
    off_road: bool = False,
    contacts: tuple[tuple[int, ActorKind, str], ...] = (),
    red: bool = False,
) -> Observation:
    return Observation(tick, EgoState(0, 0, 0, speed_mps), progress_m, lateral_m, off_road, contacts, red)


def run(judge: Judge, observations: list[Observation]) -> Outcome:
    for observation in observations:
        _, outcome = judge.watch(observation)
        if outcome is not None:
            return outcome
    raise AssertionError("no outcome")


def steady(speed_mps: float = 8.0, ticks: int = 400, start_m: float = 10.0) -> list[Observation]:
    return [observe(t, start_m + speed_mps * TICK_S * t, speed_mps=speed_mps) for t in range(ticks)]


@dataclass
class Lamp:
    id: int
    state: str


def test_a_clean_drive() -> None:
    outcome = run(Judge(10.0, 90.0, 14.0, ()), steady())
    assert (outcome.end, outcome.success, outcome.rc, outcome.ds) == ("route_complete", True, 100.0, 100.0)
    assert outcome.driven_m == pytest.approx(79.2, abs=0.5)
    assert outcome.standstill_s == 0.0


@pytest.mark.parametrize("kind", list(ActorKind))
def test_a_collision_ends_it_with_its_penalty(kind: ActorKind) -> None:
    ticks = steady()[:101]
    ticks[100] = observe(100, 50.0, contacts=((7, kind, "other"),))
    outcome = run(Judge(10.0, 91.0, 14.0, ()), ticks)
    name = COLLISION_KINDS[kind]
    assert (outcome.end, outcome.success) == ("collision", False)
    assert [(i.kind, i.tick, i.actor_id) for i in outcome.infractions] == [(name, 100, 7)]
    assert outcome.rc == pytest.approx(50.0)
    assert outcome.ds == pytest.approx(50.0 * PENALTIES[name])


def test_timeout() -> None:
    outcome = run(Judge(10.0, 90.0, 5.0, ()), steady(speed_mps=2.0))
    assert (outcome.end, outcome.duration_s) == ("timeout", 5.0)
    assert outcome.rc == pytest.approx(100.0 * 10.0 / 79.0)
    assert outcome.ds == pytest.approx(outcome.rc * PENALTIES["scenario_timeout"])


def test_blocked_but_not_by_a_red_light() -> None:
    still = [observe(t, 20.0, speed_mps=0.0) for t in range(300)]
    outcome = run(Judge(10.0, 90.0, 14.0, ()), still)
    assert (outcome.end, outcome.infractions[0].kind) == ("blocked", "blocked")
    assert outcome.standstill_s == pytest.approx(10.0)
    waiting = [observe(t, 20.0, speed_mps=0.0, red=True) for t in range(300)]
    assert run(Judge(10.0, 90.0, 14.0, ()), waiting).end == "timeout"


def test_off_road_is_one_infraction_and_ends_after_a_second() -> None:
    ticks = steady()
    for t in range(100, 400):
        ticks[t] = observe(t, 10.0 + 0.4 * t, off_road=True)
    outcome = run(Judge(10.0, 190.0, 14.0, ()), ticks)
    assert (outcome.end, [i.kind for i in outcome.infractions]) == ("off_road", ["outside_lane"])
    assert outcome.infractions[0].tick == 100
    assert outcome.ds < outcome.rc  # the share driven outside counts


def test_route_deviation() -> None:
    outcome = run(Judge(10.0, 90.0, 14.0, ()), [observe(0, 10.0), observe(1, 10.4, lateral_m=10.5)])
    assert (outcome.end, outcome.infractions[0].kind) == ("route_deviation", "route_deviation")


@pytest.mark.parametrize(("state", "infractions"), [("Red", ["red_light"]), ("Yellow", []), ("Green", [])])
def test_red_light(state: str, infractions: list[str]) -> None:
    judge = Judge(10.0, 90.0, 14.0, (RouteLight(Lamp(5, state), 50.0),))
    outcome = run(judge, steady())
    assert [i.kind for i in outcome.infractions] == infractions
    assert outcome.end == "route_complete"
    assert outcome.success is (not infractions)
    if infractions:
        assert outcome.infractions[0].actor_id == 5
        assert outcome.infractions[0].tick == pytest.approx((50.0 - 2.45 - 10.0) / 0.4, abs=1)


def test_all_kinds_have_a_penalty() -> None:
    assert set(COLLISION_KINDS.values()) <= set(PENALTIES)
