"""What a generation is made of: `manifest.json` with every file's hash, and the model card. No torch in here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import RegistryError

MANIFEST = "manifest.json"
CARD = "README.md"
FORMAT = 1
_FORBIDDEN = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".py", ".so"}  # would run code when loaded


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a generation came from; hashes are hex sha256."""

    generation: int
    round: int
    base: str  # preset, directory or hub id of the backbone
    parent_version: int | None
    data_sha256: str
    config_sha256: str
    code_sha256: str
    stages: tuple[str, ...] = ()
    seed: int = 0

    def tags(self) -> dict[str, str]:
        """As tags of a model version."""
        values = {key: value for key, value in asdict(self).items() if value is not None}
        return {key: ",".join(v) if isinstance(v, tuple) else str(v) for key, v in values.items()}


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_sha256() -> str:
    """Hex sha256 over the package's own Python files."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.glob("*.py")) + sorted(root.glob("[a-z]*/**/*.py")):
        if file.relative_to(root).parts[0] in ("tests", "benchmarks", "examples", "build"):
            continue
        digest.update(f"{file.relative_to(root)}\0{file_sha256(file)}\n".encode())
    return digest.hexdigest()


def write_manifest(folder: Path, provenance: Provenance, metrics: Mapping[str, float]) -> str:
    """Write the model card and the manifest into a saved policy; gives the manifest's sha256."""
    (folder / CARD).write_text(_card(provenance, metrics), encoding="utf-8")
    files: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_file() or name == MANIFEST:
            continue
        if file.suffix in _FORBIDDEN:
            raise RegistryError(
                f"{name} does not belong in a generation", fix="Save weights as safetensors only."
            )
        files[name] = {"sha256": file_sha256(file), "bytes": file.stat().st_size}
    content = {
        "format": FORMAT,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "provenance": asdict(provenance),
        "files": files,
    }
    path = folder / MANIFEST
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return file_sha256(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a generation."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RegistryError(
            f"{path} cannot be read: {error}", fix="Roll back with `loop rollback`."
        ) from error
    if (
        not isinstance(content, dict)
        or content.get("format") != FORMAT
        or not isinstance(content.get("files"), dict)
    ):
        raise RegistryError(
            f"{path} is not a manifest of format {FORMAT}", fix="Use the version that wrote it."
        )
    return content


def verify_folder(folder: Path) -> str:
    """Check every file against the manifest; gives the manifest's sha256.

    Raises:
        RegistryError: A file is missing, changed, or was added.
    """
    files = read_manifest(folder)["files"]
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {
        MANIFEST
    }
    for name in sorted(present.symmetric_difference(files)):
        what = "was added" if name in present else "is missing"
        raise RegistryError(f"{folder}: {name} {what}", fix="Roll back with `loop rollback`.")
    for name, entry in files.items():
        if file_sha256(folder / name) != entry.get("sha256"):
            raise RegistryError(f"{folder}: {name} has changed", fix="Roll back with `loop rollback`.")
    return file_sha256(folder / MANIFEST)


def _card(provenance: Provenance, metrics: Mapping[str, float]) -> str:
    origin = "\n".join(f"| {key} | {value} |" for key, value in provenance.tags().items())
    figures = "\n".join(f"| {key} | {value:.4g} |" for key, value in metrics.items()) or "| none | |"
    return f"""---
library_name: transformers
license: apache-2.0
tags: [driving, vision-language-action]
---
# Driver, generation {provenance.generation}

Plans 4 s ahead from camera pictures, odometry and a route command, in the simulator. Not for roads.

| made from | |
|---|---|
{origin}

| figure | value |
|---|---|
{figures}
"""
