"""Few out of many, with something of every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_turn(items: Sequence[T], kind: Callable[[T], str]) -> list[T]:
    """The first of each kind, then the second of each, and so on; otherwise in the order given.

    Args:
        items: Best ones first.
        kind: Of an item.
    """
    seen: Counter[str] = Counter()
    turns = []
    for item in items:
        turns.append(seen[kind(item)])
        seen[kind(item)] += 1
    return [items[at] for at in sorted(range(len(items)), key=lambda at: (turns[at], at))]
