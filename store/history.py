"""The loop's own history: generations, who had the car, how a run is doing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UsageError
from . import queries
from .database import DATABASE, Store

CHAMPION_MOVES = ("promote", "rollback")  # outcomes of a row in `promotions` that move the champion


def generation(store: Store, number: int) -> dict[str, Any]:
    """One generation's row.

    Raises:
        UsageError: there is no such generation.
    """
    rows = queries.generations(store)
    found = next((row for row in rows if row["generation"] == number), None)
    if found is None:
        known = ", ".join(str(row["generation"]) for row in rows) or "none yet"
        raise UsageError(f"there is no generation {number}", fix=f"known generations: {known}")
    return found


def generations_of(store: Store, run_id: str) -> list[dict[str, Any]]:
    """Generations that a run's rounds have made, in order."""
    return [row for row in queries.generations(store) if row["run_id"] == run_id]


def registered(store: Store, run_id: str, round_number: int) -> dict[str, Any] | None:
    """The generation that a run's round has made; None before that."""
    rows = queries.generations(store)
    return next((row for row in rows if (row["run_id"], row["round"]) == (run_id, round_number)), None)


def next_generation(store: Store) -> int:
    """Number of the generation to come."""
    return 1 + max((int(row["generation"]) for row in queries.generations(store)), default=-1)


def champion(store: Store) -> int | None:
    """Generation that our own log says has the car; None before the first."""
    moves = [row for row in queries.promotions(store) if row["outcome"] in CHAMPION_MOVES]
    return int(moves[-1]["to_generation"]) if moves else None


def driven_as(store: Store) -> dict[int, str]:
    """Under which key each generation's results are kept: the default setting's if it has any, else the last one's."""
    rows = store.query(
        "SELECT weights_sha256 AS key FROM evaluations WHERE NOT contains(weights_sha256, '+') "
        "GROUP BY key ORDER BY max(created_utc), key"
    )
    last = {row["key"].split(":")[0]: row["key"] for row in rows}
    plain = {row["key"] for row in rows}
    hashes = {int(row["generation"]): str(row["sha256"]) for row in queries.generations(store)}
    return {number: key if key in plain else last.get(key, key) for number, key in hashes.items()}


def takeovers_per_km(store: Store) -> dict[int, float]:
    """Takeovers per km by generation, over the episodes that a driver watched."""
    return {
        int(row["generation"]): float(row["takeovers_per_km"])
        for row in queries.takeover_rates(store)
        if str(row["generation"]).isdigit() and row["takeovers_per_km"] is not None
    }


def step_seconds(store: Store, run_id: str, round_number: int | None = None) -> dict[str, float]:
    """Wall time by kind of step, over the whole run or one round."""
    seconds: dict[str, float] = {}
    for row in queries.steps(store, run_id=run_id):
        if round_number is None or row["round"] == round_number:
            name = f"generation 0: {row['name']}" if row["round"] == 0 else row["name"]
            seconds[name] = seconds.get(name, 0.0) + float(row["payload"].get("seconds", 0.0))
    return seconds


def status(home: Path) -> dict[str, Any]:
    """What `loop status --json` prints: rounds, generations with their gate figures, champion, running steps."""
    if not (home / DATABASE).exists():
        return {"rounds": [], "generations": [], "champion": None}
    store = Store(home)
    rates = takeovers_per_km(store)
    figures: dict[tuple[str, str], dict[str, Any]] = {
        (row["weights_sha256"], row["suite"]): row
        for row in store.query(
            "SELECT weights_sha256, suite, avg(success::INT) AS sr, avg(ds) AS ds, count(*) AS cases FROM evaluations "
            "WHERE suite IN ('longtail', 'nominal') GROUP BY ALL"
        )
    }
    keys = driven_as(store)
    generations = []
    for row in queries.generations(store):
        key = keys[int(row["generation"])]
        tail, nominal = figures.get((key, "longtail"), {}), figures.get((key, "nominal"), {})
        generations.append(
            {
                "generation": row["generation"],
                "version": row["version"],
                "parent": row["parent"],
                "ds": tail.get("ds"),
                "sr": tail.get("sr"),
                "cases": tail.get("cases", 0),
                "sr_nominal": nominal.get("sr"),
                "takeovers_per_km": rates.get(int(row["generation"])),
                "gate": row["gate"],
            }
        )
    done: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for step in queries.steps(store):
        if step["round"] > 0:
            done.setdefault((step["run_id"], step["round"]), []).append(step)
    outcomes = {(row["run_id"], row["round"]): row["outcome"] for row in queries.rounds(store)}
    rounds = [
        {
            "run_id": run_id,
            "round": number,
            "steps": [step["name"] for step in steps],
            "stages": [
                {
                    key: report[key]
                    for key in ("stage", "steps", "seconds", "skipped_reason", "stopped_reason")
                }
                for step in steps
                for report in step["payload"].get("stages", ())
            ],
            "pairs": next((s["payload"]["pairs"] for s in steps if s["name"] == "segment"), None),
            "outcome": outcomes.get((run_id, number), "running or interrupted"),
        }
        for (run_id, number), steps in done.items()
    ]
    return {"rounds": rounds, "generations": generations, "champion": champion(store)}
