"""The foot of the replay window: who drove when, takeovers, infractions, and where one is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pygame

from ...vocabulary import TICK_S, HandoverState
from .gauges import RED
from .looks import LOOKS
from .paint import plate
from .text import MUTED, WHITE, Text

HEIGHT_PX = 58
BAND = pygame.Rect(0, 26, 0, 16)  # rows of the authority band within the timeline
MARGIN_PX = 20
SAFE_STOP_GREY = (205, 205, 205)  # black would not show on the dark ground


class Timeline:
    """Draws the band once, then the cursor on it; maps the mouse to ticks.

    Args:
        rect: Where it is in the window.
        states: Handover state by tick, from `first` on.
        first: Tick of the first state.
        takeovers: Ticks to mark.
        infractions: Ticks to mark.
    """

    def __init__(
        self,
        rect: pygame.Rect,
        states: Sequence[str],
        first: int,
        takeovers: Sequence[int],
        infractions: Sequence[int] = (),
    ) -> None:
        self.rect = rect
        self._first, self._count = first, max(len(states) - 1, 1)
        self._width = rect.width - 2 * MARGIN_PX
        self._ground = plate(rect.size, (14, 18, 24, 214), 12).copy()
        at = 0
        for state, group in groupby(states):
            length = len(list(group))
            left, right = self._column(first + at), self._column(first + at + length)
            handover = HandoverState(state)
            colour = SAFE_STOP_GREY if handover is HandoverState.SAFE_STOP else LOOKS[handover].colour
            self._ground.fill(
                colour, (left, BAND.top, max(min(right, rect.width - MARGIN_PX) - left, 1), BAND.height)
            )
            at += length
        for tick in takeovers:
            x = self._column(tick)
            pygame.draw.polygon(self._ground, WHITE, [(x - 6, 14), (x + 6, 14), (x, 24)])
        for tick in infractions:
            x = self._column(tick)
            pygame.draw.polygon(self._ground, RED, [(x - 5, 54), (x + 5, 54), (x, 45)])

    def tick_at(self, position: tuple[int, int]) -> int | None:
        """The tick below the mouse; None outside the timeline."""
        if not self.rect.collidepoint(position):
            return None
        share = (position[0] - self.rect.left - MARGIN_PX) / self._width
        return self._first + round(min(max(share, 0.0), 1.0) * self._count)

    def draw(self, surface: pygame.Surface, text: Text, tick: int, speed: float, playing: bool) -> None:
        """The band with the cursor, time and speed."""
        surface.blit(self._ground, self.rect)
        x = self.rect.left + self._column(tick)
        pygame.draw.line(surface, WHITE, (x, self.rect.top + 20), (x, self.rect.top + 48), 3)
        pygame.draw.circle(surface, WHITE, (x, self.rect.top + 34), 6)
        top = self.rect.top + 5
        total_s = self._count * TICK_S
        surface.blit(
            text.line(f"{max(tick - self._first, 0) * TICK_S:.1f} / {total_s:.1f} s", 12, MUTED),
            (self.rect.left + MARGIN_PX, top),
        )
        sign = "▶" if playing else "paused"
        right = text.line(f"{sign}  × {speed:g}", 12, WHITE)
        surface.blit(right, (self.rect.right - MARGIN_PX - right.get_width(), top))

    def _column(self, tick: int) -> int:
        return MARGIN_PX + round((tick - self._first) / self._count * self._width)
