"""Case results for tests, with the fields that matter."""

from typing import Any

from takeover.evaluate.closed_loop import CaseResult
from takeover.vocabulary import Case


def result(case: Case, success: bool = True, **changes: Any) -> CaseResult:
    """A case of 100 m in 10 s without a phantom brake, unless told otherwise."""
    values: dict[str, Any] = {
        "ds": 100.0 if success else 40.0,
        "rc": 100.0 if success else 50.0,
        "infractions": () if success else ("collision_vehicle",),
        "end": "route_complete" if success else "collision",
        "driven_m": 100.0,
        "duration_s": 10.0,
        "phantom_brakes": 0,
        "standstill_s": 0.0,
    }
    return CaseResult(case, success, **{**values, **changes})
