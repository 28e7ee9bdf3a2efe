"""Traffic lights: controllers of a junction take turns, each green, yellow, then all red."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from .actors import Actor, ActorTable
from .town import TRIGGER_LENGTH_M, Signal
from .wire_stream import light_state

RED, YELLOW, GREEN = 0, 1, 2
GREEN_S, YELLOW_S, RED_S = 10.0, 3.0, 2.0  # CARLA's defaults


@dataclass(slots=True, eq=False)
class TrafficLight:
    """One light."""

    actor: Actor
    signal: Signal
    pole: int
    state: int = RED
    times_s: list[float] = field(default_factory=lambda: [GREEN_S, YELLOW_S, RED_S])
    frozen: bool = False
    elapsed_s: float = 0.0

    def write(self, table: ActorTable) -> None:
        """Puts the state into its snapshot record."""
        green, yellow, red = self.times_s
        table.records["state"][self.actor.row] = light_state(
            self.signal.sign_id, (green, yellow, red), self.elapsed_s, self.pole, self.frozen, self.state
        )

    def trigger(self) -> tuple[float, float, float, float, float]:
        """x, y, yaw [rad], half length, half width of the area before the stop line; CARLA's frame."""
        yaw = math.radians(self.signal.pose[4])
        back = TRIGGER_LENGTH_M / 2.0
        x, y = self.signal.stop
        return (
            x - back * math.cos(yaw),
            y - back * math.sin(yaw),
            yaw,
            back,
            max(self.signal.half_width_m, 0.5),
        )


@dataclass(slots=True, eq=False)
class LightGroup:
    """Lights of one junction; `turns` are its controllers."""

    turns: list[list[TrafficLight]]
    turn: int = 0
    phase: int = GREEN
    elapsed_s: float = 0.0

    @property
    def lights(self) -> list[TrafficLight]:
        """All lights."""
        return [light for turn in self.turns for light in turn]

    def reset(self) -> None:
        """Back to the start of the cycle."""
        self.turn, self.elapsed_s = 0, 0.0
        for light in self.lights:
            light.frozen = False
            light.elapsed_s = 0.0
            light.state = RED
        self._enter(GREEN)

    def _enter(self, phase: int) -> None:
        self.phase, self.elapsed_s = phase, 0.0
        for light in self.turns[self.turn]:
            light.state, light.elapsed_s = phase, 0.0

    def step(self, dt_s: float) -> None:
        """Advances the cycle; a frozen light stops its group."""
        if any(light.frozen for light in self.lights):
            return
        self.elapsed_s += dt_s
        for light in self.lights:
            light.elapsed_s += dt_s
        green, yellow, red = self.turns[self.turn][0].times_s
        if self.phase == GREEN and self.elapsed_s >= green - 1e-6:
            self._enter(YELLOW)
        elif self.phase == YELLOW and self.elapsed_s >= yellow - 1e-6:
            self._enter(RED)
        elif self.phase == RED and self.elapsed_s >= red - 1e-6:
            self.turn = (self.turn + 1) % len(self.turns)
            self._enter(GREEN)

    def show(self, light: TrafficLight, state: int) -> None:
        """Sets one light; the cycle goes on from there when that light's turn allows it."""
        light.state, light.elapsed_s = state, 0.0
        for number, turn in enumerate(self.turns):
            if light in turn and state in (GREEN, YELLOW):
                self.turn, self.phase, self.elapsed_s = number, state, 0.0


class TrafficLights:
    """All lights of a world."""

    def __init__(self, lights: Iterable[TrafficLight], table: ActorTable) -> None:
        self.lights = tuple(lights)
        self._table = table
        self.areas = np.array([light.trigger() for light in self.lights]).reshape(-1, 5)
        self._by_id = {light.actor.id: light for light in self.lights}
        self.groups: list[LightGroup] = []
        self._group_of: dict[int, LightGroup] = {}
        ordered = sorted(self.lights, key=lambda one: (_junction(one), _controller(one), one.actor.id))
        for _, members in groupby(ordered, key=_junction):
            turns = [list(turn) for _, turn in groupby(members, key=_controller)]
            group = LightGroup(turns)
            self.groups.append(group)
            for light in group.lights:
                self._group_of[light.actor.id] = group
        self.reset()

    def get(self, actor_id: int) -> TrafficLight | None:
        """A light by its actor's id."""
        return self._by_id.get(actor_id)

    def states(self) -> NDArray[np.int64]:
        """State of every light, in their order."""
        return np.array([light.state for light in self.lights], np.int64)

    def group(self, light: TrafficLight) -> LightGroup:
        """The group of a light."""
        return self._group_of[light.actor.id]

    def reset(self) -> None:
        """All cycles back to their start."""
        for group in self.groups:
            group.reset()
        self.write()

    def freeze_all(self, frozen: bool) -> None:
        """Stops or resumes every cycle."""
        for light in self.lights:
            light.frozen = frozen
        self.write()

    def step(self, dt_s: float) -> None:
        """Advances every cycle."""
        if not self.lights:
            return
        for group in self.groups:
            group.step(dt_s)
        self.write()

    def write(self) -> None:
        """Puts every light's state into the snapshot records."""
        for light in self.lights:
            light.write(self._table)


def _controller(light: TrafficLight) -> str:
    return light.signal.controller or f"signal {light.signal.sign_id}"


def _junction(light: TrafficLight) -> str:
    return light.signal.junction or _controller(light)
