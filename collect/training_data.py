"""What a round trains on, read from the store: replay of expert drives, recoveries, corrections, pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..store import queries
from ..store.database import Store
from ..store.episodes import EpisodeReader
from ..store.rows import PairRow
from ..vocabulary import PLAN_POINTS, DrivingSample, FailedPlan, PairSource, Phase, PreferencePair
from .cot import visible_agents
from .samples import (
    driver_samples,
    expert_samples,
    policy_input,
    policy_sample,
    preference_pair,
    uneventful_samples,
)

Told = Callable[[], None]
# Pairs that were refused because their chosen side was not good enough; their rejected side may still teach.
NO_POSITIVE = frozenset({"chosen_collides", "chosen_off_road", "chosen_ttc", "too_short"})


def replay_samples(store: Store, episode_ids: Sequence[str], told: Told | None = None) -> list[DrivingSample]:
    """Every frame of the expert's successful drives.

    Args:
        store: The store.
        episode_ids: Expert drives; failed ones are left out, since their plans led there.
        told: Called after each episode.
    """
    wanted = set(episode_ids)
    samples: list[DrivingSample] = []
    for row in queries.episodes(store, driver_kind="expert", role="train", whole=True, limit=1_000_000):
        if row["episode_id"] not in wanted:
            continue
        if row["success"]:
            samples += expert_samples(EpisodeReader(store.home / row["path"]))
        if told is not None:
            told()
    return samples


def uneventful_replay(store: Store) -> list[DrivingSample]:
    """Every frame of the drives of earlier rounds that succeeded with nobody taking over and without a phantom brake.

    A policy that learnt from its own needless braking would brake more and more. Where drives were labelled state by
    state, what it did right in the others comes along.
    """
    whole = [
        s
        for row in queries.uneventful(store)
        for s in uneventful_samples(EpisodeReader(store.home / row["path"]))
    ]
    return whole + imitable_states(store)


def imitable_states(store: Store) -> list[DrivingSample]:
    """Positive states of SafeAlign's Algorithm 1, with their reasoning: what the policy did right in drives that went wrong.

    There are none before `loop pair` (or `pairs.every_episode`) has labelled drives.
    """
    readers = _Readers(store.home)
    return [policy_sample(readers.of(row["episode_id"]), row["tick"]) for row in queries.imitable(store)]


def preference_pairs(store: Store, up_to_round: int) -> list[PreferencePair]:
    """Admitted pairs of all rounds so far (proof.md 11), with pictures and scenes.

    Args:
        store: The store.
        up_to_round: Last round that counts.
    """
    readers = _Readers(store.home)
    return [
        preference_pair(readers.of(row["episode_id"]), _pair_row(row))
        for row in queries.pairs(store, admitted=True)
        if row["round"] <= up_to_round
    ]


def recovery_samples(store: Store, pairs: Sequence[PreferencePair]) -> list[DrivingSample]:
    """What SFT imitates of the takeovers: the driver's recoveries, and the corrections before them.

    A correction is the chosen side of a pair whose state the policy had brought about; its prompt may show the rejected
    side and its analysis (SafeAlign 3.4).

    Args:
        store: The store.
        pairs: Of `preference_pairs`.
    """
    readers = _Readers(store.home)
    samples: list[DrivingSample] = []
    for row in queries.segments(store, phase=Phase.RECOVERY.value, trains=True):
        reader = readers.of(row["episode_id"])
        samples += driver_samples(reader, row["start_tick"], row["end_tick"], row["weight"])
    samples += [
        DrivingSample(
            input=pair.input,
            target_m=pair.chosen_m,
            mask=pair.chosen_mask,
            reasoning=pair.reasoning_chosen,
            weight=pair.weight,
            role=pair.role,
            case_id=pair.case_id,
            negative_m=pair.rejected_m,
            analysis=pair.analysis,
        )
        for pair in pairs
        if pair.source is not PairSource.HUMAN  # the recovery itself is above
    ]
    return samples


def failed_plans(store: Store, up_to_round: int) -> list[FailedPlan]:
    """Unsafe plans of the policy at states for which no pair was admitted, since nothing good enough was known there.

    Only what was seen counts: a plan that ran into something outside the picture teaches phantom braking (proof.md 7).

    Args:
        store: The store.
        up_to_round: Last round that counts.
    """
    readers = _Readers(store.home)
    rows = [row for row in queries.pairs(store) if row["round"] <= up_to_round]
    settled = {(row["episode_id"], row["tick"]) for row in rows if row["admitted"]}
    found: dict[tuple[str, int, tuple[float, ...]], FailedPlan] = {}
    for row in rows:
        here, plan = (row["episode_id"], row["tick"]), tuple(row["rejected_m"])
        if (
            row["reject_reason"] not in NO_POSITIVE
            or not row["details"]["rejected_unsafe"]
            or row["source"] == PairSource.PREDICTED.value
            or here in settled
            or (*here, plan) in found
        ):
            continue
        reader = readers.of(row["episode_id"])
        critical = row["critical_actor_id"]
        if critical and critical not in visible_agents(reader, row["tick"]):
            continue
        found[(*here, plan)] = FailedPlan(
            input=policy_input(reader, row["tick"]),
            plan_m=np.array(plan, np.float32).reshape(PLAN_POINTS, 2),
            mask=np.ones(PLAN_POINTS, np.bool_),
            weight=row["weight"],
            role=reader.meta.role,
            case_id=row["case_id"],
            pair_id=row["pair_id"],
        )
    return list(found.values())


class _Readers:
    """Readers of sealed episodes, opened once."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._open: dict[str, EpisodeReader] = {}

    def of(self, episode_id: str) -> EpisodeReader:
        """The reader of an episode."""
        if episode_id not in self._open:
            self._open[episode_id] = EpisodeReader(self._home / "episodes" / episode_id)
        return self._open[episode_id]


def _pair_row(row: dict[str, Any]) -> PairRow:
    return PairRow(**{**row, "source": PairSource(row["source"])})
