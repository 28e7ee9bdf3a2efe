"""What made a generation, checked by hashes: registered files, training data, drives, the gate's counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DamagedEpisodeError, RegistryError, StoreError
from ..models.manifest import MANIFEST, file_sha256, read_manifest, verify_folder
from ..scoring.statistics import mcnemar_test
from ..store import learnt, provenance
from ..store.database import Store
from ..store.episodes import EpisodeReader, verify

if TYPE_CHECKING:
    from ..models.registry import Registry, Version


_WHOLE = 64  # hex digits of a data hash that covers weights and contents; older ones have 16


@dataclass(frozen=True, slots=True)
class Check:
    """One check by hash.

    Attributes:
        name: What was checked.
        ok: None when nothing is there to check by; `detail` says why.
        detail: What was found.
        exit_code: Of the command when it failed.
    """

    name: str
    ok: bool | None
    detail: str
    exit_code: int = 0


def why(home: Path, generation: str) -> dict[str, Any]:
    """Everything that made a generation, from the store and MLflow, with its checks.

    Args:
        home: The home folder.
        generation: Number, or `champion`.

    Returns:
        `provenance.made_of`, with `origin` (the registered manifest: base, hashes, seed; {} if it cannot be read) and
        `checks`.

    Raises:
        UsageError: There is no such generation.
    """
    store = Store(home)
    row = provenance.generation_named(store, generation)
    made = provenance.made_of(store, row)
    checks, origin = _registered(home, row, made)
    checks += [_drives(store, made), _gate(made)]
    return {**made, "origin": origin, "checks": [asdict(check) for check in checks]}


def failed_code(found: dict[str, Any]) -> int:
    """Exit code for the first failed check; 0 when none failed."""
    return next((int(check["exit_code"]) for check in found["checks"] if check["ok"] is False), 0)


def _registered(home: Path, row: dict[str, Any], made: dict[str, Any]) -> tuple[list[Check], dict[str, Any]]:
    """The checks against MLflow; after the first that cannot go on, the rest is left out."""
    try:
        registry = _open(home)
        version = registry.version(int(row["version"]))
        folder = registry.fetch(version)
        manifest = read_manifest(folder)
    except RegistryError as error:
        return [Check("registered version", False, str(error), RegistryError.exit_code)], {}
    origin = {
        **manifest["provenance"],
        "created_utc": manifest["created_utc"],
        "mlflow_run": version.run_id,
        "quarantined": version.quarantined,
    }
    checks = [
        _check("registered version", lambda: _version(version, row)),
        _check("files against the manifest", lambda: _files(folder)),
        _check("manifest against MLflow and our log", lambda: _manifest(folder, version, row)),
        _check("origin against our log", lambda: _origin(manifest["provenance"], row, made)),
    ]
    checks += [_data(made, origin), _dataset(registry, version, made)]
    return checks, origin


def _open(home: Path) -> Registry:
    from ..models.registry import DATABASE, URI_VARIABLE, Registry

    if URI_VARIABLE not in os.environ and not (home / DATABASE).exists():
        raise RegistryError(f"there is no {DATABASE} in {home}", fix=f"set {URI_VARIABLE}, or mend the home")
    return Registry(home)


def _check(name: str, work: Callable[[], str]) -> Check:
    """A check whose work gives what it found, or raises what is wrong."""
    try:
        return Check(name, True, work())
    except RegistryError as error:
        return Check(name, False, str(error), error.exit_code)


def _version(version: Version, row: dict[str, Any]) -> str:
    if not version.complete or version.generation != row["generation"]:
        raise RegistryError(
            f"version {version.version} is {'' if version.complete else 'an incomplete '}generation {version.generation}"
        )
    told = f", quarantined: {version.quarantined}" if version.quarantined else ""
    return f"version {version.version}{told}"


def _files(folder: Path) -> str:
    verify_folder(folder)
    return f"{len(read_manifest(folder)['files'])} files"


def _manifest(folder: Path, version: Version, row: dict[str, Any]) -> str:
    found = file_sha256(folder / MANIFEST)
    for place, told in (("MLflow's tag", version.tags.get("sha256")), ("our log", row["sha256"])):
        if told != found:
            raise RegistryError(f"the manifest has {found[:12]}, {place} says {str(told)[:12]}")
    return found[:12]


def _origin(manifest: dict[str, Any], row: dict[str, Any], made: dict[str, Any]) -> str:
    ours = {
        "generation": row["generation"],
        "round": row["round"],
        "parent_version": None if row["parent"] is None else int(made["parent_version"]),
    }
    for name, value in ours.items():
        if manifest[name] != value:
            raise RegistryError(f"the manifest says {name} {manifest[name]}, our log {value}")
    return f"round {row['round']}, parent {'none' if row['parent'] is None else row['parent']}"


def _data(made: dict[str, Any], origin: dict[str, Any]) -> Check:
    """What it learnt from against the hash in its manifest; before weights were kept, that was one of the ids alone."""
    name, items, told = "training data against the manifest", made["data"]["items"], origin["data_sha256"]
    if made["data"]["kept"]:
        same, what = learnt.digest(items) == told, "items with weights, sources and drives"
    elif items or len(told) == _WHOLE:
        same, what = (
            learnt.ids_digest(row["item_id"] for row in items) == told,
            "ids (weights were not kept then)",
        )
    else:
        return Check(name, None, "not kept by the version that made it")
    detail = (
        f"{len(items)} {what}: {told[:12]}" if same else f"{len(items)} {what} are not those of {told[:12]}"
    )
    return Check(name, same, detail, 0 if same else StoreError.exit_code)


def _dataset(registry: Registry, version: Version, made: dict[str, Any]) -> Check:
    from ..models.registry import dataset_digest

    name = "training data against MLflow's dataset"
    items = made["data"]["items"]
    rows = (
        learnt.dataset(items)
        if made["data"]["kept"]
        else [{"id": key} for key in sorted(i["item_id"] for i in items)]
    )
    try:
        logged = registry.datasets(version.run_id).get(f"round-{made['round']}")
    except RegistryError as error:
        return Check(name, False, str(error), RegistryError.exit_code)
    if not rows:
        return Check(name, None, "nothing is kept here")
    found = dataset_digest(rows)
    return Check(
        name,
        found == logged,
        f"{found} here, {logged} in MLflow",
        RegistryError.exit_code * (found != logged),
    )


def _drives(store: Store, made: dict[str, Any]) -> Check:
    """Every byte of the drives it learnt from against their sealed manifests, and these against what was kept."""
    name, gone = "drives against their seals", provenance.forgotten(store)
    wanted = {row["episode_id"]: row["content_sha256"] for row in made["data"]["items"] if row["episode_id"]}
    if not wanted:
        return Check(name, None, "it learnt from no drive")
    wrong: list[str] = []
    for episode_id, content in sorted(wanted.items()):
        if episode_id in gone:
            continue
        path = store.episodes / episode_id
        try:
            verify(path)
            if content and EpisodeReader(path).manifest["content_sha256"] != content:
                wrong.append(f"{path} holds another drive than the one that trained")
        except DamagedEpisodeError as error:
            wrong.append(str(error))
    missing = sum(episode_id in gone for episode_id in wanted)
    if wrong:
        return Check(name, False, f"{len(wrong)} of {len(wanted)}: {wrong[0]}", DamagedEpisodeError.exit_code)
    told = f", {missing} removed with their driver" if missing else ""
    return Check(name, True, f"{len(wanted) - missing} verified{told}")


def _gate(made: dict[str, Any]) -> Check:
    """The counts and the p-value of the gate, made again from the stored cases of both sides."""
    name, told = "gate against the stored cases", made["gate"]
    if told is None:
        return Check(name, None, "no gate has judged it")
    if told["compared"] != told["cases"]:
        return Check(name, None, f"{told['cases']} cases then, {told['compared']} known now")
    gained, lost = len(told["gained_cases"]), len(told["lost_cases"])
    same = (gained, lost) == (told["gained"], told["lost"])
    same &= abs(mcnemar_test(gained, lost) - told["p_value"]) < 1e-9
    detail = f"{gained} gained, {lost} lost of {told['cases']}, p = {mcnemar_test(gained, lost):.4f}"
    return Check(name, same, detail, 0 if same else StoreError.exit_code)
