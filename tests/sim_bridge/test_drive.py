from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from takeover.sim_bridge.bridge import Bridge
from takeover.sim_bridge.drive import WARMUP_TICKS, Drive
from takeover.sim_bridge.follower import PlanFollower
from takeover.sim_bridge.moment import Moment
from takeover.sim_bridge.server import EmbeddedServer
from takeover.vocabulary import PLAN_PERIOD_TICKS, CameraSpec, Case, Control, Outcome

CAMERA = CameraSpec()


@pytest.fixture
def drive(server: EmbeddedServer) -> Iterator[Drive]:
    with Bridge(server.host, server.port) as bridge:
        yield Drive(bridge, (CAMERA,))


def along(drive: Drive, moment: Moment, follower: PlanFollower) -> Control:
    """Control along the centre line at the limit."""
    plan = drive._along_route(moment.speed_limit_mps)
    return follower.control(plan, moment.ego, moment.ego, 0.0)


def run(drive: Drive, case: Case, ticks: int = 400) -> list[Moment]:
    """Moments of an episode along the centre line, warm-up included."""
    moment = drive.reset(case)
    moments, follower = [*drive.history, moment], PlanFollower()
    while not moment.done and moment.tick < ticks:
        moment = drive.step(along(drive, moment, follower))
        moments.append(moment)
    return moments


def ended(moment: Moment) -> Outcome:
    assert moment.outcome is not None
    return moment.outcome


def digest(moments: list[Moment]) -> str:
    """Hash over all ticks; actors by their place in the list, as ids are never used twice."""
    total = hashlib.sha256()
    for m in moments:
        order = {a.actor_id: i for i, a in enumerate(m.agents)}
        agents = [
            (a.name, a.kind, a.x_m, a.y_m, a.yaw_rad, a.speed_mps, a.vx_mps, a.vy_mps) for a in m.agents
        ]
        faults = [(i.kind, i.tick, order.get(i.actor_id)) for i in m.infractions]
        total.update(repr((m.tick, m.ego, agents, m.command, m.ttc_s, m.off_road, faults)).encode())
        if m.frame is not None:
            total.update(m.frame.images.tobytes())
            total.update(repr(sorted((order[k], n) for k, n in m.frame.visible_px.items())).encode())
    return total.hexdigest()


def test_warm_up(drive: Drive) -> None:
    moment = drive.reset(Case("LaneFollowing", 3))
    assert moment.tick == 0
    assert [m.tick for m in drive.history] == list(range(-WARMUP_TICKS, 0))
    for m in [*drive.history, moment]:
        assert (m.frame is not None) == (m.tick % PLAN_PERIOD_TICKS == 0)
        assert m.faults == ()
        assert abs(m.lateral_error_m) < 0.3
    speed_mps = drive.scenario.spec.start_speed_mps
    assert moment.ego.speed_mps == pytest.approx(speed_mps, abs=0.5)
    assert moment.route_progress_m == pytest.approx(1.5 * speed_mps, abs=2.0)
    assert not moment.done


def test_frames(drive: Drive) -> None:
    moment = drive.reset(Case("CarFollowing", 1))
    assert moment.frame is not None
    assert moment.frame.images.shape == (1, CAMERA.height_px, CAMERA.width_px, 3)
    assert moment.frame.images.dtype == np.uint8
    assert moment.frame.images.std() > 10.0
    lead = min(moment.agents, key=lambda a: math.hypot(a.x_m - moment.ego.x_m, a.y_m - moment.ego.y_m))
    assert moment.frame.visible_px.get(lead.actor_id, 0) > 50
    assert set(moment.frame.visible_px) <= {a.actor_id for a in moment.agents}


def test_a_nominal_drive_completes(drive: Drive) -> None:
    moments = run(drive, Case("LaneFollowing", 5))
    outcome = ended(moments[-1])
    assert (outcome.end, outcome.success, outcome.rc) == ("route_complete", True, 100.0)
    assert all(m.faults == () and not m.off_road for m in moments)
    assert max(abs(m.lateral_error_m) for m in moments) < 0.5
    assert moments[-1].time_s == pytest.approx(outcome.duration_s)
    assert outcome.driven_m == pytest.approx(
        moments[-1].route_progress_m - moments[WARMUP_TICKS].route_progress_m, abs=2.0
    )
    with pytest.raises(ValueError, match="reset first"):
        drive.step(Control())


def test_ego_state_is_consistent(drive: Drive) -> None:
    moments = run(drive, Case("JunctionTurn", 2), ticks=120)
    for before, after in itertools.pairwise(moments):
        step_m = math.hypot(after.ego.x_m - before.ego.x_m, after.ego.y_m - before.ego.y_m)
        assert step_m == pytest.approx(0.05 * 0.5 * (before.ego.speed_mps + after.ego.speed_mps), abs=0.03)
        turn_rad = math.remainder(after.ego.yaw_rad - before.ego.yaw_rad, math.tau)
        assert turn_rad == pytest.approx(0.05 * after.ego.yaw_rate_radps, abs=0.01)
        assert abs(math.remainder(after.ego.yaw_rad - before.ego.yaw_rad, math.tau)) < 0.1


def test_steering_left_turns_left(drive: Drive) -> None:
    moment = drive.reset(Case("LaneFollowing", 4))
    start = moment
    for _ in range(8):
        moment = drive.step(Control(steer=0.3, throttle=0.2))
    assert moment.ego.yaw_rate_radps > 0.05
    assert moment.ego.steer_rad == pytest.approx(0.3 * 0.6, abs=0.03)
    assert moment.heading_error_rad > start.heading_error_rad
    assert moment.ego.lateral_accel_mps2 > 0.5


def test_braking_stands_and_is_blocked_or_times_out(drive: Drive) -> None:
    moment = drive.reset(Case("LaneFollowing", 6))
    while not moment.done:
        moment = drive.step(Control(brake=1.0))
        assert moment.tick < 400
    assert ended(moment).end in ("blocked", "timeout")
    assert not ended(moment).success
    assert ended(moment).standstill_s > 5.0


def test_driving_straight_on_leaves_the_road(drive: Drive) -> None:
    moment = drive.reset(Case("LaneFollowing", 4))
    while not moment.done:
        moment = drive.step(Control(steer=-0.15, throttle=0.3))
    assert ended(moment).end == "off_road"
    assert moment.off_road
    assert [i.kind for i in ended(moment).infractions] == ["outside_lane"]


def test_hitting_the_obstacle_is_a_collision(drive: Drive) -> None:
    moments = run(drive, Case("ParkedObstacle", 1))
    outcome = ended(moments[-1])
    assert outcome.end == "collision"
    assert outcome.infractions[-1].kind == "collision_vehicle"
    assert outcome.infractions[-1].actor_id in {a.actor_id for a in moments[-1].agents}
    assert moments[-20].ttc_s < 2.0
    assert min(m.ttc_s for m in moments[:WARMUP_TICKS]) == math.inf


def test_equal_seeds_give_equal_ticks(drive: Drive) -> None:
    cases = [Case("ParkedObstacle", 1), Case("DynamicObjectCrossing", 2), Case("JunctionTurn", 3)]
    first = [digest(run(drive, case, 120)) for case in cases]
    again = [digest(run(drive, case, 120)) for case in reversed(cases)]
    assert first == again[::-1]
    assert len(set(first)) == len(first)
    other = EmbeddedServer.start()
    try:
        with Bridge(other.host, other.port) as bridge:
            assert digest(run(Drive(bridge, (CAMERA,)), cases[1], 120)) == first[1]
    finally:
        other.close()


@pytest.mark.parametrize(("state", "end"), [("red", ["red_light"]), ("green", [])])
def test_lights_on_the_route(drive: Drive, state: str, end: list[str]) -> None:
    case = Case("OppositeVehicleRunningRedLight", 1, decoy=True)
    moment = drive.reset(case)
    assert len(moment.lights) == 1
    drive._stage.freeze_lights(state)
    moments, follower = [], PlanFollower()
    while not moment.done:
        moment = drive.step(along(drive, moment, follower))
        moments.append(moment)
    assert {m.lights[0][1] for m in moments[1:]} == {state}
    assert any(m.red_light_ahead for m in moments) == (state == "red")
    assert [i.kind for i in ended(moment).infractions] == end
    assert ended(moment).end == "route_complete"
    assert [m.lights for m in run(drive, case, 30)] == [m.lights for m in run(drive, case, 30)]


def test_close_leaves_no_actor(drive: Drive, server: EmbeddedServer) -> None:
    drive.reset(Case("ParkedObstacle", 1))
    drive.close()
    drive._bridge.tick()
    left = [a.type_id for a in drive._bridge.world.get_actors() if not a.type_id.startswith("traffic.")]
    assert [t for t in left if t != "spectator"] == []


def test_scenario_info_and_map(drive: Drive) -> None:
    drive.reset(Case("DynamicObjectCrossing", 7))
    info = drive.scenario_info
    assert info["type"] == "DynamicObjectCrossing"
    assert info["critical_actor_id"]
    assert 0.0 < info["conflict_m"] < drive.route.length_m
    assert len(drive.map_sha256) == 64
    assert drive.map_polygons().roadblocks
