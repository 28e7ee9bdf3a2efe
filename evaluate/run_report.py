"""What a run came to, from the store: the final table, the plot and the page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config import LoopConfig
from ..scoring.statistics import mcnemar_power
from ..sim_bridge.scenarios.cases import suite
from ..store import history, queries
from ..store.database import Store
from .closed_loop import CaseResult
from .report import GenerationRow, page, plot
from .results import from_row
from .summary import summarise


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run came to.

    Attributes:
        rounds: Rounds that are done.
        promoted: Rounds whose challenger was promoted.
        champion: Generation that has the car now.
        rows: One a generation.
        decisions: The gate's evidence, one a round.
        seconds: Wall time by stage, all sittings of the run together.
        sitting_s: Wall time of this sitting.
        power_note: Size and power of the gate.
        picture: The plot.
        page: The HTML page.
    """

    rounds: int
    promoted: int
    champion: int
    rows: tuple[GenerationRow, ...]
    decisions: tuple[dict[str, Any], ...]
    seconds: dict[str, float]
    sitting_s: float
    power_note: str
    picture: Path
    page: Path

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain


def write_summary(store: Store, run_id: str, home: Path, config: LoopConfig, sitting_s: float) -> RunSummary:
    """Read the run back, write `loop_report.png` and `loop_report.html` into the home.

    Args:
        store: The index.
        run_id: The run.
        home: Where to write.
        config: Sizes of the gate's suites, and with which decoder generations drove.
        sitting_s: Wall time of this sitting.
    """
    champion, gate = history.champion(store), config.gate
    if champion is None:
        raise ValueError("a run has a champion once generation 0 is deployed")
    decisions = tuple(queries.rounds(store, run_id=run_id))
    p_values = {int(d["challenger"]): float(d["details"]["p_value"]) for d in decisions}
    rows = tuple(
        _row(store, generation, config, champion, p_values.get(int(generation["generation"])))
        for generation in queries.generations(store)
        if _known(store, generation, config, "longtail", gate.longtail_cases)
    )
    picture = plot(rows, home / "loop_report.png")
    seconds = history.step_seconds(store, run_id)
    said = [
        {"round": d["round"], "outcome": d["outcome"], "reason": d["details"]["reason"]} for d in decisions
    ]
    html = page(
        rows,
        said,
        seconds,
        picture,
        home / "loop_report.html",
        f"loop run {run_id}: champion is generation {champion}",
    )
    alphas = ", ".join(f"{d['details']['alpha']:.3f}" for d in decisions[:1]) or f"{gate.alpha:.3f}"
    power = mcnemar_power(gate.longtail_cases, 0.25, 0.10, float(alphas))
    return RunSummary(
        rounds=len(decisions),
        promoted=sum(d["outcome"] == "promote" for d in decisions),
        champion=champion,
        rows=rows,
        decisions=tuple({"round": d["round"], **d["details"]} for d in decisions),
        seconds=seconds,
        sitting_s=sitting_s,
        power_note=f"{gate.longtail_cases} long-tail and {gate.nominal_cases} nominal cases, alpha {alphas} a round; power "
        f"{power:.2f} for a gain of 15 points (25 % gained, 10 % lost); guards judged by their "
        f"{'point estimates' if gate.guards == 'point' else 'one-sided 95 % bounds'}",
        picture=picture,
        page=html,
    )


def _row(
    store: Store, generation: dict[str, Any], config: LoopConfig, champion: int, p_value: float | None
) -> GenerationRow:
    number = int(generation["generation"])
    longtail = _known(store, generation, config, "longtail", config.gate.longtail_cases)
    nominal = _known(store, generation, config, "nominal", config.gate.nominal_cases)
    tail, both = summarise(longtail), summarise([*longtail, *nominal])
    return GenerationRow(
        generation=number,
        gate=generation["gate"] or "inconclusive",
        sr=tail.sr,
        sr_interval=tail.sr_interval,
        ds=tail.ds,
        ds_interval=tail.ds_interval,
        sr_nominal=summarise(nominal).sr if nominal else None,
        takeovers_per_km=history.takeovers_per_km(store).get(number),
        collisions_per_km=tail.collisions_per_km,
        phantom_per_km=both.phantom_per_km,
        standstill_share=both.standstill_share,
        p_value=p_value,
        champion=number == champion,
        cases=tail.cases,
    )


def _known(
    store: Store, generation: dict[str, Any], config: LoopConfig, name: str, cases: int
) -> list[CaseResult]:
    key = f"{generation['sha256']}{config.policy.setting}"
    known = {r.case: r for r in map(from_row, queries.evaluations(store, weights_sha256=key, suite=name))}
    return [known[case] for case in suite(name, cases) if case in known]
