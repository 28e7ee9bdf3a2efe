"""The stages of a round in their order, each saved when it is done, so that a killed run can go on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..models.policy import Policy
from ..vocabulary import DrivingSample, PreferencePair
from .anchor_stage import run_anchor
from .config import STAGES, RefineConfig, RefitConfig
from .datasets import check_roles, with_share
from .dpo import run_dpo
from .features import FeatureCache, feature_cache, fingerprint
from .gaps import text_gap
from .grpo import run_grpo
from .refit import refit_head
from .report import Progress, StageReport
from .sft import run_sft
from .teacher_http import make_teacher
from .training import refuse_frozen_decoder

StageProgress = Callable[[str, int, int, float], None]  # stage, step, steps, loss


def run_stages(
    policy: Policy,
    samples: Sequence[DrivingSample],
    pairs: Sequence[PreferencePair],
    replay: Sequence[DrivingSample],
    config: RefineConfig,
    seed: int,
    out_dir: Path,
    progress: StageProgress | None = None,
) -> list[StageReport]:
    """Refine a policy in place: sft, dpo, grpo, refit, anchor.

    Each finished stage leaves `<n>-<stage>/` (weights, the last one only) and `<n>-<stage>.json` (its report,
    written last). Called again with the same data, configuration, seed and starting weights, finished stages
    are not repeated.

    Args:
        policy: Starts as the champion; holds the challenger afterwards.
        samples: Imitation targets from takeovers.
        pairs: Preferences from takeovers.
        replay: Samples of uneventful drives.
        config: Of all stages.
        seed: Of everything.
        out_dir: Folder of this round's refinement.
        progress: Called after each step.

    Returns:
        One report a stage, in order; switched-off stages say so. The last one, `gap`, compares text and head.

    Raises:
        RoleError: Held-out data.
        RefineError: A stage cannot change the decoder that drives.
    """
    check_roles([*samples, *pairs, *replay])
    refuse_useless_stages(policy, config)
    make_teacher(config.teacher, out_dir.parent / "teacher")  # a key that is missing is missed at once
    out_dir.mkdir(parents=True, exist_ok=True)
    key = _key(policy, samples, pairs, replay, config, seed)
    reports = _finished(out_dir, key)
    if reports:
        policy.model = Policy.load(
            _folder(out_dir, len(reports) - 1),
            policy.decoder,
            device=str(policy.model.device),
            dtype=policy.model.dtype,
        ).model
    cache = feature_cache(policy, config.features, out_dir.parent / "features")
    for number in range(len(reports), len(STAGES)):
        stage = STAGES[number]
        shutil.rmtree(_folder(out_dir, number), ignore_errors=True)
        report = _run(stage, policy, samples, pairs, replay, config, seed, out_dir, progress, cache, reports)
        policy.save(_folder(out_dir, number))
        reports.append(report)
        _mark(_marker(out_dir, number), key, report)
        if number:
            shutil.rmtree(_folder(out_dir, number - 1), ignore_errors=True)
    shutil.rmtree(out_dir / "scratch", ignore_errors=True)
    return [*reports, text_gap(policy, replay)]


def refuse_useless_stages(policy: Policy, config: RefineConfig) -> None:
    """Refuse, before any of them runs, stages that cannot change the decoder that drives.

    Raises:
        RefineError: There is one.
    """
    for name, section in (("sft", config.sft), ("dpo", config.dpo), ("grpo", config.grpo)):
        if section.enabled:
            refuse_frozen_decoder(policy, name, head=section.head_weight > 0, text=True)
    if config.refit.enabled:
        refuse_frozen_decoder(policy, "refit", head=True, text=False)
    if config.anchor.enabled:
        refuse_frozen_decoder(policy, "anchor", head=True, text=False, flow=False)


def _run(
    stage: str,
    policy: Policy,
    samples: Sequence[DrivingSample],
    pairs: Sequence[PreferencePair],
    replay: Sequence[DrivingSample],
    config: RefineConfig,
    seed: int,
    out_dir: Path,
    progress: StageProgress | None,
    cache: FeatureCache,
    before: list[StageReport],
) -> StageReport:
    if not getattr(config, stage).enabled:
        return StageReport(stage, skipped_reason="switched off")
    tell = _named(stage, progress)
    scratch = out_dir / "scratch"
    if stage == "sft":
        if not samples and not replay:
            return StageReport(stage, skipped_reason="no samples")
        return run_sft(policy, samples, config.sft, seed, tell, scratch, replay=replay, lora=config.lora)
    if stage == "refit":
        if all(report.skipped_reason for report in before):
            return StageReport(stage, skipped_reason="the backbone has not changed")
        scenes = _scenes(samples, replay, config.refit, seed)
        return refit_head(policy, scenes, config.refit, seed, tell, cache=cache)
    if not pairs:
        return StageReport(stage, skipped_reason="no pairs")
    teacher = make_teacher(config.teacher, out_dir.parent / "teacher")
    if stage == "dpo":
        if not replay:
            return StageReport(stage, skipped_reason="no replay, and DPO without it destroys the policy")
        return run_dpo(policy, pairs, config.dpo, seed, tell, scratch, replay=replay, lora=config.lora)
    if stage == "grpo":
        return run_grpo(
            policy, pairs, config.grpo, seed, tell, scratch, replay=replay, lora=config.lora, teacher=teacher
        )
    scenes = _scenes(samples, replay, config.refit, seed)
    return run_anchor(
        policy, pairs, config.anchor, seed, tell, scratch, replay=scenes, cache=cache, teacher=teacher
    )


def _scenes(
    samples: Sequence[DrivingSample], replay: Sequence[DrivingSample], config: RefitConfig, seed: int
) -> list[DrivingSample]:
    """What the head is fitted to and what the anchor stage holds it to: every takeover, and some of the replay."""
    chosen = np.random.default_rng([seed, 6]).permutation(len(replay))[: config.max_samples]
    kept = [replay[i] for i in chosen]
    return [*with_share(samples, kept, config.takeover_share), *kept]


def _named(stage: str, progress: StageProgress | None) -> Progress:
    def tell(step: int, steps: int, loss: float) -> None:
        if progress is not None:
            progress(stage, step, steps, loss)

    return tell


def _folder(out_dir: Path, number: int) -> Path:
    return out_dir / f"{number}-{STAGES[number]}"


def _marker(out_dir: Path, number: int) -> Path:
    return out_dir / f"{number}-{STAGES[number]}.json"


def _finished(out_dir: Path, key: str) -> list[StageReport]:
    """Reports of the stages that a run with this key has completed, as far as they can be built upon."""
    reports: list[StageReport] = []
    for number in range(len(STAGES)):
        try:
            found = json.loads(_marker(out_dir, number).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            break
        if found.get("key") != key:
            break
        reports.append(StageReport.from_json(found["report"]))
    if reports and not _folder(out_dir, len(reports) - 1).is_dir():
        return []
    return reports


def _mark(path: Path, key: str, report: StageReport) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({"key": key, "report": report.to_json()}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _key(
    policy: Policy,
    samples: Sequence[DrivingSample],
    pairs: Sequence[PreferencePair],
    replay: Sequence[DrivingSample],
    config: RefineConfig,
    seed: int,
) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(
        f"{fingerprint(policy, head=True)} {policy.model.head_config} {seed} {config.model_dump_json()}".encode()
    )
    for sample in [*samples, *replay]:
        digest.update(f"{sample.case_id} {sample.weight} {sample.input.speed_mps}".encode())
        digest.update(np.asarray(sample.target_m, np.float32).tobytes())
    for pair in pairs:
        digest.update(f"{pair.pair_id} {pair.weight}".encode())
        digest.update(np.asarray(pair.chosen_m, np.float32).tobytes())
    return digest.hexdigest()
