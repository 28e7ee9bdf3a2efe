"""Traffic Managers that clients run, and a nudge for one that has missed its step.

The Traffic Manager of carla 0.9.16 loses a wake-up now and then (github.com/carla-simulator/carla/issues/9172, mended
after that release): `SynchronousTick` sets its flag and notifies without holding the lock under which the worker thread
has just found the flag unset and is about to wait. Then both wait for ever inside `world.tick()`, which takes no
time-out there and holds the lock that every other call of the library to its Traffic Manager needs. A fast server makes
it likelier than a slow one does: 1 of 13,000 ticks on a loaded machine. From outside it can be healed: turning
synchronous mode off notifies the worker again, and it makes exactly the step that was missed.
"""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass, field

import msgpack

LOG = logging.getLogger("takeover.embedded")

PATIENCE_S = 2.0  # a Traffic Manager begins its step within milliseconds of a tick
ANSWER_TIMEOUT_S = 1.0
_METHOD = "set_synchronous_mode"
_OFF_ON = b"".join(msgpack.packb([0, number, _METHOD, [on]]) for number, on in ((1, False), (2, True)))
_RECEIVE_BYTES = 4096


@dataclass(slots=True)
class StepWatch:
    """Whether the Traffic Managers of one connection follow its ticks.

    A synchronous one sends a batch after each tick, an asynchronous one asks for the settings all the time: silence
    after a tick means that the tick was missed. A client that merely pauses has sent its batch before.

    Attributes:
        host: Where the client runs.
        registered: Traffic Managers of all clients by port.
        ports: Of those that this client has registered.
    """

    host: str
    registered: dict[int, tuple[str, int]]
    ports: set[int] = field(default_factory=set)
    _due_s: float = 0.0  # 0: nothing is awaited

    def called(self, is_tick: bool) -> None:
        """The connection has made a call."""
        self._due_s = time.monotonic() + PATIENCE_S if is_tick and self.ports else 0.0

    def closed(self) -> None:
        """The connection is gone, and its Traffic Managers with it: their ports are free for the next client."""
        for port in self.ports:
            self.registered.pop(port, None)

    def wait_s(self) -> float | None:
        """Until `nudge_if_due` may be needed; None for not at all."""
        return max(self._due_s - time.monotonic(), 0.0) if self._due_s else None

    def nudge_if_due(self) -> None:
        """Wakes the Traffic Managers when their time is over."""
        if not self._due_s or time.monotonic() < self._due_s:
            return
        self._due_s = 0.0
        for port in sorted(self.ports & self.registered.keys()):
            woken = nudge(self.host, port)
            LOG.warning(
                "the Traffic Manager on port %d has not begun its step for %.0f s (carla issue 9172): %s",
                port, PATIENCE_S, "woken" if woken else "it does not answer",
            )  # fmt: skip


def nudge(host: str, port: int) -> bool:
    """Turns a Traffic Manager's synchronous mode off and on.

    Its step needs answers of this server's thread, which is in here until the mode is on again: so it is one step.

    Returns:
        Whether it has answered both.
    """
    unpacker, answers = msgpack.Unpacker(), 0
    try:
        with socket.create_connection((host, port), ANSWER_TIMEOUT_S) as sock:
            sock.sendall(_OFF_ON)
            while answers < 2 and (data := sock.recv(_RECEIVE_BYTES)):
                unpacker.feed(data)
                answers += sum(1 for _, _, error, _ in unpacker if error is None)
    except (OSError, ValueError):
        return False
    return answers == 2
