"""Text as surfaces, each rendered once."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pygame

KEPT = 1024  # surfaces; the oldest unused one goes first
Colour = tuple[int, int, int]

WHITE: Colour = (238, 241, 245)
MUTED: Colour = (164, 172, 184)
DARK: Colour = (16, 20, 26)


class Text:
    """Renders and keeps lines of text.

    The font is DejaVu Sans out of matplotlib's package data: the same letters on every machine.
    """

    def __init__(self) -> None:
        pygame.font.init()
        self._kept: OrderedDict[tuple[str, int, Colour, bool], pygame.Surface] = OrderedDict()
        self._fonts: dict[tuple[int, bool], pygame.font.Font] = {}
        self.rendered = 0  # lines that were not found among the kept ones

    def line(self, text: str, size_px: int, colour: Colour = WHITE, *, bold: bool = False) -> pygame.Surface:
        """One line; the same arguments give the same surface, so never draw on it."""
        key = (text, size_px, colour, bold)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        self.rendered += 1
        made = self.font(size_px, bold).render(text, True, colour)
        self._kept[key] = made
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made

    def fit(self, text: str, size_px: int, width_px: int, *, bold: bool = False) -> pygame.Surface:
        """One white line, in a smaller size where it would be wider than `width_px`."""
        while size_px > 9 and self.font(size_px, bold).size(text)[0] > width_px:
            size_px -= 1
        return self.line(text, size_px, bold=bold)

    def font(self, size_px: int, bold: bool = False) -> pygame.font.Font:
        """The font in a size."""
        key = (size_px, bold)
        if key not in self._fonts:
            self._fonts[key] = pygame.font.Font(_font_file(bold), size_px)
        return self._fonts[key]

    def wrap(self, text: str, size_px: int, width_px: int, lines: int) -> list[str]:
        """Words broken into at most `lines` lines of `width_px`; the last one ends in an ellipsis when cut."""
        font, found, line = self.font(size_px), [], ""
        words = text.split()
        for word in words:
            longer = f"{line} {word}".strip()
            if line and font.size(longer)[0] > width_px:
                found.append(line)
                line = word
            else:
                line = longer
        if line:
            found.append(line)
        if len(found) > lines:
            found = [*found[: lines - 1], f"{found[lines - 1]} …"]
        return found


@lru_cache(maxsize=2)
def _font_file(bold: bool) -> str | None:
    spec = find_spec("matplotlib")  # found, not imported
    if spec is None or spec.origin is None:
        return None  # pygame's own font
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    file = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
    return str(file) if file.is_file() else None
