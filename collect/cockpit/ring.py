"""Pictures between two processes: a ring of shared memory, written without ever waiting, read without a copy.

The memory has no name, so nothing is left behind whatever dies. A reader has the time of `SLOTS - 1` pictures before the
one that it holds is written over.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLOTS = 4
_NEWEST = struct.Struct("<q")  # number of the newest whole picture; its slot is number % SLOTS
_SLOT = struct.Struct("<qqqq")  # number, tick, height, width
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the ring.

    Attributes:
        number: Counts up over the life of the ring.
        tick: Of the episode.
        pixels: (H, W, 4) BGRA, in the shared memory.
    """

    number: int
    tick: int
    pixels: NDArray[np.uint8]


class Ring:
    """The shared memory, for one writer and one reader.

    Args:
        descriptor: Of the memory; `create` makes it, a child gets it by inheritance.
        slot_bytes: Room for one picture.
    """

    def __init__(self, descriptor: int, slot_bytes: int) -> None:
        self.descriptor = descriptor
        self._stride = -(-(slot_bytes + _SLOT.size) // _PAGE) * _PAGE
        size = _PAGE + SLOTS * self._stride
        os.ftruncate(descriptor, size)
        self._memory = mmap.mmap(descriptor, size)
        self._bytes = np.frombuffer(self._memory, np.uint8)

    @classmethod
    def create(cls, width_px: int, height_px: int) -> Ring:
        """A new ring, all zero: picture 0 stands for none."""
        return cls(os.memfd_create("takeover-pictures"), 4 * width_px * height_px)

    def write(self, tick: int, pixels: NDArray[np.uint8]) -> None:
        """Add a picture, (H, W, 4) BGRA."""
        number = self._newest() + 1
        start = _PAGE + (number % SLOTS) * self._stride
        place = start + _SLOT.size
        self._bytes[place : place + pixels.size] = pixels.reshape(-1)
        _SLOT.pack_into(self._memory, start, number, tick, *pixels.shape[:2])
        _NEWEST.pack_into(self._memory, 0, number)

    def read(self) -> Picture | None:
        """The newest picture; None before the first."""
        newest = self._newest()
        if newest == 0:
            return None
        start = _PAGE + (newest % SLOTS) * self._stride
        number, tick, height, width = _SLOT.unpack_from(self._memory, start)
        place = start + _SLOT.size
        pixels = self._bytes[place : place + 4 * height * width].reshape(height, width, 4)
        return Picture(number, tick, pixels)

    def _newest(self) -> int:
        return int(_NEWEST.unpack_from(self._memory, 0)[0])
