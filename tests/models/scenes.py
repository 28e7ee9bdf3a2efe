"""Policy inputs for the tests."""

from __future__ import annotations

import numpy as np

from takeover.models.policy import PolicyConfig
from takeover.vocabulary import Command, PolicyInput


def make_inputs(n: int, config: PolicyConfig | None = None, seed: int = 0) -> list[PolicyInput]:
    config = config or PolicyConfig()
    rng = np.random.default_rng(seed)
    shape = (config.frames, config.views, config.height_px, config.width_px, 3)
    inputs = []
    for _ in range(n):
        speed = float(rng.uniform(0, 12))
        history = np.array(
            [(-speed * ago, rng.normal() * 0.2, rng.normal() * 0.05) for ago in (1.5, 1.0, 0.5, 0.0)],
            np.float32,
        )
        inputs.append(
            PolicyInput(
                images=rng.integers(0, 256, shape, dtype=np.uint8),
                history_m_rad=history,
                speed_mps=speed,
                accel_mps2=float(rng.normal()),
                yaw_rate_radps=float(rng.normal() * 0.1),
                command=list(Command)[rng.integers(6)],
            )
        )
    return inputs
