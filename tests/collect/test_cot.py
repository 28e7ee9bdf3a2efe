from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from takeover.collect.cot import (
    chain_of_thought,
    keep_speed_plan,
    reason,
    visible_agents,
    write_cot,
)
from takeover.collect.samples import scene_at
from takeover.models.actions import ActionCodec
from takeover.models.prompts import Reasoning, parse_reasoning
from takeover.models.tiny import build_tokenizer
from takeover.scoring.analysis import negative_analysis
from takeover.scoring.kinematics import rollout_actions
from takeover.store.episodes import EpisodeReader

from .takeovers import CAR, record

STEPS = np.arange(1.0, 9.0)
KEEP = np.stack([5.0 * STEPS, np.zeros(8)], 1)


@pytest.fixture
def reader(tmp_path: Path) -> EpisodeReader:
    return EpisodeReader(record(tmp_path))


def rolled(accel: float, curvature: float, speed: float = 10.0) -> np.ndarray:
    return rollout_actions([speed], np.full((1, 8), accel), np.full((1, 8), curvature), 0.5)[0]


def test_five_steps_near_the_car(reader: EpisodeReader) -> None:
    found = chain_of_thought(reader, 50, scene_at(reader, 50), rolled(-4.0, 0.0))
    assert found == Reasoning(
        scene="lane, 10 m/s",
        critical_object="car ahead 35 m",
        current_risk="medium, time to collision 3.0 s",
        counterfactual_risk="keeping speed: collision in 3.0 s",
        meta_actions=(("decelerate", "keep"), ("decelerate", "keep")),
    )
    assert parse_reasoning(write_cot(found)) == found


def test_nothing_hidden_is_mentioned(tmp_path: Path) -> None:
    reader = EpisodeReader(record(tmp_path, visible_px=11))
    assert visible_agents(reader, 50) == frozenset()
    scene = scene_at(reader, 50)
    found = chain_of_thought(reader, 50, scene, KEEP)
    assert found.critical_object == "none"
    assert found.current_risk == "low"
    assert found.counterfactual_risk == "keeping speed: no conflict"
    assert "something hidden" in negative_analysis(scene, KEEP, rolled(-4.0, 0.0), frozenset()).short()


def test_analysis_names_the_recorded_car(reader: EpisodeReader) -> None:
    scene = scene_at(reader, 60)  # 30 m from the car's centre
    good = rolled(-4.5, 0.0)  # stands after 11.1 m
    found = negative_analysis(scene, KEEP, good, frozenset({CAR})).short()
    risk, failure, otherwise, _ = found.split("; ")
    assert risk.startswith("collision car in 2.5 s")
    assert failure == "too fast 29.0 m"
    assert otherwise == "maintain collision, decelerate safe"
    aside = KEEP + np.array([0.0, -3.0])
    assert "right 3.0 m" in negative_analysis(scene, aside, good, frozenset({CAR})).short()
    assert negative_analysis(scene, aside, good, frozenset({CAR})).risk.kind == "off_road"


def test_an_unsafe_state_has_a_high_risk(reader: EpisodeReader) -> None:
    scene = scene_at(reader, 40)
    assert reason(scene, KEEP, frozenset({CAR})).current_risk == "medium, time to collision 3.5 s"
    told = reason(scene, KEEP, frozenset({CAR}), negative_m=KEEP)
    assert told.current_risk == "high, time to collision 3.5 s"
    assert reason(scene, KEEP, frozenset(), negative_m=KEEP).current_risk == "high"


def test_whom_the_unsafe_plan_meets_is_critical(tmp_path: Path) -> None:
    scene = scene_at(EpisodeReader(record(tmp_path, parked_y_m=4.0)), 40)  # beside the lane, 40 m ahead
    swerves = KEEP + np.stack([np.zeros(8), np.linspace(0.5, 4.0, 8)], 1)
    assert reason(scene, KEEP, frozenset({CAR})).critical_object == "none"
    told = reason(scene, KEEP, frozenset({CAR}), negative_m=swerves)
    assert told.critical_object == "car left 40 m"
    assert told.counterfactual_risk == "keeping speed: no conflict"


def test_where_the_critical_object_is(reader: EpisodeReader) -> None:
    scene = scene_at(reader, 50)
    times = scene.agents_t_s
    walker = np.stack(
        [np.full(51, 40.0), 8.0 - 4.0 * times, np.full(51, -1.57), np.zeros(51), np.full(51, -4.0)], 1
    )
    crossing = replace(
        scene, agents=walker[None], agent_size_m=np.array([[0.5, 0.5]]), agent_kind=np.array([1], np.int8)
    )
    assert reason(crossing, KEEP, frozenset({CAR})).critical_object == "walker crossing from the left 17 m"


def test_keeping_speed_follows_the_route(reader: EpisodeReader) -> None:
    assert keep_speed_plan(scene_at(reader, 40))[:, 0] == pytest.approx(5.0 * STEPS)


def test_texts_are_short_for_the_tiny_model(reader: EpisodeReader) -> None:
    tokenizer = build_tokenizer(640, ActionCodec())
    text = write_cot(chain_of_thought(reader, 50, scene_at(reader, 50), rolled(-4.0, 0.0)))
    assert len(tokenizer(text).input_ids) <= 45
