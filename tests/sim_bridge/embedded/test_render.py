from __future__ import annotations

import math

import carla
import numpy as np
import pytest

from takeover.sim_bridge.embedded.maps import load_xodr
from takeover.sim_bridge.embedded.maps.signals import read_signals
from takeover.sim_bridge.embedded.render import (
    ActorBatch,
    LightBatch,
    Look,
    MapModel,
    RenderedView,
    Renderer,
    WeatherLook,
    look_of,
    warm,
)
from takeover.sim_bridge.embedded.render.batches import SKY_DEPTH_M, LightState, Tag
from takeover.sim_bridge.embedded.render.mesh import Mesh
from takeover.sim_bridge.embedded.render.renderer import camera_axes

EXTENTS = {
    Look.CAR: (2.45, 1.05, 0.75),
    Look.WALKER: (0.19, 0.19, 0.93),
    Look.BOX: (1.0, 3.0, 2.0),
    Look.VAN: (2.9, 1.0, 1.2),
}
DAY, NONE = WeatherLook(), LightBatch.empty()
EYE = (0.0, 0.0, 1.6, 0.0, 0.0, 0.0)  # on the ground, looking along x
Row = tuple[Look, float, float, float]  # look, x, y, yaw


def batch(
    *rows: Row, colour: tuple[int, int, int] = (200, 0, 200), brake: bool = False, indicator: int = 0
) -> ActorBatch:
    """Actors with the ids 70000, 70001, ..."""
    n = len(rows)
    return ActorBatch(
        np.arange(70000, 70000 + n).astype(np.uint32),
        np.array([r[0] for r in rows], np.uint8),
        np.array([(r[1], r[2], 0.0, r[3]) for r in rows]).reshape(-1, 4),
        np.array([EXTENTS[r[0]] for r in rows]).reshape(-1, 3),
        np.full((n, 3), colour, np.uint8),
        np.full(n, brake),
        np.full(n, indicator, np.int8),
    )


@pytest.fixture(scope="module")
def plain() -> Renderer:
    """A map of nothing but grass."""
    faces = Mesh().freeze()
    return Renderer(MapModel("plain", faces, np.array([0, len(faces)]), np.zeros((1, 4)), 0.0))


@pytest.fixture(scope="module")
def curves() -> Renderer:
    return Renderer(MapModel.from_xodr(load_xodr("TownCurves"), "TownCurves"))


def small(renderer: Renderer, actors: ActorBatch, weather: WeatherLook = DAY) -> RenderedView:
    """The policy's picture: 192 x 96, 76 degrees."""
    return renderer.render(EYE, 192, 96, 76.0, actors, weather, NONE)


def test_warm_compiles_every_kernel_once() -> None:
    assert warm() == 6


def test_axes_agree_with_the_client_library() -> None:
    pitch, yaw, roll = 0.2, -1.1, 0.3
    turn = carla.Transform(
        carla.Location(), carla.Rotation(math.degrees(pitch), math.degrees(yaw), math.degrees(roll))
    )
    ours = camera_axes(pitch, yaw, roll)
    for row, vector in zip(
        ours, (turn.get_forward_vector(), turn.get_right_vector(), turn.get_up_vector()), strict=True
    ):
        assert row == pytest.approx((vector.x, vector.y, vector.z), abs=1e-6)


@pytest.mark.parametrize("size", [(192, 96), (640, 320)])
@pytest.mark.parametrize("yaw", [0.0, 0.5])
def test_depth_of_a_wall(plain: Renderer, size: tuple[int, int], yaw: float) -> None:
    width, height = size
    view = plain.render(EYE, width, height, 76.0, batch((Look.BOX, 20.0, 0.0, yaw)), DAY, NONE)
    focal = width / 2 / math.tan(math.radians(38.0))
    column, row = width // 2 - width // 20, height // 2 + 2
    ray = (column + 0.5 - width / 2) / focal
    # The rear face: points p with (p - c) . f = -1 for the heading f; p = t * (1, ray).
    c, s = math.cos(yaw), math.sin(yaw)
    expected = (20.0 * c - 1.0) / (c + ray * s)
    pixel = 0.5 / focal * 20.0
    assert view.instance[row, column] == 70000
    assert view.depth_m[row, column] == pytest.approx(expected, abs=0.01 + pixel * abs(s))


def test_depth_of_a_car_and_of_the_ground(curves: Renderer) -> None:
    view = curves.render(
        (50.0, 5.25, 1.6, 0.0, 0.0, 0.0), 640, 320, 76.0, batch((Look.CAR, 70.0, 5.25, 0.0)), DAY, NONE
    )
    focal = 320 / math.tan(math.radians(38.0))
    row = 160 + int(focal * 0.9 / 17.6)  # 0.7 m above the ground at the rear
    assert view.depth_m[row, 320] == pytest.approx(20.0 - 2.4, abs=0.08)
    row = 300
    assert view.semantic[row, 320] == Tag.ROADS
    assert view.depth_m[row, 320] == pytest.approx(1.6 * focal / (row + 0.5 - 160), rel=2e-3)
    assert view.depth_m[0, 320] == SKY_DEPTH_M
    assert view.semantic[0, 320] == Tag.SKY


def test_ids_fit_the_colours(plain: Renderer) -> None:
    view = small(plain, batch((Look.BOX, 14.0, -3.0, 0.3), (Look.BOX, 25.0, 6.0, 0.0)))
    blue, green, red = (view.bgra[..., k].astype(int) for k in range(3))
    painted = (red > green + 30) & (blue > green + 20)
    owned = view.instance >= 70000
    assert (painted & owned).sum() > 300
    assert (painted ^ owned).sum() < 0.06 * owned.sum()  # only mixed pixels at the outline
    assert set(np.unique(view.instance)) == {0, 70000, 70001}
    assert set(np.unique(view.semantic[owned])) == {Tag.STATIC}


@pytest.mark.parametrize("yaw", [0.0, 0.8, 1.57, 3.14, -1.57])
@pytest.mark.parametrize("x", [20.0, 20.3, 20.8])
def test_a_walker_at_20_m_is_seen(curves: Renderer, yaw: float, x: float) -> None:
    eye = (50.0, 5.25, 1.6, 0.0, 0.0, 0.0)
    view = curves.render(eye, 192, 96, 76.0, batch((Look.WALKER, 50.0 + x, 5.25, yaw)), DAY, NONE)
    rows, columns = np.nonzero(view.instance == 70000)
    assert len(np.unique(columns)) >= 3
    assert len(np.unique(rows)) >= 8
    assert len(rows) >= 16


@pytest.mark.parametrize("distance", [10.0, 20.0, 40.0])
@pytest.mark.parametrize("altitude", [45.0, -30.0])
def test_brake_lights_show(plain: Renderer, distance: float, altitude: float) -> None:
    weather = WeatherLook(sun_altitude_deg=altitude)
    row = (Look.CAR, distance + 2.45, 0.0, 0.0)
    off, on = (
        small(plain, batch(row, colour=(90, 90, 96), brake=b), weather).bgra.astype(int)
        for b in (False, True)
    )
    redder = (on[..., 2] - off[..., 2] > 50) & (on[..., 2] > on[..., 1] + 60)
    assert redder.sum() >= {10.0: 30, 20.0: 8, 40.0: 2}[distance]
    assert not np.any(np.abs(on - off)[:40])


def test_brake_lights_are_hidden_behind_a_van(plain: Renderer) -> None:
    rows = ((Look.CAR, 22.0, 0.0, 0.0), (Look.VAN, 12.0, 0.0, 0.0))
    views = [small(plain, batch(*rows, brake=b)) for b in (False, True)]
    assert not np.any(views[0].instance == 70000)
    assert np.any(views[0].bgra != views[1].bgra)  # the van's own lamps


def test_indicators_show_on_their_side(plain: Renderer) -> None:
    row = (Look.CAR, 12.0, 0.0, 0.0)
    plain_view, left, right = (small(plain, batch(row, indicator=k)).bgra.astype(int) for k in (0, -1, 1))
    changed = [np.nonzero(np.abs(v - plain_view).sum(axis=2) > 60)[1] for v in (left, right)]
    assert len(changed[0]) > 0
    assert changed[0].max() < 96 <= changed[1].min()


def test_same_input_same_bytes(curves: Renderer) -> None:
    weather = WeatherLook(precipitation=60.0, fog_density=20.0)
    actors = batch((Look.CAR, 70.0, 5.25, 0.1), (Look.WALKER, 66.0, 9.0, 1.0))
    eye = (50.0, 5.25, 1.6, -0.02, 0.05, 0.01)
    other = Renderer(MapModel.from_xodr(load_xodr("TownCurves"), "TownCurves"))
    views = [r.render(eye, 192, 96, 76.0, actors, weather, NONE) for r in (curves, curves, other)]
    for view in views[1:]:
        assert view.bgra.tobytes() == views[0].bgra.tobytes()
        assert view.depth_m.tobytes() == views[0].depth_m.tobytes()
        assert view.instance.tobytes() == views[0].instance.tobytes()
        assert view.semantic.tobytes() == views[0].semantic.tobytes()


def test_the_carrier_of_the_camera_is_left_out(plain: Renderer) -> None:
    actors = batch((Look.CAR, 0.0, 0.0, 0.0), (Look.BOX, 20.0, 0.0, 0.0))
    view = plain.render((1.2, 0.0, 1.6, 0.0, 0.0, 0.0), 192, 96, 76.0, actors, DAY, NONE, exclude_id=70000)
    assert set(np.unique(view.instance)) == {0, 70001}


def test_markings_lie_on_the_road(curves: Renderer) -> None:
    carla_map = carla.Map("TownCurves", load_xodr("TownCurves"))
    point = carla_map.get_waypoint_xodr(1, -2, 60.0)
    place = point.transform.location
    view = curves.render(
        (place.x - 12.0, place.y, 1.6, 0.0, 0.0, 0.0), 640, 320, 76.0, ActorBatch.empty(), DAY, NONE
    )
    focal = 320 / math.tan(math.radians(38.0))
    column, row = int(320 + focal * 1.75 / 12.0), int(160 + focal * 1.6 / 12.0)
    assert view.semantic[row, column] == Tag.ROAD_LINE  # the solid line on the right of the outer lane
    assert view.bgra[row, column, :3].min() > 190
    assert view.semantic[row, 320] == Tag.ROADS
    tags = set(np.unique(view.semantic))
    assert {Tag.SIDEWALKS, Tag.BUILDING, Tag.VEGETATION, Tag.TERRAIN, Tag.SKY} <= tags


def test_scenery_keeps_off_the_lanes() -> None:
    for name in ("TownCurves", "TownCross", "TownHighway"):
        text = load_xodr(name)
        faces, carla_map = MapModel.from_xodr(text, name).faces, carla.Map(name, text)
        solid = np.isin(faces.tag, [Tag.BUILDING, Tag.VEGETATION, Tag.GUARD_RAIL]) & (
            faces.corners[..., 2].min(axis=1) < 2.5
        )
        assert solid.sum() > 300
        for x, y, _ in faces.corners[solid][:, :2].reshape(-1, 3)[::3]:
            point = carla_map.get_waypoint(
                carla.Location(float(x), float(y)), lane_type=carla.LaneType.Driving
            )
            assert math.hypot(point.transform.location.x - x, point.transform.location.y - y) > 1.6


@pytest.mark.parametrize(("state", "channel"), [(LightState.RED, 2), (LightState.GREEN, 1)])
def test_traffic_lights_show_their_state(state: LightState, channel: int) -> None:
    text = load_xodr("TownCross")
    carla_map = carla.Map("TownCross", text)
    renderer = Renderer(MapModel.from_xodr(text, "TownCross"))
    signals = read_signals(carla_map, text)
    lights = LightBatch(
        np.arange(900, 900 + len(signals)).astype(np.uint32),
        np.array([s.pole for s in signals]),
        np.full(len(signals), state, np.uint8),
    )
    x, y, z, yaw = signals[0].stops[0]
    for back in (1.5, 15.0):  # at the line, and on the way to it
        eye = (x - back * math.cos(yaw), y - back * math.sin(yaw), z + 1.6, 0.0, yaw, 0.0)
        view = renderer.render(eye, 192, 96, 76.0, ActorBatch.empty(), DAY, lights)
        lit = view.bgra[view.instance == 900].astype(int)
        others = np.delete(lit[:, :3], channel, axis=1).max(axis=1)
        assert (lit[:, channel] - others > 80).sum() >= 3


def test_weather_changes_the_picture(curves: Renderer) -> None:
    eye = (50.0, 5.25, 1.6, 0.0, 0.0, 0.0)
    looks = {
        "day": DAY,
        "night": WeatherLook(sun_altitude_deg=-40.0),
        "fog": WeatherLook(fog_density=80.0),
        "rain": WeatherLook(precipitation=80.0, wetness=80.0),
    }
    views = {
        k: curves.render(eye, 192, 96, 76.0, ActorBatch.empty(), w, NONE).bgra[..., :3].astype(float)
        for k, w in looks.items()
    }
    assert views["night"][:40].mean() < 0.5 * views["day"][:40].mean()
    assert views["fog"][30:48].std() < 0.6 * views["day"][30:48].std()
    assert np.abs(views["rain"] - views["day"]).mean() > 5.0


@pytest.mark.parametrize("pitch", [-1.57, -0.7, 0.4, 1.57])
def test_any_view_is_finite(curves: Renderer, pitch: float) -> None:
    actors = batch((Look.CAR, 50.0, 5.25, 0.4), (Look.WALKER, 50.3, 5.25, 0.0))
    for eye in (
        (50.0, 5.25, 0.5, pitch, 0.3, 0.6),
        (50.0, 5.25, -3.0, pitch, 0.3, 0.0),
        (5000.0, 0.0, 80.0, pitch, 2.0, 0.0),
    ):
        view = curves.render(eye, 100, 60, 110.0, actors, DAY, NONE)
        assert np.isfinite(view.depth_m).all()
        assert view.depth_m.min() > 0.0


def test_looks_of_blueprints() -> None:
    assert look_of("vehicle.lincoln.mkz_2020") == Look.CAR
    assert look_of("vehicle.diamondback.century") == Look.BICYCLE
    assert look_of("vehicle.kawasaki.ninja") == Look.MOTORCYCLE
    assert look_of("vehicle.carlamotors.firetruck") == Look.TRUCK
    assert look_of("vehicle.mercedes.sprinter") == Look.VAN
    assert look_of("walker.pedestrian.0012") == Look.WALKER
    assert look_of("static.prop.trafficcone01") == Look.CONE
    assert look_of("static.prop.streetbarrier") == Look.BARRIER
    assert look_of("static.prop.trafficwarning") == Look.WARNING_SIGN
    assert look_of("static.prop.box01") == Look.BOX
