"""Confidence: plans that disagree, and the threshold that recorded drives give."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from takeover.collect.handover import REQUEST_S, HelpReason
from takeover.collect.help_requests import (
    OFF_HEADING_RAD,
    OFF_ROUTE_M,
    Calibration,
    ConfidenceTrace,
    Exposure,
    HelpMonitor,
    asked_in,
    calibrate,
    calibration_of,
    cross_checked,
    evaluate,
    out_of_domain,
    plan_disagreement_m,
    trace_of,
    traces_of,
)
from takeover.sim_bridge.moment import Moment
from takeover.store.episodes import EpisodeReader
from takeover.vocabulary import Command, EgoState, Plan

from .takeovers import ONSET, record

STEPS = np.arange(1, 9) * 0.5


def straight(tick: int, speed_mps: float = 10.0, left_m: float = 0.0) -> Plan:
    waypoints = np.column_stack((STEPS * speed_mps, np.full(8, left_m))).astype(np.float32)
    return Plan(waypoints, tick)


def pose(x_m: float = 0.0, y_m: float = 0.0, yaw_rad: float = 0.0) -> EgoState:
    return EgoState(x_m, y_m, yaw_rad, 10.0)


def moment(**given: float | bool) -> Moment:
    fields = {"off_road": False, "lateral_error_m": 0.0, "heading_error_rad": 0.0} | given
    return Moment(
        tick=0,
        time_s=0.0,
        ego=pose(),
        agents=(),
        frame=None,
        command=Command.FOLLOW_LANE,
        route_progress_m=0.0,
        route_length_m=100.0,
        ttc_s=math.inf,
        speed_limit_mps=10.0,
        red_light_ahead=False,
        infractions=(),
        done=False,
        outcome=None,
        **fields,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("ticks", [1, 7, 10, 30, 70])
def test_a_policy_that_keeps_its_plan_agrees_with_itself_in_any_frame(ticks: int) -> None:
    metres = ticks * 0.5
    assert plan_disagreement_m(straight(0), pose(), straight(ticks), pose(metres)) == pytest.approx(
        0.0, abs=1e-5
    )
    turned = pose(0.0, 0.0, math.pi / 2), pose(0.0, metres, math.pi / 2)
    found = plan_disagreement_m(straight(0), turned[0], straight(ticks), turned[1])
    assert found == pytest.approx(0.0, abs=1e-5)


def test_the_mean_distance_over_the_common_time() -> None:
    shifted = plan_disagreement_m(straight(0), pose(), straight(10, left_m=2.0), pose(5.0))
    assert shifted == pytest.approx(2.0)
    slower = plan_disagreement_m(straight(0), pose(), straight(10, speed_mps=8.0), pose(5.0))
    assert slower == pytest.approx(np.mean(np.arange(1, 8) * 0.5 * 2.0))


@pytest.mark.parametrize("tick", [0, -1, 80])
def test_plans_without_common_time_say_nothing(tick: int) -> None:
    assert plan_disagreement_m(straight(0), pose(), straight(tick), pose()) is None


@pytest.mark.parametrize(
    ("given", "out"),
    [
        ({}, False),
        ({"off_road": True}, True),
        ({"lateral_error_m": -OFF_ROUTE_M}, False),
        ({"lateral_error_m": -OFF_ROUTE_M - 0.1}, True),
        ({"heading_error_rad": OFF_HEADING_RAD + 0.1}, True),
    ],
)
def test_where_no_training_drive_was(given: dict[str, float | bool], out: bool) -> None:
    assert out_of_domain(moment(**given)) is out
    assert HelpMonitor().help(moment(**given)) is (HelpReason.OUT_OF_DOMAIN if out else None)


def test_the_monitor_has_hysteresis_and_forgets_when_the_car_changes_hands() -> None:
    monitor = HelpMonitor(1.0)
    said = []
    for i, left_m in enumerate((0.0, 0.9, -0.2, 0.6, 0.2)):
        monitor.on_plan(straight(10 * i, left_m=left_m), pose(5.0 * i))
        said.append(monitor.help(moment()))
    assert said == [None, None, HelpReason.LOW_CONFIDENCE, HelpReason.LOW_CONFIDENCE, None]
    monitor.on_plan(straight(50, left_m=3.0), pose(25.0))
    assert monitor.disagreement_m == pytest.approx(2.8)
    monitor.reset()
    monitor.on_plan(straight(60), pose(30.0))
    assert (monitor.help(moment()), monitor.disagreement_m) == (None, 0.0)
    monitor.on_plan(straight(60), pose(30.0))
    assert HelpMonitor().help(moment()) is None, "a policy that is not calibrated never asks for this"


def trace(
    values: dict[float, float], needed_s: tuple[float, ...] = (), driven_s: float = 1800.0
) -> ConfidenceTrace:
    return ConfidenceTrace(tuple(values), tuple(values.values()), needed_s, driven_s)


def test_false_requests_foreseen_needs_and_one_request_at_a_time() -> None:
    traces = [
        trace({10.0: 3.0, 11.0: 3.0, 30.0: 2.0}, needed_s=(10.0 + REQUEST_S,)),
        trace({5.0: 3.0}, needed_s=(4.0, 5.0 + REQUEST_S + 0.1)),
    ]
    found = evaluate(traces, 1.0)
    assert (found.false_per_hour, found.foreseen, found.needs, found.hours) == (2.0, 1, 3, 1.0)
    assert evaluate(traces, 3.0).false_per_hour == 0.0
    assert evaluate([], 1.0).false_per_hour == 0.0


def test_the_threshold_is_the_lowest_that_keeps_the_rate() -> None:
    traces = [trace({t * 20.0: value for t, value in enumerate((0.1, 0.5, 0.9, 1.3, 1.7))}, driven_s=3600.0)]
    assert calibrate(traces, 0.0).threshold_m == 1.7
    two = calibrate(traces, 2.0)
    assert (two.threshold_m, two.false_per_hour) == (0.9, 2.0)
    assert calibrate(traces, 99.0).threshold_m == 0.1
    assert calibrate([], 1.0).threshold_m == math.inf


def test_a_quantity_that_foresees_no_more_than_chance_is_not_informative() -> None:
    needed_s = tuple(10.0 * i + 1.0 for i in range(0, 40, 4))
    blind = [trace({10.0 * i: 1.0 + i % 2 for i in range(40)}, needed_s)]
    assert not evaluate(blind, 1.5).informative
    seer = [trace({10.0 * i: 1.0 + (i % 4 == 0) for i in range(40)}, needed_s)]
    found = evaluate(seer, 1.5)
    assert (found.requests, found.by_chance, found.informative) == (10, 0.25, True)
    assert not evaluate(seer, math.inf).informative


@pytest.mark.parametrize(
    ("hours", "needs", "why"),
    [
        (0.2, 50, "12 of 60 minutes of its driving are recorded"),
        (1.5, 19, "19 of 20 times when it needed help are recorded"),
        (1.5, 20, ""),
    ],
)
def test_too_little_evidence_keeps_the_policy_from_asking(hours: float, needs: int, why: str) -> None:
    found = Calibration(1.4, 4.0, 9, needs, hours, 10, 0.1)
    assert found.off_because(Exposure()) == why
    assert found.unsure_m(Exposure()) == (math.inf if why else 1.4)


def test_enough_evidence_that_tells_nothing_keeps_it_from_asking_too() -> None:
    found = Calibration(1.4, 12.0, 9, 40, 2.0, 26, 0.1)  # 24 of 26 requests were false
    assert "no more often than by chance" in found.off_because(Exposure())
    assert found.unsure_m(Exposure()) == math.inf


def test_the_figures_come_from_drives_that_did_not_choose_the_threshold() -> None:
    """Two drives of half an hour. Each one's threshold lets its own loudest false request through at 2 an hour."""
    first = trace({10.0: 0.5, 40.0: 2.0, 70.0: 1.0}, needed_s=(42.0,))
    second = trace({10.0: 0.8, 40.0: 3.0, 70.0: 1.5}, needed_s=(42.0,))
    assert calibrate([first], 2.0).threshold_m == 0.5
    assert calibrate([second], 2.0).threshold_m == 0.8
    found = cross_checked([first, second], 2.0)
    # The first with 0.8: at 40 s (foreseen) and 70 s (false). The second with 0.5: all three, two of them false.
    assert (found.requests, found.foreseen, found.needs, found.hours) == (5, 2, 2, 1.0)
    assert found.false_per_hour == 3.0
    assert found.by_chance == 2 / 6
    # All drives together, descending: 3.0 and 2.0 are right; 1.5 and 1.0 false (2 an hour); 0.8 would be a third.
    assert found.threshold_m == 0.8


def test_traces_come_from_sealed_drives(tmp_path: Path) -> None:
    path = record(tmp_path, events=[("infraction", 150, {"kind": "collision"})])
    found = trace_of(EpisodeReader(path))
    assert found.times_s == (0.5, 1.0, 1.5, 2.0, 2.5, 3.0), "shadow plans and the driver's ticks do not count"
    assert max(found.disagreement_m) < 1e-4
    assert found.needed_s == (ONSET * 0.05,), "an infraction while the driver drives is not the policy's need"
    assert found.driven_s == pytest.approx(ONSET * 0.05)
    wish = record(tmp_path, reason="wish", generation="3", events=[("infraction", 20, {"kind": "collision"})])
    assert trace_of(EpisodeReader(wish)).needed_s == (1.0,)
    root = tmp_path / "episodes"
    assert traces_of(root, "2") == [found]
    record(tmp_path, generation="3")
    assert len(traces_of(root, "3")) == 2
    assert len(traces_of(root, "3", hours=0.0005)) == 1, "enough was read"
    assert traces_of(root, "9") == []
    os.utime(path, (0.0, 0.0))
    assert traces_of(root, "2", among=1) == [], "the newest drive of all is another generation's"
    told = calibration_of(root, "2", Exposure())
    assert (told.threshold_m, told.needs, told.hours) == (math.inf, 1, pytest.approx(ONSET * 0.05 / 3600.0))
    assert "0 of 60 minutes" in told.off_because(Exposure())
    assert calibration_of(root, "2", Exposure(0.0, 1)).false_per_hour == 0.0


def test_requests_of_recorded_drives_are_counted_and_the_false_ones_too(tmp_path: Path) -> None:
    needed = record(tmp_path, events=[("request", ONSET - 20, {"why": "stale_plan"})])
    other = record(tmp_path, reason="wish", events=[("request", 10, {"why": "out_of_domain"})])
    found = asked_in(EpisodeReader(path) for path in (needed, other))
    assert found.reasons == {"stale_plan": 1, "out_of_domain": 1}
    assert (found.false, found.hours) == (1, pytest.approx(2 * ONSET * 0.05 / 3600.0))
    assert found.false_per_hour == pytest.approx(1 / found.hours)
    assert asked_in([]).false_per_hour == 0.0
