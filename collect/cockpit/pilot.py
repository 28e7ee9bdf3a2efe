"""One episode as the cockpit decides it: hands, plan and handover to a control, at the rate of the loop.

No window, no process, no clock of its own: time comes in, orders come out. The control that the world executed on a tick
comes back with the tick; only that is recorded.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ...sim_bridge.follower import PlanFollower
from ...sim_bridge.moment import Moment
from ...vocabulary import TICK_S, Authority, Control, EgoState, HandoverState, Plan
from ..arbiter import COCKPIT, SAFE_STOP, Arbiter, ArbiterConfig, Decision
from ..devices.state import Action, DeviceState, Kind
from ..handover import Handover, HelpReason
from ..help_requests import HelpMonitor
from ..takeover_intent import (
    GAMEPAD,
    KEYBOARD,
    WHEEL,
    Channel,
    Intent,
    IntentConfig,
    IntentDetector,
    requested,
)
from .messages import STALE_ORDER, Order, Step

INTENTS = {Kind.WHEEL: WHEEL, Kind.GAMEPAD: GAMEPAD, Kind.KEYBOARD: KEYBOARD}
REMEMBERED = 1024  # turns: ten seconds; a world that hangs for longer than its client waits (5 s) is lost
_STOPPED = Decision(SAFE_STOP, Authority.SAFE_STOP, HandoverState.SAFE_STOP)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the loop: what was decided, and from what.

    Attributes:
        order: For the world.
        decision: The arbiter's.
        policy: What follows the plan; None without a plan.
        driver: What hands and feet ask for; None while they do nothing and the policy drives.
        intent: What the driver means.
        plan: The plan in force.
        handover: The state machine after it: reaction to a request, refusals, causes.
    """

    order: Order
    decision: Decision
    policy: Control | None
    driver: Control | None
    intent: Intent
    plan: Plan | None
    handover: Handover


class Pilot:
    """Holds plan, follower, intent and handover of one episode.

    Args:
        moment: Tick 0.
        intents: Thresholds by kind of device.
        arbiter: How controls are joined.
        monitor: Says when the policy wants help.
    """

    def __init__(
        self,
        moment: Moment,
        *,
        intents: Mapping[Kind, IntentConfig] = INTENTS,
        arbiter: ArbiterConfig = COCKPIT,
        monitor: HelpMonitor | None = None,
    ) -> None:
        self._monitor = monitor or HelpMonitor()
        self._intents = intents
        self._device: tuple[str, bool] | None = None
        self._detector = IntentDetector()
        self._arbiter = Arbiter(arbiter)
        self._follower = PlanFollower()
        self._number = 1
        self._turns: OrderedDict[int, Turn] = OrderedDict()
        self._poses: OrderedDict[int, EgoState] = OrderedDict()
        self._executed = Control()
        self._moment_s = 0.0
        self._channel = Channel.NONE
        self.help: HelpReason | None = None
        self.plan: Plan | None = None
        self.policy: Control | None = None
        self.moment = moment
        self._poses[moment.tick] = moment.ego

    @property
    def handover(self) -> Handover:
        """The state machine."""
        return self._arbiter.handover

    @property
    def authority(self) -> Authority:
        """Who has the car."""
        return self._arbiter.authority

    def pose_of(self, tick: int) -> EgoState | None:
        """The ego at a recent tick; None when it is too long ago."""
        return self._poses.get(tick)

    def answered(self, plan: Plan) -> bool:
        """Takes a plan over, unless a newer one is in force; says whether it did."""
        if (self.plan is not None and plan.tick <= self.plan.tick) or plan.tick not in self._poses:
            return False
        self.plan = plan
        if not plan.shadow:
            self._monitor.on_plan(plan, self._poses[plan.tick])
        if self.moment.tick - plan.tick < 1:
            self._follow()
        return True

    def stepped(self, step: Step, now_s: float) -> Turn:
        """A tick was made.

        Args:
            step: The world's report.
            now_s: Present time.

        Returns:
            The turn whose control was executed on this tick, with the control as the server had it.
        """
        self._executed = step.executed
        self.moment, self._moment_s = step.moment, now_s
        self._poses[step.moment.tick] = step.moment.ego
        while len(self._poses) > REMEMBERED:
            self._poses.popitem(last=False)
        self._follow()
        self.help = self._monitor.help(step.moment)
        turn = self._turns.get(step.number)
        if turn is None or step.number == STALE_ORDER:
            idle = Intent()
            order = Order(step.number, step.executed)
            return Turn(order, _STOPPED, self.policy, None, idle, self.plan, self.handover)
        return turn

    def _follow(self) -> None:
        if self.plan is None:
            return
        pose = self._poses.get(self.plan.tick)
        if pose is None:
            self.policy = None
            return
        age_s = (self.moment.tick - self.plan.tick) * TICK_S
        self.policy = self._follower.control(self.plan, pose, self.moment.ego, age_s)

    def plan_age_s(self, now_s: float) -> float:
        """Age of the plan in force; inf for none. It grows between ticks, and when none come."""
        if self.plan is None:
            return math.inf
        since_s = now_s - self._moment_s if self._moment_s else 0.0
        return (self.moment.tick - self.plan.tick) * TICK_S + max(since_s, 0.0)

    def turn(self, device: DeviceState, actions: Collection[Action], now_s: float) -> Turn:
        """One turn of the loop.

        Args:
            device: Hands and feet.
            actions: Presses since the last turn.
            now_s: Present time, never earlier than the last call's.

        Returns:
            What is decided; its order is to be sent in the same turn.
        """
        handover, before = self._arbiter.handover, self._arbiter.authority
        button, handback = requested(actions, handover.state, handover.since_s, now_s)
        if (device.source, device.follows) != self._device:
            self._device = device.source, device.follows
            self._detector = IntentDetector(
                replace(self._intents[device.kind], force_feedback=device.follows)
            )
            self._detector.rearm(device)  # a wheel that rests off its centre wants nothing
        intent = self._detector.update(device, self._executed, now_s, button=button)
        takeover = intent.takeover
        if (
            before is Authority.DRIVER
        ):  # a hand on the wheel is no reason to keep the car; a foot on the brake is
            takeover = button or intent.channel is Channel.BRAKE
        decision = self._arbiter.decide(
            now_s,
            policy=self.policy,
            driver=device.control if device.connected else None,
            takeover=takeover,
            handback=handback,
            plan_age_s=self.plan_age_s(now_s),
            help=self.help,
            gas=intent.momentary_gas,
            swerve=intent.swerve or device.follows,  # the wheel is at the executed angle already
            device_lost=not device.connected,
        )
        after = decision.authority
        if after is not before:
            self._monitor.reset()
        if after is Authority.DRIVER and before is not Authority.DRIVER:
            self._channel = intent.channel
        if before is Authority.DRIVER and after is not Authority.DRIVER:
            self._detector.rearm(device)
            self._follower = PlanFollower()  # what it summed up while another drove means nothing
        hands_on = after is Authority.DRIVER or intent.channel is not Channel.NONE
        reverse = device.reverse and after is Authority.DRIVER
        turn = Turn(
            Order(self._number, decision.control, reverse),
            decision,
            self.policy,
            device.control if hands_on and device.connected else None,
            Intent(intent.takeover, intent.momentary_gas, intent.swerve, self._channel, intent.steer_gap)
            if after is Authority.DRIVER
            else intent,
            self.plan,
            self._arbiter.handover,
        )
        self._turns[self._number] = turn
        self._number += 1
        if len(self._turns) > REMEMBERED:
            self._turns.popitem(last=False)
        return turn
