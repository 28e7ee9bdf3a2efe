"""Scenario types by name."""

from __future__ import annotations

from collections.abc import Callable

from ...vocabulary import Case
from .cases import role_of
from .nominal import car_following, junction_turn, lane_following
from .obstacles import accident_two_ways, construction_obstacle, parked_obstacle, parked_obstacle_two_ways
from .scripted import ScriptedScenario
from .vehicles import (
    hard_break_route,
    merger_into_slow_traffic,
    opposite_vehicle_running_red_light,
    static_cut_in,
)
from .walkers import (
    dynamic_object_crossing,
    parking_crossing_pedestrian,
    pedestrian_crossing,
    vehicle_turning_route_pedestrian,
)

_BUILDERS: dict[str, Callable[[Case], ScriptedScenario]] = {
    "LaneFollowing": lane_following,
    "CarFollowing": car_following,
    "JunctionTurn": junction_turn,
    "DynamicObjectCrossing": dynamic_object_crossing,
    "ParkedObstacle": parked_obstacle,
    "ParkedObstacleTwoWays": parked_obstacle_two_ways,
    "ConstructionObstacle": construction_obstacle,
    "HardBreakRoute": hard_break_route,
    "StaticCutIn": static_cut_in,
    "MergerIntoSlowTraffic": merger_into_slow_traffic,
    "PedestrianCrossing": pedestrian_crossing,
    "OppositeVehicleRunningRedLight": opposite_vehicle_running_red_light,
    "VehicleTurningRoutePedestrian": vehicle_turning_route_pedestrian,
    "ParkingCrossingPedestrian": parking_crossing_pedestrian,
    "AccidentTwoWays": accident_two_ways,
}


def make_scenario(case: Case) -> ScriptedScenario:
    """The scenario of a case, for one episode.

    Raises:
        UsageError: The type is unknown or the seed has no role.
    """
    role_of(case)
    return _BUILDERS[case.scenario](case)
