"""How many threads torch may use: one for planning, more for training."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class _Wanted(threading.local):
    """Of each Python thread its own: plans made beside training must not take its threads, or they would round otherwise."""

    count = 1


_wanted = _Wanted()


def apply_threads() -> None:
    """Tell torch how many threads this Python thread may use; whoever makes, loads or asks a policy calls this.

    One is the rule: two pools on shared cores that wait actively slow each other down up to 90 times.
    """
    torch.set_num_threads(_wanted.count)
    torch.get_num_threads()  # a thread takes its count at its first question; until then another's setting becomes it


def wanted_threads() -> int:
    """How many threads this Python thread may use."""
    return _wanted.count


@contextmanager
def training_threads(count: int) -> Iterator[None]:
    """Give training so many threads for the time of a block, never more than the machine has cores.

    The same count gives the same weights; another one rounds differently.

    Args:
        count: Threads.
    """
    before, _wanted.count = _wanted.count, max(min(count, os.cpu_count() or 1), 1)
    apply_threads()
    try:
        yield
    finally:
        _wanted.count = before
        apply_threads()
