"""Scoring of groups of 8 tracked plans: our kernels against numpy and shapely as NAVSIM uses them, in turns.

    python -P benchmarks/pdms.py [--groups 40] [--boxes 1000000]

Theirs, per group: polygons of all boxes made in bulk, per step a query of an STRtree of the others' boxes, corners in
prepared map polygons in bulk, scipy's filters, projection on the centre line. What NAVSIM keeps in its metric cache (the
others' trees and polygons, the map's) is made beforehand and not counted; ours counts everything from the scene on.
Two loads: the scenes of tests/data as they are, and 20 other road users on a road of three lanes (performance goal).
Processor time is counted, so that other processes do not stretch it. Verdicts are compared on everything that is timed,
and those of boxes on random and on touching pairs: there both sides are given the same corners.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from takeover.scoring.boxes import corners, overlap
from takeover.scoring.pdms import terms_of, track_plans
from takeover.scoring.scene import KINDS, STATIC, Polygons, Scene, kind_codes
from takeover.scoring.scene_file import read
from takeover.vocabulary import ActorKind, EgoState

VECTORS = Path(__file__).parents[1] / "tests" / "data" / "pdms_vectors.json.gz"
GROUP = 8
GOAL = 300.0
STEP_S, STEPS, FRAMES = 0.1, 41, 51
AHEAD = (0, 3, 6, 9)
Array = NDArray[np.float64]


def shapes(polygons: Polygons) -> NDArray[np.object_]:
    """Prepared polygons."""
    made = np.array([shapely.Polygon(polygon) for polygon in polygons], object)
    shapely.prepare(made)
    return made


class ShapelyScorer:
    """NC, DAC, TTC, C and progress of groups on one scene by shapely; what does not depend on plans is made here."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.drivable = shapes(scene.roadblock_polygons + scene.intersection_polygons)
        self.lanes = shapes(scene.lane_polygons)
        self.crossings = shapes(scene.intersection_polygons)
        self.line = shapely.LineString(scene.centerline_m)
        times = np.arange(FRAMES) * STEP_S
        states = np.stack(
            [[np.interp(times, scene.agents_t_s, column) for column in agent.T] for agent in scene.agents]
        )  # (N, 5, 51)
        self.places = states[:, :2].transpose(2, 0, 1)
        self.stopped = (scene.agent_kind == STATIC) | (np.hypot(states[:, 3, 0], states[:, 4, 0]) <= 0.05)
        sizes = np.broadcast_to(scene.agent_size_m[:, :, None], (len(states), 2, FRAMES))
        boxes = corners(np.concatenate((states[:, :3], sizes), axis=1).transpose(2, 0, 1))
        self.others = shapely.polygons(boxes)  # (51, N)
        self.trees = [shapely.STRtree(others) for others in self.others]

    def score(self, tracks: Array) -> Array:
        """(P, 5) of tracks (P, 41, 7): NC, DAC, TTC, C, progress."""
        car = self.scene.vehicle
        heading, speed = tracks[..., 2], np.abs(tracks[..., 3])
        forward = np.stack((np.cos(heading), np.sin(heading)), -1)
        centres = tracks[..., :2] + car.rear_to_centre_m * forward
        size = np.broadcast_to((car.length_m, car.width_m), (*heading.shape, 2))
        outline = corners(np.concatenate((centres, heading[..., None], size), -1))
        loose, off, crossing = self._areas(outline, tracks[..., :2])
        moved = outline[:, :, None] + (
            np.array(AHEAD)[:, None, None] * STEP_S * (speed[..., None] * forward)[:, :, None, None]
        )
        polygons = shapely.polygons(moved)  # (P, 41, 4)
        nc, ttc = np.ones(len(tracks)), np.ones(len(tracks))
        self._hits(tracks, polygons, outline, loose, nc)
        self._ttc(tracks, polygons, loose | crossing, ttc)
        ends = shapely.line_locate_point(self.line, shapely.points(centres[:, [0, -1]]))
        out = np.stack(
            (nc, ~off.any(1), ttc, self._comfort(tracks), np.maximum(ends[:, 1] - ends[:, 0], 0)), 1
        )
        return np.asarray(out, np.float64)

    def _areas(self, outline: Array, rear: Array) -> tuple[NDArray[np.bool_], ...]:
        def inside(polygons: NDArray[np.object_], xy: Array) -> NDArray[np.bool_]:
            return np.stack([shapely.contains_xy(polygon, xy[..., 0], xy[..., 1]) for polygon in polygons])

        off = ~inside(self.drivable, outline).any(0).all(-1)
        held = inside(self.lanes, outline).sum(-1)
        several = ((held > 0).sum(0) > 1) & (held != 4).all(0)
        crossing = inside(self.crossings, rear).any(0) if len(self.crossings) else np.zeros_like(off)
        return off | several, off, crossing

    def _bearing(self, track: Array, step: int, place: Array) -> float:
        x, y, yaw = track[step, :3]
        return abs(math.remainder(math.atan2(place[1] - y, place[0] - x) - yaw, math.tau))

    def _hits(
        self,
        tracks: Array,
        polygons: NDArray[np.object_],
        outline: Array,
        loose: NDArray[np.bool_],
        nc: Array,
    ) -> None:
        ignored: set[tuple[int, int]] = set()
        for t in range(STEPS):
            for p, a in self.trees[t].query(polygons[:, t, 0], predicate="intersects").T.tolist():
                if (p, a) in ignored:
                    continue
                if abs(tracks[p, t, 3]) <= 0.05:
                    fault = False
                elif self.stopped[a]:
                    fault = True
                elif self._bearing(tracks[p], t, self.places[t, a]) > math.radians(150.0):
                    fault = False
                else:
                    bumper = shapely.LineString(outline[p, t, :2])
                    fault = bool(loose[p, t]) or bool(bumper.intersects(self.others[t, a]))
                if fault:
                    nc[p] = min(nc[p], 0.5 if self.scene.agent_kind[a] == STATIC else 0.0)
                else:
                    ignored.add((p, a))

    def _ttc(self, tracks: Array, polygons: NDArray[np.object_], free: NDArray[np.bool_], ttc: Array) -> None:
        ignored: set[tuple[int, int]] = set()
        for t in range(STEPS):
            for k, ahead in enumerate(AHEAD):
                for p, a in self.trees[t + ahead].query(polygons[:, t, k], predicate="intersects").T.tolist():
                    if (p, a) in ignored or abs(tracks[p, t, 3]) < 0.005:
                        continue
                    angle = self._bearing(tracks[p], t, self.places[t + ahead, a])
                    if angle < math.radians(30.0) or (free[p, t] and not angle > math.radians(150.0)):
                        ttc[p] = 0.0
                    else:
                        ignored.add((p, a))

    def _comfort(self, tracks: Array) -> NDArray[np.bool_]:
        accel, heading = tracks[..., 4], np.unwrap(tracks[..., 2], axis=1)
        along = savgol_filter(accel, 41, 2)
        jerk, size_jerk = (
            savgol_filter(savgol_filter(signal, 8, 2), 41, 2, deriv=1, delta=STEP_S)
            for signal in (accel, np.abs(accel))
        )
        rate = savgol_filter(heading, 5, 2, deriv=1, delta=STEP_S)
        turn = savgol_filter(heading, 5, 3, deriv=2, delta=STEP_S)
        good = (along > -4.05) & (along < 2.40) & (np.abs(jerk) < 4.13) & (np.abs(size_jerk) < 8.37)
        good &= (np.abs(rate) < 0.95) & (np.abs(turn) < 1.93)
        return np.asarray(good.all(1))


def busy_road(rng: np.random.Generator) -> tuple[Scene, Array]:
    """20 others on three lanes, and a group of tracks among them."""
    n = 20
    times = np.linspace(0.0, 5.0, 11)
    lane = np.array([[-100.0, -1.75], [300.0, -1.75], [300.0, 1.75], [-100.0, 1.75]])
    x, row = rng.uniform(-40, 80, n), rng.integers(-1, 2, n)
    x += np.where((row == 0) & (np.abs(x) < 12), 30.0, 0.0)
    speed = rng.uniform(0, 14, n) * (rng.uniform(size=n) > 0.2)
    states = np.zeros((n, 11, 5))
    states[..., 0] = x[:, None] + speed[:, None] * times
    states[..., 1] = 3.5 * row[:, None] + rng.normal(0, 0.3, n)[:, None]
    states[..., 3] = speed[:, None]
    kinds = [KINDS[k] if k < 4 else ActorKind.VEHICLE for k in rng.integers(0, 12, n)]
    scene = Scene(
        ego=EgoState(0.0, 0.0, 0.0, 9.0),
        agents_t_s=times,
        agents=states,
        agent_size_m=np.tile([4.5, 1.9], (n, 1)),
        agent_kind=kind_codes(kinds),
        centerline_m=np.stack((np.arange(-100.0, 301.0), np.zeros(401)), 1),
        roadblock_polygons=(np.array([[-100.0, -5.25], [300.0, -5.25], [300.0, 5.25], [-100.0, 5.25]]),),
        lane_polygons=(lane, lane + np.array([0.0, 3.5]), lane - np.array([0.0, 3.5])),
    )
    along = 9.0 * np.arange(1, 9) * 0.5 + rng.normal(0, 0.5, (GROUP, 1)) * np.arange(1, 9)
    across = rng.normal(0, 1.2, (GROUP, 1)) * (np.arange(1, 9) / 8) ** 2
    return scene, track_plans(scene, np.stack((along, across), -1))


def race(name: str, groups: list[tuple[Scene, Array]], rounds: int) -> float:
    """Time both on every group in turns; print; how many times faster ours are."""
    theirs = [ShapelyScorer(scene) for scene, _ in groups]
    differ = 0
    for (scene, tracks), scorer in zip(groups, theirs, strict=True):
        ours = np.stack(terms_of(scene, tracks), 1)
        found = scorer.score(tracks)
        differ += int((ours[:, :4] != found[:, :4]).sum() + (np.abs(ours[:, 4] - found[:, 4]) > 1e-6).sum())
    ours_us, theirs_us = np.empty((rounds, len(groups))), np.empty((rounds, len(groups)))
    repeat = 20  # ours is short against the clock's own ticks
    for turn in range(rounds):
        for i, ((scene, tracks), scorer) in enumerate(zip(groups, theirs, strict=True)):
            began = time.process_time()
            for _ in range(repeat):
                terms_of(scene, tracks)
            middle = time.process_time()
            scorer.score(tracks)
            ours_us[turn, i] = 1e6 * (middle - began) / repeat
            theirs_us[turn, i] = 1e6 * (time.process_time() - middle)
    for side, took in (("shapely", theirs_us), ("ours", ours_us)):
        each = float(took.mean())
        print(f"{name:<10} {side:<8} {each:9.1f} us a group of {GROUP}   {1e6 * GROUP / each:10,.0f} plans/s")
    ratio = float(theirs_us.mean() / ours_us.mean())
    best = float(theirs_us.min(axis=0).sum() / ours_us.min(axis=0).sum())
    print(
        f"{name:<10} {ratio:.0f} times faster, {best:.0f} by each group's best round (goal {GOAL:.0f}); ",
        end="",
    )
    print(f"{differ} of {5 * GROUP * len(groups)} values differ")
    return ratio


@njit
def _pairs(one: Array, two: Array, turns: Array, out: NDArray[np.bool_]) -> None:
    for i in range(len(one)):
        a, b = one[i], two[i]
        cos, sin, other_cos, other_sin = turns[i]
        out[i] = overlap(
            a[0], a[1], cos, sin, 0.5 * a[3], 0.5 * a[4],
            b[0], b[1], other_cos, other_sin, 0.5 * b[3], 0.5 * b[4],
        )  # fmt: skip


def disagreements(one: Array, two: Array) -> tuple[int, int]:
    """Pairs on which we and shapely disagree, and pairs that meet; sines by numpy for both."""
    turns = np.stack((np.cos(one[:, 2]), np.sin(one[:, 2]), np.cos(two[:, 2]), np.sin(two[:, 2])), 1)
    found = np.empty(len(one), np.bool_)
    _pairs(one, two, turns, found)
    wanted = shapely.intersects(shapely.polygons(corners(one)), shapely.polygons(corners(two)))
    return int((found != wanted).sum()), int(wanted.sum())


def random_boxes(rng: np.random.Generator, n: int, far_m: float = 0.0) -> Array:
    """(N, 5) near each other."""
    boxes = rng.uniform([-8, -8, -math.pi, 0.3, 0.3], [8, 8, math.pi, 6, 3], (n, 5))
    boxes[:, :2] += far_m
    return boxes


def touching_boxes(rng: np.random.Generator, n: int, far_m: float) -> tuple[Array, Array]:
    """A corner of the second on an edge or (a seventh) a corner of the first; a third lie flush, edge on edge."""
    one, two = random_boxes(rng, n, far_m), random_boxes(rng, n)
    two[::3, 2] = one[::3, 2] + math.pi / 2 * rng.integers(0, 4, len(two[::3]))
    two[:, :2] = 0.0
    rows, edge = np.arange(n), rng.integers(0, 4, n)
    start, end = corners(one)[rows, edge], corners(one)[rows, (edge + 1) % 4]
    outward = np.stack(((start - end)[:, 1], (end - start)[:, 0]), 1)
    nearest = np.argmin((corners(two) * outward[:, None]).sum(-1), 1)
    share = np.where(rows % 7 == 0, 0.0, rng.uniform(size=n))
    two[:, :2] = start + share[:, None] * (end - start) - corners(two)[rows, nearest]
    return one, two


def main() -> None:
    """Measure, print, and end with 1 where the goal is missed or a verdict differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--groups", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--boxes", type=int, default=1_000_000)
    wanted = parser.parse_args()
    rng = np.random.default_rng(0)
    files = read(VECTORS)[: wanted.groups]
    recorded = [(one.scene, track_plans(one.scene, one.plans_m[:GROUP])) for one in files]
    crowded = [busy_road(rng) for _ in range(wanted.groups)]
    ratios = [race("vectors", recorded, wanted.rounds), race("20 others", crowded, wanted.rounds)]
    wrong = 0
    for start in range(0, wanted.boxes, 100_000):
        n = min(100_000, wanted.boxes - start)
        wrong += disagreements(random_boxes(rng, n), random_boxes(rng, n))[0]
    print(f"boxes: {wrong} of {wanted.boxes:,} random pairs disagree with shapely")
    for far_m in (0.0, 1e3, 4e6):
        differ, hits = disagreements(*touching_boxes(rng, 10_000, far_m))
        wrong += differ
        print(
            f"boxes: {differ} of 10,000 touching pairs {far_m:,.0f} m from the origin disagree; {hits} meet after rounding"
        )
    sys.exit(1 if wrong or min(ratios) < GOAL else 0)


if __name__ == "__main__":
    main()
