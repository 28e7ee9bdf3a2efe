from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from takeover.sim_bridge.server import EmbeddedServer

_status = pytest.ExitCode.OK


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """One server for all tests: each must leave it as found."""
    with EmbeddedServer.start() as running:
        yield running


def pytest_sessionfinish(exitstatus: int) -> None:
    global _status
    _status = pytest.ExitCode(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """The carla client may abort the interpreter's own exit, which would fail a run whose tests have passed."""
    if "carla" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(_status))
