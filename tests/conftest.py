"""What all tests share: one embedded server, one drive on it, and a clean end of a process that holds a carla client."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator

import pytest

from takeover.sim_bridge.server import EmbeddedServer

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as `loop` itself does
_sessions: list[pytest.Session] = []
os.environ.pop("MLFLOW_TRACKING_URI", None)  # a tracking server of the user's is no place for tests


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """One server for all tests: each must leave it as found."""
    with EmbeddedServer.start() as running:
        yield running


def pytest_sessionstart(session: pytest.Session) -> None:
    _sessions.append(session)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """The carla client may abort the interpreter's own exit, which would fail a run whose tests have passed.

    Called after the summary is printed; the exit status is the one that pytest would have returned.
    """
    if "carla" in sys.modules and _sessions:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(_sessions[0].exitstatus))
