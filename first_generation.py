"""How generation 0 learns: a fresh tiny policy first to see, then to drive as the expert does (proof.md 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .evaluate.evaluator import Progress

if TYPE_CHECKING:
    from .config import LoopConfig
    from .models.policy import Policy
    from .store.episodes import EpisodeReader
    from .vocabulary import DrivingSample


STOCK = {
    "qwen2.5-vl-3b": "Qwen/Qwen2.5-VL-3B-Instruct",
    "qwen2.5-vl-7b": "Qwen/Qwen2.5-VL-7B-Instruct",
    "qwen3-vl-4b": "Qwen/Qwen3-VL-4B-Instruct",
}  # presets that begin with somebody's weights, and where those are


def refuse_stock(preset: str) -> None:
    """Refuse to begin from nothing what begins with weights.

    Raises:
        UsageError: It is no preset of ours.
    """
    if preset in STOCK:
        raise UsageError(
            f"policy.preset {preset} begins with weights that are not here",
            fix=f"loop init --model {STOCK[preset]} (or its folder), then run again; or policy.preset tiny",
        )


def taught_policy(
    drives: Sequence[EpisodeReader],
    samples: Sequence[DrivingSample],
    config: LoopConfig,
    scratch: Path,
    progress: Progress,
) -> tuple[Policy, list[dict[str, Any]]]:
    """Train generation 0.

    Args:
        drives: Of the expert; what stands where in their pictures is the tower's first lesson.
        samples: Imitation targets of the same drives.
        config: Sizes of the lessons, the seed, and which decoder drives.
        scratch: Folder of the trainers.
        progress: Told of each step.

    Returns:
        The policy, and one report a lesson.
    """
    from .collect.grounding import grounded_frames
    from .models.policy import Policy, PolicyConfig
    from .models.tiny import STRIDE_PX
    from .refine.config import RefitConfig, bootstrap_config
    from .refine.gaps import text_gap
    from .refine.grounding import run_grounding
    from .refine.refit import refit_head
    from .refine.sft import run_sft

    def tick(_step: int, _steps: int, loss: float) -> None:
        progress.advance(note=f"loss {loss:.3f}")

    driver, sizes, seed = config.policy, config.bootstrap, config.seed
    # The heads are fitted whatever drives: a generation that drives with tokens keeps its `mlp` head.
    shape = PolicyConfig(decoder="flow" if driver.decoder == "flow" else "mlp")
    policy, reports = Policy.tiny(seed, shape, context=driver.context, flow=driver.flow), []
    if sizes.see_steps:
        frames = grounded_frames(drives, STRIDE_PX)
        progress.stage(f"generation 0: seeing, on {len(frames)} pictures", sizes.see_steps)
        reports.append(run_grounding(policy, frames, sizes.see_steps, seed, tick))
    progress.stage(f"generation 0: SFT on {len(samples)} scenes", sizes.max_steps)
    tower_rate = 0.0 if sizes.see_steps else 1.0
    sft = bootstrap_config(sizes.max_steps, sizes.batch, sizes.learning_rate, tower_rate=tower_rate)
    reports.append(run_sft(policy, samples, sft, seed, tick, scratch))
    if sizes.refit_epochs:
        refit = RefitConfig(epochs=sizes.refit_epochs, learning_rate=1e-3)
        steps = sizes.refit_epochs * -(-len(samples) // refit.per_device_train_batch_size)
        progress.stage("generation 0: refit of the head", steps)
        reports.append(refit_head(policy, samples, refit, seed, tick))
    reports.append(text_gap(policy, samples))
    return policy, [report.to_json() for report in reports]
