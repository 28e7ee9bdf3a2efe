"""Raw inputs of an episode: what the driver's devices said, as they said it."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import msgpack


@dataclass(frozen=True, slots=True)
class InputSample:
    """What an input device said at one poll.

    Attributes:
        time_s: Of a monotonic clock; only differences mean anything.
        source: Name of the device's profile.
        steer: In [-1, 1], positive left.
        throttle: In [0, 1].
        brake: In [0, 1].
        handbrake: Held.
        reverse: The reverse gear is engaged.
        connected: The device is there.
        trusted: Its pedal axes have moved.
        raw: Its axes, untouched.
        actions: Names of the keys and buttons pressed.
    """

    time_s: float
    source: str
    steer: float
    throttle: float
    brake: float
    handbrake: bool = False
    reverse: bool = False
    connected: bool = True
    trusted: bool = True
    raw: tuple[float, ...] = ()
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InputRow:
    """What the devices said between the tick before and this one: every change, in order."""

    tick: int
    samples: tuple[InputSample, ...]


def pack_inputs(row: InputRow) -> bytes:
    """Pack the inputs before a tick."""
    return bytes(msgpack.packb([row.tick, [astuple(sample) for sample in row.samples]]))


def unpack_inputs(payload: bytes | memoryview) -> InputRow:
    """Inverse of `pack_inputs`."""
    tick, samples = msgpack.unpackb(payload, use_list=False)
    return InputRow(tick, tuple(InputSample(*sample) for sample in samples))
