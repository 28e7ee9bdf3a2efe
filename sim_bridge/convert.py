"""The one place that knows CARLA's left-handed degrees.

CARLA: x forward, y right, z up; yaw clockwise seen from above, degrees; steer positive right.
House: x forward, y left, z up; yaw counter-clockwise, radians; steer positive left.
So y, yaw, yaw rate and steer change sign, x and z do not. Pitch is positive nose up in both.
"""

from __future__ import annotations

import math

import carla

from ..scoring.frames import wrap
from ..vocabulary import CameraSpec, Control


def location(x_m: float, y_m: float, z_m: float = 0.0) -> carla.Location:
    """House point as a `carla.Location`."""
    return carla.Location(x=x_m, y=-y_m, z=z_m)


def transform(x_m: float, y_m: float, yaw_rad: float, z_m: float = 0.0) -> carla.Transform:
    """House pose on a level road as a `carla.Transform`."""
    return carla.Transform(location(x_m, y_m, z_m), carla.Rotation(yaw=-math.degrees(yaw_rad)))


def camera_transform(spec: CameraSpec) -> carla.Transform:
    """Mounting of a camera relative to its vehicle."""
    rotation = carla.Rotation(pitch=math.degrees(spec.pitch_rad), yaw=-math.degrees(spec.yaw_rad))
    return carla.Transform(location(spec.x_m, spec.y_m, spec.z_m), rotation)


def point(value: carla.Location) -> tuple[float, float]:
    """House (x_m, y_m) of a location."""
    return value.x, -value.y


def pose(value: carla.Transform) -> tuple[float, float, float]:
    """House (x_m, y_m, yaw_rad) of a transform, yaw in (-pi, pi]."""
    place = value.location
    return place.x, -place.y, wrap(-math.radians(value.rotation.yaw))


def vector(value: carla.Vector3D) -> tuple[float, float]:
    """House (x, y) of a world vector: velocity m/s, acceleration m/s2."""
    return value.x, -value.y


def to_vector(x: float, y: float, z: float = 0.0) -> carla.Vector3D:
    """House world vector as CARLA's."""
    return carla.Vector3D(x=x, y=-y, z=z)


def yaw_rate(angular_velocity: carla.Vector3D) -> float:
    """House yaw rate, rad/s, of CARLA's angular velocity in deg/s."""
    return -math.radians(angular_velocity.z)


def to_angular_velocity(yaw_rate_radps: float) -> carla.Vector3D:
    """CARLA's angular velocity, deg/s, of a house yaw rate."""
    return carla.Vector3D(z=-math.degrees(yaw_rate_radps))


def vehicle_control(
    control: Control, *, hand_brake: bool = False, reverse: bool = False
) -> carla.VehicleControl:
    """House control as CARLA's."""
    return carla.VehicleControl(
        throttle=control.throttle,
        steer=-control.steer,
        brake=control.brake,
        hand_brake=hand_brake,
        reverse=reverse,
    )


def control(value: carla.VehicleControl) -> Control:
    """CARLA's control as the house's; -0.0 becomes 0.0."""
    return Control(steer=0.0 - value.steer, throttle=value.throttle, brake=value.brake)


def heading_vector(yaw_rad: float) -> tuple[float, float]:
    """House unit vector of a house yaw."""
    return math.cos(yaw_rad), math.sin(yaw_rad)
