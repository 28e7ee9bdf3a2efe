"""How far apart two ways to plan are: the text's plan and the head's, the head with and without reasoning.

Text and head learn side by side from the same targets, and nothing ties them together: a gap that grows over the
generations says that the words no longer describe what is driven.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..models.heads import CONTEXTS
from ..models.policy import Policy
from ..vocabulary import DrivingSample, Float
from .config import RefitConfig
from .features import FeatureCache
from .refit import Kept, refit_head
from .report import StageReport

SCENES = 64  # their mean is good to a few per cent
BATCH = 16  # of plans: nobody waits for one of them


def mean_distance_m(a: Sequence[Float], b: Sequence[Float], masks: Sequence[NDArray[np.bool_]]) -> float:
    """Mean distance between the waypoints that count, NaN if none does.

    Args:
        a: n plans (8, 2) in metres.
        b: n plans.
        masks: n masks (8,).
    """
    if not len(masks):
        return math.nan
    counts = np.stack(masks)
    distance = np.linalg.norm(np.stack(a) - np.stack(b), axis=-1)
    return float(distance[counts].mean()) if counts.any() else math.nan


def text_gap(policy: Policy, samples: Sequence[DrivingSample]) -> StageReport:
    """Compare the plan of the action tokens with that of the head on some scenes.

    Args:
        policy: With both; which of them drives does not matter.
        samples: Of which at most SCENES are taken, by a hash: nearly the same ones while the samples grow.

    Returns:
        A report named `gap`, which trains nothing: `text_head_ade_m` between the plans, `text_ade_m` and `head_ade_m`
        of each to the target, `unusable` the share of scenes left out because a plan could not be driven.
    """
    started = time.monotonic()
    if not samples:
        return StageReport("gap", skipped_reason="no scenes")
    chosen = sorted(samples, key=_hash)[:SCENES]
    inputs = [sample.input for sample in chosen]
    head = "mlp" if policy.decoder == "tokens" else policy.decoder
    text_plans, head_plans = (
        Policy(policy.backbone, replace(policy.config, decoder=decoder, batch_size=BATCH)).try_plan(
            inputs, ""
        )
        for decoder in ("tokens", head)
    )
    both = [
        (text.waypoints_m, plan.waypoints_m, np.asarray(sample.target_m)[:, :2], sample.mask)
        for text, plan, sample in zip(text_plans, head_plans, chosen, strict=True)
        if text is not None and plan is not None
    ]
    said, driven, targets, masks = zip(*both, strict=True) if both else ((), (), (), ())
    return StageReport(
        "gap",
        seconds=time.monotonic() - started,
        metrics={
            "text_head_ade_m": mean_distance_m(said, driven, [np.ones(len(m), np.bool_) for m in masks]),
            "text_ade_m": mean_distance_m(said, targets, masks),
            "head_ade_m": mean_distance_m(driven, targets, masks),
            "unusable": 1.0 - len(both) / len(chosen),
        },
    )


def _hash(sample: DrivingSample) -> bytes:
    target = np.asarray(sample.target_m, np.float32).tobytes()
    return hashlib.blake2b(sample.case_id.encode() + target, digest_size=8).digest()


def context_gap(
    policy: Policy,
    samples: Sequence[DrivingSample],
    held: Sequence[DrivingSample],
    config: RefitConfig,
    seed: int,
) -> dict[str, float]:
    """Fit the heads once to the prompt and once to prompt and reasoning, and compare what they plan.

    Args:
        policy: Stays as it is; copies of its heads are fitted, from the same start, on the same samples in one order.
        samples: To fit to.
        held: To judge on.
        config: Size of the fits.
        seed: Of their order.

    Returns:
        `<context>_ade_m` of each to the targets of `held`, and `between_m`, the mean distance of their plans.
    """
    result, plans = {}, []
    for context in CONTEXTS:
        fitted = Policy(replace(policy.backbone, model=copy.deepcopy(policy.model)), policy.config)
        fitted.model.set_context(context)
        cache = FeatureCache(fitted)
        refit_head(fitted, samples, config, seed, cache=cache)
        kept = Kept(fitted, held, cache, seed)
        result[f"{context}_ade_m"] = kept.ade_m(fitted.driving_head)
        plans.append(kept.plans(fitted.driving_head))
    result["between_m"] = float((plans[0] - plans[1]).norm(dim=-1).mean())
    return result
