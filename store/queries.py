"""Named queries of the index; JSON columns come back as values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from .database import Store, Transaction
from .journal import JSON_COLUMNS

Rows = list[dict[str, Any]]
Readable = Store | Transaction  # several queries in a transaction see the same state


def episodes(
    store: Readable,
    *,
    scenario: str | None = None,
    case_id: str | None = None,
    role: str | None = None,
    generation: str | None = None,
    driver_kind: str | None = None,
    session_id: str | None = None,
    ended: str | None = None,
    takeovers: bool | None = None,
    whole: bool | None = None,
    newest_first: bool = False,
    limit: int = 1000,
) -> Rows:
    """Episodes that match every filter given, in order of id: the same in every repetition of a run.

    Args:
        store: The store.
        scenario: Scenario type.
        case_id: `DynamicObjectCrossing/12`.
        role: train, gate or final.
        generation: Who planned.
        driver_kind: none, scripted, human or expert.
        session_id: Sitting.
        ended: `Outcome.end`.
        takeovers: True for episodes with a takeover, False for those without.
        whole: True for episodes recorded to their end without a simulator fault, False for the others.
        newest_first: Order by wall clock instead, for people.
        limit: At most so many.
    """
    wanted = {
        "scenario": scenario,
        "case_id": case_id,
        "role": role,
        "generation": generation,
        "driver_kind": driver_kind,
        "session_id": session_id,
        "ended": ended,
    }
    terms, params = _equal(wanted)
    if takeovers is not None:
        terms.append("takeovers > 0" if takeovers else "takeovers = 0")
    if whole is not None:
        terms.append(f"(NOT truncated AND ended <> 'sim_fault') = {whole}")
    order = "created_utc DESC, episode_id" if newest_first else "episode_id"
    sql = f"SELECT * FROM episodes WHERE {_all(terms)} ORDER BY {order} LIMIT ?"
    return _decoded(store.query(sql, [*params, limit]))


def episode(store: Store, episode_id: str) -> dict[str, Any]:
    """One episode with its takeovers, segments, pairs, agents and events.

    Args:
        store: The store.
        episode_id: The uuid, or enough of its beginning.

    Raises:
        UsageError: none or several episodes begin so.
    """
    found = store.query(
        "SELECT * FROM episodes WHERE starts_with(episode_id, ?) ORDER BY episode_id", [episode_id]
    )
    if len(found) != 1:
        several = f"{len(found)} episodes begin" if found else "no episode begins"
        raise UsageError(f"{several} with `{episode_id}`", fix="`loop episodes list` names them")
    whole = _decoded(found)[0]
    for table, order in (
        ("takeovers", "onset_tick"),
        ("segments", "start_tick"),
        ("pairs", "tick, pair_id"),
        ("agents", "first_tick, actor_id"),
        ("events", "tick, kind"),
        ("annotations", "created_utc, annotation_id"),
    ):
        name = "takeover_list" if table == "takeovers" else table
        whole[name] = _decoded(
            store.query(f"SELECT * FROM {table} WHERE episode_id = ? ORDER BY {order}", [whole["episode_id"]])
        )
    return whole


def said_later(store: Store, episode_ids: Sequence[str]) -> dict[str, Rows]:
    """What drivers said of episodes after they were sealed: episode id to rows, in the order in which they came."""
    found: dict[str, Rows] = {}
    sql = "SELECT * FROM annotations WHERE episode_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY rowid"
    for row in store.query(sql, [list(episode_ids)]):
        found.setdefault(row["episode_id"], []).append(row)
    return found


def round_takeovers(store: Store, run_id: str) -> Rows:
    """Takeovers of a run's rounds with `round`, their drives, and how many pairs each gave; in order of round and id."""
    return store.query(
        "SELECT t.*, CAST(split_part(e.session_id, '/', 2) AS INTEGER) AS round, e.case_id, e.scenario, e.seed, e.decoy, "
        "e.role, e.path, e.generation, e.driver_id, e.driver_kind, e.style, e.created_utc AS drive_utc, "
        "coalesce(p.admitted, 0) AS admitted, coalesce(p.candidates, 0) AS candidates "
        "FROM takeovers AS t JOIN episodes AS e USING (episode_id) LEFT JOIN (SELECT takeover_id, "
        "count(*) FILTER (admitted) AS admitted, count(*) AS candidates FROM pairs GROUP BY takeover_id) "
        "AS p USING (takeover_id) WHERE regexp_full_match(e.session_id, ? || '/[0-9]+') ORDER BY round, takeover_id",
        [run_id],
    )


def round_exposure(store: Store, run_id: str) -> Rows:
    """What a run's rounds drove while collecting: round, generation, episodes, driven_km, takeovers."""
    return store.query(
        "SELECT CAST(split_part(session_id, '/', 2) AS INTEGER) AS round, generation, count(*) AS episodes, "
        "sum(driven_m) / 1000 AS driven_km, sum(takeovers)::INTEGER AS takeovers FROM episodes "
        "WHERE regexp_full_match(session_id, ? || '/[0-9]+') AND driver_kind IN ('scripted', 'human') AND NOT truncated "
        "AND ended <> 'sim_fault' GROUP BY ALL ORDER BY ALL",
        [run_id],
    )


def takeover_rates(store: Store) -> Rows:
    """Exposure and takeovers per km of each generation, over episodes that a driver watched."""
    return store.query("SELECT * FROM takeover_rates ORDER BY generation")


def uneventful(store: Readable) -> Rows:
    """Drives that teach by what did not happen: watched, successful, nobody intervened.

    A human's must have a label that lets them train: practice, a discarded drive, and one with gas overrides have none.
    """
    rows = store.query(
        "SELECT * FROM episodes WHERE driver_kind IN ('scripted', 'human') AND role = 'train' AND takeovers = 0 "
        "AND success AND phantom_brakes = 0 AND NOT truncated AND ended <> 'sim_fault' "
        "AND (driver_kind = 'scripted' OR episode_id IN "
        "(SELECT episode_id FROM segments WHERE train_mask AND phase = 'autonomous')) "
        "ORDER BY driver_kind DESC, episode_id"
    )
    return _decoded(rows)


def segments(
    store: Readable,
    *,
    phase: str | None = None,
    session_id: str | None = None,
    episode_ids: Sequence[str] | None = None,
    trains: bool | None = None,
) -> Rows:
    """Labelled segments (the columns of the views), in order of episode and tick."""
    terms, params = _equal({"phase": phase, "train_mask": trains})
    if session_id is not None:
        terms.append("episode_id IN (SELECT episode_id FROM episodes WHERE session_id = ?)")
        params.append(session_id)
    if episode_ids is not None:
        terms.append("episode_id IN (SELECT unnest(?::VARCHAR[]))")
        params.append(list(episode_ids))
    return store.query(
        f"SELECT * FROM labelled_segments WHERE {_all(terms)} ORDER BY episode_id, start_tick", params
    )


def pairs(
    store: Readable,
    *,
    round_number: int | None = None,
    admitted: bool | None = None,
    source: str | None = None,
) -> Rows:
    """Pair candidates, in order of round, episode and tick."""
    terms, params = _equal({"round": round_number, "admitted": admitted, "source": source})
    sql = f"SELECT * FROM pairs WHERE {_all(terms)} ORDER BY round, episode_id, tick, pair_id"
    return _decoded(store.query(sql, params))


def pair_counts(store: Store, *, round_number: int | None = None) -> Rows:
    """How many candidates of each source were admitted, and how many fell for each reason."""
    terms, params = _equal({"round": round_number})
    return store.query(
        "SELECT round, source, admitted, reject_reason, count(*) AS pairs FROM pairs "
        f"WHERE {_all(terms)} GROUP BY ALL ORDER BY ALL",
        params,
    )


def safety_labels(store: Store, *, episode_id: str | None = None, label: str | None = None) -> Rows:
    """States that Algorithm 1 has labelled, in order of episode and tick."""
    terms, params = _equal({"episode_id": episode_id, "label": label})
    return store.query(f"SELECT * FROM safety_labels WHERE {_all(terms)} ORDER BY episode_id, tick", params)


def certified(store: Readable, *, held_out: bool | None = None) -> Rows:
    """Takeovers that are admitted as cases and that nobody has taken back since, in order of id."""
    terms, params = _equal({"admitted": True, "held_out": held_out})
    terms.append("takeover_id IN (SELECT takeover_id FROM takeovers WHERE trains)")
    return store.query(f"SELECT * FROM takeover_cases WHERE {_all(terms)} ORDER BY takeover_id", params)


def takeover_cases(store: Store, *, takeover_id: str | None = None) -> Rows:
    """Takeovers that were tried as cases, in order of id, with the generations that pass (numbers, in order)."""
    terms, params = _equal({"takeover_id": takeover_id})
    rows = store.query(
        "SELECT c.*, (SELECT list(DISTINCT e.generation ORDER BY e.generation) FROM evaluations AS e "
        "WHERE e.suite = 'certified' AND e.case_id = c.takeover_id AND e.success) AS passed_by "
        f"FROM takeover_cases AS c WHERE {_all(terms)} ORDER BY takeover_id",
        params,
    )
    return [{**row, "passed_by": row["passed_by"] or []} for row in rows]


def imitable(store: Readable) -> Rows:
    """States of drives that did not go well as a whole from which the policy itself drove on safely.

    Expert drives and uneventful ones are left out: they are replayed as a whole.
    """
    rows = store.query(
        "SELECT s.* FROM safety_labels AS s JOIN episodes AS e USING (episode_id) "
        "WHERE s.label = 'pos' AND s.trains AND e.driver_kind <> 'expert' ORDER BY s.episode_id, s.tick"
    )
    whole = {row["episode_id"] for row in uneventful(store)}
    return [row for row in rows if row["episode_id"] not in whole]


def evaluations(store: Store, *, weights_sha256: str | None = None, suite: str | None = None) -> Rows:
    """Evaluated cases, in order of case."""
    terms, params = _equal({"weights_sha256": weights_sha256, "suite": suite})
    sql = (
        f"SELECT * FROM evaluations WHERE {_all(terms)} ORDER BY weights_sha256, suite, scenario, decoy, seed"
    )
    return _decoded(store.query(sql, params))


def generations(store: Store) -> Rows:
    """Generations in order."""
    return _decoded(store.query("SELECT * FROM generations ORDER BY generation"))


def rounds(store: Store, *, run_id: str | None = None) -> Rows:
    """Rounds in order."""
    terms, params = _equal({"run_id": run_id})
    return _decoded(store.query(f"SELECT * FROM rounds WHERE {_all(terms)} ORDER BY run_id, round", params))


def steps(store: Store, *, run_id: str | None = None) -> Rows:
    """Finished steps of the loop, in order of finishing."""
    terms, params = _equal({"run_id": run_id})
    return _decoded(store.query(f"SELECT * FROM steps WHERE {_all(terms)} ORDER BY rowid", params))


def promotions(store: Store) -> Rows:
    """Gate decisions and alias moves, oldest first."""
    return _decoded(store.query("SELECT * FROM promotions ORDER BY rowid"))


def counts(store: Store) -> dict[str, int]:
    """Rows of each table."""
    names = [
        row["table_name"] for row in store.query("SELECT table_name FROM duckdb_tables() ORDER BY table_name")
    ]
    union = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS rows FROM {name}" for name in names)
    return {row["name"]: row["rows"] for row in store.query(union)}


def _equal(wanted: dict[str, Any]) -> tuple[list[str], list[Any]]:
    given = {column: value for column, value in wanted.items() if value is not None}
    return [f"{column} = ?" for column in given], list(given.values())


def _all(terms: list[str]) -> str:
    return " AND ".join(terms) or "true"


def _decoded(rows: Rows) -> Rows:
    return [
        {
            name: json.loads(value) if name in JSON_COLUMNS and isinstance(value, str) else value
            for name, value in row.items()
        }
        for row in rows
    ]
