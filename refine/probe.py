"""Caution and forgetting, looked at after each stage: plans on a fixed few scenes of replay that the stages never train on.

Closed-loop figures decide; these say cheaply (64 prefills) which stage made the policy timid or unlearnt
everyday driving.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..models.policy import Policy
from ..scoring.caution import plan_caution
from ..vocabulary import DrivingSample

SCENES = 64
LEAST = 16  # fewer scenes say nothing: then none are held out
EVERY = 20  # one case in so many is held out


class Probe:
    """The held-out scenes.

    Args:
        replay: All there is.
    """

    def __init__(self, replay: Sequence[DrivingSample]) -> None:
        held = [sample for sample in replay if _held_out(sample.case_id)]
        self._scenes: list[DrivingSample] = []
        self.training = list(replay)
        if len(held) >= LEAST and len(held) < len(replay):
            self.training = [sample for sample in replay if not _held_out(sample.case_id)]
            chosen = np.linspace(0, len(held) - 1, min(SCENES, len(held))).round().astype(int)
            self._scenes = [held[i] for i in chosen]

    def figures(self, policy: Policy) -> dict[str, float]:
        """progress_ratio, needless_brakes and ade_m of the decoder that drives; empty without scenes."""
        if not self._scenes:
            return {}
        plans = policy.try_plan([sample.input for sample in self._scenes], "")
        made = [
            (plan.waypoints_m, s) for plan, s in zip(plans, self._scenes, strict=True) if plan is not None
        ]
        figures = {"unusable_plans": 1.0 - len(made) / len(self._scenes)}
        if not made:
            return figures
        tracks = np.stack([track[:, :2] for track, _ in made])
        targets = np.stack([s.target_m[:, :2] for _, s in made])
        caution = plan_caution(tracks, targets, [s.input.speed_mps for _, s in made])
        off_m = np.linalg.norm(tracks - targets, axis=2)[np.stack([s.mask for _, s in made])]
        return {
            **figures,
            "progress_ratio": caution.progress_ratio,
            "needless_brakes": caution.needless_brakes,
            "held_out_ade_m": float(off_m.mean()),
        }


def _held_out(case_id: str) -> bool:
    """By the case's name alone, so that a case held out in one round is held out in all."""
    digest = hashlib.blake2b(case_id.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % EVERY == 0
