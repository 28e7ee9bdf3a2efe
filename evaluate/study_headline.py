"""The headline: whole runs with seeds fixed beforehand, their champions against their generation 0 (proof.md 15)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..scoring.statistics import Estimate, clustered_bootstrap
from .ablation import SeedResult
from .closed_loop import CaseResult
from .study_rows import difference, score, success
from .study_section import Result, Table, Verdict, points

SR_GOAL, DS_GOAL, RUNS, CASES = 0.15, 8.0, 3, 100


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A finished run.

    Attributes:
        name: Its seed or home.
        champion: Number of its champion.
        promoted: How many rounds ended with a promotion.
        rounds: How many rounds there were.
        start: Generation 0's results on the final cases.
        end: The champion's.
        last: The last challenger's.
    """

    name: str
    champion: int
    promoted: int
    rounds: int
    start: SeedResult
    end: SeedResult
    last: SeedResult


def pooled(runs: Sequence[WholeRun], *, ds: bool = False, last: bool = False) -> Estimate:
    """Mean gain over generation 0; runs are resampled, then cases within each.

    Args:
        runs: At least one.
        ds: Driving score instead of success.
        last: Of the last challengers instead of the champions.
    """
    value = score if ds else success
    return clustered_bootstrap([_gains(run, value, last) for run in runs], seed=0)


def _gains(run: WholeRun, value: Callable[[CaseResult], float], last: bool) -> list[float]:
    after = (run.last if last else run.end).longtail
    return [value(b) - value(a) for a, b in zip(run.start.longtail, after, strict=True)]


def verdicts(runs: Sequence[WholeRun]) -> tuple[Verdict, ...]:
    """The goals, by the champions."""
    claims = (
        f"mean SR gain of {RUNS} runs' champions >= +15 points, each run's lower bound above zero",
        f"mean DS gain of {RUNS} runs' champions >= +8, each run's lower bound above zero",
    )
    if not runs:
        return tuple(Verdict(claim, "–", "not there") for claim in claims)
    found = []
    for claim, ds, goal, scale in zip(claims, (False, True), (SR_GOAL, DS_GOAL), (100.0, 1.0), strict=True):
        mean = pooled(runs, ds=ds)
        each = [_gain(run, ds=ds) for run in runs]
        result: Result = "missed" if mean.mean < goal or any(one.mean <= 0 for one in each) else "not shown"
        enough = len(runs) >= RUNS and all(len(run.start.longtail) >= CASES for run in runs)
        if result != "missed" and enough and all(one.lower > 0 for one in each):
            result = "met"
        found.append(Verdict(claim, f"{points(mean, scale)} over {len(runs)} run(s)", result))
    return tuple(found)


def table(runs: Sequence[WholeRun]) -> Table:
    """All runs, good or bad, and their mean."""
    head = (
        "run",
        "champion",
        "promoted",
        "SR 0",
        "SR champion",
        "SR gain",
        "DS gain",
        "nominal SR 0, champion",
    )
    rows = [
        (
            run.name,
            f"generation {run.champion}",
            f"{run.promoted} of {run.rounds}",
            _sr(run.start.longtail),
            _sr(run.end.longtail),
            points(_gain(run, ds=False)),
            points(_gain(run, ds=True), 1.0),
            f"{_sr(run.start.nominal)}, {_sr(run.end.nominal)}",
        )
        for run in runs
    ]
    if runs:
        rows += [
            (
                name,
                "",
                "",
                "",
                "",
                points(pooled(runs, last=last)),
                points(pooled(runs, ds=True, last=last), 1.0),
                "",
            )
            for name, last in (("mean, clustered by run", False), ("last challengers, mean", True))
        ]
    return Table("Whole runs on final seeds", head, tuple(rows))


def _gain(run: WholeRun, *, ds: bool) -> Estimate:
    found = difference({0: run.start}, {0: run.end}, score if ds else success)
    assert found is not None
    return found


def _sr(results: Sequence[CaseResult]) -> str:
    return f"{100 * sum(r.success for r in results) / len(results):.1f}" if results else "–"
