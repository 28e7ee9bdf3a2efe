"""The over-caution ledger: what each generation does needlessly, beside the champion of its time and generation 0.

A policy that brakes for everything collides with nothing. Phantom brakes, standing still, time and progress are therefore
counted on the very cases that decide about it; a challenger whose gate gave up early is compared on the cases that it drove.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..scoring.statistics import Estimate, paired_bootstrap, poisson_interval
from .closed_loop import CaseResult

MIN_KM = 0.001  # less exposure gives no rate


@dataclass(frozen=True, slots=True)
class CautionFigures:
    """Caution over a set of cases.

    Attributes:
        cases: How many.
        calm_km: Driven in calm cases (everyday driving, decoys): only there a hard brake has no cause by construction.
        phantom_brakes: Brakings harder than 2 m/s2 in them with no time to collision below 5 s and no red light.
        phantom_per_km: Their rate; None without exposure.
        phantom_interval: Exact 95 % interval of the rate; None without exposure.
        standstill_share: Time stood still, red lights apart, over all time, all cases.
        progress: Mean route completion, 0 to 100, all cases.
        speed_mps: Distance over time, all cases.
    """

    cases: int
    calm_km: float
    phantom_brakes: int
    phantom_per_km: float | None
    phantom_interval: tuple[float, float] | None
    standstill_share: float
    progress: float
    speed_mps: float


@dataclass(frozen=True, slots=True)
class CautionChange:
    """A generation beside another one on the cases that both drove.

    Attributes:
        against: The other generation.
        before: The other's figures on these cases.
        after: Its own on them.
        progress: Mean change of route completion in points, cases resampled.
        time_lost: Mean extra seconds on cases that both passed; None if there is none.
        passed_by_both: How many these are.
    """

    against: int
    before: CautionFigures
    after: CautionFigures
    progress: Estimate
    time_lost: Estimate | None
    passed_by_both: int


@dataclass(frozen=True, slots=True)
class CautionRow:
    """One line of the ledger; the changes are None where there is nobody to compare with."""

    generation: int
    figures: CautionFigures
    champion: CautionChange | None  # against the champion of its time
    start: CautionChange | None  # against generation 0


def ledger(
    results: Mapping[int, Sequence[CaseResult]], parents: Mapping[int, int | None], *, seed: int = 0
) -> list[CautionRow]:
    """One row a generation that has driven.

    Args:
        results: By generation: the gate's cases, long tail and nominal together.
        parents: By generation: the champion that it was made from and judged against.
        seed: Of the bootstraps.
    """
    rows = []
    for number, own in sorted(results.items()):
        if not own:
            continue
        parent = parents.get(number)
        rows.append(
            CautionRow(
                number,
                figures(own),
                _change(parent, results, own, seed),
                _change(0, results, own, seed) if number else None,
            )
        )
    return rows


def figures(results: Sequence[CaseResult]) -> CautionFigures:
    """Figures of a non-empty list of results."""
    calm = [r for r in results if r.calm]
    calm_km = sum(r.driven_m for r in calm) / 1000
    phantom = sum(r.phantom_brakes for r in calm)
    driven_s = max(sum(r.duration_s for r in results), 1e-9)
    known = calm_km > MIN_KM
    return CautionFigures(
        cases=len(results),
        calm_km=calm_km,
        phantom_brakes=phantom,
        phantom_per_km=phantom / calm_km if known else None,
        phantom_interval=poisson_interval(phantom, calm_km) if known else None,
        standstill_share=sum(r.standstill_s for r in results) / driven_s,
        progress=float(np.mean([r.rc for r in results])),
        speed_mps=sum(r.driven_m for r in results) / driven_s,
    )


def _change(
    against: int | None,
    results: Mapping[int, Sequence[CaseResult]],
    own: Sequence[CaseResult],
    seed: int,
) -> CautionChange | None:
    """Paired by case; None if no case is shared."""
    if against is None:
        return None
    before = {r.case: r for r in results.get(against, ())}
    pairs = [(before[r.case], r) for r in own if r.case in before]
    if not pairs:
        return None
    extra_s = [new.duration_s - old.duration_s for old, new in pairs if old.success and new.success]
    return CautionChange(
        against=against,
        before=figures([old for old, _ in pairs]),
        after=figures([new for _, new in pairs]),
        progress=paired_bootstrap(np.array([new.rc - old.rc for old, new in pairs]), seed=seed),
        time_lost=paired_bootstrap(np.array(extra_s), seed=seed) if extra_s else None,
        passed_by_both=len(extra_s),
    )
