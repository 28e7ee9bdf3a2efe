"""What made a generation, checked by hashes against real MLflow: sound, tampered with, forgotten."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from takeover.cli import app
from takeover.errors import RegistryError
from takeover.evaluate.evaluator import Silent
from takeover.evaluate.provenance import failed_code, why
from takeover.loop import Loop, RunConfig
from takeover.models.manifest import MANIFEST, Provenance
from takeover.models.policy import Policy
from takeover.models.registry import Registry
from takeover.store import history, learnt
from takeover.store.database import Store
from takeover.store.forget import forget
from takeover.store.rows import EvaluationRow, GenerationRow, PromotionRow, TrainingRow

from ..store.drives import record

ANNA = "driver-aaaaaaaaaaaa"
BEFORE = (True, False, False, False, False)
AFTER = (False, True, True, True, True)
P_VALUE = (5 + 1) / 32  # one-sided exact McNemar: at least 4 heads in 5 tosses
SURE = "pair", "recovery"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generation 0 by `loop init`; generation 1 from a drive of Anna's and one of a machine's, judged on five cases."""
    path = tmp_path_factory.mktemp("home")
    loop = Loop(path, RunConfig(), Silent())
    loop.init_from(str(Policy.tiny(0).save(path / "given")), None, 1)
    store, registry = loop.store, loop.registry
    drives = [
        record(store.episodes, driver_kind="human", driver_id=ANNA).name,
        record(store.episodes, driver_kind="scripted").name,
    ]
    store.recover()
    content = {
        row["episode_id"]: row["content_sha256"]
        for row in store.query("SELECT episode_id, content_sha256 FROM episodes")
    }
    store.put_training(
        "run",
        1,
        [
            TrainingRow("run", 1, kind, f"{drive}/{kind}", drive, f"{drive}/0", "human", 0.5, content[drive])
            for drive in drives
            for kind in SURE
        ],
    )
    rows = learnt.kept(store, "run", 1)
    run = registry.start_run("round 1", {})
    folder = path / "generations" / "run-1"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    origin = Provenance(1, 1, "tiny", 1, learnt.digest(rows), "c" * 16, "e" * 64, ("sft/loss",), 7)
    registry.log_dataset(run, "round-1", learnt.dataset(rows), "store", "training")
    version = registry.register(folder, origin, run)
    guard = {"name": "nominal SR", "loss": 0.0, "lower": -0.1, "upper": 0.1, "margin": 0.05, "holds": False}
    evidence = {
        "outcome": "inconclusive", "reason": "4 cases gained, 1 lost", "gained": 4, "lost": 1, "cases": 5,
        "p_value": P_VALUE, "alpha": 0.05, "power": 0.1, "sr_champion": 0.2, "sr_challenger": 0.8,
        "ds_difference": 3.0, "ds_interval": [-1.0, 7.0], "guards": [guard],
    }  # fmt: skip
    first, second = history.generation(store, 0)["sha256"], version.tags["sha256"]
    store.put(
        [
            GenerationRow(1, "2", 0, "run", 1, "g", second, {"sft/loss": 0.5, "sft/steps": 3.0}, "inconclusive"),
            PromotionRow("p1", 0, 1, "inconclusive", False, evidence, "run", 1),
            *(
                EvaluationRow(sha256, "longtail", f"ParkedObstacle/{i}", "ParkedObstacle", i, False, n, good, 50.0, 90.0, "")
                for n, sha256, results in ((0, first, BEFORE), (1, second, AFTER))
                for i, good in enumerate(results)
            ),
        ]
    )  # fmt: skip
    return path


@contextmanager
def changed(path: Path) -> Iterator[None]:
    """A file with its last bit turned over."""
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    yield
    path.write_bytes(good)


def verdicts(found: dict[str, Any]) -> dict[str, bool | None]:
    return {check["name"]: check["ok"] for check in found["checks"]}


def detail(found: dict[str, Any], name: str) -> str:
    return str(next(check["detail"] for check in found["checks"] if check["name"] == name))


def failed(found: dict[str, Any]) -> list[str]:
    return [name for name, ok in verdicts(found).items() if ok is False]


def test_a_generation_made_by_init(home: Path) -> None:
    found = why(home, "champion")
    assert (found["generation"], found["parents"], found["children"]) == (0, [], [1])
    assert failed_code(found) == 0
    assert verdicts(found) == {
        "registered version": True,
        "files against the manifest": True,
        "manifest against MLflow and our log": True,
        "origin against our log": True,
        "training data against the manifest": True,
        "training data against MLflow's dataset": True,
        "drives against their seals": None,
        "gate against the stored cases": None,
    }
    assert [item["source"] for item in found["data"]["items"]] == ["model"]
    assert found["origin"]["base"] == str(home / "given")  # not the preset, which nothing was made from


def test_a_round_that_is_sound(home: Path) -> None:
    found = why(home, "1")
    assert set(verdicts(found).values()) == {True}
    assert (found["origin"]["seed"], found["origin"]["base"]) == (7, "tiny")
    assert found["gate"]["lost_cases"] == ["ParkedObstacle/0"]
    assert found["stages"][0]["metrics"] == {"loss": 0.5}


def test_a_changed_file_of_the_registered_version(home: Path) -> None:
    folder = Registry(home).resolve("1").path
    with changed(folder / "model.safetensors"):
        found = why(home, "1")
    assert failed(found) == ["files against the manifest"]
    assert failed_code(found) == 9
    manifest = folder / MANIFEST
    good = manifest.read_text(encoding="utf-8")
    manifest.write_text(good.replace('"seed": 7', '"seed": 8'), encoding="utf-8")
    found = why(home, "1")
    manifest.write_text(good, encoding="utf-8")
    assert failed(found) == ["manifest against MLflow and our log"]
    manifest.unlink()
    found = why(home, "1")
    manifest.write_text(good, encoding="utf-8")
    assert failed(found) == ["registered version"]
    assert found["origin"] == {}


def test_a_changed_drive(home: Path) -> None:
    segment = next((home / "episodes").glob("*/*.seg"))
    with changed(segment):
        found = why(home, "1")
        result = CliRunner().invoke(app, ["why", "1", "--home", str(home)])
    assert failed(found) == ["drives against their seals"]
    assert segment.parent.name in found["checks"][-2]["detail"]
    assert result.exit_code == 5
    assert "failed" in result.output


def test_a_changed_list_of_data_or_case(home: Path) -> None:
    store = Store(home)
    row = learnt.kept(store, "run", 1)[0]
    store.put([TrainingRow(**{**row, "weight": 2.0})])
    found = why(home, "1")
    store.put([TrainingRow(**row)])
    assert failed(found) == ["training data against the manifest", "training data against MLflow's dataset"]
    assert failed_code(found) == 3
    rows = [TrainingRow(**one) for one in learnt.kept(store, "run", 1)]
    store.put_training("run", 1, [])
    assert "training data against the manifest" in failed(why(home, "1"))
    store.put_training("run", 1, rows)
    case = store.query("SELECT * FROM evaluations WHERE generation = 1 AND seed = 2")[0]
    case = {**case, "infractions": [], "details": {}}
    store.put([EvaluationRow(**{**case, "success": False})])
    found = why(home, "1")
    store.put([EvaluationRow(**case)])
    assert failed(found) == ["gate against the stored cases"]


@pytest.mark.parametrize(
    ("tag", "value", "name", "words"),
    [
        ("complete", "false", "registered version", "an incomplete generation 1"),
        ("generation", "7", "registered version", "is generation 7"),
        ("sha256", "f" * 64, "manifest against MLflow and our log", "MLflow's tag says ffffffffffff"),
    ],
)
def test_a_changed_tag_of_the_registered_version(
    home: Path, tag: str, value: str, name: str, words: str
) -> None:
    registry = Registry(home)
    good = registry.version(2).tags[tag]
    registry.client.set_model_version_tag(registry.model, "2", tag, value)
    found = why(home, "1")
    registry.client.set_model_version_tag(registry.model, "2", tag, good)
    assert failed(found) == [name]
    assert words in detail(found, name)
    assert failed_code(found) == 9


@pytest.mark.parametrize("name", ["added.json", "model.safetensors"])
def test_an_added_or_a_missing_file_of_the_registered_version(home: Path, name: str) -> None:
    path = Registry(home).resolve("1").path / name
    there = path.exists()
    if there:
        path.rename(home / name)
    else:
        path.write_text("{}")
    found = why(home, "1")
    if there:
        (home / name).rename(path)
    else:
        path.unlink()
    assert failed(found) == ["files against the manifest"]
    assert f"{name} {'is missing' if there else 'was added'}" in detail(found, "files against the manifest")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"sha256": "f" * 64}, ["manifest against MLflow and our log"]),
        ({"parent": None}, ["origin against our log"]),
        ({"round": 2}, ["origin against our log"]),
        (
            {"version": "1"},
            ["registered version", "manifest against MLflow and our log", "origin against our log"],
        ),
    ],
)
def test_a_changed_row_of_our_log(home: Path, changes: dict[str, Any], names: list[str]) -> None:
    store = Store(home)
    row = history.generation(store, 1)
    store.put([GenerationRow(**{**row, **changes})])
    found = why(home, "1")
    store.put([GenerationRow(**row)])
    assert failed(found)[: len(names)] == names
    assert failed_code(found) == 9


def test_a_dataset_that_mlflow_does_not_have(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "training data against MLflow's dataset"
    monkeypatch.setattr(Registry, "datasets", lambda *_: {})
    found = why(home, "1")
    assert (failed(found), failed_code(found)) == ([name], 9)
    assert "None in MLflow" in detail(found, name)

    def silent(*_: Any) -> dict[str, str]:
        raise RegistryError("the server does not answer")

    monkeypatch.setattr(Registry, "datasets", silent)
    assert failed(why(home, "1")) == [name]


def test_ids_of_a_manifest_from_before_weights_were_kept(home: Path) -> None:
    """16 hex digits of sha256 over the ids: right for the ids that the loop's step names, and for no others."""
    store, name = Store(home), "training data against the manifest"
    rows = [TrainingRow(**one) for one in learnt.kept(store, "run", 1)]
    manifest = Registry(home).resolve("1").path / MANIFEST
    good = manifest.read_text(encoding="utf-8")
    digest = json.loads(good)["provenance"]["data_sha256"]
    ids = hashlib.sha256(b'["a/0/human/30"]').hexdigest()[:16]
    store.put_training("run", 1, [])
    for told, data, ok in (
        (ids, ["a/0/human/30"], True),
        (ids, ["a/0/human/40"], False),
        (ids, [], None),
        (digest, [], False),
    ):
        store.mark_step("run", 1, "refine", payload={"stages": [], "data": data})
        manifest.write_text(good.replace(digest, told), encoding="utf-8")
        assert verdicts(why(home, "1"))[name] is ok, (told, data)
    manifest.write_text(good, encoding="utf-8")
    store.write(lambda open_one: open_one.connection.execute("DELETE FROM steps"))
    store.put_training("run", 1, rows)
    assert failed(why(home, "1")) == []


def test_another_drive_and_a_lost_one(home: Path, tmp_path: Path) -> None:
    drive = next((home / "episodes").glob("*/*.seg")).parent
    drive.rename(tmp_path / "good")
    found = why(home, "1")
    assert failed(found) == ["drives against their seals"]
    other = record(tmp_path / "other", drive.name, ticks=50)  # sealed, of the same name: sound in itself
    other.rename(drive)
    found = why(home, "1")
    shutil.rmtree(drive)
    (tmp_path / "good").rename(drive)
    assert failed(found) == ["drives against their seals"]
    assert "holds another drive than the one that trained" in detail(found, "drives against their seals")
    assert failed_code(found) == 5
    assert failed(why(home, "1")) == []


def test_a_gate_that_did_not_count_so(home: Path) -> None:
    store, name = Store(home), "gate against the stored cases"
    row = store.query("SELECT * FROM promotions WHERE promotion_id = 'p1'")[0]
    evidence = json.loads(row["evidence"])

    def judged(**changes: Any) -> dict[str, Any]:
        store.put([PromotionRow(**{**row, "evidence": {**evidence, **changes}})])
        found = why(home, "1")
        store.put([PromotionRow(**{**row, "evidence": evidence})])
        return found

    for changes in ({"p_value": P_VALUE / 2}, {"gained": 3}, {"lost": 0}):
        found = judged(**changes)
        assert (failed(found), failed_code(found)) == ([name], 3), changes
    assert verdicts(judged(cases=4))[name] is None  # more was driven since: it cannot be counted again
    assert (
        verdicts(judged(setting=":flow:prompt"))[name] is None
    )  # and these cases were driven by another decoder


def test_the_commands_print_both_ways(home: Path) -> None:
    run = CliRunner().invoke
    shown = run(app, ["why", "1", "--home", str(home)])
    assert shown.exit_code == 0, shown.output
    for words in ("inconclusive", "parents: 0", ANNA, "gained: ParkedObstacle/1", "nominal SR", "4 items"):
        assert words in shown.output
    assert json.loads(run(app, ["why", "1", "--home", str(home), "--json"]).output)["data"]["kept"]
    assert run(app, ["why", "0", "--home", str(home)]).exit_code == 0


def test_a_forgotten_driver_is_no_damage(home: Path) -> None:
    """Last: it cannot be taken back."""
    assert forget(Store(home), ANNA).trained == (1,)
    found = why(home, "1")
    assert set(verdicts(found).values()) == {True}
    assert found["checks"][-2]["detail"] == "1 verified, 1 removed with their driver"
    assert [d["forgotten"] for d in found["data"]["drivers"] if d["driver_id"] == ANNA] == [True]
    (home / "mlflow.db").rename(home / "elsewhere.db")
    assert failed(why(home, "1")) == ["registered version"]
    assert not (home / "mlflow.db").exists()
