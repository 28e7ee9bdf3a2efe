"""Counterfactual planning: what should have been done from a state, by SafeAlign's Algorithm 1 on recorded agents.

Proposals along the centre line are scored by PDMS. The expert is never asked (proof.md 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..scoring.conflicts import critical_agent
from ..scoring.pdms import score_tracks, track_plans, track_ttc
from ..scoring.proposals import among, centerline_proposals, with_reference
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
    ttc_s = track_ttc(scene, tracks)
    safe = (scores.nc == 1.0) & (scores.dac == 1.0) & (ttc_s.min(axis=1) >= ttc_bound(ttc_s[0, 0], config))
    price = config.offset_price_per_m * np.repeat(np.abs(offsets), len(plans) // len(offsets))
    best = int(np.argmax(among(scores) - price + 10.0 * safe))
    return plans[best]


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
