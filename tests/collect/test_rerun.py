"""A recorded beginning comes first, tick by tick; states are compared by their largest difference."""

from __future__ import annotations

import math

import pytest

from takeover.collect.rerun import PEDAL, STEER, Deviation, Replayed, Rerun, deviation
from takeover.vocabulary import Control

DECIDED = Control(0.1, 0.5, 0.0)


def test_recorded_controls_come_first_and_the_planners_after_them() -> None:
    replayed = Replayed(Rerun(((0.2, 0.0, 1.0), (-0.3, 0.4, 0.0))))
    assert [replayed.apply(DECIDED) for _ in range(4)] == [
        Control(0.2, 0.0, 1.0),
        Control(-0.3, 0.4, 0.0),
        DECIDED,
        DECIDED,
    ]


def test_errors_are_small_last_half_a_second_and_repeat_by_their_seed() -> None:
    def driven(jitter: int) -> list[Control]:
        replayed = Replayed(Rerun(((0.0, 0.0, 1.0),), jitter))
        return [replayed.apply(DECIDED) for _ in range(31)]

    first = driven(1)
    assert first == driven(1)
    assert first != driven(2)
    assert first[0] == Control(0.0, 0.0, 1.0)  # what was recorded is driven exactly
    assert [len(set(first[k : k + 10])) for k in (1, 11, 21)] == [1, 1, 1]
    assert len(set(first[1:])) == 3
    for control in first[1:]:
        assert abs(control.steer - DECIDED.steer) <= STEER
        assert abs(control.throttle - DECIDED.throttle) <= PEDAL
        assert control.brake == 0.0  # nobody presses both pedals
    full = Replayed(Rerun((), 1))
    assert all(
        abs(c.steer) <= 1.0 and c.brake <= 1.0
        for c in (full.apply(Control(1.0, 0.0, 1.0)) for _ in range(40))
    )


def test_states_differ_by_their_largest_difference() -> None:
    recorded = [[0.0, 0.0, math.radians(179.0), 8.0], [10.0, 0.0, 0.0, 2.0]]
    reached = [[0.3, 0.4, math.radians(-179.5), 8.2], [10.0, 0.1, 0.0, 1.5]]
    off = deviation(recorded, reached)
    assert off.distance_m == pytest.approx(0.5)  # the ego's 3-4-5 triangle
    assert off.speed_mps == pytest.approx(0.5)  # of the other one
    assert off.angle_deg == pytest.approx(1.5)  # across the half turn


@pytest.mark.parametrize(
    ("off", "small"),
    [
        (Deviation(0.5, 0.5, 2.0), True),
        (Deviation(0.51, 0.0, 0.0), False),
        (Deviation(0.0, 0.51, 0.0), False),
        (Deviation(0.0, 0.0, 2.01), False),
    ],
)
def test_what_counts_as_the_same_state(off: Deviation, small: bool) -> None:
    assert off.small is small


def test_a_state_that_was_not_reached_or_has_others_in_it_is_another() -> None:
    here = [[0.0, 0.0, 0.0, 8.0]]
    assert not deviation(here, None).small
    assert not deviation(here, [*here, [9.0, 0.0, 0.0, 0.0]]).small
    assert deviation(here, here) == Deviation(0.0, 0.0, 0.0)
