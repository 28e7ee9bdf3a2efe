"""From a sealed episode to the labels of the store: takeovers, segments, pair candidates."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..store import queries
from ..store.database import Store
from ..store.episodes import EpisodeReader
from ..store.rows import AnnotationRow, PairRow, SegmentRow, TakeoverRow
from ..vocabulary import Reason, Verdict
from .pairs import PairConfig, build_pairs
from .segmenter import SegmenterConfig, segment


@dataclass(frozen=True, slots=True)
class EpisodeLabels:
    """Labels of one episode, ready for `Store.put_labels`."""

    takeovers: tuple[TakeoverRow, ...]
    segments: tuple[SegmentRow, ...]
    pairs: tuple[PairRow, ...]


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
    candidates = build_pairs(reader, segmentation, pairs)
    return EpisodeLabels(
        segmentation.takeovers,
        segmentation.segments,
        tuple(candidate.to_row(round_number) for candidate in candidates),
    )


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
    """Add what a driver says of a sealed episode, and label it again if that changes what it teaches.

    Args:
        store: The store; its episode stays as it is, the words go to the journal.
        episode_id: The uuid, or enough of its beginning.
        onset_tick: Names the takeover; None for the whole episode.
        verdict: good, mistake, discard, or "".
        reason: A `Reason`, or "".
        note: Free text, or "".
        segmenter: The segmentation rule's parameters.
        pairs: Sources and gates of the pairs.

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
    whole = found["episode_id"]
    store.put([AnnotationRow(str(uuid.uuid4()), whole, onset_tick, verdict, reason, note)])
    if verdict or reason:
        labels = label_episode(
            store.home / found["path"],
            max((row["round"] for row in found["pairs"]), default=0),
            segmenter,
            pairs,
            queries.said_later(store, [whole]).get(whole, ()),
        )
        store.put_labels([whole], labels.takeovers, labels.segments, labels.pairs)
    return str(whole)


def _require(what: str, word: str, known: Sequence[str]) -> None:
    if word and word not in known:
        raise UsageError(f"unknown {what} `{word}`", fix=f"use one of {', '.join(known)}")
