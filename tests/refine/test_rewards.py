from __future__ import annotations

import numpy as np
import pytest
import torch

from takeover.refine.rewards import batch_rewards, plan_rewards, trajectory_reward
from takeover.scoring.pdms import score_plans

from .conftest import STEPS, blocked_road

ALL = np.ones(8, np.bool_)


def along(distance_m: np.ndarray) -> np.ndarray:
    return np.stack((distance_m, np.zeros(8)), axis=1).astype(np.float32)


CRASH = along(8.0 * STEPS)
BRAKE = along(8.0 * STEPS - np.minimum(STEPS, 3.2) ** 2 * 1.25 - np.maximum(STEPS - 3.2, 0) * 8.0)


def test_trajectory_reward_is_pdms_where_there_is_a_scene() -> None:
    scene = blocked_road()
    values = trajectory_reward(scene, np.stack((CRASH, BRAKE)), BRAKE, ALL)
    assert values == pytest.approx(score_plans(scene, np.stack((CRASH, BRAKE))).pdms)
    assert values[0] < 0.1
    assert values[1] > 0.5


def test_the_good_plan_earns_most() -> None:
    scene = blocked_road()
    stop = along(np.minimum(8.0 * STEPS, 4.0))
    values = plan_rewards(scene, np.stack((BRAKE, CRASH, stop)), BRAKE, CRASH, ALL)
    assert values[0] == max(values)
    assert values[1] == min(values)
    assert values[0] > 0.9 * (0.5 * trajectory_reward(scene, BRAKE[None], BRAKE, ALL)[0] + 0.5)


def test_without_a_scene_closeness_counts() -> None:
    values = trajectory_reward(None, np.stack((BRAKE, BRAKE + 1.0, BRAKE + 100.0)), BRAKE, ALL)
    assert values.tolist() == pytest.approx([1.0, 1 - np.sqrt(2) / 10, 0.0])


def test_batches_agree_with_single_scenes() -> None:
    scenes, plans = [blocked_road(), None], np.stack((np.stack((BRAKE, CRASH)),) * 2)
    pos, neg = torch.from_numpy(np.stack((BRAKE, BRAKE))), torch.from_numpy(np.stack((CRASH, CRASH)))
    mask = torch.ones(2, 8, dtype=torch.bool)
    many = batch_rewards(scenes, torch.from_numpy(plans), pos, neg, mask, "directional")
    for i, scene in enumerate(scenes):
        assert many[i].numpy() == pytest.approx(plan_rewards(scene, plans[i], BRAKE, CRASH, ALL))
