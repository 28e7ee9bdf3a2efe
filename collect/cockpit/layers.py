"""What lies over the camera's picture, as a list: prepared on one thread, put onto the window by another.

Text, panels, projections and everything else that may take long is in the preparing; putting is a few calls of SDL that
write each pixel once. So the window is drawn where it is shown, with no picture of it in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pygame

from .ring import Picture
from .text import Colour

Point = Sequence[float]
GROUND = (18, 22, 28)  # where there is no picture


class Layers:
    """A list of what to draw, in order. Surfaces in it are never drawn on again.

    Attributes:
        waiting: Title for a window without a picture; None to leave it empty.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._blits: list[tuple[pygame.Surface, Any]] = []
        self.waiting: pygame.Surface | None = None

    def blit(self, made: pygame.Surface, place: pygame.Rect | tuple[int, int]) -> None:
        """A surface at a place; blits in a row are one call."""
        if not self._blits:
            self._steps.append((pygame.Surface.blits, (self._blits, False)))
        self._blits.append((made, place))

    def fill(self, colour: Colour, rect: tuple[int, int, int, int]) -> None:
        """A rectangle."""
        self._add(pygame.Surface.fill, colour, rect)

    def polygon(self, colour: Colour, points: Sequence[Point]) -> None:
        """A filled polygon."""
        self._add(pygame.draw.polygon, colour, points)

    def lines(self, colour: Colour, points: Sequence[Point], width_px: int) -> None:
        """A line from point to point."""
        self._add(pygame.draw.lines, colour, False, points, width_px)

    def put(self, window: pygame.Surface, picture: pygame.Surface | None) -> None:
        """Onto the window, over a picture.

        Args:
            window: Where to.
            picture: Of the camera; None paints the ground dark.
        """
        size = window.get_size()
        if picture is None:
            window.fill(GROUND)
        elif picture.get_size() == size:
            copy_picture(window, picture)
        else:
            window.blit(pygame.transform.smoothscale(picture, size), (0, 0))
        for draw, arguments in self._steps:
            draw(window, *arguments)
        if picture is None and self.waiting is not None:
            window.blit(self.waiting, self.waiting.get_rect(center=window.get_rect().center))

    def _add(self, draw: Callable[..., object], *arguments: Any) -> None:
        self._steps.append((draw, arguments))
        self._blits = []


def copy_picture(surface: pygame.Surface, picture: pygame.Surface) -> None:
    """The picture onto the window: its memory in one go where the layouts agree, a third faster than a blit.

    A camera's fourth channel is no opacity.
    """
    if (
        picture.get_bitsize() == surface.get_bitsize() == 32
        and picture.get_masks()[:3] == surface.get_masks()[:3]
        and picture.get_pitch() == surface.get_pitch()
    ):
        # The stubs do not know that a view is a buffer.
        window, pixels = (memoryview(one.get_view("0")) for one in (surface, picture))  # type: ignore[arg-type]
        window[:] = pixels
        window.release()  # a surface stays locked while its memory is looked at
        pixels.release()
    else:
        picture.set_alpha(None)
        surface.blit(picture, (0, 0))


def surface_of(picture: Picture) -> pygame.Surface:
    """A picture of the ring where it lies: no byte is copied."""
    height, width = picture.pixels.shape[:2]
    return pygame.image.frombuffer(picture.pixels.reshape(-1).data, (width, height), "BGRA")
