"""Cuts a sealed drive into phases: a pure function of its columns; labels can be made again without a driver.

Stretches are half-open [start, end) in ticks. Where two rules claim a tick, the later takeover's NEGATIVE and
OBSERVE win over the earlier one's PROBATION.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..store.episodes import EpisodeReader
from ..store.rows import SegmentRow, TakeoverRow
from ..vocabulary import Authority, Phase, Reason, Verdict
from .driver_words import DriverWords
from .trace import (
    GAS_GAP_S,
    SEGMENTER_VERSION,
    Bools,
    SegmenterConfig,
    Trace,
    adaptation_ticks,
    driver_stretches,
    hazard_onset,
    least_s,
    measured_hazards,
    policy_start,
    stable_tick,
    ticks_of,
    trace_of,
)

__all__ = [
    "NEVER_TRAIN",
    "SEGMENTER_VERSION",
    "Segmentation",
    "SegmenterConfig",
    "Trace",
    "segment",
    "segment_trace",
    "trace_of",
]


NEVER_TRAIN = frozenset({Reason.WISH, Reason.SYSTEM_FAULT, Reason.TRAINING})
VETOES = frozenset({Verdict.MISTAKE, Verdict.DISCARD})
# The reason of a takeover of which the driver said nothing: by the hazard that was measured, else by what was used.
_OF_HAZARD = {
    "ttc": Reason.COLLISION_RISK,
    "off_road": Reason.LANE_OR_ROUTE,
    "wrong_lane": Reason.LANE_OR_ROUTE,
    "stuck": Reason.TOO_SLOW,
}
_OF_CHANNEL = {
    "brake": Reason.COLLISION_RISK,
    "steer": Reason.LANE_OR_ROUTE,
    "throttle": Reason.TOO_SLOW,
}
_PHASES = tuple(Phase)
_FREE = [_PHASES.index(p) for p in (Phase.AUTONOMOUS, Phase.OBSERVE, Phase.PROBATION)]  # gas may claim these
_NOBODY = -1  # owner of ticks that belong to no takeover


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Labels of one episode. The segments cover every tick from 0, in order.

    Attributes:
        trains: Something in the episode may train: `Trace.trains`.
    """

    episode_id: str
    segmenter_version: str
    takeovers: tuple[TakeoverRow, ...]
    segments: tuple[SegmentRow, ...]
    trains: bool = True

    def of(self, takeover: TakeoverRow, phase: Phase) -> SegmentRow | None:
        """The segment of a takeover with a phase, the first where the cockpit hung in it; None when it is empty."""
        mine = (s for s in self.segments if s.takeover_id == takeover.takeover_id and s.phase is phase)
        return next(mine, None)

    def at(self, tick: int) -> SegmentRow:
        """The segment that holds a tick."""
        return next(s for s in self.segments if s.start_tick <= tick < s.end_tick)


def segment(
    reader: EpisodeReader,
    config: SegmenterConfig = SegmenterConfig(),
    annotations: Sequence[Mapping[str, Any]] = (),
) -> Segmentation:
    """Label a sealed episode.

    Args:
        reader: The episode.
        config: Parameters of the rule.
        annotations: What the driver said of it after it was sealed (`queries.annotations`).
    """
    return segment_trace(trace_of(reader, annotations), config)


def segment_trace(trace: Trace, config: SegmenterConfig = SegmenterConfig()) -> Segmentation:
    """Label a drive.

    Args:
        trace: Its columns.
        config: Parameters of the rule.

    Returns:
        Takeovers in order of onset, and segments that cover every tick.
    """
    count = len(trace.executed_by)
    phases = np.full(count, _PHASES.index(Phase.AUTONOMOUS))
    owners = np.full(count, _NOBODY)
    hazards = measured_hazards(trace, config)
    takeovers: list[TakeoverRow] = []
    for onset, handback in driver_stretches(trace.executed_by, trace.words.channels):
        takeover, stretches = _takeover(trace, config, hazards, onset, handback, takeovers)
        for phase, start, end in stretches:
            phases[start:end] = _PHASES.index(phase)
            owners[start:end] = len(takeovers)
        takeovers.append(takeover)
    takeovers = _weighted(takeovers, config)
    for start, end in _gas_stretches(trace):
        override, stretches = _override(trace, config, start, end)
        free = np.isin(phases, _FREE)
        for phase, first, last in stretches:
            phases[first:last][free[first:last]] = _PHASES.index(phase)
            owners[first:last][free[first:last]] = len(takeovers)
        takeovers.append(override)
    return Segmentation(
        trace.episode_id,
        config.version,
        tuple(sorted(takeovers, key=lambda takeover: takeover.onset_tick)),
        tuple(_segments(trace, config, phases, owners, takeovers)),
        trace.trains,
    )


def _takeover(
    trace: Trace,
    config: SegmenterConfig,
    hazards: dict[str, Bools],
    onset: int,
    handback: int,
    earlier: Sequence[TakeoverRow],
) -> tuple[TakeoverRow, list[tuple[Phase, int, int]]]:
    """One takeover, and its stretches in the order in which they are painted."""
    count = len(trace.executed_by)
    driven_from = policy_start(trace.executed_by, onset)
    hazard_tick, hazard = hazard_onset(hazards, onset, max(driven_from, onset - ticks_of(config.lookback_s)))
    if not hazard:
        hazard_tick = max(onset - ticks_of(config.reaction_s), driven_from)
    negative = max(min(hazard_tick, onset - ticks_of(config.reaction_s)), driven_from)
    observe = max(onset - ticks_of(config.lookback_s), driven_from)
    recovery = min(onset + adaptation_ticks(trace, config, onset, handback), handback)
    stable = stable_tick(trace, config, recovery, handback)
    probation_end = min(handback + ticks_of(config.handback_blend_s) + ticks_of(config.probation_s), count)
    previous = earlier[-1] if earlier else None
    relapse = previous is not None and onset - previous.handback_tick <= ticks_of(
        config.handback_blend_s
    ) + ticks_of(config.probation_s)
    takeover_id = f"{trace.episode_id}/{len(earlier)}"
    verdict = trace.words.verdicts.get(onset)
    if not hazard and trace.ttc_s[negative:handback].min() <= config.stable_ttc_s:
        reason = _why(trace.words, onset, "ttc")  # an attentive driver acts before it is a hazard
    else:
        reason = _why(trace.words, onset, hazard)
    stretches = [
        (Phase.OBSERVE, observe, negative),
        (Phase.NEGATIVE, negative, onset),
        (Phase.ADAPTATION, onset, recovery),
        (Phase.RECOVERY, recovery, stable),
        (Phase.DRIVER, stable, handback),
        (Phase.PROBATION, handback, probation_end),
    ]
    takeover = TakeoverRow(
        takeover_id=takeover_id,
        chain_id=previous.chain_id if previous is not None and relapse else takeover_id,
        episode_id=trace.episode_id,
        onset_tick=onset,
        hazard_tick=hazard_tick,
        hazard=hazard,
        stable_tick=stable,
        handback_tick=handback,
        reason=reason,
        trains=trace.trains
        and reason not in NEVER_TRAIN
        and verdict not in VETOES
        and not trace.faulty[negative:stable].any(),
        relapse=relapse,
        weight=0.0,  # set when the whole chain is known
        min_ttc_before_s=least_s(trace.ttc_s[negative : onset + 1]),
        min_ttc_after_s=least_s(trace.ttc_s[onset:handback]),
        segmenter_version=config.version,
        verdict=verdict.value if verdict is not None else "",
    )
    return takeover, stretches


def _why(words: DriverWords, onset: int, hazard: str) -> Reason:
    """The driver's reason; without one, what was measured; without that a wish, unless the driver called it good."""
    if words.practice:
        return Reason.TRAINING
    given = words.reasons.get(onset) or _OF_HAZARD.get(hazard)
    if given is None and words.verdicts.get(onset) is Verdict.GOOD:
        given = _OF_CHANNEL.get(words.channels.get(onset, ""), Reason.COLLISION_RISK)
    return given or Reason.WISH


def _override(
    trace: Trace, config: SegmenterConfig, start: int, end: int
) -> tuple[TakeoverRow, list[tuple[Phase, int, int]]]:
    """Gas alone: the plans before it were too slow. What was driven then is nobody's example: two steered and drove."""
    negative = max(start - ticks_of(config.reaction_s), policy_start(trace.executed_by, start))
    reason = Reason.TRAINING if trace.words.practice else trace.words.reasons.get(start, Reason.TOO_SLOW)
    verdict = trace.words.verdicts.get(start)
    trains = (
        trace.trains
        and reason not in NEVER_TRAIN
        and verdict not in VETOES
        and not trace.faulty[negative:end].any()
    )
    takeover_id = f"{trace.episode_id}/gas{start}"
    override = TakeoverRow(
        takeover_id=takeover_id,
        chain_id=takeover_id,
        episode_id=trace.episode_id,
        onset_tick=start,
        hazard_tick=negative,
        hazard="",
        stable_tick=start,
        handback_tick=end,
        reason=reason,
        trains=trains,
        relapse=False,
        weight=float(trains),
        min_ttc_before_s=least_s(trace.ttc_s[negative : start + 1]),
        min_ttc_after_s=least_s(trace.ttc_s[start:end]),
        segmenter_version=config.version,
        verdict=verdict.value if verdict is not None else "",
    )
    return override, [(Phase.NEGATIVE, negative, start), (Phase.ADAPTATION, start, end)]


def _gas_stretches(trace: Trace) -> list[tuple[int, int]]:
    """[start, end) of gas overrides: presses close together joined, cut where the driver took the whole car."""
    joined: list[tuple[int, int]] = []
    for start, end in trace.words.gas:
        if joined and start - joined[-1][1] <= ticks_of(GAS_GAP_S):
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    found = []
    for start, end in joined:
        others = np.flatnonzero(trace.executed_by[start:end] != Authority.POLICY)
        end = start + int(others[0]) if len(others) else min(end, len(trace.executed_by))
        if end > start:
            found.append((start, end))
    return found


def _segments(
    trace: Trace,
    config: SegmenterConfig,
    phases: NDArray[np.int_],
    owners: NDArray[np.int_],
    takeovers: Sequence[TakeoverRow],
) -> list[SegmentRow]:
    """Run lengths of (phase, takeover, authority), with what each may teach."""
    count = len(phases)
    if count == 0:
        return []
    changed = (
        (np.diff(phases) != 0) | (np.diff(owners) != 0) | (trace.executed_by[1:] != trace.executed_by[:-1])
    )
    starts = [0, *(np.flatnonzero(changed) + 1).tolist()]
    rows = []
    for index, (start, end) in enumerate(zip(starts, [*starts[1:], count], strict=True)):
        phase, executed_by = _PHASES[phases[start]], str(trace.executed_by[start])
        takeover = takeovers[owners[start]] if owners[start] != _NOBODY else None
        trains, weight = _lesson(trace, config, phase, executed_by, takeover, bool(takeovers))
        rows.append(
            SegmentRow(
                segment_id=f"{trace.episode_id}/s{index}",
                episode_id=trace.episode_id,
                takeover_id=takeover.takeover_id if takeover is not None else "",
                phase=phase,
                start_tick=start,
                end_tick=end,
                executed_by=executed_by,
                reason=takeover.reason.value if takeover is not None else "",
                train_mask=trains,
                weight=weight,
                segmenter_version=config.version,
            )
        )
    return rows


def _lesson(
    trace: Trace,
    config: SegmenterConfig,
    phase: Phase,
    executed_by: str,
    takeover: TakeoverRow | None,
    any_takeover: bool,
) -> tuple[bool, float]:
    """(train_mask, weight) of a segment."""
    if takeover is None:
        replay = trace.uneventful and not any_takeover and executed_by == Authority.POLICY
        return replay, float(replay)
    if not takeover.trains or executed_by == Authority.SAFE_STOP:  # the world's own stop in a takeover
        return False, 0.0
    if phase in (Phase.NEGATIVE, Phase.RECOVERY):
        return True, takeover.weight
    if phase is Phase.DRIVER:
        return True, 1.0
    if phase is Phase.ADAPTATION:  # never chosen, never negative; the weight is for onset pairs that cross it
        return False, takeover.weight * config.adaptation_weight
    return False, 0.0


def _weighted(takeovers: Sequence[TakeoverRow], config: SegmenterConfig) -> list[TakeoverRow]:
    """Each relapse that trains doubles the weight of its whole chain."""
    relapses: dict[str, int] = {}
    for takeover in takeovers:
        relapses[takeover.chain_id] = relapses.get(takeover.chain_id, 0) + (
            takeover.relapse and takeover.trains
        )
    weights = {
        chain: min(config.relapse_factor**number, config.chain_weight_max)
        for chain, number in relapses.items()
    }
    return [
        replace(takeover, weight=weights[takeover.chain_id] if takeover.trains else 0.0)
        for takeover in takeovers
    ]
