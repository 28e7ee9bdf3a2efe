"""The drives of the dose-matched control: the same scenes and as many driver's seconds, at random times (proof.md 14)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..sim_bridge.scenarios.cases import parse_case, require_role
from ..store.database import Store
from ..vocabulary import TICK_HZ, Role
from .jobs import EpisodeJob
from .timed_driver import Stretch

FIRST_S = 0.5  # not at the very start: there is no plan to take over from


@dataclass(frozen=True, slots=True)
class Dose:
    """What a driver drove in one drive.

    Attributes:
        episode_id: The drive.
        case_id: Its case.
        generation: Who planned.
        style: Of the driver.
        seed: Of the driver.
        lengths_s: Each takeover's length.
        duration_s: Of the drive.
    """

    episode_id: str
    case_id: str
    generation: str
    style: str
    seed: int
    lengths_s: tuple[float, ...]
    duration_s: float

    @property
    def seconds(self) -> float:
        """All that the driver drove."""
        return sum(self.lengths_s)


def doses(store: Store) -> list[Dose]:
    """What the scripted driver drove in a home's watched drives of the train role, in order of drive."""
    rows = store.query(
        "SELECT e.episode_id, e.case_id, e.generation, e.style, e.drive_seed, e.duration_s, "
        f"list((t.handback_tick - t.onset_tick) / {TICK_HZ}.0 ORDER BY t.onset_tick) AS lengths "
        "FROM episodes AS e JOIN takeovers AS t USING (episode_id) "
        "WHERE e.driver_kind = 'scripted' AND e.role = 'train' AND NOT e.truncated AND e.ended <> 'sim_fault' "
        "GROUP BY ALL ORDER BY e.episode_id"
    )
    return [
        Dose(
            row["episode_id"],
            row["case_id"],
            row["generation"],
            row["style"],
            row["drive_seed"],
            tuple(float(length) for length in row["lengths"]),
            float(row["duration_s"]),
        )
        for row in rows
    ]


def random_stretches(dose: Dose, random: np.random.Generator) -> tuple[Stretch, ...]:
    """The takeovers of a drive, each as long as it was, at random times of it without overlaps."""
    free_s = max(dose.duration_s - FIRST_S - dose.seconds, 0.0)
    starts_s = FIRST_S + np.sort(random.uniform(0.0, free_s, len(dose.lengths_s)))
    lengths_s = random.permutation(dose.lengths_s)
    before_s = np.concatenate([[0.0], np.cumsum(lengths_s[:-1])])
    return tuple(
        (float(start + done), float(length))
        for start, done, length in zip(starts_s, before_s, lengths_s, strict=True)
    )


def random_timed_jobs(wanted: Sequence[Dose], seed: int, attempt: int, episodes: Path) -> list[EpisodeJob]:
    """Drives of the control, one a dose.

    Args:
        wanted: Of `doses`.
        seed: Of the times.
        attempt: A drive that ends before its driver's turn gave too little; the next attempt has other times.
        episodes: Where to record.
    """
    jobs = []
    for dose in wanted:
        case = parse_case(dose.case_id)
        require_role(case, Role.TRAIN)
        name = uuid.uuid5(uuid.UUID(dose.episode_id), f"random times, seed {seed}, attempt {attempt}")
        jobs.append(
            EpisodeJob(
                episode_id=str(name),
                case=case,
                generation=dose.generation,
                driver="scripted",
                style=dose.style,
                seed=dose.seed,
                record=episodes,
                session_id=f"random-timed/{attempt}",
                stretches=random_stretches(dose, np.random.default_rng([seed, attempt, name.int % 2**32])),
            )
        )
    return jobs
