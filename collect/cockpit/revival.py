"""Starts a policy process that has died again, beside the drive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

RESTARTS = 3  # in one drive; a policy that dies more often is left dead


class Mortal(Protocol):
    """A child process (`links.BrainLink`)."""

    @property
    def fault(self) -> str:
        """Why it cannot go on; "" while it can."""
        ...

    @property
    def restart(self) -> Callable[[], None]:
        """Start it again; waits until it is ready."""
        ...


class Revival:
    """Watches one child during one drive.

    Args:
        child: To watch.
    """

    def __init__(self, child: Mortal) -> None:
        self._child = child
        self._restarts = 0
        self._thread: threading.Thread | None = None

    def watch(self) -> str:
        """Why the child was lost, when a restart begins with this call; else ""."""
        fault = self._child.fault
        restarting = self._thread is not None and self._thread.is_alive()
        if not fault or restarting or self._restarts == RESTARTS:
            return ""
        self._restarts += 1
        self._thread = threading.Thread(target=self._child.restart, name="restart", daemon=True)
        self._thread.start()
        return fault
