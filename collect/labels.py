"""From a sealed episode to the labels of the store: takeovers, segments, pair candidates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..store.episodes import EpisodeReader
from ..store.rows import PairRow, SegmentRow, TakeoverRow
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
) -> EpisodeLabels:
    """Cut a sealed episode into segments and build its pair candidates, admitted or not.

    Args:
        path: The episode's folder.
        round_number: Round that its pairs belong to.
        segmenter: The segmentation rule's parameters.
        pairs: Sources and gates of the pairs.
    """
    reader = EpisodeReader(path)
    segmentation = segment(reader, segmenter)
    candidates = build_pairs(reader, segmentation, pairs)
    return EpisodeLabels(
        segmentation.takeovers,
        segmentation.segments,
        tuple(candidate.to_row(round_number) for candidate in candidates),
    )
