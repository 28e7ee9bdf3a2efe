"""Scenes that NAVSIM v1.1 scored itself, as `Scene` and plans (format: docs/scoring.md, made by its own simulator).

`ALL` has the scores of all 80 scenes; `SMALL` has six of them with the tracked states as well.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from takeover.scoring.scene_file import SceneFile, read

DATA = Path(__file__).parent.parent / "data"
ALL = DATA / "pdms_vectors.json.gz"
SMALL = DATA / "pdms_vectors_small.json.gz"


def load(path: Path = SMALL) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        vectors: list[dict[str, Any]] = json.load(file)
    return vectors


def scenes(path: Path = SMALL) -> list[SceneFile]:
    return read(path)
