"""Drives a generation on a suite's cases, and remembers: a case is driven once for a set of weights and a setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

from ..collect.fleet import BatchPlanner, Fleet
from ..sim_bridge.scenarios.cases import suite
from ..store import history, queries
from ..store.database import Store
from ..vocabulary import Case
from .closed_loop import CaseResult, evaluate_cases
from .results import known_results, to_row


class Progress(Protocol):
    """Where long work says how far it is."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` steps begins."""
        ...

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Steps of it are done."""
        ...

    def say(self, text: str) -> None:
        """One line."""
        ...


class Silent:
    """Progress of what is done in a moment, or runs beside something that shows its own."""

    def stage(self, name: str, total: int) -> None:
        """Nothing to show."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing to show."""

    def say(self, text: str) -> None:
        """Nothing to show."""


class Evaluator:
    """Closed-loop results of generations and baselines.

    Args:
        store: Keeps the results.
        rollouts: Gives the workers, started when something has to be driven.
        policy: Loads a generation's policy.
        progress: Where to say how far it is.
        setting: `PolicyConfig.setting`: the same weights drive otherwise with another decoder.
    """

    def __init__(
        self,
        store: Store,
        rollouts: Callable[[], AbstractContextManager[Fleet]],
        policy: Callable[[int], BatchPlanner],
        progress: Progress,
        setting: str = "",
    ) -> None:
        self._store = store
        self._rollouts = rollouts
        self._policy = policy
        self._progress = progress
        self._setting = setting

    def results(
        self,
        generation: int | None,
        name: str,
        cases: Sequence[Case],
        title: str,
        *,
        baseline: str = "",
        so_far: list[CaseResult] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> list[CaseResult]:
        """Results on the given cases of a suite; the missing ones are driven and kept.

        Args:
            generation: Its number; None for a baseline without a policy.
            name: Suite.
            cases: Of that suite.
            title: For the progress bar.
            baseline: See `closed_loop.BASELINES`.
            so_far: Filled as results come in, known ones first.
            stop: Asked now and then; True leaves out the cases that have not begun.
        """
        return self._results(
            self._key(generation, baseline),
            None if generation is None else partial(self._policy, generation),
            name,
            cases,
            title,
            label=baseline if generation is None else str(generation),
            generation=generation,
            baseline=baseline,
            so_far=so_far,
            stop=stop,
        )

    def results_of(
        self,
        policy: Callable[[], BatchPlanner],
        weights_sha256: str,
        name: str,
        cases: Sequence[Case],
        title: str,
        *,
        stop: Callable[[], bool] | None = None,
    ) -> list[CaseResult]:
        """Results of weights that are no generation; kept under their hash, so driven once as well.

        Args:
            policy: Gives what drives; asked only if a case is missing.
            weights_sha256: Hash of its weights.
            name: Suite.
            cases: Of that suite.
            title: For the progress bar.
            stop: As of `results`.
        """
        key, label = f"{weights_sha256}{self._setting}", weights_sha256[:8]
        return self._results(key, policy, name, cases, title, label=label, stop=stop)

    def _results(
        self,
        key: str,
        policy: Callable[[], BatchPlanner] | None,
        name: str,
        cases: Sequence[Case],
        title: str,
        *,
        label: str,
        generation: int | None = None,
        baseline: str = "",
        so_far: list[CaseResult] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> list[CaseResult]:
        known = self._known(key, name)
        left = [case for case in cases if case not in known]
        so_far = [] if so_far is None else so_far
        so_far.extend(known[case] for case in cases if case in known)
        if left:
            self._progress.stage(title, len(cases))
            self._progress.advance(len(cases) - len(left))
            wins = sum(result.success for result in so_far)

            def told(result: CaseResult) -> None:
                nonlocal wins
                wins += result.success
                so_far.append(result)
                self._progress.advance(note=f"{wins} of {len(so_far)} succeeded")

            with self._rollouts() as fleet:
                driven = evaluate_cases(
                    fleet,
                    left,
                    None if policy is None else policy(),
                    generation=label,
                    baseline=baseline,
                    recorded=self._recorded() if baseline == "other" else (),
                    on_result=told,
                    stop=stop,
                )
            self._store.put(
                [to_row(r, weights_sha256=key, suite=name, generation=generation) for r in driven]
            )
            known |= {result.case: result for result in driven}
        return [known[case] for case in cases if case in known]

    def stored(self, generation: int, name: str, cases: int) -> list[CaseResult]:
        """What is known of a generation on the first cases of a suite; drives nothing."""
        return self.known(generation, name, suite(name, cases))

    def known(self, generation: int, name: str, cases: Sequence[Case]) -> list[CaseResult]:
        """What is known of a generation on some cases of a suite; drives nothing."""
        results = self._known(self._key(generation, ""), name)
        return [results[case] for case in cases if case in results]

    def silent(self) -> Evaluator:
        """The same, showing no progress."""
        return Evaluator(self._store, self._rollouts, self._policy, Silent(), self._setting)

    def _known(self, key: str, name: str) -> dict[Case, CaseResult]:
        return known_results(self._store, key, name)

    def _recorded(self) -> list[tuple[str, Path]]:
        """The expert's drives, in order of id."""
        rows = queries.episodes(self._store, driver_kind="expert", role="train", whole=True, limit=1_000_000)
        return [(row["scenario"], self._store.home / row["path"]) for row in rows]

    def _key(self, generation: int | None, baseline: str) -> str:
        if generation is None:
            return baseline
        key = f"{history.generation(self._store, generation)['sha256']}{self._setting}"
        return f"{key}+{baseline}" if baseline else key
