"""Small made-up drives for the tests of the store; importable by child processes too."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np

from takeover.store.episodes import EpisodeMeta, EpisodeWriter, PlanRow, TickRow
from takeover.vocabulary import (
    ActorKind,
    Agent,
    CameraSpec,
    Case,
    Control,
    EgoState,
    Frame,
    Outcome,
    Plan,
    Role,
)

OUTCOME = Outcome(True, 100.0, 90.0, takeovers=1, driven_m=60.0)


def meta(episode_id: str, **changes: Any) -> EpisodeMeta:
    values: dict[str, Any] = {
        "episode_id": episode_id,
        "case": Case("ParkedObstacle", 3),
        "role": Role.TRAIN,
        "generation": "2",
        "driver_kind": "scripted",
        "driver_id": "scripted-brake_first",
        "session_id": "run/1",
        "style": "brake_first",
        "map_name": "TownCurves",
        "map_sha256": "ab" * 32,
        "cameras": (CameraSpec(width_px=48, height_px=24),),
        "seed": 11,
        "route_centerline_m": np.stack([np.arange(80.0), np.zeros(80)], axis=1),
        "route_length_m": 79.0,
        "scenario_info": {"type": "ParkedObstacle", "critical_actor_id": 9},
        "created_utc": "2026-01-01T00:00:00+00:00",
    }
    return EpisodeMeta(**{**values, **changes})


def tick(number: int) -> TickRow:
    agents: tuple[Agent, ...] = (
        Agent(9, ActorKind.WALKER, 40.0, 3.0 - 0.1 * number, -1.5, 2.0, 0.5, 0.5, "walker", 0.0, -2.0),
    )
    if number >= 15:
        agents += (Agent(4, ActorKind.VEHICLE, 20.0 + number, 0.0, 0.0, 5.0, 4.5, 2.0, "lead", 5.0, 0.0),)
    driver = 30 <= number < 45
    return TickRow(
        tick=number,
        time_s=number * 0.05,
        ego=EgoState(0.4 * number, 0.1, 0.01, 8.0, 0.1, 0.0, 0.0, 0.0),
        executed=Control(0.0, 0.5, 0.0),
        executed_by="warmup" if number < 0 else "driver" if driver else "policy",
        handover_state="driver" if driver else "autonomous",
        policy=Control(0.25, 0.5, 0.0) if number >= 0 else None,
        driver=Control(0.0, 0.0, 1.0) if driver else None,
        plan_tick=number // 10 * 10,
        ttc_s=1.5 if 20 <= number < 30 else float("inf"),
        agents=agents,
        faults=("front.rgb: late",) if number == 33 else (),
        lights=((5, "red" if number < 20 else "green"),),
    )


def frame(number: int) -> Frame:
    ramp = np.linspace(0, 255, 48)[None, :, None] * np.ones((24, 1, 3))
    return Frame(number, ((ramp + number) % 256).astype(np.uint8)[None], {9: 30 + abs(number)})


def record(
    root: Path,
    episode_id: str = "",
    *,
    ticks: int = 60,
    seal: bool = True,
    segment_bytes: int = 1 << 26,
    outcome: Outcome = OUTCOME,
    **changes: Any,
) -> Path:
    writer = EpisodeWriter(
        root, meta(episode_id or str(uuid.uuid4()), **changes), segment_bytes=segment_bytes
    )
    for number in range(-10, ticks):
        if number % 10 == 0:
            writer.frame(frame(number))
        if number >= 0 and number % 10 == 0:
            plan = Plan(
                np.stack([np.arange(1.0, 9.0), np.zeros(8)], 1).astype(np.float32), number, "2", number == 30
            )
            writer.plan(PlanRow(plan, tick(number).ego))
        if number in (30, 45):
            kind = "takeover" if number == 30 else "handback"
            writer.event(kind, number, {"reason": "collision_risk"} if number == 30 else {})
        writer.tick(tick(number))
    if not seal:
        writer.abandon()
        return writer.path
    return writer.seal(outcome)
