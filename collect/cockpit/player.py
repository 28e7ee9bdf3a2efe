"""The cursor of a replay: play, pause, scrub, slow and fast, jump between marks. Pure; time comes in."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from ...vocabulary import TICK_HZ

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LEAD_TICKS = TICK_HZ  # a jump lands this long before the mark: one sees it coming


class Move(StrEnum):
    """What a viewer can ask for."""

    PAUSE = "pause"
    BACK = "back"  # a second
    FORWARD = "forward"
    STEP_BACK = "step_back"  # a tick
    STEP = "step"
    SLOWER = "slower"
    FASTER = "faster"
    PREVIOUS = "previous"  # takeover
    NEXT = "next"
    START = "start"
    END = "end"


_SHIFTS = {Move.BACK: -TICK_HZ, Move.FORWARD: TICK_HZ, Move.STEP_BACK: -1, Move.STEP: 1}


class Player:
    """Where in a recording one is.

    Args:
        first: First tick.
        last: Last tick.
        marks: Ticks to jump between, in order.
    """

    def __init__(self, first: int, last: int, marks: Sequence[int] = ()) -> None:
        self.first, self.last = first, last
        self._marks = [max(mark - LEAD_TICKS, first) for mark in marks]
        self._at = float(first)
        self._speed = SPEEDS.index(1.0)
        self.playing = True

    @property
    def tick(self) -> int:
        """The tick that is shown."""
        return int(self._at)

    @property
    def speed(self) -> float:
        """Recorded seconds per second."""
        return SPEEDS[self._speed]

    def advance(self, step_s: float) -> None:
        """Let time pass; playing stops at the end."""
        if not self.playing:
            return
        self._at = min(self._at + step_s * self.speed * TICK_HZ, float(self.last))
        self.playing = self._at < self.last

    def seek(self, tick: int) -> None:
        """Go to a tick, or to the end that is nearest."""
        self._at = float(min(max(tick, self.first), self.last))

    def move(self, move: Move) -> None:
        """Do what the viewer asks."""
        if move is Move.PAUSE:
            if not self.playing and self._at >= self.last:
                self.seek(self.first)  # play again
            self.playing = not self.playing
        elif move in _SHIFTS:
            if move in (Move.STEP, Move.STEP_BACK):
                self.playing = False
            self.seek(self.tick + _SHIFTS[move])
        elif move in (Move.SLOWER, Move.FASTER):
            step = 1 if move is Move.FASTER else -1
            self._speed = min(max(self._speed + step, 0), len(SPEEDS) - 1)
        elif move is Move.NEXT:
            self.seek(next((mark for mark in self._marks if mark > self.tick), self.last))
        elif move is Move.PREVIOUS:
            self.seek(next((mark for mark in reversed(self._marks) if mark < self.tick), self.first))
        else:
            self.seek(self.first if move is Move.START else self.last)
