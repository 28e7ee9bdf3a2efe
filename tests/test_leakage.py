"""Tries to train on gate, final and unseen cases by every path there is, and fails (proof.md 1).

Three kinds of leak: a held-out drive in the store with its true role; labels forged to say that it may train; and a drive
whose own record lies about its role, so that only its case gives it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from takeover.collect.doses import Dose, random_timed_jobs
from takeover.collect.grounding import grounded_frames
from takeover.collect.labels import EpisodeLabels, label_episode, put_labels
from takeover.collect.pairing import pair_episodes
from takeover.collect.plans import bootstrap_jobs, round_jobs
from takeover.collect.samples import policy_sample
from takeover.collect.training_data import (
    failed_plans,
    imitable_states,
    preference_pairs,
    recovery_samples,
    replay_samples,
    uneventful_replay,
)
from takeover.config import BootstrapConfig, CollectConfig
from takeover.errors import RoleError, UsageError
from takeover.refine.anchor_stage import run_anchor
from takeover.refine.config import AnchorConfig, DpoConfig, GrpoConfig, RefineConfig, RefitConfig, SftConfig
from takeover.refine.datasets import check_roles
from takeover.refine.dpo import run_dpo
from takeover.refine.grpo import run_grpo
from takeover.refine.kto import kto_rows
from takeover.refine.refit import refit_head
from takeover.refine.sft import run_sft
from takeover.refine.stages import run_stages
from takeover.sim_bridge.scenarios.cases import SEEDS, TRAINED_TYPES, role_of, suite
from takeover.store.database import Store
from takeover.store.episodes import EpisodeReader
from takeover.store.learnt import sources
from takeover.vocabulary import Case, DrivingSample, FailedPlan, PreferencePair, Role

from .collect.takeovers import record

HELD_OUT = [
    Case("ParkedObstacle", 10_003),
    Case("ParkedObstacle", 20_003),
    Case("AccidentTwoWays", 3),  # an unseen type, whatever its seed
]


@pytest.fixture(params=HELD_OUT, ids=lambda case: case.case_id)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def home(
    folder: Path, case: Case, role: Role, driver_kind: str = "human"
) -> tuple[Store, Path, EpisodeLabels]:
    """A store with one drive of a case, labelled as a round does it."""
    path = record(folder, case=case, role=role, driver_kind=driver_kind)
    store = Store(folder)
    store.ingest_many([path])
    labels = label_episode(path, 1)
    put_labels(store, [path.name], [labels])
    return store, path, labels


def learnt(store: Store) -> dict[str, Sequence[Any]]:
    """Everything that training reads from a store, by path."""
    found = sources(store)
    pairs = preference_pairs(store, found)
    return {
        "pairs": pairs,
        "recoveries and corrections": recovery_samples(store, found, pairs),
        "failed plans": failed_plans(store, found),
        "replay of the expert, and generation 0": replay_samples(store, found.experts),
        "uneventful drives": uneventful_replay(store, found),
        "states of Algorithm 1": imitable_states(store, found),
    }


@pytest.mark.parametrize("driver_kind", ["human", "scripted", "expert"])
def test_a_held_out_drive_gives_nothing(tmp_path: Path, case: Case, driver_kind: str) -> None:
    store, _, labels = home(tmp_path, case, role_of(case), driver_kind)
    assert not any(pair.admitted for pair in labels.pairs)
    assert not any(segment.train_mask for segment in labels.segments)
    pair_episodes(store)  # counterfactuals at every state
    assert {name: len(items) for name, items in learnt(store).items() if items} == {}


def test_the_same_drive_of_the_train_role_gives_something(tmp_path: Path) -> None:
    train = Case("ParkedObstacle", 3)
    store, _, _ = home(tmp_path / "human", train, Role.TRAIN)
    found = learnt(store)
    assert found["pairs"]
    assert found["recoveries and corrections"]
    for items in found.values():
        check_roles(items)
    store, _, _ = home(tmp_path / "expert", train, Role.TRAIN, "expert")
    assert learnt(store)["replay of the expert, and generation 0"]


def test_forged_labels_do_not_get_past_the_stages(tmp_path: Path, case: Case) -> None:
    store, path, labels = home(tmp_path, case, role_of(case))
    forged = EpisodeLabels(
        labels.takeovers,
        tuple(replace(segment, train_mask=True, weight=1.0) for segment in labels.segments),
        tuple(replace(pair, admitted=True, reject_reason="", role="train") for pair in labels.pairs),
    )
    put_labels(store, [path.name], [forged])
    found = learnt(store)
    assert found["pairs"]
    assert found["recoveries and corrections"]
    refused_everywhere(found["pairs"], found["recoveries and corrections"])


def test_a_drive_that_lies_about_its_role_is_known_by_its_case(tmp_path: Path, case: Case) -> None:
    store, path, _ = home(tmp_path, case, Role.TRAIN)
    found = learnt(store)
    assert found["pairs"], "the lie has worked up to here"
    refused_everywhere(found["pairs"], found["recoveries and corrections"])
    store, path, _ = home(tmp_path / "expert", case, Role.TRAIN, "expert")
    replay = learnt(store)["replay of the expert, and generation 0"]
    assert replay
    refused_everywhere([], replay)
    with pytest.raises(RoleError):
        check_roles([policy_sample(EpisodeReader(path), 20)])  # what uneventful drives and Algorithm 1 give


def refused_everywhere(pairs: Sequence[PreferencePair], samples: Sequence[DrivingSample]) -> None:
    """By the round as a whole, and by each stage called alone."""
    teacher = Teacher()
    policy: Any = SimpleNamespace(
        decoder="mlp", model=torch.nn.Identity()
    )  # no stage gets as far as its weights
    items = [[one] for one in pairs] + [[one] for one in samples]
    for one in items:
        with pytest.raises(RoleError, match="must not train"):
            check_roles(one)
    with pytest.raises(RoleError):
        run_stages(policy, samples, pairs, [], RefineConfig(), 0, Path("never"))
    with pytest.raises(RoleError):
        run_stages(policy, [], [], samples, RefineConfig(), 0, Path("never"))
    calls = [
        lambda: run_sft(policy, samples, SftConfig(), 0, out_dir=Path("never")),
        lambda: refit_head(policy, samples, RefitConfig(), 0),
    ]
    if pairs:
        calls += [
            lambda: run_dpo(policy, pairs, DpoConfig(), 0, out_dir=Path("never")),
            lambda: run_grpo(policy, pairs, GrpoConfig(), 0, teacher=teacher),
            lambda: run_anchor(policy, pairs, AnchorConfig(), 0, teacher=teacher),
            lambda: kto_rows([], [failed_of(pairs[0])], [], RefineConfig().kto, 0),
        ]
    for call in calls:
        with pytest.raises(RoleError):
            call()
    assert teacher.asked == 0
    assert not Path("never").exists()


def failed_of(pair: PreferencePair) -> FailedPlan:
    return FailedPlan(pair.input, pair.rejected_m, pair.chosen_mask, 1.0, pair.role, pair.case_id)


class Teacher:
    """Counts what it is asked: of held-out scenes nothing may leave the machine."""

    def __init__(self) -> None:
        self.asked = 0

    def analyse(self, failure: Any) -> Any:
        self.asked += 1
        raise AssertionError("the teacher was shown a held-out scene")

    def figures(self) -> dict[str, float]:
        return {}


def test_generation_0_does_not_even_see_a_held_out_picture(tmp_path: Path, case: Case) -> None:
    for role in (role_of(case), Role.TRAIN):
        path = record(tmp_path / role, case=case, role=role, driver_kind="expert")
        with pytest.raises(RoleError):
            grounded_frames([EpisodeReader(path)], 8)


def test_no_stage_asks_for_a_held_out_drive(tmp_path: Path, case: Case) -> None:
    jobs = bootstrap_jobs("run", BootstrapConfig(), 0, tmp_path)
    for number in (1, 9, 10, 400):
        jobs += round_jobs("run", number, "0", CollectConfig(), 0, tmp_path)
    assert {role_of(job.case) for job in jobs} == {Role.TRAIN}
    assert {job.case.scenario for job in jobs} & {"AccidentTwoWays", "ParkingCrossingPedestrian"} == set()
    for sizes in ({"longtail_episodes": 10_001}, {"nominal_episodes": 10_001}):
        with pytest.raises(UsageError, match="range"):
            bootstrap_jobs("run", BootstrapConfig(**sizes), 0, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="range"):
        round_jobs("run", 1, "0", CollectConfig(episodes=20_000), 0, tmp_path)
    dose = Dose("6f1d3c1e-6a53-4f0e-9a57-3b1f3a5f7c11", case.case_id, "0", "brake_first", 5, (2.0,), 9.0)
    with pytest.raises(RoleError):
        random_timed_jobs([dose], 0, 0, tmp_path)


def test_the_roles_share_no_case() -> None:
    roles = {
        name: {c.case_id for c in suite(name, 2000)} for name in ("train", "longtail", "final", "unseen")
    }
    names = sorted(roles)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert roles[one].isdisjoint(roles[other]), (one, other)
    assert all(role_of(Case(TRAINED_TYPES[0], seeds[-1])) is role for role, seeds in SEEDS.items())
