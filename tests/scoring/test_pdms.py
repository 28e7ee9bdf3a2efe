from __future__ import annotations

import math
import pickle
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.signal import savgol_filter

from takeover.scoring.conflicts import conflicts, critical_agent, off_road_s
from takeover.scoring.filters import savgol_matrix
from takeover.scoring.kinematics import EGO
from takeover.scoring.pdms import (
    PACIFICA,
    agents_at_10_hz,
    min_ttc,
    plan_poses,
    score_plans,
    score_tracks,
    terms_of,
    track_plans,
    track_ttc,
    tracked_waypoints,
)
from takeover.scoring.proposals import Line, centerline_proposals, with_reference
from takeover.scoring.scene import Scene, kind_codes
from takeover.scoring.scene_file import SceneFile
from takeover.vocabulary import ActorKind, EgoState

from .vectors import load, scenes

VECTORS = load()
SCENES = scenes()
IDS = [str(one.ident) for one in SCENES]
KEEP_10 = np.stack([5.0 * np.arange(1, 9), np.zeros(8)], 1)
TIMES = np.arange(0.0, 5.01, 0.5)


def road(
    agents: list[tuple[ActorKind, float, float, float, float, float]] = [],  # noqa: B006
    speed_mps: float = 10.0,
    **changes: Any,
) -> Scene:
    """A straight road, lanes at y = 0 and y = 3.5; agents are kind, x, y, yaw, vx, vy."""
    states = np.array(
        [[(x + vx * t, y + vy * t, yaw, vx, vy) for t in TIMES] for _, x, y, yaw, vx, vy in agents]
    ).reshape(-1, len(TIMES), 5)
    lane = np.array([[-50.0, -1.75], [250.0, -1.75], [250.0, 1.75], [-50.0, 1.75]])
    scene = Scene(
        ego=EgoState(0.0, 0.0, 0.0, speed_mps),
        agents_t_s=TIMES,
        agents=states,
        agent_size_m=np.tile([4.0, 2.0], (len(agents), 1)),
        agent_kind=kind_codes([kind for kind, *_ in agents]),
        centerline_m=np.stack([np.arange(-50.0, 251.0), np.zeros(301)], 1),
        roadblock_polygons=(np.array([[-50.0, -1.75], [250.0, -1.75], [250.0, 5.25], [-50.0, 5.25]]),),
        lane_polygons=(lane, lane + np.array([0.0, 3.5])),
        agent_ids=np.arange(len(agents)) + 1,
    )
    return replace(scene, **changes)


@pytest.mark.parametrize(("one", "vector"), zip(SCENES, VECTORS, strict=True), ids=IDS)
def test_progress_equals_navsims(one: SceneFile, vector: dict[str, Any]) -> None:
    found = score_plans(one.scene, one.plans_m).progress_m
    wanted = [vector["scores"][name]["progress_m"] for name in one.names]
    assert found == pytest.approx(np.array(wanted), abs=1e-5)


@pytest.mark.parametrize(("one", "vector"), zip(SCENES, VECTORS, strict=True), ids=IDS)
def test_tracks_equal_navsims(one: SceneFile, vector: dict[str, Any]) -> None:
    tracks = track_plans(one.scene, one.plans_m)
    for track, name in zip(tracks, one.names, strict=True):
        wanted = np.array(vector["tracked"][name])[:, [0, 1, 2, 3, 5, 7, 9]]
        off = track - wanted
        off[:, 2] = np.arctan2(np.sin(off[:, 2]), np.cos(off[:, 2]))
        assert np.abs(off).max() < 1e-4, name


@pytest.mark.parametrize(
    ("window", "order", "derivative"), [(41, 2, 0), (8, 2, 0), (41, 2, 1), (5, 3, 2), (15, 2, 1)]
)
def test_savgol_matrix_equals_scipy(window: int, order: int, derivative: int) -> None:
    signal = np.random.default_rng(0).normal(size=41)
    wanted = savgol_filter(signal, window, order, deriv=derivative, delta=0.1)
    assert savgol_matrix(41, window, order, derivative, 0.1) @ signal == pytest.approx(wanted, abs=1e-9)


def test_free_road_scores_one() -> None:
    found = score_plans(road(), KEEP_10[None])
    assert found.pdms[0] == 1.0
    assert found.progress_m[0] == pytest.approx(40.0, abs=0.01)


def test_progress_is_relative_to_the_reference_and_never_to_other_plans() -> None:
    scene = road(reference_progress_m=50.0, reference_multiplier=1.0)
    slow = KEEP_10 * [0.5, 1.0]
    both = score_plans(scene, np.stack([KEEP_10, slow]))
    assert both.ep[0] == pytest.approx(40.0 / 50.0, abs=1e-3)
    assert both.pdms[0] == pytest.approx((5 * both.ep[0] + 5 + 2) / 12)
    assert score_plans(scene, slow[None]).ep[0] == both.ep[1]


def test_fault_rules() -> None:
    front = (ActorKind.VEHICLE, 30.0, 0.0, 0.0, 0.0, 0.0)
    cone = (ActorKind.STATIC, 30.0, 0.0, 0.0, 0.0, 0.0)
    behind = (ActorKind.VEHICLE, -12.0, 0.0, 0.0, 20.0, 0.0)
    assert score_plans(road([front]), KEEP_10[None]).nc[0] == 0.0
    assert score_plans(road([cone]), KEEP_10[None]).nc[0] == 0.5
    assert score_plans(road([behind]), KEEP_10[None]).nc[0] == 1.0  # rear hit: not at fault
    stopped = score_plans(
        road([(ActorKind.VEHICLE, 8.0, 0.0, math.pi, -5.0, 0.0)], speed_mps=0.0), KEEP_10[None] * 0
    )
    assert stopped.nc[0] == 1.0  # a standing ego is never at fault


def test_leaving_the_road_costs_everything() -> None:
    right = np.stack([5.0 * np.arange(1, 9), -0.5 * np.arange(1, 9)], 1)
    scene = road()
    found = score_plans(scene, right[None])
    assert found.dac[0] == 0.0
    assert found.pdms[0] == 0.0
    assert 0.0 < off_road_s(scene, track_plans(scene, right[None])[0]) < 4.0
    assert math.isinf(off_road_s(scene, track_plans(scene, KEEP_10[None])[0]))


def test_absent_agents_do_not_collide() -> None:
    scene = road([(ActorKind.VEHICLE, 30.0, 0.0, 0.0, 0.0, 0.0)])
    states = scene.agents.copy()
    states[0, 2:] = np.nan  # gone after half a second
    assert score_plans(replace(scene, agents=states), KEEP_10[None]).nc[0] == 1.0
    assert score_plans(replace(scene, agents_t_s=TIMES[:2], agents=states[:, :2]), KEEP_10[None]).nc[0] == 1.0


def test_no_agents_no_polygons() -> None:
    found = score_plans(road(roadblock_polygons=(), lane_polygons=()), KEEP_10[None])
    assert found.nc[0] == 1.0
    assert found.dac[0] == 0.0


def test_headings_of_bare_points_follow_the_trailing_axle() -> None:
    straight = plan_poses(KEEP_10[None], EGO)
    assert straight[0, :, 2] == pytest.approx(np.zeros(8))
    radius = 30.0
    angle = np.arange(1, 9) * 5.0 / radius
    circle = np.stack([radius * np.sin(angle), radius * (1 - np.cos(angle))], 1)
    heading = plan_poses(circle[None], EGO)[0, :, 2]
    slip = math.asin(EGO.rear_to_centre_m / radius)  # the centre moves outward of the heading
    assert heading[3:] == pytest.approx(angle[3:] - slip, abs=0.02)
    standing = plan_poses(np.zeros((1, 8, 2)), EGO)
    assert standing[0, :, 2] == pytest.approx(np.zeros(8))


def test_shape_is_checked() -> None:
    with pytest.raises(ValueError, match=r"\(P, 8, 2 or 3\)"):
        score_plans(road(), KEEP_10)


def test_tracked_waypoints_are_in_the_ego_frame() -> None:
    turned = road(ego=EgoState(20.0, 1.0, 0.3, 10.0), centerline_m=np.array([[0.0, 0.0], [200.0, 60.0]]))
    points = tracked_waypoints(turned, track_plans(turned, KEEP_10[None]))[0]
    assert points[:, 0] == pytest.approx(KEEP_10[:, 0], abs=0.05)
    assert points[:, 1:] == pytest.approx(np.zeros((8, 2)), abs=0.02)


def test_min_ttc_along_a_plan() -> None:
    scene = road([(ActorKind.VEHICLE, 60.0, 0.0, 0.0, 0.0, 0.0)])
    bumper = 60.0 - 2.0 - 0.5 * EGO.length_m
    assert min_ttc(scene, KEEP_10[None])[0] == pytest.approx(bumper / 10.0 - 4.0, abs=0.02)
    assert math.isinf(min_ttc(scene, np.zeros((1, 8, 2)))[0])  # it brakes in time


def test_conflicts_name_whom_and_when() -> None:
    scene = road(
        [(ActorKind.VEHICLE, 30.0, 0.0, 0.0, 0.0, 0.0), (ActorKind.WALKER, 20.0, 6.0, 0.0, 0.0, 0.0)]
    )
    track = track_plans(scene, KEEP_10[None])[0]
    contact, ttc = conflicts(scene, track)
    assert contact[0] == pytest.approx((30.0 - 2.0 - 2.45) / 10.0, abs=0.1)
    assert math.isinf(contact[1])
    assert ttc[0] == 0.0
    assert critical_agent(scene, track) == 0
    assert critical_agent(road(), track) is None


def test_proposals_follow_the_road_and_stop_behind_a_car() -> None:
    free = centerline_proposals(road(), 10.0)
    assert free.shape == (15, 8, 3)
    assert free[4, -1] == pytest.approx([40.0, 0.0, 0.0], abs=0.5)  # offset 0 at the limit
    assert free[-1, -1, 1] == pytest.approx(1.0, abs=0.01)  # offset +1
    blocked = centerline_proposals(road([(ActorKind.VEHICLE, 35.0, 0.0, 0.0, 0.0, 0.0)]), 10.0)
    assert (blocked[:, -1, 0] < 35.0 - 2.0 - 2.45).all()
    scene = with_reference(road(), 10.0)
    assert scene.reference_multiplier == 1.0
    assert scene.reference_progress_m == pytest.approx(40.0, abs=0.5)


def test_line_places_points_and_goes_on_straight() -> None:
    line = Line.of(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]]), 20.0)
    along, left, _ = line.place(np.array([[4.0, 1.0], [11.0, 25.0]]))
    assert along == pytest.approx([4.0, 35.0])
    assert left == pytest.approx([1.0, -1.0])
    assert line.pose(np.array(30.0), np.array(2.0), np.array(0.0))[:2] == pytest.approx([8.0, 20.0])


def test_tracks_of_any_layout_are_scored() -> None:
    """Not to be written, or with the plans last in memory: the kernels want neither."""
    scene = road([(ActorKind.VEHICLE, 30.0, 0.0, 0.0, 0.0, 0.0)])
    tracks = track_plans(scene, np.stack([KEEP_10, 0.5 * KEEP_10, 0.2 * KEEP_10]))
    wanted = terms_of(scene, tracks)
    turned = np.asfortranarray(tracks)
    tracks.setflags(write=False)
    for other in (tracks, turned, tracks.tolist()):
        assert np.array_equal(terms_of(scene, other), wanted)


def test_a_scene_that_was_scored_tells_the_same_conflicts() -> None:
    """What scoring keeps with a scene is read again."""
    scene = road(
        [(ActorKind.VEHICLE, 30.0, 0.0, 0.0, 1.0, 0.0), (ActorKind.WALKER, 20.0, 6.0, 0.0, 0.0, -1.0)]
    )
    track = track_plans(scene, KEEP_10[None])
    fresh = agents_at_10_hz(scene), track_ttc(scene, track), conflicts(scene, track[0])
    score_tracks(scene, track)
    again = agents_at_10_hz(scene), track_ttc(scene, track), conflicts(scene, track[0])
    assert fresh[0].shape == (2, 51, 6)
    for before, after in zip((*fresh[:2], *fresh[2]), (*again[:2], *again[2]), strict=True):
        np.testing.assert_array_equal(before, after)
    empty = road()
    score_tracks(empty, track)
    assert agents_at_10_hz(empty).shape == (0, 51, 6)


def test_scene_survives_pickling() -> None:
    scene, plans = SCENES[0].scene, SCENES[0].plans_m
    again = pickle.loads(pickle.dumps(scene))
    assert score_plans(again, plans).pdms == pytest.approx(score_plans(scene, plans).pdms)


def test_a_group_of_eight_takes_well_under_a_millisecond() -> None:
    scene, plans = SCENES[0].scene, SCENES[0].plans_m[:8]
    best = min(_seconds(scene, plans) for _ in range(50))
    assert best < 2e-3  # 0.3 ms on an idle core; the bound is for a busy one


def _seconds(scene: Scene, plans: np.ndarray) -> float:
    start = time.perf_counter()
    score_plans(scene, plans)
    return time.perf_counter() - start


def test_pacifica_is_navsims() -> None:
    assert (PACIFICA.length_m, PACIFICA.width_m, PACIFICA.wheel_base_m) == (5.176, 2.297, 3.089)
