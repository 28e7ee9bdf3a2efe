"""The rows of docs/results.md: champion against generation 0 on final-role cases, beside the baselines of proof.md 3.

    python -P benchmarks/first_figures.py HOME [--cases 100] [--first 20040] > table.md

HOME holds a finished `loop run`. Every row drives the same cases; results are kept in HOME, so a second call is quick.
Seeds below 20040 were looked at while the scenarios were made, so they are left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from takeover.config import load_config
from takeover.evaluate.closed_loop import CaseResult, evaluate_cases
from takeover.evaluate.summary import summarise
from takeover.loop import Loop, RunConfig
from takeover.progress import RichProgress
from takeover.scoring.statistics import mcnemar_test, paired_bootstrap
from takeover.sim_bridge.scenarios.cases import suite
from takeover.store import history, queries


def main() -> None:
    """Drive what is missing and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--first", type=int, default=20040)
    parser.add_argument("--generations", type=int, nargs="*", help="default: champion and the last one")
    parser.add_argument("--suites", nargs="*", choices=("trained", "nominal", "unseen"), help="default: all")
    asked = parser.parse_args()
    with RichProgress() as progress:
        loop = Loop(asked.home, load_config(RunConfig), progress)
        champion = history.champion(loop.store)
        last = queries.generations(loop.store)[-1]["generation"]
        suites = {
            "trained types": ("final", suite("final", asked.cases, asked.first)),
            "nominal": ("final_nominal", suite("final_nominal", 48, asked.first)),
            "unseen types": ("unseen", suite("unseen", 40, asked.first)),
        }
        rows: list[tuple[str, int | None, str]] = [("generation 0", 0, "")]
        shown = asked.generations or sorted({int(champion or 0), int(last)} - {0})
        for number in shown:
            rows.append((f"generation {number}{', champion' if number == champion else ''}", number, ""))
        rows += [
            ("generation 0 + automatic brake at TTC 2 s", 0, "auto_brake"),
            ("always brake", None, "always_brake"),
            ("never brake", None, "never_brake"),
            (f"generation {shown[-1]}, black pictures", shown[-1], "black"),
        ]
        progress.say(f"champion: generation {champion}")
        for title, (name, cases) in suites.items():
            if asked.suites and title.split()[0] not in asked.suites:
                continue
            found = {
                row: loop.evaluator.results(g, name, cases, f"{row} on {name}", baseline=b)
                for row, g, b in rows
            }
            if title == "trained types":
                found["generation 0 + SFT on replay only"] = _longer_sft(loop, cases)
            _table(title, found)


def _longer_sft(loop: Loop, cases: list) -> list[CaseResult]:  # type: ignore[type-arg]
    """Generation 0 with the gradient steps of all rounds, on replay alone: more training, no takeovers."""
    from takeover.refine.refit import refit_head
    from takeover.refine.sft import run_sft

    policy = loop.champions.policy(0, fresh=True)
    rounds = len(queries.rounds(loop.store))
    config = loop.config.refine
    steps = rounds * (config.sft.max_steps + config.dpo.max_steps + config.grpo.max_steps)
    replay = loop._replay(loop._expert_drives())
    loop.progress.stage("SFT on replay only", steps)
    run_sft(
        policy,
        [],
        config.sft.model_copy(update={"max_steps": steps, "replay_share": 1.0}),
        0,
        lambda *_: loop.progress.advance(),
        loop.home / "stages" / "replay_only",
        replay=replay,
    )
    some = np.random.default_rng(0).permutation(len(replay))[: config.refit.max_samples]
    refit_head(policy, [replay[i] for i in some], config.refit, 0)
    loop.progress.stage("SFT on replay only, driven", len(cases))
    with loop.rollouts() as fleet:
        return evaluate_cases(
            fleet, cases, policy, generation="replay", on_result=lambda _: loop.progress.advance()
        )


def _table(title: str, rows: dict[str, list[CaseResult]]) -> None:
    base = rows["generation 0"]
    out = sys.stdout.write
    out(f"\n### {title}: {len(base)} cases\n\n")
    out(
        "| row | SR [%] | DS | braking SR | steering SR | decoys SR | collisions/km | phantom/km | standstill [%] |"
    )
    out(
        " SR gain [points] | DS gain | gained, lost, p |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    for name, results in rows.items():
        s = summarise(results)
        parts = []
        for keep in (lambda r: r.braking, lambda r: not r.braking and not r.calm):
            chosen = [r.success for r in results if keep(r) and not r.case.decoy]
            parts.append(f"{100 * np.mean(chosen):.0f}" if chosen else "–")
        decoys = [r.success for r in results if r.case.decoy]
        parts.append(f"{100 * np.mean(decoys):.0f}" if decoys else "–")
        out(
            f"| {name} | {100 * s.sr:.1f} [{100 * s.sr_interval[0]:.0f}, {100 * s.sr_interval[1]:.0f}] | {s.ds:.1f} | "
        )
        out(" | ".join(parts))
        out(f" | {s.collisions_per_km:.1f} | {s.phantom_per_km:.1f} | {100 * s.standstill_share:.1f} | ")
        if results is base:
            out("– | – | – |\n")
            continue
        sr = paired_bootstrap(
            [float(b.success) - float(a.success) for a, b in zip(base, results, strict=True)], seed=0
        )
        ds = paired_bootstrap([b.ds - a.ds for a, b in zip(base, results, strict=True)], seed=0)
        gained = sum(b.success and not a.success for a, b in zip(base, results, strict=True))
        lost = sum(a.success and not b.success for a, b in zip(base, results, strict=True))
        out(f"{100 * sr.mean:+.1f} [{100 * sr.lower:+.1f}, {100 * sr.upper:+.1f}] | ")
        out(
            f"{ds.mean:+.1f} [{ds.lower:+.1f}, {ds.upper:+.1f}] | {gained}, {lost}, {mcnemar_test(gained, lost):.4f} |\n"
        )


if __name__ == "__main__":
    main()
