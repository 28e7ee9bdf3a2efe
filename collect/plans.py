"""Which drives a stage asks for: pure functions of the configuration, so a repeated run asks for the same ones."""

from __future__ import annotations

import uuid
from pathlib import Path

from ..config import BootstrapConfig, CollectConfig
from ..sim_bridge.scenarios.cases import TRAINED_TYPES, require_role, suite
from ..vocabulary import Case, Role
from .jobs import EpisodeJob

_NAMESPACE = uuid.UUID("6f1d3c1e-6a53-4f0e-9a57-3b1f3a5f7c11")
SEEDS_PER_ROUND = 1000  # train seeds of a round; the bootstrap has the first thousand
DECOY_SEED = 500  # the bootstrap's decoys: seeds that its other drives do not reach


def episode_id(run_id: str, round_number: int, index: int) -> str:
    """Identity of a drive, the same in every repetition of the run."""
    return str(uuid.uuid5(_NAMESPACE, f"{run_id}/{round_number}/{index}"))


def bootstrap_jobs(run_id: str, config: BootstrapConfig, seed: int, episodes: Path) -> list[EpisodeJob]:
    """Expert drives for generation 0: everyday driving, decoys, and a small fixed dose of the long tail (proof.md 5)."""
    cases = [
        *suite("train_nominal", config.nominal_episodes, start=0),
        *suite("train", config.longtail_episodes, start=0),
        *(
            Case(TRAINED_TYPES[k % len(TRAINED_TYPES)], DECOY_SEED + k, decoy=True)
            for k in range(config.decoy_episodes)
        ),
    ]
    return [
        EpisodeJob(
            episode_id=episode_id(run_id, 0, index),
            case=_train(case),
            planner="expert",
            generation="expert",
            seed=seed * 100_003 + index,
            disturb=True,
            record=episodes,
            session_id=f"{run_id}/0",
        )
        for index, case in enumerate(cases)
    ]


def round_jobs(
    run_id: str, round_number: int, generation: str, config: CollectConfig, seed: int, episodes: Path
) -> list[EpisodeJob]:
    """Drives of a round: the champion drives, the driver watches; styles take turns."""
    nominal = round(config.episodes * config.nominal_share)
    start = SEEDS_PER_ROUND * (1 + (round_number - 1) % 9)
    cases = [
        *suite("train", config.episodes - nominal, start=start),
        *suite("train_nominal", nominal, start=start),
    ]
    return [
        EpisodeJob(
            episode_id=episode_id(run_id, round_number, index),
            case=_train(case),
            generation=generation,
            driver="scripted",
            style=config.styles[index % len(config.styles)],
            seed=seed * 100_003 + round_number * 1009 + index,
            record=episodes,
            session_id=f"{run_id}/{round_number}",
        )
        for index, case in enumerate(cases)
    ]


def _train(case: Case) -> Case:
    require_role(case, Role.TRAIN)
    return case
