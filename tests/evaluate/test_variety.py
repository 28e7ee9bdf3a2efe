"""Something of every kind first."""

from takeover.evaluate.variety import in_turn


def test_the_first_of_each_kind_then_the_second() -> None:
    assert in_turn(["a1", "a2", "b1", "a3", "c1", "b2"], lambda item: item[0]) == [
        "a1",
        "b1",
        "c1",
        "a2",
        "b2",
        "a3",
    ]
    assert in_turn([], str) == []
