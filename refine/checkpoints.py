"""Checkpoints inside a stage, so that a killed one goes on where it was.

A checkpoint counts only with its marker, which is written last and names the size of every file; whatever has none,
or belongs to other data, weights, configuration or seed, is thrown away. Nothing here depends on the clock but the
moment at which one is written, so a resumed stage ends bit by bit as an undisturbed one (on a CPU).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

if TYPE_CHECKING:
    from .training import HeadLossMixin

MARKER = "complete.json"
STATE = "state.pt"
EVERY_S = 60.0


class Checkpoints:
    """The checkpoints of one stage.

    Args:
        folder: Theirs alone.
        key: Of all that the stage starts from.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self._key = key
        self._since_s = time.monotonic()

    def due(self, step: int, every: int) -> bool:
        """Whether to write one now.

        Args:
            step: Steps (or epochs) that are done.
            every: Of them between two checkpoints; 0 goes by the clock.
        """
        return step % every == 0 if every else time.monotonic() - self._since_s >= EVERY_S

    def complete(self, path: Path, step: int, state: dict[str, Any]) -> None:
        """Declare a written checkpoint whole, and drop the older ones.

        Args:
            path: A folder of `folder`, all of whose files are there.
            step: Steps that it holds.
            state: What goes into the marker.
        """
        sizes = {}
        for file in sorted(p for p in path.rglob("*") if p.is_file() and p.name != MARKER):
            _sync(file)
            sizes[str(file.relative_to(path))] = file.stat().st_size
        temporary = path / f"{MARKER}.tmp"
        temporary.write_text(
            json.dumps({"key": self._key, "step": step, "files": sizes, "state": state}), encoding="utf-8"
        )
        _sync(temporary)
        temporary.replace(path / MARKER)
        _sync(path)
        for other in self.folder.iterdir():
            if other != path:
                _remove(other)
        self._since_s = time.monotonic()

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The last complete checkpoint and its marker's state; everything else in the folder is removed."""
        found: tuple[int, Path, dict[str, Any]] | None = None
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            marker = self._read(path)
            if marker is not None and (found is None or marker["step"] > found[0]):
                found = marker["step"], path, marker["state"]
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if found is None or path != found[1]:
                _remove(path)
        return None if found is None else found[1:]

    def keep(self, step: int, tensors: dict[str, Any]) -> None:
        """Write a checkpoint of a stage that has no trainer of its own.

        Args:
            step: Epochs that it holds.
            tensors: Tensors and plain values.
        """
        path = self.folder / f"epoch-{step}"
        path.mkdir(parents=True, exist_ok=True)
        torch.save(tensors, path / STATE)
        self.complete(path, step, {})

    def kept(self) -> dict[str, Any] | None:
        """What `keep` wrote last; None if there is nothing."""
        found = self.newest()
        # weights_only: tensors and plain values, no code is run
        return None if found is None else torch.load(found[0] / STATE, weights_only=True)

    def clear(self) -> None:
        """The stage is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            marker: dict[str, Any] = json.loads((path / MARKER).read_text(encoding="utf-8"))
            whole = all((path / name).stat().st_size == size for name, size in marker["files"].items())
        except (OSError, ValueError, KeyError):
            return None
        return marker if whole and marker.get("key") == self._key else None


class Saving(TrainerCallback):
    """Lets a trainer write checkpoints, and adds to each what the trainer does not know of."""

    def __init__(self, checkpoints: Checkpoints, trainer: HeadLossMixin, every: int) -> None:
        self._checkpoints, self._trainer, self._every = checkpoints, trainer, every
        found = checkpoints.newest()
        self.resume_from = None if found is None else found[0]
        self._state: dict[str, Any] | None = None if found is None else found[1]

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Transformers has loaded its part of the checkpoint; now ours."""
        if self._state is not None:
            self._trainer.restore(self._state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint when one is due; after the last step the stage itself is saved."""
        step = int(state.global_step)
        if step < state.max_steps and not self._trainer.guard.stopped:
            control.should_save = self._checkpoints.due(step, self._every)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The checkpoint's files are there."""
        step = int(state.global_step)
        path = self._checkpoints.folder / f"checkpoint-{step}"
        self._checkpoints.complete(path, step, self._trainer.remember())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
