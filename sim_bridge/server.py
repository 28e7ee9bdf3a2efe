"""Starts the embedded server as a child process. It ends with its parent, however the parent ends."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from ..errors import SimulatorError

START_TIMEOUT_S = 120.0  # the first start on a machine compiles the kernels
CLOSE_TIMEOUT_S = 5.0


@contextlib.contextmanager
def server_at(carla: str, seed: int) -> Iterator[tuple[str, int]]:
    """Host and port of a CARLA server: the one at `carla` (host:port), or an embedded one of our own.

    Raises:
        SimulatorError: The embedded one did not start.
    """
    if carla:
        host, _, port = carla.rpartition(":")
        yield host, int(port)
        return
    with EmbeddedServer.start(seed=seed) as server:
        yield server.host, server.port


@dataclass(slots=True)
class EmbeddedServer:
    """A running embedded server; a context manager.

    Attributes:
        host: Address of its RPC port.
        port: Its RPC port.
    """

    host: str
    port: int
    _process: subprocess.Popen[bytes]
    _pipe: socket.socket

    @classmethod
    def start(
        cls,
        seed: int = 0,
        map_name: str = "TownCurves",
        timeout_s: float = START_TIMEOUT_S,
        navigation: bool = False,
    ) -> EmbeddedServer:
        """Starts a server and waits until it is warm.

        Args:
            seed: Of whatever is random in the world.
            map_name: First map, a shipped town or the path of an .xodr file.
            timeout_s: How long it may take to come up.
            navigation: Clients get pavements for their walkers. The loop's own move by `WalkerControl`, and clients that
                start together would write the same file of the cache.

        Raises:
            SimulatorError: It did not.
        """
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "takeover.sim_bridge.embedded"]
        command += ["--map", map_name, "--seed", str(seed), "--parent-fd", str(theirs.fileno())]
        if not navigation:
            command.append("--no-navigation")
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        theirs.close()
        ours.settimeout(timeout_s)
        try:
            line = ours.makefile("rb").readline()
        except TimeoutError:
            line = b""
        if not line:
            ours.close()
            process.kill()
            status = process.wait()
            raise SimulatorError(
                f"the embedded server did not start (exit status {status})",
                fix="read its message above; `loop doctor` checks the environment",
            )
        ours.settimeout(None)
        report = json.loads(line)
        return cls(report["host"], report["port"], process, ours)

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the server and reaps it; may be called twice."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
