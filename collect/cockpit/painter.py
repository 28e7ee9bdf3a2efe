"""Composes the window's picture on a thread of its own; the main thread takes the newest finished one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import pygame

from .hud_state import HudState
from .ring import Picture


class Draws(Protocol):
    """What composes a picture (`hud.Hud`)."""

    def draw(
        self,
        surface: pygame.Surface,
        picture: pygame.Surface | None,
        state: HudState,
        inset: pygame.Surface | None = None,
    ) -> None:
        """One picture of the window."""
        ...


class Painter:
    """Draws the newest state; older ones that wait are dropped.

    Args:
        hud: Draws; used by this thread alone while it runs.
        size: Of the window.
        picture: The newest camera picture, asked for when drawing begins.
        fps: Pictures per second at most.
    """

    def __init__(
        self, hud: Draws, size: tuple[int, int], picture: Callable[[], Picture | None], fps: float = 30.0
    ) -> None:
        self._hud, self._picture, self._period_s = hud, picture, 1.0 / fps
        self._free = [pygame.Surface(size, 0, 32) for _ in range(3)]
        self._finished: pygame.Surface | None = None
        self._shown: pygame.Surface | None = None
        self._condition = threading.Condition()
        self._state: tuple[HudState, pygame.Surface | None] | None = None
        self._running = True
        self._drawn_s: list[float] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
        self._thread.start()

    @property
    def fps(self) -> float:
        """Pictures per second of late."""
        times = self._drawn_s[-20:]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def show(self, state: HudState, inset: pygame.Surface | None = None) -> None:
        """Draw this next. Never waits for the drawing."""
        with self._condition:
            self._state = (state, inset)
            self._condition.notify()

    def take(self) -> pygame.Surface | None:
        """The newest finished picture, or None when there is none since the last call. It holds until the next call.

        Raises:
            Exception: What the drawing raised.
        """
        with self._condition:
            if self._error is not None:
                raise self._error
            if self._finished is None:
                return None
            if self._shown is not None:
                self._free.append(self._shown)
            self._shown, self._finished = self._finished, None
            return self._shown

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
                surface = self._free.pop()
            due_s = max(due_s, time.monotonic() - self._period_s) + self._period_s
            try:
                self._hud.draw(surface, _surface(self._picture()), state, inset)
            except Exception as error:  # raised on the thread that shows pictures
                self._error = error
                return
            with self._condition:
                if self._finished is not None:
                    self._free.append(self._finished)
                self._finished = surface
            self._drawn_s = [*self._drawn_s[-20:], time.monotonic()]


def _surface(picture: Picture | None) -> pygame.Surface | None:
    """The picture where it lies: no byte is copied."""
    if picture is None:
        return None
    height, width = picture.pixels.shape[:2]
    return pygame.image.frombuffer(picture.pixels.reshape(-1).data, (width, height), "BGRA")
