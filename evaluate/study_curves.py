"""The gate's operating curves: false promotions, power by true gain, regressions that it catches (proof.md 11 to 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from .study_gate import PRESETS, Change, Point, Population, Preset, Simulation
from .study_section import Section, Table, Verdict, percent

GAINS = tuple(
    Change(f"{100 * gain:+.0f} points" if gain else "none", gain)
    for gain in (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
)
TENTH = (
    Change("long tail −10", longtail=-0.10),
    Change("long tail +15, everyday driving −10", longtail=0.15, nominal=-0.10),
    Change("long tail +15, of which steering types −10", longtail=0.15, steering=-0.10),
)
WORSE = (
    *TENTH,
    Change("long tail +15, phantom brakes × 4", longtail=0.15, phantom=4.0),
    Change("long tail +15, standstill share +10", longtail=0.15, standstill=0.10),
)
FALSE_MAX, CAUGHT_MIN = 0.05, 0.95
LEAST = 200  # generations that show what share is caught

Curves = dict[str, list[Point]]  # by preset: the gains, then what got worse


def simulate(
    runs: int,
    null_runs: int,
    *,
    rounds: int,
    seed: int,
    workers: int,
    presets: Sequence[Preset] = PRESETS,
    population: Population = Population(),
    told: Callable[[], None] = lambda: None,
) -> Curves:
    """Operating points of each preset.

    Args:
        runs: Generations of each point, each in the first round of a run of its own.
        null_runs: Whole runs of equal generations, which cost little: most of them never reach the guards.
        rounds: Of a run.
        seed: Of everything; the result does not depend on the workers.
        workers: Processes.
        presets: Gates.
        population: What outcomes look like.
        told: Called after each point.
    """
    changes = (*GAINS, *WORSE)
    jobs = [
        (preset, population, change, rounds, seed + 1000 * index, null_runs if change is GAINS[0] else runs)
        for preset in presets
        for index, change in enumerate(changes)
    ]
    found: dict[int, Point] = {}
    # Largest first, each in a process of its own; none of them imports the training stack.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        order = sorted(range(len(jobs)), key=lambda i: -jobs[i][0].looks[-1][0])
        waiting = {pool.submit(_point, *jobs[i]): i for i in order}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            told()
    points = [found[i] for i in range(len(jobs))]
    size = len(changes)
    return {preset.name: points[i * size : (i + 1) * size] for i, preset in enumerate(presets)}


def _point(
    preset: Preset, population: Population, change: Change, rounds: int, seed: int, runs: int
) -> Point:
    return Simulation(preset, population, rounds, seed).point(
        change, runs, judged=min(runs, LEAST), whole_runs=change == GAINS[0]
    )


def section(
    curves: Curves, folder: Path, *, rounds: int, seed: int, command: str, presets: Sequence[Preset] = PRESETS
) -> Section:
    """Tables, verdicts and the picture.

    Args:
        curves: Of `simulate`.
        folder: Where the picture goes.
        rounds: Of a run.
        seed: Of the simulation.
        command: That makes this again.
        presets: Gates of the curves.
    """
    population = Population()
    picture(curves, folder / "gate_curves.png")
    verdicts = [verdict for preset in presets for verdict in _verdicts(preset.name, curves[preset.name])]
    return Section(
        name="gate",
        title="How often the gate is right: operating curves by simulation",
        text=(
            "Made-up outcomes whose truth is known, judged by the gate itself (`evaluate.gate.decide` and `futile`). "
            f"Equal generations in whole runs of {rounds} rounds, each with another challenger of the same champion on the "
            f"same cases; the others in the first round of a run of their own; seed {seed}. Assumed of the outcomes, after "
            "measured rounds: "
            + ", ".join(f"{name} {value:g}" for name, value in asdict(population).items())
            + ".",
            *(f"`{preset.name}`: {_described(preset)}." for preset in presets),
            "*Caught* means not promoted; *rejected* is stronger: the gate says that the challenger is worse.",
        ),
        verdicts=tuple(verdicts),
        tables=(
            _table("Power by true gain on the long tail", presets, curves, range(len(GAINS))),
            _table(
                "Challengers that got worse",
                presets,
                curves,
                range(len(GAINS), len(GAINS) + len(WORSE)),
                worse=True,
            ),
        ),
        pictures=(("gate_curves.png", "power of each preset by true gain; false promotions a run"),),
        commands=(command,),
    )


def picture(curves: Curves, path: Path) -> Path:
    """Share of promotions by true gain, with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), dpi=110, layout="constrained")
    for name, points in curves.items():
        gains = points[: len(GAINS)]
        x = [100 * point.change.longtail for point in gains]
        y = [100 * point.promoted for point in gains]
        low, high = zip(*(point.promoted_interval for point in gains), strict=True)
        spread = [
            [max(a - 100 * b, 0.0) for a, b in zip(y, low, strict=True)],
            [max(100 * b - a, 0.0) for a, b in zip(y, high, strict=True)],
        ]
        axes[0].errorbar(x, y, yerr=spread, marker="o", capsize=3, label=name)
    axes[0].set_xlabel("true gain on the long tail [points]")
    axes[0].set_ylabel("promoted in one round [%]")
    axes[0].set_ylim(-2, 102)
    axes[0].legend()
    worse = [point for points in curves.values() for point in points[len(GAINS) :]]
    names = [
        f"{name}: {point.change.name}" for name, points in curves.items() for point in points[len(GAINS) :]
    ]
    axes[1].barh(range(len(worse)), [100 * (1 - point.promoted) for point in worse], color="#3b6ea5")
    axes[1].axvline(100 * CAUGHT_MIN, color="#c0392b", linewidth=1)
    axes[1].set_yticks(range(len(worse)), names, fontsize=7)
    axes[1].set_xlim(0, 101)
    axes[1].set_xlabel("caught: not promoted [%]")
    for axis in axes:
        axis.grid(alpha=0.25)
    figure.savefig(path)
    pyplot.close(figure)
    return path


def _verdicts(name: str, points: Sequence[Point]) -> Iterable[Verdict]:
    null, tenth = points[0], points[len(GAINS) : len(GAINS) + len(TENTH)]
    low, high = null.runs_interval
    yield Verdict(
        f"`{name}` gate: false promotion in at most 5 % of runs (simulated)",
        f"{percent(null.runs_promoted, null.runs_interval)} % of {null.runs} runs, {null.generations} generations",
        "met" if high <= FALSE_MAX else "missed" if low > FALSE_MAX else "not shown",
    )
    least = min(tenth, key=lambda point: 1 - point.promoted)
    caught = 1 - least.promoted
    low, high = 1 - least.promoted_interval[1], 1 - least.promoted_interval[0]
    yield Verdict(
        f"`{name}` gate: a true 10-point regression caught in at least 95 % (simulated; the worst kind)",
        f"{percent(caught, (low, high))} % ({least.change.name})",
        "missed"
        if high < CAUGHT_MIN
        else "met"
        if caught >= CAUGHT_MIN and least.generations >= LEAST
        else "not shown",
    )


def _described(preset: Preset) -> str:
    looks = ", then ".join(
        f"{longtail} long-tail and {nominal} nominal" for longtail, nominal in preset.looks
    )
    config = preset.config
    spent = f", alpha {config.alpha} spent over rounds" + (" and looks" if len(preset.looks) > 1 else "")
    judged = "their point estimate" if config.guards == "point" else "their one-sided 95 % bound"
    return f"{looks} cases{spent}; guards by {judged}"


def _table(
    title: str, presets: Sequence[Preset], curves: Curves, rows: Iterable[int], *, worse: bool = False
) -> Table:
    head = ["preset", "true difference", "generations", "promoted in a round [%]", "promoted in a run [%]"]
    head += ["caught [%]", "rejected [%]"] if worse else ["rejected [%]"]
    cells = []
    for preset in presets:
        for index in rows:
            point = curves[preset.name][index]
            row = [preset.name, point.change.name, str(point.generations)]
            row += [percent(point.promoted, point.promoted_interval)]
            row += [percent(point.runs_promoted, point.runs_interval)]
            row += [f"{100 * (1 - point.promoted):.1f}"] if worse else []
            cells.append((*row, percent(point.rejected)))
    return Table(title, tuple(head), tuple(cells))
