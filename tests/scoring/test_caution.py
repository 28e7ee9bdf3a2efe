from __future__ import annotations

import math

import numpy as np
import pytest

from takeover.scoring.caution import plan_caution

T = np.arange(1, 9) * 0.5


def straight(x_m: np.ndarray) -> np.ndarray:
    return np.stack((x_m, np.zeros(8)), axis=1)


def test_progress_and_needless_brakes_by_hand() -> None:
    keeps = straight(10.0 * T)  # 40 m
    brakes = straight(
        np.where(T < 10 / 3, 10.0 * T - 1.5 * T * T, 50 / 3)
    )  # 3 m/s2: 16.67 m, stands after 3.33 s
    eases = straight(10.0 * T - 0.25 * T * T)  # 0.5 m/s2: 36 m
    stands = straight(np.zeros(8))
    plans = [brakes, eases, brakes, stands]
    targets = [keeps, keeps, brakes, stands]
    found = plan_caution(plans, targets, [10.0, 10.0, 10.0, 0.0])
    # moving targets: 40 + 40 + 16.67 m; plans 16.67 + 36 + 16.67 m
    assert found.progress_ratio == pytest.approx((50 / 3 + 36 + 50 / 3) / (80 + 50 / 3))
    # calm targets: the first two and the one that stands; one of their plans brakes
    assert found.needless_brakes == pytest.approx(1 / 3)


def test_nothing_to_compare() -> None:
    stands = straight(np.zeros(8))
    assert math.isnan(plan_caution([stands], [stands], [0.0]).progress_ratio)
    brakes = straight(np.where(T < 10 / 3, 10.0 * T - 1.5 * T * T, 50 / 3))
    assert math.isnan(plan_caution([brakes], [brakes], [10.0]).needless_brakes)
    assert math.isnan(plan_caution(np.zeros((0, 8, 2)), np.zeros((0, 8, 2)), []).progress_ratio)
