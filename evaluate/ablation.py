"""Figures of an ablation: arms on the same held-out cases over several training seeds, paired with generation 0.

The primary figure, fixed beforehand: pooled SR on the long tail. Intervals: bootstrap clustered by training seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..scoring.caution import time_lost_s
from ..scoring.statistics import Estimate, clustered_bootstrap
from .closed_loop import CaseResult
from .summary import COLLISIONS

OFF_ROAD = ("outside_lane", "route_deviation")


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One arm, trained with one seed.

    Attributes:
        longtail: Results on the long-tail cases, in the suite's order.
        nominal: Results on the nominal cases, in the suite's order.
        text_steps: Optimiser steps of backbone and head together.
        head_steps: Optimiser steps of the head alone, on cached features.
        seconds: Training.
    """

    longtail: Sequence[CaseResult]
    nominal: Sequence[CaseResult]
    text_steps: int = 0
    head_steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """One row of the table. Shares in [0, 1]; means over seeds; differences are paired by case.

    Attributes:
        arm: Name.
        note: What it is; its row in SafeAlign's tables, if it has one.
        seeds: Training seeds that are done.
        text_steps: Of the longest seed.
        head_steps: Likewise.
        sr: Pooled SR on the long tail, each seed, then their mean as `sr_mean`.
        sr_gain: SR against generation 0, points as share.
        sr_against: SR against the reference arm (seed by seed); None for that arm and for generation 0.
        ds: Mean driving score.
        ds_gain: Against generation 0.
        sr_braking: On types that braking alone passes, decoys apart.
        sr_steering: On the other types, decoys apart.
        sr_decoys: On decoy twins.
        no_collision: Share of cases without any collision (NC in closed loop).
        on_road: Share of cases that stayed on road and route (DAC in closed loop).
        progress: Mean route completion, 0 to 100 (EP in closed loop).
        phantom_per_km: Phantom brakes on decoys and nominal cases.
        standstill_share: Of the time.
        time_lost_s: Mean extra duration against generation 0 on cases that both passed.
        sr_nominal: Everyday driving.
        nominal_gain: Against generation 0; below zero is forgetting.
        train_s: Mean training time.
    """

    arm: str
    note: str
    seeds: tuple[int, ...]
    text_steps: int
    head_steps: int
    sr: tuple[float, ...]
    sr_mean: float
    sr_gain: Estimate
    sr_against: Estimate | None
    ds: float
    ds_gain: Estimate
    sr_braking: float
    sr_steering: float
    sr_decoys: float
    no_collision: float
    on_road: float
    progress: float
    phantom_per_km: float
    standstill_share: float
    time_lost_s: float
    sr_nominal: float
    nominal_gain: Estimate
    train_s: float


def arm_figures(
    arm: str,
    note: str,
    results: Mapping[int, SeedResult],
    base: SeedResult,
    against: Mapping[int, SeedResult] | None = None,
    *,
    seed: int = 0,
) -> ArmFigures:
    """Figures of an arm.

    Args:
        arm: Name.
        note: What it is.
        results: By training seed; at least one.
        base: Generation 0 on the same cases.
        against: The reference arm's results; seeds that it lacks are left out of that difference.
        seed: Of the bootstrap.
    """
    numbers = sorted(results)
    every = [results[number] for number in numbers]
    tails = [one.longtail for one in every]
    pooled = [r for one in every for r in [*one.longtail, *one.nominal]]
    longtail = [r for tail in tails for r in tail]
    calm = [r for r in pooled if r.calm]
    calm_km = sum(r.driven_m for r in calm) / 1000
    shared = [number for number in numbers if against is not None and number in against]
    before = [r for one in every for r in [*base.longtail, *base.nominal]]
    hazards = [r for r in longtail if not r.case.decoy]

    def gains(value: Callable[[CaseResult], float], part: str) -> Estimate:
        own = getattr(base, part)
        return clustered_bootstrap([_differences(own, getattr(one, part), value) for one in every], seed=seed)

    versus = None
    if shared and against is not None and against is not results:
        versus = clustered_bootstrap(
            [_differences(against[n].longtail, results[n].longtail, _won) for n in shared], seed=seed
        )
    return ArmFigures(
        arm=arm,
        note=note,
        seeds=tuple(numbers),
        text_steps=max(one.text_steps for one in every),
        head_steps=max(one.head_steps for one in every),
        sr=tuple(_share(tail, _won) for tail in tails),
        sr_mean=_share(longtail, _won),
        sr_gain=gains(_won, "longtail"),
        sr_against=versus,
        ds=_share(longtail, lambda r: r.ds),
        ds_gain=gains(lambda r: r.ds, "longtail"),
        sr_braking=_share([r for r in hazards if r.braking], _won),
        sr_steering=_share([r for r in hazards if not r.braking], _won),
        sr_decoys=_share([r for r in longtail if r.case.decoy], _won),
        no_collision=_share(longtail, lambda r: float(not set(r.infractions) & set(COLLISIONS))),
        on_road=_share(
            longtail, lambda r: float(r.end != "off_road" and not set(r.infractions) & set(OFF_ROAD))
        ),
        progress=_share(longtail, lambda r: r.rc),
        phantom_per_km=sum(r.phantom_brakes for r in calm) / calm_km if calm_km > 0.001 else 0.0,
        standstill_share=sum(r.standstill_s for r in pooled) / max(sum(r.duration_s for r in pooled), 1e-9),
        time_lost_s=time_lost_s(
            [r.duration_s for r in before],
            [r.duration_s for r in pooled],
            [a.success and b.success for a, b in zip(before, pooled, strict=True)],
        ),
        sr_nominal=_share([r for one in every for r in one.nominal], _won),
        nominal_gain=gains(_won, "nominal"),
        train_s=float(np.mean([one.seconds for one in every])),
    )


def _won(result: CaseResult) -> float:
    return float(result.success)


def _share(results: Sequence[CaseResult], value: Callable[[CaseResult], float]) -> float:
    return float(np.mean([value(r) for r in results])) if results else float("nan")


def _differences(
    old: Sequence[CaseResult], new: Sequence[CaseResult], value: Callable[[CaseResult], float]
) -> list[float]:
    if [r.case for r in old] != [r.case for r in new]:
        raise ValueError("an ablation compares the same cases in the same order")
    return [value(b) - value(a) for a, b in zip(old, new, strict=True)]
