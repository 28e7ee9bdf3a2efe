"""The arbiter: one control out of the policy's and the driver's, by authority.

Unattended drives use it bare, one decision a tick. The cockpit decides at 100 Hz with rate limits on every source, and
without force feedback the steering moves from the executed angle to the wheel's. A brake is never limited nor faded in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ..vocabulary import PLAN_HORIZON_S, Authority, Control, HandoverState
from .handover import Handover, HandoverConfig, HelpReason

SAFE_STOP = Control(steer=0.0, throttle=0.0, brake=0.6)
MAX_STEP_S = 0.1  # a pause of the loop does not widen the rate limits further


@dataclass(frozen=True, slots=True)
class Rates:
    """Largest changes, per second, in units of `Control`; a rising brake is never limited."""

    steer_per_s: float = math.inf
    throttle_per_s: float = math.inf
    release_per_s: float = math.inf  # of the brake


@dataclass(frozen=True, slots=True)
class ArbiterConfig:
    """How controls are joined.

    Attributes:
        handover: Times and limits of the state machine.
        policy: Limits of the policy's control; it may turn from centre to lock in 0.4 s.
        driver: Limits of the driver's; no hand is faster, only a faulty axis is.
        stop: Limits of the safe stop.
        steer_in_s: Time in which the steering moves from the executed angle to the wheel's after a takeover; with
            force feedback the wheel is there already, and every takeover counts as a swerve.
        stop_on_path: A safe stop steers along the newest plan while that reaches, instead of straight on.
    """

    handover: HandoverConfig = field(default_factory=HandoverConfig)
    policy: Rates = field(default_factory=Rates)
    driver: Rates = field(default_factory=Rates)
    stop: Rates = field(default_factory=Rates)
    steer_in_s: float = 0.0
    stop_on_path: bool = False


UNATTENDED = ArbiterConfig()
COCKPIT = ArbiterConfig(
    handover=HandoverConfig(max_steer_gap=0.25, latches=True),
    policy=Rates(2.5, 4.0, 4.0),
    driver=Rates(20.0, 20.0, 20.0),
    stop=Rates(2.5, math.inf, 4.0),
    steer_in_s=0.3,
    stop_on_path=True,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is executed on a tick, and by whom.

    Attributes:
        control: To be applied.
        authority: Who moves the car.
        state: Live handover state.
        override: The driver's gas replaces the policy's pedals; the policy steers. To be stored as `too_slow`.
        ghost_steer: Where the policy would hold the wheel, for the HUD's ghost wheel: the driver sees what the car
            does while the policy drives, and where to turn before handing back.
    """

    control: Control
    authority: Authority
    state: HandoverState
    override: bool = False
    ghost_steer: float = 0.0


class Arbiter:
    """Holds the handover state of one episode.

    Args:
        config: UNATTENDED or COCKPIT, or one's own.
    """

    def __init__(self, config: ArbiterConfig = UNATTENDED) -> None:
        self._config = config
        self._handover = Handover(config=config.handover)
        self._last_driver = Control()
        self._executed: Control | None = None
        self._executed_at_s = 0.0
        self._steer_from: float | None = (
            None  # a takeover's steering moves in from here; None once it is there
        )

    @property
    def handover(self) -> Handover:
        """The state machine, for countdown, blend and refusals."""
        return self._handover

    @property
    def state(self) -> HandoverState:
        """Live handover state."""
        return self._handover.state

    @property
    def authority(self) -> Authority:
        """Who has the car before the next decision."""
        return self._handover.authority

    def decide(
        self,
        now_s: float,
        *,
        policy: Control | None,
        driver: Control | None,
        takeover: bool,
        handback: bool,
        plan_age_s: float,
        help: HelpReason | None = None,
        gas: bool = False,
        swerve: bool = False,
        device_lost: bool = False,
    ) -> Decision:
        """Advance the handover and choose the control.

        Args:
            now_s: Present time.
            policy: Control that follows the newest plan; None when there is no plan.
            driver: The driver's control; None when the driver's hands are off.
            takeover: The driver takes or keeps the car.
            handback: The driver gives it back.
            plan_age_s: Age of the newest plan.
            help: The policy asks for help.
            gas: The driver's gas is a momentary override (`Intent.momentary_gas`).
            swerve: The wheel is turned so firmly that the steering is the driver's at once (`Intent.swerve`).
            device_lost: The device that drove is gone.

        Returns:
            The control to apply. A non-finite or missing control becomes a safe stop, never a stale value.
        """
        policy, usable_driver = _usable(policy), _usable(driver)
        before = self._handover.authority
        self._handover = self._handover.advance(
            now_s,
            takeover=takeover,
            handback=handback,
            plan_age_s=plan_age_s if policy is not None else math.inf,
            help=help,
            device_lost=device_lost or (driver is not None and usable_driver is None),
            steer_gap=abs(usable_driver.steer - policy.steer) if usable_driver and policy else 0.0,
        )
        if usable_driver is not None:
            self._last_driver = usable_driver
        authority = self._handover.authority
        override = False
        if authority is Authority.DRIVER and usable_driver is not None:
            control, rates = self._moved_in(usable_driver, now_s, swerve, before), self._config.driver
        elif authority is Authority.POLICY and policy is not None:
            control, rates = _mix(self._last_driver, policy, self._handover.blend(now_s)), self._config.policy
            if gas and usable_driver is not None:
                control, override = (
                    Control(control.steer, max(control.throttle, usable_driver.throttle)),
                    True,
                )
        else:
            control, rates = self._stop(policy, plan_age_s), self._config.stop
        control = self._limited(control, rates, now_s)
        self._executed, self._executed_at_s = control, now_s
        ghost = policy.steer if policy is not None else control.steer
        return Decision(control, authority, self._handover.state, override, ghost)

    def _moved_in(self, driver: Control, now_s: float, swerve: bool, before: Authority) -> Control:
        """The driver's control; its steering comes in from the executed angle after a takeover."""
        if before is not Authority.DRIVER:
            self._steer_from = self._executed.steer if self._executed is not None else None
        since_s = now_s - self._handover.since_s
        if swerve or since_s >= self._config.steer_in_s:
            self._steer_from = None
        if self._steer_from is None:
            return driver
        share = since_s / self._config.steer_in_s
        return replace(driver, steer=self._steer_from + (driver.steer - self._steer_from) * share)

    def _stop(self, policy: Control | None, plan_age_s: float) -> Control:
        if self._config.stop_on_path and policy is not None and plan_age_s <= PLAN_HORIZON_S:
            return Control(policy.steer, 0.0, max(policy.brake, SAFE_STOP.brake))
        return SAFE_STOP

    def _limited(self, wanted: Control, rates: Rates, now_s: float) -> Control:
        last = self._executed
        if last is None:
            return wanted
        step_s = min(max(now_s - self._executed_at_s, 0.0), MAX_STEP_S)
        return Control(
            steer=_towards(last.steer, wanted.steer, rates.steer_per_s * step_s),
            throttle=_towards(last.throttle, wanted.throttle, rates.throttle_per_s * step_s),
            brake=max(wanted.brake, _towards(last.brake, wanted.brake, rates.release_per_s * step_s)),
        )


def _mix(start: Control, end: Control, share: float) -> Control:
    if share >= 1.0:
        return end
    return Control(
        steer=start.steer + (end.steer - start.steer) * share,
        throttle=start.throttle + (end.throttle - start.throttle) * share,
        brake=max(start.brake * (1.0 - share), end.brake),  # a brake of the policy is never faded in
    )


def _towards(last: float, wanted: float, step: float) -> float:
    return min(max(wanted, last - step), last + step)


def _usable(control: Control | None) -> Control | None:
    """The control within its range; None for a non-finite one."""
    if control is None or not all(map(math.isfinite, (control.steer, control.throttle, control.brake))):
        return None
    return Control(
        steer=min(max(control.steer, -1.0), 1.0),
        throttle=min(max(control.throttle, 0.0), 1.0),
        brake=min(max(control.brake, 0.0), 1.0),
    )
