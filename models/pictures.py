"""What a frozen tower made of pictures, kept: rounds show the same ones again and again, and the tower stays as it is."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from xxhash import xxh3_128_digest

from .backbone import Backbone
from .tiny import ConvTower

DRIVING = 1_000  # pictures kept while driving: the newest of a plan is an older one of the next
LIMIT = 40_000  # pictures; the tiny tower's tokens of one take 9 kB
BATCH = 16  # always as many at once: what is made of a picture must not hang on its neighbours


class SeenPictures:
    """Tokens of a tower by picture; another tower, or new weights, empty it.

    Args:
        limit: Pictures kept; the one that was not asked for the longest gives way.
        batch: Pictures of a pass. Another number may round otherwise.

    Attributes:
        computed: Passes through the tower in pictures, for tests and reports.
    """

    def __init__(self, limit: int = LIMIT, batch: int = BATCH) -> None:
        self._limit, self._batch = limit, batch
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self._tower: ConvTower | None = None  # held, so that no other can come to lie at its address
        self._versions: list[int] = []
        self._weights = ""
        self.computed = 0

    @staticmethod
    def serves(backbone: Backbone) -> bool:
        """Whether the tower makes the same of a picture every time: it is the tiny preset's, and settled."""
        return isinstance(backbone.tower, ConvTower) and backbone.tower.settled

    def tokens(self, backbone: Backbone, images: NDArray[np.uint8]) -> Tensor:
        """Tokens (N, n, D) of pictures (N, H, W, 3), to be given to the model in place of pixels; no gradient."""
        self._follow(backbone)
        keys = [xxh3_128_digest(np.ascontiguousarray(image).data) for image in images]
        missing = list({key: i for i, key in enumerate(keys) if key not in self._kept}.values())
        fresh: dict[bytes, Tensor] = {}
        for start in range(0, len(missing), self._batch):
            rows = missing[start : start + self._batch]
            padded = rows + rows[:1] * (self._batch - len(rows))
            with torch.no_grad():
                pixels = backbone.pixels(images[padded])["pixel_values"].to(backbone.model.device)
                made = backbone.tower(pixels).last_hidden_state
            fresh |= {keys[i]: made[row].clone() for row, i in enumerate(rows)}
        self.computed += len(missing)
        for key in keys:
            if key in self._kept:
                self._kept.move_to_end(key)
        self._kept |= fresh
        found = torch.stack([self._kept[key] for key in keys])
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return found

    def _follow(self, backbone: Backbone) -> None:
        """Forget everything if the tower is not the one that the tokens come from."""
        tower = backbone.tower
        assert isinstance(tower, ConvTower)
        state = tower.state_dict(keep_vars=True)
        versions = [value._version for value in state.values()]  # every change in place counts one up
        if tower is self._tower and versions == self._versions:
            return
        digest = hashlib.blake2b(digest_size=16)
        for name, value in state.items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        if digest.hexdigest() != self._weights:
            self._kept.clear()
        self._tower, self._versions, self._weights = tower, versions, digest.hexdigest()
