"""Features on disk within a budget: one safetensors file a scene, written whole or not at all, least recently used out."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

BLOCK = 64  # channels that share a scale: large backbones have channels a thousand times the others
_SCALE = ".scale"
_SUFFIX = ".safetensors"


class FeatureStore:
    """A cache of named tensors by key.

    Finished entries are moved into place in one step, so a killed writer leaves nothing that could be read; what it
    was writing is removed when the next store opens. Several readers may share a folder; one process should write.

    Attributes:
        bytes: Size of all entries.
    """

    def __init__(self, folder: Path, budget_bytes: int, *, int8: bool = False) -> None:
        """Open a store, made if missing.

        Args:
            folder: Of this store alone.
            budget_bytes: The entries never hold more; an entry larger than that is not kept.
            int8: Keep floating-point tensors as eight bits and a scale for each block of BLOCK channels.
        """
        self._folder, self._budget, self._int8 = folder, budget_bytes, int8
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.tmp"):
            if not _alive(left.name.split(".")[-2]):
                left.unlink(missing_ok=True)
        found = [(path, path.stat()) for path in folder.glob("*" + _SUFFIX)]
        found.sort(key=lambda entry: entry[1].st_mtime_ns)
        self._sizes = OrderedDict((path.name.removesuffix(_SUFFIX), stat.st_size) for path, stat in found)
        self.bytes = sum(self._sizes.values())
        self._evict(0)

    def __len__(self) -> int:
        return len(self._sizes)

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of a key, on the CPU, or None; they count as just used."""
        path = self._path(key)
        try:
            tensors = load_file(path)
            os.utime(path)
        except (OSError, SafetensorError):  # absent, gone or damaged: an entry can be made again
            self._drop(key)
            return None
        if key not in self._sizes:  # another process has made it
            self._sizes[key] = path.stat().st_size
            self.bytes += self._sizes[key]
        self._sizes.move_to_end(key)
        return unpacked(tensors)

    def put(self, key: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Keep tensors, and drop the least recently used ones that they displace.

        Returns:
            The tensors as `get` will give them, so that a first run sees what a second one does.
        """
        kept = (
            packed(tensors) if self._int8 else {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        )
        size = sum(value.nbytes for value in kept.values())
        if size <= self._budget:
            part = self._folder / f"{key}.{os.getpid()}.tmp"
            save_file(kept, part)
            size = part.stat().st_size
            self._drop(key)
            self._evict(size)
            if size <= self._budget:
                part.replace(self._path(key))
                self._sizes[key] = size
                self.bytes += size
            else:
                part.unlink()
        return unpacked(kept)

    def _evict(self, coming: int) -> None:
        while self._sizes and self.bytes + coming > self._budget:
            self._drop(next(iter(self._sizes)))

    def _drop(self, key: str) -> None:
        self.bytes -= self._sizes.pop(key, 0)
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / (key + _SUFFIX)


def packed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors as int8 with a scale a block: no value moves by more than its block's largest / 254."""
    result = {}
    for name, value in tensors.items():
        if not value.is_floating_point():
            result[name] = value.detach().cpu().contiguous()
            continue
        blocks = _blocks(value.detach().cpu().float())
        scale = blocks.abs().amax(dim=-1, keepdim=True) / 127.0
        whole = (blocks / scale.clamp_min(torch.finfo(torch.float32).tiny)).round().to(torch.int8)
        result[name] = whole.flatten(-2)[..., : value.shape[-1]].contiguous()
        # The scale is float32; its name tells the dtype to come back to.
        result[f"{name}{_SCALE}.{str(value.dtype).removeprefix('torch.')}"] = scale.squeeze(-1).contiguous()
    return result


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `packed`; tensors that are no such are left as they are."""
    scales = {}
    for name, value in tensors.items():
        base, mark, dtype = name.partition(_SCALE + ".")
        if mark:
            scales[base] = (value, getattr(torch, dtype))
    result = {}
    for name, value in tensors.items():
        if name in scales:
            scale, dtype = scales[name]
            blocks = _blocks(value.float()) * scale[..., None]
            result[name] = blocks.flatten(-2)[..., : value.shape[-1]].to(dtype)
        elif _SCALE not in name:
            result[name] = value
    return result


def _blocks(value: Tensor) -> Tensor:
    """(..., D) -> (..., ceil(D / BLOCK), BLOCK), filled up with zeros."""
    short = -value.shape[-1] % BLOCK
    return torch.nn.functional.pad(value, (0, short)).unflatten(-1, (-1, BLOCK))


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
