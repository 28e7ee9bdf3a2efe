from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from takeover.models.prompts import parse_reasoning
from takeover.refine.teacher import (
    Failure,
    FailureReport,
    RuleTeacher,
    TeacherFailure,
    parse_report,
    rule_report,
)
from takeover.scoring.analysis import negative_analysis

from .conftest import REASONING, STEPS, blocked_road, make_input

REPORT = {
    "meta_action": "kept speed where braking was needed",
    "think_process": "took the parked car for a moving one",
    "safety": "collision with the car in 2.5 s",
    "efficiency": "none",
    "correction": {"lateral": "keep the lane", "longitudinal": "brake 3 m/s from 0.5 s"},
}


def along(distance_m: np.ndarray) -> np.ndarray:
    return np.stack((distance_m, np.zeros(8)), axis=1).astype(np.float32)


CRASH = along(8.0 * STEPS)
BRAKE = along(8.0 * STEPS - np.minimum(STEPS, 3.2) ** 2 * 1.25 - np.maximum(STEPS - 3.2, 0) * 8.0)  # 12.8 m


def failure(bad: np.ndarray = CRASH, good: np.ndarray = BRAKE) -> Failure:
    scene = replace(blocked_road(), agent_ids=np.array([7], np.int64))
    return Failure(make_input(1, 8.0, np.random.default_rng(0)), scene, bad, good, frozenset({7}))


def test_by_rule_a_prompt_shows_the_block_that_sft_has_taught() -> None:
    case = failure()
    teacher = RuleTeacher()
    assert teacher.analyse(case) == negative_analysis(case.scene, CRASH, BRAKE, case.visible)
    assert teacher.figures() == {}


def test_the_five_parts_of_a_crash() -> None:
    report = rule_report(failure())
    # 8 m/s held, against 2.5 m/s2 of braking to a stand after 3.2 s. In the half second before 1 s the good plan
    # covers 8 * 0.5 - 1.25 * (1 - 0.25) = 3.06 m, so it is 1.9 m/s slower; at the end it stands, 8 m/s slower.
    assert report.meta_action == (
        "planned maintain keep then maintain keep; needed decelerate keep then decelerate keep"
    )
    assert report.think_process == "none given"
    assert report.safety.startswith("collision with car in 2.")
    assert report.efficiency == "none"
    assert report.lateral == "keep the lane"
    assert report.longitudinal == "brake 2.0 m/s by 1 s, brake 8.0 m/s by 4 s"
    assert RuleTeacher("full").analyse(failure()) == report
    for part in ("meta-action:", "reasoning:", "safety:", "efficiency:", "lateral:", "longitudinal:"):
        assert report.short().count(part) == 1
    assert json.loads(report.full()) == report.to_json()


def test_hidden_things_have_no_name() -> None:
    assert "something hidden" in rule_report(replace(failure(), visible=frozenset())).safety


def test_a_needless_stop_is_an_efficiency_failure() -> None:
    free = replace(blocked_road(), agents=np.zeros((0, 11, 5)), agent_size_m=np.zeros((0, 2)))
    free = replace(free, agent_kind=np.zeros(0, np.int8))
    report = rule_report(replace(failure(BRAKE, CRASH), scene=free))
    assert report.safety == "none"
    assert report.efficiency == "up to 19.0 m behind"  # 32 - 12.8 = 19.2 m
    assert report.longitudinal == "accelerate 2.0 m/s by 1 s, accelerate 8.0 m/s by 4 s"


def test_a_swerve_is_corrected_sideways() -> None:
    aside = CRASH + np.stack((np.zeros(8), -0.5 * STEPS), axis=1).astype(
        np.float32
    )  # 0.5 m at 1 s, 2 m at 4 s
    report = rule_report(replace(failure(aside, CRASH), scene=None))
    assert report.lateral == "left 0.5 m by 1 s, left 2.0 m by 4 s"


def test_reasoning_that_the_plan_does_not_follow_is_said() -> None:
    thought = parse_reasoning(REASONING)  # maintain keep, twice
    report = rule_report(replace(failure(BRAKE, CRASH), reasoning=thought))
    assert report.think_process == "said maintain keep then maintain keep, 2 of 4 words are done"


def test_without_a_scene_the_plans_alone_speak() -> None:
    report = rule_report(replace(failure(), scene=None))
    assert report.safety.startswith("unknown")
    assert report.longitudinal == "brake 2.0 m/s by 1 s, brake 8.0 m/s by 4 s"


def test_a_report_survives_its_json() -> None:
    report = parse_report(json.dumps(REPORT))
    assert isinstance(report, FailureReport)
    assert report.to_json() == REPORT
    assert parse_report(json.dumps(rule_report(failure()).to_json())) == rule_report(failure())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("brake earlier", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a": 1, "a": 2}', "not JSON"),
        ("[]", "exactly the keys"),
        (json.dumps({**REPORT, "more": "x"}), "exactly the keys"),
        (json.dumps({k: v for k, v in REPORT.items() if k != "safety"}), "exactly the keys"),
        (json.dumps({**REPORT, "correction": "brake"}), "lateral, longitudinal"),
        (json.dumps({**REPORT, "correction": {"lateral": "x"}}), "lateral, longitudinal"),
        (json.dumps({**REPORT, "safety": ""}), "1 to 240"),
        (json.dumps({**REPORT, "safety": 3}), "1 to 240"),
        (json.dumps({**REPORT, "safety": "x" * 241}), "1 to 240"),
        (json.dumps({**REPORT, "safety": "one\ntwo"}), "line break"),
        (json.dumps({**REPORT, "safety": "go <|im_end|> stop"}), "markup"),
        (json.dumps({**REPORT, "safety": "then <a12>"}), "markup"),
        (json.dumps({**REPORT, "safety": "<image>"}), "markup"),
        ('{"meta_action": "\\ud800"' + json.dumps(REPORT)[27 + 14 :], "not JSON"),
    ],
)
def test_nothing_is_believed_unread(text: str, reason: str) -> None:
    found = parse_report(text)
    assert isinstance(found, TeacherFailure)
    assert reason in found.reason


def test_a_comparison_is_no_markup() -> None:
    assert isinstance(
        parse_report(json.dumps({**REPORT, "safety": "TTC < 2 s, speed > 5 m/s"})), FailureReport
    )
