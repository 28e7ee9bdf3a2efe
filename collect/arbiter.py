"""The arbiter: one control out of the policy's and the driver's, by authority."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..vocabulary import Authority, Control, HandoverState
from .handover import Handover

SAFE_STOP = Control(steer=0.0, throttle=0.0, brake=0.6)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is executed on a tick, and by whom."""

    control: Control
    authority: Authority
    state: HandoverState


class Arbiter:
    """Holds the handover state of one episode."""

    def __init__(self) -> None:
        self._handover = Handover()
        self._last_driver = Control()

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
    ) -> Decision:
        """Advance the handover and choose the control.

        Args:
            now_s: Present time.
            policy: Control that follows the newest plan; None when there is no plan.
            driver: The driver's control; None when the driver's hands are off.
            takeover: The driver takes or keeps the car.
            handback: The driver gives it back.
            plan_age_s: Age of the newest plan.

        Returns:
            The control to apply. A non-finite or missing policy control becomes a safe stop, never a stale value.
        """
        usable = policy is not None and _finite(policy)
        self._handover = self._handover.advance(
            now_s, takeover=takeover, handback=handback, plan_age_s=plan_age_s if usable else math.inf
        )
        if driver is not None:
            self._last_driver = driver
        authority = self._handover.authority
        if authority is Authority.DRIVER:
            control = driver if driver is not None else SAFE_STOP
        elif authority is Authority.POLICY and policy is not None:
            control = _mix(self._last_driver, policy, self._handover.blend(now_s))
        else:
            control = SAFE_STOP
        return Decision(_clamped(control), authority, self._handover.state)


def _mix(start: Control, end: Control, share: float) -> Control:
    if share >= 1.0:
        return end
    return Control(
        steer=start.steer + (end.steer - start.steer) * share,
        throttle=start.throttle + (end.throttle - start.throttle) * share,
        brake=max(start.brake * (1.0 - share), end.brake),  # a brake of the policy is never faded in
    )


def _finite(control: Control) -> bool:
    return all(math.isfinite(value) for value in (control.steer, control.throttle, control.brake))


def _clamped(control: Control) -> Control:
    return Control(
        steer=min(max(control.steer, -1.0), 1.0),
        throttle=min(max(control.throttle, 0.0), 1.0),
        brake=min(max(control.brake, 0.0), 1.0),
    )
