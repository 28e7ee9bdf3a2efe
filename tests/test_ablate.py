"""An ablation repeats nothing that is done, and ends with its budget."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from takeover import ablate
from takeover.ablate import Ablation
from takeover.collect.training_data import Lessons
from takeover.errors import UsageError
from takeover.evaluate.closed_loop import CaseResult
from takeover.evaluate.evaluator import Silent
from takeover.loop import RunConfig
from takeover.refine.arms import parse_arms
from takeover.refine.config import RefineConfig
from takeover.refine.report import StageReport
from takeover.store.learnt import Sources
from takeover.vocabulary import (
    Case,
    Command,
    DrivingSample,
    FailedPlan,
    PairSource,
    PolicyInput,
    PreferencePair,
    Role,
)

CONFIG = RefineConfig.model_validate(
    {
        "sft": {"max_steps": 40},
        "dpo": {"max_steps": 24},
        "grpo": {"max_steps": 8},
        "refit": {"epochs": 12, "per_device_train_batch_size": 64},
        "anchor": {"epochs": 8, "per_device_train_batch_size": 32},
    }
)


NOTHING_FOUND = Sources([], [], [], [], [], {})
SEEN = PolicyInput(
    np.zeros((2, 1, 4, 4, 3), np.uint8), np.zeros((4, 3), np.float32), 8.0, 0.0, 0.0, Command.FOLLOW_LANE
)
PLAN, ALL = np.zeros((8, 2), np.float32), np.ones(8, np.bool_)


def sample(weight: float = 1.0) -> DrivingSample:
    return DrivingSample(SEEN, PLAN, ALL, "", weight, case_id="ParkedObstacle/3")


def pair(name: str, weight: float = 1.0) -> PreferencePair:
    return PreferencePair(
        name, SEEN, PLAN, ALL, PLAN, PairSource.HUMAN, weight, Role.TRAIN, "ParkedObstacle/3", 1.0, 0.0
    )


def plan(weight: float) -> FailedPlan:
    return FailedPlan(SEEN, PLAN, ALL, weight, Role.TRAIN, "ParkedObstacle/3", "p9")


class Home:
    """A loop whose training and driving are counted, not done."""

    def __init__(self, home: Path) -> None:
        self.home, self.config, self.progress = home, RunConfig(refine=CONFIG), Silent()
        self.trained: list[tuple[int, int]] = []
        self.store = None
        self.samples, self.pairs, self.failed = (
            [sample()] * 10,
            [pair(f"p{i}") for i in range(4)],
            [plan(1.0)],
        )
        self.evaluator = self
        self.champions = SimpleNamespace(policy=lambda generation, fresh=False: Weights())

    def rollouts(self) -> Any:
        return nullcontext()

    def training_data(self, number: int, *, failed: bool) -> Lessons:
        return Lessons(
            self.samples, self.pairs, [sample()] * 90, self.failed if failed else [], NOTHING_FOUND
        )

    def silent(self) -> Any:
        return self

    def results(self, generation: int, name: str, cases: Sequence[Case], title: str, **_: Any) -> Any:
        return self.results_of(None, "start", name, cases, title)

    def results_of(
        self, policy: Any, sha256: str, name: str, cases: Sequence[Case], title: str, **_: Any
    ) -> Any:
        return [CaseResult(c, True, 100.0, 100.0, (), "route_complete", 90.0, 9.0, 0, 0.0) for c in cases]


class Weights:
    def share_pictures(self, seen: Any) -> Any:
        return seen

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path)

    def stages(
        policy: Any, samples: Any, pairs: Any, replay: Any, config: Any, seed: int, *_: Any, **__: Any
    ) -> Any:
        made.trained.append((len(pairs), seed))
        if made.die_after == len(made.trained):
            raise KeyboardInterrupt
        return [
            StageReport("sft", 5.0, config.sft.max_steps),
            StageReport("refit", 1.0, config.refit.epochs * 2),
        ]

    made.die_after = 0
    monkeypatch.setattr("takeover.refine.stages.run_stages", stages)
    monkeypatch.setattr("takeover.models.policy.Policy.load", lambda *_, **__: Weights())
    monkeypatch.setattr(ablate.history, "generation", lambda store, number: {"sha256": "abc"})
    return made


def run(home: Home, minutes: float = 0.0, arms_text: str = "sft;sft,dpo;sft,dpo,grpo") -> dict[str, Any]:
    arms = parse_arms(arms_text)
    job = Ablation(home, arms, [0, 1], cases=10, nominal_cases=3, name="longtail", generation=0)  # type: ignore[arg-type]
    return job.run(minutes)[1]


def test_a_killed_ablation_does_not_repeat_what_is_done(home: Home) -> None:
    home.die_after = 4
    with pytest.raises(KeyboardInterrupt):
        run(home)
    assert [seed for _, seed in home.trained] == [0, 0, 1, 1]  # both first arms on each seed, then the third
    home.die_after = 0
    report = run(home)
    assert [seed for _, seed in home.trained[4:]] == [1, 0, 1]
    assert report["setting"]["missing"] == []
    assert [arm["arm"] for arm in report["arms"]] == [
        "generation 0",
        "sft",
        "sft + dpo",
        "sft + dpo + grpo",
    ]
    assert [arm["seeds"] for arm in report["arms"][1:]] == [[0, 1]] * 3
    assert Path(report["files"]["md"]).read_text().startswith("# Ablation on longtail")
    run(home)
    assert len(home.trained) == 7


def test_a_budget_leaves_a_report_of_what_is_done(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 100_000, 40))
    monkeypatch.setattr(ablate.time, "monotonic", lambda: float(next(now)))
    report = run(home, minutes=4)
    assert 1 <= len(home.trained) < 6
    assert len(report["setting"]["missing"]) == 6 - len(home.trained)


def test_another_configuration_is_another_ablation(home: Home) -> None:
    run(home)
    for number, policy in enumerate(({}, {"decoder": "flow"}, {"context": "prompt+reasoning"}), start=2):
        home.config = RunConfig(refine={"sft": {"max_steps": 7}}, policy=policy)
        run(home)
        run(home)
        assert len(home.trained) == 6 * number


def test_other_data_are_another_ablation(home: Home) -> None:
    run(home)
    home.pairs = [pair("p0", 2.0), *home.pairs[1:]]  # a relapse doubles a weight
    run(home)
    assert len(home.trained) == 12
    home.samples = [sample(0.5), *home.samples[1:]]
    run(home)
    assert len(home.trained) == 18


def test_failed_plans_are_data_of_the_arms_that_learn_from_them(home: Home) -> None:
    arms = "sft;sft,kto"
    run(home, arms_text=arms)
    assert len(home.trained) == 4
    home.failed = [plan(2.0)]
    run(home, arms_text=arms)
    assert len(home.trained) == 6  # both seeds of sft + kto; the runs of sft stand


def test_nonsense_is_refused(home: Home) -> None:
    arms = parse_arms("sft")
    for given in ({"name": "train", "seeds": [0]}, {"name": "final", "seeds": [0, 0]}):
        with pytest.raises(UsageError):
            Ablation(home, arms, given["seeds"], cases=3, nominal_cases=3, name=given["name"], generation=0)  # type: ignore[arg-type]
