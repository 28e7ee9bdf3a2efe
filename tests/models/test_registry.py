"""The registry against real MLflow on sqlite."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from takeover.errors import PolicyError, RegistryError
from takeover.models.manifest import MANIFEST, Provenance, code_sha256, read_manifest, verify_folder
from takeover.models.policy import Policy
from takeover.models.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, canary


def provenance(generation: int) -> Provenance:
    return Provenance(
        generation, generation, "tiny", generation or None, "d" * 64, "c" * 64, "e" * 64, ("sft",)
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Policy.tiny(0).save(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "home")


@pytest.fixture(scope="module")
def made(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry with generations 0 and 1 (versions 1 and 2)."""
    root = tmp_path_factory.mktemp("made")
    registry = Registry(root / "home", uri=f"sqlite:///{root / 'home' / 'mlflow.db'}")
    run = registry.start_run("loop run", {"seed": 0})
    for generation in (0, 1):
        folder = Path(shutil.copytree(saved, root / f"g{generation}"))
        registry.register(folder, provenance(generation), run, {"sr": 0.5 + generation})
    return registry


def test_each_home_has_a_store_of_its_own(tmp_path: Path) -> None:
    before = dict(os.environ)
    first, second = Registry(tmp_path / "a"), Registry(tmp_path / "b")
    assert first.uri != second.uri
    assert dict(os.environ) == before


def test_runs_hold_metrics_and_data(made: Registry) -> None:
    parent = made.start_run("loop run", {"rounds": 5})
    child = made.start_run("round 1", {"round": 1}, parent)
    made.log_metrics(child, {f"m{i}": float(i) for i in range(1000)}, step=2)
    digest = made.log_dataset(child, "pairs", [{"id": "a", "weight": 1.0}], "store", "training")
    made.end_run(child)
    run = made.client.get_run(child)
    assert run.data.metrics["m999"] == 999.0
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.inputs.dataset_inputs[0].dataset.digest == digest
    assert run.info.status == "FINISHED"


def test_every_way_to_name_a_generation(made: Registry) -> None:
    made.promote(1)
    for name in ("models:/driver@champion", "models:/driver/1", "0", "champion"):
        found = made.resolve(name)
        assert (found.version, found.generation) == (1, 0)
        assert verify_folder(found.path) == found.sha256
    assert made.resolve(found.path).version is None
    for name in ("7", "models:/driver/9", "models:/driver@nobody", "/nowhere", "a model"):
        with pytest.raises(RegistryError):
            made.resolve(name)


def test_manifest_says_what_a_generation_is_made_of(made: Registry) -> None:
    found = made.resolve("1")
    manifest = read_manifest(found.path)
    assert manifest["provenance"]["data_sha256"] == "d" * 64
    assert {"model.safetensors", "policy.json", "README.md", "tokenizer.json"} <= set(manifest["files"])
    assert len(code_sha256()) == 64
    tags = made.version(2).tags
    assert (tags["generation"], tags["parent_version"], tags["complete"]) == ("1", "1", "true")


def test_promotion_and_rollback_move_pointers(made: Registry) -> None:
    made.promote(1)
    made.challenge(2)
    made.promote(2, {"gate": "p = 0.01"})
    assert (made.alias(CHAMPION), made.alias(PREVIOUS), made.alias(CHALLENGER)) == (2, 1, None)
    made.promote(2)
    assert made.alias(PREVIOUS) == 1
    assert not made.champion(2).external
    assert made.champion(1).external  # our log says version 1: someone else moved it
    made.rollback(reason="worse in the rain")
    assert (made.alias(CHAMPION), made.alias(PREVIOUS)) == (1, None)
    with pytest.raises(RegistryError, match="worse in the rain"):
        made.promote(2)
    with pytest.raises(RegistryError, match="previous"):
        made.rollback()
    made.client.set_registered_model_alias("driver", CHAMPION, "2")
    with pytest.raises(RegistryError, match="outside our commands"):
        made.champion(1)


def test_a_changed_file_is_found(registry: Registry, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no champion"):
        registry.champion(None)
    folder = Path(shutil.copytree(saved, tmp_path / "g"))
    version = registry.register(folder, provenance(0), registry.start_run("r", {})).version
    path = registry.promote(version).path
    weights = path / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(RegistryError, match="has changed"):
        registry.champion(version)
    weights.write_bytes(good)
    (path / "extra.py").write_text("", encoding="utf-8")
    with pytest.raises(RegistryError, match="was added"):
        registry.verify(version)
    (path / "extra.py").unlink()
    manifest = path / MANIFEST
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 1'), encoding="utf-8"
    )
    with pytest.raises(RegistryError, match="not the one"):
        registry.verify(version)


def test_a_half_registered_version_is_never_used(made: Registry, tmp_path: Path) -> None:
    half = made.client.create_model_version("driver", source=str(tmp_path))
    with pytest.raises(RegistryError, match="incomplete"):
        made.verify(int(half.version))
    assert not made.versions()[-1].complete


def test_a_generation_that_would_run_code_is_refused(made: Registry, tmp_path: Path) -> None:
    (tmp_path / "weights.pkl").write_bytes(b"")
    with pytest.raises(RegistryError, match=r"weights\.pkl"):
        made.register(tmp_path, provenance(0), made.start_run("r", {}))


def test_the_canary_sees_what_hashes_cannot(saved: Path, tmp_path: Path) -> None:
    canary(saved)
    policy = Policy.load(saved)
    with torch.no_grad():
        policy.model.action_head.value.weight.fill_(float("nan"))
    with pytest.raises(PolicyError):
        canary(policy.save(tmp_path))


def test_a_store_that_does_not_answer_is_a_registry_error(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="open") as caught:
        Registry(tmp_path, uri="http://127.0.0.1:9")
    assert "MLFLOW_TRACKING_URI" in caught.value.fix
