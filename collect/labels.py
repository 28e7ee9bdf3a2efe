"""From a sealed episode to the labels of the store: takeovers, segments, pair candidates."""

from __future__ import annotations

from dataclasses import dataclass

from ..store.rows import PairRow, SegmentRow, TakeoverRow


@dataclass(frozen=True, slots=True)
class EpisodeLabels:
    """Labels of one episode, ready for `Store.put_labels`."""

    takeovers: list[TakeoverRow]
    segments: list[SegmentRow]
    pairs: list[PairRow]
