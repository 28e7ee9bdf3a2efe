"""The panels of the HUD. Each function paints one from a few plain values; `hud.Hud` keeps and places them."""

from __future__ import annotations

import pygame

from .hud_state import HIDDEN, HudState, Level, ReasonPrompt
from .looks import GREEN, MINT, PURPLE, SKY, VERMILION, YELLOW, Look
from .paint import bar, key_cap, limit_sign, plate, wheel_at
from .text import DARK, MUTED, WHITE, Colour, Text

KMH = 3.6
WHEEL_LOCK_DEG = 150.0  # of the drawn wheel at full steer
WHEEL_PX = 38
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
    made = plate((width, 66), (*look.colour, 236), 14).copy()
    made.blit(word, word.get_rect(midtop=(width // 2, 7)))
    made.blit(line, line.get_rect(midtop=(width // 2, 39)))
    if share is not None:
        bar(made, pygame.Rect(20, 58, width - 40, 4), share, look.ink)
    return made


def countdown(text: Text, seconds: str) -> pygame.Surface:
    """The seconds that are left, large."""
    number = text.line(seconds, 76, WHITE, bold=True)
    made = plate((number.get_width() + 64, 104), (*VERMILION, 226), 18).copy()
    made.blit(number, number.get_rect(center=made.get_rect().center))
    return made


def alert(text: Text, words: str, level: Level) -> pygame.Surface:
    """An alert below the banner."""
    ground, ink = LEVELS[level]
    line = text.line(words, 17, ink, bold=level is not Level.INFO)
    made = plate((line.get_width() + 44, 38), (*ground, 230), 10).copy()
    made.blit(line, line.get_rect(center=made.get_rect().center))
    return made


def trip(text: Text, state: HudState, progress: float) -> pygame.Surface:
    """Scenario, route and generation."""
    made = plate(TRIP).copy()
    made.blit(text.line(state.scenario or "free drive", 16, WHITE, bold=True), (16, 11))
    minutes, seconds = divmod(int(state.time_s), 60)
    clock = text.line(f"{minutes}:{seconds:02d}", 15, MUTED)
    made.blit(clock, clock.get_rect(topright=(TRIP[0] - 16, 12)))
    bar(made, pygame.Rect(16, 40, TRIP[0] - 32, 7), progress, SKY)
    where = (
        f"{state.progress_m:.0f} of {state.route_m:.0f} m"
        if state.route_m > 0.0
        else f"{state.progress_m:.0f} m"
    )
    made.blit(text.line(where, 13, MUTED), (16, 53))
    if state.episode:
        line = text.line(state.episode, 13, MUTED)
        made.blit(line, line.get_rect(topright=(TRIP[0] - 16, 53)))
    name = "hidden (blind)" if state.generation == HIDDEN else state.generation or "none"
    made.blit(text.line("generation", 13, MUTED), (16, 82))
    made.blit(text.line(name, 15, WHITE, bold=True), (106, 80))
    return made


def status(text: Text, state: HudState, lit: bool) -> pygame.Surface:
    """Recording light, takeovers, pace."""
    made = plate(STATUS).copy()
    if state.recording:
        pygame.draw.circle(made, RED if lit else (110, 40, 38), (24, 23), 7)
        made.blit(text.line("REC", 15, WHITE, bold=True), (38, 14))
    else:
        pygame.draw.circle(made, MUTED, (24, 23), 7, 2)
        made.blit(text.line("not recorded", 14, MUTED), (38, 15))
    count = text.line(f"takeovers {state.takeovers}", 15, WHITE)
    made.blit(count, count.get_rect(topright=(STATUS[0] - 16, 14)))
    slow = state.real_time_factor < 0.95
    pace = text.line(f"{state.real_time_factor:.2f} × real time", 13, YELLOW if slow else MUTED)
    made.blit(pace, (16, 44))
    rate = text.line(f"{state.fps:.0f} fps", 13, MUTED)
    made.blit(rate, rate.get_rect(topright=(STATUS[0] - 16, 44)))
    return made


def cluster(text: Text, state: HudState) -> pygame.Surface:
    """Wheel with its ghost, pedals, speed, limit, time to collision."""
    made = plate(CLUSTER, radius_px=18).copy()
    hands = state.device if state.device is not None else state.executed
    hub = (22 + WHEEL_PX, CLUSTER[1] // 2 - 4)
    if state.ghost_steer is not None:
        ghost = wheel_at(state.ghost_steer, WHEEL_LOCK_DEG, WHEEL_PX, (*SKY, 120))
        made.blit(ghost, ghost.get_rect(center=hub))
    front = wheel_at(hands.steer, WHEEL_LOCK_DEG, WHEEL_PX, (240, 243, 247, 235))
    made.blit(front, front.get_rect(center=hub))
    _caption(text, made, "ghost: policy" if state.ghost_steer is not None else "wheel", hub[0])
    for x, share, colour, name in ((126, hands.throttle, MINT, "gas"), (166, hands.brake, RED, "brake")):
        bar(made, pygame.Rect(x, 14, 14, 66), share, colour, upright=True)
        _caption(text, made, name, x + 7)
    _gear(text, made, state)
    speed = text.line(f"{abs(state.speed_mps) * KMH:.0f}", 56, WHITE, bold=True)
    made.blit(speed, speed.get_rect(midright=(346, 44)))
    made.blit(text.line("km/h", 15, MUTED), (352, 52))
    if state.limit_mps > 0.0:
        sign = limit_sign(text, round(state.limit_mps * KMH))
        made.blit(sign, sign.get_rect(center=(430, 44)))
        _caption(text, made, "limit", 430)
    _ttc(text, made, state)
    return made


def _gear(text: Text, made: pygame.Surface, state: HudState) -> None:
    marks = "R" if state.reverse else "D"
    made.blit(text.line(marks, 22, YELLOW if state.reverse else WHITE, bold=True), (212, 32))
    if state.handbrake:
        made.blit(text.line("(P)", 15, RED, bold=True), (206, 60))
    for side, x in ((-1, 204), (1, 228)):
        if state.blinker in (side, 2) and state.blink < 0.5:
            made.blit(text.line("◀" if side < 0 else "▶", 15, MINT), (x, 10))


def _ttc(text: Text, made: pygame.Surface, state: HudState) -> None:
    near = state.ttc_s < TTC_SHOWN_S
    colour = (RED if state.ttc_s < TTC_URGENT_S else YELLOW) if near else MUTED
    words = f"{state.ttc_s:.1f} s" if near else "clear"
    line = text.line(words, 20 if near else 16, colour, bold=near)
    made.blit(line, line.get_rect(center=(508, 44)))
    _caption(text, made, "collision in" if near else "ahead", 508)


def _caption(text: Text, made: pygame.Surface, words: str, x: int) -> None:
    line = text.line(words, 11, MUTED)
    made.blit(line, line.get_rect(midbottom=(x, CLUSTER[1] - 7)))


def reasoning(text: Text, words: str, shadow: bool) -> pygame.Surface:
    """What the policy says about its plan."""
    lines = text.wrap(words, 13, 268, 9)
    made = plate((300, 44 + 18 * len(lines))).copy()
    title = "policy, watching" if shadow else "policy"
    made.blit(text.line(title, 13, SKY, bold=True), (16, 12))
    for row, line in enumerate(lines):
        made.blit(text.line(line, 13, WHITE), (16, 33 + 18 * row))
    return made


def notice(text: Text, words: str) -> pygame.Surface:
    """One line of what just happened."""
    line = text.line(words, 14, WHITE)
    made = plate((line.get_width() + 32, 32), radius_px=9).copy()
    made.blit(line, (16, 16 - line.get_height() // 2))
    return made


def prompt(text: Text, asked: ReasonPrompt, seconds: int) -> pygame.Surface:
    """The question after a takeover."""
    width = 760
    made = plate((width, 122), (14, 18, 24, 212), 16).copy()
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
    made = plate((820, 74 + 30 * rows), (14, 18, 24, 232), 18).copy()
    made.blit(text.line("Keys", 22, WHITE, bold=True), (28, 18))
    hint = text.line("H closes this", 14, MUTED)
    made.blit(hint, hint.get_rect(topright=(792, 24)))
    for at, (key, words) in enumerate(keys):
        x, y = 28 + 396 * (at // rows), 58 + 30 * (at % rows)
        cap = key_cap(text, key)
        made.blit(cap, (x, y))
        made.blit(text.line(words, 14, WHITE), (x + max(cap.get_width(), 92) + 12, y + 3))
    return made


def label(
    text: Text, words: str, colour: Colour = WHITE, ground: tuple[int, int, int, int] = (14, 18, 24, 190)
) -> pygame.Surface:
    """A small tag."""
    line = text.line(words, 12, colour, bold=True)
    made = plate((line.get_width() + 18, 22), ground, 7).copy()
    made.blit(line, line.get_rect(center=made.get_rect().center))
    return made


PRACTICE = ("PRACTICE · nothing is kept", DARK, (*PURPLE, 235))
PAUSED = "PAUSED"
DRIVER_PATH = GREEN
