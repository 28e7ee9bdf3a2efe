"""How often the gate promotes what is no better: retrained twins and pairs swapped at random (proof.md 13 and 14)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from ..config import GateConfig
from ..scoring.statistics import wilson_interval
from .ablation import SeedResult
from .gate import GateDecision, decide
from .study_section import Result, Table, Verdict, percent

PROMOTED_MAX = 0.05


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison that should end without a promotion."""

    champion: str
    challenger: str
    decision: GateDecision


def twin_trials(twins: Mapping[int, SeedResult], config: GateConfig) -> list[Trial]:
    """Every twin as challenger of every other: same data, another training seed.

    Args:
        twins: By training seed, on the gate's cases.
        config: Of the gate; all of its alpha is spent on each comparison, which is harder to pass than a round's share.
    """
    return [
        Trial(f"twin {one}", f"twin {other}", _decide(twins[one], twins[other], config))
        for one, other in permutations(sorted(twins), 2)
    ]


def null_trials(start: SeedResult, trained: Mapping[int, SeedResult], config: GateConfig) -> list[Trial]:
    """Each generation that was trained on swapped pairs as challenger of the one that it came from."""
    return [
        Trial("generation 0", f"swapped, seed {seed}", _decide(start, trained[seed], config))
        for seed in sorted(trained)
    ]


def verdict(claim: str, trials: Sequence[Trial], least: int) -> Verdict:
    """Whether at most 5 % were promoted.

    Args:
        claim: Of the protocol.
        trials: Comparisons.
        least: Fewer cannot show it.
    """
    promoted = sum(trial.decision.outcome == "promote" for trial in trials)
    if not trials:
        return Verdict(claim, "–", "not there")
    share = promoted / len(trials)
    figure = f"{promoted} of {len(trials)}: {percent(share, wilson_interval(promoted, len(trials)))} %"
    result: Result = "missed" if share > PROMOTED_MAX else "met" if len(trials) >= least else "not shown"
    return Verdict(claim, figure, result)


def table(title: str, trials: Iterable[Trial]) -> Table:
    """One row a comparison."""
    head = ("champion", "challenger", "outcome", "gained", "lost", "p", "SR of both [%]")
    return Table(
        title,
        head,
        tuple(
            (
                trial.champion,
                trial.challenger,
                trial.decision.outcome,
                str(trial.decision.gained),
                str(trial.decision.lost),
                f"{trial.decision.p_value:.3f}",
                f"{100 * trial.decision.sr_champion:.1f}, {100 * trial.decision.sr_challenger:.1f}",
            )
            for trial in trials
        ),
    )


def _decide(champion: SeedResult, challenger: SeedResult, config: GateConfig) -> GateDecision:
    return decide(
        champion.longtail,
        challenger.longtail,
        champion.nominal,
        challenger.nominal,
        config,
        round_number=1,
        rounds=1,
        seed=0,
    )
