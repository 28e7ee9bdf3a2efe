"""The gate on made-up results whose answer is known beforehand."""

from dataclasses import replace

import numpy as np
import pytest

from takeover.config import GateConfig
from takeover.evaluate.closed_loop import CaseResult
from takeover.evaluate.gate import decide, futile
from takeover.scoring.statistics import spent_alpha
from takeover.vocabulary import Case

TYPES = ("DynamicObjectCrossing", "ParkedObstacle", "HardBreakRoute", "MergerIntoSlowTraffic")
CONFIG = GateConfig()


def results(
    wins: list[bool], *, types: tuple[str, ...] = TYPES, stand_s: float = 0.5, phantom: int = 0
) -> list[CaseResult]:
    return [
        CaseResult(
            case=Case(types[i % len(types)], 10_000 + i),
            success=win,
            ds=100.0 if win else 30.0,
            rc=100.0 if win else 50.0,
            infractions=() if win else ("collision_vehicle",),
            end="route_complete" if win else "collision",
            driven_m=80.0,
            duration_s=10.0,
            phantom_brakes=phantom,
            standstill_s=stand_s,
        )
        for i, win in enumerate(wins)
    ]


def nominal(wins: int, of: int = 24) -> list[CaseResult]:
    return results([i < wins for i in range(of)], types=("LaneFollowing",))


def judge(old: list[CaseResult], new: list[CaseResult], old_n: list[CaseResult], new_n: list[CaseResult]):  # type: ignore[no-untyped-def]
    return decide(old, new, old_n, new_n, CONFIG, round_number=1, rounds=5, seed=0)


def test_a_clear_gain_is_promoted() -> None:
    decision = judge(
        results([i < 20 for i in range(64)]), results([i < 44 for i in range(64)]), nominal(23), nominal(23)
    )
    assert (decision.outcome, decision.gained, decision.lost) == ("promote", 24, 0)
    assert decision.p_value == pytest.approx(0.5**24)
    assert decision.alpha == pytest.approx(0.01)


def test_equal_generations_are_inconclusive() -> None:
    same = results([i % 2 == 0 for i in range(64)])
    decision = judge(same, same, nominal(23), nominal(23))
    assert (decision.outcome, decision.p_value) == ("inconclusive", 1.0)


def test_a_loss_on_the_long_tail_is_rejected() -> None:
    decision = judge(
        results([i < 44 for i in range(64)]), results([i < 20 for i in range(64)]), nominal(23), nominal(23)
    )
    assert decision.outcome == "reject"


def test_a_gain_bought_with_everyday_driving_is_rejected() -> None:
    decision = judge(
        results([i < 20 for i in range(64)]), results([i < 44 for i in range(64)]), nominal(24), nominal(12)
    )
    assert decision.outcome == "reject"
    assert "nominal SR" in decision.reason


def test_a_gain_bought_with_standing_still_is_not_promoted() -> None:
    new = results([i < 44 for i in range(64)], stand_s=4.0)
    decision = judge(results([i < 20 for i in range(64)]), new, nominal(23), nominal(23))
    assert decision.outcome == "reject"
    assert "standstill" in decision.reason


def test_phantom_brakes_are_a_guard() -> None:
    braking = results([i < 23 for i in range(24)], types=("LaneFollowing",), phantom=1)
    new = results([i < 44 for i in range(64)], phantom=1)
    decision = judge(results([i < 20 for i in range(64)]), new, nominal(23), braking)
    assert decision.outcome == "reject"
    assert "phantom" in decision.reason


def test_without_nominal_cases_nothing_is_promoted() -> None:
    new = results([i < 44 for i in range(64)])
    assert judge(results([i < 20 for i in range(64)]), new, nominal(24), []).outcome == "inconclusive"


def test_braking_for_a_conflict_is_no_phantom() -> None:
    new = results([i < 44 for i in range(64)], phantom=1)
    assert judge(results([i < 20 for i in range(64)]), new, nominal(23), nominal(23)).outcome == "promote"


def test_a_bound_is_stricter_than_a_point() -> None:
    old, new = results([i < 20 for i in range(64)]), results([i < 44 for i in range(64)])
    swapped = nominal(23)[::-1]
    swapped = [replace(r, case=case) for r, case in zip(swapped, [n.case for n in nominal(23)], strict=True)]
    by_point = decide(old, new, nominal(23), swapped, CONFIG, round_number=1, rounds=5, seed=0)
    strict = CONFIG.model_copy(update={"guards": "bound"})
    by_bound = decide(old, new, nominal(23), swapped, strict, round_number=1, rounds=5, seed=0)
    assert (by_point.outcome, by_bound.outcome) == ("promote", "inconclusive")
    assert "nominal SR" in by_bound.reason


def test_the_two_sides_must_be_the_same_cases() -> None:
    with pytest.raises(ValueError, match="paired"):
        judge(results([True] * 8), nominal(8), nominal(8), nominal(8))


def test_futility_counts_what_can_still_be_gained() -> None:
    old = results([i < 32 for i in range(64)])  # 32 cases can be gained
    none_gained = [r for r in results([i < 32 for i in range(64)]) if r.case.seed >= 10_000 + 8]
    # 8 cases left, all won already by the champion: nothing can be gained any more
    assert futile(old, none_gained, 64, 0.01)
    assert not futile(old, none_gained[:10], 64, 0.01)


def test_false_promotions_stay_below_alpha_over_a_run() -> None:
    random = np.random.default_rng(0)
    runs, promoted = 150, 0
    for _ in range(runs):
        for number in range(1, 6):
            old, new = (results(list(random.random(64) < 0.5)) for _ in range(2))
            alpha = spent_alpha(CONFIG.alpha, number, 5)
            gained = sum(b.success and not a.success for a, b in zip(old, new, strict=True))
            lost = sum(a.success and not b.success for a, b in zip(old, new, strict=True))
            from takeover.scoring.statistics import mcnemar_test

            if mcnemar_test(gained, lost) <= alpha:
                promoted += 1
                break
    assert promoted / runs <= 0.05
