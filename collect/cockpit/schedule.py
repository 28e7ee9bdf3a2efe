"""Which drive comes next: where a takeover would teach most.

A bandit over scenario types (Thompson sampling). Of each type the champion's failures are known: drives that did not
succeed or that a driver had to take over, in this home's drives of that generation. They give a Beta
posterior of the failure rate, which begins at `PRIOR`. One draw from each posterior, and the largest wins: types that fail
often are driven often, and types of which little is known now and then. The driver's own drives count, so a type
that turns out well goes back. One drive in `EXPLORE_EVERY` is of any type, everyday driving among them, so that a driver
cannot know that something is about to happen. Only train cases, each at most once a home.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError
from ...sim_bridge.scenarios.cases import (
    DECOY_EVERY,
    NOMINAL_TYPES,
    SEEDS,
    TRAINED_TYPES,
    require_role,
)
from ...store.database import Store
from ...vocabulary import Case, Role

EXPLORE_EVERY = 5
PRIOR = (1.0, 1.0)  # failures, successes
REPEAT_FACTOR = 0.5  # on the draw of the type that was driven last
PRACTICE_TYPES = NOMINAL_TYPES
TYPES = (*TRAINED_TYPES, *NOMINAL_TYPES)


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of a type."""

    failures: int = 0
    drives: int = 0


class Schedule:
    """Chooses cases; the same tallies, seed and number give the same case.

    Args:
        tallies: By type; types without one are unknown.
        seed: Of the sitting.
        only: Types to choose from; () for all.
        driven: Cases of this home that are not driven again.
    """

    def __init__(
        self,
        tallies: Mapping[str, Tally],
        seed: int,
        only: Sequence[str] = (),
        driven: frozenset[str] = frozenset(),
    ) -> None:
        for name in only:
            if name not in TYPES:
                raise UsageError(f"unknown scenario `{name}`", fix=f"use some of {', '.join(TYPES)}")
        self._tallies = dict(tallies)
        self._seed = seed
        self._only = tuple(only)
        self._driven = set(driven)
        self._last = ""

    def next(self, number: int, *, practice: bool = False) -> Case:
        """The case of the number-th drive of a sitting, from 0."""
        rng = np.random.default_rng([self._seed, number])
        if practice:
            scenario = PRACTICE_TYPES[number % len(PRACTICE_TYPES)]
        elif number % EXPLORE_EVERY == EXPLORE_EVERY - 1:
            scenario = str(rng.choice(self._only or TYPES))
        else:
            scenario = self._most_informative(rng)
        self._last = scenario
        decoy = scenario in TRAINED_TYPES and int(rng.integers(DECOY_EVERY)) == 0
        return self._unused(scenario, decoy, rng)

    def learn(self, case: Case, failed: bool) -> None:
        """A drive has ended; `failed` when it did not succeed or was taken over."""
        old = self._tallies.get(case.scenario, Tally())
        self._tallies[case.scenario] = Tally(old.failures + failed, old.drives + 1)

    def _most_informative(self, rng: np.random.Generator) -> str:
        draws = {}
        for name in self._only or TRAINED_TYPES:
            known = self._tallies.get(name, Tally())
            draw = rng.beta(PRIOR[0] + known.failures, PRIOR[1] + known.drives - known.failures)
            draws[name] = draw * (REPEAT_FACTOR if name == self._last else 1.0)
        return max(draws, key=draws.__getitem__)

    def _unused(self, scenario: str, decoy: bool, rng: np.random.Generator) -> Case:
        seeds = SEEDS[Role.TRAIN]
        first = int(rng.integers(seeds.start, seeds.stop))
        for step in range(len(seeds)):
            case = Case(scenario, seeds.start + (first + step) % len(seeds), decoy)
            if case.case_id not in self._driven:
                require_role(case, Role.TRAIN)
                self._driven.add(case.case_id)
                return case
        raise UsageError(f"every train case of {scenario} has been driven", fix="drive other scenarios")


def tallies(store: Store, generation: str) -> dict[str, Tally]:
    """How often a generation failed on each type in watched drives of train cases. Decoys are left out.

    What the gate saw stays out: it must not steer what is collected (proof.md 1).
    """
    rows = store.query(
        "SELECT scenario, count(*) FILTER (NOT success OR takeovers > 0) AS failures, count(*) AS drives FROM episodes "
        "WHERE generation = ? AND role = 'train' AND driver_kind IN ('scripted', 'human') AND NOT decoy "
        "AND NOT truncated AND ended NOT IN ('sim_fault', 'aborted') GROUP BY scenario ORDER BY scenario",
        [generation],
    )
    return {row["scenario"]: Tally(int(row["failures"]), int(row["drives"])) for row in rows}


def driven_cases(store: Store) -> frozenset[str]:
    """Cases that a human has driven in this home."""
    rows = store.query("SELECT DISTINCT case_id FROM episodes WHERE driver_kind = 'human'")
    return frozenset(row["case_id"] for row in rows)
