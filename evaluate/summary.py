"""Case results to the figures of a table: rates with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..scoring.statistics import bootstrap_mean, wilson_interval
from .closed_loop import CaseResult

COLLISIONS = ("collision_pedestrian", "collision_vehicle", "collision_static")


@dataclass(frozen=True, slots=True)
class SuiteSummary:
    """Figures of one generation on one suite.

    Attributes:
        cases: Number of cases.
        sr: Success rate in [0, 1], with its Wilson 95 % interval.
        ds: Mean driving score, 0 to 100, with its bootstrap 95 % interval.
        rc: Mean route completion, 0 to 100.
        collisions_per_km: All collisions.
        phantom_per_km: Phantom brakes on decoys and nominal cases; elsewhere hard braking has its cause.
        standstill_share: Time stood still over time driven.
        driven_km: Exposure.
    """

    cases: int
    sr: float
    sr_interval: tuple[float, float]
    ds: float
    ds_interval: tuple[float, float]
    rc: float
    collisions_per_km: float
    phantom_per_km: float
    standstill_share: float
    driven_km: float


def summarise(results: Sequence[CaseResult], seed: int = 0) -> SuiteSummary:
    """Figures of a non-empty list of results."""
    wins = sum(r.success for r in results)
    ds = bootstrap_mean(np.array([r.ds for r in results]), seed=seed)
    driven_km = sum(r.driven_m for r in results) / 1000
    per_km = 1.0 / driven_km if driven_km > 0.001 else 0.0
    calm = [r for r in results if r.calm]
    calm_km = sum(r.driven_m for r in calm) / 1000
    return SuiteSummary(
        cases=len(results),
        sr=wins / len(results),
        sr_interval=wilson_interval(wins, len(results)),
        ds=ds.mean,
        ds_interval=(ds.lower, ds.upper),
        rc=float(np.mean([r.rc for r in results])),
        collisions_per_km=per_km * sum(kind in COLLISIONS for r in results for kind in r.infractions),
        phantom_per_km=sum(r.phantom_brakes for r in calm) / calm_km if calm_km > 0.001 else 0.0,
        standstill_share=sum(r.standstill_s for r in results) / max(sum(r.duration_s for r in results), 1e-9),
        driven_km=driven_km,
    )


def suite_report(results: Sequence[CaseResult], *, suite: str, model: str) -> dict[str, Any]:
    """What `loop evaluate --json` prints.

    Returns:
        suite, model, summary, by_scenario, braking and steering types apart, and `cases`: one object a case with
        scenario, seed, decoy, success (0 or 1), ds, rc and infractions.
    """
    groups: dict[str, list[CaseResult]] = {}
    for result in results:
        groups.setdefault(result.case.scenario + (" (decoy)" if result.case.decoy else ""), []).append(result)
    parts = {
        "braking": [r for r in results if r.braking and not r.case.decoy],
        "steering": [r for r in results if not r.braking and not r.case.decoy],
        "decoys": [r for r in results if r.case.decoy],
    }
    return {
        "suite": suite,
        "model": model,
        "summary": asdict(summarise(results)),
        "parts": {name: asdict(summarise(rows)) for name, rows in parts.items() if rows},
        "by_scenario": [
            {
                "scenario": name,
                **{k: v for k, v in asdict(summarise(rows)).items() if k in ("cases", "sr", "ds", "rc")},
            }
            for name, rows in sorted(groups.items())
        ],
        "cases": [
            {
                "scenario": r.case.scenario,
                "seed": r.case.seed,
                "decoy": r.case.decoy,
                "success": int(r.success),
                "ds": r.ds,
                "rc": r.rc,
                "infractions": list(r.infractions),
                "end": r.end,
            }
            for r in results
        ],
    }
