"""Preference pairs from a labelled drive: every candidate, admitted or with the reason why not (proof.md 7 to 10).

Counterfactual planning is SafeAlign's Algorithm 1 on recorded agents: proposals along the centre line, scored by PDMS.
It never asks the expert.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scoring.conflicts import conflicts, critical_agent
from ..scoring.pdms import PdmsScores, score_tracks, track_plans, track_ttc, tracked_waypoints
from ..scoring.scene import STATIC, Scene
from ..store.episodes import EpisodeReader
from ..store.rows import TakeoverRow
from ..vocabulary import PLAN_POINTS, TICK_HZ, Float, PairSource, Phase, Role
from .cot import visible_agents
from .counterfactual import predicted_states, replan, ttc_bound
from .pair_types import Mask, PairCandidate, PairConfig
from .samples import HORIZON_TICKS, STEP_TICKS, Layer, executed_future, executed_track, map_layers, scene_at
from .segmenter import NEVER_TRAIN, VETOES, Segmentation

__all__ = ["PairCandidate", "PairConfig", "build_pairs"]

Array = NDArray[np.float64]
_ALL = np.ones(PLAN_POINTS, np.bool_)
SITE_S = 1.0  # standing things that a plan hits within this time of each other are one obstacle


@dataclass(frozen=True, slots=True)
class _Choice:
    """What to put before the gates. Each side is judged by its motion; a motion is never tracked again."""

    source: PairSource
    tick: int
    scene: Scene
    chosen: Array  # (8, 3) box centre, ego frame
    chosen_track: Array  # (41, 7) its motion: as recorded, or as tracked
    mask: Mask
    rejected: Array  # (8, 2) or (8, 3)
    rejected_track: Array  # (41, 7)
    generation: str  # of the rejected plan
    weight: float
    name: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


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
        candidates += [_judge(reader, takeover, choice, config) for choice in choices]
    return _merged(reader, candidates, config)


def _choices(
    reader: EpisodeReader,
    segmentation: Segmentation,
    takeover: TakeoverRow,
    layers: Mapping[str, Layer],
    config: PairConfig,
) -> Iterable[_Choice]:
    plans = {row.plan.tick: row.plan for row in reader.plans}
    frames = [tick for tick in reader.frame_ticks if tick in plans]
    recovery = segmentation.of(takeover, Phase.RECOVERY)
    adaptation = segmentation.of(takeover, Phase.ADAPTATION)
    onset = takeover.onset_tick
    before = [t for t in frames if takeover.hazard_tick - STEP_TICKS < t <= onset and not plans[t].shadow]
    if config.human and recovery is not None:
        for tick in frames:
            if recovery.start_tick <= tick < recovery.end_tick:
                chosen, mask = executed_future(reader, tick)
                scene = scene_at(reader, tick, layers)
                yield _Choice(
                    PairSource.HUMAN,
                    tick,
                    scene,
                    chosen,
                    executed_track(reader, tick),
                    mask,
                    *_tracked(scene, plans[tick].waypoints_m),
                    plans[tick].generation,
                    takeover.weight,
                )
    at_onset = before[-1] if before and onset - before[-1] < STEP_TICKS else None
    if config.human_onset and at_onset is not None:
        chosen, mask = executed_future(reader, at_onset, first_tick=onset)
        adapting = 0 if adaptation is None else adaptation.end_tick - adaptation.start_tick
        share = min(adapting / max(int(mask.sum()) * STEP_TICKS, 1), 1.0)
        scene = scene_at(reader, at_onset, layers)
        yield _Choice(
            PairSource.HUMAN_ONSET,
            at_onset,
            scene,
            chosen,
            executed_track(reader, at_onset),
            mask,
            *_tracked(scene, plans[at_onset].waypoints_m),
            plans[at_onset].generation,
            takeover.weight * (1.0 - share * (1.0 - config.adaptation_weight)),
        )
    for tick in before:
        if not (config.counterfactual or config.predicted):
            break
        scene = scene_at(reader, tick, layers)
        limit = float(reader.ticks["speed_limit_mps"][reader.row(tick)])
        track = track_plans(scene, plans[tick].waypoints_m[None])
        observed = tracked_waypoints(scene, track)[0].astype(
            np.float64
        )  # never the driver's rescue (proof.md 8)
        made = _Choice(
            PairSource.COUNTERFACTUAL,
            tick,
            scene,
            *_tracked(scene, replan(scene, limit, config)),
            _ALL,
            observed,
            track[0],
            plans[tick].generation,
            takeover.weight,
        )
        if config.counterfactual:
            yield made
        if not config.predicted:
            continue
        for number, (ahead_s, later, rest) in enumerate(predicted_states(scene, track[0], limit, config), 1):
            chosen, chosen_track = _tracked(later, replan(later, limit, config))
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


def _tracked(scene: Scene, plan: Array | Float) -> tuple[Array, Array]:
    """A plan and its motion."""
    return np.asarray(plan, np.float64), track_plans(scene, np.asarray(plan)[None])[0]


def _judge(
    reader: EpisodeReader, takeover: TakeoverRow, choice: _Choice, config: PairConfig
) -> PairCandidate:
    scene = choice.scene
    chosen = score_tracks(scene, choice.chosen_track[None])
    rejected = score_tracks(scene, choice.rejected_track[None])
    chosen_ttc = track_ttc(scene, choice.chosen_track[None])[0]
    ttc_s, now_s = float(chosen_ttc.min()), float(chosen_ttc[0])
    off = np.hypot(*(choice.chosen[:, :2] - choice.rejected[:, :2]).T)[choice.mask]
    critical_id = _critical(
        scene,
        choice.rejected_track,
        visible_agents(reader, choice.tick, config.frames, config.min_visible_px),
    )
    details = {
        "chosen": _scores(chosen),
        "rejected": _scores(rejected),
        "ttc_chosen_s": ttc_s if math.isfinite(ttc_s) else None,
        "ttc_now_s": now_s if math.isfinite(now_s) else None,
        "ade_m": float(off.mean()) if len(off) else 0.0,
        "rejected_unsafe": bool(rejected.nc[0] * rejected.dac[0] < 1.0 or rejected.ttc[0] < 1.0),
        "reference_progress_m": scene.reference_progress_m,
        **choice.details,
    }
    meta = reader.meta
    candidate = PairCandidate(
        pair_id=f"{takeover.takeover_id}/{choice.source.value}/{choice.tick}{choice.name}",
        episode_id=meta.episode_id,
        takeover_id=takeover.takeover_id,
        tick=choice.tick,
        source=choice.source,
        role=meta.role,
        case_id=meta.case.case_id,
        generation=choice.generation,
        driver_id=meta.driver_id,
        chosen_m=choice.chosen[:, :2].astype(np.float32),
        chosen_mask=choice.mask,
        rejected_m=choice.rejected[:, :2].astype(np.float32),
        score_chosen=float(chosen.pdms[0]),
        score_rejected=float(rejected.pdms[0]),
        weight=choice.weight,
        critical_actor_id=critical_id,
        segmenter_version=takeover.segmenter_version,
        details=details,
    )
    return replace(candidate, reject_reason=_reason(reader, takeover, choice, candidate, chosen, config))


def _reason(
    reader: EpisodeReader,
    takeover: TakeoverRow,
    choice: _Choice,
    candidate: PairCandidate,
    chosen: PdmsScores,
    config: PairConfig,
) -> str:
    """Why a candidate may not train; "" if it may."""
    details = candidate.details
    known = reader.faults
    window = range(choice.tick - STEP_TICKS, choice.tick + HORIZON_TICKS)
    if candidate.role is not Role.TRAIN:
        return "held_out"
    if reader.outcome.end == "sim_fault" or any(tick in known for tick in window):
        return "sim_fault"
    if not takeover.trains:
        return f"reason_{takeover.reason.value}" if takeover.reason in NEVER_TRAIN else _veto(takeover)
    if candidate.generation != reader.meta.generation:
        return "other_generation"
    if int(candidate.chosen_mask.sum()) < config.min_valid_points:
        return "too_short"
    if candidate.critical_actor_id and candidate.critical_actor_id not in visible_agents(
        reader, choice.tick, config.frames, config.min_visible_px
    ):
        return "not_visible"
    if chosen.nc[0] < 1.0:
        return "chosen_collides"
    if chosen.dac[0] < 1.0:
        return "chosen_off_road"
    if _or_inf(details["ttc_chosen_s"]) < ttc_bound(_or_inf(details["ttc_now_s"]), config):
        return "chosen_ttc"
    gap = candidate.score_chosen - candidate.score_rejected
    still = max(details["chosen"]["progress_m"], details["reference_progress_m"]) <= config.still_m
    if still and abs(gap) < config.min_score_gap:
        return "no_information"
    if gap < config.min_score_gap:
        return "score_gap"
    return "too_alike" if details["ade_m"] < config.min_ade_m else ""


def _veto(takeover: TakeoverRow) -> str:
    return f"verdict_{takeover.verdict}" if takeover.verdict in VETOES else "episode_never_trains"


def _critical(scene: Scene, track: Array, visible: frozenset[int]) -> int:
    """Whom a plan gets into conflict with; of a site of cones and barriers, one that can be seen."""
    index = critical_agent(scene, track)
    if index is None:
        return 0
    contact, _ = conflicts(scene, track)
    if scene.agent_kind[index] == STATIC and math.isfinite(contact[index]):
        site = np.flatnonzero((scene.agent_kind == STATIC) & (contact <= contact[index] + SITE_S))
        seen = [i for i in site if int(scene.agent_ids[i]) in visible]
        index = int(seen[0]) if seen else index
    return int(scene.agent_ids[index])


def _merged(
    reader: EpisodeReader, candidates: Sequence[PairCandidate], config: PairConfig
) -> list[PairCandidate]:
    """Near-duplicates of a source give way to the harder one."""
    kept: list[PairCandidate] = []
    out: list[PairCandidate] = []
    for one in sorted((c for c in candidates if c.admitted), key=lambda c: (c.hardness, c.pair_id)):
        if any(_alike(reader, one, other, config) for other in kept):
            out.append(replace(one, reject_reason="near_duplicate"))
        else:
            kept.append(one)
    return [*kept, *out, *(c for c in candidates if not c.admitted)]


def _alike(reader: EpisodeReader, a: PairCandidate, b: PairCandidate, config: PairConfig) -> bool:
    if a.source is not b.source or abs(a.tick - b.tick) > config.duplicate_s * TICK_HZ:
        return False
    if a.source is PairSource.PREDICTED and a.tick == b.tick:
        return False
    here, there = reader.ego(a.tick), reader.ego(b.tick)
    return math.hypot(here.x_m - there.x_m, here.y_m - there.y_m) < config.duplicate_m


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value


def _scores(scores: PdmsScores) -> dict[str, float]:
    return {name: float(value[0]) for name, value in asdict(scores).items()}
