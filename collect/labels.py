"""From a sealed episode to the labels of the store: takeovers, segments, pair candidates."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..store import queries
from ..store.database import Store, Transaction
from ..store.episodes import EpisodeReader
from ..store.rows import AnnotationRow, PairRow, SafetyRow, SegmentRow, TakeoverRow
from ..vocabulary import Reason, Verdict
from .pairs import PairConfig, build_pairs
from .safety_pairing import safety_pairing
from .segmenter import SegmenterConfig, segment


@dataclass(frozen=True, slots=True)
class EpisodeLabels:
    """Labels of one episode, ready for `Store.put_labels`."""

    takeovers: tuple[TakeoverRow, ...]
    segments: tuple[SegmentRow, ...]
    pairs: tuple[PairRow, ...]
    safety: tuple[SafetyRow, ...] | None = None  # None where not every state was looked at


def label_episode(
    path: Path,
    round_number: int,
    segmenter: SegmenterConfig = SegmenterConfig(),
    pairs: PairConfig = PairConfig(),
    annotations: Sequence[Mapping[str, Any]] = (),
) -> EpisodeLabels:
    """Cut a sealed episode into segments and build its pair candidates, admitted or not.

    Args:
        path: The episode's folder.
        round_number: Round that its pairs belong to.
        segmenter: The segmentation rule's parameters.
        pairs: Sources and gates of the pairs.
        annotations: What the driver said of it after it was sealed (`queries.said_later`).
    """
    reader = EpisodeReader(path)
    segmentation = segment(reader, segmenter, annotations)
    candidates, safety = build_pairs(reader, segmentation, pairs), None
    if pairs.counterfactual and pairs.every_episode:
        labels, further = safety_pairing(reader, segmentation, pairs)
        candidates, safety = [*candidates, *further], tuple(labels)
    return EpisodeLabels(
        segmentation.takeovers,
        segmentation.segments,
        tuple(candidate.to_row(round_number) for candidate in candidates),
        safety,
    )


def put_labels(store: Store, episode_ids: Sequence[str], labels: Sequence[EpisodeLabels]) -> dict[str, int]:
    """Store labels in the place of those that the episodes had.

    Args:
        store: The store.
        episode_ids: All that were to be labelled, those of which nothing is left included.
        labels: Of `label_episode`.

    Returns:
        How many takeovers, pair candidates and admitted pairs there are.
    """
    takeovers = [row for one in labels for row in one.takeovers]
    pairs = [row for one in labels for row in one.pairs]
    segments = [row for one in labels for row in one.segments]
    safety = [row for one in labels for row in one.safety or ()]

    def put(one: Transaction) -> None:
        one.put_labels(episode_ids, takeovers, segments, pairs)
        one.put_safety(episode_ids, safety, None)

    store.write(put)
    admitted = sum(pair.admitted for pair in pairs)
    return {"takeovers": len(takeovers), "candidates": len(pairs), "pairs": admitted}


def say(
    store: Store,
    episode_id: str,
    *,
    onset_tick: int | None = None,
    verdict: str = "",
    reason: str = "",
    note: str = "",
) -> str:
    """Keep what a driver says of a sealed episode; verdict and reason count when it is labelled again.

    Args:
        store: The store; its episode stays as it is, the words go to the journal.
        episode_id: The uuid, or enough of its beginning.
        onset_tick: Names the takeover; None for the whole episode.
        verdict: good, mistake, discard, or "".
        reason: A `Reason`, or "".
        note: Free text, or "".

    Returns:
        The episode's uuid.

    Raises:
        UsageError: No such episode or takeover, or an unknown word.
    """
    _require("verdict", verdict, [v.value for v in Verdict])
    _require("reason", reason, [r.value for r in Reason])
    found = queries.episode(store, episode_id)
    onsets = [row["onset_tick"] for row in found["takeover_list"]]
    if onset_tick is not None and onset_tick not in onsets:
        known = ", ".join(map(str, onsets)) or "none"
        raise UsageError(
            f"episode {found['episode_id']} has no takeover at tick {onset_tick}",
            fix=f"its takeovers: {known}",
        )
    whole = str(found["episode_id"])
    store.put([AnnotationRow(str(uuid.uuid4()), whole, onset_tick, verdict, reason, note)])
    return whole


def annotate(
    store: Store,
    episode_id: str,
    *,
    onset_tick: int | None = None,
    verdict: str = "",
    reason: str = "",
    note: str = "",
    segmenter: SegmenterConfig = SegmenterConfig(),
    pairs: PairConfig = PairConfig(),
) -> str:
    """`say`, and label the episode again if that changes what it teaches.

    Args:
        store: See `say`.
        episode_id: See `say`.
        onset_tick: See `say`.
        verdict: See `say`.
        reason: See `say`.
        note: See `say`.
        segmenter: The segmentation rule's parameters.
        pairs: Sources and gates of the pairs.

    Returns:
        The episode's uuid.

    Raises:
        UsageError: See `say`.
    """
    whole = say(store, episode_id, onset_tick=onset_tick, verdict=verdict, reason=reason, note=note)
    if verdict or reason:
        found = queries.episode(store, whole)
        states = queries.safety_labels(store, episode_id=whole)
        if states:  # of `loop pair`: made again as they were
            pairs = replace(pairs, counterfactual=True, every_episode=True, variant=states[0]["variant"])
        labels = label_episode(
            store.home / found["path"],
            max((row["round"] for row in found["pairs"]), default=0),
            segmenter,
            pairs,
            queries.said_later(store, [whole]).get(whole, ()),
        )
        put_labels(store, [whole], [labels])
    return whole


def _require(what: str, word: str, known: Sequence[str]) -> None:
    if word and word not in known:
        raise UsageError(f"unknown {what} `{word}`", fix=f"use one of {', '.join(known)}")
