"""The parts of the study: what each drives and trains, and which of the protocol's claims it answers."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ablate import Ablation
from .evaluate import study_curves, study_headline, study_trials
from .evaluate.ablation import SeedResult
from .evaluate.study_budget import FIRST_FINAL_SEED, Budget
from .evaluate.study_gate import PRESETS
from .evaluate.study_headline import WholeRun
from .evaluate.study_rows import (
    Row,
    blind_verdict,
    difference,
    fair_start,
    margins,
    rows_table,
    score,
    shown_above_zero,
    steering,
    taken_away,
)
from .evaluate.study_section import Section, Table, Verdict, points
from .sim_bridge.scenarios.cases import suite
from .store import history, queries
from .study_lessons import (
    ARMS,
    RANDOM,
    REPLAY_ONLY,
    SEEN,
    SFT_TERM,
    SWAPPED,
    TAKEOVER_TIMED,
    UNSEEN,
    choices,
    drive_random_timed,
)

if TYPE_CHECKING:
    from .loop import Loop, RunConfig
    from .refine.arms import Arm

BLIND = {"black": "black images", "other": "images of another case"}
AUTO_BRAKE = "generation 0 + automatic brake at TTC 2 s"
TRIALS_LEAST = 40  # fewer comparisons cannot show 5 %
SUITES = {"trained": "final", "nominal": "final_nominal", "unseen": "unseen"}


class StudyParts:
    """The parts; each method makes one.

    Args:
        loop: The home; its stages take the budget's share of steps.
        config: Of whole runs, which take all steps.
        budget: Sizes.
        folder: For pictures.
        runs: Homes of finished runs for the headline.
        deadline_s: Monotonic time after which no arm begins.
    """

    def __init__(
        self,
        loop: Loop,
        config: RunConfig,
        budget: Budget,
        folder: Path,
        runs: Sequence[Path],
        deadline_s: float,
    ) -> None:
        self._loop, self._config, self._budget, self._folder = loop, config, budget, folder
        self._runs, self._deadline_s = runs, deadline_s
        self._size = " --quick" if budget.name == "quick" else ""

    def gate(self) -> Section:
        """Operating curves of the gate, by simulation."""
        budget, progress = self._budget, self._loop.progress
        progress.stage("simulated gates", len(PRESETS) * (len(study_curves.GAINS) + len(study_curves.WORSE)))
        rounds = self._config.rounds or 5
        curves = study_curves.simulate(
            budget.gate_runs,
            budget.null_runs,
            rounds=rounds,
            seed=0,
            workers=os.cpu_count() or 1,
            told=progress.advance,
        )
        return study_curves.section(
            curves, self._folder, rounds=rounds, seed=0, command=f"loop study{self._size} --parts gate"
        )

    def rows(self) -> Section:
        """Generations, baselines and blind controls on final cases."""
        with self._loop.rollouts():  # started once, for all rows
            tail, unseen = self._generation_rows("trained"), self._generation_rows("unseen")
        base, champion, number = tail[0], self._shown(tail), self._shown_number()
        named = {row.name: row for row in tail}
        steer = difference(base.results, champion.results, keep=steering)
        beside = difference(named[AUTO_BRAKE].results, champion.results)
        stored = self._loop.evaluator.stored
        gate = self._config.gate
        verdicts = [
            fair_start(stored(0, "longtail", gate.longtail_cases), stored(0, "nominal", gate.nominal_cases)),
            shown_above_zero(
                f"generation {number}: SR gain over generation 0 on types that cannot be passed by stopping",
                steer,
            ),
            shown_above_zero(f"generation {number} against generation 0 + automatic brake (SR)", beside),
            *(
                blind_verdict(
                    f"{what} take away at least 80 % of generation {number}'s gain",
                    taken_away(
                        base.results[0], champion.results[0], named[f"generation {number}, {what}"].results[0]
                    ),
                )
                for what in BLIND.values()
            ),
            margins(base.results[0], champion.results[0], gate),
        ]
        return Section(
            name="rows",
            title="Generations and baselines on final seeds",
            text=(
                "Every row drives the same cases, which nothing was chosen by. Braking and steering types (not to be "
                "passed by stopping) are apart, decoys are neither. Gains are paired with generation 0 case by case; p is "
                "McNemar's, exact and one-sided. Phantom brakes count on decoys and nominal cases; time lost against "
                "generation 0 on cases that both pass.",
            ),
            verdicts=tuple(verdicts),
            tables=(
                rows_table(f"Trained types: {len(base.results[0].longtail)} cases", tail, base.results[0]),
                rows_table(
                    f"Unseen types: {len(unseen[0].results[0].longtail)} cases", unseen, unseen[0].results[0]
                ),
            ),
            commands=tuple(f"{row.command}  # {row.name}" for row in [*tail, *unseen]),
        )

    def arms(self) -> Section:
        """Trained arms in the table of the rows: more training, no preferences, one source, a style, random times."""
        budget = self._budget
        dose = drive_random_timed(self._loop)
        job = self._ablation(
            ARMS, budget.arm_seeds, budget.cases, budget.nominal_cases, "final", FIRST_FINAL_SEED
        )
        report = job.run(self._minutes_left())[1]
        missing = tuple(report["setting"]["missing"])
        found, start = job.results, job.start
        assert start is not None
        command = f"loop study{self._size} --parts arms --home {self._loop.home}"
        trained = [Row(arm.name, found[arm.name], command, arm.note) for arm in ARMS if arm.name in found]
        rows = [*self._generation_rows("trained"), *trained]
        return Section(
            name="arms",
            title="What teaches: trained arms beside the baselines",
            text=(
                f"Every arm starts from generation 0 and takes the same gradient steps ({100 * budget.steps:.0f} % of the "
                "configured ones for the longest arm), one trial each; what an arm has fewer of goes to its SFT or refit. "
                f"Training seeds {', '.join(map(str, budget.arm_seeds))}; intervals clustered by seed.",
                f"Dose: the home's scripted drivers drove {dose.wanted_s:.0f} s in takeovers; the random-timed control gave "
                f"{dose.given_s:.0f} s ({dose.drives} drives, {dose.pairs} admitted pairs).",
                "\n".join(f"- **{row.name}**: {row.note}." for row in trained),
            ),
            verdicts=tuple(self._arm_verdicts(found, {0: start})),
            tables=(
                rows_table(f"Trained types: {len(start.longtail)} cases", rows, start),
                self._differences(found),
                self._pair_sources(),
            ),
            commands=(command,),
            missing=missing,
        )

    def twins(self) -> Section:
        """A/A: retrained twins through the gate."""
        arm = ARMS[0]
        seeds = tuple(range(100, 100 + self._budget.twins))
        job, missing = self._trials(arm, seeds)
        trials = study_trials.twin_trials(job.results.get(arm.name, {}), self._config.gate)
        claim = "A/A: a retrained twin is promoted over its twin in at most 5 %"
        return Section(
            name="twins",
            title="A/A test: the same data, another training seed",
            text=(
                f"{len(seeds)} generations were trained from generation 0 on the same data, each with another seed of data "
                "order, noise and new weights; each is challenger of each other one on the gate's cases, with all of "
                "alpha. The comparisons share twins, so the interval is narrower than it should be.",
            ),
            verdicts=(study_trials.verdict(claim, trials, TRIALS_LEAST),),
            tables=(study_trials.table("Comparisons", trials),),
            commands=(f"loop study{self._size} --parts twins --home {self._loop.home}",),
            missing=missing,
        )

    def null(self) -> Section:
        """Null control: chosen and rejected swapped at random."""
        seeds = tuple(range(200, 200 + self._budget.null_trials))
        job, missing = self._trials(SWAPPED, seeds)
        assert job.start is not None
        trained = job.results.get(SWAPPED.name, {})
        trials = study_trials.null_trials(job.start, trained, self._config.gate)
        claim = "null: with chosen and rejected swapped at random at most 5 % are promoted over at least 40 trials"
        return Section(
            name="null",
            title="Null control: chosen and rejected swapped at random",
            text=(
                "Cheap trials from generation 0: DPO on the home's pairs, the sides of each swapped by a coin, with the "
                "usual replay, then the refit of the head on replay alone; no recoveries. All of alpha is spent on each.",
            ),
            verdicts=(study_trials.verdict(claim, trials, TRIALS_LEAST),),
            tables=(study_trials.table("Trials", trials),),
            commands=(f"loop study{self._size} --parts null --home {self._loop.home}",),
            missing=missing,
        )

    def headline(self) -> Section:
        """Whole runs: champion against generation 0."""
        runs, commands, missing = [], [], []
        for home, seed in self._run_homes():
            if time.monotonic() >= self._deadline_s:
                missing.append(f"run with seed {seed}" if seed is not None else str(home))
                continue
            runs.append(self._whole_run(home, seed))
            made = (
                f"loop run --rounds {self._budget.rounds} --seed {seed} --home {home}"
                if seed is not None
                else ""
            )
            commands += [made] if made else []
        return Section(
            name="headline",
            title="Headline: whole runs on final seeds",
            text=(
                "Champions after all rounds against their own generation 0; bootstrap clustered by run, then cases. All "
                "runs are shown, good or bad.",
            ),
            verdicts=study_headline.verdicts(runs),
            tables=(study_headline.table(runs),),
            commands=(*commands, f"loop study{self._size} --parts headline --home {self._loop.home}"),
            missing=tuple(missing),
        )

    # Rows

    def _generation_rows(self, which: str) -> list[Row]:
        """Generation 0 first, then champion and last challenger, baselines, and the blind controls of the one shown."""
        store = self._loop.store
        champion, last = history.champion(store), queries.generations(store)[-1]["generation"]
        number = self._shown_number()
        rows = [self._row("generation 0", 0, "", which)]
        for one in sorted({int(champion or 0), int(last)} - {0}):
            rows.append(
                self._row(f"generation {one}{', champion' if one == champion else ''}", one, "", which)
            )
        rows.append(self._row(AUTO_BRAKE, 0, "auto_brake", which))
        rows.append(self._row("always brake", None, "always_brake", which))
        rows.append(self._row("never brake", None, "never_brake", which))
        if which == "trained":
            for blind, what in BLIND.items():
                rows.append(self._row(f"generation {number}, {what}", number, blind, which))
        return rows

    def _shown_number(self) -> int:
        """The champion; the last generation where no round was promoted."""
        store = self._loop.store
        return int(history.champion(store) or queries.generations(store)[-1]["generation"])

    def _shown(self, rows: Sequence[Row]) -> Row:
        number = self._shown_number()
        return next(row for row in rows if row.name.split(",")[0] == f"generation {number}")

    def _row(self, name: str, generation: int | None, baseline: str, which: str) -> Row:
        cases = self._budget.unseen_cases if which == "unseen" else self._budget.cases
        tail = self._driven(self._loop, name, generation, baseline, SUITES[which], cases)
        calm = self._driven(
            self._loop, name, generation, baseline, SUITES["nominal"], self._budget.nominal_cases
        )
        last = FIRST_FINAL_SEED + cases - 1
        command = f"loop evaluate --suite {SUITES[which]} --seeds {FIRST_FINAL_SEED}-{last}"
        command += f" --model {generation}" if generation is not None else ""
        command += f" --baseline {baseline}" if baseline else ""
        return Row(name, {0: SeedResult(tail, calm)}, f"{command} --home {self._loop.home}")

    @staticmethod
    def _driven(
        loop: Loop, name: str, generation: int | None, baseline: str, suite_name: str, cases: int
    ) -> list[Any]:
        return loop.evaluator.results(
            generation,
            suite_name,
            suite(suite_name, cases, FIRST_FINAL_SEED),
            f"{name}: {suite_name}",
            baseline=baseline,
        )

    # Arms

    def _ablation(
        self,
        arms: Sequence[Arm],
        seeds: Sequence[int],
        cases: int,
        nominal: int,
        name: str,
        first: int | None,
    ) -> Ablation:
        return Ablation(
            self._loop,
            arms,
            seeds,
            cases=cases,
            nominal_cases=nominal,
            name=name,
            generation=0,
            first=first,
            choices=choices(self._loop),
        )

    def _trials(self, arm: Arm, seeds: Sequence[int]) -> tuple[Ablation, tuple[str, ...]]:
        cases, nominal = self._budget.trial_cases
        job = self._ablation([arm], seeds, cases, nominal, "longtail", None)
        report = job.run(self._minutes_left())[1]
        return job, tuple(report["setting"]["missing"])

    def _minutes_left(self) -> float:
        """For an ablation; 0 is without end."""
        left_s = self._deadline_s - time.monotonic()
        return 0.0 if left_s == float("inf") else max(left_s / 60, 1e-3)

    def _arm_verdicts(
        self, found: Mapping[str, Mapping[int, SeedResult]], start: Mapping[int, SeedResult]
    ) -> list[Verdict]:
        def against(claim: str, old: str, new: str) -> Verdict:
            there = old in found and new in found
            return shown_above_zero(claim, difference(found[old], found[new]) if there else None)

        gains = {
            "human-driven only": "gain from human-driven pairs only (SR)",
            "counterfactual only": "gain from counterfactual pairs only (SR)",
            UNSEEN: "gain when the last round's takeovers come from an unseen style (SR)",
        }
        return [
            against("takeovers teach: takeover-timed minus random-timed (SR)", RANDOM, TAKEOVER_TIMED),
            against(
                "takeovers teach: takeover-timed minus longer SFT on replay only (SR)",
                REPLAY_ONLY,
                TAKEOVER_TIMED,
            ),
            against("preferences teach: all stages minus DPO's SFT term only (SR)", SFT_TERM, TAKEOVER_TIMED),
            *(
                shown_above_zero(claim, difference(start, found[name]) if name in found else None)
                for name, claim in gains.items()
            ),
        ]

    @staticmethod
    def _differences(found: Mapping[str, Mapping[int, SeedResult]]) -> Table:
        """Arms against each other."""
        rows = []
        for new, old in (
            (TAKEOVER_TIMED, RANDOM),
            (TAKEOVER_TIMED, REPLAY_ONLY),
            (TAKEOVER_TIMED, SFT_TERM),
            (TAKEOVER_TIMED, "human-driven only"),
            (TAKEOVER_TIMED, "counterfactual only"),
            (UNSEEN, SEEN),
        ):
            if new in found and old in found:
                sr, ds = difference(found[old], found[new]), difference(found[old], found[new], score)
                rows.append((f"{new} minus {old}", points(sr), points(ds, 1.0)))
        return Table("Differences between arms", ("difference", "SR [points]", "DS"), tuple(rows))

    def _pair_sources(self) -> Table:
        """Admitted pairs by source."""
        counts: dict[str, list[int]] = {}
        for row in queries.pair_counts(self._loop.store):
            of = counts.setdefault(row["source"], [0, 0])
            of[0] += row["pairs"]
            of[1] += row["pairs"] if row["admitted"] else 0
        total = sum(admitted for _, admitted in counts.values())
        return Table(
            "Pairs of the home by source",
            ("source", "candidates", "admitted", "share of admitted [%]"),
            tuple(
                (name, str(all_), str(admitted), f"{100 * admitted / max(total, 1):.0f}")
                for name, (all_, admitted) in sorted(counts.items())
            ),
        )

    # Whole runs

    def _run_homes(self) -> list[tuple[Path, int | None]]:
        """Homes of the runs, with the seed of those that the study makes itself."""
        if self._runs:
            return [(home, None) for home in self._runs]
        made = [(self._loop.home / "study" / "runs" / f"seed-{seed}", seed) for seed in self._budget.runs]
        return list(made) or [(self._loop.home, None)]

    def _whole_run(self, home: Path, seed: int | None) -> WholeRun:
        from .loop import Loop

        loop = self._loop
        if home.resolve() != loop.home:
            update = {"seed": seed if seed is not None else self._config.seed, "rounds": self._budget.rounds}
            loop = Loop(home, self._config.model_copy(update=update), self._loop.progress)
        if seed is not None:
            loop.run()
        store = loop.store
        champion, generations = history.champion(store) or 0, queries.generations(store)
        rounds = queries.rounds(store)

        def both(number: int) -> SeedResult:
            title, budget = f"{home.name}: generation {number}", self._budget
            tail = self._driven(loop, title, number, "", SUITES["trained"], budget.cases)
            return SeedResult(
                tail, self._driven(loop, title, number, "", SUITES["nominal"], budget.nominal_cases)
            )

        return WholeRun(
            name=home.name if seed is None else f"seed {seed}",
            champion=champion,
            promoted=sum(row["outcome"] == "promote" for row in rounds),
            rounds=len(rounds),
            start=both(0),
            end=both(champion),
            last=both(int(generations[-1]["generation"])),
        )
