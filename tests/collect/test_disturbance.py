"""Pushes on wheel and brake: repeatable, in bursts, within their limits, and the rest of the time nothing."""

from __future__ import annotations

import numpy as np

from takeover.collect.disturbance import BRAKE, STEER, Disturbance
from takeover.vocabulary import TICK_S, Control

CRUISE = Control(steer=0.05, throttle=0.4)


def pushed(seed: int, seconds: float = 400.0) -> list[Control]:
    disturbance = Disturbance(seed)
    return [disturbance.apply(CRUISE) for _ in range(round(seconds / TICK_S))]


def test_one_seed_one_disturbance() -> None:
    assert pushed(3, 60.0) == pushed(3, 60.0)
    assert pushed(3, 60.0) != pushed(4, 60.0)


def test_pushes_stay_within_their_limits_and_leave_most_ticks_alone() -> None:
    controls = pushed(0)
    steer = np.array([c.steer for c in controls]) - CRUISE.steer
    brake = np.array([c.brake for c in controls])
    assert np.abs(steer).max() <= STEER + 1e-9
    assert brake[brake > 0].min() >= BRAKE[0]
    assert brake.max() <= BRAKE[1]
    assert 0.1 < (steer != 0).mean() < 0.4
    assert 0.1 < (brake > 0).mean() < 0.35
    assert all(c.throttle == (0.0 if c.brake else CRUISE.throttle) for c in controls)


def test_a_harder_brake_of_the_teacher_is_kept() -> None:
    disturbance = Disturbance(1)
    assert all(disturbance.apply(Control(brake=0.9)).brake == 0.9 for _ in range(2000))
