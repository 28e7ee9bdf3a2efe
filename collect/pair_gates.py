"""The gates that a pair candidate has to pass before it trains (proof.md 7 to 10): each failure keeps its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scoring.conflicts import conflicts, critical_agent
from ..scoring.pdms import PdmsScores, score_tracks, track_plans, track_ttc
from ..scoring.scene import STATIC, Scene
from ..store.episodes import EpisodeReader
from ..store.rows import TakeoverRow
from ..vocabulary import TICK_HZ, Float, PairSource, Role
from .cot import visible_agents
from .counterfactual import ttc_bound
from .pair_types import Mask, PairCandidate, PairConfig
from .samples import HORIZON_TICKS, STEP_TICKS
from .segmenter import NEVER_TRAIN, VETOES

Array = NDArray[np.float64]
SITE_S = 1.0  # standing things that a plan hits within this time of each other are one obstacle
RED_MARGIN_M = 1.0  # a chosen plan may go so much farther than what was driven before a red light


@dataclass(frozen=True, slots=True)
class Choice:
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
    refused: str = ""  # a reason that is known beforehand
    at_red: bool = False  # a red light is ahead: nobody knows where it lets a plan go on


def tracked(scene: Scene, plan: Array | Float) -> tuple[Array, Array]:
    """A plan and its motion, (41, 7)."""
    return np.asarray(plan, np.float64), track_plans(scene, np.asarray(plan)[None])[0]


def judge(
    reader: EpisodeReader, takeover: TakeoverRow | None, choice: Choice, config: PairConfig, version: str
) -> PairCandidate:
    """A choice with its scores, admitted or with the reason why not.

    Args:
        reader: The episode.
        takeover: That the state belongs to; None for a state of no takeover.
        choice: The two sides.
        config: Gates.
        version: Of the segmenter.
    """
    scene = choice.scene
    chosen = score_tracks(scene, choice.chosen_track[None])
    rejected = score_tracks(scene, choice.rejected_track[None])
    chosen_ttc = track_ttc(scene, choice.chosen_track[None])[0]
    ttc_s, now_s = float(chosen_ttc.min()), float(chosen_ttc[0])
    off = np.hypot(*(choice.chosen[:, :2] - choice.rejected[:, :2]).T)[choice.mask]
    visible = visible_agents(reader, choice.tick, config.frames, config.min_visible_px)
    critical_id = _critical(scene, choice.rejected_track, visible)
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
    owner = meta.episode_id if takeover is None else takeover.takeover_id
    candidate = PairCandidate(
        pair_id=f"{owner}/{choice.source.value}/{choice.tick}{choice.name}",
        episode_id=meta.episode_id,
        takeover_id="" if takeover is None else takeover.takeover_id,
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
        segmenter_version=version,
        details=details,
    )
    refused = _reason(reader, takeover, choice, candidate, chosen, visible, config)
    return replace(candidate, reject_reason=refused)


def _reason(
    reader: EpisodeReader,
    takeover: TakeoverRow | None,
    choice: Choice,
    candidate: PairCandidate,
    chosen: PdmsScores,
    visible: frozenset[int],
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
    if takeover is not None and not takeover.trains:
        return veto(takeover)
    if choice.refused:
        return choice.refused
    if candidate.generation != reader.meta.generation:
        return "other_generation"
    if int(candidate.chosen_mask.sum()) < config.min_valid_points:
        return "too_short"
    if candidate.critical_actor_id and candidate.critical_actor_id not in visible:
        return "not_visible"
    if chosen.nc[0] < 1.0:
        return "chosen_collides"
    if chosen.dac[0] < 1.0:
        return "chosen_off_road"
    if _or_inf(details["ttc_chosen_s"]) < ttc_bound(_or_inf(details["ttc_now_s"]), config):
        return "chosen_ttc"
    if choice.at_red and details["chosen"]["progress_m"] > details["rejected"]["progress_m"] + RED_MARGIN_M:
        return "chosen_runs_red"
    gap = candidate.score_chosen - candidate.score_rejected
    still = max(details["chosen"]["progress_m"], details["reference_progress_m"]) <= config.still_m
    if still and abs(gap) < config.min_score_gap:
        return "no_information"
    if gap < config.min_score_gap:
        return "score_gap"
    return "too_alike" if details["ade_m"] < config.min_ade_m else ""


def veto(takeover: TakeoverRow) -> str:
    """Why a takeover that never trains does not."""
    if takeover.reason in NEVER_TRAIN:
        return f"reason_{takeover.reason.value}"
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


def merged(
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
