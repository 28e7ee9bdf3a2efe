"""A scripted driver that drives at given times, whatever happens: the dose-matched control of proof.md 14.

It drives as the other does, in the same style, but nothing alarms it. Comparing what its drives teach with what
takeovers teach says whether the moment of a takeover matters, or only that somebody good drove for so long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..sim_bridge.drive import Drive
from ..sim_bridge.moment import Moment
from ..vocabulary import Authority, Plan, Reason
from .scripted_driver import ScriptedDriver

Stretch = tuple[float, float]  # start and length in seconds


class TimedDriver(ScriptedDriver):
    """A `Driver` with a timetable.

    Args:
        style: One of the three.
        seed: Of its faults.
        drive: The simulator, for route and map only.
        stretches: When it drives, in order, without overlaps.
    """

    def __init__(self, style: str, seed: int, drive: Drive, stretches: Sequence[Stretch]) -> None:
        super().__init__(style, seed, drive)
        self._left = list(stretches)
        self._until_s = 0.0

    def _look(self, moment: Moment, plan: Plan | None, authority: Authority) -> None:
        """Sets the next time; the plan does not matter."""
        self._act_at_s = self._left[0][0] if self._left else math.inf

    def _take(self, moment: Moment) -> None:
        # Its drives must be allowed to teach as takeovers do: without a reason that trains they never would.
        self._alarm = Reason.RULE
        super()._take(moment)
        _, length_s = self._left.pop(0)
        self._until_s = moment.time_s + length_s

    def _gives_back(self, moment: Moment) -> bool:
        return moment.time_s >= self._until_s
