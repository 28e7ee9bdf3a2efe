"""The promotion gate: is the challenger proved better than the champion?

Three outcomes. *promote*: the primary test is significant at this round's share of alpha and every guard holds within
its fixed margin. *reject*: something is shown to be worse. *inconclusive*: the evidence does
not suffice either way; the data are kept, the weights are not deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..config import GateConfig
from ..scoring.statistics import Estimate, mcnemar_power, mcnemar_test, paired_bootstrap, spent_alpha
from .closed_loop import CaseResult

GateOutcome = Literal["promote", "reject", "inconclusive"]
SMOOTHING_PER_KM = 2.0  # phantom brakes are rare: without it one event more than none is an infinite rise


@dataclass(frozen=True, slots=True)
class Guard:
    """One non-inferiority check. `loss` is how much worse the challenger is, in the unit of `margin`."""

    name: str
    loss: float
    lower: float  # one-sided 95 % bounds of the loss
    upper: float
    margin: float
    holds: bool  # within the margin, by the point estimate or by its bound, as configured

    @property
    def broken(self) -> bool:
        """Shown to be outside the margin."""
        return self.lower > self.margin


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The outcome with all its evidence."""

    outcome: GateOutcome
    reason: str
    gained: int
    lost: int
    cases: int
    p_value: float
    alpha: float
    power: float  # of the primary test for +15 points (25 % gained, 10 % lost)
    sr_champion: float
    sr_challenger: float
    ds_difference: float
    ds_interval: tuple[float, float]
    guards: tuple[Guard, ...]


def decide(
    champion: Sequence[CaseResult],
    challenger: Sequence[CaseResult],
    nominal_champion: Sequence[CaseResult],
    nominal_challenger: Sequence[CaseResult],
    config: GateConfig,
    *,
    round_number: int,
    rounds: int,
    seed: int,
) -> GateDecision:
    """Compare two generations on the same cases.

    Args:
        champion: Long-tail results of the champion.
        challenger: Long-tail results of the challenger on a prefix of the same cases.
        nominal_champion: Nominal results of the champion.
        nominal_challenger: Nominal results of the challenger on a prefix of the same cases; empty when the gate gave
            up on the long tail.
        config: Alpha and margins.
        round_number: This round, from 1.
        rounds: Rounds over which alpha is spent.
        seed: Of the bootstrap.

    Returns:
        The decision.
    """
    old, new = _paired(champion, challenger)
    # A gate that gave up on the long tail drives no nominal cases: then nothing can be promoted anyway.
    old_nominal, new_nominal = (
        _paired(nominal_champion, nominal_challenger) if nominal_challenger else ([], [])
    )
    gained = sum(b.success and not a.success for a, b in zip(old, new, strict=True))
    lost = sum(a.success and not b.success for a, b in zip(old, new, strict=True))
    alpha = spent_alpha(config.alpha, round_number, rounds)
    p_value = mcnemar_test(gained, lost)
    ds = paired_bootstrap(np.array([b.ds - a.ds for a, b in zip(old, new, strict=True)]), seed=seed)
    guards = _guards(old, new, old_nominal, new_nominal, config, seed)
    broken = [g.name for g in guards if g.broken]
    unproved = [g.name for g in guards if not g.holds] + ([] if new_nominal else ["nominal SR (not driven)"])
    worse = mcnemar_test(lost, gained) <= config.alpha
    outcome: GateOutcome
    if broken or worse:
        outcome = "reject"
        reason = "worse on the long tail" if worse else "worse than the margin: " + ", ".join(broken)
    elif p_value <= alpha and not unproved:
        outcome, reason = (
            "promote",
            f"{gained} cases gained, {lost} lost, p = {p_value:.4f} <= {alpha:.4f}; every guard holds",
        )
    elif p_value <= alpha:
        outcome, reason = (
            "inconclusive",
            "better on the long tail, but not shown within the margin: " + ", ".join(unproved),
        )
    else:
        outcome, reason = (
            "inconclusive",
            f"{gained} cases gained, {lost} lost, p = {p_value:.4f} > {alpha:.4f}",
        )
    return GateDecision(
        outcome=outcome,
        reason=reason,
        gained=gained,
        lost=lost,
        cases=len(old),
        p_value=p_value,
        alpha=alpha,
        power=mcnemar_power(len(old), 0.25, 0.10, alpha),
        sr_champion=_rate(old),
        sr_challenger=_rate(new),
        ds_difference=ds.mean,
        ds_interval=(ds.lower, ds.upper),
        guards=guards,
    )


def futile(
    champion: Sequence[CaseResult], challenger: Sequence[CaseResult], total: int, alpha: float
) -> bool:
    """Whether the primary test can no longer become significant, even if every case to come were gained.

    Args:
        champion: Long-tail results of the champion, all `total` of them.
        challenger: Results so far, any subset of the same cases.
        total: Cases that the gate would drive.
        alpha: This round's share.
    """
    before = {r.case: r.success for r in champion}
    gained = sum(r.success and not before[r.case] for r in challenger)
    lost = sum(before[r.case] and not r.success for r in challenger)
    seen = {r.case for r in challenger}
    left = sum(1 for case, success in before.items() if case not in seen and not success)
    return len(seen) < total and mcnemar_test(gained + left, lost) > alpha


def _paired(
    champion: Sequence[CaseResult], challenger: Sequence[CaseResult]
) -> tuple[list[CaseResult], list[CaseResult]]:
    by_case = {r.case: r for r in champion}
    missing = [r.case.case_id for r in challenger if r.case not in by_case]
    if missing or not challenger:
        raise ValueError(
            f"the champion was not driven on {missing[:3] or 'any case'}: the gate compares paired cases"
        )
    return [by_case[r.case] for r in challenger], list(challenger)


def _rate(results: Sequence[CaseResult]) -> float:
    return sum(r.success for r in results) / len(results)


def _guards(
    old: Sequence[CaseResult],
    new: Sequence[CaseResult],
    old_nominal: Sequence[CaseResult],
    new_nominal: Sequence[CaseResult],
    config: GateConfig,
    seed: int,
) -> tuple[Guard, ...]:
    def guard(name: str, bound: Estimate, margin: float) -> Guard:
        holds = (bound.upper if config.guards == "bound" else bound.mean) <= margin
        return Guard(name, bound.mean, bound.lower, bound.upper, margin, holds)

    guards = []
    if new_nominal:
        guards.append(guard("nominal SR", _lost_sr(old_nominal, new_nominal, seed), config.margin_nominal_sr))
    # Abilities pooled in two (Emergency_Brake | Overtaking and Merging): single ones have too few cases for a margin.
    for name, braking in (("braking types SR", True), ("steering types SR", False)):
        chosen = [(a, b) for a, b in zip(old, new, strict=True) if a.braking is braking]
        if chosen:
            before, after = zip(*chosen, strict=True)
            guards.append(guard(name, _lost_sr(before, after, seed), config.margin_ability_sr))
    before, after = (*old, *old_nominal), (*new, *new_nominal)
    still = _risen(before, after, lambda r: (r.standstill_s, r.duration_s), 0.0, seed)
    guards.append(guard("standstill share", still, config.margin_standstill))
    calm = [(a, b) for a, b in zip(before, after, strict=True) if a.calm]
    if calm:
        before, after = zip(*calm, strict=True)
        phantom = _risen(
            before, after, lambda r: (r.phantom_brakes, r.driven_m / 1000), SMOOTHING_PER_KM, seed
        )
        guards.append(guard("phantom brakes per km", phantom, config.margin_phantom))
    return tuple(guards)


def _lost_sr(old: Sequence[CaseResult], new: Sequence[CaseResult], seed: int) -> Estimate:
    losses = np.array([float(a.success) - float(b.success) for a, b in zip(old, new, strict=True)])
    return paired_bootstrap(losses, seed=seed, confidence=0.90)  # two-sided 90 % = one-sided 95 %


def _risen(
    old: Sequence[CaseResult],
    new: Sequence[CaseResult],
    parts: Callable[[CaseResult], tuple[float, float]],
    smoothing: float,
    seed: int,
) -> Estimate:
    """Rise of a ratio of sums with one-sided 95 % bounds, cases resampled; relative when `smoothing` is given."""
    top, below = np.array([[parts(r) for r in side] for side in (old, new)], float).transpose(2, 0, 1)
    random = np.random.default_rng(seed)
    picks = np.vstack([np.arange(len(old)), random.integers(0, len(old), (2000, len(old)))])
    rates = top[:, picks].sum(axis=2) / np.maximum(below[:, picks].sum(axis=2), 1e-9)
    rise = rates[1] - rates[0]
    if smoothing:
        rise = rise / (rates[0] + smoothing)
    return Estimate(float(rise[0]), float(np.quantile(rise[1:], 0.05)), float(np.quantile(rise[1:], 0.95)))
