"""Cameras and collision sensor of the ego, with a barrier: a tick's set is complete or its fault is named."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import carla
import numpy as np
from numpy.typing import NDArray

from ..errors import SimulatorError, UsageError
from ..vocabulary import PLAN_PERIOD_TICKS, TICK_S, CameraSpec, Frame
from . import convert
from .bridge import Bridge

RGB, INSTANCE = "rgb", "instance"
DISPLAY_ROLE = "takeover.display"  # the embedded server draws such a camera beside the tick
BLUEPRINTS = {RGB: "sensor.camera.rgb", INSTANCE: "sensor.camera.instance_segmentation"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the cameras gave on one tick.

    Attributes:
        images: (V, H, W, 3) RGB; None when none was due, or the set is not complete.
        instances: Per view (H, W) low 16 bits of actor ids; empty likewise.
        faults: `"front.rgb: lost"` and the like.
    """

    images: NDArray[np.uint8] | None
    instances: tuple[NDArray[np.uint16], ...]
    faults: tuple[str, ...]

    def frame(self, tick: int, actor_ids: Iterable[int]) -> Frame | None:
        """As a `Frame`, with the visible pixels of the given actors over all views."""
        if self.images is None:
            return None
        counts = np.zeros(1 << 16, np.int64)
        for view in self.instances:
            seen = np.bincount(view.ravel())
            counts[: len(seen)] += seen
        visible = {i: int(counts[i & 0xFFFF]) for i in actor_ids if counts[i & 0xFFFF]}
        return Frame(tick, self.images, visible)


class CameraSet:
    """The policy's cameras, each with an instance segmentation of the same view.

    Args:
        bridge: The server.
        ego: What they are mounted on.
        specs: The cameras.
        wait_s: How long the barrier waits for a set that is due.

    Raises:
        SimulatorError: The server cannot spawn them.
        UsageError: The views differ in size, so that they make no array.
    """

    def __init__(
        self, bridge: Bridge, ego: carla.Actor, specs: tuple[CameraSpec, ...], wait_s: float = 2.0
    ) -> None:
        if len({(spec.width_px, spec.height_px) for spec in specs}) != 1:
            raise UsageError("the cameras differ in size", fix="give every camera the same width and height")
        self._specs = specs
        self._wait_s = wait_s
        self._arrived: queue.SimpleQueue[tuple[tuple[str, str], carla.Image]] = queue.SimpleQueue()
        self._keys = [(spec.name, kind) for spec in specs for kind in (RGB, INSTANCE)]
        self._phase: int | None = None  # world frame of a set; others follow PLAN_PERIOD_TICKS apart
        self.sensors: list[carla.Sensor] = []
        for spec in specs:
            for kind in (RGB, INSTANCE):
                sensor = bridge.spawn(
                    BLUEPRINTS[kind],
                    convert.camera_transform(spec),
                    attach_to=ego,
                    image_size_x=str(spec.width_px),
                    image_size_y=str(spec.height_px),
                    fov=str(spec.fov_deg),
                    sensor_tick=str(PLAN_PERIOD_TICKS * TICK_S),
                )
                if sensor is None:
                    raise SimulatorError(f"the server spawns no {BLUEPRINTS[kind]}")
                self._listen(sensor, (spec.name, kind))
                self.sensors.append(sensor)

    def _listen(self, sensor: carla.Sensor, key: tuple[str, str]) -> None:
        arrived = self._arrived
        sensor.listen(lambda image: arrived.put((key, image)))

    def find_phase(self, frame_id: int) -> bool:
        """Whether the first set came with world frame `frame_id`; it tells which later ones are due."""
        try:
            key, image = self._arrived.get(timeout=self._wait_s)
        except queue.Empty:
            return False
        self._phase = int(image.frame)
        self._arrived.put((key, image))
        return self._phase == frame_id

    def is_due(self, frame_id: int) -> bool:
        """Whether a set belongs to this world frame."""
        return self._phase is not None and (frame_id - self._phase) % PLAN_PERIOD_TICKS == 0

    def collect(self, frame_id: int) -> Delivery:
        """The barrier: takes what has arrived, waits for what is due.

        Args:
            frame_id: World frame of the tick just made.

        Returns:
            The complete set of this frame, or the names of what is wrong. Images of earlier frames are late:
            named and dropped.
        """
        faults: list[str] = []
        images: dict[tuple[str, str], carla.Image] = {}
        missing = set(self._keys) if self.is_due(frame_id) else set()
        deadline_s = time.monotonic() + self._wait_s
        while True:
            try:
                if missing:
                    key, image = self._arrived.get(timeout=max(deadline_s - time.monotonic(), 0.0))
                else:
                    key, image = self._arrived.get_nowait()
            except queue.Empty:
                break
            name = ".".join(key)
            if image.frame != frame_id:
                faults.append(f"{name}: late")
            elif key in images:
                faults.append(f"{name}: duplicate")
            elif not self.is_due(frame_id):
                faults.append(f"{name}: not due")
            else:
                images[key] = image
                missing.discard(key)
        faults += [f"{'.'.join(key)}: lost" for key in self._keys if key in missing]
        if missing or not images:
            return Delivery(None, (), tuple(faults))
        views: list[NDArray[np.uint8]] = []
        instances: list[NDArray[np.uint16]] = []
        for spec in self._specs:
            rgb = _pixels(images[(spec.name, RGB)])[..., 2::-1]
            if not rgb.any():
                faults.append(f"{spec.name}.{RGB}: black")
            views.append(rgb)
            ids = _pixels(images[(spec.name, INSTANCE)])
            instances.append(ids[..., :2].copy().view(np.dtype(">u2"))[..., 0].astype(np.uint16))
        return Delivery(np.stack(views), tuple(instances), tuple(faults))


def _pixels(image: carla.Image) -> NDArray[np.uint8]:
    """(H, W, 4) BGRA view of an image's bytes."""
    return np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)


class DisplayCamera:
    """A camera for people. Nobody waits for it, and no policy sees it.

    Args:
        bridge: The server.
        ego: What it is mounted on.
        spec: The camera.
        deliver: Called on the client library's thread with world frame and (H, W, 4) BGRA pixels, which hold only
            during the call.

    Raises:
        SimulatorError: The server cannot spawn it.
    """

    def __init__(
        self,
        bridge: Bridge,
        ego: carla.Actor,
        spec: CameraSpec,
        deliver: Callable[[int, NDArray[np.uint8]], None],
    ) -> None:
        sensor = bridge.spawn(
            BLUEPRINTS[RGB],
            convert.camera_transform(spec),
            attach_to=ego,
            role=DISPLAY_ROLE,
            image_size_x=str(spec.width_px),
            image_size_y=str(spec.height_px),
            fov=str(spec.fov_deg),
        )
        if sensor is None:
            raise SimulatorError(f"the server spawns no {BLUEPRINTS[RGB]}")
        self.sensor = sensor
        sensor.listen(lambda image: deliver(int(image.frame), _pixels(image)))


@dataclass(frozen=True, slots=True)
class Contact:
    """One event of the collision sensor."""

    frame_id: int
    actor_id: int
    type_id: str


class CollisionSensor:
    """Collisions of the ego, as the server reports them.

    Args:
        bridge: The server.
        ego: Whose collisions.

    Raises:
        SimulatorError: The server cannot spawn it.
    """

    def __init__(self, bridge: Bridge, ego: carla.Actor) -> None:
        arrived: queue.SimpleQueue[Contact] = queue.SimpleQueue()
        self._arrived = arrived
        sensor = bridge.spawn("sensor.other.collision", carla.Transform(), attach_to=ego)
        if sensor is None:
            raise SimulatorError("the server spawns no sensor.other.collision")
        self.sensor = sensor

        def take(event: carla.CollisionEvent) -> None:
            other = event.other_actor
            arrived.put(Contact(event.frame, other.id, other.type_id))

        sensor.listen(take)

    def collect(self, wait_s: float = 0.0) -> list[Contact]:
        """Events since the last call; waits up to `wait_s` for the first one."""
        contacts = []
        while True:
            try:
                contacts.append(self._arrived.get(timeout=wait_s) if wait_s else self._arrived.get_nowait())
            except queue.Empty:
                return contacts
            wait_s = 0.0
