"""How much of everything the study does: the protocol's sizes, or small ones that show the same tables in minutes.

Seeds are fixed here, before any result.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_FINAL_SEED = 20_040  # lower final seeds were looked at while the scenarios were made
RUN_SEEDS = (101, 102, 103)  # of the headline's whole runs (proof.md 15)
PARTS = ("gate", "rows", "arms", "twins", "null", "headline")


@dataclass(frozen=True, slots=True)
class Budget:
    """Sizes.

    Attributes:
        name: full or quick.
        gate_runs: Simulated generations of each operating point of the gate.
        null_runs: Simulated whole runs of equal generations.
        cases: Final cases of trained types.
        nominal_cases: Final cases of everyday driving.
        unseen_cases: Final cases of unseen types.
        arm_seeds: Training seeds of each arm.
        steps: Share of the configured gradient steps that arms, twins and null trials take.
        twins: Retrained twins of the A/A test.
        null_trials: Trials of the null control.
        trial_cases: Gate cases of twins and trials: long tail, nominal.
        runs: Seeds of the headline's whole runs; none takes the home itself as the only run.
        rounds: Rounds of each.
    """

    name: str
    gate_runs: int
    null_runs: int
    cases: int
    nominal_cases: int
    unseen_cases: int
    arm_seeds: tuple[int, ...]
    steps: float
    twins: int
    null_trials: int
    trial_cases: tuple[int, int]
    runs: tuple[int, ...]
    rounds: int = 5


FULL = Budget(
    "full",
    gate_runs=200,
    null_runs=1000,
    cases=100,
    nominal_cases=48,
    unseen_cases=40,
    arm_seeds=(0, 1, 2),
    steps=1.0,
    twins=7,
    null_trials=40,
    trial_cases=(64, 24),
    runs=RUN_SEEDS,
)
QUICK = Budget(
    "quick",
    gate_runs=10,
    null_runs=60,
    cases=30,
    nominal_cases=9,
    unseen_cases=10,
    arm_seeds=(0,),
    steps=0.25,
    twins=3,
    null_trials=3,
    trial_cases=(30, 9),
    runs=(),
)
