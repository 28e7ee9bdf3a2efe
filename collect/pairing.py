"""`loop pair`: SafeAlign's Algorithm 1 on stored drives, whoever drove them and whether or not anybody took over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UsageError
from ..store import queries
from ..store.database import Store
from ..store.episodes import EpisodeReader
from ..store.rows import PairRow, SafetyRow, as_json
from ..vocabulary import PairSource
from .pair_types import PairConfig
from .safety_pairing import safety_pairing
from .segmenter import SegmenterConfig, segment

ALL = "all"
ADMITTED = "admitted"


@dataclass(frozen=True, slots=True)
class PairingReport:
    """What `loop pair` found.

    Attributes:
        episodes: Drives that were looked at.
        variant: Of Algorithm 1.
        states: How many states were labelled so, by label and by what counted as observed.
        positives: How many positive states there are by what became of them: admitted, or why not.
        pairs: How many pair candidates of the negative states, likewise.
    """

    episodes: int
    variant: str
    states: dict[str, dict[str, int]]
    positives: dict[str, int]
    pairs: dict[str, int]

    def rows(self) -> list[dict[str, Any]]:
        """One row a label and fate, for a table."""
        return [
            {"label": label, "what became of it": fate, "states": number}
            for label, fates in (("neg", self.pairs), ("pos", self.positives))
            for fate, number in fates.items()
        ]

    def text(self) -> str:
        """One line."""
        parts = (f"{sum(by.values())} {label}" for label, by in self.states.items())
        return (
            f"{self.episodes} drives, {', '.join(parts) or 'no states'} ({self.variant}); "
            f"{self.pairs.get(ADMITTED, 0)} pairs admitted"
        )


def pair_episodes(
    store: Store,
    episodes: Sequence[str] = (ALL,),
    segmenter: SegmenterConfig = SegmenterConfig(),
    pairs: PairConfig = PairConfig(),
    begun: Callable[[int], None] = lambda total: None,
    told: Callable[[], None] = lambda: None,
) -> PairingReport:
    """Label every state of stored drives and pair the unsafe ones; in the place of what an earlier call has made.

    Held-out drives are labelled too; none of their candidates is admitted.

    Args:
        store: The store.
        episodes: Ids or their beginnings; `all` for every drive.
        segmenter: The segmentation rule's parameters.
        pairs: Variant, recipe and gates; which sources are on does not matter.
        begun: Told of the number of drives.
        told: Called after each.

    Raises:
        UsageError: No drive begins with one of the ids.
    """
    rows = _chosen(store, episodes)
    begun(len(rows))
    ids = [row["episode_id"] for row in rows]
    rounds, later = _rounds(store), queries.said_later(store, ids)
    labels: list[SafetyRow] = []
    made: list[PairRow] = []
    for row in rows:
        name = row["episode_id"]
        reader = EpisodeReader(store.home / row["path"])
        segmentation = segment(reader, segmenter, later.get(name, ()))
        found, candidates = safety_pairing(reader, segmentation, replace(pairs, every_episode=True))
        labels += found
        made += [candidate.to_row(rounds.get(name, 0)) for candidate in candidates]
        told()
    changed = _changed(store, ids, labels, made)
    if changed:
        store.put_safety(
            sorted(changed),
            [row for row in labels if row.episode_id in changed],
            [row for row in made if row.episode_id in changed],
        )
    return PairingReport(
        episodes=len(ids),
        variant=pairs.variant,
        states={
            label: _counted(row.observed for row in labels if row.label == label)
            for label in sorted({row.label for row in labels})
        },
        positives=_counted(row.reason or ADMITTED for row in labels if row.label == "pos"),
        pairs=_counted(row.reject_reason or ADMITTED for row in made),
    )


def _chosen(store: Store, wanted: Sequence[str]) -> list[dict[str, Any]]:
    rows = queries.episodes(store, limit=10_000_000)
    if list(wanted) == [ALL]:
        return rows
    for start in wanted:
        if not start or not any(row["episode_id"].startswith(start) for row in rows):
            raise UsageError(
                f"no episode begins with `{start}`", fix=f"`loop episodes list` names them, or say {ALL}"
            )
    return [row for row in rows if row["episode_id"].startswith(tuple(wanted))]


def _changed(
    store: Store, ids: Sequence[str], labels: Sequence[SafetyRow], made: Sequence[PairRow]
) -> set[str]:
    """Drives of which the store knows something else: the others are not written again, for a journal only grows."""
    source = PairSource.COUNTERFACTUAL.value
    known = _by_drive([*queries.safety_labels(store), *queries.pairs(store, source=source)])
    found = _by_drive([*map(as_json, labels), *map(as_json, made)])
    return {name for name in ids if known.get(name) != found.get(name)}


def _by_drive(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows by drive and by key."""
    drives: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        drives.setdefault(row["episode_id"], {})[row.get("pair_id") or row["label_id"]] = row
    return drives


def _rounds(store: Store) -> dict[str, int]:
    """Round of each drive that has pairs; the others' lessons belong to round 0, which every later one learns from."""
    rows = store.query("SELECT episode_id, max(round) AS round FROM pairs GROUP BY episode_id")
    return {row["episode_id"]: row["round"] for row in rows}


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())
