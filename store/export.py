"""Pairs for other tools: parquet, and the ShareGPT form that CoReVLA and LLaMA-Factory read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ..vocabulary import PLAN_PERIOD_TICKS, PLAN_STEP_S
from . import queries
from .database import Store
from .episodes import EpisodeReader
from .journal import JSON_COLUMNS
from .sealing import write_durably

PROMPT = "Plan the next 4 seconds: waypoints in metres, x forward, y left, every 0.5 s."


def pairs_to_parquet(
    store: Store, path: Path, *, round_number: int | None = None, admitted: bool | None = True
) -> int:
    """Write pairs as one parquet file.

    Args:
        store: The store.
        path: File to write.
        round_number: Only this round.
        admitted: True for training pairs, None for all candidates with their reasons.

    Returns:
        Number of pairs.
    """
    rows = queries.pairs(store, round_number=round_number, admitted=admitted)
    flat = [{name: json.dumps(v) if name in JSON_COLUMNS else v for name, v in row.items()} for row in rows]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pa.parquet.write_table(pa.Table.from_pylist(flat), temporary)
    temporary.rename(path)
    return len(rows)


def pairs_to_sharegpt(
    store: Store, folder: Path, *, round_number: int | None = None, frames: int = 2, prompt: str = PROMPT
) -> int:
    """Write admitted pairs as `pairs.json` with their pictures beside it.

    Each item is {"conversations": [human turn, one <image> a picture], "images": [...], "chosen": {"from":
    "gpt", "value": ...}, "rejected": likewise}; a value is the plan as {"0.5s": [x, y], ...}.

    Args:
        store: The store.
        folder: Folder to write to.
        round_number: Only this round.
        frames: Pictures of the past, PLAN_STEP_S apart, oldest first.
        prompt: Text of the human turn.

    Returns:
        Number of pairs.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = queries.pairs(store, round_number=round_number, admitted=True)
    items = []
    reader: EpisodeReader | None = None
    for row in rows:
        if reader is None or reader.episode_id != row["episode_id"]:
            reader = EpisodeReader(store.episodes / row["episode_id"])
        images = _copy_pictures(reader, row["tick"], frames, folder)
        items.append(
            {
                "conversations": [{"from": "human", "value": "<image>" * len(images) + "\n" + prompt}],
                "images": images,
                "chosen": {"from": "gpt", "value": plan_text(row["chosen_m"])},
                "rejected": {"from": "gpt", "value": plan_text(row["rejected_m"])},
            }
        )
    write_durably(folder / "pairs.json", json.dumps(items, indent=1).encode())
    return len(items)


def plan_text(flat_m: Sequence[float]) -> str:
    """A flattened (8, 2) plan as JSON text, centimetres kept."""
    points: dict[str, Any] = {
        f"{PLAN_STEP_S * (index + 1):.1f}s": [round(flat_m[2 * index], 2), round(flat_m[2 * index + 1], 2)]
        for index in range(len(flat_m) // 2)
    }
    return json.dumps(points)


def _copy_pictures(reader: EpisodeReader, tick: int, frames: int, folder: Path) -> list[str]:
    wanted = {tick - PLAN_PERIOD_TICKS * back for back in range(frames)}
    names = []
    for place in reader.frames():
        if place.tick not in wanted:
            continue
        name = f"images/{reader.episode_id}_{place.tick:+06d}_{place.camera}.jpg"
        if not (folder / name).exists():
            with (reader.path / place.file).open("rb") as file:
                file.seek(place.offset)
                (folder / name).write_bytes(file.read(place.length))
        names.append(name)
    return names
