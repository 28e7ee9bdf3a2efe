from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from takeover.errors import RefineError, RoleError
from takeover.models.policy import Policy
from takeover.refine import stages
from takeover.refine.config import STAGES, RefineConfig
from takeover.refine.report import StageReport
from takeover.refine.stages import run_stages
from takeover.vocabulary import Role

from .conftest import make_pairs, make_policy, make_samples, same, weights

SMALL = RefineConfig.model_validate(
    {
        "sft": {"max_steps": 2, "per_device_train_batch_size": 4},
        "dpo": {"max_steps": 2, "per_device_train_batch_size": 4},
        "grpo": {"max_steps": 1, "per_device_train_batch_size": 5, "num_generations": 5},
        "refit": {"epochs": 1},
        "anchor": {"epochs": 1},
    }
)


def refine(policy: Policy, out_dir: Path, config: RefineConfig = SMALL, seed: int = 0) -> list[StageReport]:
    return run_stages(
        policy, make_samples(6), make_pairs(6), make_samples(4, 5, negative=False), config, seed, out_dir
    )


def test_all_stages_in_order_with_one_folder_of_weights(policy: Policy, tmp_path: Path) -> None:
    told: list[str] = []
    reports = run_stages(
        policy,
        make_samples(6),
        make_pairs(6),
        make_samples(4, 5, negative=False),
        SMALL,
        0,
        tmp_path,
        lambda stage, step, steps, loss: told.append(stage),
    )
    assert [report.stage for report in reports] == ["sft", "dpo", "kto", "grpo", "refit", "anchor", "gap"]
    assert reports.pop(2).skipped_reason == "switched off"
    assert all(report.steps > 0 and not report.skipped_reason for report in reports[:-1])
    assert reports[-1].metrics["text_head_ade_m"] > 0
    assert list(dict.fromkeys(told)) == ["sft", "dpo", "grpo", "refit", "anchor"]
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["5-anchor"]
    found = json.loads((tmp_path / "3-grpo.json").read_text())
    assert StageReport.from_json(found["report"]).stage == "grpo"
    loaded = Policy.load(tmp_path / "5-anchor")
    assert same(weights(policy), weights(loaded))


@pytest.mark.parametrize("killed_in", ["dpo", "grpo", "anchor"])
def test_a_killed_run_goes_on_and_ends_the_same(
    killed_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_policy()
    refine(whole, tmp_path / "whole")

    def killed(*_: object, **__: object) -> StageReport:
        raise KeyboardInterrupt

    name = f"run_{killed_in}"
    real = getattr(stages, name)
    monkeypatch.setattr(stages, name, killed)
    with pytest.raises(KeyboardInterrupt):
        refine(make_policy(), tmp_path / "cut")
    monkeypatch.setattr(stages, name, real)
    # Half-written weights of the stage that was cut off must not be taken for whole ones.
    number = STAGES.index(killed_in)
    (tmp_path / "cut" / f"{number}-{killed_in}").mkdir()
    if number > 1:  # nor may those stay that a kill between two stages has left
        (tmp_path / "cut" / "0-sft").mkdir()
    ran: list[str] = []
    for other in ("sft", "dpo", "grpo", "anchor"):
        original = getattr(stages, f"run_{other}")

        def noted(*given: Any, stage: str = other, run: Any = original, **more: Any) -> Any:
            ran.append(stage)
            return run(*given, **more)

        monkeypatch.setattr(stages, f"run_{other}", noted)
    resumed = make_policy()
    refine(resumed, tmp_path / "cut")
    assert [p.name for p in (tmp_path / "cut").iterdir() if p.is_dir()] == ["5-anchor"]
    assert ran == [n for n in ("sft", "dpo", "grpo", "anchor") if n == killed_in or _after(n, killed_in)]
    assert same(weights(whole), weights(resumed))


def _after(name: str, other: str) -> bool:
    return STAGES.index(name) > STAGES.index(other)


def test_other_data_or_seed_starts_afresh(tmp_path: Path) -> None:
    first = make_policy()
    refine(first, tmp_path)
    second = make_policy()
    refine(second, tmp_path, seed=1)
    assert not same(weights(first), weights(second))


def test_switched_off_and_impossible_stages_say_so(policy: Policy, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"grpo": SMALL.grpo.model_copy(update={"enabled": False})})
    reports = run_stages(policy, make_samples(6), [], make_samples(4, 5), config, 0, tmp_path)
    reasons = [report.skipped_reason for report in reports]
    assert reasons == ["", "no pairs", "switched off", "switched off", "", "no pairs", ""]


def test_stages_for_another_decoder_are_refused_before_anything_runs(tmp_path: Path) -> None:
    policy = make_policy(decoder="tokens")
    before = weights(policy)
    with pytest.raises(RefineError, match="driving decoder tokens"):
        refine(policy, tmp_path)
    assert same(before, weights(policy))
    config = RefineConfig.model_validate(
        {
            "sft": {"max_steps": 1, "per_device_train_batch_size": 2, "head_weight": 0},
            "dpo": {"enabled": False},
            "grpo": {"enabled": False},
            "refit": {"enabled": False},
            "anchor": {"enabled": False},
        }
    )
    assert refine(policy, tmp_path, config)[0].steps == 1


def test_held_out_data_is_refused(policy: Policy, tmp_path: Path) -> None:
    with pytest.raises(RoleError):
        run_stages(policy, make_samples(2), make_pairs(2, role=Role.GATE), [], SMALL, 0, tmp_path)
