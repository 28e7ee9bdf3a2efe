"""A fresh tower's first lesson: to see. It stands in for the pretraining that a real checkpoint's tower has had.

From driving alone the tiny policy does not find walkers in the steps that a bootstrap has; told where they are, cell by
cell, its tower does in seconds. The labels come from the simulator's recorded state (`collect.grounding`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import RefineError
from ..models.policy import Policy
from ..models.tiny import ConvTower
from ..vocabulary import Float
from .report import Progress, StageReport, no_progress

RANGE_SCALE_M = 40.0
LANE_SCALE = (1.0, 0.2)  # metres, radians
PRESENT_WEIGHT = 4.0  # of an occupied cell: most are empty
RANGE_WEIGHT = 2.0
LANE_WEIGHT = 1.0
RARE = 0.2  # a kind that a smaller share of the frames shows is rare
RARE_SHARE = 0.5  # of a batch, with a rare kind in it: drawn evenly, walkers would hardly ever be seen


class Grounded(Protocol):
    """One labelled picture (`collect.grounding.GroundedFrame`)."""

    @property
    def image(self) -> NDArray[np.uint8]: ...  # noqa: D102 (H, W, 3)
    @property
    def present(self) -> Float: ...  # noqa: D102 (cells, kinds)
    @property
    def range_m(self) -> Float: ...  # noqa: D102 (cells, kinds)
    @property
    def lane(self) -> Float: ...  # noqa: D102 (2,)


def run_grounding(
    policy: Policy,
    frames: Sequence[Grounded],
    steps: int,
    seed: int,
    progress: Progress = no_progress,
    *,
    batch: int = 64,
    learning_rate: float = 3e-3,
) -> StageReport:
    """Teach the tower of a fresh tiny policy, in place; the heads used for it are thrown away.

    Args:
        policy: With a `ConvTower`.
        frames: Labelled pictures.
        steps: Optimiser steps.
        seed: Of the order and of the heads.
        progress: Called after each step.
        batch: Pictures of a step.
        learning_rate: Peak.

    Raises:
        RefineError: The policy has another tower, or there are no frames.
    """
    started = time.monotonic()
    tower = policy.model.model.vision_tower
    if not isinstance(tower, ConvTower):
        raise RefineError(
            "only the tiny policy's tower is taught to see", fix="use pretrained weights as they are"
        )
    if not frames:
        raise RefineError("no frames to learn from", fix="record expert drives first")
    torch.manual_seed(seed)
    kinds = frames[0].present.shape[1]
    cell_head, lane_head = (nn.Linear(tower.config.hidden_size, n) for n in (2 * kinds, 2))
    parameters = [*tower.parameters(), *cell_head.parameters(), *lane_head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, learning_rate, total_steps=steps, pct_start=0.15
    )
    random = np.random.default_rng(seed)
    present, range_m, lane = (
        torch.from_numpy(np.stack([getattr(f, name) for f in frames]))
        for name in ("present", "range_m", "lane")
    )
    shown = (present > 0).any(dim=1).numpy()  # (frames, kinds)
    rare = np.flatnonzero(shown[:, shown.mean(axis=0) < RARE].any(axis=1))
    tower.train()
    losses: list[float] = []
    for step in range(1, steps + 1):
        picked = _picked(len(frames), rare, batch, random)
        pixels = policy.backbone.pixels(np.stack([frames[i].image for i in picked]))["pixel_values"]
        tokens = tower(pixels).last_hidden_state
        loss = grounding_loss(
            cell_head(tokens), lane_head(tokens.mean(1)), present[picked], range_m[picked], lane[picked]
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        progress(step, steps, losses[-1])
    tower.eval()
    late = losses[-max(1, steps // 4) :]
    if not np.isfinite(late).all():
        raise RefineError(
            "the tower's first lesson lost its numbers", fix="lower the learning rate or change the seed"
        )
    return StageReport("see", time.monotonic() - started, steps, {"loss": float(np.mean(late))})


def _picked(
    frames: int, rare: NDArray[np.int64], batch: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Frames of a batch: RARE_SHARE of them from `rare`, if there are any."""
    picked = random.integers(0, frames, batch)
    if len(rare):
        few = round(RARE_SHARE * batch)
        picked[:few] = rare[random.integers(0, len(rare), few)]
    return picked


def grounding_loss(
    cells: Tensor, lane: Tensor, present: Tensor, range_m: Tensor, lane_target: Tensor
) -> Tensor:
    """Occupied or not by cell and kind, how far where occupied, and how the car lies in its lane.

    Args:
        cells: (B, cells, 2 * kinds) logits of presence, then ranges over RANGE_SCALE_M.
        lane: (B, 2) over LANE_SCALE.
        present: (B, cells, kinds).
        range_m: (B, cells, kinds).
        lane_target: (B, 2) metres, radians.
    """
    kinds = present.shape[-1]
    logits, ranges = cells[..., :kinds], cells[..., kinds:]
    weight = cells.new_tensor(PRESENT_WEIGHT)
    seen = nn.functional.binary_cross_entropy_with_logits(logits, present, pos_weight=weight)
    error = nn.functional.smooth_l1_loss(ranges, range_m / RANGE_SCALE_M, reduction="none", beta=0.1)
    far = (error * present).sum() / present.sum().clamp(min=1.0)
    lies = nn.functional.smooth_l1_loss(lane, lane_target / lane.new_tensor(LANE_SCALE), beta=0.1)
    return seen + RANGE_WEIGHT * far + LANE_WEIGHT * lies
