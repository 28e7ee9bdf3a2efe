from __future__ import annotations

import numpy as np
import pytest

from takeover.scoring.kinematics import rollout_actions
from takeover.scoring.meta_actions import agreement, meta_actions

STEPS = np.arange(1.0, 9.0)
KEEP = np.stack([5.0 * STEPS, np.zeros(8)], 1)


def rolled(accel: float, curvature: float, speed: float = 10.0) -> np.ndarray:
    return rollout_actions([speed], np.full((1, 8), accel), np.full((1, 8), curvature), 0.5)[0]


@pytest.mark.parametrize(
    ("plan", "first", "second"),
    [
        (KEEP, ("maintain", "keep"), ("maintain", "keep")),
        (rolled(-3.0, 0.0), ("decelerate", "keep"), ("decelerate", "keep")),
        (rolled(2.0, 0.0), ("accelerate", "keep"), ("accelerate", "keep")),
        (rolled(0.0, 0.04, 6.0), ("maintain", "turn_left"), ("maintain", "turn_left")),
        (rolled(0.0, -0.04, 6.0), ("maintain", "turn_right"), ("maintain", "turn_right")),
        (
            np.stack([5.0 * STEPS, 3.5 * np.clip(STEPS / 4, 0, 1)], 1),
            ("maintain", "change_left"),
            ("maintain", "change_left"),
        ),
        (
            np.stack([5.0 * STEPS, -3.5 * np.clip((STEPS - 2) / 4, 0, 1)], 1),
            ("maintain", "keep"),
            ("maintain", "change_right"),
        ),
    ],
)
def test_meta_actions(plan: np.ndarray, first: tuple[str, str], second: tuple[str, str]) -> None:
    speed = 6.0 if "turn" in first[1] else 10.0
    assert meta_actions(plan, speed) == (first, second)


def test_the_second_meta_action_reaches_to_the_plans_end() -> None:
    late = np.array([5.0, 10.0, 15.0, 20.0, 25.0, 29.0, 32.0, 34.0])  # 10 m/s for 2.5 s, then down to 4 m/s
    assert meta_actions(np.stack([late, np.zeros(8)], 1), 10.0) == (
        ("maintain", "keep"),
        ("decelerate", "keep"),  # (4 - 10) / 3 s = -2 m/s2
    )


def test_standing_is_no_turn() -> None:
    assert meta_actions(np.random.default_rng(0).normal(0, 0.02, (8, 2)), 0.0)[0] == ("maintain", "keep")


def test_agreement_is_the_share_of_words_that_the_plan_does() -> None:
    said = (("decelerate", "keep"), ("maintain", "change_left"))
    assert agreement((("maintain", "keep"), ("maintain", "keep")), KEEP, 10.0) == 1.0
    assert agreement(said, KEEP, 10.0) == 0.5  # keep, maintain
    assert agreement((("accelerate", "turn_left"), ("decelerate", "turn_left")), KEEP, 10.0) == 0.0
