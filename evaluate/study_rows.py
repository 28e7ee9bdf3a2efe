"""Rows of the study: generations, baselines and trained arms on the same final cases, all in one table (proof.md 3 to 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..config import GateConfig
from ..scoring.statistics import Estimate, clustered_bootstrap, mcnemar_test, paired_bootstrap
from .ablation import SeedResult, arm_figures
from .closed_loop import CaseResult
from .gate import decide
from .study_section import Result, Table, Verdict, percent, points

HEAD = (
    "row",
    "SR [%]",
    "DS",
    "braking SR",
    "steering SR",
    "decoys SR",
    "no collision [%]",
    "phantom/km",
    "standstill [%]",
    "time lost [s]",
    "nominal SR",
    "SR gain",
    "DS gain",
    "gained, lost, p",
)
TAKEN_MIN = 0.8  # of the gain, by a blind control
LONGTAIL_FAIR, NOMINAL_FAIR = (0.25, 0.55), 0.90
DRAWS = 4000

Results = Mapping[int, SeedResult]  # by training seed; a generation or a baseline has one, 0
Keep = Callable[[CaseResult], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        name: What drives.
        results: On the long-tail cases and on the nominal ones, in the suites' order, by training seed.
        command: That drives it again.
        note: What it is.
    """

    name: str
    results: Results
    command: str = ""
    note: str = ""


def success(result: CaseResult) -> float:
    """Value of `difference`."""
    return float(result.success)


def score(result: CaseResult) -> float:
    """Value of `difference`: driving score."""
    return result.ds


def everything(result: CaseResult) -> bool:
    """All cases."""
    return True


def steering(result: CaseResult) -> bool:
    """Hazards that cannot be passed by braking alone."""
    return not result.braking and not result.calm


def difference(
    old: Results, new: Results, value: Callable[[CaseResult], float] = success, keep: Keep = everything
) -> Estimate | None:
    """Mean paired difference on the long tail, new minus old, with its 95 % interval.

    Args:
        old: By seed; a single result is held against every seed of `new`.
        new: By seed.
        value: Of a case.
        keep: Cases that count.

    Returns:
        The estimate, clustered by seed; None where no seed or no case is shared.
    """
    seeds = sorted(new) if len(old) == 1 else sorted(set(old) & set(new))
    clusters = []
    for seed in seeds:
        before = next(iter(old.values())) if len(old) == 1 else old[seed]
        pairs = list(zip(before.longtail, new[seed].longtail, strict=True))
        if any(a.case != b.case for a, b in pairs):
            raise ValueError("rows compare the same cases in the same order")
        clusters.append([value(b) - value(a) for a, b in pairs if keep(a)])
    if not clusters or not all(clusters):
        return None
    return (
        paired_bootstrap(clusters[0], seed=0) if len(clusters) == 1 else clustered_bootstrap(clusters, seed=0)
    )


def rows_table(title: str, rows: Sequence[Row], base: SeedResult) -> Table:
    """The table.

    Args:
        title: Which cases.
        rows: Generation 0 first.
        base: Generation 0's results, which every row is paired with.
    """
    return Table(title, HEAD, tuple(_cells(row, base, is_base=row is rows[0]) for row in rows))


def _cells(row: Row, base: SeedResult, *, is_base: bool) -> tuple[str, ...]:
    figures = arm_figures(row.name, row.note, row.results, base)
    every = list(row.results.values())
    pairs = [pair for one in every for pair in zip(base.longtail, one.longtail, strict=True)]
    gained = sum(b.success and not a.success for a, b in pairs)
    lost = sum(a.success and not b.success for a, b in pairs)
    seeds = f" ({', '.join(f'{100 * sr:.0f}' for sr in figures.sr)})" if len(figures.sr) > 1 else ""
    p_value = f", {mcnemar_test(gained, lost):.4f}" if len(every) == 1 else ""
    return (
        row.name,
        f"{100 * figures.sr_mean:.1f}{seeds}",
        f"{figures.ds:.1f}",
        percent(figures.sr_braking),
        percent(figures.sr_steering),
        percent(figures.sr_decoys),
        percent(figures.no_collision),
        f"{figures.phantom_per_km:.1f}",
        f"{100 * figures.standstill_share:.1f}",
        f"{figures.time_lost_s:+.1f}",
        percent(figures.sr_nominal),
        "–" if is_base else points(figures.sr_gain),
        "–" if is_base else points(figures.ds_gain, 1.0),
        "–" if is_base else f"{gained}, {lost}{p_value}",
    )


def taken_away(base: SeedResult, seeing: SeedResult, blind: SeedResult) -> Estimate:
    """Share of a generation's gain over generation 0 that a blind control takes away, with its 95 % interval.

    More than 1 where it does worse than generation 0 does with open eyes. NaN where there is no gain to take away.
    """
    wins = np.array([[success(r) for r in one.longtail] for one in (base, seeing, blind)])
    random = np.random.default_rng(0)
    picks = np.vstack([np.arange(wins.shape[1]), random.integers(0, wins.shape[1], (DRAWS, wins.shape[1]))])
    means = wins[:, picks].mean(axis=2)
    gain, left = means[1] - means[0], means[2] - means[0]
    if gain[0] <= 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    shares = 1.0 - left[gain > 0] / gain[gain > 0]
    low, high = np.quantile(shares[1:], [0.025, 0.975])
    return Estimate(float(shares[0]), float(low), float(high))


def blind_verdict(claim: str, taken: Estimate) -> Verdict:
    """Whether a blind control takes away what it must (proof.md 4)."""
    if taken.mean != taken.mean:
        return Verdict(claim, "there is no gain to take away", "not shown")
    result: Result = "met" if taken.mean >= TAKEN_MIN else "missed"
    if result == "met" and taken.lower < TAKEN_MIN:
        result = "not shown"
    return Verdict(claim, f"{points(taken)} % of the gain", result)


def shown_above_zero(
    claim: str, value: Estimate | None, scale: float = 100.0, unit: str = "points"
) -> Verdict:
    """Met where the whole interval lies above zero; missed where the mean does not."""
    if value is None:
        return Verdict(claim, "–", "not there")
    result: Result = "met" if value.lower > 0 else "missed" if value.mean <= 0 else "not shown"
    return Verdict(claim, f"{points(value, scale)} {unit}", result)


def fair_start(longtail: Sequence[CaseResult], nominal: Sequence[CaseResult]) -> Verdict:
    """Whether generation 0 is a fair start on the gate's cases (proof.md 5)."""
    claim = "generation 0 is a fair start on gate seeds: nominal SR >= 90 %, long tail 25 to 55 %, no type at 0 or 100"
    if not longtail or not nominal:
        return Verdict(claim, "not driven", "not there")
    tail, calm = (float(np.mean([success(r) for r in one])) for one in (longtail, nominal))
    by_type: dict[str, list[float]] = {}
    for result in longtail:
        if not result.case.decoy:
            by_type.setdefault(result.case.scenario, []).append(success(result))
    extreme = [name for name, wins in sorted(by_type.items()) if np.mean(wins) in (0.0, 1.0)]
    good = calm >= NOMINAL_FAIR and LONGTAIL_FAIR[0] <= tail <= LONGTAIL_FAIR[1] and not extreme
    figure = f"{100 * calm:.0f} %, {100 * tail:.0f} %" + (
        f"; at 0 or 100: {', '.join(extreme)}" if extreme else ""
    )
    return Verdict(claim, figure, "met" if good else "missed")


def margins(base: SeedResult, champion: SeedResult, config: GateConfig) -> Verdict:
    """Whether everyday driving and caution stay within the gate's margins on these cases (proof.md 15)."""
    claim = "champion on final seeds: everyday driving, abilities and caution within the gate's margins"
    decision = decide(
        base.longtail,
        champion.longtail,
        base.nominal,
        champion.nominal,
        config,
        round_number=1,
        rounds=1,
        seed=0,
    )
    said = "; ".join(
        f"{guard.name} {100 * guard.loss:+.1f} (margin {100 * guard.margin:.0f})" for guard in decision.guards
    )
    within = all(guard.loss <= guard.margin for guard in decision.guards)
    proved = all(guard.upper <= guard.margin for guard in decision.guards)
    return Verdict(claim, said, "met" if proved else "not shown" if within else "missed")
