from __future__ import annotations

import itertools
import math
from typing import Literal

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from takeover.scoring.statistics import (
    Estimate,
    bootstrap_mean,
    clopper_pearson,
    clustered_bootstrap,
    mcnemar_power,
    mcnemar_test,
    non_inferior,
    paired_bootstrap,
    poisson_interval,
    spent_alpha,
    stratified_bootstrap,
    wilson_interval,
)


def test_mcnemar_is_the_exact_binomial() -> None:
    assert mcnemar_test(8, 2) == pytest.approx((45 + 10 + 1) / 1024)
    assert mcnemar_test(8, 2, two_sided=True) == pytest.approx(2 * 56 / 1024)
    assert mcnemar_test(0, 0) == 1.0
    assert mcnemar_test(0, 5) == 1.0
    assert mcnemar_test(3, 3, two_sided=True) == 1.0
    assert mcnemar_test(20, 9) == pytest.approx(binomtest(20, 29, 0.5, "greater").pvalue)


@pytest.mark.parametrize(("cases", "wanted"), [(64, 0.45), (100, 0.67), (150, 0.87)])
def test_power_of_fifteen_points(cases: int, wanted: float) -> None:
    assert mcnemar_power(cases, 0.25, 0.10, 0.025) == pytest.approx(wanted, abs=0.04)


def test_power_agrees_with_simulation() -> None:
    random = np.random.default_rng(0)
    trials = random.multinomial(40, [0.3, 0.05, 0.65], 4000)
    share = np.mean([mcnemar_test(g, lost) <= 0.05 for g, lost, _ in trials])
    assert mcnemar_power(40, 0.3, 0.05, 0.05) == pytest.approx(share, abs=0.03)
    assert mcnemar_power(40, 0.0, 0.0, 0.05) == 0.0


@pytest.mark.parametrize("shape", ["equal", "obrien_fleming"])
def test_alpha_is_spent_exactly(shape: Literal["equal", "obrien_fleming"]) -> None:
    parts = [spent_alpha(0.05, k, 5, shape) for k in range(1, 6)]
    assert sum(parts) == pytest.approx(0.05)
    assert all(0 <= a <= b + 1e-12 for a, b in itertools.pairwise(parts))
    assert spent_alpha(0.05, 6, 5, shape) == 0.0
    with pytest.raises(ValueError, match="round 0"):
        spent_alpha(0.05, 0, 5)


def test_proportions() -> None:
    lower, upper = clopper_pearson(3, 20)
    assert lower == pytest.approx(beta.ppf(0.025, 3, 18))
    assert upper == pytest.approx(beta.ppf(0.975, 4, 17))
    assert clopper_pearson(0, 10)[0] == 0.0
    assert clopper_pearson(10, 10)[1] == 1.0
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_rates() -> None:
    lower, upper = poisson_interval(3, 2.0)
    assert (lower, upper) == pytest.approx((0.6187 / 2, 8.7673 / 2), abs=1e-3)
    assert poisson_interval(0, 10.0) == pytest.approx((0.0, -math.log(0.025) / 10.0))


def test_bootstraps_are_repeatable_and_sane() -> None:
    values = np.random.default_rng(3).normal(2.0, 1.0, 100)
    one, two = bootstrap_mean(values, seed=5), paired_bootstrap(values, seed=5)
    assert one == two
    half = 1.96 * values.std() / 10
    assert (one.lower, one.upper) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.04)
    clusters = clustered_bootstrap([values + shift for shift in (-1.0, 0.0, 1.0)], seed=5)
    assert clusters.mean == pytest.approx(values.mean())
    assert clusters.upper - clusters.lower > 2 * (one.upper - one.lower)  # runs differ more than cases


def test_non_inferiority_is_one_sided() -> None:
    losses = np.zeros(100)
    losses[:3] = 1.0
    shown, bound = non_inferior(losses, 0.10, seed=1)
    assert shown
    assert bound.upper == pytest.approx(0.06, abs=0.015)
    assert not non_inferior(losses, 0.04, seed=1)[0]


def test_strata_stay_and_count_alike() -> None:
    found = stratified_bootstrap([[1.0, 1.0, 1.0, 1.0], [0.0]], seed=0)
    assert found == Estimate(0.5, 0.5, 0.5)  # nothing varies within a stratum
    spread = stratified_bootstrap([[0.0, 1.0], [0.0, 1.0]], seed=0)
    assert spread.mean == 0.5
    assert (spread.lower, spread.upper) == (0.0, 1.0)  # each mean is 0 with probability 1/16 > 2.5 %
