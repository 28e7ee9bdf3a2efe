"""The nouns of the project as frozen values.

Frames of reference: world and ego frames are right-handed, x forward (east), y left (north), yaw counter-clockwise in
radians. CARLA's left-handed degrees exist only in `sim_bridge/convert.py`. SI units; each name carries its unit.
Arrays inside these values are never written to after construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

TICK_S = 0.05  # simulator step
TICK_HZ = 20
PLAN_STEP_S = 0.5  # spacing of a plan's waypoints, and of the frames a policy sees
PLAN_POINTS = 8
PLAN_HORIZON_S = PLAN_STEP_S * PLAN_POINTS  # 4 s
PLAN_PERIOD_TICKS = 10  # the policy plans at 2 Hz
HISTORY_POINTS = 4  # odometry: ego poses 1.5, 1.0, 0.5 and 0 s ago
MAX_PLAN_AGE_S = 1.5  # an older plan means a safe stop

Float = NDArray[np.float32]


class Authority(StrEnum):
    """Who moves the car on a tick."""

    POLICY = "policy"
    DRIVER = "driver"
    SAFE_STOP = "safe_stop"


class HandoverState(StrEnum):
    """Live state of the handover machine."""

    AUTONOMOUS = "autonomous"
    REQUESTED = "requested"
    DRIVER = "driver"
    HANDBACK = "handback"
    PROBATION = "probation"
    SAFE_STOP = "safe_stop"


class Phase(StrEnum):
    """What a stretch of a sealed episode means for learning; derived by the segmenter, never live."""

    AUTONOMOUS = "autonomous"
    OBSERVE = "observe"
    NEGATIVE = "negative"
    ADAPTATION = "adaptation"
    RECOVERY = "recovery"
    DRIVER = "driver"  # driven by the driver after recovery, until the hand-back
    PROBATION = "probation"


class Reason(StrEnum):
    """Why the driver took over. `wish`, `system_fault` and `training` never train."""

    COLLISION_RISK = "collision_risk"
    RULE = "rule"
    TOO_SLOW = "too_slow"
    LANE_OR_ROUTE = "lane_or_route"
    COMFORT = "comfort"
    OTHER_VEHICLE = "other_vehicle"
    WISH = "wish"
    SYSTEM_FAULT = "system_fault"
    TRAINING = "training"


class Verdict(StrEnum):
    """What the driver says of a takeover afterwards. `mistake` and `discard` stay in the log and never train."""

    GOOD = "good"
    MISTAKE = "mistake"
    DISCARD = "discard"


class Role(StrEnum):
    """What a case may be used for, by seed range (see `sim_bridge/scenarios/cases.py`)."""

    TRAIN = "train"
    GATE = "gate"
    FINAL = "final"


class PairSource(StrEnum):
    """Where a preference pair comes from."""

    HUMAN = "human"  # same state: the driver's executed 4 s against the shadow plan
    HUMAN_ONSET = "human_onset"  # state at onset: the driver's executed 4 s against the issued plan
    COUNTERFACTUAL = "counterfactual"  # chosen is a CSP re-plan
    PREDICTED = "predicted"  # PPL: states predicted by rolling the issued plan


class Command(StrEnum):
    """The route planner's command, the only route knowledge that a policy gets."""

    FOLLOW_LANE = "follow_lane"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    GO_STRAIGHT = "go_straight"
    CHANGE_LEFT = "change_left"
    CHANGE_RIGHT = "change_right"


class ActorKind(StrEnum):
    """Coarse class of another road user, as scoring needs it."""

    VEHICLE = "vehicle"
    WALKER = "walker"
    CYCLIST = "cyclist"
    STATIC = "static"  # cone, barrier, parked prop


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """A forward pinhole camera of the policy.

    At 192 px and 76 degrees the focal length is 123 px, so a walker (0.5 x 1.8 m) at 20 m covers 3.1 x 11 px
    (proof.md 4 asks for 3 x 8).
    """

    name: str = "front"
    width_px: int = 192
    height_px: int = 96
    fov_deg: float = 76.0  # horizontal, as CARLA's attribute
    x_m: float = 1.2  # from the ego's origin (centre of the bounding box on the ground), ego frame
    y_m: float = 0.0
    z_m: float = 1.6
    pitch_rad: float = 0.0
    yaw_rad: float = 0.0


@dataclass(frozen=True, slots=True)
class Control:
    """Normalised actuation. steer in [-1, 1], positive LEFT (house frame); throttle and brake in [0, 1]."""

    steer: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0


@dataclass(frozen=True, slots=True)
class EgoState:
    """Pose and motion of the ego in the world frame; the pose is the centre of its box on the ground."""

    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float  # along the heading, negative when reversing
    accel_mps2: float = 0.0  # along the heading
    yaw_rate_radps: float = 0.0
    steer_rad: float = 0.0  # road-wheel angle, positive left
    lateral_accel_mps2: float = 0.0


@dataclass(frozen=True, slots=True)
class Agent:
    """Another road user at one tick, world frame; box centre on the ground."""

    actor_id: int
    kind: ActorKind
    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float
    length_m: float
    width_m: float
    name: str = ""  # its part in the scenario ("crossing_walker", "lead", ...) or blueprint id
    vx_mps: float = 0.0
    vy_mps: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A trajectory in the ego frame at `tick`."""

    waypoints_m: Float  # (8, 2) float32, metres, ego frame, 0.5 s apart, first one 0.5 s ahead
    tick: int
    generation: str = ""  # generation id that made it; "" for drivers and experts
    shadow: bool = False  # planned while another had authority
    text: str = ""  # C-CoT, if it was generated


@dataclass(frozen=True, slots=True)
class PolicyInput:
    """All that a policy sees while driving: images, ego odometry, route command. A test asserts that it is all."""

    images: NDArray[np.uint8]  # (F, V, H, W, 3) RGB, oldest frame first, PLAN_STEP_S apart
    history_m_rad: Float  # (HISTORY_POINTS, 3): x_m, y_m, yaw_rad in the present ego frame, newest last
    speed_mps: float
    accel_mps2: float
    yaw_rate_radps: float
    command: Command


@dataclass(frozen=True, slots=True)
class Frame:
    """One stored camera set."""

    tick: int
    images: NDArray[np.uint8]  # (V, H, W, 3) RGB
    visible_px: dict[int, int] = field(default_factory=dict)  # actor id -> its pixels in all views


@dataclass(frozen=True, slots=True)
class Case:
    """One reproducible drive: scenario type, seed, and whether it is the decoy twin (nothing happens)."""

    scenario: str
    seed: int
    decoy: bool = False

    @property
    def case_id(self) -> str:
        """Text form, `DynamicObjectCrossing/12` or `DynamicObjectCrossing.decoy/12`."""
        return f"{self.scenario}{'.decoy' if self.decoy else ''}/{self.seed}"


@dataclass(frozen=True, slots=True)
class Infraction:
    """One leaderboard infraction."""

    kind: str  # key of scoring.driving_score.PENALTIES
    tick: int
    actor_id: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an episode ended."""

    success: bool  # route complete, no infraction
    rc: float  # route completion, 0..100
    ds: float  # driving score, 0..100
    infractions: tuple[Infraction, ...] = ()
    # route_complete | collision | off_road | route_deviation | timeout | blocked | sim_fault | aborted
    end: str = "route_complete"
    driven_m: float = 0.0
    duration_s: float = 0.0
    takeovers: int = 0
    phantom_brakes: int = 0
    standstill_s: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


class Analysis(Protocol):
    """A four-level negative analysis (`scoring.analysis.NegativeAnalysis`), as prompts need it."""

    def short(self) -> str:
        """One line for a small vocabulary."""
        ...

    def full(self) -> str:
        """JSON for a pretrained backbone."""
        ...


@dataclass(frozen=True, slots=True)
class DrivingSample:
    """One imitation target for SFT."""

    input: PolicyInput
    target_m: Float  # (8, 2) ego frame
    mask: NDArray[np.bool_]  # (8,) False: this waypoint says nothing (driven by someone else)
    reasoning: str  # C-CoT JSON, "" for none
    weight: float = 1.0
    role: Role = Role.TRAIN
    case_id: str = ""
    negative_m: Float | None = None  # (8, 2): present for the negative-analysis prompt
    analysis: str | Analysis = ""  # four-level negative analysis block, "" for none


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """One admitted pair, ready for training."""

    pair_id: str
    input: PolicyInput
    chosen_m: Float  # (8, 2)
    chosen_mask: NDArray[np.bool_]  # (8,)
    rejected_m: Float  # (8, 2)
    source: PairSource
    weight: float
    role: Role
    case_id: str
    score_chosen: float
    score_rejected: float
    reasoning_chosen: str = ""
    reasoning_rejected: str = ""
    analysis: str | Analysis = ""  # four-level negative analysis block
    scene: Any = None  # scoring.scene.Scene for rewards; None when only the preference is used
    visible_ids: frozenset[int] = (
        frozenset()
    )  # actors of the scene that the pictures show: words may name them
    hardness: float = 0.0  # lower is harder: close to the chosen plan, yet unsafe


@dataclass(frozen=True, slots=True)
class FailedPlan:
    """A plan that was bad, at a state for which no pair was admitted: nothing better is known there."""

    input: PolicyInput
    plan_m: Float  # (8, 2)
    mask: NDArray[np.bool_]  # (8,)
    weight: float
    role: Role
    case_id: str
    pair_id: str = ""  # of the pair that was refused
