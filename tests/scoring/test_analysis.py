from __future__ import annotations

import numpy as np

from takeover.scoring.analysis import negative_analysis
from takeover.vocabulary import Float

STEPS_S = np.linspace(0.5, 4.0, 8)


def swerve(side: float, speed_mps: float) -> Float:
    return np.stack((speed_mps * STEPS_S, -side * 1.5 * (STEPS_S / 4.0) ** 2), axis=1).astype(np.float32)


def test_cause_size_and_remedy_are_named_without_a_scene() -> None:
    good = swerve(1.0, 4.0)
    assert negative_analysis(None, swerve(1.0, 6.0), good, frozenset()) == (
        "unsafe; too fast 8.0 m; otherwise safe; brake 2.0 m/s from 0.0 s"
    )
    assert negative_analysis(None, swerve(-1.0, 4.0), good, frozenset()) == (
        "unsafe; left 3.0 m; otherwise safe; right 3.0 m from 1.5 s"
    )


def test_equal_ends_differ_in_timing() -> None:
    late = swerve(1.0, 4.0)
    late[:6, 0] -= 1.0
    found = negative_analysis(None, late, swerve(1.0, 4.0), frozenset())
    assert found == "unsafe; timing; otherwise safe; keep the lane from 0.0 s"
