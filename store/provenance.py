"""Provenance both ways, from the index alone: what made a generation, and what became of a takeover."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import Any

from ..errors import UsageError
from ..vocabulary import TICK_S
from . import history, learnt, queries
from .database import DATABASE, Store
from .ingest import TOMBSTONES
from .queries import Rows
from .sealing import read_sealed_json

GATE_SUITES = ("longtail", "nominal")


def generation_named(store: Store, text: str) -> dict[str, Any]:
    """A generation's row by its number, or `champion`.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    known = _generations(store)
    number = history.champion(store) if text == "champion" and known else None
    if number is None and text.isdigit():
        number = int(text)
    found = known.get(number) if number is not None else None
    if found is not None:
        return found
    if not known:
        raise UsageError(f"there is no generation `{text}`", fix="`loop run --rounds 5` makes the first")
    nearest = min(known, key=lambda one: abs(one - number)) if number is not None else max(known)
    raise UsageError(
        f"there is no generation `{text}`", fix=f"the nearest is {nearest}; `loop status` lists them all"
    )


def made_of(store: Store, generation: dict[str, Any]) -> dict[str, Any]:
    """What made a generation, as far as the index knows.

    Args:
        store: The index.
        generation: Its row.

    Returns:
        Its own row and `parents` (nearest first), `children`, `stages` with seconds and figures, `data` (see `_data`),
        `gate` (the evidence, with the cases gained and lost by name), `log` (moves of the champion that concern it).
    """
    known = _generations(store)
    number = generation["generation"]
    parents, parent = [], generation["parent"]
    while parent is not None:
        parents.append(parent)
        parent = known[parent]["parent"]
    log = [
        row for row in queries.promotions(store) if number in (row["from_generation"], row["to_generation"])
    ]
    judged = next(
        (row for row in log if row["to_generation"] == number and "p_value" in row["evidence"]), None
    )
    return {
        **{name: generation[name] for name in ("generation", "version", "run_id", "round", "sha256")},
        "made_utc": generation["created_utc"],
        "champion": history.champion(store) == number,
        "outcome": generation["gate"],
        "parents": parents,
        "parent_version": known[parents[0]]["version"] if parents else None,
        "children": [row["generation"] for row in known.values() if row["parent"] == number],
        "stages": _stages(store, generation),
        "data": _data(store, generation),
        "gate": None if judged is None else _evidence(store, judged, known),
        "log": log,
    }


def training_rows(store: Store, generation: dict[str, Any]) -> tuple[Rows, bool]:
    """What a generation learnt from, and whether it was kept at that time.

    For generations from before it was kept: the pairs that the loop's own step names, with today's labels; for
    generation 0 the expert's drives. The manifest's hash tells whether these are the ones.
    """
    rows = learnt.kept(store, generation["run_id"], generation["round"])
    if rows:
        return rows, True
    if generation["parent"] is None:
        return [
            _replayed(row) for row in queries.episodes(store, driver_kind="expert", limit=1_000_000)
        ], False
    done = store.step_done(generation["run_id"], generation["round"], "refine") or {}
    now = {row["pair_id"]: row for row in queries.pairs(store)}
    return [
        {
            "kind": "pair",
            "item_id": name,
            "episode_id": name.split("/")[0],
            "takeover_id": now[name]["takeover_id"] if name in now else "",
            "source": now[name]["source"] if name in now else "",
            "weight": now[name]["weight"] if name in now else None,
            "content_sha256": "",
        }
        for name in done.get("data", ())
    ], False


def forgotten(store: Store) -> dict[str, dict[str, str]]:
    """Drives that were removed with their driver: episode id to pseudonym and time."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((store.home / TOMBSTONES).glob("*.json")):
        stone = read_sealed_json(path)
        for episode_id in stone["episode_ids"]:
            found[episode_id] = {"driver_id": stone["driver_id"], "asked_utc": stone["asked_utc"]}
    return found


def takeover_named(store: Store, text: str) -> dict[str, Any]:
    """A takeover with its drive, by its id or enough of its beginning.

    Raises:
        UsageError: None or several begin so, or its driver was forgotten; the message names the nearest.
    """
    rows: Rows = []
    if (store.home / DATABASE).exists():
        rows = store.query(
            "SELECT t.*, e.case_id, e.scenario, e.decoy, e.role, e.generation, e.driver_id, e.driver_kind, e.style, "
            "e.created_utc AS drive_utc FROM takeovers AS t JOIN episodes AS e USING (episode_id) ORDER BY takeover_id"
        )
    found = [row for row in rows if row["takeover_id"] == text] or [
        row for row in rows if text and row["takeover_id"].startswith(text)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        few = ", ".join(row["takeover_id"] for row in found[:3])
        raise UsageError(f"{len(found)} takeovers begin with `{text}`", fix=f"give more of one, e.g. {few}")
    gone = next(
        (
            one
            for name, one in forgotten(store).items()
            if text and (name.startswith(text) or text.startswith(name))
        ),
        None,
    )
    if gone is not None:
        raise UsageError(
            f"the drive of `{text}` was removed with its driver {gone['driver_id']} on {gone['asked_utc'][:10]}",
            fix="`loop why GENERATION` says which generations had learnt from it",
        )
    near = difflib.get_close_matches(text, [row["takeover_id"] for row in rows], n=1, cutoff=0.0)
    raise UsageError(
        f"there is no takeover `{text}`",
        fix=f'the nearest is {near[0]}; find them: loop sql "SELECT takeover_id, reason FROM takeovers"'
        if near
        else "there is none yet: `loop run` or `loop drive` makes some",
    )


def became_of(store: Store, takeover: dict[str, Any]) -> dict[str, Any]:
    """What became of a takeover.

    Args:
        store: The index.
        takeover: Of `takeover_named`.

    Returns:
        `takeover`, `segments`, `pairs` (admitted and left out), `generations` that trained on it, `later` (refined
        from those), `champion`, `scene` (how generations do on its scenario type, over all their stored cases of the
        gate's suites: one that was given up early has fewer), `compared` (champion and the generation that failed, on the
        cases that both have driven; None if they are one, or there is no such case), and `tried`: the takeover as a case
        (`queries.takeover_cases`); None if it was not tried.
    """
    name = takeover["takeover_id"]
    segments = store.query(
        "SELECT segment_id, phase, start_tick, end_tick, executed_by, train_mask, weight FROM segments "
        "WHERE takeover_id = ? ORDER BY start_tick",
        [name],
    )
    pairs = store.query(
        "SELECT pair_id, tick, source, admitted, reject_reason, round, weight, score_chosen, score_rejected FROM pairs "
        "WHERE takeover_id = ? ORDER BY tick, pair_id",
        [name],
    )
    known = _generations(store)
    trained = [found for row in known.values() if (found := _trained(store, row, name)) is not None]
    numbers = {row["generation"] for row in trained}
    later: list[int] = []
    for number, row in known.items():
        if number not in numbers and row["parent"] in numbers | set(later):
            later.append(number)
    onset_s, driven_s = (
        takeover["onset_tick"] * TICK_S,
        (takeover["handback_tick"] - takeover["onset_tick"]) * TICK_S,
    )
    champion = history.champion(store) if known else None
    return {
        "takeover": {**takeover, "onset_s": onset_s, "driven_s": driven_s},
        "segments": segments,
        "pairs": pairs,
        "generations": trained,
        "later": later,
        "champion": champion,
        "scene": _scene(store, takeover["scenario"], takeover["decoy"]),
        "compared": _compared(store, takeover, champion),
        "tried": next(iter(queries.takeover_cases(store, takeover_id=name)), None),
    }


def cases_by_name(store: Store, key: str, suite: str) -> dict[str, dict[str, Any]]:
    """Stored results of weights, by their key, on a suite."""
    rows = queries.evaluations(store, weights_sha256=key, suite=suite)
    return {row["case_id"]: row for row in rows}


def _generations(store: Store) -> dict[int, dict[str, Any]]:
    if not (store.home / DATABASE).exists():
        return {}
    return {int(row["generation"]): row for row in queries.generations(store)}


def _stages(store: Store, generation: dict[str, Any]) -> Rows:
    """Reports of the stages; of a generation made by `loop refine` what its metrics tell."""
    done = store.step_done(generation["run_id"], generation["round"], "refine")
    if done is not None:
        return list(done["stages"])
    found: dict[str, dict[str, Any]] = {}
    for key, value in generation["metrics"].items():
        stage, _, name = key.partition("/")
        report = found.setdefault(
            stage,
            {
                "stage": stage,
                "seconds": 0.0,
                "steps": 0,
                "metrics": {},
                "skipped_reason": "",
                "stopped_reason": "",
            },
        )
        (report if name in ("seconds", "steps") else report["metrics"])[name] = value
    return list(found.values())


def _data(store: Store, generation: dict[str, Any]) -> dict[str, Any]:
    """What it learnt from: `items`, and the same counted by kind and source, by driver, and by takeover."""
    rows, kept = training_rows(store, generation)
    drives = {
        row["episode_id"]: row
        for row in store.query("SELECT episode_id, driver_id, driver_kind FROM episodes")
    }
    gone = forgotten(store)
    sources: dict[tuple[str, str], list[dict[str, Any]]] = {}
    drivers: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        sources.setdefault((row["kind"], row["source"]), []).append(row)
        drive = drives.get(row["episode_id"]) or gone.get(row["episode_id"])
        if drive is not None:
            drivers.setdefault(drive["driver_id"] or drive.get("driver_kind", ""), []).append(row)
    return {
        "kept": kept,
        "sources": [
            {
                "kind": kind,
                "source": source,
                "items": len(some),
                "weight": sum(row["weight"] or 0.0 for row in some),
                "drives": len({row["episode_id"] for row in some if row["episode_id"]}),
                "takeovers": len({row["takeover_id"] for row in some if row["takeover_id"]}),
            }
            for (kind, source), some in sorted(sources.items())
        ],
        "drivers": [
            {
                "driver_id": name,
                "drives": len({row["episode_id"] for row in some}),
                "takeovers": len({row["takeover_id"] for row in some if row["takeover_id"]}),
                "pairs": sum(row["kind"] == "pair" for row in some),
                "recoveries": sum(row["kind"] == "recovery" for row in some) if kept else None,
                "forgotten": any(row["episode_id"] in gone for row in some),
            }
            for name, some in sorted(drivers.items())
        ],
        "takeovers": sorted({row["takeover_id"] for row in rows if row["takeover_id"]}),
        "items": [{name: row[name] for name in learnt.PARTS} for row in rows],
    }


def _evidence(store: Store, judged: dict[str, Any], known: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The gate's evidence with its cases by name, from the stored results of both sides."""
    setting = judged["evidence"].get("setting", "")
    old = cases_by_name(store, f"{known[judged['from_generation']]['sha256']}{setting}", "longtail")
    new = cases_by_name(store, f"{known[judged['to_generation']]['sha256']}{setting}", "longtail")
    both = sorted(old.keys() & new.keys())
    return {
        "champion": judged["from_generation"],
        **judged["evidence"],
        "compared": len(both),
        "gained_cases": [name for name in both if new[name]["success"] and not old[name]["success"]],
        "lost_cases": [name for name in both if old[name]["success"] and not new[name]["success"]],
    }


def _trained(store: Store, generation: dict[str, Any], takeover_id: str) -> dict[str, Any] | None:
    """What a generation learnt from a takeover; None for nothing."""
    rows, kept = training_rows(store, generation)
    mine = [row for row in rows if row["takeover_id"] == takeover_id]
    if not mine:
        return None
    kinds = Counter(row["kind"] for row in mine)
    return {
        "generation": generation["generation"],
        "pairs": kinds["pair"],
        "recoveries": kinds["recovery"] if kept else None,
        "failed_plans": kinds["failed"] if kept else None,
        "weight": sum(row["weight"] or 0.0 for row in mine),
        "gate": generation["gate"],
    }


def _replayed(row: dict[str, Any]) -> dict[str, Any]:
    name = row["episode_id"]
    values = ("replay", name, name, "", "expert", 1.0, "")
    return dict(zip(learnt.PARTS, values, strict=True))


def _scene(store: Store, scenario: str, decoy: bool) -> Rows:
    """Success of each generation on a scenario type, over its stored cases of the gate's suites."""
    return store.query(
        "SELECT generation, count(*) AS cases, sum(success::INT)::INT AS passed, avg(ds) AS ds FROM evaluations "
        "WHERE scenario = ? AND decoy = ? AND suite IN (SELECT unnest(?)) AND generation IS NOT NULL "
        "AND weights_sha256 IN (SELECT unnest(?)) GROUP BY generation ORDER BY generation",
        [scenario, decoy, list(GATE_SUITES), list(history.driven_as(store).values())],
    )


def _compared(store: Store, takeover: dict[str, Any], champion: int | None) -> dict[str, int] | None:
    """How champion and failed generation do on the cases of a takeover's scenario type that both have driven."""
    failed = int(takeover["generation"]) if takeover["generation"].isdigit() else None
    keys = history.driven_as(store)
    if champion is None or failed == champion or failed not in keys:
        return None
    found = store.query(
        "SELECT count(*) AS cases, sum(n.success::INT)::INT AS champion, sum(t.success::INT)::INT AS failed "
        "FROM evaluations AS n JOIN evaluations AS t USING (suite, case_id) WHERE n.weights_sha256 = ? "
        "AND t.weights_sha256 = ? AND n.scenario = ? AND n.decoy = ? AND suite IN (SELECT unnest(?))",
        [keys[champion], keys[failed], takeover["scenario"], takeover["decoy"], list(GATE_SUITES)],
    )[0]
    return found if found["cases"] else None
