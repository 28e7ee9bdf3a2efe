"""Scripted hands in the people's loop: they follow simulated time, which they read off the HUD."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pygame

from takeover.collect.cockpit.hud_state import HudState
from takeover.collect.cockpit.layers import Layers
from takeover.collect.cockpit.painter import Prepares
from takeover.collect.devices.state import Action, DeviceState, Kind


@dataclass(frozen=True, slots=True)
class Stretch:
    """What hands and feet do from a simulated time on; `actions` are pressed once, when it begins."""

    from_s: float
    steer: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0
    actions: tuple[Action, ...] = ()


class ScriptedHands:
    def __init__(self, script: tuple[Stretch, ...]) -> None:
        self._script = script
        self._at = -1
        self.time_s = 0.0
        self.held: list[float | None] = []

    def poll(self, events: Iterable[Any], now_s: float) -> tuple[DeviceState, tuple[Action, ...]]:
        actions: list[Action] = []
        while self._at + 1 < len(self._script) and self._script[self._at + 1].from_s <= self.time_s:
            self._at += 1
            actions.extend(self._script[self._at].actions)
        now = self._script[max(self._at, 0)]
        state = DeviceState(
            now.steer, now.throttle, now.brake, time_s=now_s, source="script", kind=Kind.WHEEL
        )
        return state, tuple(actions)

    def notices(self) -> tuple[str, ...]:
        return ()

    def hold(self, commanded: float | None, state: DeviceState) -> None:
        self.held.append(commanded)


class Watched:
    """A HUD that tells the hands the time of the episode."""

    def __init__(self, hud: Prepares, hands: ScriptedHands) -> None:
        self._hud, self._hands = hud, hands

    def prepare(self, state: HudState, inset: pygame.Surface | None = None) -> Layers:
        self.saw(state)
        self._hands.time_s = max(self._hands.time_s, state.time_s)
        return self._hud.prepare(state, inset)

    def saw(self, state: HudState) -> None:
        """Faults of tests."""
