"""A driver for machines without people: sees what the camera sees, reacts late, has a style and small faults.

It watches the policy's plan as a passenger would: rolled forward against the visible road users, the road's edge, the
route and the pace. Once it is alarmed, it takes over after a reaction time, unless a later plan allays the alarm. It
drives by the expert's planner in its own style, and gives the car back once all has been calm for long enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..sim_bridge.drive import Drive
from ..sim_bridge.expert import Expert, ExpertDecision, ExpertStyle
from ..sim_bridge.expert_speed import SpeedStyle
from ..sim_bridge.follower import PlanFollower
from ..sim_bridge.moment import Moment
from ..vocabulary import TICK_S, Authority, Control, EgoState, Plan, Reason
from .driver import DriverAction
from .watch import Watch, WatchStyle

Style = Literal["brake_first", "steer_first", "late_clumsy"]
STYLES: tuple[Style, ...] = ("brake_first", "steer_first", "late_clumsy")

SEEN_PX = 6  # fewer pixels than this in the latest frame and an actor is not seen
FUMBLE_S = 0.7  # a fumbled takeover does the wrong thing for so long
STABLE_TTC_S = 3.0
STABLE_LATERAL_M = 0.5
STABLE_ACCEL_MPS2 = 2.5
STABLE_S = 2.0
HOLD_S = 4.0  # kept after stability (proof.md 8)


@dataclass(frozen=True, slots=True)
class DriverStyle:
    """One kind of driver.

    Attributes:
        expert: How it drives.
        watch: When it is alarmed.
        reaction_s: Shortest and longest time from alarm to takeover.
        fumble: Chance that a takeover begins badly.
        tremor: Amplitude of a slow wobble of the wheel, in units of `Control.steer`.
        first_brake: Brake pedal during the first half second after a takeover for a collision risk.
    """

    expert: ExpertStyle
    watch: WatchStyle
    reaction_s: tuple[float, float] = (0.7, 1.5)
    fumble: float = 0.08
    tremor: float = 0.0
    first_brake: float = 0.0


_STYLES: dict[Style, DriverStyle] = {
    "brake_first": DriverStyle(
        expert=ExpertStyle(
            speed=SpeedStyle(brake_mps2=2.2, headway_s=1.2, standstill_m=3.6, yield_s=0.9),
            cruise_factor=0.95,
            swerve_s=2.8,
            pass_factor=0.8,
        ),
        watch=WatchStyle(moving_s=2.9, standing_s=3.7),
        first_brake=0.35,
    ),
    "steer_first": DriverStyle(
        expert=ExpertStyle(
            speed=SpeedStyle(brake_mps2=3.0, headway_s=0.9, standstill_m=2.6, yield_s=0.6),
            clearance_m=1.0,
            swerve_s=2.3,
        ),
        watch=WatchStyle(moving_s=2.7, standing_s=3.4),
    ),
    "late_clumsy": DriverStyle(
        expert=ExpertStyle(
            speed=SpeedStyle(accel_mps2=2.2, brake_mps2=3.2, headway_s=1.0), cruise_factor=0.92, swerve_s=2.5
        ),
        watch=WatchStyle(moving_s=2.6, standing_s=3.5),
        reaction_s=(1.1, 1.5),
        fumble=0.3,
        tremor=0.025,
    ),
}


class ScriptedDriver:
    """A `Driver` that stands in for a human, for one episode.

    Args:
        style: Which of the three.
        seed: Of its reaction times and faults.
        drive: The simulator, for route and map only.
    """

    def __init__(self, style: str, seed: int, drive: Drive) -> None:
        name = next((known for known in STYLES if known == style), None)
        if name is None:
            raise ValueError(f"unknown style {style!r}: use one of {', '.join(STYLES)}")
        self._style = _STYLES[name]
        self._random = np.random.default_rng([seed, STYLES.index(name)])
        self._drive = drive
        self._expert = Expert(self._style.expert)
        self._watch = Watch(self._style.watch)
        self._follower = PlanFollower()
        self._seen: frozenset[int] = frozenset()
        self._decision: ExpertDecision | None = None
        self._plan_tick = 0
        self._plan_pose: EgoState | None = None
        self._alarm: Reason | None = None
        self._act_at_s = math.inf
        self._reason: Reason | None = None
        self._taken_s = 0.0
        self._fumble: Control | None = None
        self._calm_since_s = math.inf
        self._wobble_rad = float(self._random.uniform(0.0, math.tau))

    def observe(self, moment: Moment, plan: Plan | None, authority: Authority) -> DriverAction:
        """See `Driver.observe`."""
        if moment.frame is not None:
            pixels = moment.frame.visible_px
            self._seen = frozenset(actor for actor, count in pixels.items() if count >= SEEN_PX)
        if self._decision is None or moment.frame is not None:
            self._decision = self._expert.plan(self._drive, moment, self._seen)
            self._plan_tick, self._plan_pose = moment.tick, moment.ego
            self._look(moment, plan, authority)
        if self._reason is None:
            if moment.time_s < self._act_at_s:
                return DriverAction()
            self._take(moment)
        return self._hold(moment, plan)

    def _look(self, moment: Moment, plan: Plan | None, authority: Authority) -> None:
        """Judges the plan in force and sets, keeps or drops the alarm."""
        assert self._decision is not None
        alarm: Reason | None = None
        if authority is Authority.SAFE_STOP:
            alarm = Reason.SYSTEM_FAULT
        elif plan is not None and moment.frame is not None:
            assert plan.tick == moment.tick, "the drive loop plans before the driver looks"
            alarm = self._watch.judge(moment, plan, self._decision, self._expert.view)
        if alarm is None:
            self._alarm, self._act_at_s = None, math.inf
        elif self._alarm is None:
            self._alarm = alarm
            self._act_at_s = moment.time_s + float(self._random.uniform(*self._style.reaction_s))

    def _take(self, moment: Moment) -> None:
        self._reason = self._alarm or Reason.WISH
        self._taken_s = moment.time_s
        self._calm_since_s = math.inf
        self._follower = PlanFollower()
        self._fumble = None
        if self._random.random() < self._style.fumble:
            steer = float(self._random.uniform(-0.12, 0.12))
            hard = self._random.random() < 0.5
            self._fumble = Control(steer, 0.0, 0.7) if hard else Control(steer, 0.1, 0.0)

    def _hold(self, moment: Moment, plan: Plan | None) -> DriverAction:
        """Drives, and gives the car back when it has been calm for long enough."""
        assert self._decision is not None
        assert self._plan_pose is not None
        own = Plan(self._decision.waypoints_m, self._plan_tick)
        age_s = (moment.tick - self._plan_tick) * TICK_S
        control = self._with_style(self._follower.control(own, self._plan_pose, moment.ego, age_s), moment)
        if not self._is_calm(moment):
            self._calm_since_s = math.inf
        elif math.isinf(self._calm_since_s):
            self._calm_since_s = moment.time_s
        if plan is not None and self._gives_back(moment):
            self._reason, self._act_at_s = None, math.inf
            return DriverAction(control, handback=True, waypoints_m=self._decision.waypoints_m)
        return DriverAction(
            control, takeover=True, reason=self._reason, waypoints_m=self._decision.waypoints_m
        )

    def _gives_back(self, moment: Moment) -> bool:
        """Whether it has been calm for long enough."""
        return moment.time_s - self._calm_since_s >= STABLE_S + HOLD_S and self._alarm is None

    def _with_style(self, control: Control, moment: Moment) -> Control:
        since_s = moment.time_s - self._taken_s
        if self._fumble is not None and since_s < FUMBLE_S:
            share = since_s / FUMBLE_S
            return Control(
                control.steer * share + self._fumble.steer * (1.0 - share),
                self._fumble.throttle,
                max(self._fumble.brake, control.brake * share),
            )
        if (
            since_s < 0.5
            and self._reason is Reason.COLLISION_RISK
            and self._style.first_brake > control.brake
        ):
            control = replace(control, throttle=0.0, brake=self._style.first_brake)
        if self._style.tremor > 0.0:
            wobble = self._style.tremor * math.sin(4.0 * moment.time_s + self._wobble_rad)
            control = replace(control, steer=min(max(control.steer + wobble, -1.0), 1.0))
        return control

    @staticmethod
    def _is_calm(moment: Moment) -> bool:
        return (
            moment.ttc_s > STABLE_TTC_S
            and abs(moment.lateral_error_m) < STABLE_LATERAL_M
            and abs(moment.ego.accel_mps2) < STABLE_ACCEL_MPS2
            and abs(moment.ego.lateral_accel_mps2) < STABLE_ACCEL_MPS2
        )
