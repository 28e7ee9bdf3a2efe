"""The columns of a drive that the segmentation rule reads, its parameters, and what is measured on the columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..store.episodes import EpisodeReader
from ..vocabulary import TICK_HZ, Authority, Role
from .driver_words import DriverWords, driver_words

SEGMENTER_VERSION = "2"
GAS_GAP_S = 1.0  # presses of the gas that are closer than this are one override
HAZARDS = ("ttc", "off_road", "wrong_lane", "stuck")
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
        words: What the driver said of the drive.
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
    words: DriverWords = field(default_factory=DriverWords)
    trains: bool = True
    uneventful: bool = False


def trace_of(reader: EpisodeReader, annotations: Sequence[Mapping[str, Any]] = ()) -> Trace:
    """The columns that the rule reads, and the driver's words."""
    columns = {name: column[reader.warmup :] for name, column in reader.ticks.items()}
    faulty = np.isin(columns["tick"], list(reader.faults))
    words = driver_words(reader, annotations)
    trains = (
        reader.meta.role is Role.TRAIN
        and reader.outcome.end != "sim_fault"
        and not words.practice
        and not words.discarded
    )
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
        words=words,
        trains=trains,
        uneventful=trains and reader.outcome.success and not faulty.any(),
    )


def driver_stretches(
    executed_by: NDArray[np.str_], taken: Container[int] = frozenset()
) -> list[tuple[int, int]]:
    """[onset, hand-back) of every takeover.

    The world stops the car by itself while the cockpit hangs: a driver who drives on after that, without having taken
    over again, has never given the car away.

    Args:
        executed_by: Authority values as text.
        taken: Ticks at which the driver took over, by the events.
    """
    driver = np.concatenate([[False], executed_by == Authority.DRIVER, [False]])
    edges = np.flatnonzero(driver[1:] != driver[:-1]).tolist()
    found: list[tuple[int, int]] = []
    for onset, handback in zip(edges[::2], edges[1::2], strict=True):
        since = found[-1][1] if found else 0
        stopped = bool((executed_by[since:onset] == Authority.SAFE_STOP).all())
        if found and stopped and onset not in taken:
            found[-1] = found[-1][0], handback
        else:
            found.append((onset, handback))
    return found


def policy_start(executed_by: NDArray[np.str_], onset: int) -> int:
    """First tick of the policy's stretch that ends at the onset; the onset when the policy did not drive."""
    others = np.flatnonzero(executed_by[:onset] != Authority.POLICY)
    return int(others[-1]) + 1 if len(others) else 0


def measured_hazards(trace: Trace, config: SegmenterConfig) -> dict[str, Bools]:
    """Which hazard is there on each tick, by name."""
    still = (np.abs(trace.speed_mps) < config.stuck_speed_mps) & ~trace.red_light
    ticks = np.arange(len(still))
    moved = np.maximum.accumulate(np.where(still, -1, ticks)) if len(still) else ticks
    return {
        "ttc": trace.ttc_s < config.hazard_ttc_s,
        "off_road": trace.off_road,
        "wrong_lane": np.abs(trace.lateral_error_m) > config.wrong_lane_m,
        "stuck": ticks - moved > ticks_of(config.stuck_s),
    }


def hazard_onset(hazards: dict[str, Bools], onset: int, earliest: int) -> tuple[int, str]:
    """First tick from which some hazard lasts up to the onset, and its name; ("" when there is none)."""
    tick = onset
    while tick > earliest and any(hazards[name][tick - 1] for name in HAZARDS):
        tick -= 1
    return tick, next((name for name in HAZARDS if hazards[name][tick]), "") if tick < onset else ""


def adaptation_ticks(trace: Trace, config: SegmenterConfig, onset: int, handback: int) -> int:
    """Ticks after the onset until wheel and pedals have settled."""
    first, last, window = (
        ticks_of(value) for value in (config.adaptation_min_s, config.adaptation_max_s, config.settle_s)
    )
    steer_rate = np.abs(np.diff(trace.steer_rad)) * TICK_HZ
    for ticks in range(first, last + 1):
        start, end = onset + ticks, onset + ticks + window
        if end >= handback:
            return ticks_of(config.adaptation_default_s)
        jerk = abs(trace.accel_mps2[end] - trace.accel_mps2[start]) / config.settle_s
        if steer_rate[start:end].max() <= config.settle_steer_radps and jerk <= config.settle_jerk_mps3:
            return ticks
    return last


def stable_tick(trace: Trace, config: SegmenterConfig, recovery: int, handback: int) -> int:
    """First tick after the recovery: stability has been kept, hand-back, or the longest recovery."""
    last = min(handback, recovery + ticks_of(config.recovery_max_s))
    window = ticks_of(config.settle_s)
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
    hold, kept = ticks_of(config.stable_hold_s), 0
    for tick in range(recovery, last):
        kept = kept + 1 if calm[tick] else 0
        if kept == hold:
            return tick + 1
    return last


def least_s(ttc_s: Floats) -> float | None:
    """Least time to collision; None for none below infinity."""
    least = float(ttc_s.min()) if len(ttc_s) else np.inf
    return least if np.isfinite(least) else None


def ticks_of(seconds: float) -> int:
    """Seconds as ticks."""
    return round(seconds * TICK_HZ)
