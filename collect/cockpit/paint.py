"""Shapes that are painted once and kept: plates, frames, wheels, key caps, and whole panels by their contents."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache

import pygame

from .looks import Look, Pattern
from .text import DARK, Colour, Text

Size = tuple[int, int]
FINE = 3  # shapes are painted this many times larger and then made smaller: smooth edges
PLATE = (20, 25, 33, 255)  # opaque: what is not blended is only copied
KEY = (3, 4, 7)
FRAME_PX = {Pattern.THIN: 8}
WIDE_PX = 14
WHEEL_STEP_DEG = 3


class Panels:
    """Panels by name; one is painted again only when what it shows has changed."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Hashable, pygame.Surface]] = {}
        self.painted = 0

    def get(self, name: str, shows: Hashable, paint: Callable[[], pygame.Surface]) -> pygame.Surface:
        """The panel of this name that shows `shows`."""
        kept = self._kept.get(name)
        if kept is not None and kept[0] == shows:
            return kept[1]
        self.painted += 1
        made = paint()
        made = keyed(made)
        self._kept[name] = (shows, made)
        return made


def keyed(made: pygame.Surface) -> pygame.Surface:
    """The same with its empty pixels marked by a key colour instead of an alpha channel.

    SDL then copies runs of full pixels and skips the others, a seventh of the time of blending. Smooth edges are blended
    once, with a key so dark that they look like a shadow.
    """
    flat = pygame.Surface(made.get_size(), 0, 32)
    flat.fill(KEY)
    alpha = made.get_alpha()
    made.set_alpha(255)
    flat.blit(made, (0, 0))
    flat.set_colorkey(KEY, pygame.RLEACCEL)
    if alpha is not None and alpha < 255:
        flat.set_alpha(alpha, pygame.RLEACCEL)
    return flat


@lru_cache(maxsize=128)
def plate(size: Size, colour: tuple[int, int, int, int] = PLATE, radius_px: int = 12) -> pygame.Surface:
    """A rounded rectangle; copy it before drawing on it."""
    big = pygame.Surface((size[0] * FINE, size[1] * FINE), pygame.SRCALPHA)
    big.fill((*colour[:3], 0))
    pygame.draw.rect(big, colour, big.get_rect(), border_radius=radius_px * FINE)
    return pygame.transform.smoothscale(big, size)


@lru_cache(maxsize=512)
def wheel(angle_deg: int, radius_px: int, colour: tuple[int, int, int, int]) -> pygame.Surface:
    """A steering wheel turned counter-clockwise."""
    side = 2 * radius_px * FINE
    big = pygame.Surface((side, side), pygame.SRCALPHA)
    big.fill((*colour[:3], 0))
    middle, thick = (side // 2, side // 2), max(radius_px * FINE // 6, 1)
    pygame.draw.circle(big, colour, middle, side // 2, thick)
    pygame.draw.circle(big, colour, middle, side // 8)
    pygame.draw.line(big, colour, (thick, side // 2), (side - thick, side // 2), thick)
    pygame.draw.line(big, colour, middle, (side // 2, side - thick), thick)
    turned = pygame.transform.rotate(big, angle_deg)
    cut = turned.get_rect()
    inner = pygame.Rect(0, 0, side, side)
    inner.center = cut.center
    return pygame.transform.smoothscale(turned.subsurface(inner), (2 * radius_px, 2 * radius_px))


def wheel_at(
    steer: float, lock_deg: float, radius_px: int, colour: tuple[int, int, int, int]
) -> pygame.Surface:
    """The wheel at a normalised angle, positive left, to the nearest WHEEL_STEP_DEG."""
    step = round(steer * lock_deg / WHEEL_STEP_DEG)
    return wheel(step * WHEEL_STEP_DEG, radius_px, colour)


def key_cap(text: Text, key: str) -> pygame.Surface:
    """A key with its letter."""
    letter = text.line(key, 13, DARK, bold=True)
    made = plate((max(letter.get_width() + 14, 26), 24), (226, 230, 236, 255), 6).copy()
    made.blit(letter, letter.get_rect(center=made.get_rect().center))
    return made


@lru_cache(maxsize=32)
def frame(size: Size, look: Look, lit: bool) -> tuple[tuple[pygame.Surface, tuple[int, int]], ...]:
    """The four sides of the frame around the picture, with their places.

    Args:
        size: Of the window.
        look: Whose frame.
        lit: False in the dark half of a blinking frame.
    """
    thick = FRAME_PX.get(look.pattern, WIDE_PX)
    whole = pygame.Surface(size, 0, 32)
    colour = look.colour if lit else tuple(part // 4 for part in look.colour)
    width, height = size
    if look.pattern is Pattern.HAZARD:
        whole.fill((10, 10, 12))
        light = (255, 255, 255) if lit else (120, 120, 120)
        for x in range(-height, width, 56):
            pygame.draw.polygon(
                whole, light, [(x, height), (x + 28, height), (x + 28 + height, 0), (x + height, 0)]
            )
    elif look.pattern is Pattern.DASHES:
        _ticks(whole, colour, 60, 36)
    elif look.pattern is Pattern.DOTS:
        _ticks(whole, colour, 24, 12)
    else:
        whole.fill(colour)
    sides = (
        pygame.Rect(0, 0, width, thick),
        pygame.Rect(0, height - thick, width, thick),
        pygame.Rect(0, thick, thick, height - 2 * thick),
        pygame.Rect(width - thick, thick, thick, height - 2 * thick),
    )
    return tuple((whole.subsurface(side).copy(), side.topleft) for side in sides)


def _ticks(surface: pygame.Surface, colour: tuple[int, ...], period_px: int, on_px: int) -> None:
    """Dashes along all four sides on a dark ground, so that they show on any picture."""
    surface.fill((10, 10, 12))
    width, height = surface.get_size()
    for x in range(0, width, period_px):
        surface.fill(colour, (x, 0, on_px, WIDE_PX))
        surface.fill(colour, (x, height - WIDE_PX, on_px, WIDE_PX))
    for y in range(WIDE_PX, height - WIDE_PX, period_px):
        surface.fill(colour, (0, y, WIDE_PX, on_px))
        surface.fill(colour, (width - WIDE_PX, y, WIDE_PX, on_px))


def bar(
    surface: pygame.Surface, rect: pygame.Rect, share: float, colour: Colour, *, upright: bool = False
) -> None:
    """A rounded bar that is filled to `share`."""
    ground = plate(rect.size, (255, 255, 255, 44), 4)
    surface.blit(ground, rect)
    share = min(max(share, 0.0), 1.0)
    length = round(share * (rect.height if upright else rect.width))
    if length >= 2:
        fill = rect.copy()
        if upright:
            fill.update(rect.left, rect.bottom - length, rect.width, length)
        else:
            fill.width = length
        pygame.draw.rect(surface, colour, fill, border_radius=min(4, length // 2))


def limit_sign(text: Text, kmh: int) -> pygame.Surface:
    """A round speed limit sign, 44 px."""
    big = pygame.Surface((44 * FINE, 44 * FINE), pygame.SRCALPHA)
    big.fill((213, 60, 50, 0))
    pygame.draw.circle(big, (213, 60, 50), (22 * FINE, 22 * FINE), 22 * FINE)
    pygame.draw.circle(big, (250, 250, 250), (22 * FINE, 22 * FINE), 17 * FINE)
    sign = pygame.transform.smoothscale(big, (44, 44))
    number = text.line(str(kmh), 16 if kmh < 100 else 13, DARK, bold=True)
    sign.blit(number, number.get_rect(center=(22, 22)))
    return sign
