from __future__ import annotations

from collections import Counter

import pytest

from takeover.errors import RoleError, UsageError
from takeover.sim_bridge.scenarios.cases import (
    ALL_TYPES,
    STEERING_TYPES,
    SUITES,
    TRAINED_TYPES,
    UNSEEN_TYPES,
    parse_case,
    require_role,
    role_of,
    suite,
)
from takeover.vocabulary import Case, Role


def test_roles_follow_seed_ranges() -> None:
    assert role_of(Case("HardBreakRoute", 0)) is Role.TRAIN
    assert role_of(Case("HardBreakRoute", 9_999)) is Role.TRAIN
    assert role_of(Case("HardBreakRoute", 10_000)) is Role.GATE
    assert role_of(Case("HardBreakRoute", 29_999)) is Role.FINAL


def test_unseen_types_never_train_or_gate() -> None:
    for scenario in UNSEEN_TYPES:
        assert {role_of(Case(scenario, seed)) for seed in (0, 12_000, 25_000)} == {Role.FINAL}
    for name in SUITES:
        if name != "unseen":
            assert not {c.scenario for c in suite(name, 60)} & set(UNSEEN_TYPES)


def test_require_role_refuses_held_out() -> None:
    require_role(Case("StaticCutIn", 5), Role.TRAIN)
    with pytest.raises(RoleError):
        require_role(Case("StaticCutIn", 10_005), Role.TRAIN)


@pytest.mark.parametrize("name", SUITES)
def test_suite_is_balanced_and_prefix_stable(name: str) -> None:
    long, short = suite(name, 50), suite(name, 23)
    assert long[:23] == short
    assert len({c.seed for c in long}) == 50
    counts = Counter(c.scenario for c in short)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_each_trained_type_has_one_decoy_in_five() -> None:
    decoys = Counter(c.scenario for c in suite("longtail", 50) if c.decoy)
    assert decoys == dict.fromkeys(TRAINED_TYPES, 1)
    assert not any(c.decoy for c in suite("nominal", 30))


def test_at_least_three_of_eight_cannot_be_passed_by_stopping() -> None:
    assert len(STEERING_TYPES) / len(TRAINED_TYPES) >= 3 / 8


def test_case_ids_round_trip() -> None:
    for scenario in ALL_TYPES:
        for decoy in (False, True):
            case = Case(scenario, 17, decoy)
            assert parse_case(case.case_id) == case
    with pytest.raises(UsageError):
        parse_case("Nothing/3")
    with pytest.raises(UsageError):
        parse_case("HardBreakRoute.twin/3")


def test_suite_stays_in_its_range() -> None:
    with pytest.raises(UsageError):
        suite("train", 2, start=9_999)
    with pytest.raises(UsageError):
        suite("nightly", 2)
