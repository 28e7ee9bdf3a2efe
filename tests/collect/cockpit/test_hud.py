"""The window's picture: what must be seen is seen, what has not changed is not drawn again."""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import pygame

from takeover.collect.cockpit.hud import Hud
from takeover.collect.cockpit.hud_state import HIDDEN, HudState, Level, Notice, ReasonPrompt
from takeover.collect.cockpit.looks import LOOKS, MINT, SKY
from takeover.collect.cockpit.overlay import driver_path
from takeover.vocabulary import Authority, Control, HandoverState

SIZE = (1280, 720)
AHEAD = np.stack([np.arange(1.0, 9.0) * 4.0, np.zeros(8)], -1).astype(np.float32)
# Linear RGB as people without one kind of cone see it (Machado, Oliveira and Fernandes 2009, severity 1).
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def fonts() -> Iterator[None]:
    pygame.font.init()
    yield
    pygame.font.quit()


@pytest.fixture
def hud() -> Hud:
    return Hud(SIZE)


def drawn(hud: Hud, state: HudState, picture: pygame.Surface | None = None) -> NDArray[np.uint8]:
    surface = pygame.Surface(SIZE, 0, 32)
    hud.draw(surface, picture, state)
    pixels: NDArray[np.uint8] = pygame.surfarray.array3d(surface).swapaxes(0, 1)
    return pixels


def share(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> float:
    """Share of pixels of about this colour."""
    return float((np.abs(pixels.astype(int) - colour).max(axis=-1) <= 12).mean())


@pytest.mark.parametrize("state", list(HandoverState))
def test_each_state_shows_its_colour_on_the_frame_and_in_the_banner(hud: Hud, state: HandoverState) -> None:
    look = LOOKS[state]
    pixels = drawn(hud, HudState(handover=state, blend=0.5, hud_visible=False))
    edge = np.concatenate(
        [pixels[:6].reshape(-1, 3), pixels[-6:].reshape(-1, 3), pixels[:, :6].reshape(-1, 3)]
    )
    assert share(edge, look.colour) > 0.3
    assert share(pixels[24:90, 540:740], look.colour) > 0.3  # the banner
    assert share(pixels[24:90, 440:840], look.ink) > 0.01  # its words


def lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (D65) of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(linear, 0.0, 1.0) / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16.0 / 116.0)
    return np.array([116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", ["normal", *BLINDNESS])
def test_colour_blind_people_tell_the_states_apart(sight: str) -> None:
    matrix = np.array(BLINDNESS.get(sight, np.eye(3)))
    seen = {}
    for state, look in LOOKS.items():
        rgb = np.array(look.colour) / 255.0
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen[state] = lab(matrix @ linear)
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 30.0, (one, other)


def test_pattern_and_word_tell_the_states_apart_without_colour() -> None:
    assert len({look.pattern for look in LOOKS.values()}) == len(LOOKS)
    assert len({look.word for look in LOOKS.values()}) == len(LOOKS)


def test_the_picture_fills_the_window_without_a_copy_of_its_bytes(hud: Hud) -> None:
    bgra = np.zeros((720, 1280, 4), np.uint8)
    picture = pygame.image.frombuffer(bgra.data, SIZE, "BGRA")
    bgra[:] = (10, 200, 30, 0)  # after the surface was made; CARLA's fourth byte is no opacity
    pixels = drawn(hud, HudState(hud_visible=False), picture)
    assert pixels[400, 640].tolist() == [30, 200, 10]


def test_a_picture_of_another_size_is_scaled(hud: Hud) -> None:
    small = pygame.Surface((192, 96))
    small.fill((90, 40, 160))
    assert drawn(hud, HudState(hud_visible=False), small)[400, 640].tolist() == [90, 40, 160]


def test_plan_and_driven_path_differ_in_colour_and_shape(hud: Hud) -> None:
    state = HudState(hud_visible=False)
    plan = drawn(hud, replace(state, plan_m=AHEAD))
    path = drawn(hud, replace(state, authority=Authority.DRIVER, driver_m=driver_path(8.0, 0.0)))
    empty = drawn(hud, state)
    road = slice(240, 560)
    assert share(plan[road], SKY) > 0.0 == share(empty[road], SKY)
    assert share(path[road], MINT) > 0.0 == share(empty[road], MINT)
    filled = (plan[road] != empty[road]).any(axis=-1).sum()
    hollow = (path[road] != empty[road]).any(axis=-1).sum()
    assert filled > 2 * hollow


def test_an_old_plan_is_paler(hud: Hud) -> None:
    fresh = drawn(hud, HudState(hud_visible=False, plan_m=AHEAD, plan_age_s=0.2))
    old = drawn(hud, HudState(hud_visible=False, plan_m=AHEAD, plan_age_s=1.4))
    assert fresh[420, 640, 2] > old[420, 640, 2] > 40


@pytest.mark.parametrize("handover", list(HandoverState))
@pytest.mark.parametrize("blink", [0.1, 0.9])
def test_nothing_of_the_picture_before_is_left(hud: Hud, handover: HandoverState, blink: float) -> None:
    picture = pygame.image.frombuffer(np.full((720, 1280, 4), 77, np.uint8), SIZE, "BGRA")
    state = HudState(handover=handover, blink=blink, scenario="ParkedObstacle", plan_m=AHEAD)
    shown = []
    for left in ((0, 0, 0), (255, 0, 255)):
        surface = pygame.Surface(SIZE, 0, 32)
        surface.fill(left)
        hud.draw(surface, picture, state)
        shown.append(pygame.surfarray.array3d(surface))
    assert (shown[0] == shown[1]).all()


def test_a_panel_follows_every_value_that_it_shows(hud: Hud) -> None:
    """A HUD that has drawn another state draws the same as one that has not."""
    state = HudState(scenario="ParkedObstacle", generation="3", reasoning="slow down", fps=30.0)
    inset = pygame.Surface((192, 96), 0, 32)
    changes: list[dict[str, object]] = [
        {"scenario": "HardBrake"},
        {"episode": "drive 2"},
        {"generation": "4"},
        {"reasoning": "keep the lane"},
        {"authority": Authority.DRIVER},
        {"replay": True},
        {"recording": True},
        {"recording": True, "blink": 0.9},
        {"takeovers": 2},
        {"real_time_factor": 0.8},
        {"fps": 20.0},
        {"notices": (Notice("hello", 3.0),)},
        {"notices": (Notice("hello", 0.3),)},
        {"limit_mps": 5.0},
        {"ghost_steer": 0.3},
        {"inset": "another view"},
    ]
    plain = shot(hud, state, inset)
    for change in changes:
        changed = replace(state, **change)  # type: ignore[arg-type]
        again = shot(hud, changed, inset)
        assert (again == shot(Hud(SIZE), changed, inset)).all(), change
        assert (again != plain).any(), change
        assert (shot(hud, state, inset) == plain).all(), change
    inset = inset.copy()
    inset.fill((200, 0, 0))
    assert (shot(hud, state, inset) != plain).any()


def shot(hud: Hud, state: HudState, inset: pygame.Surface) -> NDArray[np.uint8]:
    surface = pygame.Surface(SIZE, 0, 32)
    hud.draw(surface, None, state, inset)
    pixels: NDArray[np.uint8] = pygame.surfarray.array3d(surface)
    return pixels


def test_text_and_panels_are_reused(hud: Hud) -> None:
    surface = pygame.Surface(SIZE, 0, 32)
    state = HudState(
        scenario="ParkedObstacle", recording=True, reasoning="slow down", notices=(Notice("hello"),)
    )
    hud.draw(surface, None, state)
    lines, panels = hud.text.rendered, hud.panels.painted
    hud.draw(surface, None, state)
    assert (hud.text.rendered, hud.panels.painted) == (lines, panels)
    hud.draw(surface, None, replace(state, time_s=0.05, progress_m=0.3, executed=Control(0.3, 0.2, 0.0)))
    assert (hud.text.rendered, hud.panels.painted) == (lines, panels)
    hud.draw(surface, None, replace(state, takeovers=1))
    assert hud.panels.painted == panels + 1


def test_the_countdown_and_a_critical_alert_stay_when_the_displays_are_off(hud: Hud) -> None:
    quiet = drawn(hud, HudState(hud_visible=False, handover=HandoverState.REQUESTED))
    loud = drawn(
        hud,
        HudState(
            hud_visible=False,
            handover=HandoverState.REQUESTED,
            countdown_s=4.2,
            alert="TAKE OVER NOW",
            alert_level=Level.CRITICAL,
            recording=True,
        ),
    )
    assert (quiet[100:260, 540:740] != loud[100:260, 540:740]).any(axis=-1).mean() > 0.2
    assert (quiet[20:60, 1180:1260] != loud[20:60, 1180:1260]).any()  # the recording light


def test_blind_mode_does_not_show_the_generation(hud: Hud) -> None:
    lines: list[str] = []
    render = hud.text.line
    hud.text.line = lambda text, *a, **k: lines.append(text) or render(text, *a, **k)  # type: ignore[method-assign,func-returns-value]
    drawn(hud, HudState(generation=HIDDEN))
    assert "hidden (blind)" in lines
    drawn(hud, HudState(generation="17"))
    assert "17" in lines


def test_the_question_after_a_takeover_shows_keys_and_seconds(hud: Hud) -> None:
    state = HudState()
    asked = ReasonPrompt(7.3, (("1", "collision risk"), ("2", "rule")), (("G", "good"),), ("rule",))
    before, after = drawn(hud, state), drawn(hud, replace(state, prompt=asked))
    changed = (before != after).any(axis=-1)
    rows = np.flatnonzero(changed.any(axis=1))
    assert 450 < rows.min() < rows.max() < 590  # above the instruments, below the road's horizon
    panels = hud.panels.painted
    drawn(hud, replace(state, prompt=replace(asked, left_s=7.1)))
    assert hud.panels.painted == panels  # the same second
    drawn(hud, replace(state, prompt=replace(asked, left_s=6.9)))
    assert hud.panels.painted == panels + 1


def test_help_shows_the_keys_it_is_given() -> None:
    hud = Hud(SIZE, (("T", "take over"), ("Y", "hand back")))
    before = drawn(hud, HudState())
    after = drawn(hud, HudState(help_visible=True))
    assert (before[320:400, 300:980] != after[320:400, 300:980]).any(axis=-1).mean() > 0.5


def test_an_alert_that_repeats_the_banner_is_told_once(hud: Hud) -> None:
    state = HudState(handover=HandoverState.PROBATION, probation_s=7.0, hud_visible=False)
    silent = drawn(hud, state)
    assert np.array_equal(silent, drawn(hud, replace(state, alert="Policy drives", alert_detail="be ready")))
    assert not np.array_equal(silent, drawn(hud, replace(state, alert="Not yet", alert_detail="no plan")))


def test_without_a_picture_the_window_says_so(hud: Hud) -> None:
    picture = pygame.Surface(SIZE, 0, 32)
    picture.fill((18, 22, 28))  # the ground that is painted without one
    with_one, without = drawn(hud, HudState(), picture), drawn(hud, HudState())
    assert (with_one[320:400, 500:780] != without[320:400, 500:780]).any(axis=-1).mean() > 0.3
