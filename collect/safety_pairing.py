"""SafeAlign's Algorithm 1 over a whole drive: every state is labelled, every unsafe one gives a pair candidate.

Positive: what was driven stays. Negative: what was driven is tau_neg, the best re-plan tau_pos. A driver's rescue is
nobody's plan: where the next 4 s were not all driven by the policy, its issued plan is what counts (proof.md 8).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..scoring.caution import caution
from ..scoring.conflicts import off_road_s
from ..scoring.pdms import PdmsScores, score_tracks, track_plans, track_ttc, tracked_waypoints
from ..scoring.proposals import Line
from ..scoring.scene import Scene
from ..scoring.tracker import HEADING, RX, RY, STEP_S
from ..store.episodes import EpisodeReader
from ..store.rows import SafetyRow, TakeoverRow
from ..vocabulary import PLAN_POINTS, TICK_S, Authority, PairSource, Plan, Role
from .cot import keep_speed_plan
from .counterfactual import best_replan
from .pair_gates import Choice, judge, merged, veto
from .pair_types import PairCandidate, PairConfig
from .samples import (
    HORIZON_TICKS,
    MIN_VALID_POINTS,
    STEP_TICKS,
    executed_future,
    executed_track,
    map_layers,
    scene_at,
)
from .segmenter import Segmentation

Array = NDArray[np.float64]
EXECUTED, ISSUED_PLAN = "executed", "issued_plan"
SLOW_SHARE = 0.5  # of the reference's progress: a positive that makes less is safe, but nothing to imitate
_ALL = np.ones(PLAN_POINTS, np.bool_)


@dataclass(frozen=True, slots=True)
class Observed:
    """tau_obs of a state.

    Attributes:
        how: executed (by the policy), issued_plan, or who else drove, if only a part of it.
        waypoints_m: (8, 3) ego frame.
        track: (41, 7) its motion.
        generation: Whose it is; "" for nobody's.
    """

    how: str
    waypoints_m: Array
    track: Array
    generation: str


def safety_pairing(
    reader: EpisodeReader, segmentation: Segmentation, config: PairConfig = PairConfig()
) -> tuple[list[SafetyRow], list[PairCandidate]]:
    """Labels of all states of a drive that have a frame, and the pair candidates of the unsafe ones.

    Args:
        reader: The episode, with or without takeovers.
        segmentation: Its labels: takeovers that may not train take the states around them along.
        config: Variant, recipe and gates.

    Returns:
        Labels in order of tick; candidates, the hardest admitted ones first. A state with less than 2.5 s recorded after
        it and no plan has neither.
    """
    labels: list[SafetyRow] = []
    candidates: list[PairCandidate] = []
    owners = {takeover.takeover_id: takeover for takeover in segmentation.takeovers}
    layers = map_layers(reader)
    end_m = float(Line.of(reader.meta.route_centerline_m).along_m[-2])  # the last point is an extension
    for tick, plan in _states(reader):
        scene = scene_at(reader, tick, layers)
        observed = observed_motion(reader, tick, plan, scene)
        owner = owners.get(segmentation.at(tick).takeover_id)
        scores = score_tracks(scene, observed.track[None])
        min_ttc_s = float(track_ttc(scene, observed.track[None])[0, 1:].min())
        cause = "ttc" if min_ttc_s < config.risk_ttc_s else ""
        off_road = scores.dac[0] < 1.0  # asked first: where the road is left is slow to find
        if not cause and config.variant == "ours" and off_road and off_road_m(scene, observed.track) < end_m:
            cause = "off_road"
        reason = refusal(reader, segmentation, owner, tick, observed)
        if cause:
            details = {"label": "neg", "cause": cause, "observed": observed.how, "variant": config.variant}
            if (
                not reason
                and end_m <= off_road_m(scene, track_plans(scene, keep_speed_plan(scene)[None])[0]) < math.inf
            ):
                reason = "route_ends"  # and where the road goes on from there, no re-plan knows
            choice = _choice(reader, tick, scene, observed, owner, config, reason, details, min_ttc_s)
            made = judge(reader, owner, choice, config, segmentation.segmenter_version)
            candidates.append(made)
            reason = made.reject_reason
        else:
            reason = reason or _not_imitable(reader, tick, scene, observed, scores, config)
        labels.append(_row(reader, segmentation, tick, observed, cause, min_ttc_s, scores, reason, config))
    return _settled(labels, merged(reader, candidates, config))


def observed_motion(reader: EpisodeReader, tick: int, plan: Plan | None, scene: Scene) -> Observed:
    """tau_obs of a state; see the module.

    Args:
        reader: The episode.
        tick: Now.
        plan: Made at this tick; None for none.
        scene: Of the tick.
    """
    row = reader.row(tick)
    drivers = reader.ticks["executed_by"][row : row + HORIZON_TICKS]
    others = drivers[drivers != Authority.POLICY]
    whole = len(drivers) == HORIZON_TICKS and not len(others)
    if drivers[0] == Authority.POLICY and not whole and plan is not None and not plan.shadow:
        track = track_plans(scene, plan.waypoints_m[None])
        waypoints = tracked_waypoints(scene, track)[0].astype(np.float64)
        return Observed(ISSUED_PLAN, waypoints, track[0], plan.generation)
    waypoints, _ = executed_future(reader, tick)
    track = executed_track(reader, tick)
    if len(others):
        return Observed(str(others[0]), waypoints, track, "")
    return Observed(EXECUTED, waypoints, track, reader.meta.generation)


def off_road_m(scene: Scene, track: Array) -> float:
    """How far along the route a motion (41, 7) leaves the drivable ground: its front, there; inf if it never does."""
    off_s = off_road_s(scene, track)
    if math.isinf(off_s):
        return math.inf
    state, vehicle = track[round(off_s / STEP_S)], scene.vehicle
    ahead = vehicle.rear_to_centre_m + 0.5 * vehicle.length_m
    front = state[[RX, RY]] + ahead * np.array([np.cos(state[HEADING]), np.sin(state[HEADING])])
    return float(Line.of(scene.centerline_m).place(front)[0])


def refusal(
    reader: EpisodeReader,
    segmentation: Segmentation,
    owner: TakeoverRow | None,
    tick: int,
    observed: Observed,
) -> str:
    """Why a state may not train, whatever its label; "" if it may."""
    window = range(tick - STEP_TICKS, tick + HORIZON_TICKS)
    if reader.meta.role is not Role.TRAIN:
        return "held_out"
    if reader.truncated:
        return "truncated"
    if reader.outcome.end == "sim_fault" or any(at in reader.faults for at in window):
        return "sim_fault"
    if not segmentation.trains:
        return "episode_never_trains"
    if owner is not None and not owner.trains:
        return veto(owner)
    if observed.how not in (EXECUTED, ISSUED_PLAN):
        return f"driven_by_{observed.how}"
    return "" if observed.generation == reader.meta.generation else "other_generation"


def _states(reader: EpisodeReader) -> Iterator[tuple[int, Plan | None]]:
    plans = {row.plan.tick: row.plan for row in reader.plans}
    last = int(reader.ticks["tick"][-1]) if len(reader.ticks["tick"]) else -1
    for tick in reader.frame_ticks:
        recorded = last - tick >= MIN_VALID_POINTS * STEP_TICKS
        if 0 <= tick <= last and (recorded or tick in plans):
            yield tick, plans.get(tick)


def _choice(
    reader: EpisodeReader,
    tick: int,
    scene: Scene,
    observed: Observed,
    owner: TakeoverRow | None,
    config: PairConfig,
    refused: str,
    details: Mapping[str, object],
    min_ttc_s: float,
) -> Choice:
    row = reader.row(tick)
    limit = float(reader.ticks["speed_limit_mps"][row])
    best = best_replan(scene, limit, observed.waypoints_m, config)
    return Choice(
        source=PairSource.COUNTERFACTUAL,
        tick=tick,
        scene=scene,
        chosen=best.plan_m,
        chosen_track=best.track,
        mask=_ALL,
        rejected=observed.waypoints_m,
        rejected_track=observed.track,
        generation=observed.generation,
        weight=1.0 if owner is None else owner.weight,
        details={**details, "min_ttc_s": _finite(min_ttc_s), "replans": dict(best.counts)},
        refused=refused,
        at_red=_red_ahead(reader, tick),
    )


def _not_imitable(
    reader: EpisodeReader,
    tick: int,
    scene: Scene,
    observed: Observed,
    scores: PdmsScores,
    config: PairConfig,
) -> str:
    """Why a positive state is nothing to imitate."""
    if observed.how != EXECUTED:
        return "not_executed"
    if scores.nc[0] < 1.0:
        return "collides"
    if scores.dac[0] < 1.0:  # `safealign` labels by time to collision alone
        return "off_road"
    wanted_m = scene.reference_progress_m * scene.reference_multiplier
    slow = wanted_m > config.still_m and scores.progress_m[0] < SLOW_SHARE * wanted_m
    if slow and not _red_ahead(reader, tick):
        return "slow"
    row = reader.row(tick)
    driven = {name: column[row : row + HORIZON_TICKS] for name, column in reader.ticks.items()}
    ledger = caution(driven["accel_mps2"], driven["speed_mps"], driven["ttc_s"], driven["red_light"], TICK_S)
    return "phantom_brake" if ledger.phantom_brakes else ""


def _red_ahead(reader: EpisodeReader, tick: int) -> bool:
    row = reader.row(tick)
    return bool(reader.ticks["red_light"][row : row + HORIZON_TICKS].any())


def _row(
    reader: EpisodeReader,
    segmentation: Segmentation,
    tick: int,
    observed: Observed,
    cause: str,
    min_ttc_s: float,
    scores: PdmsScores,
    reason: str,
    config: PairConfig,
) -> SafetyRow:
    meta = reader.meta
    return SafetyRow(
        label_id=f"{meta.episode_id}/{tick}",
        episode_id=meta.episode_id,
        tick=tick,
        label="neg" if cause else "pos",
        cause=cause,
        min_ttc_s=_finite(min_ttc_s),
        observed=observed.how,
        score=float(scores.pdms[0]),
        trains=not reason,
        reason=reason,
        role=meta.role.value,
        case_id=meta.case.case_id,
        generation=observed.generation,
        variant=config.variant,
        segmenter_version=segmentation.segmenter_version,
    )


def _settled(
    labels: list[SafetyRow], candidates: list[PairCandidate]
) -> tuple[list[SafetyRow], list[PairCandidate]]:
    """Labels that know which of the candidates gave way to a harder one."""
    why = {candidate.tick: candidate.reject_reason for candidate in candidates}
    return [
        replace(label, trains=not why[label.tick], reason=why[label.tick]) if label.tick in why else label
        for label in labels
    ], candidates


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
