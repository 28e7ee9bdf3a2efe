"""The panels of the HUD. Each function paints one from a few plain values; `hud.Hud` keeps and places them."""

from __future__ import annotations

import math
import re

import pygame

from .hud_state import HIDDEN, HudState, Level, ReasonPrompt
from .layers import Layers
from .looks import MINT, PURPLE, SKY, VERMILION, YELLOW, Look
from .paint import PLATE, bar, key_cap, limit_sign, plate, wheel_at
from .text import DARK, MUTED, WHITE, Colour, Text

KMH = 3.6
WHEEL_LOCK_DEG = 150.0  # of the drawn wheel at full steer
WHEEL_PX = 38
HUB = (60, 48)  # of the wheel, in the cluster
PEDALS = ((126, "gas"), (166, "brake"))
WHEEL_COLOUR, GHOST_COLOUR = (240, 243, 247, 235), (*SKY, 150)
TROUGH = (255, 255, 255, 44)
TTC_SHOWN_S = 4.0
TTC_URGENT_S = 1.5
CLUSTER = (560, 104)
TRIP = (300, 112)
STATUS = (252, 74)
LEVELS: dict[Level, tuple[Colour, Colour]] = {
    Level.INFO: ((40, 48, 60), WHITE),
    Level.WARNING: (YELLOW, DARK),
    Level.CRITICAL: (VERMILION, WHITE),
}
RED: Colour = (236, 72, 64)


def banner(text: Text, look: Look, detail: str, share: float | None) -> pygame.Surface:
    """Who drives, in words, on the colour of the authority.

    Args:
        text: Renders.
        look: Of the handover state.
        detail: Second line.
        share: Of a bar at the foot; None for no bar.
    """
    word = text.line(look.word, 24, look.ink, bold=True)
    line = text.line(detail, 13, look.ink)
    width = max(word.get_width(), line.get_width()) + 56
    made = plate((width, 66), (*look.colour, 255), 14).copy()
    made.blit(word, word.get_rect(midtop=(width // 2, 7)))
    made.blit(line, line.get_rect(midtop=(width // 2, 39)))
    if share is not None:
        bar(made, pygame.Rect(20, 58, width - 40, 4), share, look.ink)
    return made


def countdown(text: Text, seconds: str) -> pygame.Surface:
    """The seconds that are left, large."""
    number = text.line(seconds, 76, WHITE, bold=True)
    made = plate((number.get_width() + 64, 104), (*VERMILION, 255), 18).copy()
    made.blit(number, number.get_rect(center=made.get_rect().center))
    return made


def alert(text: Text, told: str, to_do: str, level: Level) -> pygame.Surface:
    """An alert below the banner."""
    ground, ink = LEVELS[level]
    words = text.line(told, 18, ink, bold=level is not Level.INFO)
    detail = text.line(to_do, 14, ink)
    gap = 14 if to_do else 0
    width = words.get_width() + gap + detail.get_width() + 44
    made = plate((width, 40), (*ground, 255), 10).copy()
    made.blit(words, words.get_rect(midleft=(22, 20)))
    made.blit(detail, detail.get_rect(midright=(width - 22, 21)))
    return made


def trip(text: Text, scenario: str, episode: str, generation: str) -> pygame.Surface:
    """Ground and constant words of scenario, route and generation; `trip_values` adds what changes."""
    made = plate(TRIP).copy()
    made.blit(text.fit(words_of(scenario) or "Free drive", 16, TRIP[0] - 84, bold=True), (16, 11))
    made.blit(plate((TRIP[0] - 32, 7), TROUGH, 3), (16, 40))
    if episode:
        line = text.line(episode, 13, MUTED)
        made.blit(line, line.get_rect(topright=(TRIP[0] - 16, 53)))
    name = "hidden (blind)" if generation == HIDDEN else generation or "none"
    made.blit(text.line("generation", 13, MUTED), (16, 82))
    made.blit(text.line(name, 14, WHITE, bold=True), (106, 81))
    return made


def trip_values(layers: Layers, text: Text, state: HudState, place: tuple[int, int]) -> None:
    """Clock and progress, straight onto the window: cheaper than painting the panel anew on every picture."""
    x, y = place
    minutes, seconds = divmod(int(state.time_s), 60)
    clock = text.line(f"{minutes}:{seconds:02d}", 15, MUTED)
    layers.blit(clock, (x + TRIP[0] - 16 - clock.get_width(), y + 12))
    where = f"{state.progress_m:.0f} m"
    if state.route_m > 0.0:
        where = f"{state.progress_m:.0f} of {state.route_m:.0f} m"
        share = min(max(state.progress_m / state.route_m, 0.0), 1.0)
        layers.fill(SKY, (x + 17, y + 41, round(share * (TRIP[0] - 34)), 5))
    layers.blit(text.line(where, 13, MUTED), (x + 16, y + 53))


def status(text: Text, state: HudState, lit: bool) -> pygame.Surface:
    """Recording light, takeovers, pace."""
    made = plate(STATUS).copy()
    if state.replay:
        pygame.draw.polygon(made, SKY, [(18, 15), (18, 31), (32, 23)])
        made.blit(text.line("REPLAY", 15, WHITE, bold=True), (40, 14))
    elif state.recording:
        pygame.draw.circle(made, RED if lit else (110, 40, 38), (24, 23), 7)
        made.blit(text.line("REC", 15, WHITE, bold=True), (38, 14))
    else:
        pygame.draw.circle(made, MUTED, (24, 23), 7, 2)
        made.blit(text.line("not recorded", 14, MUTED), (38, 15))
    count = text.line(f"takeovers {state.takeovers}", 15, WHITE)
    made.blit(count, count.get_rect(topright=(STATUS[0] - 16, 14)))
    slow = state.real_time_factor < 0.95 and not state.replay
    pace = text.line(f"{state.real_time_factor:.2f} × real time", 13, YELLOW if slow else MUTED)
    made.blit(pace, (16, 44))
    if state.fps > 0.0:
        rate = text.line(f"{state.fps:.0f} fps", 13, MUTED)
        made.blit(rate, rate.get_rect(topright=(STATUS[0] - 16, 44)))
    return made


def cluster(text: Text, limit_kmh: int, has_ghost: bool) -> pygame.Surface:
    """Ground and constant parts of wheel, pedals, speed, limit; `cluster_values` adds what changes."""
    made = plate(CLUSTER, radius_px=18).copy()
    _caption(text, made, "ghost: policy" if has_ghost else "wheel", HUB[0])
    for x, name in PEDALS:
        made.blit(plate((14, 66), TROUGH, 4), (x, 14))
        _caption(text, made, name, x + 7)
    made.blit(text.line("km/h", 15, MUTED), (352, 52))
    if limit_kmh > 0:
        sign = limit_sign(text, limit_kmh)
        made.blit(sign, sign.get_rect(center=(430, 44)))
        _caption(text, made, "limit", 430)
    return made


def cluster_values(layers: Layers, text: Text, state: HudState, place: tuple[int, int]) -> None:
    """Wheel with its ghost, pedals, gear, speed and time to collision, straight onto the window."""
    x, y = place
    hands = state.device if state.device is not None else state.executed
    corner = (x + HUB[0] - WHEEL_PX, y + HUB[1] - WHEEL_PX)
    if state.ghost_steer is not None:
        layers.blit(wheel_at(state.ghost_steer, WHEEL_LOCK_DEG, WHEEL_PX, GHOST_COLOUR), corner)
    layers.blit(wheel_at(hands.steer, WHEEL_LOCK_DEG, WHEEL_PX, WHEEL_COLOUR), corner)
    for (left, _), share, colour in zip(PEDALS, (hands.throttle, hands.brake), (MINT, RED), strict=True):
        high = round(64 * min(max(share, 0.0), 1.0))
        layers.fill(colour, (x + left + 1, y + 79 - high, 12, high))
    layers.blit(
        text.line("R" if state.reverse else "D", 22, YELLOW if state.reverse else WHITE, bold=True),
        (x + 212, y + 32),
    )
    if state.handbrake:
        layers.blit(text.line("(P)", 15, RED, bold=True), (x + 206, y + 60))
    if state.blink < 0.5:
        for side, left in ((-1, 200), (1, 228)):
            if state.blinker in (side, 2):
                layers.blit(text.line("◀" if side < 0 else "▶", 15, MINT), (x + left, y + 10))
    speed = text.line(f"{abs(state.speed_mps) * KMH:.0f}", 56, WHITE, bold=True)
    layers.blit(speed, (x + 346 - speed.get_width(), y + 44 - speed.get_height() // 2))
    near = state.ttc_s < TTC_SHOWN_S
    colour = (RED if state.ttc_s < TTC_URGENT_S else YELLOW) if near else MUTED
    line = text.line(f"{state.ttc_s:.1f} s" if near else "clear", 20 if near else 16, colour, bold=near)
    layers.blit(line, (x + 508 - line.get_width() // 2, y + 44 - line.get_height() // 2))
    line = text.line("collision in" if near else "ahead", 11, MUTED)
    layers.blit(line, line.get_rect(midbottom=(x + 508, y + CLUSTER[1] - 7)))


def _caption(text: Text, made: pygame.Surface, words: str, x: int) -> None:
    line = text.line(words, 11, MUTED)
    made.blit(line, line.get_rect(midbottom=(x, CLUSTER[1] - 7)))


def words_of(name: str) -> str:
    """`DynamicObjectCrossing` as words: `Dynamic object crossing`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def reasoning(text: Text, words: str, shadow: bool) -> pygame.Surface:
    """What the policy says about its plan."""
    lines = text.wrap(words, 13, 268, 9)
    made = plate((300, 44 + 18 * len(lines))).copy()
    title = "policy, watching" if shadow else "policy"
    made.blit(text.line(title, 13, SKY, bold=True), (16, 12))
    for row, line in enumerate(lines):
        made.blit(text.line(line, 13, WHITE), (16, 33 + 18 * row))
    return made


def notice(text: Text, words: str, opacity: float) -> pygame.Surface:
    """One line of what just happened."""
    line = text.line(words, 14, WHITE)
    made = plate((line.get_width() + 32, 32), radius_px=9).copy()
    made.blit(line, (16, 16 - line.get_height() // 2))
    made.set_alpha(round(255 * opacity))
    return made


def prompt(text: Text, asked: ReasonPrompt, seconds: int) -> pygame.Surface:
    """The question after a takeover."""
    width = 760
    made = plate((width, 122), PLATE, 16).copy()
    made.blit(text.line("Why did you take over?", 18, WHITE, bold=True), (20, 12))
    left = text.line(f"{seconds} s", 16, MUTED)
    made.blit(left, left.get_rect(topright=(width - 20, 14)))
    column = (width - 32) // 4
    for at, (key, words) in enumerate(asked.choices[:8]):
        _choice(text, made, key, words, (20 + column * (at % 4), 44 + 26 * (at // 4)), words in asked.chosen)
    x = 20
    for key, words in asked.verdicts:
        x = _choice(text, made, key, words, (x, 96), words in asked.chosen) + 22
    return made


def _choice(
    text: Text, made: pygame.Surface, key: str, words: str, place: tuple[int, int], chosen: bool
) -> int:
    cap = key_cap(text, key)
    made.blit(cap, (place[0], place[1] - 2))
    line = text.line(f"{words} ✓" if chosen else words, 14, MINT if chosen else WHITE, bold=chosen)
    made.blit(line, (place[0] + cap.get_width() + 8, place[1] + 1))
    return place[0] + cap.get_width() + 8 + line.get_width()


def keys_help(text: Text, keys: tuple[tuple[str, str], ...]) -> pygame.Surface:
    """The keys, in two columns."""
    rows = (len(keys) + 1) // 2
    made = plate((940, 78 + 32 * rows), PLATE, 18).copy()
    made.blit(text.line("Keys", 22, WHITE, bold=True), (32, 18))
    hint = text.line("H closes this", 14, MUTED)
    made.blit(hint, hint.get_rect(topright=(908, 24)))
    for at, (key, words) in enumerate(keys):
        x, y = 32 + 450 * (at // rows), 62 + 32 * (at % rows)
        cap = key_cap(text, key)
        made.blit(cap, cap.get_rect(topright=(x + 132, y)))
        made.blit(text.fit(words, 14, 296), (x + 146, y + 4))
    return made


def title(text: Text, words: str, detail: str) -> pygame.Surface:
    """Large words in the middle of the window."""
    large, small = text.line(words, 34, WHITE, bold=True), text.line(detail, 15, MUTED)
    width = max(large.get_width(), small.get_width()) + 80
    made = plate((width, 96), PLATE, 18).copy()
    made.blit(large, large.get_rect(midtop=(width // 2, 14)))
    made.blit(small, small.get_rect(midtop=(width // 2, 62)))
    return made


def label(
    text: Text, words: str, colour: Colour = WHITE, ground: tuple[int, int, int, int] = PLATE
) -> pygame.Surface:
    """A small tag."""
    line = text.line(words, 12, colour, bold=True)
    made = plate((line.get_width() + 18, 22), ground, 7).copy()
    made.blit(line, line.get_rect(center=made.get_rect().center))
    return made


PRACTICE = ("PRACTICE · nothing is kept", DARK, (*PURPLE, 235))
NO_PICTURE = ("Getting ready", "the first picture is on its way")
PAUSED = ("PAUSED", "the world stands still · Enter goes on · T: you drive then")


def going_on(left_s: float) -> tuple[str, str]:
    """Words of the count after a pause."""
    return f"GOES ON IN {math.ceil(left_s)}", "hands on the wheel · Enter stays"
