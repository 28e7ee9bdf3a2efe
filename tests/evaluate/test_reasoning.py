from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from takeover.errors import UsageError
from takeover.evaluate.reasoning import recorded_scenes
from takeover.store.database import Store

from ..collect.takeovers import record


def test_the_same_recorded_states_for_the_same_seed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.ingest_many([record(tmp_path), record(tmp_path, ticks=150)])
    found, again = recorded_scenes(store, 5), recorded_scenes(store, 5)
    assert len(found) == 5
    assert [item.speed_mps for item in found] == [item.speed_mps for item in again]
    assert all(np.array_equal(a.images, b.images) for a, b in zip(found, again, strict=True))
    assert found[0].images.shape == (2, 1, 24, 48, 3)


def test_experts_are_not_asked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.ingest_many([record(tmp_path, driver_kind="expert")])
    with pytest.raises(UsageError, match="no watched drive"):
        recorded_scenes(store, 1)
