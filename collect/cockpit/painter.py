"""Prepares what lies over the picture on a thread of its own; the main thread puts the newest onto the window."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import pygame

from .hud_state import HudState
from .layers import Layers


class Prepares(Protocol):
    """What prepares a window (`hud.Hud`)."""

    def prepare(self, state: HudState, inset: pygame.Surface | None = None) -> Layers:
        """What lies over the picture."""
        ...


class Painter:
    """Prepares the newest state; older ones that wait are dropped.

    Args:
        hud: Prepares; used by this thread alone while it runs.
        fps: Pictures per second at most.
    """

    def __init__(self, hud: Prepares, fps: float = 30.0) -> None:
        self._hud, self._period_s = hud, 1.0 / fps
        self._ready: Layers | None = None
        self._condition = threading.Condition()
        self._state: tuple[HudState, pygame.Surface | None] | None = None
        self._running = True
        self._made_s: list[float] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
        self._thread.start()

    @property
    def fps(self) -> float:
        """Pictures per second of late."""
        times = self._made_s[-20:]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def show(self, state: HudState, inset: pygame.Surface | None = None) -> None:
        """Prepare this next. Never waits for it."""
        with self._condition:
            self._state = (state, inset)
            self._condition.notify()

    def take(self) -> Layers | None:
        """The newest that is ready, or None when there is none since the last call.

        Raises:
            Exception: What the preparing raised.
        """
        with self._condition:
            if self._error is not None:
                raise self._error
            ready, self._ready = self._ready, None
            return ready

    def close(self, timeout_s: float = 0.5) -> None:
        """End the thread; one that is stuck is left behind."""
        with self._condition:
            self._running = False
            self._condition.notify()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        due_s = time.monotonic()
        while True:
            time.sleep(max(due_s - time.monotonic(), 0.0))
            with self._condition:
                while self._running and self._state is None:
                    self._condition.wait()
                if not self._running or self._state is None:
                    return
                (state, inset), self._state = self._state, None
            due_s = max(due_s, time.monotonic() - self._period_s) + self._period_s
            try:
                ready = self._hud.prepare(state, inset)
            except Exception as error:  # raised on the thread that shows pictures
                self._error = error
                return
            with self._condition:
                self._ready = ready
            self._made_s = [*self._made_s[-20:], time.monotonic()]
