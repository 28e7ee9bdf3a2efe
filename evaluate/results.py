"""Case results in the store: driven once for a set of weights, read back for every later comparison."""

from __future__ import annotations

from typing import Any

from ..store import queries
from ..store.database import Store
from ..store.rows import EvaluationRow
from ..vocabulary import Case
from .closed_loop import CaseResult


def to_row(result: CaseResult, *, weights_sha256: str, suite: str, generation: int | None) -> EvaluationRow:
    """A row of the `evaluations` table.

    Args:
        result: One driven case.
        weights_sha256: Hash of what drove it; a baseline names itself.
        suite: Suite that asked for it.
        generation: Number of the generation; None for baselines.
    """
    return EvaluationRow(
        weights_sha256=weights_sha256,
        suite=suite,
        case_id=result.case.case_id,
        scenario=result.case.scenario,
        seed=result.case.seed,
        decoy=result.case.decoy,
        generation=generation,
        success=result.success,
        ds=result.ds,
        rc=result.rc,
        ended=result.end,
        infractions=list(result.infractions),
        takeovers=result.takeovers,
        phantom_brakes=result.phantom_brakes,
        standstill_s=result.standstill_s,
        driven_m=result.driven_m,
        duration_s=result.duration_s,
    )


def from_row(row: dict[str, Any]) -> CaseResult:
    """Inverse of `to_row`, from a query's row."""
    return CaseResult(
        case=Case(row["scenario"], int(row["seed"]), bool(row["decoy"])),
        success=bool(row["success"]),
        ds=float(row["ds"]),
        rc=float(row["rc"]),
        infractions=tuple(row["infractions"]),
        end=str(row["ended"]),
        driven_m=float(row["driven_m"]),
        duration_s=float(row["duration_s"]),
        phantom_brakes=int(row["phantom_brakes"]),
        standstill_s=float(row["standstill_s"]),
        takeovers=int(row["takeovers"]),
    )


def known_results(store: Store, weights_sha256: str, suite: str) -> dict[Case, CaseResult]:
    """What is stored of a set of weights (or a baseline) on a suite, by case."""
    rows = queries.evaluations(store, weights_sha256=weights_sha256, suite=suite)
    return {result.case: result for result in map(from_row, rows)}


def all_results(store: Store) -> dict[tuple[str, str], dict[Case, CaseResult]]:
    """Everything that is stored, by hash of the weights (or baseline) and suite, then by case; one query."""
    found: dict[tuple[str, str], dict[Case, CaseResult]] = {}
    for row in queries.evaluations(store):
        result = from_row(row)
        found.setdefault((row["weights_sha256"], row["suite"]), {})[result.case] = result
    return found
