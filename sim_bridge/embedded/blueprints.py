"""The blueprint library: what can be spawned, with CARLA's names, attributes and sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from ...scoring.kinematics import EGO, VehicleParams
from .wire_stream import SensorType


class Kind(IntEnum):
    """What an actor is to the world."""

    OTHER = 0
    VEHICLE = 1
    WALKER = 2
    PROP = 3
    SENSOR = 4
    LIGHT = 5


class AttributeType(IntEnum):
    """CARLA's attribute types."""

    BOOL = 1
    INT = 2
    FLOAT = 3
    STRING = 4
    COLOR = 5


class Tag(IntEnum):
    """CARLA's semantic tags of actors."""

    NONE = 0
    TRAFFIC_LIGHT = 7
    PEDESTRIAN = 12
    CAR = 14
    TRUCK = 15
    MOTORCYCLE = 18
    BICYCLE = 19
    STATIC = 20
    DYNAMIC = 21


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute; only modifiable ones travel back with a spawn request changed."""

    name: str
    type: AttributeType
    value: str
    recommended: tuple[str, ...] = ()
    modifiable: bool = True


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One thing that can be spawned.

    Attributes:
        id: CARLA's blueprint id.
        kind: What it is to the world.
        extent_m: Half length, width and height of its box.
        tag: Semantic tag.
        attributes: Name to attribute.
        mass_kg: Of vehicles and props.
        params: Of vehicles.
        sensor: Serialiser of sensors.
    """

    id: str
    kind: Kind
    extent_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tag: Tag = Tag.NONE
    attributes: tuple[Attribute, ...] = ()
    mass_kg: float = 0.0
    params: VehicleParams | None = None
    sensor: SensorType | None = None

    @property
    def box_z_m(self) -> float:
        """Height of the box centre above the actor's origin; a walker's origin is its middle."""
        return 0.0 if self.kind is Kind.WALKER else self.extent_m[2]

    def definition(self, uid: int) -> list[Any]:
        """As `ActorDefinition` on the wire."""
        attributes = [
            [a.name, int(a.type), a.value, list(a.recommended), a.modifiable, False] for a in self.attributes
        ]
        return [uid, self.id, self.id.replace(".", ","), attributes]


def _role(value: str) -> Attribute:
    return Attribute(
        "role_name", AttributeType.STRING, value, ("autopilot", "scenario", "ego_vehicle", "hero")
    )


# id, length, width, height [m], wheel base, mass, top acceleration, wheels, base type, tag, colours
_VEHICLES: tuple[tuple[str, float, float, float, float, float, float, int, str, Tag, str], ...] = (
    ("vehicle.lincoln.mkz_2020", 4.9, 2.1, 1.5, 2.85, 1800, 3.5, 4, "car", Tag.CAR, "28,62,150"),
    ("vehicle.tesla.model3", 4.79, 2.16, 1.49, 2.88, 1845, 3.5, 4, "car", Tag.CAR, "180,44,44"),
    ("vehicle.audi.tt", 4.18, 1.99, 1.39, 2.47, 1455, 3.5, 4, "car", Tag.CAR, "200,190,160"),
    ("vehicle.mini.cooper_s_2021", 3.87, 1.97, 1.48, 2.5, 1290, 3.2, 4, "car", Tag.CAR, "96,120,60"),
    ("vehicle.nissan.patrol_2021", 4.94, 2.04, 1.95, 2.9, 2300, 3.0, 4, "car", Tag.CAR, "60,64,70"),
    ("vehicle.toyota.prius", 4.51, 2.01, 1.52, 2.7, 1400, 3.0, 4, "car", Tag.CAR, "230,230,232"),
    ("vehicle.dodge.charger_2020", 5.01, 2.1, 1.53, 3.0, 1920, 3.5, 4, "car", Tag.CAR, "24,24,28"),
    ("vehicle.volkswagen.t2", 4.48, 2.07, 2.04, 2.4, 1580, 2.2, 4, "van", Tag.CAR, "70,150,190"),
    ("vehicle.mercedes.sprinter", 5.91, 2.0, 2.56, 3.66, 2400, 2.4, 4, "van", Tag.CAR, "230,230,232"),
    ("vehicle.ford.ambulance", 6.37, 2.35, 2.43, 3.9, 4300, 2.2, 4, "van", Tag.CAR, "240,240,240"),
    ("vehicle.carlamotors.carlacola", 5.2, 2.61, 2.47, 2.95, 5500, 1.8, 4, "truck", Tag.TRUCK, "178,30,36"),
    (
        "vehicle.carlamotors.european_hgv",
        7.93,
        2.9,
        3.46,
        4.4,
        9000,
        1.5,
        4,
        "truck",
        Tag.TRUCK,
        "210,160,30",
    ),
    ("vehicle.carlamotors.firetruck", 8.47, 2.89, 3.83, 4.6, 12000, 1.5, 4, "truck", Tag.TRUCK, "200,20,20"),
    ("vehicle.yamaha.yzf", 2.21, 0.87, 1.53, 1.4, 270, 4.5, 2, "motorcycle", Tag.MOTORCYCLE, "20,60,180"),
    ("vehicle.vespa.zx125", 1.8, 0.81, 1.59, 1.25, 190, 2.5, 2, "motorcycle", Tag.MOTORCYCLE, "196,92,30"),
    ("vehicle.bh.crossbike", 1.49, 0.86, 1.79, 1.05, 95, 1.5, 2, "bicycle", Tag.BICYCLE, "30,30,30"),
    ("vehicle.diamondback.century", 1.64, 0.57, 1.83, 1.05, 95, 1.5, 2, "bicycle", Tag.BICYCLE, "200,60,60"),
)

# id, length, width, height [m]
_PROPS: tuple[tuple[str, float, float, float], ...] = (
    ("static.prop.trafficcone01", 0.4, 0.4, 0.75),
    ("static.prop.trafficcone02", 0.4, 0.4, 0.75),
    ("static.prop.constructioncone", 0.4, 0.4, 0.75),
    ("static.prop.streetbarrier", 0.4, 1.25, 1.0),
    ("static.prop.chainbarrier", 0.3, 1.6, 1.0),
    ("static.prop.trafficwarning", 0.7, 1.2, 2.1),
    ("static.prop.warningconstruction", 0.3, 0.9, 1.2),
    ("static.prop.warningaccident", 0.3, 0.9, 1.2),
    ("static.prop.dirtdebris01", 1.6, 1.6, 0.25),
    ("static.prop.busstop", 1.9, 4.2, 2.7),
    ("static.prop.vendingmachine", 1.2, 0.9, 2.0),
    ("static.prop.container", 2.4, 1.3, 1.4),
    ("static.prop.box01", 0.6, 0.6, 0.5),
    ("static.prop.creasedbox01", 0.6, 0.6, 0.5),
)

_WALKER_EXTENT_M = (0.25, 0.25, 0.93)
_PROP_MASS_KG = 40.0


def _vehicle(row: tuple[str, float, float, float, float, float, float, int, str, Tag, str]) -> Blueprint:
    name, length, width, height, base, mass, accel, wheels, base_type, tag, colour = row
    params = EGO
    if name != "vehicle.lincoln.mkz_2020":
        params = replace(
            EGO,
            length_m=length,
            width_m=width,
            wheel_base_m=base,
            rear_to_centre_m=0.5 * base,
            max_accel_mps2=accel,
        )
    string, integer = AttributeType.STRING, AttributeType.INT
    special = "emergency" if name.endswith(("ambulance", "firetruck")) else ""
    attributes = (
        _role("autopilot"),
        Attribute("color", AttributeType.COLOR, colour, (colour, "230,230,232", "24,24,28", "178,30,36")),
        Attribute("number_of_wheels", integer, str(wheels), modifiable=False),
        Attribute("sticky_control", AttributeType.BOOL, "true"),
        Attribute("object_type", string, "", modifiable=False),
        Attribute("base_type", string, base_type, modifiable=False),
        Attribute("special_type", string, special, modifiable=False),
        Attribute("generation", integer, "2", modifiable=False),
        Attribute("has_lights", AttributeType.BOOL, str(wheels == 4).lower(), modifiable=False),
    )
    return Blueprint(name, Kind.VEHICLE, (length / 2, width / 2, height / 2), tag, attributes, mass, params)


def _walker(number: int) -> Blueprint:
    child = number in (9, 10, 11, 12, 13, 14)
    attributes = (
        _role("pedestrian"),
        Attribute("is_invincible", AttributeType.BOOL, "true"),
        Attribute("gender", AttributeType.STRING, "female" if number % 2 else "male", modifiable=False),
        Attribute("age", AttributeType.STRING, "child" if child else "adult", modifiable=False),
        Attribute("generation", AttributeType.INT, "1", modifiable=False),
        Attribute("speed", AttributeType.FLOAT, "0.0", ("0.0", "1.43", "2.35")),
    )
    return Blueprint(
        f"walker.pedestrian.{number:04d}", Kind.WALKER, _WALKER_EXTENT_M, Tag.PEDESTRIAN, attributes, 75.0
    )


def _prop(row: tuple[str, float, float, float]) -> Blueprint:
    name, length, width, height = row
    attributes = (
        _role("prop"),
        Attribute("size", AttributeType.STRING, "small", modifiable=False),
    )
    return Blueprint(
        name, Kind.PROP, (length / 2, width / 2, height / 2), Tag.STATIC, attributes, _PROP_MASS_KG
    )


def _camera(name: str, sensor: SensorType) -> Blueprint:
    attributes = (
        _role("front"),
        Attribute("image_size_x", AttributeType.INT, "800"),
        Attribute("image_size_y", AttributeType.INT, "600"),
        Attribute("fov", AttributeType.FLOAT, "90.0"),
        Attribute("sensor_tick", AttributeType.FLOAT, "0.0"),
    )
    return Blueprint(f"sensor.camera.{name}", Kind.SENSOR, attributes=attributes, sensor=sensor)


def _sensor(name: str, sensor: SensorType, *further: Attribute) -> Blueprint:
    attributes = (_role("front"), Attribute("sensor_tick", AttributeType.FLOAT, "0.0"), *further)
    return Blueprint(f"sensor.other.{name}", Kind.SENSOR, attributes=attributes, sensor=sensor)


def _lidar() -> Blueprint:
    """Losses by chance are off unless asked for; CARLA loses 45 % of the points by default."""
    numbers = {
        "channels": "32", "range": "10.0", "points_per_second": "56000", "rotation_frequency": "10.0",
        "upper_fov": "10.0", "lower_fov": "-30.0", "horizontal_fov": "360.0", "atmosphere_attenuation_rate": "0.004",
        "dropoff_general_rate": "0.0", "dropoff_intensity_limit": "0.8", "dropoff_zero_intensity": "0.4",
        "noise_stddev": "0.0", "sensor_tick": "0.0",
    }  # fmt: skip
    whole = ("channels", "points_per_second")
    attributes = [
        Attribute(name, AttributeType.INT if name in whole else AttributeType.FLOAT, default)
        for name, default in numbers.items()
    ]
    return Blueprint(
        "sensor.lidar.ray_cast",
        Kind.SENSOR,
        attributes=(_role("front"), *attributes),
        sensor=SensorType.LIDAR,
    )


def library() -> dict[str, Blueprint]:
    """All blueprints by id, in a fixed order."""
    every = [_vehicle(row) for row in _VEHICLES]
    every += [_walker(number) for number in range(1, 52)]
    every += [_prop(row) for row in _PROPS]
    every += [
        _camera("rgb", SensorType.RGB),
        _camera("depth", SensorType.DEPTH),
        _camera("semantic_segmentation", SensorType.SEMANTIC),
        _camera("instance_segmentation", SensorType.INSTANCE),
        _sensor("collision", SensorType.COLLISION),
        _sensor("lane_invasion", SensorType.LANE_INVASION),
        _sensor("gnss", SensorType.GNSS),
        _sensor("imu", SensorType.IMU),
        _lidar(),
        _sensor(
            "obstacle",
            SensorType.OBSTACLE,
            Attribute("distance", AttributeType.FLOAT, "5.0"),
            Attribute("hit_radius", AttributeType.FLOAT, "0.5"),
            Attribute("only_dynamics", AttributeType.BOOL, "false"),
            Attribute("debug_linetrace", AttributeType.BOOL, "false"),
        ),
    ]
    every.append(Blueprint("controller.ai.walker", Kind.OTHER, attributes=(_role("default"),)))
    return {one.id: one for one in every}


SPECTATOR = Blueprint("spectator", Kind.OTHER)
TRAFFIC_LIGHT = Blueprint("traffic.traffic_light", Kind.LIGHT, tag=Tag.TRAFFIC_LIGHT)
