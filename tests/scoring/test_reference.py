"""The kernels against plain numpy on made-up traffic, and boxes against exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from takeover.scoring.boxes import corners, overlaps
from takeover.scoring.pdms import score_tracks, terms_of, track_plans
from takeover.scoring.scene import Scene, kind_codes
from takeover.scoring.touching import side
from takeover.vocabulary import ActorKind, EgoState

from .reference import verdicts

KINDS = (ActorKind.VEHICLE, ActorKind.WALKER, ActorKind.CYCLIST, ActorKind.STATIC)


def traffic(rng: np.random.Generator) -> Scene:
    """Two lanes and an intersection; up to five others near the ego, some standing, some not there all the time."""
    n = int(rng.integers(0, 6))
    times = np.sort(np.concatenate(([0.0], rng.uniform(0.2, 4.8, 5), [5.0])))
    yaw = rng.choice([0.0, math.pi, math.pi / 2, -math.pi / 2], n) + rng.normal(0, 0.2, n)
    speed = rng.uniform(0, 14, n) * (rng.uniform(size=n) > 0.3)
    at = np.stack((rng.uniform(-15, 45, n), rng.uniform(-4, 8, n)), 1)
    velocity = speed[:, None] * np.stack((np.cos(yaw), np.sin(yaw)), 1)
    states = np.empty((n, len(times), 5))
    states[..., :2] = at[:, None] + times[:, None] * velocity[:, None]
    states[..., 2] = yaw[:, None] + rng.normal(0, 0.1, (n, len(times)))
    states[..., 3:] = velocity[:, None]
    states[rng.uniform(size=(n, len(times))) < 0.05] = np.nan
    lane = np.array([[-50.0, -1.75], [20.0, -1.75], [150.0, -1.75], [150.0, 1.75], [-50.0, 1.75]])
    crossing = np.array([[22.0, -12.0], [38.0, -12.0], [38.0, 14.0], [22.0, 14.0]])
    road = np.array([[-50.0, -1.75], [150.0, -1.75], [150.0, 5.25], [-50.0, 5.25]])
    turn = rng.uniform(-math.pi, math.pi)
    place = rng.uniform(-500, 500, 2)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    states[..., :2] = states[..., :2] @ rotation + place
    states[..., 2] += turn
    states[..., 3:] = states[..., 3:] @ rotation
    ego = EgoState(*place, turn + rng.normal(0, 0.05), float(rng.choice([0.0, 3.0, 8.0, 13.0])))
    return Scene(
        ego=ego,
        agents_t_s=times,
        agents=states,
        agent_size_m=rng.uniform([0.4, 0.4], [6.0, 2.2], (n, 2)),
        agent_kind=kind_codes([KINDS[int(k)] for k in rng.integers(0, 4, n)]),
        centerline_m=np.array([[-50.0, 0.0], [150.0, 0.0]]) @ rotation + place,
        roadblock_polygons=(road @ rotation + place,),
        lane_polygons=(lane @ rotation + place, (lane + np.array([0.0, 3.5])) @ rotation + place),
        intersection_polygons=(crossing @ rotation + place,),
    )


def plans(rng: np.random.Generator, speed: float) -> NDArray[np.float64]:
    """(8, 8, 2) paces and bends about the present speed."""
    along = np.cumsum(
        np.maximum(speed + np.outer(rng.normal(0, 3, 8), np.arange(1, 9) / 4), 0.0) * 0.5, axis=1
    )
    across = rng.normal(0, 1.5, (8, 1)) * (np.arange(1, 9) / 8) ** 2
    return np.stack((along, across), -1)


def test_kernels_equal_plain_numpy() -> None:
    rng = np.random.default_rng(11)
    seen = []
    for _ in range(12):
        scene = traffic(rng)
        tracks = track_plans(scene, plans(rng, scene.ego.speed_mps))
        nc, dac, ttc, comfort, _ = terms_of(scene, tracks)
        wanted = np.array([verdicts(scene, track) for track in tracks])
        assert np.stack((nc, dac, ttc, comfort), 1).tolist() == wanted.tolist()
        seen.append(wanted)
    shares = np.concatenate(seen).mean(axis=0)
    assert ((shares > 0.05) & (shares < 0.95)).all(), shares  # every verdict both ways


def test_a_batch_scores_like_its_plans_one_by_one() -> None:
    rng = np.random.default_rng(5)
    scene = traffic(rng)
    tracks = track_plans(scene, plans(rng, 8.0))
    together = score_tracks(scene, tracks).pdms
    assert together.tolist() == [float(score_tracks(scene, track[None]).pdms[0]) for track in tracks]


near = st.integers(-4, 4).map(lambda k: k * 2.0**-52)
coordinate = st.one_of(st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-60), st.integers(-3, 3).map(float))


@settings(max_examples=300, deadline=None)
@given(st.tuples(*[coordinate] * 4), st.floats(-2, 2), near, near)
def test_side_is_exact(
    line: tuple[float, float, float, float], share: float, more_x: float, more_y: float
) -> None:
    ax, ay, bx, by = line
    px, py = (ax + share * (bx - ax)) * (1 + more_x), (ay + share * (by - ay)) * (1 + more_y)
    a, b, c, d, e, f = map(Fraction, (ax, ay, bx, by, px, py))
    exact = (a - e) * (d - f) - (b - f) * (c - e)
    assert side(ax, ay, bx, by, px, py) == (exact > 0) - (exact < 0)


def _exactly_meet(one: NDArray[np.float64], two: NDArray[np.float64]) -> bool:
    """Separating axes of convex quadrilaterals in rational numbers; their edges need not be perpendicular."""
    p, q = ([(Fraction(x), Fraction(y)) for x, y in shape.tolist()] for shape in (one, two))
    for shape in (p, q):
        for i in range(4):
            (x, y), (u, v) = shape[i], shape[(i + 1) % 4]
            nx, ny = v - y, x - u
            a, b = [nx * s + ny * t for s, t in p], [nx * s + ny * t for s, t in q]
            if max(a) < min(b) or max(b) < min(a):
                return False
    return True


def touching(
    rng: np.random.Generator, n: int, far_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pairs whose second box has a corner on an edge or a corner of the first; a third of them lie flush."""
    one = np.column_stack(
        (
            rng.uniform(-9, 9, (n, 2)) + far_m,
            rng.uniform(-4, 4, n),
            rng.uniform(0.3, 6, n),
            rng.uniform(0.3, 3, n),
        )
    )
    two = np.column_stack(
        (np.zeros((n, 2)), rng.uniform(-4, 4, n), rng.uniform(0.3, 6, n), rng.uniform(0.3, 3, n))
    )
    two[::3, 2] = one[::3, 2] + math.pi / 2 * rng.integers(0, 4, len(two[::3]))
    rows, edge = np.arange(n), rng.integers(0, 4, n)
    start, end = corners(one)[rows, edge], corners(one)[rows, (edge + 1) % 4]
    share = np.where(rng.uniform(size=n) < 0.15, 0.0, rng.uniform(size=n))
    outward = np.stack(((start - end)[:, 1], (end - start)[:, 0]), 1)
    nearest = np.argmin((corners(two) * outward[:, None]).sum(-1), 1)
    two[:, :2] = start + share[:, None] * (end - start) - corners(two)[rows, nearest]
    return one, two


@pytest.mark.parametrize("far_m", [0.0, 1e3, 4e6])
def test_touching_boxes_meet_where_their_corners_do(far_m: float) -> None:
    one, two = touching(np.random.default_rng(2), 300, far_m)
    hits = [bool(overlaps(a, [b])[0]) for a, b in zip(one, two, strict=True)]
    assert hits == [_exactly_meet(a, b) for a, b in zip(corners(one), corners(two), strict=True)]
    assert 60 < sum(hits) < 270  # rounding parts some and not others


def test_boxes_equal_shapely() -> None:
    shapely = pytest.importorskip("shapely")
    rng = np.random.default_rng(4)
    n = 4000
    low, high = [-8, -8, -4, 0.3, 0.3], [8, 8, 4, 6, 3]
    pairs = (rng.uniform(low, high, (n, 5)), rng.uniform(low, high, (n, 5)))
    for one, two in (pairs, touching(rng, n, 0.0)):
        wanted = shapely.intersects(shapely.polygons(corners(one)), shapely.polygons(corners(two)))
        assert [bool(overlaps(a, [b])[0]) for a, b in zip(one, two, strict=True)] == wanted.tolist()
