"""The pages before and after a drive: consent, start, waiting, end. Each draws itself and takes keys up to its answer."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pygame

from ...errors import UsageError
from ..devices.keyboard import HELP
from ..devices.state import Action, DeviceState
from .drivers import CONSENT, NAME_MAX, checked_name
from .labels import KEYS, REASONS, VERDICTS, WORDS
from .looks import GREEN, MINT, SKY, VERMILION, YELLOW
from .paint import bar, key_cap, plate
from .text import MUTED, WHITE, Colour, Text

GROUND = (18, 22, 28)
CARD = (30, 36, 45, 255)
CHOSEN = (46, 58, 76, 255)
LEFT_PX, TOP_PX, WIDTH_PX = 120, 72, 1040
PAGE_HZ = 50.0
NOTE_MAX = 200
QUIT = "quit"  # answer of a page that was left


class Polls(Protocol):
    """The devices, as a page needs them."""

    def poll(self, events: Sequence[Any], now_s: float) -> tuple[DeviceState, tuple[Action, ...]]:
        """Hands and feet now, and the presses among the events."""
        ...


class Page(ABC):
    """One screen.

    Attributes:
        name: For tests and the demo.
        answer: What the person said; None until then.
    """

    name = ""
    answer: str | None = None

    @abstractmethod
    def step(
        self, events: Sequence[Any], state: DeviceState, actions: Sequence[Action], now_s: float
    ) -> None:
        """Take what has happened."""

    @abstractmethod
    def draw(self, surface: pygame.Surface, text: Text) -> None:
        """Paint the whole window."""


def show(
    page: Page,
    surface: pygame.Surface,
    devices: Polls,
    text: Text,
    *,
    clock: Callable[[], float] = time.monotonic,
    flip: Callable[[], None] = pygame.display.flip,
) -> str:
    """Run a page until it has its answer."""
    while page.answer is None:
        events = pygame.event.get()
        state, actions = devices.poll(events, clock())
        if any(event.type == pygame.QUIT for event in events):
            page.answer = QUIT
            break
        page.step(events, state, actions, clock())
        page.draw(surface, text)
        flip()
        time.sleep(1.0 / PAGE_HZ)
    return page.answer


class ConsentPage(Page):
    """Asks a new driver for a name and for consent. The answer is the name."""

    name = "consent"

    def __init__(self, driver: str = "") -> None:
        self.typed = driver
        self.problem = ""

    def step(
        self, events: Sequence[Any], state: DeviceState, actions: Sequence[Action], now_s: float
    ) -> None:
        """Letters make the name, Enter consents, Escape leaves."""
        for event in events:
            if event.type != pygame.KEYDOWN:
                continue
            if event.key == pygame.K_ESCAPE:
                self.answer = QUIT
            elif event.key in (pygame.K_RETURN, pygame.K_KP_ENTER):
                try:
                    self.answer = checked_name(self.typed)
                except UsageError as error:
                    self.problem = str(error)
            else:
                self.typed = _typed(self.typed, event, NAME_MAX)
                self.problem = ""

    def draw(self, surface: pygame.Surface, text: Text) -> None:
        """What is recorded, what for, and how it ends."""
        y = _title(surface, text, "Before the first drive", "Drives become training data. Do you agree?")
        for words in CONSENT:
            head, _, rest = words.partition(": ")
            surface.blit(text.line(head, 16, SKY, bold=True), (LEFT_PX, y))
            for line in text.wrap(rest, 17, WIDTH_PX - 260, 2):
                surface.blit(text.line(line, 17), (LEFT_PX + 260, y))
                y += 26
            y += 16
        y += 12
        box = plate((520, 52), CHOSEN, 10)
        surface.blit(box, (LEFT_PX + 260, y))
        surface.blit(text.line("Your name", 16, SKY, bold=True), (LEFT_PX, y + 15))
        surface.blit(text.line(f"{self.typed}▏", 22, bold=True), (LEFT_PX + 276, y + 12))
        surface.blit(text.line(self.problem, 15, VERMILION), (LEFT_PX + 260, y + 62))
        _keys(surface, text, (("Enter", "I agree"), ("Esc", "no, leave")))


class StartPage(Page):
    """Before the first drive of a sitting: every pedal once, the keys, who drives what. Any key goes on."""

    name = "start"

    def __init__(self, driver: str, car: str, practice_left_s: float, next_up: str) -> None:
        self._driver, self._car, self._next_up = driver, car, next_up
        self._practice_left_s = practice_left_s
        self._state = DeviceState()

    def step(
        self, events: Sequence[Any], state: DeviceState, actions: Sequence[Action], now_s: float
    ) -> None:
        """Enter, or the takeover button of a wheel, once its pedals can be trusted."""
        self._state = state
        if Action.QUIT in actions:
            self.answer = QUIT
        elif state.trusted and state.connected and {Action.PAUSE, Action.TAKEOVER} & set(actions):
            self.answer = "go"

    def draw(self, surface: pygame.Surface, text: Text) -> None:
        """Pedals on the left, keys on the right."""
        y = _title(surface, text, f"Ready, {self._driver}?", f"{self._car} drives, you watch and take over.")
        state = self._state
        rows: list[tuple[str, Colour]] = [(f"Device: {state.source}", WHITE)]
        if not state.connected:
            rows.append(("It is unplugged: plug it in and press its takeover button.", VERMILION))
        elif not state.trusted:
            rows.append(("Press each pedal once, to the floor.", YELLOW))
        else:
            rows.append(("Pedals are ready.", GREEN))
        if self._practice_left_s > 0.0:
            minutes, seconds = divmod(round(self._practice_left_s), 60)
            rows.append(
                (f"Practice for {minutes}:{seconds:02d}: nothing of it trains. Try everything.", MINT)
            )
        rows.append((f"First drive: {self._next_up}", MUTED))
        for words, colour in rows:
            surface.blit(text.line(words, 18, colour), (LEFT_PX, y))
            y += 34
        for number, (label, value) in enumerate(
            (("gas", state.throttle), ("brake", state.brake), ("wheel", 0.5 - 0.5 * state.steer))
        ):
            surface.blit(text.line(label, 15, MUTED), (LEFT_PX, y + 14 + 34 * number))
            bar(surface, pygame.Rect(LEFT_PX + 80, y + 18 + 34 * number, 320, 12), value, SKY)
        surface.blit(plate((556, 496), CARD, 14), (632, 150))
        for number, (key, words) in enumerate(HELP):
            cap = key_cap(text, key)
            surface.blit(cap, (652, 168 + 29 * number))
            surface.blit(text.line(words, 15), (826, 171 + 29 * number))
        _keys(surface, text, (("Enter", "drive"), ("Esc", "leave")))


class WaitPage(Page):
    """Says what is being done; somebody else's work answers it."""

    name = "wait"

    def __init__(self, title: str, words: str) -> None:
        self._title, self._words = title, words

    def step(
        self, events: Sequence[Any], state: DeviceState, actions: Sequence[Action], now_s: float
    ) -> None:
        """Only leaving can be asked for."""
        if Action.QUIT in actions:
            self.answer = QUIT

    def draw(self, surface: pygame.Surface, text: Text) -> None:
        """Two lines."""
        _title(surface, text, self._title, self._words)


@dataclass(slots=True)
class TakeoverLine:
    """One takeover of the sitting on the end screen.

    Attributes:
        episode_id: Its drive.
        onset_tick: Its name in the drive.
        words: Scenario and time.
        verdict: good, mistake, discard, or "".
        reason: As stored.
        pairs: Admitted pairs that it gave.
        trains: Whether it may train.
        why_not: Why it gave no pair; "" when it gave some.
        note: Text that the driver typed.
    """

    episode_id: str
    onset_tick: int
    words: str
    verdict: str = ""
    reason: str = ""
    pairs: int = 0
    trains: bool = True
    why_not: str = ""
    note: str = ""


@dataclass(slots=True)
class Saying:
    """What the driver said on the end screen of one takeover."""

    line: TakeoverLine
    verdict: str = ""
    reason: str = ""
    note: str = ""


class EndPage(Page):
    """What you did, and which takeovers became pairs. Verdicts, reasons and notes can still be given.

    Attributes:
        said: In the order given.
    """

    name = "end"
    rows = 7

    def __init__(
        self, facts: Sequence[str], lines: Sequence[TakeoverLine], faults: Sequence[str] = ()
    ) -> None:
        self._facts, self._lines, self._faults = tuple(facts), list(lines), tuple(faults)
        self._at = 0
        self._note: str | None = None
        self.said: list[Saying] = []

    def step(
        self, events: Sequence[Any], state: DeviceState, actions: Sequence[Action], now_s: float
    ) -> None:
        """Up and down choose, G M Del and 1 to 8 say, N begins a note, Enter or Escape ends."""
        for event in events:
            if event.type == pygame.KEYDOWN:
                self._key(event)
        if self._note is None:
            for action in actions:
                self._say(action)

    def _key(self, event: Any) -> None:
        enter = event.key in (pygame.K_RETURN, pygame.K_KP_ENTER)
        if self._note is not None:
            if enter and self._note.strip():
                self.said.append(Saying(self._lines[self._at], note=self._note.strip()))
                self._lines[self._at].note = self._note.strip()
            if enter or event.key == pygame.K_ESCAPE:
                self._note = None
            else:
                self._note = _typed(self._note, event, NOTE_MAX)
        elif event.key in (pygame.K_UP, pygame.K_DOWN) and self._lines:
            self._at = (self._at + (1 if event.key == pygame.K_DOWN else -1)) % len(self._lines)
        elif event.key == pygame.K_n and self._lines:
            self._note = ""
        elif enter or event.key == pygame.K_ESCAPE:
            self.answer = "done"

    def _say(self, action: Action) -> None:
        if not self._lines:
            return
        line = self._lines[self._at]
        if action.value in VERDICTS:
            line.verdict = VERDICTS[action.value].value
            self.said.append(Saying(line, verdict=line.verdict))
        elif action.value in REASONS:
            line.reason = REASONS[action.value].value
            self.said.append(Saying(line, reason=line.reason))

    def draw(self, surface: pygame.Surface, text: Text) -> None:
        """Facts, then one row a takeover."""
        y = _title(surface, text, "Your drive", "")
        for number, fact in enumerate(self._facts):
            value, _, words = fact.partition(" ")
            x = LEFT_PX + 208 * number
            surface.blit(text.line(value, 34, MINT, bold=True), (x, y - 40))
            surface.blit(text.line(words, 15, MUTED), (x, y + 4))
        y += 44
        if not self._lines:
            surface.blit(text.line("No takeover in this sitting.", 18, MUTED), (LEFT_PX, y + 20))
        first = max(0, min(self._at - self.rows // 2, len(self._lines) - self.rows))
        for number, line in enumerate(self._lines[first : first + self.rows], start=first):
            chosen = number == self._at
            surface.blit(plate((WIDTH_PX, 40), CHOSEN if chosen else CARD, 8), (LEFT_PX, y))
            surface.blit(text.line(line.words, 16, bold=chosen), (LEFT_PX + 16, y + 10))
            said = ", ".join(WORDS.get(word, word) for word in (line.verdict, line.reason) if word)
            surface.blit(text.line(said, 15, SKY), (LEFT_PX + 420, y + 11))
            vetoed = line.verdict in ("mistake", "discard")
            pairs = "never trains" if vetoed else counted(line.pairs, "pair") if line.pairs else line.why_not
            colour = MINT if line.pairs and not vetoed else MUTED
            surface.blit(text.line(pairs, 15, colour), (LEFT_PX + 700, y + 11))
            if line.note:
                surface.blit(text.line("note", 13, YELLOW), (LEFT_PX + WIDTH_PX - 56, y + 12))
            y += 46
        if self._note is not None:
            surface.blit(plate((WIDTH_PX, 48), CHOSEN, 8), (LEFT_PX, 572))
            surface.blit(text.line(f"note: {self._note}▏", 17), (LEFT_PX + 16, 584))
            _keys(surface, text, (("Enter", "keep the note"), ("Esc", "no note")))
            return
        if self._faults:
            more = f" (and {len(self._faults) - 1} more)" if len(self._faults) > 1 else ""
            surface.blit(text.line(f"{self._faults[0]}{more}", 15, VERMILION), (LEFT_PX, 566))
        verdicts = "  ".join(f"{KEYS[name]} {WORDS[name]}" for name in KEYS)
        reasons = "  ".join(f"{name.removeprefix('reason_')} {WORDS[r.value]}" for name, r in REASONS.items())
        surface.blit(text.line(verdicts, 14, MUTED), (LEFT_PX, 592))
        surface.blit(text.line(reasons, 14, MUTED), (LEFT_PX, 614))
        _keys(surface, text, (("↑ ↓", "choose"), ("N", "note"), ("Enter", "done")))


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures of a sitting, as the end screen and the summary show them."""

    drives: int = 0
    minutes: float = 0.0
    driven_km: float = 0.0
    takeovers: int = 0
    pairs: int = 0

    @property
    def tiles(self) -> tuple[str, ...]:
        """One figure and its words each."""
        return (
            counted(self.drives, "drive"),
            f"{self.minutes:.1f} minutes",
            f"{self.driven_km:.2f} km",
            counted(self.takeovers, "takeover"),
            f"{counted(self.pairs, 'pair')} to learn from",
        )


def counted(number: int, noun: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _title(surface: pygame.Surface, text: Text, title: str, line: str) -> int:
    """Ground and heading; gives the y of what follows."""
    surface.fill(GROUND)
    surface.fill(SKY, (LEFT_PX - 28, TOP_PX + 2, 6, 72 if line else 40))
    surface.blit(text.line(title, 34, bold=True), (LEFT_PX, TOP_PX))
    surface.blit(text.line(line, 18, MUTED), (LEFT_PX, TOP_PX + 50))
    return TOP_PX + 108


def _keys(surface: pygame.Surface, text: Text, keys: Sequence[tuple[str, str]]) -> None:
    """Key caps along the foot."""
    x = LEFT_PX
    for key, words in keys:
        cap = key_cap(text, key)
        line = text.line(words, 16)
        surface.blit(cap, (x, 664))
        surface.blit(line, (x + cap.get_width() + 10, 666))
        x += cap.get_width() + line.get_width() + 46


def _typed(text: str, event: Any, longest: int) -> str:
    if event.key == pygame.K_BACKSPACE:
        return text[:-1]
    letter = str(getattr(event, "unicode", ""))
    return text + letter if letter.isprintable() and len(text) < longest else text
