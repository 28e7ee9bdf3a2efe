"""The cockpit's children: the world and the policy, each a process of its own. No call here ever waits for one of them.

Each child has a thread that reads its pipe and one that writes it, so a child that hangs holds up its own threads alone. A
child ends with its parent: it sees the end of its pipe.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from ...vocabulary import CameraSpec, Case
from .messages import Answer, Fault, Order, Question, Ready, Run, Seat, SetOut, SetUp, Step, Weather
from .ring import Picture, Ring
from .views import HEIGHT_PX, WIDTH_PX

CLOSE_TIMEOUT_S = 3.0  # a world destroys its actors and restores the server's settings
_END = object()


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What the children are started with.

    Attributes:
        policy: Checkpoint folder of the generation that drives.
        generation: Its id.
        carla: host:port of a server; "" starts the embedded one.
        timeout_s: Client time-out of the world.
        words: A third process writes the policy's reasoning.
        logs: Folder for `world.log` and `policy.log`; None leaves the children the terminal.
        seed: Of an embedded server.
    """

    policy: Path
    generation: str = ""
    carla: str = ""
    timeout_s: float = 5.0
    words: bool = True
    logs: Path | None = None
    seed: int = 0


class Child:
    """One process with its two threads.

    Args:
        module: Started by `python -P -m`.
        arguments: Of its command line, the pipe's descriptor apart.
        descriptors: Further descriptors that it inherits.
        newest_only: What is sent replaces what waits to be sent.
        log: Gets what the child prints; None is the terminal.
    """

    def __init__(
        self,
        module: str,
        arguments: list[str],
        descriptors: tuple[int, ...] = (),
        *,
        newest_only: bool = False,
        log: Path | None = None,
    ) -> None:
        ours, theirs = Pipe()
        with contextlib.ExitStack() as stack:
            output = None if log is None else stack.enter_context(log.open("ab"))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, "--pipe", str(theirs.fileno()), *arguments],
                pass_fds=[theirs.fileno(), *descriptors],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C reaches the cockpit alone, which then closes its children
            )
        theirs.close()
        self._pipe = ours
        self._newest_only = newest_only
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.ended = False
        threading.Thread(target=self._read, args=(ours,), name=f"read {module}", daemon=True).start()
        threading.Thread(target=self._write, args=(ours,), name=f"write {module}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, message: object) -> None:
        """Leave a message for the child."""
        self._outbox.put(message)

    def take(self) -> list[Any]:
        """What the child has sent since the last call; after its end `ended` is set."""
        found: list[Any] = []
        while True:
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return found
            if message is _END:
                self.ended = True
            else:
                found.append(message)

    def kill(self) -> None:
        """End it at once: it has nothing to put back."""
        self._outbox.put(_END)
        self._process.kill()

    def close(self) -> None:
        """Ask the child to end, and do not wait for it."""
        self._outbox.put(_END)
        with contextlib.suppress(OSError):
            socket.socket(fileno=os.dup(self._pipe.fileno())).shutdown(socket.SHUT_RDWR)

    def wait(self, until_s: float) -> None:
        """Wait for its end up to a time of the monotonic clock, then kill it."""
        try:
            self._process.wait(max(until_s - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self, pipe: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._inbox.put(pipe.recv())
        self._inbox.put(_END)

    def _write(self, pipe: Connection) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (message := self._outbox.get()) is not _END:
                while self._newest_only and not self._outbox.empty():
                    message = self._outbox.get()
                    if message is _END:
                        return
                pipe.send(message)


class WorldLink:
    """The world process.

    Attributes:
        ready: It has said so.
        fault: Why it ended; "" while it lives.
    """

    def __init__(self, settings: LinkSettings) -> None:
        self._settings = settings
        self._ring = Ring.create(WIDTH_PX, HEIGHT_PX)
        self._camera: CameraSpec | None = None
        self._start()

    def _start(self) -> None:
        settings = self._settings
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        arguments = ["--orders", str(theirs.fileno()), "--ring", str(self._ring.descriptor)]
        arguments += ["--timeout-s", str(settings.timeout_s), "--seed", str(settings.seed)]
        if settings.carla:
            arguments += ["--carla", settings.carla]
        self._child = Child(
            "takeover.collect.cockpit.world",
            arguments,
            (theirs.fileno(), self._ring.descriptor),
            log=_log(settings, "world"),
        )
        theirs.close()
        self._orders = ours
        self.ready, self.fault = False, ""
        if self._camera is not None:
            self._child.send(Seat(self._camera))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """It has not ended, as far as is known."""
        return not self.fault

    def order(self, order: Order) -> bool:
        """Send a control, now; False when the world does not take it."""
        try:
            self._orders.send(order.pack())
        except OSError:  # it hangs or is gone: the control would be stale when it came to it
            return False
        return True

    def set_up(self, case: Case) -> None:
        """Build a case; a `SetOut` follows."""
        self._child.send(SetUp(case))

    def run(self, running: bool) -> None:
        """Let time pass, or hold it."""
        self._child.send(Run(running))

    def look(self, camera: CameraSpec) -> None:
        """Show the picture of this camera."""
        self._camera = camera
        self._child.send(Seat(camera))

    def weather(self, preset: str) -> None:
        """Another weather from the next tick on, by CARLA's name."""
        self._child.send(Weather(preset))

    def take(self) -> list[SetOut | Step]:
        """What has come since the last call, in order."""
        found: list[SetOut | Step] = []
        for message in self._child.take():
            if isinstance(message, Ready):
                self.ready = True
            elif isinstance(message, Fault):
                self.fault = f"{message.text} ({message.fix})" if message.fix else message.text
            else:
                found.append(message)
        if self._child.ended and not self.fault:
            self.fault = "the world process ended"
        return found

    def picture(self) -> Picture | None:
        """The newest picture of the chosen camera."""
        return self._ring.read()

    def restart(self) -> None:
        """A fresh world in place of this one."""
        self.close()
        self._child.wait(0.0)
        self._start()

    def close(self) -> None:
        """Ask it to end."""
        self._child.close()
        self._orders.close()

    def wait(self, until_s: float) -> None:
        """Reap it."""
        self._child.wait(until_s)


class BrainLink:
    """A policy process, for plans or for words.

    Attributes:
        ready: It has said so.
        frames: Pictures that its input holds.
        fault: Why it ended; "" while it lives.
    """

    def __init__(self, settings: LinkSettings, *, words: bool = False) -> None:
        self._settings, self._words = settings, words
        self._start()

    def _start(self) -> None:
        arguments = ["--policy", str(self._settings.policy), "--generation", self._settings.generation]
        self._child = Child(
            "takeover.models.brain",
            arguments + (["--words"] if self._words else []),
            newest_only=True,
            log=_log(self._settings, "words" if self._words else "policy"),
        )
        self.ready, self.fault, self.frames = False, "", 0

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """It has not ended, as far as is known."""
        return not self.fault

    def ask(self, question: Question) -> None:
        """Ask; a question that still waits is replaced."""
        self._child.send((question.tick, question.view))

    def take(self) -> list[Answer]:
        """Answers since the last call, in order."""
        found = []
        for kind, *rest in self._child.take():
            if kind == "ready":
                self.ready, self.frames = True, rest[0]
            elif kind == "fault":
                self.fault = f"{rest[0]} ({rest[1]})" if rest[1] else rest[0]
            else:
                found.append(Answer(*rest))
        if self._child.ended and not self.fault:
            self.fault = "the policy process ended"
        return found

    def restart(self, settings: LinkSettings | None = None) -> None:
        """A fresh policy in place of this one; of another generation when settings are given."""
        self.close()
        self._settings = settings or self._settings
        self._child.wait(0.0)
        self._start()

    def close(self) -> None:
        """End it."""
        self._child.kill()

    def wait(self, until_s: float) -> None:
        """Reap it."""
        self._child.wait(until_s)


class Links:
    """World and policy of one sitting; a context manager.

    Args:
        settings: What the children are started with.
    """

    def __init__(self, settings: LinkSettings) -> None:
        self.settings = settings
        if settings.logs is not None:
            settings.logs.mkdir(parents=True, exist_ok=True)
        self.world = WorldLink(settings)
        self.brain = BrainLink(settings)
        self.words = BrainLink(settings, words=True) if settings.words else None

    def __enter__(self) -> Links:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def use(self, settings: LinkSettings) -> None:
        """Give the policy processes another generation, between two episodes; the world stays."""
        self.settings = settings
        for link in (self.brain, self.words):
            if link is not None:
                link.restart(settings)

    def close(self) -> None:
        """End the children; within CLOSE_TIMEOUT_S, whatever they do."""
        children = [link for link in (self.world, self.brain, self.words) if link is not None]
        for link in children:
            link.close()
        until_s = time.monotonic() + CLOSE_TIMEOUT_S
        for link in children:
            link.wait(until_s)


def _log(settings: LinkSettings, name: str) -> Path | None:
    return settings.logs / f"{name}.log" if settings.logs is not None else None
