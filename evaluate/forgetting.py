"""The forgetting triangle: how every generation does in the scenes of every round's takeovers (methods.md 7.4).

R[g, j] is generation g's success in the cases in which drivers took over in round j, driven again by itself. Below the
diagonal stands what was learnt and may be forgotten; above it what has not been learnt yet. The cases have train seeds and
were trained on: this is a diagnosis, never a headline. The same table can be made on certified takeovers (`takeover_cases`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..scoring.statistics import Estimate, stratified_bootstrap
from ..sim_bridge.scenarios.cases import require_role
from ..store import queries
from ..store.database import Store
from ..vocabulary import Case, Role
from .closed_loop import CaseResult
from .evaluator import Evaluator
from .variety import in_turn

K = TypeVar("K", bound=Hashable)
SUITE = "takeovers"  # under this name the drives are kept among the evaluations
LEAST = (
    2  # cases of a round that count for a transfer: of one alone, resampling makes an interval without width
)
CASES = 12  # a round: of five rounds and six generations 360 drives


@dataclass(frozen=True, slots=True)
class Cell:
    """R[g, j].

    Attributes:
        generation: g.
        round: j.
        passed: Cases without infraction to the end.
        cases: Cases driven, the same for every generation.
        learnt: Whether the generation was made in that round or later.
    """

    generation: int
    round: int
    passed: int
    cases: int
    learnt: bool

    @property
    def share(self) -> float:
        """Success in [0, 1]."""
        return self.passed / self.cases


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a generation kept of earlier rounds.

    Attributes:
        generation: The generation, made in round G.
        backward: BWT = mean over rounds j < G of R[G, j] - R[j, j], with j's own generation made right after learning it;
            cases resampled within rounds. None when there is no earlier round with at least LEAST cases.
        worst_round: Round with the largest drop; None likewise.
        worst: That drop, R[G, j] - R[j, j].
    """

    generation: int
    backward: Estimate | None
    worst_round: int | None
    worst: Estimate | None


@dataclass(frozen=True, slots=True)
class Triangle:
    """The whole table.

    Attributes:
        generations: Rows: number and the round in which each was made, in order.
        rounds: Columns: rounds that had takeovers.
        cells: In order of generation and round.
        transfers: One a generation.
        forward: FWT = mean over rounds j > 1 of R[j - 1, j] - R[0, j]: what earlier rounds gave for scenes not learnt yet;
            None without such a round or without generation 0.
    """

    generations: tuple[tuple[int, int], ...]
    rounds: tuple[int, ...]
    cells: tuple[Cell, ...]
    transfers: tuple[Transfer, ...]
    forward: Estimate | None

    def cell(self, generation: int, round_number: int) -> Cell:
        """One of the cells."""
        return next(c for c in self.cells if (c.generation, c.round) == (generation, round_number))


def takeover_cases(store: Store, run_id: str, limit: int = CASES) -> dict[int, list[Case]]:
    """Cases of a run's takeovers by round: those whose takeover teaches, types in turn; a larger limit only adds some.

    Args:
        store: The index.
        run_id: The run.
        limit: At most so many a round.

    Raises:
        RoleError: A takeover's case is held out.
    """
    by_round: dict[int, set[Case]] = {}
    for row in queries.round_takeovers(store, run_id):
        if row["trains"]:
            case = Case(row["scenario"], int(row["seed"]), bool(row["decoy"]))
            require_role(case, Role.TRAIN)
            by_round.setdefault(int(row["round"]), set()).add(case)
    ordered = {
        number: sorted(some, key=lambda case: (case.scenario, case.decoy, case.seed))
        for number, some in sorted(by_round.items())
    }
    return {number: in_turn(some, lambda case: case.scenario)[:limit] for number, some in ordered.items()}


def drive(evaluator: Evaluator, generations: Sequence[int], cases: Mapping[int, Sequence[Case]]) -> None:
    """Drive what is missing; generations that have driven are kept, so a kill costs no more than the one at work.

    Args:
        evaluator: Keeps the results.
        generations: Numbers.
        cases: By round.
    """
    every = [case for number in sorted(cases) for case in cases[number]]
    for generation in generations:
        evaluator.results(generation, SUITE, every, f"generation {generation} in the takeovers' scenes")


def known_triangle(
    known: Mapping[int, Mapping[K, CaseResult]],
    made: Mapping[int, int],
    cases: Mapping[int, Sequence[K]],
) -> Triangle | None:
    """The triangle of what is known; drives nothing.

    Args:
        known: By generation, what it did in the takeovers' cases.
        made: By generation, the round in which it was made.
        cases: By round, all that may count: scenes, or the ids of certified takeovers.

    Returns:
        The table over the generations that have driven in every round, on the cases that all of them drove; None if
        there is no such generation or case.
    """
    driven = [g for g in sorted(known) if all(any(c in known[g] for c in some) for some in cases.values())]
    results = {
        (g, number): [known[g][c] for c in some if all(c in known[other] for other in driven)]
        for g in driven
        for number, some in cases.items()
    }
    if not results or not all(results.values()):
        return None
    return triangle(results, [(g, made[g]) for g in driven])


def triangle(
    results: Mapping[tuple[int, int], Sequence[CaseResult]],
    generations: Sequence[tuple[int, int]],
    *,
    seed: int = 0,
) -> Triangle:
    """Table and transfers of driven cases.

    Args:
        results: By generation and round; the cases of a round are the same for every generation, in the same order.
        generations: Number and the round in which each was made.
        seed: Of the bootstraps.
    """
    rounds = tuple(sorted({number for _, number in results}))
    made = dict(generations)
    enough = [j for j in rounds if len(results[min(made), j]) >= LEAST]
    in_round = {number: generation for generation, number in generations if number > 0}
    cells = tuple(
        Cell(g, j, sum(r.success for r in results[g, j]), len(results[g, j]), made[g] >= j)
        for g in sorted(made)
        for j in rounds
    )

    def gain(new: int, old: int, j: int) -> list[float]:
        pairs = zip(results[old, j], results[new, j], strict=True)
        return [float(b.success) - float(a.success) for a, b in pairs]

    transfers = []
    for g in sorted(made):
        earlier = {j: gain(g, in_round[j], j) for j in enough if j < made[g] and j in in_round}
        if not earlier:
            transfers.append(Transfer(g, None, None, None))
            continue
        worst = min(earlier, key=lambda j: sum(earlier[j]) / len(earlier[j]))
        transfers.append(
            Transfer(
                g,
                stratified_bootstrap(list(earlier.values()), seed=seed),
                worst,
                stratified_bootstrap([earlier[worst]], seed=seed),
            )
        )
    first = next((g for g, number in generations if number == 0), None)
    ahead = [
        gain(in_round[j - 1], first, j) for j in enough if first is not None and j > 1 and j - 1 in in_round
    ]
    forward = stratified_bootstrap(ahead, seed=seed) if ahead else None
    return Triangle(tuple(sorted(generations)), rounds, cells, tuple(transfers), forward)
