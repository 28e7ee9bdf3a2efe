"""Pushes on the steering during expert drives, so that generation 0 sees how to come back to the lane.

Noise on the teacher's control while its plans stay the targets is DART (Laskey et al., 2017): without it a cloned
policy meets its own small errors for the first time behind the wheel.
"""

from __future__ import annotations

import numpy as np

from ..vocabulary import TICK_S, Control


class Disturbance:
    """Random steering bursts, repeatable by seed.

    Args:
        seed: Seed of the bursts.
        pause_s: Mean pause between bursts.
        burst_s: Shortest and longest burst.
        steer: Largest offset, in the units of `Control.steer`.
    """

    def __init__(
        self,
        seed: int,
        *,
        pause_s: float = 1.8,
        burst_s: tuple[float, float] = (0.3, 0.9),
        steer: float = 0.16,
    ) -> None:
        self._random = np.random.default_rng(seed)
        self._pause_s = pause_s
        self._burst_s = burst_s
        self._steer = steer
        self._left_s = 0.0
        self._offset = 0.0
        self._wait_s = float(self._random.exponential(pause_s))

    def apply(self, control: Control) -> Control:
        """The control with this tick's push on the steering."""
        if self._wait_s > 0.0:
            self._wait_s -= TICK_S
            return control
        if self._left_s <= 0.0:
            self._left_s = float(self._random.uniform(*self._burst_s))
            self._offset = float(self._random.uniform(-self._steer, self._steer))
        self._left_s -= TICK_S
        if self._left_s <= 0.0:
            self._wait_s = float(self._random.exponential(self._pause_s))
        return Control(min(max(control.steer + self._offset, -1.0), 1.0), control.throttle, control.brake)
