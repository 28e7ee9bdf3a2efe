"""Pushes on wheel and brake during expert drives, so that generation 0 sees how to come back to lane and speed.

Noise on the teacher's control while its plans stay the targets is DART (Laskey et al., 2017): without it a cloned
policy meets its own small errors for the first time behind the wheel. A policy that has never been slow on a free road
knows being slow from takeovers alone, and goes on braking there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..vocabulary import TICK_S, Control

STEER = 0.16  # largest push, in the units of `Control.steer`
BRAKE = (0.1, 0.4)  # in the units of `Control.brake`


class Disturbance:
    """Random bursts on steering and brake, each on its own clock, repeatable by seed.

    Args:
        seed: Seed of the bursts.
    """

    def __init__(self, seed: int) -> None:
        self._steer = _Bursts(seed, 0, pause_s=1.8, burst_s=(0.3, 0.9), size=(-STEER, STEER))
        self._brake = _Bursts(seed, 1, pause_s=5.0, burst_s=(0.5, 2.0), size=BRAKE)

    def apply(self, control: Control) -> Control:
        """The control with this tick's pushes."""
        push, brake = self._steer.tick(), self._brake.tick()
        if push:
            control = replace(control, steer=min(max(control.steer + push, -1.0), 1.0))
        if brake:
            control = replace(control, throttle=0.0, brake=max(control.brake, brake))
        return control


class _Bursts:
    """Pauses with a mean length, and between them bursts of one size each."""

    def __init__(
        self,
        seed: int,
        channel: int,
        *,
        pause_s: float,
        burst_s: tuple[float, float],
        size: tuple[float, float],
    ) -> None:
        self._random = np.random.default_rng([seed, channel])
        self._pause_s, self._burst_s, self._size_range = pause_s, burst_s, size
        self._left_s = self._size = 0.0
        self._wait_s = float(self._random.exponential(pause_s))

    def tick(self) -> float:
        """This tick's push; 0 in a pause."""
        if self._wait_s > 0.0:
            self._wait_s -= TICK_S
            return 0.0
        if self._left_s <= 0.0:
            self._left_s = float(self._random.uniform(*self._burst_s))
            self._size = float(self._random.uniform(*self._size_range))
        self._left_s -= TICK_S
        if self._left_s <= 0.0:
            self._wait_s = float(self._random.exponential(self._pause_s))
        return self._size
