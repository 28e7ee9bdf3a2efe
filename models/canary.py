"""A fixed policy input: what a fresh checkpoint must plan on before anyone drives with it."""

from __future__ import annotations

import numpy as np

from ..vocabulary import Command, PolicyInput
from .policy import PolicyConfig


def fixed_inputs(config: PolicyConfig) -> list[PolicyInput]:
    """A full batch: gradients of grey at four speeds."""
    column = np.linspace(40, 215, config.height_px, dtype=np.uint8)
    picture = np.broadcast_to(column[:, None, None], (config.height_px, config.width_px, 3))
    images = np.ascontiguousarray(np.broadcast_to(picture, (config.frames, config.views, *picture.shape)))
    inputs = []
    for speed in (0.0, 4.0, 8.0, 12.0):
        history = np.array([(-speed * ago, 0.0, 0.0) for ago in (1.5, 1.0, 0.5, 0.0)], np.float32)
        inputs.append(PolicyInput(images, history, speed, 0.0, 0.0, Command.FOLLOW_LANE))
    return inputs
