"""The keyboard has CARLA's keys and ramps."""

import pygame
import pytest

from takeover.collect.devices.keyboard import HELP, KEYS, MAX_STEER, Keyboard
from takeover.collect.devices.state import Action
from takeover.collect.takeover_intent import KEYBOARD, IntentDetector
from takeover.vocabulary import Control


def press(keyboard: Keyboard, key: int, mod: int = 0) -> Action | None:
    return keyboard.handle(pygame.event.Event(pygame.KEYDOWN, key=key, mod=mod))


def release(keyboard: Keyboard, key: int) -> None:
    keyboard.handle(pygame.event.Event(pygame.KEYUP, key=key))


@pytest.mark.parametrize(
    ("key", "name"),
    [(pygame.K_w, "throttle"), (pygame.K_UP, "throttle"), (pygame.K_s, "brake"), (pygame.K_DOWN, "brake")],
)
def test_pedals_ramp_up_while_held_and_fall_at_once(key: int, name: str) -> None:
    keyboard = Keyboard()
    press(keyboard, key)
    values = []
    for _ in range(30):
        keyboard.advance(0.01)
        values.append(getattr(keyboard.state(0.0), name))
    first = (
        [0.06, 0.12] if name == "throttle" else [0.2, 0.32]
    )  # a brake begins with a frame of manual_control
    assert values[:2] == pytest.approx(first)
    assert values[-1] == 1.0
    release(keyboard, key)
    keyboard.advance(0.01)
    assert getattr(keyboard.state(0.0), name) == 0.0


@pytest.mark.parametrize(("left", "right"), [(pygame.K_a, pygame.K_d), (pygame.K_LEFT, pygame.K_RIGHT)])
def test_steering_ramps_to_its_limit_and_starts_anew_on_the_other_side(left: int, right: int) -> None:
    keyboard = Keyboard()
    press(keyboard, left)
    for _ in range(40):
        keyboard.advance(0.05)
    assert keyboard.state(0.0).steer == MAX_STEER
    press(keyboard, right)
    keyboard.advance(0.05)
    assert keyboard.state(0.0).steer == 0.0, "both keys are none"
    release(keyboard, left)
    keyboard.advance(0.02)
    assert keyboard.state(0.0).steer == pytest.approx(-0.01)
    release(keyboard, right)
    keyboard.advance(0.02)
    assert keyboard.state(0.0).steer == 0.0


@pytest.mark.parametrize("polls", [1, 2])
@pytest.mark.parametrize("key", [pygame.K_s, pygame.K_DOWN, pygame.K_SPACE])
def test_a_tap_shorter_than_a_poll_takes_the_car(key: int, polls: int) -> None:
    keyboard, intent = Keyboard(), IntentDetector(KEYBOARD)
    press(keyboard, key)
    if polls == 2:  # the poll of its press ends at once, because the press woke it
        keyboard.advance(0.0002)
        assert intent.update(keyboard.state(0.0), Control(), 0.0).takeover
    release(keyboard, key)
    if polls == 1:
        keyboard.advance(0.0002)
        assert keyboard.braking
        assert intent.update(keyboard.state(0.0), Control(), 0.0).takeover
    keyboard.advance(0.01)
    assert not keyboard.braking
    assert keyboard.state(0.01).control.brake == 0.0


def test_a_key_that_is_pressed_again_after_a_tap_stays_down() -> None:
    keyboard = Keyboard()
    press(keyboard, pygame.K_s)
    release(keyboard, pygame.K_s)
    keyboard.advance(0.01)
    press(keyboard, pygame.K_s)
    for _ in range(3):
        keyboard.advance(0.01)
        assert keyboard.braking
    release(keyboard, pygame.K_s)
    assert not keyboard.braking


@pytest.mark.parametrize("step_s", [-1.0, 60.0])
def test_a_stalled_loop_makes_no_jump(step_s: float) -> None:
    keyboard = Keyboard()
    press(keyboard, pygame.K_a)
    keyboard.advance(step_s)
    assert 0.0 <= keyboard.state(0.0).steer <= 0.025


def test_reverse_toggles_and_control_q_quits() -> None:
    keyboard = Keyboard()
    assert press(keyboard, pygame.K_q) is None
    assert keyboard.state(0.0).reverse is True
    press(keyboard, pygame.K_q)
    assert keyboard.state(0.0).reverse is True, "the system's own repeat of a held key"
    release(keyboard, pygame.K_q)
    press(keyboard, pygame.K_q)
    assert keyboard.state(0.0).reverse is False
    release(keyboard, pygame.K_q)
    assert press(keyboard, pygame.K_q, pygame.KMOD_LCTRL) is Action.QUIT


def test_a_held_key_acts_once_and_only_a_takeover_each_time() -> None:
    keyboard = Keyboard()
    assert [press(keyboard, pygame.K_p) for _ in range(3)] == [Action.TOGGLE, None, None]
    assert [press(keyboard, pygame.K_t) for _ in range(2)] == [Action.TAKEOVER, Action.TAKEOVER]
    release(keyboard, pygame.K_p)
    assert press(keyboard, pygame.K_p) is Action.TOGGLE
    keyboard.handle(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    assert press(keyboard, pygame.K_p) is Action.TOGGLE, "it was let go elsewhere"


def test_keys_let_go_when_the_window_loses_the_focus() -> None:
    keyboard = Keyboard()
    press(keyboard, pygame.K_w)
    press(keyboard, pygame.K_SPACE)
    assert (keyboard.handbrake, keyboard.braking) == (True, True)
    keyboard.handle(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    keyboard.advance(0.05)
    assert (keyboard.state(0.0).throttle, keyboard.handbrake, keyboard.focused) == (0.0, False, False)
    keyboard.handle(pygame.event.Event(pygame.WINDOWFOCUSGAINED))
    keyboard.advance(0.05)
    assert (keyboard.state(0.0).throttle, keyboard.handbrake, keyboard.focused) == (0.0, False, True)


def test_every_action_has_a_key_and_every_line_of_help_a_meaning() -> None:
    assert set(KEYS.values()) == set(Action)
    assert press(Keyboard(), pygame.K_1) is Action.REASON_1
    assert press(Keyboard(), pygame.K_KP8) is Action.REASON_8
    assert press(Keyboard(), pygame.K_r, pygame.KMOD_LCTRL) is None
    assert press(Keyboard(), pygame.K_F9) is None
    assert Keyboard().handle(pygame.event.Event(pygame.MOUSEMOTION)) is None
    assert all(keys and text for keys, text in HELP)
