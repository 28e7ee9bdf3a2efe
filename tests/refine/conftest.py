"""Synthetic scenes that a tiny policy can learn: steer away from the block."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import numpy as np
import pytest
import torch

from takeover.models.backbone import settle
from takeover.models.policy import Policy, PolicyConfig
from takeover.models.tiny import TinyConfig
from takeover.scoring.scene import Scene, kind_codes
from takeover.vocabulary import (
    ActorKind,
    Command,
    DrivingSample,
    EgoState,
    FailedPlan,
    PairSource,
    PolicyInput,
    PreferencePair,
    Role,
)

torch.set_num_threads(1)
SMALL = TinyConfig(channels=(8, 16, 16, 32), hidden=32, layers=2, heads=2, intermediate=64)
STEPS = np.arange(1, 9, dtype=np.float32) * 0.5
WEIGHTS = "weights differ"


def make_policy(seed: int = 0, decoder: str = "mlp", fresh: bool = False) -> Policy:
    policy = Policy.tiny(seed, PolicyConfig(decoder=decoder, width_px=96, height_px=64), SMALL)
    if not fresh:
        settle(policy.model)
    return policy


def make_input(side: int, speed_mps: float, rng: np.random.Generator) -> PolicyInput:
    images = rng.integers(90, 110, (2, 1, 64, 96, 3), np.uint8)
    images[:, :, 20:50, (10 if side < 0 else 60) : (36 if side < 0 else 86)] = (220, 40, 40)
    history = np.array([(-speed_mps * t, 0.0, 0.0) for t in (1.5, 1.0, 0.5, 0.0)], np.float32)
    return PolicyInput(images, history, speed_mps, 0.0, 0.0, Command.FOLLOW_LANE)


def swerve(side: int, speed_mps: float) -> np.ndarray:
    return np.stack((speed_mps * STEPS, -side * 1.5 * (STEPS / 4) ** 2), axis=1).astype(np.float32)


def make_samples(
    n: int, seed: int = 0, role: Role = Role.TRAIN, negative: bool = True
) -> list[DrivingSample]:
    rng = np.random.default_rng(seed)
    samples = []
    for index in range(n):
        side, speed = (-1 if index % 2 else 1), float(rng.choice((4.0, 6.0, 8.0)))
        samples.append(
            DrivingSample(
                input=make_input(side, speed, rng),
                target_m=swerve(side, speed),
                mask=np.array([True] * (8 if index % 3 else 6) + [False] * (0 if index % 3 else 2)),
                reasoning=REASONING if index % 2 else "",
                role=role,
                case_id=f"LaneFollowing/{index}",
                negative_m=swerve(-side, speed) if negative else None,
                analysis="block ahead, steer away" if negative else "",
            )
        )
    return samples


def make_pairs(n: int, seed: int = 1, role: Role = Role.TRAIN) -> list[PreferencePair]:
    rng = np.random.default_rng(seed)
    pairs = []
    for index in range(n):
        side, speed = (-1 if index % 2 else 1), float(rng.choice((4.0, 6.0, 8.0)))
        pairs.append(
            PreferencePair(
                pair_id=f"p{index}",
                input=make_input(side, speed, rng),
                chosen_m=swerve(side, speed),
                chosen_mask=np.ones(8, np.bool_),
                rejected_m=swerve(-side, speed),
                source=PairSource.HUMAN if index % 2 else PairSource.HUMAN_ONSET,
                weight=1.0,
                role=role,
                case_id=f"ParkedObstacle/{index}",
                score_chosen=0.9,
                score_rejected=0.1,
            )
        )
    return pairs


def make_failed(n: int, seed: int = 2, role: Role = Role.TRAIN) -> list[FailedPlan]:
    rng = np.random.default_rng(seed)
    made = []
    for index in range(n):
        side = -1 if index % 2 else 1
        item = make_input(side, 6.0, rng)
        made.append(
            FailedPlan(item, swerve(-side, 6.0), np.ones(8, np.bool_), 1.0, role, f"StaticCutIn/{index}")
        )
    return made


REASONING = (
    '{"scene": "lane", "critical_object": "block", "current_risk": "high", '
    '"counterfactual_risk": "collision", '
    '"meta_actions": [["maintain", "keep"], ["maintain", "keep"]]}'
)


def blocked_road(speed_mps: float = 8.0) -> Scene:
    """A straight road 8 m wide with a car standing in the lane, 22 m ahead."""
    line = np.stack((np.arange(-20.0, 120.0), np.zeros(140)), axis=1)
    road = np.array([(-20, -4), (120, -4), (120, 4), (-20, 4)], np.float64)
    times = np.arange(0, 5.01, 0.5)
    box = np.tile(np.array([22.0, 0.0, 0.0, 0.0, 0.0]), (1, len(times), 1))
    return Scene(
        ego=EgoState(0.0, 0.0, 0.0, speed_mps),
        agents_t_s=times,
        agents=box,
        agent_size_m=np.array([[4.0, 2.0]]),
        agent_kind=kind_codes([ActorKind.VEHICLE]),
        centerline_m=line,
        roadblock_polygons=(road,),
        lane_polygons=(road,),
    )


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in policy.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def policy() -> Policy:
    return make_policy()
