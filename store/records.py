"""What a recorded episode is made of, and how each record is packed."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import asdict, dataclass, field
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from ..vocabulary import (
    ActorKind,
    Agent,
    Authority,
    CameraSpec,
    Case,
    Command,
    Control,
    EgoState,
    HandoverState,
    Plan,
    Role,
)
from .sealing import plain

WARMUP = "warmup"  # executed_by of the ticks before tick 0
NO_PLAN = -1_000_000  # plan_tick when no plan is in force
DRIVER_KINDS = ("none", "scripted", "human", "expert")

# Codes of the packed columns: append only, the position is what is stored.
EXECUTED_BY = (WARMUP, *(a.value for a in (Authority.POLICY, Authority.DRIVER, Authority.SAFE_STOP)))
HANDOVER = tuple(
    s.value
    for s in (
        HandoverState.AUTONOMOUS,
        HandoverState.REQUESTED,
        HandoverState.DRIVER,
        HandoverState.HANDBACK,
        HandoverState.PROBATION,
        HandoverState.SAFE_STOP,
    )
)
COMMANDS = tuple(
    c.value
    for c in (
        Command.FOLLOW_LANE,
        Command.TURN_LEFT,
        Command.TURN_RIGHT,
        Command.GO_STRAIGHT,
        Command.CHANGE_LEFT,
        Command.CHANGE_RIGHT,
    )
)
_EXECUTED_CODE = {name: code for code, name in enumerate(EXECUTED_BY)}
_HANDOVER_CODE = {name: code for code, name in enumerate(HANDOVER)}
_COMMAND_CODE = {name: code for code, name in enumerate(COMMANDS)}

EGO_FIELDS = (
    "x_m",
    "y_m",
    "yaw_rad",
    "speed_mps",
    "accel_mps2",
    "yaw_rate_radps",
    "steer_rad",
    "lateral_accel_mps2",
)
CONTROL_FIELDS = tuple(
    f"{who}_{what}" for who in ("executed", "policy", "driver") for what in ("steer", "throttle", "brake")
)
FLOAT_FIELDS = (
    "time_s",
    *EGO_FIELDS,
    *CONTROL_FIELDS,
    "ttc_s",
    "route_progress_m",
    "lateral_error_m",
    "heading_error_rad",
    "speed_limit_mps",
)
TICK_DTYPE = np.dtype(
    [
        ("tick", "<i4"),
        ("plan_tick", "<i4"),
        *((name, "<f8") for name in FLOAT_FIELDS),
        ("executed_by", "u1"),
        ("handover_state", "u1"),
        ("command", "u1"),
        ("off_road", "u1"),
        ("red_light", "u1"),
        ("agents", "<u2"),
    ]
)
_TICK = struct.Struct(f"<ii{len(FLOAT_FIELDS)}dBBBBBH")
AGENT_DTYPE = np.dtype(
    [
        ("actor_id", "<u4"),
        ("x_m", "<f8"),
        ("y_m", "<f8"),
        ("yaw_rad", "<f8"),
        ("speed_mps", "<f8"),
        ("vx_mps", "<f8"),
        ("vy_mps", "<f8"),
    ]
)
_AGENT = struct.Struct("<I6d")
_FRAME = struct.Struct("<iHH")


@dataclass(frozen=True, slots=True)
class EpisodeMeta:
    """What is known of an episode before its first tick.

    Attributes:
        episode_id: uuid; also the folder's name.
        generation: Who plans: the generation's number as text, or "expert", "always_brake", ...
        driver_kind: none, scripted, human or expert (the expert plans and nobody takes over).
        route_centerline_m: (M, 2) world, 1 m apart.
        polygons_sha256: Content address of the map's polygons in `maps/` (see `store.maps`); "" for none.
        scenario_info: Type, parameters, conflict point and critical actor of the scenario; JSON values.
        created_utc: Wall clock, annotation only; it lies in the manifest, not among the hashed records.
    """

    episode_id: str
    case: Case
    role: Role
    generation: str
    driver_kind: str
    driver_id: str = ""
    session_id: str = ""
    style: str = ""
    planner: str = "policy"
    map_name: str = ""
    map_sha256: str = ""
    polygons_sha256: str = ""
    cameras: tuple[CameraSpec, ...] = ()
    seed: int = 0
    route_centerline_m: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)), compare=False)
    route_length_m: float = 0.0
    scenario_info: dict[str, Any] = field(default_factory=dict)
    created_utc: str = ""
    code_version: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9A-Za-z_-]+", self.episode_id):
            raise ValueError(f"episode id {self.episode_id!r} cannot name a folder")
        if self.driver_kind not in DRIVER_KINDS:
            raise ValueError(f"driver_kind {self.driver_kind!r} is none of {', '.join(DRIVER_KINDS)}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    @staticmethod
    def from_json(data: dict[str, Any]) -> EpisodeMeta:
        """Inverse of `to_json`."""
        return EpisodeMeta(
            **{
                **data,
                "case": Case(**data["case"]),
                "role": Role(data["role"]),
                "cameras": tuple(CameraSpec(**camera) for camera in data["cameras"]),
                "route_centerline_m": np.array(data["route_centerline_m"], np.float64).reshape(-1, 2),
            }
        )


@dataclass(frozen=True, slots=True)
class TickRow:
    """One simulator step: the state before it, and what is executed from that state.

    Attributes:
        tick: 0 at the reset; the warm-up has negative ticks and executed_by = "warmup".
        policy: The control that follows the policy's plan, executed or not; None without a plan.
        driver: The driver's control; None with hands off.
        plan_tick: Tick of the plan in force; NO_PLAN for none.
        ttc_s: Constant-velocity time to collision; inf for none.
        lateral_error_m: Signed, positive left of the route's centre line.
        faults: Names of simulator or sensor faults on this tick.
        lights: (id, state) of every traffic light.
    """

    tick: int
    time_s: float
    ego: EgoState
    executed: Control
    executed_by: str
    handover_state: str
    policy: Control | None = None
    driver: Control | None = None
    plan_tick: int = NO_PLAN
    ttc_s: float = math.inf
    route_progress_m: float = 0.0
    lateral_error_m: float = 0.0
    heading_error_rad: float = 0.0
    speed_limit_mps: float = 0.0
    off_road: bool = False
    red_light: bool = False
    command: str = Command.FOLLOW_LANE.value
    agents: tuple[Agent, ...] = ()
    faults: tuple[str, ...] = ()
    lights: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan and the ego's state when it was made."""

    plan: Plan
    pose: EgoState


@dataclass(frozen=True, slots=True)
class EventRow:
    """Takeover, hand-back, infraction, and what else has no place on the tick."""

    kind: str
    tick: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """What does not change about another road user."""

    actor_id: int
    kind: ActorKind
    name: str
    length_m: float
    width_m: float


_NAN3 = (math.nan, math.nan, math.nan)


def pack_tick(row: TickRow, lights: tuple[tuple[int, str], ...] | None) -> bytes:
    """Pack one tick; `lights` is None when they are as on the tick before."""
    ego, executed, policy, driver = row.ego, row.executed, row.policy, row.driver
    head = _TICK.pack(
        row.tick,
        row.plan_tick,
        row.time_s,
        ego.x_m,
        ego.y_m,
        ego.yaw_rad,
        ego.speed_mps,
        ego.accel_mps2,
        ego.yaw_rate_radps,
        ego.steer_rad,
        ego.lateral_accel_mps2,
        executed.steer,
        executed.throttle,
        executed.brake,
        *((policy.steer, policy.throttle, policy.brake) if policy is not None else _NAN3),
        *((driver.steer, driver.throttle, driver.brake) if driver is not None else _NAN3),
        row.ttc_s,
        row.route_progress_m,
        row.lateral_error_m,
        row.heading_error_rad,
        row.speed_limit_mps,
        _EXECUTED_CODE[row.executed_by],
        _HANDOVER_CODE[row.handover_state],
        _COMMAND_CODE[row.command],
        row.off_road,
        row.red_light,
        len(row.agents),
    )
    agents = b"".join(
        _AGENT.pack(a.actor_id & 0xFFFFFFFF, a.x_m, a.y_m, a.yaw_rad, a.speed_mps, a.vx_mps, a.vy_mps)
        for a in row.agents
    )
    rest = {"faults": row.faults} if row.faults else {}
    tail = (
        msgpack.packb(rest | ({} if lights is None else {"lights": lights}))
        if rest or lights is not None
        else b""
    )
    return head + agents + tail


def pack_actor(agent: Agent) -> bytes:
    """Pack what does not change about `agent`."""
    return msgpack.packb(
        [
            agent.actor_id & 0xFFFFFFFF,
            agent.kind.value,
            agent.name,
            float(agent.length_m),
            float(agent.width_m),
        ]
    )


def unpack_actor(payload: bytes | memoryview) -> ActorInfo:
    """Inverse of `pack_actor`."""
    actor_id, kind, name, length_m, width_m = msgpack.unpackb(payload)
    return ActorInfo(actor_id, ActorKind(kind), name, length_m, width_m)


def pack_frame(tick: int, jpegs: list[bytes], visible_px: dict[int, int]) -> tuple[bytes, list[int]]:
    """Pack a camera set.

    Returns:
        The payload, and the offset of each JPEG in it.
    """
    parts = [_FRAME.pack(tick, len(jpegs), len(visible_px)), struct.pack(f"<{len(jpegs)}I", *map(len, jpegs))]
    parts += [
        struct.pack("<II", actor_id & 0xFFFFFFFF, pixels) for actor_id, pixels in sorted(visible_px.items())
    ]
    offsets, position = [], sum(map(len, parts))
    for jpeg in jpegs:
        offsets.append(position)
        position += len(jpeg)
    return b"".join([*parts, *jpegs]), offsets


def unpack_frame(payload: bytes | memoryview) -> tuple[int, list[tuple[int, int]], dict[int, int]]:
    """Inverse of `pack_frame`: tick, (offset, length) of each JPEG in the payload, visible pixels."""
    tick, views, visible = _FRAME.unpack_from(payload)
    lengths = struct.unpack_from(f"<{views}I", payload, _FRAME.size)
    position = _FRAME.size + 4 * views
    pairs = struct.unpack_from(f"<{2 * visible}I", payload, position)
    position += 8 * visible
    places = []
    for length in lengths:
        places.append((position, length))
        position += length
    return tick, places, dict(zip(pairs[::2], pairs[1::2], strict=True))


def pack_plan(row: PlanRow) -> bytes:
    """Pack a plan with the pose it was made at."""
    plan = row.plan
    pose = [float(getattr(row.pose, name)) for name in EGO_FIELDS]
    waypoints = np.ascontiguousarray(plan.waypoints_m, "<f4")
    return msgpack.packb([plan.tick, plan.generation, plan.shadow, plan.text, waypoints.tobytes(), pose])


def unpack_plan(payload: bytes | memoryview) -> PlanRow:
    """Inverse of `pack_plan`."""
    tick, generation, shadow, text, waypoints, pose = msgpack.unpackb(payload)
    points = np.frombuffer(waypoints, "<f4").reshape(-1, 2).astype(np.float32)
    return PlanRow(Plan(points, tick, generation, shadow, text), EgoState(*pose))


def pack_event(row: EventRow) -> bytes:
    """Pack an event."""
    return msgpack.packb([row.kind, row.tick, plain(row.data)])


def unpack_event(payload: bytes | memoryview) -> EventRow:
    """Inverse of `pack_event`."""
    return EventRow(*msgpack.unpackb(payload, strict_map_key=False))
