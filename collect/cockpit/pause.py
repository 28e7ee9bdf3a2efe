"""The driver's pause, for sickness or the telephone: the world stands still, and the drive's clock with it.

Nothing ages meanwhile and nothing is forgiven: plan age, countdowns, probation and the time to label go on where they
stood, so a plan that was late before a pause is as late after it. Time passes again after a short count, with hands back
where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..devices.state import Action

RESUME_S = 2.0  # from the key to moving: hands and eyes come back


class Pause:
    """State of one episode's pauses; the clock comes in with each call."""

    def __init__(self) -> None:
        self._since_s: float | None = None  # the world stands still since then
        self._go_s: float | None = None  # and goes on then
        self._held_s = 0.0  # by all pauses before
        self._takeover = False

    @property
    def held(self) -> bool:
        """The world stands still, or counts down to going on."""
        return self._since_s is not None

    def press(self, now_s: float) -> bool:
        """The key: stop, count down to going on, or stay after all. Says whether the world stops with it."""
        if self._since_s is None:
            self._since_s = now_s
            return True
        self._go_s = None if self._go_s is not None else now_s + RESUME_S
        return False

    def watch(self, actions: Sequence[Action], now_s: float) -> float | None:
        """A turn: keeps a takeover that is pressed meanwhile, and ends the pause when its count is over.

        Returns:
            How long it was in real time, when the world goes on with this turn; else None.
        """
        if self._since_s is None:
            return None
        self._takeover = self._takeover or Action.TAKEOVER in actions
        if self._go_s is None or now_s < self._go_s:
            return None
        lasted_s = now_s - self._since_s
        self._held_s += lasted_s
        self._since_s = self._go_s = None
        return lasted_s

    def kept(self) -> tuple[Action, ...]:
        """Presses of the pause that count in the first turn after it; once."""
        found = (Action.TAKEOVER,) if self._takeover and not self.held else ()
        self._takeover = self._takeover and self.held
        return found

    def left_s(self, now_s: float) -> float | None:
        """Of the count; None while nobody has asked to go on."""
        return max(self._go_s - now_s, 0.0) if self._go_s is not None else None

    def drive_s(self, now_s: float) -> float:
        """The drive's clock at a time of the monotonic clock."""
        return (now_s if self._since_s is None else self._since_s) - self._held_s
