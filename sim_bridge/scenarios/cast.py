"""Who plays: blueprints and colours, drawn per seed. A colour never tells the class of an actor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ...vocabulary import Case

T = TypeVar("T")

CARS = (
    "vehicle.tesla.model3",
    "vehicle.audi.tt",
    "vehicle.mini.cooper_s_2021",
    "vehicle.nissan.patrol_2021",
    "vehicle.toyota.prius",
    "vehicle.volkswagen.t2",
)
BIG_CARS = ("vehicle.nissan.patrol_2021", "vehicle.volkswagen.t2", "vehicle.mercedes.sprinter")
WALKERS = tuple(f"walker.pedestrian.{number:04d}" for number in (1, 4, 7, 12, 15, 22, 27, 33, 40, 46))
CAR_LENGTH_M = 4.8  # about; spacing in queues reckons with it

_PAINTS = (
    (230, 230, 232), (24, 24, 28), (120, 124, 130), (178, 30, 36), (28, 62, 150), (210, 160, 30), (34, 108, 64),
    (96, 62, 40), (70, 150, 190), (196, 92, 30), (110, 40, 110), (200, 190, 160),
)  # fmt: skip


@dataclass(slots=True)
class Draw:
    """Random numbers of one case, with a record of what was drawn. The decoy twin draws the same ones."""

    rng: np.random.Generator
    params: dict[str, float | str]

    @classmethod
    def of(cls, case: Case) -> Draw:
        """The source of a case: type and seed, not whether it is a decoy."""
        return cls(np.random.default_rng([case.seed, *case.scenario.encode()]), {})

    def uniform(self, name: str, low: float, high: float) -> float:
        """A recorded number."""
        value = float(self.rng.uniform(low, high))
        self.params[name] = round(value, 3)
        return value

    def share(self) -> float:
        """An unrecorded number in [0, 1)."""
        return float(self.rng.random())

    def flag(self, name: str, chance: float) -> bool:
        """A recorded yes or no."""
        value = bool(self.rng.random() < chance)
        self.params[name] = float(value)
        return value

    def pick(self, options: tuple[T, ...]) -> T:
        """One of several."""
        return options[int(self.rng.integers(len(options)))]

    def car(self, options: tuple[str, ...] = CARS) -> tuple[str, dict[str, str]]:
        """Blueprint and paint of a vehicle."""
        base = np.array(_PAINTS[int(self.rng.integers(len(_PAINTS)))])
        paint = np.clip(base + self.rng.integers(-18, 19, 3), 0, 255)
        return self.pick(options), {"color": ",".join(str(int(c)) for c in paint)}

    def walker(self) -> tuple[str, dict[str, str]]:
        """Blueprint of a walker."""
        return self.pick(WALKERS), {}
