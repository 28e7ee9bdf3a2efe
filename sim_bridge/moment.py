"""What the simulator side says about one tick, and the polygons of a map; both in the house frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..vocabulary import Agent, Command, EgoState, Frame, Infraction, Outcome

Polygon = NDArray[np.float64]  # (K, 2) metres, world frame, not closed


@dataclass(frozen=True, slots=True)
class Moment:
    """The world after one tick, as `Drive` reports it.

    Attributes:
        tick: 0 at `reset`, negative during the warm-up (`Drive.history`).
        time_s: `tick` in seconds.
        ego: Pose and motion of the ego.
        agents: All other road users and props, in order of spawning.
        frame: The camera set, every PLAN_PERIOD_TICKS ticks (tick 0 included); None between, or when lost.
        command: Route command at the ego.
        route_progress_m: Of the ego's centre along `Drive.route_centerline_m`, from its first point.
        route_length_m: Of the whole route.
        lateral_error_m: From the route's centre line, positive when the ego is left of it.
        heading_error_rad: Ego yaw minus the direction of the centre line.
        off_road: The centre of the ego is on no driving lane and in no junction.
        ttc_s: Time to collision at constant velocities, oriented boxes; inf for none within 4 s.
        speed_limit_mps: Of the scenario.
        red_light_ahead: A red or yellow light of the route's lane is less than 40 m ahead.
        infractions: Those that began on this tick.
        lights: (actor id, "red" | "yellow" | "green" | "off" | "unknown") of the lights on the route.
        done: The episode is over; `outcome` is set.
        outcome: How it ended; None before the end. `takeovers` and caution figures are filled in elsewhere.
        faults: What went wrong with the sensors on this tick, `"front.rgb: late"` for instance.
    """

    tick: int
    time_s: float
    ego: EgoState
    agents: tuple[Agent, ...]
    frame: Frame | None
    command: Command
    route_progress_m: float
    route_length_m: float
    lateral_error_m: float
    heading_error_rad: float
    off_road: bool
    ttc_s: float
    speed_limit_mps: float
    red_light_ahead: bool = False
    infractions: tuple[Infraction, ...] = ()
    lights: tuple[tuple[int, str], ...] = ()
    done: bool = False
    outcome: Outcome | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MapPolygons:
    """Baked surfaces of a map for `scoring.Scene`.

    Attributes:
        roadblocks: Adjoining driving lanes of one direction, outside junctions.
        lanes: Single driving lanes, those inside junctions included.
        intersections: Junction areas.
    """

    roadblocks: tuple[Polygon, ...]
    lanes: tuple[Polygon, ...]
    intersections: tuple[Polygon, ...]
