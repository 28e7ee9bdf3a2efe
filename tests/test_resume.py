"""A process that dies anywhere in the registration of a generation: the same call again ends as if nothing had been."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from takeover.evaluate.evaluator import Silent
from takeover.loop import Loop, RunConfig
from takeover.models.policy import Policy
from takeover.models.registry import Registry
from takeover.store import history, queries
from takeover.store.database import Store


class DiedError(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def dies_after(work: Callable[..., Any]) -> Callable[..., Any]:
    def dying(*arguments: Any, **named: Any) -> Any:
        work(*arguments, **named)
        raise DiedError

    return dying


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Policy.tiny(0).save(tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (MlflowClient, "create_run"),
        (MlflowClient, "create_logged_model"),
        (MlflowClient, "create_model_version"),
        (Registry, "register"),
        (Registry, "end_run"),
        (Registry, "promote"),
    ],
)
def test_a_killed_registration_is_repeated_without_a_trace(
    owner: type, name: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dies_after(getattr(owner, name)))
        with pytest.raises(DiedError):
            Loop(tmp_path, RunConfig(), Silent()).init_from(str(weights), None, 1)
    loop = Loop(tmp_path, RunConfig(), Silent())
    loop.init_from(str(weights), None, 1)
    store = Store(tmp_path)
    assert [row["generation"] for row in queries.generations(store)] == [0]
    assert history.champion(store) == 0
    versions = loop.registry.versions()
    assert [(v.generation, v.complete) for v in versions] == [(0, True)]
    assert loop.registry.alias("champion") == versions[0].version
    runs = loop.registry.client.search_runs([loop.registry.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED"]  # the whole run, its round


def test_a_tracking_store_half_made_by_a_killed_process_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db.part").write_bytes(b"half a database")
    assert Registry(tmp_path).versions() == []
    assert (tmp_path / "mlflow.db").is_file()
    assert not (tmp_path / "mlflow.db.part").exists()
