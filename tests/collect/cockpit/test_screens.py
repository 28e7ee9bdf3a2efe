"""The pages, without a screen: keys in, answers out, and every page can be drawn."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pygame
import pytest

from takeover.collect.cockpit.screens import (
    QUIT,
    ConsentPage,
    EndPage,
    Facts,
    Page,
    StartPage,
    TakeoverLine,
    WaitPage,
    show,
)
from takeover.collect.cockpit.text import Text
from takeover.collect.devices.state import Action, DeviceState

READY, ALERT = DeviceState(), DeviceState(trusted=False)


@pytest.fixture(scope="module")
def surface() -> Iterator[pygame.Surface]:
    before = os.environ.get("SDL_VIDEODRIVER")
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    pygame.display.init()
    yield pygame.display.set_mode((1280, 720))
    pygame.display.quit()
    if before is None:
        del os.environ["SDL_VIDEODRIVER"]
    else:
        os.environ["SDL_VIDEODRIVER"] = before


def press(page: Page, *keys: int, actions: Sequence[Action] = (), state: DeviceState = READY) -> None:
    for key in keys:
        letter = chr(key) if 32 <= key < 127 else ""
        page.step([pygame.event.Event(pygame.KEYDOWN, key=key, unicode=letter)], state, (), 0.0)
    if actions:
        page.step([], state, actions, 0.0)


def lines(number: int) -> list[TakeoverLine]:
    return [
        TakeoverLine("e", 10 * k, f"Rule, 0:{k:02d}", pairs=k % 3, why_not="too alike") for k in range(number)
    ]


def test_a_name_and_enter_consent() -> None:
    page = ConsentPage()
    press(page, pygame.K_RETURN)
    assert page.answer is None
    assert "1 to 40" in page.problem
    press(page, *map(ord, "anna"), pygame.K_BACKSPACE, pygame.K_RETURN)
    assert page.answer == "ann"


def test_escape_is_no_consent() -> None:
    page = ConsentPage("anna")
    press(page, pygame.K_ESCAPE)
    assert page.answer == QUIT


@pytest.mark.parametrize("action", [Action.PAUSE, Action.TAKEOVER])
def test_nobody_drives_before_every_pedal_has_moved(action: Action) -> None:
    page = StartPage("Anna", "Generation 1", 0.0, "Rule")
    press(page, actions=[action], state=ALERT)
    assert page.answer is None
    press(page, actions=[action], state=READY)
    assert page.answer == "go"


def test_the_end_page_takes_words_for_the_chosen_takeover() -> None:
    found = lines(3)
    page = EndPage(Facts().tiles, found)
    press(page, pygame.K_DOWN, actions=[Action.DISCARD, Action.REASON_2])
    press(page, pygame.K_UP, pygame.K_UP, pygame.K_n, *map(ord, "gm1"))
    press(page, actions=[Action.GOOD])  # a letter of the note
    press(page, pygame.K_RETURN)
    assert [(s.line.onset_tick, s.verdict, s.reason, s.note) for s in page.said] == [
        (10, "discard", "", ""),
        (10, "", "rule", ""),
        (20, "", "", "gm1"),
    ]
    assert page.answer is None
    press(page, pygame.K_RETURN)
    assert page.answer == "done"


def test_an_end_without_takeovers() -> None:
    page = EndPage(Facts(1).tiles, [])
    press(page, pygame.K_DOWN, pygame.K_n, actions=[Action.GOOD])
    assert page.said == []
    press(page, pygame.K_ESCAPE)
    assert page.answer == "done"


@pytest.mark.parametrize(
    "page",
    [
        ConsentPage("anna"),
        StartPage("Anna", "Generation 1", 200.0, "Rule"),
        WaitPage("Well driven", "…"),
        EndPage(Facts(3, 2.0, 1.0, 20, 8).tiles, lines(20)),
        EndPage(Facts(1).tiles, []),
    ],
    ids=lambda page: page.name,
)
def test_every_page_can_be_drawn(surface: pygame.Surface, page: Page) -> None:
    surface.fill((0, 0, 0))
    page.draw(surface, Text())
    colours = {tuple(surface.get_at((x, y)))[:3] for x in range(0, 1280, 8) for y in range(0, 720, 8)}
    assert len(colours) > 4


def test_a_closed_window_leaves_the_page(surface: pygame.Surface) -> None:
    class Nobody:
        def poll(self, events: object, now_s: float) -> tuple[DeviceState, tuple[Action, ...]]:
            return READY, ()

    pygame.event.clear()
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert show(WaitPage("a", "b"), surface, Nobody(), Text(), flip=lambda: None) == QUIT
