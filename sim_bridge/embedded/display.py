"""Pictures for people: drawn beside the tick by a thread of their own, dropped rather than waited for.

A window's picture takes longer than all else that a tick does. A camera with the role `DISPLAY_ROLE` is therefore drawn
from a copy of what the tick left, while the server goes on answering calls; a real server reads such pictures back from its
GPU in the same manner. The policy's cameras are never drawn here.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .render import ActorBatch, LightBatch, MapModel, Renderer, WeatherLook

DISPLAY_ROLE = "takeover.display"
_WAKE = b"\0"


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture to draw: everything that it shows, as copies.

    Attributes:
        stream_id: Where it goes.
        header: Bytes before the pixels.
        pose: Camera: x, y, z in metres, pitch, yaw, roll in radians; CARLA's frame.
    """

    stream_id: int
    header: bytes
    map_model: MapModel
    pose: tuple[float, float, float, float, float, float]
    width_px: int
    height_px: int
    fov_deg: float
    actors: ActorBatch
    weather: WeatherLook
    lights: LightBatch
    exclude_id: int


class DisplayPainter:
    """Draws the newest shot of each stream; older ones that wait are dropped.

    Attributes:
        ready: Readable when pictures are finished; watched by the server's selector.
    """

    def __init__(self) -> None:
        self.ready, self._wake = socket.socketpair()
        self.ready.setblocking(False)
        self._condition = threading.Condition()
        self._waiting: dict[int, Shot] = {}
        self._finished: deque[tuple[int, bytes]] = deque()
        self._renderers: dict[int, tuple[MapModel, Renderer]] = {}
        self._thread: threading.Thread | None = None

    def offer(self, shot: Shot) -> None:
        """Draw this, unless a newer one of its stream comes first."""
        with self._condition:
            self._waiting[shot.stream_id] = shot
            self._condition.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="display", daemon=True)
            self._thread.start()

    def forget(self, stream_id: int) -> None:
        """The camera is gone."""
        with self._condition:
            self._waiting.pop(stream_id, None)

    def deliver(self, send: Callable[[int, tuple[bytes, ...]], None]) -> None:
        """Send what is finished; on the thread that owns the sockets."""
        self.ready.recv(1 << 12)
        while self._finished:
            stream_id, payload = self._finished.popleft()
            send(stream_id, (payload,))

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._waiting:
                    self._condition.wait()
                shot = self._waiting.pop(next(iter(self._waiting)))
            picture = self._renderer(shot.map_model).render(
                shot.pose, shot.width_px, shot.height_px, shot.fov_deg,
                shot.actors, shot.weather, shot.lights, shot.exclude_id,
            )  # fmt: skip
            self._finished.append((shot.stream_id, shot.header + picture.bgra.tobytes()))
            self._wake.send(_WAKE)

    def _renderer(self, map_model: MapModel) -> Renderer:
        """A renderer of this thread's own: renderers keep buffers."""
        known = self._renderers.get(id(map_model))
        if known is None or known[0] is not map_model:
            known = self._renderers[id(map_model)] = (map_model, Renderer(map_model))
        return known[1]
