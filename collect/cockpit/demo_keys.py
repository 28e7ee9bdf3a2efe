"""A demo without a screen or a person: presses the keys that a driver would press, as SDL events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pygame

from .hud_state import HudState
from .layers import Layers
from .painter import Prepares

STEP_S = 0.1
# Seconds after the place was entered, key, seconds held; letters are typed.
KEYS: dict[str, tuple[tuple[float, int, float], ...]] = {
    "consent": ((0.3, pygame.K_d, 0.0), (0.4, pygame.K_e, 0.0), (0.5, pygame.K_m, 0.0), (0.6, pygame.K_o, 0.0),
                (0.9, pygame.K_RETURN, 0.0)),
    "start": ((0.5, pygame.K_RETURN, 0.0),),
    "drive": ((2.0, pygame.K_t, 0.0), (2.1, pygame.K_s, 1.5), (3.9, pygame.K_g, 0.0), (4.1, pygame.K_1, 0.0),
              (5.0, pygame.K_y, 0.0)),
    "end": ((1.0, pygame.K_RETURN, 0.0),),
}  # fmt: skip


class Demo:
    """Posts key events from a thread; `at` tells it where the sitting is."""

    def __init__(self) -> None:
        self._place, self._since_s = "", time.monotonic()
        self._running = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="demo", daemon=True)
        self._thread.start()

    def at(self, place: str) -> None:
        """A page or a drive has begun."""
        with self._lock:
            self._place, self._since_s = place, time.monotonic()

    def watching(self, hud: Prepares) -> Prepares:
        """The HUD of one drive; the place is `drive` from its first picture of a moving world on."""
        return _Watched(hud, lambda: self.at("drive"))

    def close(self) -> None:
        """No key any more."""
        self._running = False
        self._thread.join(1.0)

    def _work(self) -> None:
        done_s, since_s, held = 0.0, 0.0, list[tuple[float, int]]()
        while self._running:
            time.sleep(STEP_S / 4)
            with self._lock:
                place, start_s = self._place, self._since_s
            now_s = time.monotonic()
            if start_s != since_s:
                since_s, done_s = start_s, 0.0
            for at_s, key, hold_s in KEYS.get(place, ()):
                if done_s <= at_s < now_s - since_s:
                    _post(pygame.KEYDOWN, key)
                    held.append((now_s + hold_s, key))
            done_s = now_s - since_s
            for item in [item for item in held if item[0] <= now_s]:
                held.remove(item)
                _post(pygame.KEYUP, item[1])


class _Watched:
    def __init__(self, hud: Prepares, begun: Callable[[], None]) -> None:
        self._hud, self._begun, self._moves = hud, begun, False

    def prepare(self, state: HudState, inset: pygame.Surface | None = None) -> Layers:
        if not self._moves and state.time_s > 0.0:
            self._moves = True
            self._begun()
        return self._hud.prepare(state, inset)


def _post(kind: int, key: int) -> None:
    letter = chr(key) if 32 <= key < 127 else ""
    pygame.event.post(pygame.event.Event(kind, key=key, mod=0, unicode=letter, scancode=0))
