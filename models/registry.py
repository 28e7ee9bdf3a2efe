"""Generations in MLflow: registered, verified by hash, promoted by one pointer move.

A generation is a folder of safetensors, processor and `policy.json`, with a manifest of hashes and a model
card. It is kept as the plain artifacts of a LoggedModel and as a version of the registered model. Pickle
and pyfunc have no part in
it: nothing is executed at load. Only the main process talks to MLflow.
"""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import PolicyError, RegistryError
from ..store.locking import locked
from .manifest import MANIFEST, Provenance, verify_folder, write_manifest

for _key, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "120",
}.items():
    os.environ.setdefault(_key, _value)

import mlflow  # noqa: E402  (reads the settings above)
import pandas as pd  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

MODEL = "driver"
EXPERIMENT = "takeover"
DATABASE = "mlflow.db"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
KEY = "takeover.key"  # tag of a run: what a repeated step finds it by
_BATCH = 900  # metrics per request; MLflow takes 1000
_MAKE_WAIT_S = 60.0  # for another process that makes the sqlite store


@dataclass(frozen=True, slots=True)
class VerifiedGeneration:
    """A generation whose files have the hashes that its manifest says. `path` is the store's: never write there."""

    path: Path
    version: int | None  # None for a plain folder
    sha256: str  # of the manifest
    generation: int | None = None
    external: bool = False  # the alias was moved outside our commands


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version."""

    version: int
    generation: int
    complete: bool
    quarantined: str  # reason, "" for none
    tags: dict[str, str] = field(default_factory=dict)
    run_id: str = ""  # the round's run


class Registry:
    """The MLflow tracking store and model registry of one working directory."""

    def __init__(self, home: Path, uri: str | None = None, model: str = MODEL) -> None:
        """Connect.

        Args:
            home: Working directory; holds the sqlite store and its artifacts unless a URI says otherwise.
            uri: Tracking URI; else `MLFLOW_TRACKING_URI`; else sqlite in `home`.
            model: Name of the registered model.

        Raises:
            RegistryError: The store does not answer.
        """
        self.home = Path(home).resolve()
        self.model = model
        own = f"sqlite:///{self.home / DATABASE}"
        self.uri = uri or os.environ.get(URI_VARIABLE) or own
        for name in ("alembic", "mlflow", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.WARNING)
        with _explained("open"):
            if self.uri == own:
                _make_sqlite(self.home / DATABASE)
            _set_uri(self.uri)
            self.client = MlflowClient(self.uri, self.uri)
            found = self.client.get_experiment_by_name(EXPERIMENT)
            if found is not None:
                self.experiment_id = found.experiment_id
            else:
                # Without a location MLflow would write beside the current directory, not beside its database.
                place = (self.home / "mlartifacts").as_uri() if self.uri == own else None
                self.experiment_id = self.client.create_experiment(EXPERIMENT, artifact_location=place)
            if not self.client.search_registered_models(f"name = '{model}'"):
                self.client.create_registered_model(model)

    def start_run(
        self, name: str, params: Mapping[str, object], parent: str | None = None, key: str = ""
    ) -> str:
        """Open a run (a whole `loop run`, or a round under its parent) and give its id.

        Args:
            name: For people.
            params: Logged with it.
            parent: Run that it belongs to.
            key: A run that was opened with the same key is given again: a killed process leaves none behind.
        """
        tags = ({"mlflow.parentRunId": parent} if parent else {}) | ({KEY: key} if key else {})
        with _explained("start a run"):
            found = (
                self.client.search_runs([self.experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1)
                if key
                else []
            )
            run = found[0] if found else self.client.create_run(self.experiment_id, run_name=name, tags=tags)
            listed = [Param(k, str(v)[:6000]) for k, v in params.items() if k not in run.data.params]
            for start in range(0, len(listed), 100):
                self.client.log_batch(run.info.run_id, params=listed[start : start + 100])
        return str(run.info.run_id)

    def end_run(self, run_id: str, status: str = "FINISHED") -> None:
        """Close a run: FINISHED, FAILED or KILLED."""
        with _explained("end a run"):
            self.client.set_terminated(run_id, status)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics in as few requests as possible."""
        now = int(time.time() * 1000)
        entries = [Metric(key, float(value), now, step) for key, value in metrics.items()]
        with _explained("log metrics"):
            for start in range(0, len(entries), _BATCH):
                self.client.log_batch(run_id, metrics=entries[start : start + _BATCH])

    def log_dataset(
        self, run_id: str, name: str, rows: Sequence[Mapping[str, Any]], source: str, context: str
    ) -> str:
        """Record what a run trained on or was judged by; gives the digest.

        Args:
            run_id: The run.
            name: Name of the dataset.
            rows: One per sample: ids, hashes, weights; the digest is of these.
            source: Where the data lie.
            context: `training` or `evaluation`.
        """
        with _explained("log a dataset"):
            data = _dataset(rows, name, source)
            described = data.to_dict()
            entity = Dataset(**{key: described.get(key) for key in _DATASET_KEYS})
            tag = InputTag("mlflow.data.context", context)
            self.client.log_inputs(run_id, datasets=[DatasetInput(entity, [tag])])
        return str(data.digest)

    def datasets(self, run_id: str) -> dict[str, str]:
        """Digests of the datasets that a run was given, by name."""
        with _explained("read datasets"):
            inputs = self.client.get_run(run_id).inputs.dataset_inputs
        return {entry.dataset.name: entry.dataset.digest for entry in inputs}

    def log_file(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Keep a file (plot, page) with a run."""
        with _explained("log a file"):
            self.client.log_artifact(run_id, str(path), folder)

    def register(
        self, folder: Path, provenance: Provenance, run_id: str, metrics: Mapping[str, float] | None = None
    ) -> Version:
        """Register a generation: manifest and card into `folder`, artifacts, version, the tag `complete` last.

        A process that dies on the way leaves a version without that tag, which nothing here will ever use; the
        same call again removes it, and gives a version that it had finished instead of a second one.

        Args:
            folder: Saved policy (`Policy.save`); gets `manifest.json` and `README.md`.
            provenance: What it was made from.
            run_id: The round's run.
            metrics: Bound to the model.
        """
        with _explained("register"):
            for entry in self.client.search_model_versions(f"name = '{self.model}' AND run_id = '{run_id}'"):
                found = _version(entry)
                if not found.complete:
                    self.client.delete_model_version(self.model, str(found.version))
                elif found.generation == provenance.generation:
                    return found
        digest = write_manifest(folder, provenance, metrics or {})
        with _explained("register"):
            logged = self.client.create_logged_model(
                self.experiment_id, name=f"generation-{provenance.generation}", source_run_id=run_id
            )
            self.client.log_model_artifacts(logged.model_id, str(folder))
            self.client.finalize_logged_model(logged.model_id, "READY")
            self.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, provenance.generation)])
            if metrics:
                now = int(time.time() * 1000)
                bound = [Metric(k, float(v), now, 0, model_id=logged.model_id) for k, v in metrics.items()]
                self.client.log_batch(run_id, metrics=bound)
            made = self.client.create_model_version(
                self.model, source=f"models:/{logged.model_id}", run_id=run_id, model_id=logged.model_id
            )
            number = str(made.version)
            for key, value in provenance.tags().items():
                self.client.set_model_version_tag(self.model, number, key, value)
            self.client.set_model_version_tag(self.model, number, "sha256", digest)
            self.client.set_model_version_tag(self.model, number, "complete", "true")
        return self.version(int(number))

    def version(self, number: int) -> Version:
        """Look up one version."""
        with _explained(f"find version {number}"):
            return _version(self.client.get_model_version(self.model, str(number)))

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        with _explained("list versions"):
            found = self.client.search_model_versions(f"name = '{self.model}'")
        return sorted((_version(entry) for entry in found), key=lambda v: v.version)

    def alias(self, name: str) -> int | None:
        """Version that an alias points to."""
        with _explained("read aliases"):
            found = self.client.get_registered_model(self.model).aliases.get(name)
        return None if found is None else int(found)

    def resolve(self, reference: str | Path) -> VerifiedGeneration:
        """Find and verify a generation.

        Args:
            reference: `models:/driver@champion`, `models:/driver/3` (version), an alias, a generation number or
                a folder.

        Raises:
            RegistryError: There is none, it is incomplete or quarantined, or a file has changed.
        """
        text = str(reference)
        uri = re.fullmatch(rf"models:/{re.escape(self.model)}(?:@([\w-]+)|/(\d+))", text)
        if uri and uri[2]:
            return self.verify(int(uri[2]))
        if text.isdigit():
            fit = [v for v in self.versions() if v.generation == int(text) and v.complete]
            if not fit:
                raise RegistryError(
                    f"generation {text} is not registered", fix="List them with `loop status`."
                )
            return self.verify(fit[-1].version)
        if Path(text).is_dir():
            digest = verify_folder(Path(text)) if (Path(text) / MANIFEST).is_file() else ""
            return VerifiedGeneration(Path(text), None, digest)
        name = uri[1] if uri else text
        version = self.alias(name) if re.fullmatch(r"[\w-]+", name) else None
        if version is None:
            raise RegistryError(
                f"{text} is no generation",
                fix="Give champion, a generation number, models:/driver@alias or a folder.",
            )
        return self.verify(version)

    def verify(self, number: int) -> VerifiedGeneration:
        """Check a version's files against its manifest, and the manifest against the version's tag."""
        version = self.version(number)
        if not version.complete:
            raise RegistryError(
                f"version {number} is incomplete", fix="Its registration was cut off; run the loop again."
            )
        if version.quarantined:
            raise RegistryError(
                f"version {number} is quarantined: {version.quarantined}",
                fix="Promote another one, or roll back.",
            )
        path = self.fetch(version)
        digest = verify_folder(path)
        if digest != version.tags.get("sha256"):
            raise RegistryError(
                f"version {number}: the manifest is not the one that was registered",
                fix="Someone changed the store; roll back with `loop rollback`.",
            )
        return VerifiedGeneration(path, number, digest, version.generation)

    def fetch(self, version: Version) -> Path:
        """The version's folder, not verified: the store's own on this machine, else a copy kept by its hash."""
        source = f"models:/{self.model}/{version.version}"
        with _explained(f"fetch version {version.version}"):
            if not self.uri.startswith(("http://", "https://")):
                return Path(mlflow.artifacts.download_artifacts(source, tracking_uri=self.uri))
            copy = self.home / "generations" / version.tags.get("sha256", f"version-{version.version}")
            if not (copy / MANIFEST).is_file():
                partial = copy.with_name(f"{copy.name}.{os.getpid()}.part")
                mlflow.artifacts.download_artifacts(source, tracking_uri=self.uri, dst_path=str(partial))
                partial.replace(copy)
        return copy

    def champion(self, expected: int | None) -> VerifiedGeneration:
        """The generation to drive with.

        Args:
            expected: Version of the last promotion or rollback in our own log; None before the first.

        Returns:
            Verified; `external` says that someone moved the alias outside our commands: then it also passed
            the canary, and the caller records it.

        Raises:
            RegistryError: No champion, or the one that the alias names cannot be used.
        """
        number = self.alias(CHAMPION)
        if number is None:
            raise RegistryError("there is no champion", fix="Run `loop init` or `loop run` first.")
        if number == expected:
            return self.verify(number)
        try:
            found = self.verify(number)
            canary(found.path)
        except (RegistryError, PolicyError) as error:
            raise RegistryError(
                f"the champion alias was moved to version {number} outside our commands, refused: {error}",
                fix="Move the alias back, or run `loop rollback`.",
            ) from error
        return VerifiedGeneration(found.path, number, found.sha256, found.generation, external=True)

    def challenge(self, number: int) -> None:
        """Point the challenger alias at a version."""
        with _explained("set the challenger"):
            self.client.set_registered_model_alias(self.model, CHALLENGER, str(number))

    def drop_challenger(self) -> None:
        """Take the challenger alias away."""
        with _explained("drop the challenger"):
            if CHALLENGER in self.client.get_registered_model(self.model).aliases:
                self.client.delete_registered_model_alias(self.model, CHALLENGER)

    def promote(self, number: int, tags: Mapping[str, str] | None = None) -> VerifiedGeneration:
        """Verify, load once, then move the champion alias; `previous` keeps the old one.

        Repeating a promotion changes nothing.
        """
        found = self.verify(number)
        canary(found.path)
        old = self.alias(CHAMPION)
        with _explained("promote"):
            for key, value in (tags or {}).items():
                self.client.set_model_version_tag(self.model, str(number), key, value)
            if old is not None and old != number:
                self.client.set_registered_model_alias(self.model, PREVIOUS, str(old))
            self.client.set_registered_model_alias(self.model, CHAMPION, str(number))
        if self.alias(CHALLENGER) == number:
            self.drop_challenger()
        return found

    def rollback(self, to: int | None = None, reason: str = "") -> VerifiedGeneration:
        """Put an earlier version back behind the wheel and quarantine the present champion.

        Args:
            to: Version; else the one that `previous` names.
            reason: Kept with the quarantined version.
        """
        target = self.alias(PREVIOUS) if to is None else to
        old = self.alias(CHAMPION)
        if target is None or target == old:
            raise RegistryError("there is no previous champion", fix="Name a version to roll back to.")
        found = self.verify(target)
        canary(found.path)
        if old is not None:  # before the move: whoever dies in between can roll back once more
            self.quarantine(old, reason or "rolled back")
        with _explained("roll back"):
            self.client.set_registered_model_alias(self.model, CHAMPION, str(target))
            if self.alias(PREVIOUS) == target:
                self.client.delete_registered_model_alias(self.model, PREVIOUS)
        return found

    def quarantine(self, number: int, reason: str) -> None:
        """Refuse a version from now on."""
        with _explained("quarantine"):
            self.client.set_model_version_tag(self.model, str(number), "quarantined", reason)


def canary(path: Path) -> None:
    """Load a generation and plan on a fixed input.

    Raises:
        PolicyError: It does not load, or its plan is unusable.
    """
    from .canary import fixed_inputs
    from .policy import Policy

    policy = Policy.load(path)
    policy.plan(fixed_inputs(policy.config), "canary")


def _set_uri(uri: str) -> None:
    """MLflow's default store, without the variables that it exports: other homes and children have their own."""
    before = {name: os.environ.get(name) for name in (URI_VARIABLE, "MLFLOW_REGISTRY_URI")}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _make_sqlite(path: Path) -> None:
    """Make a sqlite store under another name and put it in place: MLflow cannot go on from tables half made."""
    with locked(path.with_name(f"{path.name}.lock"), exclusive=True, wait_s=_MAKE_WAIT_S):
        if path.exists():
            return
        part = path.with_name(f"{path.name}.part")
        for leftover in path.parent.glob(f"{part.name}*"):
            leftover.unlink()
        MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)  # makes the tables
        part.rename(path)


_DATASET_KEYS = ("name", "digest", "source_type", "source", "schema", "profile")


def _version(entry: Any) -> Version:
    tags = dict(entry.tags)
    number = tags.get("generation", "-1")
    return Version(
        version=int(entry.version),
        generation=int(number) if number.lstrip("-").isdigit() else -1,
        complete=tags.get("complete") == "true",
        quarantined=tags.get("quarantined", ""),
        tags=tags,
        run_id=str(entry.run_id or ""),
    )


def dataset_digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """The digest that `Registry.log_dataset` gives for some rows."""
    return str(_dataset(rows, "rows", "rows").digest)


def _dataset(rows: Sequence[Mapping[str, Any]], name: str, source: str) -> Any:
    with warnings.catch_warnings():  # a path may be one of several kinds of source; either will do
        warnings.simplefilter("ignore", UserWarning)
        return mlflow.data.from_pandas(pd.DataFrame(list(rows)), source=source, name=name)


@contextmanager
def _explained(action: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise RegistryError(
            f"MLflow could not {action}: {first}",
            fix="Check MLFLOW_TRACKING_URI and that its server answers.",
        ) from error
