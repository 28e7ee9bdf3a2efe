"""Scenes to ask a generation about, out of recorded drives."""

from __future__ import annotations

import numpy as np

from ..collect.samples import policy_input
from ..errors import UsageError
from ..store import queries
from ..store.database import Store
from ..store.episodes import EpisodeReader
from ..vocabulary import PolicyInput


def recorded_scenes(store: Store, count: int, seed: int = 0, frames: int = 2) -> list[PolicyInput]:
    """States drawn from watched drives, one a drive as long as there are drives; the same ones for the same seed.

    Args:
        store: The store.
        count: How many.
        seed: Of the draw.
        frames: Of the policy's input.

    Raises:
        UsageError: No watched drive has been recorded.
    """
    rows = [
        row
        for kind in ("human", "scripted")
        for row in queries.episodes(store, driver_kind=kind, whole=True, limit=10_000_000)
    ]
    if not rows:
        raise UsageError(f"{store.home} holds no watched drive", fix="`loop collect` records some")
    rng = np.random.default_rng(seed)
    found = []
    for index in np.resize(rng.permutation(len(rows)), count):
        reader = EpisodeReader(store.home / rows[index]["path"])
        ticks = [tick for tick in reader.frame_ticks if tick >= 0]
        found.append(policy_input(reader, int(rng.choice(ticks)), frames))
    return found
