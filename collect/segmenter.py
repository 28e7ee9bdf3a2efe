"""Cuts a sealed drive into phases: a pure function of its columns; labels can be made again without a driver.

Stretches are half-open [start, end) in ticks. Where two rules claim a tick, the later takeover's NEGATIVE and
OBSERVE win over the earlier one's PROBATION.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..store.episodes import EpisodeReader
from ..store.rows import SegmentRow, TakeoverRow
from ..vocabulary import TICK_HZ, Authority, Phase, Reason, Role

SEGMENTER_VERSION = "1"
NEVER_TRAIN = frozenset({Reason.WISH, Reason.SYSTEM_FAULT, Reason.TRAINING})
HAZARDS = ("ttc", "off_road", "wrong_lane", "stuck")
_PHASES = tuple(Phase)
_NOBODY = -1  # owner of ticks that belong to no takeover
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """Parameters of the rule."""

    lookback_s: float = 6.0  # OBSERVE and the walk back to the hazard's onset
    reaction_s: float = 2.0  # NEGATIVE is never shorter, unless the policy drove for less
    hazard_ttc_s: float = 2.0
    wrong_lane_m: float = 2.0  # ours: more than half a lane off the route's centre line
    stuck_s: float = 10.0
    stuck_speed_mps: float = 0.1  # ours
    adaptation_min_s: float = 0.3
    adaptation_max_s: float = 1.5  # taken when steering and jerk never settle
    adaptation_default_s: float = 1.0  # taken when the driver holds too briefly to tell
    adaptation_weight: float = 0.25  # of an onset pair's adaptation part (proof.md 9)
    settle_s: float = 0.2  # ours: over which steering rate and jerk are judged
    settle_steer_radps: float = 0.25  # ours: road-wheel rate
    settle_jerk_mps3: float = 5.0  # ours
    stable_ttc_s: float = 3.0
    stable_lateral_m: float = 0.5
    stable_hold_s: float = 2.0
    comfort_accel_mps2: tuple[float, float] = (-4.05, 2.40)  # Bench2Drive's comfort bounds
    comfort_lateral_mps2: float = 4.89
    comfort_jerk_mps3: float = 4.13
    comfort_yaw_rate_radps: float = 0.95
    recovery_max_s: float = 10.0
    handback_blend_s: float = 0.5
    probation_s: float = 10.0
    relapse_factor: float = 2.0
    chain_weight_max: float = 4.0  # ours: a driver who toggles must not own a round

    @property
    def version(self) -> str:
        """`SEGMENTER_VERSION`, and a hash of the parameters that are not the defaults."""
        if self == SegmenterConfig():
            return SEGMENTER_VERSION
        return f"{SEGMENTER_VERSION}+{hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Trace:
    """What the rule reads of a drive; every column has one entry a tick, from tick 0.

    Attributes:
        executed_by: Authority values as text.
        reasons: Onset tick to the reason that the driver or the system gave.
        faulty: A simulator or sensor fault on the tick.
        trains: The episode may train at all: train role, no simulator fault at its end.
        uneventful: It also succeeded; with no takeover in it, its drive is replay.
    """

    episode_id: str
    executed_by: NDArray[np.str_]
    ttc_s: Floats
    speed_mps: Floats
    accel_mps2: Floats
    lateral_accel_mps2: Floats
    yaw_rate_radps: Floats
    steer_rad: Floats
    lateral_error_m: Floats
    off_road: Bools
    red_light: Bools
    faulty: Bools
    reasons: Mapping[int, Reason] = field(default_factory=dict)
    trains: bool = True
    uneventful: bool = False


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Labels of one episode. The segments cover every tick from 0, in order."""

    episode_id: str
    segmenter_version: str
    takeovers: tuple[TakeoverRow, ...]
    segments: tuple[SegmentRow, ...]

    def of(self, takeover: TakeoverRow, phase: Phase) -> SegmentRow | None:
        """The segment of a takeover with a phase; None when it is empty."""
        mine = (s for s in self.segments if s.takeover_id == takeover.takeover_id and s.phase is phase)
        return next(mine, None)

    def at(self, tick: int) -> SegmentRow:
        """The segment that holds a tick."""
        return next(s for s in self.segments if s.start_tick <= tick < s.end_tick)


def segment(reader: EpisodeReader, config: SegmenterConfig = SegmenterConfig()) -> Segmentation:
    """Label a sealed episode."""
    return segment_trace(trace_of(reader), config)


def trace_of(reader: EpisodeReader) -> Trace:
    """The columns that the rule reads."""
    columns = {name: column[reader.warmup :] for name, column in reader.ticks.items()}
    faulty = np.isin(columns["tick"], list(reader.faults))
    reasons = {
        event.tick: Reason(event.data["reason"]) for event in reader.events if event.kind == "takeover"
    }
    trains = reader.meta.role is Role.TRAIN and reader.outcome.end != "sim_fault"
    return Trace(
        episode_id=reader.episode_id,
        executed_by=columns["executed_by"],
        ttc_s=columns["ttc_s"],
        speed_mps=columns["speed_mps"],
        accel_mps2=columns["accel_mps2"],
        lateral_accel_mps2=columns["lateral_accel_mps2"],
        yaw_rate_radps=columns["yaw_rate_radps"],
        steer_rad=columns["steer_rad"],
        lateral_error_m=columns["lateral_error_m"],
        off_road=columns["off_road"],
        red_light=columns["red_light"],
        faulty=faulty,
        reasons=reasons,
        trains=trains,
        uneventful=trains and reader.outcome.success and not faulty.any(),
    )


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
    hazards = _hazards(trace, config)
    takeovers: list[TakeoverRow] = []
    for onset, handback in _driver_stretches(trace.executed_by):
        takeover, stretches = _takeover(trace, config, hazards, onset, handback, takeovers)
        for phase, start, end in stretches:
            phases[start:end] = _PHASES.index(phase)
            owners[start:end] = len(takeovers)
        takeovers.append(takeover)
    takeovers = _weighted(takeovers, config)
    return Segmentation(
        trace.episode_id,
        config.version,
        tuple(takeovers),
        tuple(_segments(trace, config, phases, owners, takeovers)),
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
    policy_start = _policy_start(trace.executed_by, onset)
    hazard_tick, hazard = _hazard_onset(hazards, onset, max(policy_start, onset - _ticks(config.lookback_s)))
    if not hazard:
        hazard_tick = max(onset - _ticks(config.reaction_s), policy_start)
    negative = max(min(hazard_tick, onset - _ticks(config.reaction_s)), policy_start)
    observe = max(onset - _ticks(config.lookback_s), policy_start)
    recovery = min(onset + _adaptation_ticks(trace, config, onset, handback), handback)
    stable = _stable_tick(trace, config, recovery, handback)
    probation_end = min(handback + _ticks(config.handback_blend_s) + _ticks(config.probation_s), count)
    previous = earlier[-1] if earlier else None
    relapse = previous is not None and onset - previous.handback_tick <= _ticks(
        config.handback_blend_s
    ) + _ticks(config.probation_s)
    takeover_id = f"{trace.episode_id}/{len(earlier)}"
    reason = trace.reasons.get(onset, Reason.WISH)
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
        trains=trace.trains and reason not in NEVER_TRAIN and not trace.faulty[negative:stable].any(),
        relapse=relapse,
        weight=0.0,  # set when the whole chain is known
        min_ttc_before_s=_least(trace.ttc_s[negative : onset + 1]),
        min_ttc_after_s=_least(trace.ttc_s[onset:handback]),
        segmenter_version=config.version,
    )
    return takeover, stretches


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
    if not takeover.trains:
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


def _driver_stretches(executed_by: NDArray[np.str_]) -> list[tuple[int, int]]:
    """[onset, hand-back) of every stretch that the driver executes."""
    driver = np.concatenate([[False], executed_by == Authority.DRIVER, [False]])
    edges = np.flatnonzero(driver[1:] != driver[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _policy_start(executed_by: NDArray[np.str_], onset: int) -> int:
    """First tick of the policy's stretch that ends at the onset; the onset when the policy did not drive."""
    others = np.flatnonzero(executed_by[:onset] != Authority.POLICY)
    return int(others[-1]) + 1 if len(others) else 0


def _hazards(trace: Trace, config: SegmenterConfig) -> dict[str, Bools]:
    still = (np.abs(trace.speed_mps) < config.stuck_speed_mps) & ~trace.red_light
    ticks = np.arange(len(still))
    moved = np.maximum.accumulate(np.where(still, -1, ticks)) if len(still) else ticks
    return {
        "ttc": trace.ttc_s < config.hazard_ttc_s,
        "off_road": trace.off_road,
        "wrong_lane": np.abs(trace.lateral_error_m) > config.wrong_lane_m,
        "stuck": ticks - moved > _ticks(config.stuck_s),
    }


def _hazard_onset(hazards: dict[str, Bools], onset: int, earliest: int) -> tuple[int, str]:
    """First tick from which some hazard lasts up to the onset, and its name; ("" when there is none)."""
    tick = onset
    while tick > earliest and any(hazards[name][tick - 1] for name in HAZARDS):
        tick -= 1
    return tick, next((name for name in HAZARDS if hazards[name][tick]), "") if tick < onset else ""


def _adaptation_ticks(trace: Trace, config: SegmenterConfig, onset: int, handback: int) -> int:
    first, last, window = (
        _ticks(value) for value in (config.adaptation_min_s, config.adaptation_max_s, config.settle_s)
    )
    steer_rate = np.abs(np.diff(trace.steer_rad)) * TICK_HZ
    for ticks in range(first, last + 1):
        start, end = onset + ticks, onset + ticks + window
        if end >= handback:
            return _ticks(config.adaptation_default_s)
        jerk = abs(trace.accel_mps2[end] - trace.accel_mps2[start]) / config.settle_s
        if steer_rate[start:end].max() <= config.settle_steer_radps and jerk <= config.settle_jerk_mps3:
            return ticks
    return last


def _stable_tick(trace: Trace, config: SegmenterConfig, recovery: int, handback: int) -> int:
    """First tick after the recovery: stability has been kept, hand-back, or the longest recovery."""
    last = min(handback, recovery + _ticks(config.recovery_max_s))
    window = _ticks(config.settle_s)
    before = np.concatenate([np.repeat(trace.accel_mps2[:1], window), trace.accel_mps2[:-window]])
    jerk = np.abs(trace.accel_mps2 - before[: len(trace.accel_mps2)]) / config.settle_s
    calm = (
        (trace.ttc_s > config.stable_ttc_s)
        & (np.abs(trace.lateral_error_m) < config.stable_lateral_m)
        & (trace.accel_mps2 >= config.comfort_accel_mps2[0])
        & (trace.accel_mps2 <= config.comfort_accel_mps2[1])
        & (np.abs(trace.lateral_accel_mps2) <= config.comfort_lateral_mps2)
        & (np.abs(trace.yaw_rate_radps) <= config.comfort_yaw_rate_radps)
        & (jerk <= config.comfort_jerk_mps3)
    )
    hold, kept = _ticks(config.stable_hold_s), 0
    for tick in range(recovery, last):
        kept = kept + 1 if calm[tick] else 0
        if kept == hold:
            return tick + 1
    return last


def _least(ttc_s: Floats) -> float | None:
    least = float(ttc_s.min()) if len(ttc_s) else np.inf
    return least if np.isfinite(least) else None


def _ticks(seconds: float) -> int:
    return round(seconds * TICK_HZ)
