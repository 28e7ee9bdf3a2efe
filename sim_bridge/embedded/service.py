"""Sockets of the server: one thread, one selector. Snapshot and sensor data leave before the answer to a tick."""

from __future__ import annotations

import logging
import selectors
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import TextIO

from . import methods_actors, methods_recorder  # noqa: F401 - they register their methods
from .methods import METHODS, REFUSALS, Server
from .sensors import Chunks
from .simulation import DEFAULT_STEP_S, WORLD_STREAM, Simulation
from .traffic_managers import StepWatch
from .wire_rpc import ProtocolError, Request, RequestReader, answer, rpc_error
from .wire_stream import SIZE

LOG = logging.getLogger("takeover.embedded")

RECEIVE_BYTES = 1 << 16
SEND_BYTES = 1 << 18  # at a time: calls are served between the pieces of a window's picture
QUIET_S = 0.1  # after loading: the client then reopens its world stream, and aborts if data arrive meanwhile
MAX_WARNINGS = 200  # per client
MAX_QUEUED_BYTES = 128 << 20  # a subscriber that far behind loses frames
MANAGER_CALLS = frozenset(
    (
        "apply_batch", "get_actor_bounding_box", "get_actors_by_id", "get_episode_settings",
        "get_vehicle_light_states", "get_weather_parameters",
    )
)  # fmt: skip
LINGER_S = 10.0  # how long a client has to close a stream whose sensor is gone
SUBSCRIBE_WAIT_S = 0.5  # a client asks for a token, then connects: awaited before the next call is served


class Connection:
    """A non-blocking socket with its unsent bytes."""

    def __init__(
        self, sock: socket.socket, selector: selectors.BaseSelector, on_data: Callable[[bytes], None]
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock, self._selector, self._on_data = sock, selector, on_data
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self.open = True
        self.on_close: Callable[[], None] = lambda: None
        selector.register(sock, selectors.EVENT_READ, self._ready)

    def send(self, data: bytes | memoryview) -> None:
        """Sends, or queues what the socket does not take now."""
        if not self.open:
            return
        if self._queue:
            self._enqueue(memoryview(data))
            return
        try:
            sent = self._sock.send(memoryview(data)[:SEND_BYTES])
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._enqueue(memoryview(data)[sent:])
            self._selector.modify(self._sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self._ready)

    def _enqueue(self, data: memoryview) -> None:
        self._queue.append(data)
        self._queued += len(data)

    @property
    def is_full(self) -> bool:
        """The other side reads too slowly."""
        return self._queued > MAX_QUEUED_BYTES

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if events & selectors.EVENT_READ and self.open:
            try:
                data = self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._on_data(data)
            else:
                self.close()

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._queue[0][:SEND_BYTES])
            self._queued -= sent
            if sent < len(self._queue[0]):
                self._queue[0] = self._queue[0][sent:]
                return
            self._queue.popleft()
            if self._queue:
                return
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._selector.modify(self._sock, selectors.EVENT_READ, self._ready)

    def close(self) -> None:
        """Closes the socket once."""
        if self.open:
            self.open = False
            self._selector.unregister(self._sock)
            self._sock.close()
            self._queue.clear()
            self.on_close()


class Streams:
    """Subscribers of the streaming port.

    A stream whose sensor is gone stays open until its client closes it: the client library aborts its process when
    both sides close at once ("close: Bad file descriptor").

    Args:
        selector: Watches its sockets.
        host: Address to listen on.
        greet: First payload for a new subscriber of a stream, if there is one.
    """

    def __init__(
        self, selector: selectors.BaseSelector, host: str, greet: Callable[[int], Chunks | None]
    ) -> None:
        self._selector = selector
        self._greet = greet
        self._subscribers: dict[int, list[Connection]] = {}
        self._expected: dict[int, float] = {}
        self._listener, self.port = listen(selector, host, 0, self._accept)
        self._lost: set[int] = set()
        self._ended: list[tuple[float, Connection]] = []

    def _accept(self, sock: socket.socket) -> None:
        buffer = bytearray()

        def on_data(data: bytes) -> None:
            buffer.extend(data)
            if len(buffer) == SIZE.size:
                self._subscribe(SIZE.unpack(buffer)[0], connection)
            elif len(buffer) > SIZE.size:
                LOG.error("a subscriber sent more than a stream id; closing it")
                connection.close()

        connection = Connection(sock, self._selector, on_data)

    def _subscribe(self, stream_id: int, connection: Connection) -> None:
        self._expected.pop(stream_id, None)
        listeners = self._subscribers.setdefault(stream_id, [])
        listeners.append(connection)

        def drop() -> None:
            listeners.remove(connection)
            if not listeners and self._subscribers.get(stream_id) is listeners:
                del self._subscribers[stream_id]

        connection.on_close = drop
        payload = self._greet(stream_id)
        if payload is not None:
            connection.send(_framed(payload))

    def expect(self, stream_id: int) -> None:
        """A client has asked for this stream's token and is about to connect."""
        now_s = time.monotonic()
        for until_s, connection in self._ended:
            if until_s <= now_s:
                connection.close()
        self._ended = [entry for entry in self._ended if entry[0] > now_s]
        self._expected[stream_id] = time.monotonic() + SUBSCRIBE_WAIT_S

    def awaiting_s(self) -> float:
        """How long to wait for announced subscribers; 0 for not at all."""
        if not self._expected:
            return 0.0
        now = time.monotonic()
        self._expected = {key: until for key, until in self._expected.items() if until > now}
        return max(self._expected.values(), default=now) - now

    def heard(self, stream_id: int) -> bool:
        """Whether anyone listens."""
        return stream_id in self._subscribers

    def send(self, stream_id: int, payload: Chunks) -> None:
        """Sends a payload to all subscribers of a stream."""
        subscribers = self._subscribers.get(stream_id)
        if not subscribers:
            return
        message = _framed(payload)
        for connection in tuple(subscribers):
            if connection.is_full:
                if stream_id not in self._lost:
                    LOG.error("stream %d: a subscriber reads too slowly, frames are dropped", stream_id)
                    self._lost.add(stream_id)
                continue
            connection.send(message)


def _framed(payload: Chunks) -> bytes:
    return b"".join((SIZE.pack(sum(map(len, payload))), *payload))


class Client:
    """One RPC connection.

    Args:
        sock: The accepted socket.
        host: Where the client runs.
        service: The server.

    Attributes:
        connection: The socket.
        steps: Watches the client's Traffic Managers.
    """

    def __init__(self, sock: socket.socket, host: str, service: Service) -> None:
        self._service = service
        self.steps = StepWatch(host, service.server.traffic_managers)
        self._reader = RequestReader()
        self._warned: set[str] = set()
        self._failure = ""  # of a call that nobody waited for
        self.connection = Connection(sock, service.selector, self._on_data)
        self.connection.on_close = self._closed

    def _closed(self) -> None:
        self._service.clients.discard(self)
        self.steps.closed()

    def _on_data(self, data: bytes) -> None:
        try:
            for request in self._reader.feed(data):
                self._service.note(request)
                self._service.await_subscribers()
                self.connection.send(self._serve(request))
                self.steps.called(is_tick=request.method == "tick_cue")
        except (ProtocolError, ValueError) as error:
            LOG.error("closing a client: %s", error)
            self.connection.close()

    def _serve(self, request: Request) -> bytes:
        method = METHODS.get(request.method)
        refuse = method.refuse if method else rpc_error
        if self._failure and request.waits and not self._from_manager(request):
            text, self._failure = self._failure, ""
            return refuse(request.number, text)
        try:
            if method is None:
                raise NotImplementedError("not implemented by the embedded server")
            result = method.call(self._service.server, *request.args)
        except REFUSALS as error:
            if not request.waits:
                self._warn(f"{request.method}: {error}")
                return answer(request.number, None)
            return refuse(request.number, str(error))
        except NotImplementedError as error:
            LOG.error("%s: %s (arguments: %.200r)", request.method, error, request.args)
            return self._fail(request, f"{request.method}: {error}", refuse)
        except Exception as error:
            LOG.error("%s failed\n%s", request.method, traceback.format_exc())
            return self._fail(request, f"{request.method}: {type(error).__name__}: {error}", refuse)
        if request.method == "add_traffic_manager_running" and result:
            self.steps.ports.add(request.args[0][1])
        faults = self._service.server.faults
        if faults:
            text = f"{request.method}: {'; '.join(faults)}"
            faults.clear()
            LOG.error("%s", text)
            if not request.waits:
                self._remember(text)
        return answer(request.number, method.wrap(result) if request.waits else None)

    def _from_manager(self, request: Request) -> bool:
        """Whether a Traffic Manager's own thread may have made the call: an error there would end the client's process."""
        return bool(self.steps.ports) and request.method in MANAGER_CALLS

    def _fail(self, request: Request, text: str, refuse: Callable[[int, str], bytes]) -> bytes:
        if request.waits:
            return refuse(request.number, text)
        self._remember(text)
        return answer(request.number, None)

    def _warn(self, text: str) -> None:
        """Logs once what a client did wrong without waiting for the answer."""
        if text not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(text)
            LOG.warning("%s", text)

    def _remember(self, text: str) -> None:
        self._failure = f"an earlier call that was not waited for failed: {text}"


class Service:
    """The whole server.

    Args:
        map_name: First map.
        seed: Of the world.
        host: Address to listen on.
        port: RPC port, 0 for a free one; the streaming port is always a free one.
        trace: Gets one line a call: monotonic seconds, frame of the world, method, arguments; None for no trace.
        navigation: Clients get the map's pavements for their walkers, and keep them in their cache.
    """

    def __init__(
        self,
        map_name: str,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        trace: TextIO | None = None,
        navigation: bool = True,
    ) -> None:
        self.trace = trace
        self.selector = selectors.DefaultSelector()
        self.clients: set[Client] = set()
        self._stream_selector = selectors.EpollSelector()
        self.streams = Streams(self._stream_selector, host, self._greet)
        self.selector.register(self._stream_selector, selectors.EVENT_READ, lambda _: self._poll_streams(0.0))
        self.simulation = Simulation(map_name, seed, self.streams.send, self.streams.heard)
        painter = self.simulation.painter
        self.selector.register(
            painter.ready, selectors.EVENT_READ, lambda _: painter.deliver(self.streams.send)
        )
        self.server = Server(self.simulation, self.streams, self._tick, navigation)
        self._listener, self.port = listen(self.selector, host, port, self._accept)
        self._running = True

    def _accept(self, sock: socket.socket) -> None:
        try:
            host = sock.getpeername()[0]
        except OSError:  # gone already
            sock.close()
            return
        self.clients.add(Client(sock, host, self))

    def note(self, request: Request) -> None:
        """Writes a call to the trace as it is received."""
        if self.trace is not None:
            frame = self.simulation.world.frame
            self.trace.write(f"{time.monotonic():.6f}\t{frame}\t{request.method}\t{request.args}\n")

    def _tick(self) -> int:
        if not self.simulation.synchronous:
            return self.simulation.world.frame  # the clock ticks, not the client
        return self.simulation.tick()

    def await_subscribers(self) -> None:
        """Lets announced subscribers connect first, so that no frame of theirs is lost to a race."""
        while (wait_s := self.streams.awaiting_s()) > 0.0:
            self._poll_streams(wait_s)

    def _greet(self, stream_id: int) -> Chunks | None:
        """A new client sees the world at once, even when nobody ticks."""
        return self.simulation.snapshot() if stream_id == WORLD_STREAM else None

    def stop(self) -> None:
        """Leaves `run`."""
        self._running = False

    def watch(self, sock: socket.socket) -> None:
        """Stops when the other end of a socket is closed."""

        def ready(_: int) -> None:
            try:
                alive = bool(sock.recv(RECEIVE_BYTES))
            except OSError:
                alive = False
            if not alive:
                self.stop()

        self.selector.register(sock, selectors.EVENT_READ, ready)

    def run(self) -> None:
        """Serves until `stop`; without synchronous mode the world is paced to the wall clock."""
        next_tick = time.monotonic()
        while self._running:
            if self.simulation.synchronous or not self.clients:
                waits_s = [wait_s for client in self.clients if (wait_s := client.steps.wait_s()) is not None]
                self._poll(min(waits_s, default=None))
                for client in tuple(self.clients):
                    client.steps.nudge_if_due()
                next_tick = time.monotonic()
                continue
            now = time.monotonic()
            next_tick = max(next_tick, self.simulation.loaded_at + QUIET_S)
            if now < next_tick:
                self._poll(next_tick - now)
                continue
            self.simulation.tick()
            next_tick = max(next_tick + (self.simulation.fixed_step_s or DEFAULT_STEP_S), now)

    def _poll(self, timeout_s: float | None) -> None:
        for key, events in self.selector.select(timeout_s):
            key.data(events)

    def _poll_streams(self, timeout_s: float) -> None:
        for key, events in self._stream_selector.select(timeout_s):
            key.data(events)


def listen(
    selector: selectors.BaseSelector, host: str, port: int, accept: Callable[[socket.socket], None]
) -> tuple[socket.socket, int]:
    """Opens a listening socket.

    Returns:
        The socket and its port.
    """
    listener = socket.create_server((host, port), backlog=32)
    listener.setblocking(False)

    def ready(_: int) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        accept(sock)

    selector.register(listener, selectors.EVENT_READ, ready)
    return listener, int(listener.getsockname()[1])
