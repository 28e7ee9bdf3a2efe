"""Ties ticks to the wall clock. A stall is made good by one tick at most: the rest of it is lost, and said."""

from __future__ import annotations

from collections import deque

WINDOW = 40  # ticks over which the real-time factor is taken


class Pacer:
    """Says when the next tick is due; the clock comes in with each call.

    Args:
        period_s: Between ticks.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._due_s = 0.0
        self._ticks_s: deque[float] = deque(maxlen=WINDOW + 1)

    def start(self, now_s: float) -> None:
        """Time passes from now on; the first tick is due after one period."""
        self._due_s = now_s + self._period_s
        self._ticks_s.clear()

    def wait_s(self, now_s: float) -> float:
        """How long until the next tick is due; 0 when it is."""
        return max(self._due_s - now_s, 0.0)

    def tick(self, now_s: float) -> None:
        """A tick begins."""
        self._due_s = max(self._due_s, now_s - self._period_s) + self._period_s
        self._ticks_s.append(now_s)

    @property
    def real_time_factor(self) -> float:
        """Simulated per real second of the last ticks; 1 before there are two."""
        if len(self._ticks_s) < 2:
            return 1.0
        real_s = self._ticks_s[-1] - self._ticks_s[0]
        return (len(self._ticks_s) - 1) * self._period_s / real_s if real_s > 0.0 else 1.0
