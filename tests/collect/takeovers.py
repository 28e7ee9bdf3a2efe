"""A made-up drive with one takeover: a car stands in the lane, the policy keeps its speed, the driver brakes."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from takeover.store.episodes import EpisodeMeta, EpisodeWriter, PlanRow, TickRow
from takeover.store.maps import save_map
from takeover.vocabulary import (
    ActorKind,
    Agent,
    CameraSpec,
    Case,
    Command,
    Control,
    EgoState,
    Frame,
    Outcome,
    Plan,
    Role,
)

CAR = 9
CAR_X_M = 60.0
SPEED_MPS = 10.0
ONSET = 62  # the driver brakes from here on
BRAKE_MPS2 = 5.0
TICKS = 200
ROAD = {
    "roadblocks": [np.array([[-60.0, -1.75], [260.0, -1.75], [260.0, 5.25], [-60.0, 5.25]])],
    "lanes": [
        np.array([[-60.0, -1.75], [260.0, -1.75], [260.0, 1.75], [-60.0, 1.75]]),
        np.array([[-60.0, 1.75], [260.0, 1.75], [260.0, 5.25], [-60.0, 5.25]]),
    ],
    "intersections": [],
}


def ego_at(tick: int) -> EgoState:
    braked_s = max(tick - ONSET, 0) * 0.05
    stop_s = SPEED_MPS / BRAKE_MPS2
    x = SPEED_MPS * min(tick, ONSET) * 0.05
    if braked_s > 0:
        t = min(braked_s, stop_s)
        x += SPEED_MPS * t - 0.5 * BRAKE_MPS2 * t * t
    speed = max(SPEED_MPS - BRAKE_MPS2 * braked_s, 0.0)
    return EgoState(x, 0.0, 0.0, speed, -BRAKE_MPS2 if 0 < braked_s < stop_s else 0.0)


def keep_speed(tick: int, generation: str, shadow: bool) -> Plan:
    waypoints = np.stack([SPEED_MPS * 0.5 * np.arange(1, 9), np.zeros(8)], 1).astype(np.float32)
    return Plan(waypoints, tick, generation, shadow)


def record(
    home: Path,
    *,
    visible_px: int = 40,
    reason: str = "collision_risk",
    plan_generation: str = "2",
    fault_tick: int | None = None,
    parked_y_m: float = 0.0,
    ticks: int = TICKS,
    unplanned: Sequence[int] = (),
    events: Sequence[tuple[str, int, dict[str, Any]]] = (),
    **changes: Any,
) -> Path:
    values: dict[str, Any] = {
        "episode_id": str(
            uuid.uuid5(uuid.NAMESPACE_DNS, repr((visible_px, reason, ticks, events, sorted(changes))))
        ),
        "case": Case("ParkedObstacle", 3),
        "role": Role.TRAIN,
        "generation": "2",
        "driver_kind": "scripted",
        "driver_id": "scripted-brake_first",
        "polygons_sha256": save_map(home, ROAD),
        "cameras": (CameraSpec(width_px=48, height_px=24),),
        "route_centerline_m": np.stack([np.arange(-40.0, 121.0), np.zeros(161)], axis=1),
        "route_length_m": 160.0,
        "scenario_info": {"type": "ParkedObstacle", "critical_actor_id": CAR},
    }
    writer = EpisodeWriter(home / "episodes", EpisodeMeta(**{**values, **changes}))
    car = Agent(CAR, ActorKind.VEHICLE, CAR_X_M, parked_y_m, 0.0, 0.0, 4.8, 2.0, "parked")
    for number in range(-20, ticks):
        ego = ego_at(number)
        driver = number >= ONSET
        if number % 10 == 0:
            picture = np.full((1, 24, 48, 3), (number * 3) % 256, np.uint8)
            writer.frame(Frame(number, picture, {CAR: visible_px}))
        if number >= 0 and number % 10 == 0 and number not in unplanned:
            writer.plan(PlanRow(keep_speed(number, plan_generation, driver), ego))
        if number == ONSET:
            writer.event("takeover", number, {"reason": reason})
        gap = CAR_X_M - 2.4 - 2.45 - ego.x_m
        clear = abs(parked_y_m) > 2.05 or ego.speed_mps < 0.1
        writer.tick(
            TickRow(
                tick=number,
                time_s=number * 0.05,
                ego=ego,
                executed=Control(0.0, 0.0, 0.6 if driver else 0.0),
                executed_by="warmup" if number < 0 else "driver" if driver else "policy",
                handover_state="driver" if driver else "autonomous",
                policy=Control() if number >= 0 else None,
                driver=Control(0.0, 0.0, 0.6) if driver else None,
                plan_tick=number // 10 * 10,
                ttc_s=math.inf if clear or gap / ego.speed_mps > 4.0 else gap / ego.speed_mps,
                route_progress_m=ego.x_m + 40.0,
                speed_limit_mps=10.0,
                command=Command.FOLLOW_LANE.value,
                agents=(car,),
                faults=("front.rgb: late",) if number == fault_tick else (),
            )
        )
    for event in events:
        writer.event(*event)
    return writer.seal(Outcome(True, 100.0, 100.0, takeovers=1))
