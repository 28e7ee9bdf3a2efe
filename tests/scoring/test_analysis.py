from __future__ import annotations

import json

import numpy as np
import pytest

from takeover.scoring.analysis import negative_analysis
from takeover.scoring.scene import Scene
from takeover.vocabulary import EgoState, Float

STEPS_S = np.linspace(0.5, 4.0, 8)
CAR = 7


def swerve(side: float, speed_mps: float) -> Float:
    return np.stack((speed_mps * STEPS_S, -side * 1.5 * (STEPS_S / 4.0) ** 2), axis=1).astype(np.float32)


def braking(speed_mps: float, brake_mps2: float) -> Float:
    lasts_s = np.minimum(STEPS_S, speed_mps / brake_mps2)
    return np.stack((speed_mps * lasts_s - 0.5 * brake_mps2 * lasts_s**2, np.zeros(8)), 1).astype(np.float32)


def road(*, standing_at_m: float | None = None) -> Scene:
    """A straight road; perhaps with a car that stands in the lane."""
    cars = np.zeros((0, 51, 5)) if standing_at_m is None else np.zeros((1, 51, 5))
    cars[..., 0] = standing_at_m or 0.0
    return Scene(
        ego=EgoState(0.0, 0.0, 0.0, 10.0),
        agents_t_s=np.arange(0.0, 5.01, 0.1),
        agents=cars,
        agent_size_m=np.full((len(cars), 2), (4.8, 2.0)),
        agent_kind=np.zeros(len(cars), np.int8),
        centerline_m=np.array([[-20.0, 0.0], [200.0, 0.0]]),
        roadblock_polygons=(np.array([[-60.0, -1.75], [200.0, -1.75], [200.0, 5.25], [-60.0, 5.25]]),),
        lane_polygons=(np.array([[-60.0, -1.75], [200.0, -1.75], [200.0, 1.75], [-60.0, 1.75]]),),
        agent_ids=np.full(len(cars), CAR),
    )


def test_four_levels_of_running_into_a_car() -> None:
    scene = road(standing_at_m=30.0)
    keep, brake = swerve(0.0, 10.0), braking(10.0, 4.0)  # stands after 2.5 s and 12.5 m
    found = negative_analysis(scene, keep, brake, frozenset({CAR}))
    risk, cause = found.risk, found.attribution
    # 30 m less two half cars (2.4 + 2.45 m) at 10 m/s
    assert (risk.kind, risk.who) == ("collision", "car")
    assert risk.in_s == pytest.approx(2.5, abs=0.11)
    # 2 t2 up to 2.5 s, then 10 t - 12.5: 0.5 2 4.5 8 12.5 17.5 22.5 27.5
    assert risk.off_m == pytest.approx(95.0 / 8.0)
    assert risk.end_off_m == pytest.approx(27.5)
    assert (cause.along_m, cause.left_m, cause.primary) == (
        pytest.approx(27.5),
        pytest.approx(0.0),
        "longitudinal",
    )
    assert cause.since_s == 1.0  # at 0.5 s they are 0.5 m apart, at 1 s 2 m
    assert found.bad.outcome == "collision"
    assert found.bad.actions == (("maintain", "keep"), ("maintain", "keep"))
    assert found.good.outcome == "safe"
    assert found.good.actions == (("decelerate", "keep"), ("decelerate", "keep"))
    assert [one.at_s for one in found.correction] == pytest.approx(STEPS_S.tolist())
    # mean speed of each half second: 9, 7, 5, 3, 1, 0 ... against 10
    speeds = [one.speed_mps for one in found.correction]
    assert speeds == pytest.approx([-1.0, -3.0, -5.0, -7.0, -9.0, -10.0, -10.0, -10.0], abs=1e-5)
    assert found.short() == (
        "collision car in 2.5 s, off 12.0 m; too fast 27.5 m; maintain collision, decelerate safe; "
        "brake 3.0 m/s by 1 s, brake 10.0 m/s by 4 s"
    )


def test_the_full_form_is_json_of_four_levels() -> None:
    found = negative_analysis(road(standing_at_m=30.0), swerve(0.0, 10.0), braking(10.0, 4.0), frozenset())
    told = json.loads(found.full())
    assert list(told) == [
        "risk_identification",
        "failure_attribution",
        "counterfactual_analysis",
        "actionable_correction",
    ]
    assert "something hidden" in told["risk_identification"]
    assert "11.9 m off the safe trajectory on average, 27.5 m at the end" in told["risk_identification"]
    assert told["failure_attribution"]["longitudinal_m"] == 27.5
    assert told["counterfactual_analysis"][1] == {"actions": ["decelerate keep"] * 2, "outcome": "safe"}
    assert told["actionable_correction"][7] == {"at_s": 4.0, "speed_mps": -10.0, "left_m": 0.0}


def test_leaving_the_road_sideways() -> None:
    aside = swerve(0.0, 10.0)
    aside[:, 1] = np.minimum(0.0, -3.0 * (STEPS_S - 1.0) / 3.0)
    found = negative_analysis(road(), aside, swerve(0.0, 10.0), frozenset())
    assert found.risk.kind == "off_road"
    assert found.attribution.primary == "lateral"
    assert found.attribution.left_m == pytest.approx(-3.0)
    assert found.correction[7].left_m == pytest.approx(3.0)
    assert found.short().endswith("; right 3.0 m; change_right off road, keep safe; left 3.0 m by 4 s")


def test_errors_are_measured_along_the_route() -> None:
    """On a bend a slower plan is behind, not beside."""
    turn_rad = np.linspace(0.0, 2.0, 81)  # a left bend of 40 m radius
    scene = road()
    line = np.stack((40.0 * np.sin(turn_rad), 40.0 * (1.0 - np.cos(turn_rad))), 1)
    scene = Scene(
        ego=scene.ego,
        agents_t_s=scene.agents_t_s,
        agents=scene.agents,
        agent_size_m=scene.agent_size_m,
        agent_kind=scene.agent_kind,
        centerline_m=line,
        agent_ids=scene.agent_ids,
    )

    def along(speed_mps: float) -> Float:
        angle = speed_mps * STEPS_S / 40.0
        return np.stack((40.0 * np.sin(angle), 40.0 * (1.0 - np.cos(angle))), 1).astype(np.float32)

    cause = negative_analysis(scene, along(10.0), along(5.0), frozenset()).attribution
    assert cause.along_m == pytest.approx(20.0, abs=0.05)
    assert cause.left_m == pytest.approx(0.0, abs=0.05)
    assert cause.primary == "longitudinal"


def test_cause_size_and_remedy_are_named_without_a_scene() -> None:
    good = swerve(1.0, 4.0)
    assert negative_analysis(None, swerve(1.0, 6.0), good, frozenset()).short() == (
        "unsafe, off 4.5 m; too fast 8.0 m; maintain unsafe, decelerate safe; "
        "brake 2.0 m/s by 1 s, brake 2.0 m/s by 4 s"
    )
    assert negative_analysis(None, swerve(-1.0, 4.0), good, frozenset()).short() == (
        "unsafe, off 1.0 m; left 3.0 m; so unsafe, corrected safe; right 3.0 m by 4 s"
    )


def test_since_when_plans_are_apart() -> None:
    """At 0.5 s 10 m/s and 4 m/s are 3 m apart; 0.9 m/s more is 0.45 m at the first waypoint and 0.9 m at the second."""

    def since_s(bad_mps: float, good_mps: float) -> float | None:
        bad, good = swerve(0.0, bad_mps), swerve(0.0, good_mps)
        return negative_analysis(None, bad, good, frozenset()).attribution.since_s

    assert since_s(10.0, 4.0) == 0.5
    assert since_s(4.9, 4.0) == 1.0
    assert since_s(4.1, 4.0) is None  # 0.4 m at 4 s


def test_equal_plans_need_no_correction() -> None:
    plan = swerve(1.0, 4.0)
    told = json.loads(negative_analysis(None, plan, plan, frozenset()).full())
    assert told["failure_attribution"]["since_s"] is None
    assert negative_analysis(None, plan, plan, frozenset()).short() == (
        "unsafe, off 0.0 m; timing; so unsafe, corrected safe; keep"
    )
