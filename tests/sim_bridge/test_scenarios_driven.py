"""Closed loop on the embedded server: the expert passes, standing still and never braking do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from takeover.collect.planners import AlwaysBrake, ExpertPlanner, NeverBrake
from takeover.collect.session import run_episode
from takeover.sim_bridge.bridge import Bridge
from takeover.sim_bridge.drive import Drive
from takeover.sim_bridge.expert import Expert
from takeover.sim_bridge.scenarios.cases import ALL_TYPES, TRAINED_TYPES, UNSEEN_TYPES
from takeover.sim_bridge.server import EmbeddedServer
from takeover.vocabulary import CameraSpec, Case

LONG_TAIL = TRAINED_TYPES + UNSEEN_TYPES


@pytest.fixture(scope="module")
def drive(server: EmbeddedServer) -> Iterator[Drive]:
    with Bridge(server.host, server.port) as bridge:
        drive = Drive(bridge, (CameraSpec(),))
        yield drive
        drive.close()


@pytest.mark.parametrize("scenario", ALL_TYPES)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_expert_passes(drive: Drive, scenario: str, seed: int) -> None:
    outcome = run_episode(drive, Case(scenario, seed), ExpertPlanner(drive, Expert()))
    assert outcome.success, outcome
    assert outcome.duration_s < 14.0


@pytest.mark.parametrize("scenario", LONG_TAIL)
def test_the_expert_is_not_misled_by_a_decoy(drive: Drive, scenario: str) -> None:
    outcome = run_episode(drive, Case(scenario, 3, decoy=True), ExpertPlanner(drive, Expert()))
    assert outcome.success, outcome
    assert outcome.standstill_s == 0.0


@pytest.mark.parametrize("scenario", LONG_TAIL)
def test_never_braking_loses_and_its_decoy_does_not_stop_it(drive: Drive, scenario: str) -> None:
    lost = run_episode(drive, Case(scenario, 1), NeverBrake(drive))
    assert not lost.success
    assert lost.end == "collision"
    assert run_episode(drive, Case(scenario, 1, decoy=True), NeverBrake(drive)).success


@pytest.mark.parametrize("scenario", ["MergerIntoSlowTraffic", "ParkedObstacle", "DynamicObjectCrossing"])
@pytest.mark.parametrize("decoy", [False, True])
def test_standing_still_loses_everything(drive: Drive, scenario: str, decoy: bool) -> None:
    outcome = run_episode(drive, Case(scenario, 1, decoy), AlwaysBrake())
    assert not outcome.success
    assert outcome.end in ("timeout", "blocked")


def test_a_case_drives_the_same_twice(drive: Drive) -> None:
    runs = []
    for _ in range(2):
        outcome = run_episode(drive, Case("StaticCutIn", 4), ExpertPlanner(drive, Expert()))
        runs.append((outcome.duration_s, outcome.driven_m))
    assert runs[0] == runs[1]
