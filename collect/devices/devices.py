"""All input devices behind one `poll`, on the main thread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .state import Action, DeviceState


class Devices:
    """Reads SDL events; exactly one device drives at a time.

    Args:
        profile: Name of a wheel or gamepad profile, "keyboard", or None to match what is plugged in.
    """

    def __init__(self, profile: str | None = None) -> None:
        self._profile = profile

    def poll(self, events: Iterable[Any], now_s: float) -> tuple[DeviceState, tuple[Action, ...]]:
        """One poll of all devices.

        Args:
            events: What `pygame.event.get()` returned.
            now_s: Present time of a monotonic clock.

        Returns:
            Hands and feet now, and the presses among the events, in order.
        """
        raise NotImplementedError

    def rumble(self, strength: float, duration_s: float) -> None:
        """Shake the device, if it can."""

    def close(self) -> None:
        """Let the devices go; force feedback off."""
