"""What a person sees of `loop why` and `loop trace`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from .progress import GATE_STYLES, stdout
from .store.story import clock, spans
from .vocabulary import TICK_S

_MARKS = {True: "[green]ok", False: "[bold red]failed", None: "[dim]–"}
_SHOWN_FIGURES = 4  # of a stage; --json has them all


def why_view(found: Mapping[str, Any]) -> None:
    """What made a generation, and the checks."""
    console, origin = stdout(), found["origin"]
    gate = found["outcome"] or "none yet"
    console.print(
        f"[bold]generation {found['generation']}[/] (version {found['version']}), made {found['made_utc'][:19]} UTC in "
        f"round {found['round']} of run {found['run_id']}; gate: [{GATE_STYLES.get(gate, 'dim')}]{gate}[/]"
        + ("; it is the champion" if found["champion"] else "")
    )
    parents = " <- ".join(str(parent) for parent in found["parents"]) or "none: it is the first"
    children = f"; refined into {spans(found['children'])}" if found["children"] else ""
    console.print(f"parents: {parents}{children}")
    if origin:
        console.print(
            f"base {origin['base']}, seed {origin['seed']}, code {origin['code_sha256'][:12]}, config "
            f"{origin['config_sha256'][:12]}, data {origin['data_sha256'][:12]}, weights' manifest {found['sha256'][:12]}, "
            f"MLflow run {origin['mlflow_run']}"
        )
        if origin["quarantined"]:
            console.print(f"[red]quarantined[/]: {escape(origin['quarantined'])}")
    data = found["data"]
    note = "" if data["kept"] else " (ids from the loop's step; weights as they are labelled today)"
    _table(f"learnt from, {len(data['takeovers'])} takeovers{note}", data["sources"])
    _table("drivers", data["drivers"])
    _table("stages", [_stage(row) for row in found["stages"]])
    if found["gate"] is not None:
        _gate(found["gate"])
    _table("promotions and rollbacks", [_move(row) for row in found["log"]])
    table = Table("check", "", "what was found", title="checked by hashes")
    for check in found["checks"]:
        table.add_row(check["name"], _MARKS[check["ok"]], escape(check["detail"]))
    console.print(table)


def trace_view(found: Mapping[str, Any], story: Sequence[str]) -> None:
    """What became of a takeover: the story, then its parts."""
    console, takeover = stdout(), found["takeover"]
    console.print("\n".join(story), markup=False)
    console.print(
        f"[dim]{takeover['takeover_id']}, {clock(takeover):%Y-%m-%d %H:%M}, driver {takeover['driver_id']} "
        f"({takeover['driver_kind']}{' ' + takeover['style'] if takeover['style'] else ''}), hazard "
        f"{takeover['hazard'] or 'none measured'}, weight {takeover['weight']:.2f}"
        f"{', relapse' if takeover['relapse'] else ''}{'' if takeover['trains'] else ', never trains'}"
    )
    _table("segments", [_segment(row) for row in found["segments"]])
    _table("pairs", [_pair(row) for row in found["pairs"] if row["admitted"]])
    left = Counter((row["source"], row["reject_reason"]) for row in found["pairs"] if not row["admitted"])
    _table(
        "left out", [{"source": s, "reason": why, "candidates": n} for (s, why), n in sorted(left.items())]
    )
    _table("generations that learnt from it", found["generations"])
    _table(f"{takeover['scenario']} in the stored cases of the gate's suites", found["scene"])


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    stdout().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else escape(str(value))


def _stage(row: Mapping[str, Any]) -> dict[str, Any]:
    figures = list(row["metrics"].items())
    more = ", ..." if len(figures) > _SHOWN_FIGURES else ""
    said = ", ".join(f"{name} {value:.3g}" for name, value in figures[:_SHOWN_FIGURES]) + more
    return {
        "stage": row["stage"],
        "seconds": float(row["seconds"]),
        "steps": int(row["steps"]),
        "figures": row["skipped_reason"] or row["stopped_reason"] or said,
    }


def _gate(gate: Mapping[str, Any]) -> None:
    stdout().print(
        f"gate: [{GATE_STYLES[gate['outcome']]}]{gate['outcome']}[/] against generation {gate['champion']}: "
        f"{gate['reason']}\n"
        f"  success {100 * gate['sr_champion']:.1f} % -> {100 * gate['sr_challenger']:.1f} % on {gate['cases']} cases, "
        f"p {gate['p_value']:.4f} at alpha {gate['alpha']:.4f}, power {gate['power']:.2f}, driving score "
        f"{gate['ds_difference']:+.1f} [{gate['ds_interval'][0]:.1f}, {gate['ds_interval'][1]:.1f}]"
    )
    for word in ("gained", "lost"):
        stdout().print(f"  {word}: {', '.join(gate[f'{word}_cases']) or 'none'}")
    columns = ("name", "loss", "lower", "upper", "margin", "holds")
    _table("guards", [{name: guard[name] for name in columns} for guard in gate["guards"]])


def _move(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "when": row["created_utc"][:19],
        "from": row["from_generation"],
        "to": row["to_generation"],
        "outcome": row["outcome"],
        "external": row["external"],
        "reason": row["evidence"].get("reason", ""),
    }


def _segment(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "phase": row["phase"],
        "from_s": TICK_S * row["start_tick"],
        "to_s": TICK_S * row["end_tick"],
        "executed_by": row["executed_by"],
        "trains": row["train_mask"],
        "weight": row["weight"],
    }


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": row["source"],
        "at_s": TICK_S * row["tick"],
        "round": row["round"],
        "weight": row["weight"],
        "chosen": row["score_chosen"],
        "rejected": row["score_rejected"],
    }
