"""Which drives teach by what did not happen in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from takeover.store import queries
from takeover.store.database import Store
from takeover.vocabulary import Role

from .drives import OUTCOME, record


def test_uneventful_drives_succeeded_untouched_and_without_a_phantom_brake(tmp_path: Path) -> None:
    calm = replace(OUTCOME, takeovers=0)
    root = tmp_path / "episodes"
    kept = record(root, outcome=calm)
    left_out = [
        record(root),  # somebody took over
        record(root, outcome=replace(calm, success=False)),
        record(root, outcome=replace(calm, phantom_brakes=1)),
        record(root, outcome=calm, role=Role.GATE),
        record(root, outcome=calm, driver_kind="expert"),
    ]
    store = Store(tmp_path)
    store.ingest_many([kept, *left_out])
    assert [row["episode_id"] for row in queries.uneventful(store)] == [kept.name]
