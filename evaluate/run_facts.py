"""What a run came to, read from the store alone: the facts behind `loop run`'s table and behind the pages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..config import GateConfig, LoopConfig
from ..errors import RegistryError, UsageError
from ..models.manifest import read_manifest
from ..scoring.statistics import mcnemar_power, poisson_interval
from ..sim_bridge.scenarios.cases import ALL_TYPES, BRAKING_TYPES, NOMINAL_TYPES, suite
from ..store import history, queries
from ..store.database import DATABASE, Store
from ..vocabulary import Case
from .caution_ledger import MIN_KM, CautionRow, ledger
from .closed_loop import BASELINES, CaseResult
from .forgetting import SUITE as TAKEOVERS
from .forgetting import Triangle, known_triangle, takeover_cases
from .results import all_results, from_row
from .summary import SuiteSummary, summarise
from .takeover_cases import SUITE as CERTIFIED

Known = Mapping[
    tuple[str, str], Mapping[Case, CaseResult]
]  # by what drove (weights and setting, or a baseline) and suite
SHORT = 8  # characters of an id that name a takeover unless its drive has two
ALL = 1_000_000  # more cases than any round has


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """One line of the final table.

    Attributes:
        generation: Number; 0 is the start.
        gate: start | promote | reject | inconclusive.
        sr: Long-tail success rate in [0, 1] with its 95 % interval.
        ds: Mean long-tail driving score, 0 to 100, with its 95 % interval.
        sr_nominal: Nominal success rate in [0, 1]; None when the gate gave up before the nominal cases.
        takeovers_per_km: While it drove in the collect stage; None before it has driven.
        collisions_per_km: On the long-tail gate cases.
        phantom_per_km: Phantom brakes, all gate cases.
        standstill_share: Share of the time stood still, all gate cases.
        p_value: Of the primary test against the champion; None for generation 0.
        champion: Whether it is the champion now.
        cases: Long-tail cases driven; fewer than the suite when the gate gave up early.
    """

    generation: int
    gate: str
    sr: float
    sr_interval: tuple[float, float]
    ds: float
    ds_interval: tuple[float, float]
    sr_nominal: float | None
    takeovers_per_km: float | None
    collisions_per_km: float
    phantom_per_km: float
    standstill_share: float
    p_value: float | None
    champion: bool
    cases: int


@dataclass(frozen=True, slots=True)
class TypeRow:
    """A scenario type: by generation, cases passed and driven. `group` is everyday, braking, steering or decoys."""

    group: str
    name: str
    cells: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class FinalRow:
    """What was measured on final seeds, which decide nothing; each part is None until it is driven."""

    name: str
    longtail: SuiteSummary | None
    nominal: SuiteSummary | None
    unseen: SuiteSummary | None


@dataclass(frozen=True, slots=True)
class RoundRow:
    """What a round drove and what it took.

    Attributes:
        round: Its number.
        drivers: Generations that drove while a driver watched.
        episodes: Drives.
        driven_km: Of them.
        takeovers: In them.
        per_km: Takeovers per km, None without exposure.
        interval: Exact 95 % interval of that rate.
        seconds: By step.
        stages: The refinement's stages with their seconds, or why they did nothing.
    """

    round: int
    drivers: tuple[str, ...]
    episodes: int
    driven_km: float
    takeovers: int
    per_km: float | None
    interval: tuple[float, float] | None
    seconds: dict[str, float]
    stages: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Everything that the page of a run shows, apart from its pictures.

    Attributes:
        run_id: The run.
        champion: Generation that has the car now.
        rows: One a generation that the gate's cases have seen.
        decisions: The gate's evidence, one a round.
        ledger: Over-caution, one a generation.
        triangle: Forgetting in the takeovers' scenes; None until `loop report --triangle` has driven it.
        certified: The same on certified takeovers; None until some are certified and driven.
        types: Success by scenario type, gate cases.
        finals: Success on final seeds, baselines included, as far as it was measured.
        rounds: What the rounds drove and took.
        seconds: Wall time by step, all sittings of the run together.
        takeovers: Every takeover of the run's rounds, with the generations that learnt from it.
        origins: One a generation: version, parent, hashes.
        power_note: Size and power of the gate.
    """

    run_id: str
    champion: int
    rows: tuple[GenerationRow, ...]
    decisions: tuple[dict[str, Any], ...]
    ledger: tuple[CautionRow, ...]
    triangle: Triangle | None
    certified: Triangle | None
    types: tuple[TypeRow, ...]
    finals: tuple[FinalRow, ...]
    rounds: tuple[RoundRow, ...]
    seconds: dict[str, float]
    takeovers: tuple[dict[str, Any], ...]
    origins: tuple[dict[str, Any], ...]
    power_note: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain


def run_named(store: Store, text: str = "") -> str:
    """A run's id by its beginning; the newest without one.

    Raises:
        UsageError: There is none, or several begin so; the message names them.
    """
    rows = queries.steps(store) if (store.home / DATABASE).exists() else []
    runs = list(dict.fromkeys(row["run_id"] for row in rows))
    if not runs:
        raise UsageError(f"{store.home} holds no run", fix="`loop run --rounds 5` makes one, or give --home")
    found = [name for name in runs if name.startswith(text)] if text else runs[-1:]
    if len(found) != 1:
        several = f"{len(found)} runs begin" if found else "no run begins"
        raise UsageError(f"{several} with `{text}`", fix=f"runs here: {', '.join(runs)}")
    return found[0]


def run_facts(store: Store, run_id: str, config: LoopConfig) -> RunFacts:
    """Read a run back.

    Args:
        store: The index.
        run_id: The run.
        config: Sizes of the gate's suites, and with which decoder generations drove.

    Raises:
        UsageError: No generation has the car yet.
    """
    champion = history.champion(store)
    if champion is None:
        raise UsageError(
            "there is no generation yet, so nothing to report", fix="`loop run --rounds 5` makes some"
        )
    generations = queries.generations(store)
    decisions = queries.rounds(store, run_id=run_id)
    p_values = {int(d["challenger"]): float(d["details"]["p_value"]) for d in decisions}
    known, gate = all_results(store), config.gate
    made = {
        int(g["generation"]): int(g["round"])
        for g in generations
        if g["run_id"] == run_id or g["generation"] == 0  # the first one whoever made it
    }
    keys = {int(g["generation"]): f"{g['sha256']}{config.policy.setting}" for g in generations}
    driven = {number: gate_results(known, key, gate) for number, key in keys.items()}
    rates = history.takeovers_per_km(store)
    both = {number: [*tail, *nominal] for number, (tail, nominal) in driven.items()}
    parents = {int(g["generation"]): g["parent"] for g in generations}
    alpha = float(decisions[0]["details"]["alpha"]) if decisions else gate.alpha
    return RunFacts(
        run_id=run_id,
        champion=champion,
        rows=tuple(
            _row(g, *driven[int(g["generation"])], champion, p_values, rates)
            for g in generations
            if driven[int(g["generation"])][0]
        ),
        decisions=tuple({"round": d["round"], **_sides(d), **d["details"]} for d in decisions),
        ledger=tuple(ledger(both, parents)),
        triangle=_triangle(store, run_id, made, keys, known),
        certified=_certified(store, run_id, made, keys),
        types=type_rows(both),
        finals=_finals(keys, known),
        rounds=_rounds(store, run_id),
        seconds=history.step_seconds(store, run_id),
        takeovers=_takeovers(store, run_id),
        origins=tuple(_origin(store, g) for g in generations),
        power_note=_power(gate, alpha),
    )


def gate_results(known: Known, key: str, gate: GateConfig) -> tuple[list[CaseResult], list[CaseResult]]:
    """What is known under a key (weights and setting) on the gate's cases: long tail, and nominal."""

    def of(name: str, cases: int) -> list[CaseResult]:
        found = known.get((key, name), {})
        return [found[case] for case in suite(name, cases) if case in found]

    return of("longtail", gate.longtail_cases), of("nominal", gate.nominal_cases)


def type_rows(results: Mapping[int, Sequence[CaseResult]]) -> tuple[TypeRow, ...]:
    """Success by scenario type, decoys apart, for each generation that has driven.

    Args:
        results: By generation, any suites together.
    """
    cells: dict[tuple[str, str], dict[int, tuple[int, int]]] = {}
    for number, some in results.items():
        for result in some:
            mine = cells.setdefault((_group(result), result.case.scenario), {})
            passed, cases = mine.get(number, (0, 0))
            mine[number] = passed + result.success, cases + 1
    order = {name: at for at, name in enumerate(ALL_TYPES)}
    groups = ("everyday", "braking", "steering", "decoys")
    keys = sorted(cells, key=lambda key: (groups.index(key[0]), order[key[1]]))
    return tuple(TypeRow(group, name, cells[group, name]) for group, name in keys)


def _group(result: CaseResult) -> str:
    if result.case.decoy:
        return "decoys"
    if result.case.scenario in NOMINAL_TYPES:
        return "everyday"
    return "braking" if result.case.scenario in BRAKING_TYPES else "steering"


def _row(
    generation: dict[str, Any],
    longtail: list[CaseResult],
    nominal: list[CaseResult],
    champion: int,
    p_values: Mapping[int, float],
    rates: Mapping[int, float],
) -> GenerationRow:
    number = int(generation["generation"])
    tail, both = summarise(longtail), summarise([*longtail, *nominal])
    return GenerationRow(
        generation=number,
        gate=generation["gate"] or "inconclusive",
        sr=tail.sr,
        sr_interval=tail.sr_interval,
        ds=tail.ds,
        ds_interval=tail.ds_interval,
        sr_nominal=summarise(nominal).sr if nominal else None,
        takeovers_per_km=rates.get(number),
        collisions_per_km=tail.collisions_per_km,
        phantom_per_km=both.phantom_per_km,
        standstill_share=both.standstill_share,
        p_value=p_values.get(number),
        champion=number == champion,
        cases=tail.cases,
    )


def _sides(decision: dict[str, Any]) -> dict[str, Any]:
    return {"champion": int(decision["champion"]), "challenger": int(decision["challenger"])}


def _triangle(
    store: Store, run_id: str, made: Mapping[int, int], keys: Mapping[int, str], known: Known
) -> Triangle | None:
    """In the scenes of the run's takeovers; `made` has the generations that count with their rounds."""
    driven = {g: known[keys[g], TAKEOVERS] for g in made if (keys[g], TAKEOVERS) in known}
    return known_triangle(driven, made, takeover_cases(store, run_id, ALL)) if driven else None


def _certified(
    store: Store, run_id: str, made: Mapping[int, int], keys: Mapping[int, str]
) -> Triangle | None:
    """On the run's takeovers that are certified as cases, by takeover."""
    admitted = {row["takeover_id"] for row in queries.certified(store)}
    by_round: dict[int, list[str]] = {}
    for row in queries.round_takeovers(store, run_id) if admitted else ():
        if row["takeover_id"] in admitted:
            by_round.setdefault(int(row["round"]), []).append(row["takeover_id"])
    owners = {keys[g]: g for g in made}
    driven: dict[int, dict[str, CaseResult]] = {}
    for row in queries.evaluations(store, suite=CERTIFIED):
        if row["weights_sha256"] in owners:
            driven.setdefault(owners[row["weights_sha256"]], {})[row["case_id"]] = from_row(row)
    return known_triangle(driven, made, by_round) if driven else None


def _finals(keys: Mapping[int, str], known: Known) -> tuple[FinalRow, ...]:
    """Baselines first as they need no generation; a baseline on top of a generation's weights bears both names."""
    names = {key: key.replace("_", " ") for key in BASELINES if "planner" in BASELINES[key]}
    for number, key in keys.items():
        names[key] = f"generation {number}"
        names[f"{key}+auto_brake"] = f"generation {number}, automatic brake"
        names[f"{key}+black"] = f"generation {number}, black pictures"
    rows = []
    for key, name in names.items():
        parts = [list(known.get((key, part), {}).values()) for part in ("final", "final_nominal", "unseen")]
        if any(parts):
            rows.append(FinalRow(name, *(summarise(part) if part else None for part in parts)))
    return tuple(rows)


def _rounds(store: Store, run_id: str) -> tuple[RoundRow, ...]:
    """Every round of the run that has begun; round 0 made the first generation."""
    exposure: dict[int, queries.Rows] = {}
    for row in queries.round_exposure(store, run_id):
        exposure.setdefault(int(row["round"]), []).append(row)
    reports: dict[int, list[dict[str, Any]]] = {}
    seconds: dict[int, dict[str, float]] = {}
    for step in queries.steps(store, run_id=run_id):
        number, spent = int(step["round"]), float(step["payload"].get("seconds", 0.0))
        seconds.setdefault(number, {})[step["name"]] = spent
        reports.setdefault(number, []).extend(step["payload"].get("stages", ()))
    rows = []
    for number in sorted(seconds):
        some = exposure.get(number, [])
        km, events = sum(row["driven_km"] for row in some), sum(row["takeovers"] for row in some)
        rows.append(
            RoundRow(
                number,
                tuple(str(row["generation"]) for row in some),
                sum(row["episodes"] for row in some),
                km,
                events,
                events / km if km > MIN_KM else None,
                poisson_interval(events, km) if km > MIN_KM else None,
                seconds[number],
                tuple(
                    {key: one[key] for key in ("stage", "seconds", "skipped_reason", "stopped_reason")}
                    for one in reports.get(number, ())
                ),
            )
        )
    return tuple(rows)


def _takeovers(store: Store, run_id: str) -> tuple[dict[str, Any], ...]:
    """Takeovers with what the page says of them: `name` for `loop trace`, `learnt` by generations that trained on it."""
    learnt: dict[str, list[int]] = {}
    for row in store.query(
        "SELECT DISTINCT takeover_id, generation FROM generation_data WHERE takeover_id <> '' ORDER BY generation"
    ):
        learnt.setdefault(row["takeover_id"], []).append(int(row["generation"]))
    left: dict[str, dict[str, int]] = {}
    for row in store.query(
        "SELECT takeover_id, reject_reason, count(*) AS n FROM pairs WHERE NOT admitted AND takeover_id <> '' "
        "GROUP BY ALL ORDER BY n DESC, reject_reason"
    ):
        left.setdefault(row["takeover_id"], {})[row["reject_reason"]] = int(row["n"])
    columns = (
        *("takeover_id", "round", "case_id", "scenario", "generation", "driver_id", "reason", "hazard", "verdict"),
        *("trains", "relapse", "onset_tick", "handback_tick", "min_ttc_before_s", "admitted", "path"),
    )  # fmt: skip
    rows = queries.round_takeovers(store, run_id)
    alike = Counter(row["takeover_id"][:SHORT] for row in rows)
    return tuple(
        {
            **{name: row[name] for name in columns},
            "name": row["takeover_id"]
            if alike[row["takeover_id"][:SHORT]] > 1
            else row["takeover_id"][:SHORT],
            "left_out": left.get(row["takeover_id"], {}),
            "learnt": learnt.get(row["takeover_id"], []),
        }
        for row in rows
    )


def _origin(store: Store, generation: dict[str, Any]) -> dict[str, Any]:
    """Hashes of a generation, from the manifest beside its weights; without it only what our own log holds."""
    known = {
        name: generation[name] for name in ("generation", "version", "parent", "round", "run_id", "sha256")
    }
    known["made_utc"] = generation["created_utc"]
    try:
        manifest = read_manifest(store.home / generation["path"])
    except RegistryError:
        return {**known, "data_sha256": "", "config_sha256": "", "code_sha256": "", "seed": None, "base": ""}
    origin = manifest["provenance"]
    names = ("data_sha256", "config_sha256", "code_sha256", "seed", "base")
    return {**known, **{name: origin[name] for name in names}}


def _power(gate: GateConfig, alpha: float) -> str:
    power = mcnemar_power(gate.longtail_cases, 0.25, 0.10, alpha)
    judged = "point estimates" if gate.guards == "point" else "one-sided 95 % bounds"
    return (
        f"{gate.longtail_cases} long-tail and {gate.nominal_cases} nominal cases, alpha {alpha:.3f} a round; power "
        f"{power:.2f} for a gain of 15 points (25 % gained, 10 % lost); guards judged by their {judged}"
    )
