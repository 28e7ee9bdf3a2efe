"""The stages of a round in their order, each saved when it is done, so that a killed run can go on."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..models.policy import Policy
from ..vocabulary import DrivingSample, FailedPlan, PolicyInput, PreferencePair
from .anchor_stage import run_anchor
from .checkpoints import Checkpoints
from .config import STAGES, RefineConfig, RefitConfig
from .datasets import check_roles, with_share
from .dpo import run_dpo
from .features import FeatureCache, feature_cache, fingerprint
from .gaps import text_gap
from .grpo import run_grpo
from .kto import run_kto
from .probe import Probe
from .refit import refit_head
from .report import Progress, StageReport
from .sft import run_sft
from .teacher_http import make_teacher
from .training import refuse_frozen_decoder

StageProgress = Callable[[str, int, int, float], None]  # stage, step, steps, loss


@dataclass(frozen=True, slots=True)
class _Data:
    """What a round trains on."""

    samples: Sequence[DrivingSample]
    pairs: Sequence[PreferencePair]
    replay: Sequence[DrivingSample]
    failed: Sequence[FailedPlan]


def run_stages(
    policy: Policy,
    samples: Sequence[DrivingSample],
    pairs: Sequence[PreferencePair],
    replay: Sequence[DrivingSample],
    config: RefineConfig,
    seed: int,
    out_dir: Path,
    progress: StageProgress | None = None,
    *,
    failed: Sequence[FailedPlan] = (),
) -> list[StageReport]:
    """Refine a policy in place: sft, dpo, kto, grpo, refit, anchor.

    Each finished stage leaves `<n>-<stage>/` (weights, the last one only) and `<n>-<stage>.json` (its report,
    written last); an unfinished one leaves checkpoints. Called again with the same data, configuration, seed and starting
    weights, finished stages are not repeated, and an unfinished one goes on at its last complete checkpoint.

    A few cases of the replay never train: after each stage the plans on them are judged (`probe`).

    Args:
        policy: Starts as the champion; holds the challenger afterwards.
        samples: Imitation targets from takeovers.
        pairs: Preferences from takeovers.
        replay: Samples of uneventful drives.
        config: Of all stages.
        seed: Of everything.
        out_dir: Folder of this round's refinement.
        progress: Called after each step.
        failed: Unsafe plans without a pair; only `kto` needs them.

    Returns:
        One report a stage, in order; switched-off stages say so. The last one, `gap`, compares text and head.

    Raises:
        RoleError: Held-out data.
        RefineError: A stage cannot change the decoder that drives.
    """
    check_roles([*samples, *pairs, *replay, *failed])
    refuse_useless_stages(policy, config)
    make_teacher(config.teacher, out_dir.parent / "teacher")  # a key that is missing is missed at once
    out_dir.mkdir(parents=True, exist_ok=True)
    key = _key(policy, _Data(samples, pairs, replay, failed), config, seed)
    probe = Probe(replay)
    data = _Data(samples, pairs, probe.training, failed)
    reports = _finished(out_dir, key)
    if reports:
        policy.model = Policy.load(
            _folder(out_dir, len(reports) - 1),
            policy.decoder,
            device=str(policy.model.device),
            dtype=policy.model.dtype,
        ).model
    for number in range(len(reports) - 1):  # left by a kill between two stages
        shutil.rmtree(_folder(out_dir, number), ignore_errors=True)
    cache = feature_cache(policy, config.features, out_dir.parent / "features")
    with _data_at_rest():
        for number in range(len(reports), len(STAGES)):
            stage = STAGES[number]
            shutil.rmtree(_folder(out_dir, number), ignore_errors=True)
            scratch = out_dir / "scratch" / stage
            checkpoints = Checkpoints(scratch, f"{key}/{stage}")
            first = all(report.skipped_reason for report in reports)
            start = (
                {f"{name}_before": value for name, value in probe.figures(policy).items()} if first else {}
            )
            report = _run(stage, policy, data, config, seed, out_dir, checkpoints, progress, cache, reports)
            if not report.skipped_reason:
                figures = {**report.metrics, **start, **probe.figures(policy)}
                report = replace(report, metrics=figures)
            policy.save(_folder(out_dir, number))
            reports.append(report)
            _mark(_marker(out_dir, number), key, report)
            checkpoints.clear()
            if number:
                shutil.rmtree(_folder(out_dir, number - 1), ignore_errors=True)
    shutil.rmtree(out_dir / "scratch", ignore_errors=True)
    return [*reports, text_gap(policy, replay)]


@contextmanager
def _data_at_rest() -> Iterator[None]:
    """Keep the collector off the round's data: walking thousands of scenes after each stage took a twentieth of them."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def refuse_useless_stages(policy: Policy, config: RefineConfig) -> None:
    """Refuse, before any of them runs, stages that cannot change the decoder that drives.

    Raises:
        RefineError: There is one.
    """
    for name in ("sft", "dpo", "kto", "grpo"):
        section = getattr(config, name)
        if section.enabled:
            refuse_frozen_decoder(policy, name, head=section.trains_head, text=True)
    if config.refit.enabled:
        refuse_frozen_decoder(policy, "refit", head=True, text=False)
    if config.anchor.enabled:
        refuse_frozen_decoder(policy, "anchor", head=True, text=False, flow=False)


def _run(
    stage: str,
    policy: Policy,
    data: _Data,
    config: RefineConfig,
    seed: int,
    out_dir: Path,
    checkpoints: Checkpoints,
    progress: StageProgress | None,
    cache: FeatureCache,
    before: list[StageReport],
) -> StageReport:
    reason = _idle(stage, data, config, before)
    if reason:
        return StageReport(stage, skipped_reason=reason)
    tell, scratch = _named(stage, progress), checkpoints.folder
    samples, pairs, replay, lora = data.samples, data.pairs, data.replay, config.lora
    teacher = make_teacher(config.teacher, out_dir.parent / "teacher")
    trainer: dict[str, Any] = {"replay": replay, "lora": lora, "checkpoints": checkpoints}
    if stage == "sft":
        return run_sft(policy, samples, config.sft, seed, tell, scratch, **trainer)
    if stage == "dpo":
        return run_dpo(policy, pairs, config.dpo, seed, tell, scratch, **trainer)
    if stage == "kto":
        return run_kto(policy, samples, pairs, data.failed, config.kto, seed, tell, scratch, **trainer)
    if stage == "grpo":
        return run_grpo(policy, pairs, config.grpo, seed, tell, scratch, teacher=teacher, **trainer)
    scenes = _scenes(samples, replay, config.refit, seed)
    if stage == "refit":
        return refit_head(policy, scenes, config.refit, seed, tell, cache=cache, checkpoints=checkpoints)
    return run_anchor(
        policy,
        pairs,
        config.anchor,
        seed,
        tell,
        scratch,
        replay=scenes,
        cache=cache,
        teacher=teacher,
        checkpoints=checkpoints,
    )


def _idle(stage: str, data: _Data, config: RefineConfig, before: list[StageReport]) -> str:
    """Why a stage does not run; "" if it does."""
    if not getattr(config, stage).enabled:
        return "switched off"
    if stage == "sft":
        return "" if data.samples or data.replay else "no samples"
    if stage == "refit":
        unchanged = all(report.skipped_reason for report in before)
        return "the backbone has not changed" if unchanged else ""
    if stage == "kto":
        return "" if data.failed else "no failed plan without a pair"
    if not data.pairs:
        return "no pairs"
    if stage == "dpo" and not data.replay:
        return "no replay, and DPO without it destroys the policy"
    return ""


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


def _key(policy: Policy, data: _Data, config: RefineConfig, seed: int) -> str:
    """Hash of all that a round starts from; of pictures and scenes only what tells them apart."""
    digest = hashlib.blake2b(digest_size=16)

    def add(*values: Any) -> None:
        for value in values:
            plan = isinstance(value, np.ndarray)
            digest.update(np.ascontiguousarray(value).tobytes() if plan else repr(value).encode())
            digest.update(b"\0")

    add(fingerprint(policy, head=True), policy.model.head_config, seed, config.model_dump_json())
    for sample in [*data.samples, *data.replay]:
        add(sample.case_id, sample.weight, *_seen(sample.input), sample.target_m, sample.mask)
        analysis = sample.analysis
        add(sample.reasoning, sample.negative_m, analysis if isinstance(analysis, str) else analysis.full())
    for pair in data.pairs:
        add(pair.pair_id, pair.source, pair.weight, pair.hardness, sorted(pair.visible_ids))
        add(*_seen(pair.input), pair.chosen_m, pair.chosen_mask, pair.rejected_m)
        add(pair.reasoning_chosen, pair.reasoning_rejected)
    for plan in data.failed:
        add(plan.case_id, plan.weight, *_seen(plan.input), plan.plan_m, plan.mask)
    return digest.hexdigest()


def _seen(item: PolicyInput) -> tuple[Any, ...]:
    return item.speed_mps, item.accel_mps2, item.yaw_rate_radps, item.history_m_rad, item.command
