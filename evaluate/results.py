"""Case results in the store: driven once a generation, read back for every later comparison."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..vocabulary import Case
from .closed_loop import CaseResult


def to_row(result: CaseResult) -> dict[str, Any]:
    """Plain values for the `evaluations` table."""
    row = asdict(result)
    case = row.pop("case")
    return {**row, **case, "infractions": list(result.infractions)}


def from_row(row: dict[str, Any]) -> CaseResult:
    """Inverse of `to_row`."""
    return CaseResult(
        case=Case(row["scenario"], int(row["seed"]), bool(row["decoy"])),
        success=bool(row["success"]),
        ds=float(row["ds"]),
        rc=float(row["rc"]),
        infractions=tuple(row["infractions"]),
        end=str(row["end"]),
        driven_m=float(row["driven_m"]),
        duration_s=float(row["duration_s"]),
        phantom_brakes=int(row["phantom_brakes"]),
        standstill_s=float(row["standstill_s"]),
        takeovers=int(row["takeovers"]),
    )
