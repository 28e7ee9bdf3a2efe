"""The few statistics that a gate and a report need: exact tests, exact intervals, bootstraps with a given seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, bdtrc, betaincinv, gammaincinv, ndtr, ndtri

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval."""

    mean: float
    lower: float
    upper: float


def mcnemar_test(gained: int, lost: int, *, two_sided: bool = False) -> float:
    """Exact p-value of `gained` discordant pairs against `lost`.

    One-sided: the probability of at least `gained` heads in gained + lost tosses. No discordant pair gives 1.
    """
    n = gained + lost
    if n == 0:
        return 1.0
    if two_sided:
        return min(1.0, 2.0 * _upper_tail(max(gained, lost), n, 0.5))
    return _upper_tail(gained, n, 0.5)


def mcnemar_power(cases: int, p_gain: float, p_loss: float, alpha: float) -> float:
    """Probability that the one-sided exact test is significant.

    Args:
        cases: Paired cases.
        p_gain: Share of cases lost before and won now.
        p_loss: Share of cases won before and lost now.
        alpha: One-sided level.
    """
    discordant = p_gain + p_loss
    if discordant <= 0.0:
        return 0.0
    power = 0.0
    for n in range(1, cases + 1):
        critical = _critical(n, alpha)
        if critical <= n:
            weight = _point(n, cases, discordant)
            power += weight * _upper_tail(critical, n, p_gain / discordant)
    return power


def spent_alpha(
    alpha: float,
    round_number: int,
    rounds: int,
    shape: Literal["equal", "obrien_fleming"] = "equal",
) -> float:
    """What one round may spend of `alpha`; the shares of all rounds sum to it.

    Each round tests another challenger, so the shares add up by Bonferroni whatever the shape. `equal` gives every
    round the same; `obrien_fleming` (Lan-DeMets) keeps most for the late ones.

    Args:
        alpha: One-sided, of the whole run.
        round_number: From 1; a round after the last planned one has nothing to spend.
        rounds: Planned rounds.
        shape: How to spend.
    """
    if round_number < 1 or rounds < 1:
        raise ValueError(f"round {round_number} of {rounds}")
    if round_number > rounds:
        return 0.0
    if shape == "equal":
        return alpha / rounds
    return _lan_demets(alpha, round_number / rounds) - _lan_demets(alpha, (round_number - 1) / rounds)


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a proportion."""
    tail = (1.0 - confidence) / 2
    lower = float(betaincinv(successes, n - successes + 1, tail)) if successes > 0 else 0.0
    upper = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return lower, upper


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's two-sided interval of a proportion; (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + confidence / 2))
    share = successes / n
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def poisson_interval(events: int, exposure: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a rate: events per unit of exposure."""
    tail = (1.0 - confidence) / 2
    lower = float(gammaincinv(events, tail)) if events > 0 else 0.0
    return lower / exposure, float(gammaincinv(events + 1, 1 - tail)) / exposure


def bootstrap_mean(
    values: ArrayLike, *, seed: int, confidence: float = 0.95, draws: int = 10_000
) -> Estimate:
    """Mean with its percentile bootstrap interval.

    Args:
        values: (N,) at least one.
        seed: Of the resampling.
        confidence: Two-sided; 0.90 gives one-sided 95 % bounds.
        draws: Resamples.
    """
    data = np.asarray(values, np.float64)
    random = np.random.default_rng(seed)
    means = np.concatenate(
        [
            data[random.integers(0, len(data), (min(1000, draws - at), len(data)))].mean(1)
            for at in range(0, draws, 1000)
        ]
    )
    return _percentiles(float(data.mean()), means, confidence)


def paired_bootstrap(
    differences: ArrayLike, *, seed: int, confidence: float = 0.95, draws: int = 10_000
) -> Estimate:
    """Mean paired difference with its interval: pairs are resampled, never their two sides apart."""
    return bootstrap_mean(differences, seed=seed, confidence=confidence, draws=draws)


def clustered_bootstrap(
    clusters: Sequence[ArrayLike], *, seed: int, confidence: float = 0.95, draws: int = 5_000
) -> Estimate:
    """Mean over clusters (runs, drivers) with its interval; clusters are resampled, then cases within each.

    Args:
        clusters: Values or paired differences of each cluster; each cluster has the same weight.
        seed: Of the resampling.
        confidence: Two-sided.
        draws: Resamples.
    """
    data = [np.asarray(one, np.float64) for one in clusters]
    random = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        picked = random.integers(0, len(data), len(data))
        means[draw] = np.mean(
            [data[c][random.integers(0, len(data[c]), len(data[c]))].mean() for c in picked]
        )
    return _percentiles(float(np.mean([one.mean() for one in data])), means, confidence)


def stratified_bootstrap(
    strata: Sequence[ArrayLike], *, seed: int, confidence: float = 0.95, draws: int = 5_000
) -> Estimate:
    """Mean over given strata (rounds) with its interval: cases are resampled within each, the strata stay.

    Args:
        strata: Values or paired differences of each; each has the same weight and at least one value.
        seed: Of the resampling.
        confidence: Two-sided.
        draws: Resamples.
    """
    data = [np.asarray(one, np.float64) for one in strata]
    random = np.random.default_rng(seed)
    means = np.mean([one[random.integers(0, len(one), (draws, len(one)))].mean(1) for one in data], axis=0)
    return _percentiles(float(np.mean([one.mean() for one in data])), means, confidence)


def non_inferior(
    losses: ArrayLike, margin: float, *, seed: int, confidence: float = 0.95, draws: int = 10_000
) -> tuple[bool, Estimate]:
    """One-sided non-inferiority: the upper bound of the mean loss is within the margin.

    Args:
        losses: (N,) paired: positive where the challenger is worse.
        margin: Largest tolerated mean loss, fixed beforehand.
        seed: Of the bootstrap.
        confidence: One-sided.
        draws: Resamples.

    Returns:
        Whether it is shown, and the loss with one-sided bounds on either side.
    """
    bound = bootstrap_mean(losses, seed=seed, confidence=2 * confidence - 1, draws=draws)
    return bound.upper <= margin, bound


def _upper_tail(k: int, n: int, p: float) -> float:
    return 1.0 if k <= 0 else float(bdtrc(k - 1, n, p))


def _point(k: int, n: int, p: float) -> float:
    return float(bdtr(k, n, p) - (bdtr(k - 1, n, p) if k > 0 else 0.0))


def _critical(n: int, alpha: float) -> int:
    """Fewest gains of n discordant pairs that are significant; n + 1 if none are."""
    return next((k for k in range((n + 1) // 2, n + 1) if _upper_tail(k, n, 0.5) <= alpha), n + 1)


def _lan_demets(alpha: float, share: float) -> float:
    return 0.0 if share <= 0 else 2.0 * (1.0 - float(ndtr(float(ndtri(1 - alpha / 2)) / math.sqrt(share))))


def _percentiles(mean: float, means: Array, confidence: float) -> Estimate:
    tail = 50.0 * (1.0 - confidence)
    lower, upper = np.percentile(means, [tail, 100.0 - tail])
    return Estimate(mean, float(lower), float(upper))
