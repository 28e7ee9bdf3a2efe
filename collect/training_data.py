"""What a round trains on, read from the store: replay of expert drives, recoveries, corrections, pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..store.database import Store
from ..store.episodes import EpisodeReader
from ..store.learnt import Sources
from ..store.queries import Rows
from ..store.rows import PairRow
from ..vocabulary import PLAN_POINTS, Analysis, DrivingSample, FailedPlan, PairSource, PreferencePair
from .cot import visible_agents
from .samples import (
    driver_samples,
    expert_samples,
    policy_input,
    policy_sample,
    preference_pair,
    uneventful_samples,
)

T = TypeVar("T")
Told = Callable[[], None]
Array = NDArray[np.float32] | NDArray[np.bool_]
# Pairs that were refused because their chosen side was not good enough; their rejected side may still teach.
NO_POSITIVE = frozenset({"chosen_collides", "chosen_off_road", "chosen_ttc", "too_short"})


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a round trains on.

    Attributes:
        samples: Recoveries and corrections.
        pairs: Of all rounds so far.
        replay: Of the expert's and of uneventful drives.
        failed: Plans of refused pairs; empty unless they were asked for.
        found: The rows that all of it was read from.
    """

    samples: list[DrivingSample]
    pairs: list[PreferencePair]
    replay: list[DrivingSample]
    failed: list[FailedPlan]
    found: Sources

    def digest(self) -> str:
        """Hex sha256 of samples, pairs and replay: ids, weights, plans and words; pictures are those of sealed drives."""
        every = [*self.samples, *self.replay]
        said = [(s.case_id, s.weight, s.reasoning, _words(s.analysis)) for s in every]
        known = [(p.pair_id, p.weight, p.reasoning_chosen, _words(p.analysis)) for p in self.pairs]
        arrays = [(s.input.history_m_rad, s.target_m, s.mask, s.negative_m) for s in every]
        arrays += [(p.input.history_m_rad, p.chosen_m, p.chosen_mask, p.rejected_m) for p in self.pairs]
        return _sha256(repr([said, known]), arrays)

    def failed_digest(self) -> str:
        """The same of the failed plans."""
        said = [(plan.pair_id, plan.weight) for plan in self.failed]
        return _sha256(repr(said), [(plan.plan_m, plan.mask) for plan in self.failed])


class Remembered:
    """What has been read of sealed drives: every round reads those of all rounds before it again."""

    def __init__(self) -> None:
        self._known: dict[object, Any] = {}

    def get(self, key: tuple[object, ...], read: Callable[[], T]) -> T:
        """What a key stands for; read at the first time.

        Args:
            key: All that the value hangs on: the drive, and of the row what is read from it.
            read: Reads it.
        """
        if key not in self._known:
            self._known[key] = read()
        found: T = self._known[key]
        return found


def lessons(
    store: Store,
    found: Sources,
    expert: Sequence[DrivingSample],
    *,
    failed: bool,
    known: Remembered | None = None,
) -> Lessons:
    """Read a round's data.

    Args:
        store: Home of the drives.
        found: What there is to learn from.
        expert: Samples of its expert drives.
        failed: Whether failed plans are wanted: KTO learns from them.
        known: What earlier rounds have read.
    """
    known = known or Remembered()
    pairs = preference_pairs(store, found, known)
    return Lessons(
        recovery_samples(store, found, pairs, known),
        pairs,
        [*expert, *uneventful_replay(store, found, known)],
        failed_plans(store, found) if failed else [],
        found,
    )


def replay_samples(store: Store, drives: Rows, told: Told | None = None) -> list[DrivingSample]:
    """Every frame of the expert's successful drives.

    Args:
        store: The store.
        drives: Rows of expert drives; failed ones are left out, since their plans led there.
        told: Called after each episode.
    """
    samples: list[DrivingSample] = []
    for row in drives:
        if row["success"]:
            samples += expert_samples(EpisodeReader(store.home / row["path"]))
        if told is not None:
            told()
    return samples


def uneventful_replay(store: Store, found: Sources, known: Remembered | None = None) -> list[DrivingSample]:
    """Every frame of the drives of earlier rounds that succeeded with nobody taking over and without a phantom brake.

    A policy that learnt from its own needless braking would brake more and more. Where drives were labelled state by
    state, what it did right in the others comes along.
    """
    known = known or Remembered()

    def drive(path: str) -> list[DrivingSample]:
        return known.get(("uneventful", path), lambda: uneventful_samples(EpisodeReader(store.home / path)))

    whole = [sample for row in found.uneventful for sample in drive(row["path"])]
    return whole + imitable_states(store, found)


def imitable_states(store: Store, found: Sources) -> list[DrivingSample]:
    """Positive states of SafeAlign's Algorithm 1, with their reasoning: what the policy did right in drives that went wrong.

    There are none before `loop pair` (or `pairs.every_episode`) has labelled drives.
    """
    readers = _Readers(store.home)
    return [policy_sample(readers.of(row["episode_id"]), row["tick"]) for row in found.imitable]


def preference_pairs(store: Store, found: Sources, known: Remembered | None = None) -> list[PreferencePair]:
    """Admitted pairs of all rounds so far (proof.md 11), with pictures and scenes."""
    readers, known = _Readers(store.home), known or Remembered()

    def pair(row: PairRow) -> PreferencePair:
        return known.get(("pair", repr(row)), lambda: preference_pair(readers.of(row.episode_id), row))

    return [pair(_pair_row(row)) for row in found.admitted]


def recovery_samples(
    store: Store, found: Sources, pairs: Sequence[PreferencePair], known: Remembered | None = None
) -> list[DrivingSample]:
    """What SFT imitates of the takeovers: the driver's recoveries, and the corrections before them.

    A correction is the chosen side of a pair whose state the policy had brought about; its prompt may show the rejected
    side and its analysis (SafeAlign 3.4).

    Args:
        store: The store.
        found: What there is to learn from.
        pairs: Of `preference_pairs`.
        known: What earlier rounds have read.
    """
    readers, known = _Readers(store.home), known or Remembered()
    samples: list[DrivingSample] = []

    def recovery(drive: str, *segment: Any) -> list[DrivingSample]:
        return known.get(("recovery", drive, *segment), lambda: driver_samples(readers.of(drive), *segment))

    for row in found.recoveries:
        samples += recovery(row["episode_id"], row["start_tick"], row["end_tick"], row["weight"])
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


def failed_plans(store: Store, found: Sources) -> list[FailedPlan]:
    """Unsafe plans of the policy at states for which no pair was admitted, since nothing good enough was known there.

    Only what was seen counts: a plan that ran into something outside the picture teaches phantom braking (proof.md 7).
    """
    readers = _Readers(store.home)
    settled = {(row["episode_id"], row["tick"]) for row in found.admitted}
    plans: dict[tuple[str, int, tuple[float, ...]], FailedPlan] = {}
    for row in found.pairs:
        here, plan = (row["episode_id"], row["tick"]), tuple(row["rejected_m"])
        if (
            row["reject_reason"] not in NO_POSITIVE
            or not row["details"]["rejected_unsafe"]
            or row["source"] == PairSource.PREDICTED.value
            or here in settled
            or (*here, plan) in plans
        ):
            continue
        reader = readers.of(row["episode_id"])
        critical = row["critical_actor_id"]
        if critical and critical not in visible_agents(reader, row["tick"]):
            continue
        plans[(*here, plan)] = FailedPlan(
            input=policy_input(reader, row["tick"]),
            plan_m=np.array(plan, np.float32).reshape(PLAN_POINTS, 2),
            mask=np.ones(PLAN_POINTS, np.bool_),
            weight=row["weight"],
            role=reader.meta.role,
            case_id=row["case_id"],
            pair_id=row["pair_id"],
        )
    return list(plans.values())


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


def _words(analysis: str | Analysis) -> str:
    return analysis if isinstance(analysis, str) else analysis.full()


def _sha256(text: str, arrays: Iterable[Sequence[Array | None]]) -> str:
    made = hashlib.sha256(text.encode())
    for values in arrays:
        for value in values:
            made.update(b"-" if value is None else np.ascontiguousarray(value).tobytes())
    return made.hexdigest()


def _pair_row(row: dict[str, Any]) -> PairRow:
    return PairRow(**{**row, "source": PairSource(row["source"])})
