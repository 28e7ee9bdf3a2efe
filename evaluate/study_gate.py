"""How often the gate is right: made-up generations whose true difference is known go through the gate itself.

Only the cases' outcomes are made up; `gate.decide` and `gate.futile` judge them as they judge real ones. What the
outcomes look like (`Population`) is taken from measured rounds: how often two generations differ on a case, how the
gain is spread over the scenario types, how rare phantom brakes are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import GateConfig
from ..scoring.statistics import mcnemar_test, spent_alpha, wilson_interval
from ..sim_bridge.scenarios.cases import STEERING_TYPES, suite
from ..vocabulary import Case
from .closed_loop import CaseResult
from .gate import GateDecision, decide, futile

Wins = NDArray[np.bool_]
Floats = NDArray[np.float64]
LEAST_LOST = 0.04  # share of cases that even a clear gain loses


@dataclass(frozen=True, slots=True)
class Preset:
    """A gate as it is used.

    Attributes:
        name: Of the preset.
        config: Of the gate at its first look.
        looks: (long-tail, nominal) cases of each look; after one that is inconclusive comes the next. Alpha is shared out
            equally among them, for each look is one more chance to be wrong.
    """

    name: str
    config: GateConfig
    looks: tuple[tuple[int, int], ...]

    @property
    def judged_by(self) -> GateConfig:
        """The configuration that each look is judged by."""
        return self.config.model_copy(update={"alpha": self.config.alpha / len(self.looks)})


def _study(longtail: int, nominal: int) -> GateConfig:
    return GateConfig(longtail_cases=longtail, nominal_cases=nominal, guards="bound")


LAPTOP = Preset("laptop", GateConfig(), ((64, 24),))
STUDY = Preset("study", _study(120, 240), ((120, 240), (240, 240), (480, 480)))
PRESETS = (LAPTOP, STUDY)


@dataclass(frozen=True, slots=True)
class Population:
    """What outcomes look like; shares in [0, 1].

    Attributes:
        sr: Champion on hazards of the long tail.
        sr_calm: Champion on decoys and nominal cases.
        differ: Share of hazards on which two equal generations differ.
        differ_calm: Likewise on decoys and nominal cases.
        type_spread: Standard deviation of a challenger's gain over the types, around its mean.
        case_m: Length of a case.
        case_s: Its duration.
        phantom_per_km: Phantom brakes on decoys and nominal cases.
        standstill_s: Mean standstill of a case.
    """

    sr: float = 0.45
    sr_calm: float = 0.92
    differ: float = 0.22
    differ_calm: float = 0.06
    type_spread: float = 0.08
    case_m: float = 72.0
    case_s: float = 11.0
    phantom_per_km: float = 0.5
    standstill_s: float = 0.06


@dataclass(frozen=True, slots=True)
class Change:
    """What a challenger truly is beside its champion.

    Attributes:
        name: For the table.
        longtail: Pooled SR on the long tail.
        nominal: SR of everyday driving.
        steering: SR on the types that cannot be passed by braking, if it is another one; the braking types make up for it.
        phantom: Factor of phantom brakes.
        standstill: Rise of the standstill share.
    """

    name: str
    longtail: float = 0.0
    nominal: float = 0.0
    steering: float | None = None
    phantom: float = 1.0
    standstill: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """What the gate did with a kind of challenger.

    Attributes:
        change: The truth.
        generations: Simulated.
        promoted: Share promoted in one round, with its Wilson 95 % interval.
        rejected: Share rejected among `judged` of them; NaN if none was judged in full.
        judged: Generations that went through the whole gate, guards included, whatever their primary test.
        runs: Simulated runs; each has a champion of its own.
        runs_promoted: Share of runs with at least one promotion, with interval; NaN where only one round was simulated.
    """

    change: Change
    generations: int
    promoted: float
    promoted_interval: tuple[float, float]
    rejected: float
    judged: int
    runs: int
    runs_promoted: float
    runs_interval: tuple[float, float]


class Simulation:
    """Generations of one preset and population.

    Args:
        preset: The gate.
        population: What outcomes look like.
        rounds: Rounds of a run, over which alpha is spent.
        seed: Of everything.
    """

    def __init__(self, preset: Preset, population: Population, rounds: int, seed: int) -> None:
        self._preset, self._population, self._rounds, self._seed = preset, population, rounds, seed
        longtail, nominal = (max(sizes) for sizes in zip(*preset.looks, strict=True))
        self._longtail, self._nominal = suite("longtail", longtail), suite("nominal", nominal)

    def point(
        self,
        change: Change,
        runs: int,
        judged: int = 0,
        *,
        whole_runs: bool = True,
        told: Callable[[], None] = lambda: None,
    ) -> Point:
        """Simulate runs in which every round's challenger has the same true difference to the same champion.

        Args:
            change: The difference.
            runs: How many runs.
            judged: How many generations are judged in full, for the share of rejections. The others meet the guards
                only where the primary test is significant: without that nothing is promoted.
            whole_runs: All rounds of each run; else the first one alone, whose generations are independent.
            told: Called after each run.
        """
        rounds = self._rounds if whole_runs else 1
        promoted = np.zeros((runs, rounds), np.bool_)
        rejected = looked = 0
        for run in range(runs):
            random = np.random.default_rng([self._seed, run])
            champion = self._champion(random)
            for number in range(1, rounds + 1):
                challenger = self._challenger(champion, change, random)
                whole = looked < judged
                outcome = self._outcome(champion, challenger, number, whole=whole)
                promoted[run, number - 1] = outcome == "promote"
                if whole:
                    looked += 1
                    rejected += outcome == "reject"
            told()
        wins, runs_won = int(promoted.sum()), int(promoted.any(axis=1).sum())
        return Point(
            change=change,
            generations=promoted.size,
            promoted=wins / promoted.size,
            promoted_interval=wilson_interval(wins, promoted.size),
            rejected=rejected / looked if looked else float("nan"),
            judged=looked,
            runs=runs,
            runs_promoted=runs_won / runs if whole_runs else float("nan"),
            runs_interval=wilson_interval(runs_won, runs),
        )

    def _outcome(self, champion: _Drives, challenger: _Drives, number: int, *, whole: bool) -> str:
        """Outcome of the last look that is taken; "" where the primary test alone says that nothing is promoted."""
        preset, last = self._preset, ""
        alpha = spent_alpha(preset.judged_by.alpha, number, self._rounds)
        for longtail, nominal in preset.looks:
            old, new = champion.wins[:longtail], challenger.wins[:longtail]
            if not whole and mcnemar_test(int((new & ~old).sum()), int((old & ~new).sum())) > alpha:
                continue
            decision = self._decide(champion, challenger, longtail, nominal, number, alpha)
            last = decision.outcome
            if last != "inconclusive":
                break
        return last

    def _decide(
        self,
        champion: _Drives,
        challenger: _Drives,
        longtail: int,
        nominal: int,
        number: int,
        alpha: float,
    ) -> GateDecision:
        """As the loop does it: the challenger stops when the primary test cannot succeed, then drives no nominal cases."""
        old, new = (one.results(self._longtail[:longtail]) for one in (champion, challenger))
        old_nominal, new_nominal = (
            one.calm.results(self._nominal[:nominal]) for one in (champion, challenger)
        )
        # What is gained later can only help, so futility never ends once it is there.
        driven = (
            bisect_left(range(1, longtail), True, key=lambda k: futile(old, new[:k], longtail, alpha)) + 1
        )
        if driven < longtail:
            new, new_nominal = new[:driven], []
        return decide(
            old,
            new,
            old_nominal,
            new_nominal,
            self._preset.judged_by,
            round_number=number,
            rounds=self._rounds,
            seed=self._seed,
        )

    def _champion(self, random: np.random.Generator) -> _Drives:
        people = self._population
        calm = np.array([case.decoy for case in self._longtail])
        wins = random.random(len(calm)) < np.where(calm, people.sr_calm, people.sr)
        nominal = random.random(len(self._nominal)) < people.sr_calm
        return _drives(wins, _drives(nominal, None, 1.0, 0.0, people, random), 1.0, 0.0, people, random)

    def _challenger(self, champion: _Drives, change: Change, random: np.random.Generator) -> _Drives:
        people, cases = self._population, self._longtail
        calm = np.array([case.decoy for case in cases])
        gain = self._gains(change, random)
        before = np.where(calm, people.sr_calm, people.sr)
        wins = _changed(
            champion.wins, before, gain, np.where(calm, people.differ_calm, people.differ), random
        )
        everyday = champion.calm.wins
        same = np.full(len(everyday), people.sr_calm)
        nominal = _changed(
            everyday,
            same,
            np.full(len(everyday), change.nominal),
            np.full(len(everyday), people.differ_calm),
            random,
        )
        parts = change.phantom, change.standstill
        return _drives(wins, _drives(nominal, None, *parts, people, random), *parts, people, random)

    def _gains(self, change: Change, random: np.random.Generator) -> Floats:
        """True gain on each long-tail case: decoys gain nothing, types differ, the means are those of `change`."""
        cases = self._longtail
        hazard = np.array([not case.decoy for case in cases])
        steering = np.array([case.scenario in STEERING_TYPES for case in cases])
        types = sorted({case.scenario for case in cases})
        spread = dict(zip(types, random.normal(0.0, self._population.type_spread, len(types)), strict=True))
        gain = np.where(hazard, [spread[case.scenario] for case in cases], 0.0)
        if change.steering is None:
            parts = [(np.ones(len(cases), np.bool_), change.longtail)]
        else:
            rest = (change.longtail * len(cases) - change.steering * steering.sum()) / (~steering).sum()
            parts = [(steering, change.steering), (~steering, float(rest))]
        for part, mean in parts:
            gain[part & hazard] += (mean * part.sum() - gain[part].sum()) / (part & hazard).sum()
        return np.asarray(gain, np.float64)


@dataclass(frozen=True, slots=True)
class _Drives:
    """Outcomes of one generation, columns by case; `calm_drives` are its nominal cases."""

    wins: Wins
    ds: Floats
    phantom: NDArray[np.int64]
    standstill_s: Floats
    case_m: float
    case_s: float
    calm_drives: _Drives | None

    @property
    def calm(self) -> _Drives:
        assert self.calm_drives is not None
        return self.calm_drives

    def results(self, cases: Sequence[Case]) -> list[CaseResult]:
        """What the gate reads."""
        return [
            CaseResult(
                case=case,
                success=bool(self.wins[i]),
                ds=float(self.ds[i]),
                rc=100.0 if self.wins[i] else float(self.ds[i]),
                infractions=() if self.wins[i] else ("collision_vehicle",),
                end="route_complete" if self.wins[i] else "collision",
                driven_m=self.case_m,
                duration_s=self.case_s,
                phantom_brakes=int(self.phantom[i]),
                standstill_s=float(self.standstill_s[i]),
            )
            for i, case in enumerate(cases)
        ]


def _drives(
    wins: Wins,
    calm: _Drives | None,
    phantom: float,
    standstill: float,
    people: Population,
    random: np.random.Generator,
) -> _Drives:
    count = len(wins)
    rate = people.phantom_per_km * phantom * people.case_m / 1000
    still_s = random.exponential(people.standstill_s, count) + standstill * people.case_s
    return _Drives(
        wins,
        np.where(wins, 100.0, random.uniform(5.0, 65.0, count)),
        random.poisson(rate, count),
        still_s,
        people.case_m,
        people.case_s,
        calm,
    )


def _changed(wins: Wins, before: Floats, gain: Floats, differ: Floats, random: np.random.Generator) -> Wins:
    """A challenger's outcomes given the champion's: some lost cases are gained, some won ones are lost."""
    apart = np.maximum(differ, np.abs(gain) + 2 * LEAST_LOST)
    gained, lost = (apart + gain) / 2, (apart - gain) / 2
    flip = np.where(wins, lost / before, gained / (1.0 - before))
    return np.asarray(wins ^ (random.random(len(wins)) < flip), np.bool_)
