"""The drive loop: simulator x planner x driver x arbiter x subscribers, in lock-step.

The loop knows nothing of recording, of the cockpit or of training: recorders and displays are subscribers, the human's
cockpit and the scripted driver are both a `Driver`, a learned policy and a baseline are both a `Planner`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..scoring.caution import caution
from ..scoring.frames import odometry
from ..sim_bridge.drive import Drive
from ..sim_bridge.follower import PlanFollower
from ..sim_bridge.moment import Moment
from ..vocabulary import (
    HISTORY_POINTS,
    PLAN_PERIOD_TICKS,
    TICK_S,
    Authority,
    Case,
    Control,
    EgoState,
    Outcome,
    Plan,
    PolicyInput,
    Reason,
)
from .arbiter import Arbiter, Decision
from .driver import Driver
from .planners import Planner

POLICY_FRAMES = 2  # of the tiny preset: closing speed is invisible in one


class Subscriber(Protocol):
    """Something that watches an episode."""

    def on_moment(
        self,
        moment: Moment,
        decision: Decision,
        policy: Control | None,
        driver: Control | None,
        plan: Plan | None,
    ) -> None:
        """One tick: the state before the step, and what is executed from it."""
        ...

    def on_plan(self, plan: Plan, pose: EgoState) -> None:
        """A plan was made at `pose`."""
        ...

    def on_event(self, kind: str, tick: int, data: dict[str, object]) -> None:
        """Takeover, hand-back, and what else has no place on the tick."""
        ...


class Pushes(Protocol):
    """Something that changes what is executed."""

    def apply(self, control: Control) -> Control:
        """The control of this tick; called once a tick, from tick 0 on."""
        ...


def run_episode(
    drive: Drive,
    case: Case,
    planner: Planner,
    *,
    driver: Driver | None = None,
    subscribers: Sequence[Subscriber] = (),
    disturbance: Pushes | None = None,
    auto_brake_ttc_s: float = 0.0,
    frames: int = POLICY_FRAMES,
) -> Outcome:
    """Drive one episode to its end.

    Args:
        drive: The simulator.
        case: What to drive.
        planner: Plans at each frame, in shadow while the driver drives.
        driver: Watches and may take over; None for nobody.
        subscribers: Told of every tick, plan and event, in order.
        disturbance: Changes the executed control.
        auto_brake_ttc_s: Full brake below this time to collision (a baseline); 0 for none.
        frames: Frames of a policy input.

    Returns:
        The simulator's outcome with takeovers and the caution ledger added.
    """
    moment = drive.reset(case)
    past = [*drive.history, moment]
    arbiter, follower = Arbiter(), PlanFollower()
    plan: Plan | None = None
    pose = moment.ego
    takeovers = 0
    while not moment.done:
        if moment.frame is not None:
            plan = planner.plan(
                policy_input(past, frames), moment, shadow=arbiter.authority is not Authority.POLICY
            )
            pose = moment.ego
            for subscriber in subscribers:
                subscriber.on_plan(plan, pose)
        age_s = (moment.tick - plan.tick) * TICK_S if plan is not None else math.inf
        policy = follower.control(plan, pose, moment.ego, age_s) if plan is not None else None
        if policy is not None and moment.ttc_s < auto_brake_ttc_s:
            policy = Control(steer=policy.steer, brake=1.0)
        before = arbiter.authority
        action = driver.observe(moment, plan, before) if driver is not None else None
        decision = arbiter.decide(
            moment.time_s,
            policy=policy,
            driver=action.control if action else None,
            takeover=bool(action and action.takeover),
            handback=bool(action and action.handback),
            plan_age_s=age_s,
        )
        if decision.authority is Authority.DRIVER and before is not Authority.DRIVER:
            takeovers += 1
            reason = (action.reason if action else None) or Reason.WISH
            for subscriber in subscribers:
                subscriber.on_event("takeover", moment.tick, {"reason": reason.value})
        elif before is Authority.DRIVER and decision.authority is not Authority.DRIVER:
            for subscriber in subscribers:
                subscriber.on_event("handback", moment.tick, {})
        if disturbance is not None:
            decision = replace(decision, control=disturbance.apply(decision.control))
        for subscriber in subscribers:
            subscriber.on_moment(moment, decision, policy, action.control if action else None, plan)
        moment = drive.step(decision.control)
        past.append(moment)
    assert moment.outcome is not None
    return with_ledger(moment.outcome, past, takeovers)


def with_ledger(outcome: Outcome, past: Sequence[Moment], takeovers: int) -> Outcome:
    """The simulator's outcome with takeovers and the caution ledger of the driven ticks added."""
    driven = [m for m in past if m.tick >= 0]
    ledger = caution(
        [m.ego.accel_mps2 for m in driven],
        [m.ego.speed_mps for m in driven],
        [m.ttc_s for m in driven],
        [m.red_light_ahead for m in driven],
        TICK_S,
    )
    return replace(
        outcome,
        takeovers=takeovers,
        phantom_brakes=ledger.phantom_brakes,
        standstill_s=ledger.standstill_s,
    )


def policy_input(past: Sequence[Moment], frames: int) -> PolicyInput:
    """What the policy may see at the newest moment of `past`, which holds a frame.

    Args:
        past: Consecutive ticks, newest last, warm-up included.
        frames: How many frames, PLAN_STEP_S apart, oldest first.

    Returns:
        Images, odometry and command; nothing else of the moments.
    """
    now = past[-1]
    images = [m.frame.images for m in past[-1 - (frames - 1) * PLAN_PERIOD_TICKS :] if m.frame is not None]
    images = [images[0]] * (frames - len(images)) + images[-frames:]
    return PolicyInput(
        images=np.stack(images),
        history_m_rad=odometry(
            [
                past[max(len(past) - 1 - k * PLAN_PERIOD_TICKS, 0)].ego
                for k in range(HISTORY_POINTS - 1, -1, -1)
            ]
        ),
        speed_mps=now.ego.speed_mps,
        accel_mps2=now.ego.accel_mps2,
        yaw_rate_radps=now.ego.yaw_rate_radps,
        command=now.command,
    )
