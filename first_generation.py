"""How generation 0 learns: a fresh tiny policy first to see, then to drive as the expert does (proof.md 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .evaluate.evaluator import Progress

if TYPE_CHECKING:
    from .config import BootstrapConfig
    from .models.policy import Policy
    from .store.episodes import EpisodeReader
    from .vocabulary import DrivingSample


def taught_policy(
    drives: Sequence[EpisodeReader],
    samples: Sequence[DrivingSample],
    config: BootstrapConfig,
    seed: int,
    scratch: Path,
    progress: Progress,
) -> tuple[Policy, list[dict[str, Any]]]:
    """Train generation 0.

    Args:
        drives: Of the expert; what stands where in their pictures is the tower's first lesson.
        samples: Imitation targets of the same drives.
        config: Sizes of the lessons.
        seed: Of the weights and of every order.
        scratch: Folder of the trainers.
        progress: Told of each step.

    Returns:
        The policy, and one report a lesson.
    """
    from .collect.grounding import grounded_frames
    from .models.policy import Policy
    from .models.tiny import STRIDE_PX
    from .refine.config import RefitConfig, bootstrap_config
    from .refine.grounding import run_grounding
    from .refine.refit import refit_head
    from .refine.sft import run_sft

    def tick(_step: int, _steps: int, loss: float) -> None:
        progress.advance(note=f"loss {loss:.3f}")

    policy, reports = Policy.tiny(seed), []
    if config.see_steps:
        frames = grounded_frames(drives, STRIDE_PX)
        progress.stage(f"generation 0: seeing, on {len(frames)} pictures", config.see_steps)
        reports.append(run_grounding(policy, frames, config.see_steps, seed, tick))
    progress.stage(f"generation 0: SFT on {len(samples)} scenes", config.max_steps)
    tower_rate = 0.0 if config.see_steps else 1.0
    sft = bootstrap_config(config.max_steps, config.batch, config.learning_rate, tower_rate=tower_rate)
    reports.append(run_sft(policy, samples, sft, seed, tick, scratch))
    if config.refit_epochs:
        refit = RefitConfig(epochs=config.refit_epochs, learning_rate=1e-3)
        steps = config.refit_epochs * -(-len(samples) // refit.per_device_train_batch_size)
        progress.stage("generation 0: refit of the head", steps)
        reports.append(refit_head(policy, samples, refit, seed, tick))
    return policy, [report.to_json() for report in reports]
