"""The tower's first lesson: its loss by hand, and that it is learnt."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from takeover.errors import RefineError
from takeover.models.policy import Policy
from takeover.refine.grounding import grounding_loss, run_grounding


@dataclass
class Picture:
    image: np.ndarray
    present: np.ndarray
    range_m: np.ndarray
    lane: np.ndarray


def pictures(count: int) -> list[Picture]:
    """A bright square in one cell, or none."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        image = random.integers(60, 90, (96, 192, 3)).astype(np.uint8)
        present, range_m = np.zeros((18, 3), np.float32), np.zeros((18, 3), np.float32)
        cell = int(random.integers(0, 18))
        row, column = divmod(cell, 6)
        image[32 * row + 8 : 32 * row + 24, 32 * column + 8 : 32 * column + 24] = 250
        present[cell, 1], range_m[cell, 1] = 1.0, 20.0
        made.append(Picture(image, present, range_m, np.zeros(2, np.float32)))
    return made


def test_loss_of_one_cell_by_hand() -> None:
    cells = torch.zeros(1, 1, 2)  # logit 0, range 0
    present, range_m = torch.ones(1, 1, 1), torch.full((1, 1, 1), 20.0)
    loss = grounding_loss(cells, torch.zeros(1, 2), present, range_m, torch.zeros(1, 2))
    # presence: 4 ln 2; range: |0.5| - 0.05 with beta 0.1, twice
    assert float(loss) == pytest.approx(4 * np.log(2) + 2 * 0.45, rel=1e-5)


def test_the_tower_learns_and_repeats_itself() -> None:
    towers = []
    for _ in range(2):
        policy = Policy.tiny(0)
        losses: list[float] = []
        report = run_grounding(policy, pictures(64), 20, 0, lambda *told: losses.append(told[2]), batch=16)  # noqa: B023
        towers.append({k: v.clone() for k, v in policy.model.model.vision_tower.state_dict().items()})
        assert report.steps == len(losses) == 20
        assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])
    assert all(torch.equal(towers[0][k], towers[1][k]) for k in towers[0])


def test_nothing_to_see_is_refused() -> None:
    with pytest.raises(RefineError, match="no frames"):
        run_grounding(Policy.tiny(0), [], 5, 0)


def test_half_of_what_is_shown_has_a_rare_kind_in_it() -> None:
    shown: list[bool] = []

    class Watched(Picture):
        @property
        def image(self) -> np.ndarray:  # type: ignore[override]
            shown.append(bool(self.present[:, 1].any()))
            return np.zeros((96, 192, 3), np.uint8)

        @image.setter
        def image(self, value: np.ndarray) -> None:
            pass

    frames = []
    for i in range(50):
        present = np.zeros((18, 3), np.float32)
        present[3, 1 if i == 7 else 0] = 1.0  # one walker among cars
        frames.append(Watched(np.zeros(0), present, present * 10.0, np.zeros(2, np.float32)))
    run_grounding(Policy.tiny(0), frames, 3, 0, batch=16)
    assert 0.5 <= np.mean(shown) < 0.7
