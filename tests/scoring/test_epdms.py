"""NAVSIM v2's terms on motions whose values are computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from takeover.scoring.epdms import (
    EpdmsInputs,
    RedLane,
    absent,
    score_extended,
    yaw_accelerations,
)
from takeover.scoring.kinematics import EGO
from takeover.scoring.pdms import score_tracks, track_plans
from takeover.scoring.scene import Scene, kind_codes
from takeover.scoring.tracker import YAW_RATE
from takeover.vocabulary import ActorKind, EgoState

from .vectors import load, scenes

Array = NDArray[np.float64]
TIMES = np.arange(41) * 0.1
LANE = np.array([[-50.0, -1.75], [250.0, -1.75], [250.0, 1.75], [-50.0, 1.75]])
LEFT = LANE + np.array([0.0, 3.5])
ROAD = np.array([[-50.0, -1.75], [250.0, -1.75], [250.0, 8.75], [-50.0, 8.75]])


def scene(**changes: object) -> Scene:
    """A wide straight road, the route along y = 0; nobody there."""
    made = Scene(
        ego=EgoState(0.0, 0.0, 0.0, 10.0),
        agents_t_s=np.zeros(1),
        agents=np.zeros((0, 1, 5)),
        agent_size_m=np.zeros((0, 2)),
        agent_kind=kind_codes([]),
        centerline_m=np.array([[-50.0, 0.0], [250.0, 0.0]]),
        roadblock_polygons=(ROAD,),
        lane_polygons=(LANE, LEFT),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def motion(
    x: Array,
    y: Array | float = 0.0,
    heading: Array | float = 0.0,
    accel: Array | float = 0.0,
    speed: float = 10.0,
) -> Array:
    """(1, 41, 7) a motion of the box centre, as if tracked."""
    out = np.zeros((1, 41, 7))
    out[0, :, 2] = heading
    out[0, :, 0] = x - EGO.rear_to_centre_m * np.cos(heading)
    out[0, :, 1] = y - EGO.rear_to_centre_m * np.sin(heading)
    out[0, :, 3], out[0, :, 4] = speed, accel
    return out


STEADY = motion(10.0 * TIMES)


def only(term: Array | None) -> float:
    assert term is not None
    return float(term[0])


def test_nothing_known_leaves_what_the_map_gives() -> None:
    found = score_extended(scene(), STEADY)
    assert absent(found) == ("DDC", "TLC", "HC", "EC")
    assert only(found.lk) == only(found.epdms) == 1.0
    assert absent(score_extended(scene(centerline_m=np.zeros((0, 2))), STEADY)) == (
        "DDC",
        "TLC",
        "LK",
        "HC",
        "EC",
    )


@pytest.mark.parametrize(("steps", "wanted"), [(0, 1.0), (1, 0.5), (3, 0.5), (4, 0.0), (31, 0.0)])
def test_ddc_sums_the_way_off_the_route(steps: int, wanted: float) -> None:
    # 1 m a step; the first step into the left lane is hypot(1, 3.5) = 3.64 m: 3.64, 5.64 and 6.64 m off the route.
    track = motion(10.0 * TIMES, np.where((np.arange(41) >= 10) & (np.arange(41) < 10 + steps), 3.5, 0.0))
    assert only(score_extended(scene(), track, EpdmsInputs(on_route_lanes=(LANE,))).ddc) == wanted
    assert only(score_extended(scene(), track, EpdmsInputs(on_route_lanes=(LANE, LEFT))).ddc) == 1.0


def test_ddc_window_is_eleven_steps_and_intersections_are_free() -> None:
    for speed, wanted in (
        (1.8, 1.0),
        (1.82, 0.5),
        (5.4, 0.5),
        (5.5, 0.0),
    ):  # 11 steps: 1.98, 2.002, 5.94, 6.05 m
        slow = motion(speed * TIMES, 3.5)
        assert only(score_extended(scene(), slow, EpdmsInputs(on_route_lanes=(LANE,))).ddc) == wanted
    crossing = scene(intersection_polygons=(ROAD,))
    found = score_extended(crossing, motion(10.0 * TIMES, 3.5), EpdmsInputs(on_route_lanes=(LANE,)))
    assert only(found.ddc) == 1.0


def test_tlc_is_the_box_on_a_red_lane_while_it_is_red() -> None:
    ahead = np.array([[30.0, -1.75], [60.0, -1.75], [60.0, 1.75], [30.0, 1.75]])
    front = 0.5 * EGO.length_m
    arrival = (30.0 - front) / 10.0  # 2.755 s

    def tlc(track: Array, *lanes: RedLane) -> float:
        return only(score_extended(scene(), track, EpdmsInputs(red_lanes=lanes)).tlc)

    assert tlc(STEADY) == 1.0
    assert tlc(STEADY, RedLane(ahead)) == 0.0
    assert tlc(STEADY, RedLane(ahead, end_s=arrival - 0.06)) == 1.0  # green before the box is there
    assert tlc(STEADY, RedLane(ahead, end_s=arrival + 0.05)) == 0.0
    assert tlc(STEADY, RedLane(ahead, start_s=4.1)) == 1.0  # red after the plan
    stops = motion(np.minimum(10.0 * TIMES, 30.0 - front - 0.01))
    assert tlc(stops, RedLane(ahead)) == 1.0
    assert tlc(motion(np.minimum(10.0 * TIMES, 30.0 - front)), RedLane(ahead)) == 0.0  # touching is on it
    assert tlc(motion(10.0 * TIMES, 3.5), RedLane(ahead)) == 1.0  # beside it
    assert tlc(STEADY, RedLane(ROAD)) == 0.0  # wholly inside
    speck = np.array([[20.0, 0.0], [20.1, 0.0], [20.1, 0.1]])
    assert tlc(STEADY, RedLane(speck)) == 0.0  # wholly within the box
    assert only(score_extended(scene(), STEADY, EpdmsInputs(red_lanes=(RedLane(ahead),))).epdms) == 0.0


def test_lk_allows_19_steps_beside_the_line() -> None:
    def lk(y: Array | float, **changes: object) -> float:
        return only(score_extended(scene(**changes), motion(10.0 * TIMES, y)).lk)

    steps = np.arange(41)
    assert lk(0.5) == 1.0
    assert lk(0.51) == 0.0
    assert lk(np.where(steps < 19, 0.6, 0.0)) == 1.0
    assert lk(np.where(steps < 20, 0.6, 0.0)) == 0.0
    assert lk(np.where(steps == 19, 0.0, 0.6)) == 0.0  # 19 before and 21 after
    assert lk(np.where(np.isin(steps, (15, 31)), 0.0, 0.6)) == 1.0  # 15, 15 and 9
    # In the intersection, x = 9.95 to 12.05 m, three steps neither count nor interrupt.
    junction = np.array([[9.95, -9.0], [12.05, -9.0], [12.05, 9.0], [9.95, 9.0]])
    off = np.where(steps < 22, 0.6, 0.0)
    assert lk(off) == 0.0
    assert lk(off, intersection_polygons=(junction,)) == 1.0
    assert lk(np.where(steps < 23, 0.6, 0.0), intersection_polygons=(junction,)) == 0.0


def past(accel: float = 0.0, lateral: float = 0.0) -> Array:
    return np.tile([0.0, accel, lateral, 0.0, 0.0], (15, 1))


def test_hc_bounds_acceleration_over_past_and_plan() -> None:
    def hc(track: Array, before: Array) -> float:
        return only(score_extended(scene(), track, EpdmsInputs(past=before)).hc)

    assert hc(STEADY, past()) == 1.0
    assert hc(motion(10.0 * TIMES, accel=2.39), past(2.39)) == 1.0
    assert hc(motion(10.0 * TIMES, accel=2.40), past(2.40)) == 0.0
    assert hc(motion(10.0 * TIMES, accel=-4.04), past(-4.04)) == 1.0
    assert hc(motion(10.0 * TIMES, accel=-4.05), past(-4.05)) == 0.0
    # A leap D of the acceleration: the slope of a line through 15 samples about it is D * 28 / 280 / 0.1 s = D / s.
    assert hc(motion(10.0 * TIMES, accel=1.5), past(-1.5)) == 1.0
    assert hc(motion(10.0 * TIMES, accel=2.3), past(-2.7)) == 0.0
    assert hc(STEADY, past(lateral=4.9)) == 0.0
    with pytest.raises(ValueError, match=r"\(H, 5\)"):
        hc(STEADY, np.zeros((15, 4)))


def test_hc_and_ec_equal_scipys_filters() -> None:
    rng = np.random.default_rng(3)
    tracks = np.zeros((200, 41, 7))
    walk = (
        np.cumsum(rng.normal(size=(200, 56, 2)), axis=1)
        * 10.0 ** rng.uniform(-3.0, 0.3, (200, 1, 1))
        * [1.0, 0.1]
    )
    tracks[..., 4], tracks[..., 2] = walk[:, 15:, 0], np.cumsum(walk[:, 15:, 1], axis=1) * 0.1 + 3.0
    tracks[..., 2] = np.arctan2(np.sin(tracks[..., 2]), np.cos(tracks[..., 2]))  # leaps at the half turn
    tracks[..., YAW_RATE] = walk[:, 15:, 1]
    before = np.zeros((15, 5))
    before[:, 0], before[:, 1], before[:, 2] = 3.0, np.linspace(-0.3, 0.0, 15), 0.2
    found = score_extended(
        scene(), tracks, EpdmsInputs(past=before, earlier_track=motion(10.0 * TIMES, heading=3.0)[0])
    )

    def derivative(signal: Array, window: int, order: int, which: int) -> Array:
        return np.asarray(savgol_filter(signal, window, order, deriv=which, delta=0.1))

    def joined(old: Array, new: Array) -> Array:
        return np.concatenate((np.broadcast_to(old, (200, 15)), new), axis=1)

    turn = np.diff(tracks[..., YAW_RATE], axis=1, prepend=tracks[:, :1, YAW_RATE]) / 0.1
    accel, across = joined(before[:, 1], tracks[..., 4]), joined(before[:, 2], np.zeros((200, 41)))
    shift = EGO.rear_to_centre_m * (
        joined(before[:, 3], tracks[..., YAW_RATE]) ** 2 + joined(before[:, 4], turn)
    )
    along = savgol_filter(accel + shift, 8, 2)
    size = savgol_filter(np.hypot(accel, across), 8, 2)
    heading = np.unwrap(joined(before[:, 0], tracks[..., 2]))
    good = (along > -4.05).all(1) & (along < 2.40).all(1) & (abs(savgol_filter(across, 8, 2)) < 4.89).all(1)
    good &= (abs(derivative(size, 15, 2, 1)) < 8.37).all(1) & (abs(derivative(along, 15, 2, 1)) < 4.13).all(1)
    good &= (abs(derivative(heading, 5, 2, 1)) < 0.95).all(1) & (
        abs(derivative(heading, 5, 3, 2)) < 1.93
    ).all(1)
    assert 20 < good.sum() < 180
    assert found.hc is not None
    assert found.hc.tolist() == good.astype(float).tolist()

    def features(motions: Array) -> tuple[Array, ...]:
        force = savgol_filter(np.abs(motions[..., 4]), 8, 2)
        angle = np.unwrap(motions[..., 2])
        return force, derivative(force, 15, 2, 1), derivative(angle, 5, 2, 1), derivative(angle, 5, 2, 2)

    near = np.ones(200, bool)
    for now, then, most in zip(
        features(tracks[:, :-5]),
        features(motion(10.0 * TIMES, heading=3.0)[:, 5:]),
        (0.7, 0.5, 0.1, 0.1),
        strict=True,
    ):
        near &= np.sqrt(((now - then) ** 2).mean(1)) <= most
    assert 5 < near.sum() < 195
    assert found.ec is not None
    assert found.ec.tolist() == near.astype(float).tolist()


def test_hc_turning_counts_at_the_box_centre() -> None:
    # A circle of 0.9 rad/s: yaw rate within 0.95; along the heading the centre feels 1.461 * 0.9^2 = 1.18 m/s2 more.
    rate = 0.9
    track = motion(10.0 * TIMES, heading=rate * TIMES, accel=1.2)
    track[..., YAW_RATE] = rate
    before = np.column_stack(
        (rate * (np.arange(15) - 15) * 0.1, np.full(15, 1.2), np.zeros(15), np.full(15, rate), np.zeros(15))
    )
    back = EGO.rear_to_centre_m * rate**2
    limit = 2.40 - back
    for accel, wanted in ((limit - 0.01, 1.0), (limit + 0.01, 0.0)):
        track[..., 4], before[:, 1] = accel, accel
        assert only(score_extended(scene(), track, EpdmsInputs(past=before)).hc) == wanted
    track[..., 4], before[:, 1] = 0.0, 0.0
    faster = track.copy()
    faster[0, :, 2] = 0.96 * TIMES
    earlier = before.copy()
    earlier[:, 0] = 0.96 * (np.arange(15) - 15) * 0.1
    assert only(score_extended(scene(), track, EpdmsInputs(past=before)).hc) == 1.0
    assert only(score_extended(scene(), faster, EpdmsInputs(past=earlier)).hc) == 0.0


def test_ec_is_the_root_mean_square_of_the_change() -> None:
    def ec(track: Array, earlier: Array, gap_s: float = 0.5) -> float:
        return only(score_extended(scene(), track, EpdmsInputs(earlier_track=earlier[0], gap_s=gap_s)).ec)

    assert ec(STEADY, STEADY) == 1.0
    # A constant difference of acceleration has no jerk: its root mean square is itself, the bound 0.7 included.
    assert ec(motion(10.0 * TIMES, accel=0.69), STEADY) == 1.0
    assert ec(motion(10.0 * TIMES, accel=0.71), STEADY) == 0.0
    assert (
        ec(motion(10.0 * TIMES, accel=-1.0), motion(10.0 * TIMES, accel=1.0)) == 1.0
    )  # magnitudes, as NAVSIM has it
    # A ramp of 0.51 m/s3 through zero magnitude at the start: |a| = 0.51 t, jerk 0.51 > 0.5.
    ramp = motion(10.0 * TIMES, accel=0.51 * TIMES)
    level = motion(10.0 * TIMES, accel=0.51 * 1.75)  # keeps the acceleration's own difference below 0.7
    assert ec(ramp, level) == 0.0
    gentle = motion(10.0 * TIMES, accel=0.49 * TIMES)
    assert ec(gentle, motion(10.0 * TIMES, accel=0.49 * 1.75)) == 1.0
    # Headings: 0.09 and 0.11 rad/s apart; 0.09 and 0.11 rad/s2 apart with the rates kept small by their zero inside.
    assert ec(motion(10.0 * TIMES, heading=0.09 * TIMES), STEADY) == 1.0
    assert ec(motion(10.0 * TIMES, heading=0.11 * TIMES), STEADY) == 0.0
    for turn, wanted in ((0.09, 1.0), (0.11, 0.0)):
        bend = motion(10.0 * TIMES, heading=0.5 * turn * (TIMES - 1.75) ** 2)
        rates = turn * (TIMES[:36] - 1.75)
        assert math.sqrt(float((rates**2).mean())) > 0.09  # so bound by the rate, too, from 0.096 on
        assert ec(bend, STEADY) == wanted
    # Compared where they overlap: the earlier plan's step 5 is now.
    later = motion(10.0 * TIMES, accel=np.where(np.arange(41) < 5, 5.0, 0.0))
    assert ec(STEADY, later) == 1.0
    assert ec(STEADY, later, gap_s=0.1) == 0.0
    for bad in (0.0, 0.6, -0.5):
        with pytest.raises(ValueError, match="gap_s"):
            ec(STEADY, STEADY, bad)
    with pytest.raises(ValueError, match="earlier track"):
        ec(STEADY, STEADY[:, :40])


def test_epdms_is_the_weighted_sum_of_what_is_there() -> None:
    half = scene(reference_progress_m=50.0, reference_multiplier=1.0)
    wide = motion(10.0 * TIMES, 0.6)  # LK 0, EP 40 / 50
    bare = score_extended(half, wide)
    assert only(bare.ep) == pytest.approx(0.8)
    assert only(bare.epdms) == pytest.approx((5 * 0.8 + 5 + 0) / 12)
    past_known = score_extended(half, wide, EpdmsInputs(past=past()))
    assert only(past_known.epdms) == pytest.approx((5 * 0.8 + 5 + 0 + 2) / 14)
    everything = EpdmsInputs((LANE, LEFT), (), past(), motion(10.0 * TIMES, accel=3.0)[0])
    full = score_extended(half, wide, everything)
    assert absent(full) == ()
    assert only(full.ec) == 0.0
    assert only(full.epdms) == pytest.approx((5 * 0.8 + 5 + 0 + 2 + 0) / 16)
    halved = score_extended(half, motion(0.5 * TIMES, 3.5), EpdmsInputs(on_route_lanes=()))
    assert only(halved.ddc) == 1.0  # half a metre a second
    crawl = score_extended(half, motion(3.0 * TIMES, 3.5), EpdmsInputs(on_route_lanes=()))
    assert only(crawl.ddc) == 0.5
    assert only(crawl.epdms) == pytest.approx(0.5 * (5 * 12 / 50 + 5 + 0) / 12)


def test_a_plans_own_penalties_lower_ep_in_v1_only() -> None:
    cone = scene(
        agents=np.array([[[38.0, 0.0, 0.0, 0.0, 0.0]] * 2]),
        agents_t_s=np.array([0.0, 5.0]),
        agent_size_m=np.array([[0.5, 0.5]]),
        agent_kind=kind_codes([ActorKind.STATIC]),
        reference_progress_m=40.0,
        reference_multiplier=1.0,
    )
    assert float(score_tracks(cone, STEADY).ep[0]) == pytest.approx(0.5)
    assert float(score_extended(cone, STEADY).ep[0]) == pytest.approx(1.0)


def test_ttc_of_v2_ends_with_the_plan() -> None:
    # The front is 36.55 m away: within 0.9 s at 10 m/s from 2.8 s on; a car that appears there at 4.1 s is beyond v2.
    front = 0.5 * EGO.length_m
    place = (
        40.0 + front + 2.0 + 5.0
    )  # 5 m of room at 4 s, so a step of 0.6 s from 4 s meets it and none up to 3.1 s
    late = scene(
        agents=np.array([[[place, 0.0, 0.0, 0.0, 0.0]] * 2]),
        agents_t_s=np.array([0.0, 5.0]),
        agent_size_m=np.array([[4.0, 2.0]]),
        agent_kind=kind_codes([ActorKind.VEHICLE]),
    )
    assert float(score_tracks(late, STEADY).ttc[0]) == 0.0
    assert float(score_extended(late, STEADY).ttc[0]) == 1.0


def test_yaw_accelerations_equal_navsims() -> None:
    for one, vector in zip(scenes(), load(), strict=True):
        found = yaw_accelerations(track_plans(one.scene, one.plans_m))
        wanted = np.array([vector["tracked"][name] for name in one.names])[..., 10]
        assert np.abs(found - wanted).max() < 2e-3  # the file has four digits of the yaw rate
