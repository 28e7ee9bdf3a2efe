"""Map polygons for rescoring, stored once under the hash of their content."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DamagedEpisodeError
from .sealing import write_durably

FOLDER = "maps"  # beside `episodes/`
LAYERS = ("roadblocks", "lanes", "intersections")
Polygons = tuple[NDArray[np.float64], ...]


def save_map(home: Path, layers: Mapping[str, Sequence[NDArray[np.float64]]]) -> str:
    """Store polygons, if they are not there yet.

    Args:
        home: Home folder of the store.
        layers: "roadblocks", "lanes" and "intersections": (K, 2) polygons, world frame, metres.

    Returns:
        The content address, for `EpisodeMeta.polygons_sha256`.
    """
    arrays = {}
    for layer in LAYERS:
        polygons = [np.asarray(polygon, np.float64) for polygon in layers[layer]]
        arrays[f"{layer}.points"] = np.concatenate(polygons) if polygons else np.zeros((0, 2))
        arrays[f"{layer}.sizes"] = np.array([len(polygon) for polygon in polygons], np.int64)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    data = buffer.getvalue()
    address = hashlib.sha256(data).hexdigest()
    path = map_path(home, address)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, data)
    return address


def load_map(home: Path, address: str) -> dict[str, Polygons]:
    """Polygons by layer.

    Raises:
        DamagedEpisodeError: missing, or its content does not match its address.
    """
    path = map_path(home, address)
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != address:
            raise ValueError("its content does not match its name")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {
                layer: tuple(np.split(arrays[f"{layer}.points"], np.cumsum(arrays[f"{layer}.sizes"])[:-1]))
                if len(arrays[f"{layer}.sizes"])
                else ()
                for layer in LAYERS
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedEpisodeError(
            f"map file {path} cannot be used: {error}",
            fix="remove it and drive once on this map: it is written again",
        ) from error


def map_path(home: Path, address: str) -> Path:
    """Place of a map file."""
    return home / FOLDER / f"{address}.npz"
