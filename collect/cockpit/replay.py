"""`loop replay`: a recorded drive in the cockpit's window."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pygame

from ...errors import UsageError
from .hud import Hud
from .player import Move, Player
from .recorded import Recorded
from .timeline import HEIGHT_PX as TIMELINE_PX
from .timeline import Timeline
from .views import HEIGHT_PX, WIDTH_PX

FPS = 30
EDGE_PX = 24
KEYS: tuple[tuple[str, str], ...] = (
    ("Space", "pause, play, play again"),
    ("← →", "a second back, forward"),
    (", .", "a tick back, forward"),
    ("↑ ↓", "faster, slower"),
    ("PgUp PgDn", "previous, next takeover"),
    ("Home End", "start, end"),
    ("mouse", "go to a place on the timeline"),
    ("Tab", "camera"),
    ("F1", "displays on or off"),
    ("H", "this help"),
    ("Esc", "quit"),
)
MOVES: dict[int, Move] = {
    pygame.K_SPACE: Move.PAUSE,
    pygame.K_LEFT: Move.BACK,
    pygame.K_RIGHT: Move.FORWARD,
    pygame.K_COMMA: Move.STEP_BACK,
    pygame.K_PERIOD: Move.STEP,
    pygame.K_UP: Move.FASTER,
    pygame.K_DOWN: Move.SLOWER,
    pygame.K_PAGEUP: Move.PREVIOUS,
    pygame.K_PAGEDOWN: Move.NEXT,
    pygame.K_HOME: Move.START,
    pygame.K_END: Move.END,
}


class Theatre:
    """Shows one recording: takes events, draws pictures. Knows no window and no clock.

    Args:
        recorded: The drive.
    """

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.player = Player(recorded.first, recorded.last, recorded.takeovers)
        self.hud = Hud((WIDTH_PX, HEIGHT_PX), KEYS, foot_px=TIMELINE_PX)
        start = recorded.reader.row(recorded.first)
        self.timeline = Timeline(
            pygame.Rect(EDGE_PX, HEIGHT_PX - EDGE_PX - TIMELINE_PX + 4, WIDTH_PX - 2 * EDGE_PX, TIMELINE_PX),
            recorded.states[start:],
            recorded.first,
            recorded.takeovers,
            [one.tick for one in recorded.reader.outcome.infractions],
        )
        self.view = 0
        self.help_visible = False
        self.hud_visible = True
        self.closed = False

    def handle(self, event: pygame.event.Event) -> None:
        """Take one event of the window."""
        if event.type == pygame.QUIT:
            self.closed = True
        elif event.type == pygame.KEYDOWN:
            self._key(event.key)
        elif event.type == pygame.MOUSEBUTTONDOWN or (event.type == pygame.MOUSEMOTION and event.buttons[0]):
            tick = self.timeline.tick_at(event.pos)
            if tick is not None:
                self.player.seek(tick)

    def _key(self, key: int) -> None:
        if key in MOVES:
            self.player.move(MOVES[key])
        elif key == pygame.K_TAB:
            self.view = (self.view + 1) % len(self.recorded.views)
        elif key == pygame.K_h:
            self.help_visible = not self.help_visible
        elif key == pygame.K_F1:
            self.hud_visible = not self.hud_visible
        elif key == pygame.K_ESCAPE:
            self.closed = True

    def draw(self, surface: pygame.Surface) -> None:
        """The picture of the present tick."""
        tick, camera = self.player.tick, self.recorded.views[self.view]
        state = replace(
            self.recorded.state(tick, camera),
            real_time_factor=self.player.speed,
            help_visible=self.help_visible,
            hud_visible=self.hud_visible,
        )
        inset = self.recorded.inset(tick) if camera.name in ("chase", "hood") else None
        self.hud.draw(surface, self.recorded.picture(tick, camera), state, inset)
        self.timeline.draw(surface, self.hud.text, tick, self.player.speed, self.player.playing)


def replay(path: Path) -> None:
    """Open a window and show an episode until it is closed.

    Args:
        path: The episode's folder.

    Raises:
        UsageError: There is no display.
    """
    recorded = Recorded(path)
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        pygame.display.init()
        flags = pygame.SCALED | pygame.RESIZABLE if pygame.display.get_driver() != "dummy" else 0
        screen = pygame.display.set_mode((WIDTH_PX, HEIGHT_PX), flags)
        pygame.display.set_caption(f"takeover · replay {path.name[:8]}")
        pygame.key.set_repeat(300, 60)
        theatre = Theatre(recorded)
        clock = pygame.time.Clock()
        while not theatre.closed:
            for event in pygame.event.get():
                theatre.handle(event)
            theatre.draw(screen)
            pygame.display.flip()
            theatre.player.advance(min(clock.tick(FPS) / 1000.0, 0.25))
    except pygame.error as error:
        raise UsageError(
            f"no window: {error}", fix="start it on a desktop, or use `loop episodes export --video`"
        ) from error
    finally:
        pygame.quit()
