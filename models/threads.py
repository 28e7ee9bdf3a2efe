"""How many threads torch may use: one while drives need the cores, more while only training runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_wanted = 1


def apply_threads() -> None:
    """Tell torch; whoever makes or loads a policy calls this.

    One is the rule: two pools on shared cores that wait actively slow each other down up to 90 times.
    """
    torch.set_num_threads(_wanted)


@contextmanager
def training_threads(count: int) -> Iterator[None]:
    """Give training so many threads for the time of a block, never more than the machine has cores.

    The same count gives the same weights; another one rounds differently.

    Args:
        count: Threads.
    """
    global _wanted
    before, _wanted = _wanted, max(min(count, os.cpu_count() or 1), 1)
    apply_threads()
    try:
        yield
    finally:
        _wanted = before
        apply_threads()
