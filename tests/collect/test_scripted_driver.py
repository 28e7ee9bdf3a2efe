"""The scripted driver on the embedded server, beside policies that fail in known ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from takeover.collect.arbiter import Decision
from takeover.collect.driver import Driver, DriverAction
from takeover.collect.planners import AlwaysBrake, ExpertPlanner, NeverBrake, Planner
from takeover.collect.scripted_driver import HOLD_S, STABLE_S, STYLES, ScriptedDriver
from takeover.collect.session import run_episode
from takeover.sim_bridge.bridge import Bridge
from takeover.sim_bridge.drive import Drive
from takeover.sim_bridge.expert import Expert
from takeover.sim_bridge.moment import Moment
from takeover.sim_bridge.server import EmbeddedServer
from takeover.vocabulary import Authority, CameraSpec, Case, Control, EgoState, Outcome, Plan


@pytest.fixture(scope="module")
def drive(server: EmbeddedServer) -> Iterator[Drive]:
    with Bridge(server.host, server.port) as bridge:
        drive = Drive(bridge, (CameraSpec(),))
        yield drive
        drive.close()


class Log:
    """A subscriber that keeps everything."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.authority: list[Authority] = []
        self.events: list[tuple[str, int, dict[str, object]]] = []

    def on_moment(
        self,
        moment: Moment,
        decision: Decision,
        policy: Control | None,
        driver: Control | None,
        plan: Plan | None,
    ) -> None:
        self.moments.append(moment)
        self.authority.append(decision.authority)

    def on_plan(self, plan: Plan, pose: EgoState) -> None: ...

    def on_event(self, kind: str, tick: int, data: dict[str, object]) -> None:
        self.events.append((kind, tick, data))

    def first(self, kind: str) -> tuple[int, dict[str, object]] | None:
        return next(((tick, data) for name, tick, data in self.events if name == kind), None)


def ride(drive: Drive, case: Case, planner: Planner, driver: Driver) -> tuple[Outcome, Log]:
    log = Log()
    return run_episode(drive, case, planner, driver=driver, subscribers=[log]), log


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("scenario", ["DynamicObjectCrossing", "ParkedObstacle", "MergerIntoSlowTraffic"])
def test_saves_a_policy_that_never_brakes(drive: Drive, scenario: str, style: str) -> None:
    outcome, log = ride(drive, Case(scenario, 6), NeverBrake(drive), ScriptedDriver(style, 6, drive))
    assert outcome.success, outcome
    assert outcome.takeovers >= 1
    taken = log.first("takeover")
    assert taken is not None
    assert taken[1]["reason"] == "collision_risk"


@pytest.mark.parametrize("style", STYLES)
def test_leaves_a_good_policy_alone(drive: Drive, style: str) -> None:
    for scenario in ("HardBreakRoute", "ParkedObstacleTwoWays", "LaneFollowing"):
        planner = ExpertPlanner(drive, Expert())
        outcome, _ = ride(drive, Case(scenario, 7), planner, ScriptedDriver(style, 7, drive))
        assert outcome.success
        assert outcome.takeovers == 0


@pytest.mark.parametrize("scenario", ["DynamicObjectCrossing", "StaticCutIn", "ParkedObstacle"])
def test_is_not_alarmed_by_a_decoy(drive: Drive, scenario: str) -> None:
    driver = ScriptedDriver("brake_first", 8, drive)
    outcome, _ = ride(drive, Case(scenario, 8, decoy=True), NeverBrake(drive), driver)
    assert outcome.success
    assert outcome.takeovers == 0


def test_takes_a_stuck_car_and_gives_it_back_four_seconds_after_all_is_calm(drive: Drive) -> None:
    _, log = ride(drive, Case("LaneFollowing", 9), AlwaysBrake(), ScriptedDriver("steer_first", 9, drive))
    taken, given = log.first("takeover"), log.first("handback")
    assert taken is not None
    assert taken[1]["reason"] == "too_slow"
    assert given is not None
    calm = [
        m.ttc_s > 3.0 and abs(m.lateral_error_m) < 0.5 and abs(m.ego.accel_mps2) < 2.5
        for m in log.moments
        if given[0] - (HOLD_S + STABLE_S) / 0.05 < m.tick <= given[0]
    ]
    assert len(calm) == pytest.approx((HOLD_S + STABLE_S) / 0.05, abs=1)
    assert all(calm)


class Blindfold:
    """Takes all actors out of the camera's picture before the driver looks."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def observe(self, moment: Moment, plan: Plan | None, authority: Authority) -> DriverAction:
        if moment.frame is not None:
            moment = replace(moment, frame=replace(moment.frame, visible_px={}))
        return self._driver.observe(moment, plan, authority)


def test_never_reacts_to_what_it_cannot_see(drive: Drive) -> None:
    case = Case("DynamicObjectCrossing", 6)
    blind, log = ride(drive, case, NeverBrake(drive), Blindfold(ScriptedDriver("brake_first", 6, drive)))
    assert blind.end == "collision"
    assert log.first("takeover") is None


def test_reaction_times_stay_in_their_range_and_repeat_with_the_seed(drive: Drive) -> None:
    ticks = []
    for seed in (1, 1, 2, 3):
        case = Case("ParkedObstacle", 10)
        driver = ScriptedDriver("steer_first", seed, drive)
        _, log = ride(drive, case, NeverBrake(drive), driver)
        taken = log.first("takeover")
        assert taken is not None
        ticks.append(taken[0])
    assert ticks[0] == ticks[1]
    assert len(set(ticks)) > 1
    assert np.ptp(ticks) * 0.05 <= 0.8 + 1e-9


def test_an_unknown_style_is_refused(drive: Drive) -> None:
    with pytest.raises(ValueError, match="unknown style"):
        ScriptedDriver("reckless", 0, drive)
