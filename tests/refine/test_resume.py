"""A stage that dies in its middle goes on at its last complete checkpoint and ends bit by bit the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from takeover.models.policy import Policy
from takeover.refine.checkpoints import MARKER, Checkpoints
from takeover.refine.config import LoraSettings, RefineConfig, SftConfig
from takeover.refine.report import StageReport
from takeover.refine.sft import run_sft
from takeover.refine.stages import run_stages

from .conftest import make_failed, make_pairs, make_policy, make_samples, same, weights

OFF = {"enabled": False}
STEPS: dict[str, dict[str, Any]] = {
    "sft": {"max_steps": 5, "per_device_train_batch_size": 4, "save_steps": 2, "head_weight": "balanced"},
    "dpo": {"max_steps": 5, "per_device_train_batch_size": 4, "save_steps": 2},
    "kto": {"enabled": True, "max_steps": 5, "per_device_train_batch_size": 4, "save_steps": 2},
    "grpo": {"max_steps": 5, "per_device_train_batch_size": 5, "num_generations": 5, "save_steps": 2},
    "refit": {"epochs": 5, "per_device_train_batch_size": 10, "save_epochs": 2},
    "anchor": {"epochs": 5, "feedback_every": 2, "per_device_train_batch_size": 6, "save_epochs": 2},
}


class KilledError(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def only(stage: str) -> RefineConfig:
    """A round with one stage (the refit needs one before it)."""
    wanted = {"sft", stage} if stage == "refit" else {stage}
    return RefineConfig.model_validate({name: STEPS[name] if name in wanted else OFF for name in STEPS})


def refine(config: RefineConfig, out_dir: Path, tell: Any = None) -> tuple[Policy, list[StageReport]]:
    policy = make_policy()
    reports = run_stages(
        policy,
        make_samples(6),
        make_pairs(6),
        make_samples(4, 5, negative=False),
        config,
        0,
        out_dir,
        tell,
        failed=make_failed(4),
    )
    return policy, reports


@pytest.mark.parametrize("stage", list(STEPS))
def test_killed_in_the_middle_of_a_stage(stage: str, tmp_path: Path) -> None:
    config = only(stage)
    told: list[tuple[str, int]] = []
    whole, reports = refine(config, tmp_path / "whole", lambda name, step, n, loss: told.append((name, step)))
    last = max(step for name, step in told if name == stage)

    def killed(name: str, step: int, *_: Any) -> None:
        if (name, step) == (stage, last - 1):  # after the checkpoint of the step or epoch before
            raise KilledError

    with pytest.raises(KilledError):
        refine(config, tmp_path / "cut", killed)
    assert len(list((tmp_path / "cut" / "scratch" / stage).glob(f"*/{MARKER}"))) == 1
    again: list[tuple[str, int]] = []
    resumed, second = refine(config, tmp_path / "cut", lambda name, step, n, loss: again.append((name, step)))
    assert again[0][0] == stage
    assert 1 < again[0][1] <= last - 1, "it went on, and did not begin anew"
    assert same(weights(whole), weights(resumed))
    for one, other in zip(reports, second, strict=True):
        assert (one.steps, one.metrics) == (other.steps, other.metrics)
    assert not (tmp_path / "cut" / "scratch").exists()


def test_sigkill_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    """The process dies between the trainer's files and the marker: the checkpoint before counts."""
    script = tmp_path / "dies.py"
    here = Path(__file__)
    script.write_text(
        f"""
import importlib.util, os, signal, sys
from pathlib import Path
parts = {{}}
for name in ("conftest", "test_resume"):
    spec = importlib.util.spec_from_file_location(f"resume_tests.{{name}}", r"{here.parent}" + f"/{{name}}.py")
    module = parts[name] = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
from takeover.refine.checkpoints import Checkpoints
complete = Checkpoints.complete
def dying(self, path, step, state):
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    complete(self, path, step, state)
Checkpoints.complete = dying
tests = parts["test_resume"]
tests.refine(tests.only("sft"), Path(r"{tmp_path}") / "cut")
""",
        encoding="utf-8",
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    folder = tmp_path / "cut" / "scratch" / "sft"
    assert {path.name for path in folder.iterdir()} == {"checkpoint-2", "checkpoint-4"}
    whole, _ = refine(only("sft"), tmp_path / "whole")
    steps: list[int] = []
    resumed, _ = refine(only("sft"), tmp_path / "cut", lambda name, step, *_: steps.append(step))
    assert steps == [3, 4, 5]
    assert same(weights(whole), weights(resumed))


def test_an_adapter_is_resumed_too(tmp_path: Path) -> None:
    lora = LoraSettings(use="always", rank=4, alpha=8)
    config = SftConfig(max_steps=4, per_device_train_batch_size=4, save_steps=2)
    whole, cut = make_policy(), make_policy()
    run_sft(whole, make_samples(8), config, 1, out_dir=tmp_path / "whole", lora=lora)

    def killed(step: int, *_: Any) -> None:
        if step == 3:
            raise KilledError

    def checkpoints() -> Checkpoints:
        return Checkpoints(tmp_path / "cut", "key")

    with pytest.raises(KilledError):
        run_sft(
            cut, make_samples(8), config, 1, killed, tmp_path / "cut", lora=lora, checkpoints=checkpoints()
        )
    resumed = make_policy()
    run_sft(
        resumed, make_samples(8), config, 1, out_dir=tmp_path / "cut", lora=lora, checkpoints=checkpoints()
    )
    assert same(weights(whole), weights(resumed))


def test_other_data_does_not_go_on_from_here(tmp_path: Path) -> None:
    def killed(name: str, step: int, *_: Any) -> None:
        if step == 3:
            raise KilledError

    with pytest.raises(KilledError):
        refine(only("sft"), tmp_path, killed)
    steps: list[int] = []
    policy = make_policy()
    run_stages(
        policy,
        make_samples(7),
        make_pairs(6),
        make_samples(4, 5, negative=False),
        only("sft"),
        0,
        tmp_path,
        lambda name, step, *_: steps.append(step),
    )
    assert steps == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("changed", ["words", "analysis", "mask", "rejected", "hardness", "odometry"])
def test_a_round_of_other_data_does_not_take_these_stages(changed: str, tmp_path: Path) -> None:
    """Of the same cases and pairs: what is learnt from them differs."""
    samples, pairs = make_samples(6), make_pairs(6)
    replay = make_samples(4, 5, negative=False)
    config = RefineConfig.model_validate(dict.fromkeys(STEPS, OFF))
    run_stages(make_policy(), samples, pairs, replay, config, 0, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    first, pair = samples[0], pairs[0]
    if changed == "words":
        samples[0] = replace(first, reasoning="other words")
    elif changed == "analysis":
        samples[0] = replace(first, analysis="another fault")
    elif changed == "mask":
        samples[0] = replace(first, mask=~first.mask)
    elif changed == "rejected":
        pairs[0] = replace(pair, rejected_m=pair.rejected_m + np.float32(1.0))
    elif changed == "hardness":
        pairs[0] = replace(pair, hardness=1.0)
    else:
        samples[0] = replace(first, input=replace(first.input, yaw_rate_radps=0.1))
    run_stages(make_policy(), samples, pairs, replay, config, 0, tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


@pytest.mark.parametrize("damage", ["marker missing", "file cut", "other key", "marker cut"])
def test_only_complete_checkpoints_count(damage: str, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "stage", "key")
    for step in (1, 2):
        path = tmp_path / "stage" / f"checkpoint-{step}"
        path.mkdir(parents=True)
        (path / "weights").write_bytes(b"12345")
        if step == 1:
            kept = json.dumps({"key": "key", "step": 1, "files": {"weights": 5}, "state": {"n": 1}})
            (path / MARKER).write_text(kept)
    marker = {"key": "key", "step": 2, "files": {"weights": 5}, "state": {"n": 2}}
    if damage != "marker missing":
        text = json.dumps(marker | ({"key": "another"} if damage == "other key" else {}))
        (path / MARKER).write_text(text[:20] if damage == "marker cut" else text)
    if damage == "file cut":
        (path / "weights").write_bytes(b"123")
    found = checkpoints.newest()
    assert found == (tmp_path / "stage" / "checkpoint-1", {"n": 1})
    assert [p.name for p in (tmp_path / "stage").iterdir()] == ["checkpoint-1"]


def test_short_stages_write_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "key")
    assert [checkpoints.due(step, 0) for step in range(1, 50)] == [False] * 49
    assert [checkpoints.due(step, 3) for step in (1, 2, 3, 4, 6)] == [False, False, True, False, True]
