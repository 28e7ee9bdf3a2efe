"""Traffic lights that a route passes, and where its stop lines are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import carla

from . import convert
from .routes import Route

BESIDE_M = 1.5  # a stop point this near to the centre line is the route's own
ALONG_RAD = 0.8


@dataclass(frozen=True, slots=True)
class RouteLight:
    """One light.

    Attributes:
        actor: The traffic light.
        stop_m: Its stop line along the route.
    """

    actor: carla.TrafficLight
    stop_m: float

    def state(self) -> str:
        """One of red, yellow, green, off, unknown; from the newest snapshot, without a call to the server."""
        return str(self.actor.state).lower()


def lights_on(world: carla.World, route: Route) -> tuple[RouteLight, ...]:
    """Lights that hold for a lane of the route, in the order met.

    Args:
        world: The world.
        route: The route.

    Returns:
        One entry per light, at its first stop line on the route.
    """
    found = []
    for actor in world.get_actors().filter("traffic.traffic_light*"):
        stops = []
        for waypoint in actor.get_affected_lane_waypoints():
            place = route.locate(*convert.pose(waypoint.transform))
            inside = 0.0 < place.progress_m < route.length_m
            if inside and abs(place.lateral_m) < BESIDE_M and abs(place.heading_error_rad) < ALONG_RAD:
                stops.append(place.progress_m)
        if stops:
            found.append(RouteLight(actor, min(stops)))
    return tuple(sorted(found, key=lambda light: light.stop_m))


def restart_lights(world: carla.World) -> None:
    """All lights of the world from the start of their cycle: what the last drive froze or waited for is undone."""
    world.freeze_all_traffic_lights(False)
    world.reset_all_traffic_lights()


def next_stop(lights: tuple[RouteLight, ...], progress_m: float, within_m: float) -> float:
    """Distance to the nearest stop line ahead with a red or yellow light; inf for none that near."""
    for light in lights:
        gap_m = light.stop_m - progress_m
        if 0.0 < gap_m < within_m and light.state() in ("red", "yellow"):
            return gap_m
    return math.inf
