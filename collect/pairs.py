"""Preference pairs from a labelled drive: every candidate, admitted or with the reason why not (proof.md 7 to 10).

Counterfactual planning is SafeAlign's Algorithm 1 on recorded agents: proposals along the centre line, scored by PDMS.
It never asks the expert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from ..scoring.pdms import track_plans, tracked_waypoints
from ..store.episodes import EpisodeReader
from ..store.rows import SegmentRow, TakeoverRow
from ..vocabulary import PLAN_POINTS, Authority, PairSource, Phase
from .counterfactual import predicted_states, replan
from .pair_gates import Choice, judge, merged, tracked
from .pair_types import PairCandidate, PairConfig
from .samples import STEP_TICKS, Layer, executed_future, executed_track, map_layers, scene_at
from .segmenter import Segmentation

__all__ = ["PairCandidate", "PairConfig", "build_pairs"]

Array = NDArray[np.float64]
_ALL = np.ones(PLAN_POINTS, np.bool_)


def build_pairs(
    reader: EpisodeReader, segmentation: Segmentation, config: PairConfig = PairConfig()
) -> list[PairCandidate]:
    """All pair candidates of an episode, hardest admitted ones first, then those rejected.

    Args:
        reader: The episode.
        segmentation: Its labels.
        config: Sources and gates.
    """
    candidates: list[PairCandidate] = []
    if not segmentation.takeovers:
        return candidates
    layers = map_layers(reader)
    for takeover in segmentation.takeovers:
        choices = _choices(reader, segmentation, takeover, layers, config)
        candidates += [
            judge(reader, takeover, choice, config, segmentation.segmenter_version) for choice in choices
        ]
    return merged(reader, candidates, config)


def _choices(
    reader: EpisodeReader,
    segmentation: Segmentation,
    takeover: TakeoverRow,
    layers: Mapping[str, Layer],
    config: PairConfig,
) -> Iterable[Choice]:
    plans = {row.plan.tick: row.plan for row in reader.plans}
    frames = [tick for tick in reader.frame_ticks if tick in plans]
    adaptation = segmentation.of(takeover, Phase.ADAPTATION)
    onset = takeover.onset_tick
    before = [t for t in frames if takeover.hazard_tick - STEP_TICKS < t <= onset and not plans[t].shadow]
    if config.human:
        for tick in frames:
            if onset <= tick < takeover.stable_tick and _recovers(segmentation.at(tick)):
                chosen, mask = executed_future(reader, tick)
                scene = scene_at(reader, tick, layers)
                yield Choice(
                    PairSource.HUMAN,
                    tick,
                    scene,
                    chosen,
                    executed_track(reader, tick),
                    mask,
                    *tracked(scene, plans[tick].waypoints_m),
                    plans[tick].generation,
                    takeover.weight,
                )
    at_onset = before[-1] if before and onset - before[-1] < STEP_TICKS else None
    if config.human_onset and at_onset is not None:
        chosen, mask = executed_future(reader, at_onset, first_tick=onset)
        adapting = 0 if adaptation is None else adaptation.end_tick - adaptation.start_tick
        share = min(adapting / max(int(mask.sum()) * STEP_TICKS, 1), 1.0)
        scene = scene_at(reader, at_onset, layers)
        yield Choice(
            PairSource.HUMAN_ONSET,
            at_onset,
            scene,
            chosen,
            executed_track(reader, at_onset),
            mask,
            *tracked(scene, plans[at_onset].waypoints_m),
            plans[at_onset].generation,
            takeover.weight * (1.0 - share * (1.0 - config.adaptation_weight)),
        )
    counterfactual = config.counterfactual and not config.every_episode  # else `safety_pairing` makes them
    for tick in before if counterfactual or config.predicted else ():
        scene = scene_at(reader, tick, layers)
        limit = float(reader.ticks["speed_limit_mps"][reader.row(tick)])
        track = track_plans(scene, plans[tick].waypoints_m[None])
        # Never the driver's rescue (proof.md 8).
        observed = tracked_waypoints(scene, track)[0].astype(np.float64)
        made = Choice(
            PairSource.COUNTERFACTUAL,
            tick,
            scene,
            *tracked(scene, replan(scene, limit, config)),
            _ALL,
            observed,
            track[0],
            plans[tick].generation,
            takeover.weight,
        )
        if counterfactual:
            yield made
        if not config.predicted:
            continue
        for number, (ahead_s, later, rest) in enumerate(predicted_states(scene, track[0], limit, config), 1):
            chosen, chosen_track = tracked(later, replan(later, limit, config))
            yield replace(
                made,
                source=PairSource.PREDICTED,
                scene=later,
                chosen=chosen,
                chosen_track=chosen_track,
                rejected=tracked_waypoints(later, rest[None])[0].astype(np.float64),
                rejected_track=rest,
                weight=takeover.weight / config.predicted_states,
                name=f"+{number}",
                details={"ahead_s": ahead_s, "ego": asdict(later.ego)},
            )


def _recovers(segment: SegmentRow) -> bool:
    return segment.phase is Phase.RECOVERY and segment.executed_by == Authority.DRIVER
