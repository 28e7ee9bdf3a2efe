"""Counterfactual planning: what should have been done from a state, by SafeAlign's Algorithm 1 on recorded agents.

Plans along the centre line are scored by PDMS. The expert is never asked (proof.md 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..scoring.conflicts import critical_agent
from ..scoring.pdms import PdmsScores, score_tracks, track_plans, track_ttc
from ..scoring.proposals import among, centerline_proposals, with_reference
from ..scoring.replans import two_stage_plans
from ..scoring.scene import STATIC, Scene
from ..scoring.tracker import ACCEL, HEADING, RX, RY, SPEED, STEER, STEP_S, YAW_RATE
from ..vocabulary import EgoState
from .cot import keep_speed_plan
from .pair_types import PairConfig
from .samples import shifted

Array = NDArray[np.float64]
STANDING_MPS = 0.3


def replan(scene: Scene, speed_limit_mps: float, config: PairConfig = PairConfig()) -> Array:
    """Algorithm 1's positive: the best re-plan from this state.

    Those that pass the gates of a chosen plan come first. Among them progress counts against the farthest of them, so
    that waiting behind what will not move loses to a way round it. Ways round are offered only for what stands.

    Args:
        scene: The state, and what was recorded after it.
        speed_limit_mps: What the target speeds are shares of.
        config: Speeds, offsets, their price, and the gates.

    Returns:
        (8, 3) the best proposal, ego frame: the plan, not its tracked motion, which would be tracked twice.
    """
    offsets = (*config.offsets_m, *(config.detours_m if _blocked(scene) else ()))
    plans = centerline_proposals(scene, speed_limit_mps, config.speed_shares, offsets, config.stops_mps2)
    tracks = track_plans(scene, plans)
    scores = score_tracks(scene, tracks)
    safe = _safe(scores, track_ttc(scene, tracks), config)
    price = config.offset_price_per_m * np.repeat(np.abs(offsets), len(plans) // len(offsets))
    best = int(np.argmax(among(scores) - price + 10.0 * safe))
    return plans[best]


@dataclass(frozen=True, slots=True)
class Replanned:
    """Algorithm 1's positive, and what became of the other re-plans.

    Attributes:
        plan_m: (8, 3) tau_pos, ego frame.
        track: (41, 7) its motion.
        counts: How many re-plans there were, and how many of them collide, leave the road, come too near, or are safe.
    """

    plan_m: Array
    track: Array
    counts: Mapping[str, int]


def best_replan(
    scene: Scene, speed_limit_mps: float, observed_m: Array, config: PairConfig = PairConfig()
) -> Replanned:
    """tau_pos of a negative state (SafeAlign Algorithm 1, lines 17 and 18).

    `safealign`: K two-stage longitudinal re-plans along the centre line, argmax PDMS. `ours` adds the proposals that
    follow others by IDM, and both beside the line and round what stands (`lateral`); what passes a chosen plan's gates
    comes first, progress counts against the farthest of those, sideways has its price. Of equals the one nearest to
    what was observed is taken: the smallest correction.

    Args:
        scene: The state, and what was recorded after it.
        speed_limit_mps: Of the road.
        observed_m: (8, 2) or (8, 3), tau_neg.
        config: Variant, recipe, gates.
    """
    limit, ours = speed_limit_mps, config.variant == "ours"
    offsets: tuple[float, ...] = (0.0,)
    if ours and config.lateral:
        offsets = (*config.offsets_m, *(config.detours_m if _blocked(scene) else ()))
    stages = {"stage_s": config.stage_s, "floor_mps": config.stage_floor_mps}
    plans = two_stage_plans(scene, limit, config.stage_rates_ps, offsets, **stages)
    aside = np.repeat(np.abs(offsets), len(plans) // len(offsets))
    if ours:
        further = centerline_proposals(scene, limit, config.speed_shares, offsets, config.stops_mps2)
        aside = np.concatenate((aside, np.repeat(np.abs(offsets), len(further) // len(offsets))))
        plans = np.concatenate((plans, further))
    tracks = track_plans(scene, plans)
    scores = score_tracks(scene, tracks)
    safe = _safe(scores, track_ttc(scene, tracks), config)
    value = among(scores) - config.offset_price_per_m * aside + 10.0 * safe if ours else scores.pdms
    off_m = np.hypot(*(plans[..., :2] - observed_m[:, :2]).transpose(2, 0, 1)).mean(axis=1)
    ties = np.flatnonzero(value >= value.max() - 1e-9)
    best = int(ties[off_m[ties].argmin()])
    hit, off = scores.nc < 1.0, scores.dac < 1.0
    counts = {
        "replans": len(plans),
        "collide": int(hit.sum()),
        "off_road": int((off & ~hit).sum()),
        "too_near": int((~hit & ~off & ~safe).sum()),
        "safe": int(safe.sum()),
    }
    return Replanned(plans[best], tracks[best], counts)


def _safe(scores: PdmsScores, ttc_s: Array, config: PairConfig) -> NDArray[np.bool_]:
    """Which re-plans pass the gates of a chosen plan; all of them start in the same danger."""
    bound_s = ttc_bound(float(ttc_s[0, 0]), config)
    return (scores.nc == 1.0) & (scores.dac == 1.0) & (ttc_s.min(axis=1) >= bound_s)


def _blocked(scene: Scene) -> bool:
    """Whether keeping the speed ends at something that stands all the time."""
    index = critical_agent(scene, track_plans(scene, keep_speed_plan(scene)[None])[0])
    if index is None:
        return False
    if scene.agent_kind[index] == STATIC:
        return True
    speed = np.hypot(scene.agents[index, :, 3], scene.agents[index, :, 4])
    return bool(np.nanmax(speed) < STANDING_MPS)


def ttc_bound(now_s: float, config: PairConfig) -> float:
    """Least time to collision that a chosen plan must keep, given that of its first moment."""
    return min(config.min_ttc_s, config.inherited_ttc_share * now_s)


def predicted_states(
    scene: Scene, track: Array, speed_limit_mps: float, config: PairConfig
) -> Iterator[tuple[float, Scene, Array]]:
    """States that the issued plan leads to (PPL): when, the scene there, and how the plan goes on from it.

    Args:
        scene: Where the plan was issued.
        track: (41, 7) the plan as it is driven.
        speed_limit_mps: For the EP reference of the later scenes.
        config: How many states, how far apart.

    Yields:
        Seconds ahead, the later scene, and (41, 7) the rest of the motion; beyond the plan's end it goes straight.
    """
    back = scene.vehicle.rear_to_centre_m
    for i in range(1, config.predicted_states + 1):
        row = round(i * config.predicted_step_s / STEP_S)
        state = track[row]
        ego = EgoState(
            x_m=float(state[RX] + back * math.cos(state[HEADING])),
            y_m=float(state[RY] + back * math.sin(state[HEADING])),
            yaw_rad=float(state[HEADING]),
            speed_mps=float(state[SPEED]),
            accel_mps2=float(state[ACCEL]),
            yaw_rate_radps=float(state[YAW_RATE]),
            steer_rad=float(state[STEER]),
        )
        later = with_reference(shifted(scene, ego, row * STEP_S), speed_limit_mps)
        missing = np.repeat(track[-1:], row, axis=0)
        after_s = STEP_S * np.arange(1, row + 1)
        missing[:, RX] += after_s * missing[:, SPEED] * np.cos(missing[:, HEADING])
        missing[:, RY] += after_s * missing[:, SPEED] * np.sin(missing[:, HEADING])
        yield row * STEP_S, later, np.concatenate((track[row:], missing))
