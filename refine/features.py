"""Hidden states of the frozen backbone, computed once per scene and kept in memory or on disk."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from xxhash import xxh3_128

from ..models.encoder import ego_vector, model_inputs
from ..models.policy import Policy
from ..models.prompts import PromptMode
from ..models.threads import apply_threads, wanted_threads
from ..models.vla import HEADS, States
from ..vocabulary import PolicyInput
from .config import FeatureConfig
from .feature_store import FeatureStore

_BATCH = 16
_COPIES_BELOW = 50_000_000  # weights of a model that each thread may have a copy of
_OUTPUT = "lm_head"  # says words, but no state depends on it


@dataclass(frozen=True, slots=True)
class Features:
    """What the heads read of n scenes.

    Attributes:
        hidden: (n, T, D) last hidden states of their context, zero where there is no token.
        mask: (n, T) true where there is one.
        ego: (n, EGO_DIM).
        layers: (n, T, L, D) outputs of every second layer; None without a `flow` head.
    """

    hidden: Tensor
    mask: Tensor
    ego: Tensor
    layers: Tensor | None = None

    def take(self, index: Tensor) -> Features:
        """Some of the scenes."""
        rows = index.to(self.hidden.device)
        layers = None if self.layers is None else self.layers.index_select(0, rows)
        return Features(self.hidden.index_select(0, rows), self.mask[rows], self.ego[rows], layers)


def fingerprint(policy: Policy, *, head: bool = False) -> str:
    """Hash of the weights, of the backbone alone or with the heads."""
    return _weights_hash(policy, () if head else HEADS)


def _weights_hash(policy: Policy, left_out: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(policy.model.state_dict().items()):
        if not name.startswith(left_out):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def feature_cache(policy: Policy, config: FeatureConfig, folder: Path) -> FeatureCache:
    """The cache that a configuration asks for.

    Args:
        policy: Whose features.
        config: Memory or disk.
        folder: Of the disk's store.
    """
    if config.store == "memory":
        return FeatureCache(policy)
    return FeatureCache(policy, FeatureStore(folder, config.budget_mb * 1_000_000, int8=config.int8))


class FeatureCache:
    """Features by backbone, processor, prompt, frames and reasoning; a changed backbone empties the memory.

    Scenes are computed in batches of constant shape, so that a feature does not depend on what is computed beside it:
    one that is read again, or made again after a restart, has the same bits.

    Attributes:
        computed: Backbone passes so far, in scenes.
        spoken: Reasonings generated so far.
    """

    def __init__(self, policy: Policy, store: FeatureStore | None = None) -> None:
        self._policy, self._store = policy, store
        self._backbone = ""
        self._hashes: dict[tuple[str, ...], str] | None = None  # only while nothing moves the backbone
        self._processor = _processor_hash(policy)
        self._kept: dict[str, dict[str, Tensor]] = {}
        self._said: dict[str, str] = {}
        self.computed = self.spoken = 0

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Promise that the backbone stays as it is in a block: its gigabytes are then hashed once, not at every `get`."""
        self._hashes = {}
        try:
            yield
        finally:
            self._hashes = None

    def get(self, inputs: Sequence[PolicyInput], texts: Sequence[str] | None = None) -> Features:
        """Features of scenes, of the context that the heads read when they drive.

        With the context `prompt+reasoning` the backbone first answers each prompt, once.

        Args:
            inputs: n scenes.
            texts: Their prompts; without them those that drive.
        """
        policy = self._policy
        policy.model.eval()
        mode = PromptMode.REASON if policy.reads_reasoning else PromptMode.PLAN
        prompts = [policy.prompt(item, mode) for item in inputs] if texts is None else list(texts)
        current = self._hash((*HEADS, _OUTPUT))
        if current != self._backbone:
            self._backbone, self._kept = current, {}
        scenes = [_scene_hash(policy, item, text) for item, text in zip(inputs, prompts, strict=True)]
        said = self._reasonings(scenes, inputs, prompts) if policy.reads_reasoning else None
        wanted = "layers" if policy.model.has_flow_head else "last"
        parts = [self._backbone, self._processor, str(policy.model.dtype), wanted]
        keys = [
            _hash([*parts, scene, "-" if said is None else _hash([said[i]])])
            for i, scene in enumerate(scenes)
        ]
        missing = [i for i in {key: i for i, key in enumerate(keys)}.values() if not self._known(keys[i])]
        groups = list(self._groups(missing, prompts))
        models = self._models() if groups else []
        with ThreadPoolExecutor(max(len(models), 1)) as pool:
            run = pool.map if len(models) > 1 else map
            for start in range(0, len(groups), max(len(models), 1)):
                some = groups[start : start + len(models)]
                batches = [self._encoded(inputs, prompts, said, group, width) for group, width in some]
                found = list(run(_states, models, batches))
                for (group, _), batch, states in zip(some, batches, found, strict=True):
                    self._keep([keys[i] for i in group], batch["prompt_mask"], states)
        apply_threads()  # the pool's threads have told torch to use one
        rows = [self._kept[key] for key in keys]
        hidden, layers = _stacked(rows, "last"), _stacked(rows, "layers")
        assert hidden is not None
        lengths = torch.tensor([len(row["last"]) for row in rows], device=hidden.device)
        mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        ego = torch.from_numpy(np.stack([ego_vector(item) for item in inputs])).to(hidden.device)
        return Features(hidden, mask, ego, layers)

    def _hash(self, left_out: tuple[str, ...]) -> str:
        if self._hashes is None:
            return _weights_hash(self._policy, left_out)
        if left_out not in self._hashes:
            self._hashes[left_out] = _weights_hash(self._policy, left_out)
        return self._hashes[left_out]

    def _known(self, key: str) -> bool:
        if key not in self._kept and self._store is not None:
            found = self._store.get(key)
            if found is not None:
                self._kept[key] = {name: value.to(self._policy.model.device) for name, value in found.items()}
        return key in self._kept

    def _reasonings(
        self, scenes: Sequence[str], inputs: Sequence[PolicyInput], prompts: Sequence[str]
    ) -> list[str]:
        """What the frozen backbone answers to the prompts, each generated once."""
        mouth = self._hash(HEADS)  # the output layer too
        keys = [_hash([mouth, self._processor, scene]) for scene in scenes]
        missing = [i for i in {key: i for i, key in enumerate(keys)}.values() if keys[i] not in self._said]
        for group, width in self._groups(missing, prompts):
            full = _filled(group)
            texts = self._policy.reasonings(
                [inputs[i] for i in full], [prompts[i] for i in full], width=width, frozen=True
            )
            self._said.update({keys[i]: text for i, text in zip(group, texts[: len(group)], strict=True)})
            self.spoken += len(group)
        return [self._said[key] for key in keys]

    def _groups(self, rows: Sequence[int], prompts: Sequence[str]) -> Iterable[tuple[list[int], int]]:
        """Rows in batches of one width of text each."""
        widths = self._policy.encoder.text_widths([prompts[i] for i in rows]) if rows else []
        for width in sorted(set(widths)):
            alike = [row for row, its in zip(rows, widths, strict=True) if its == width]
            for start in range(0, len(alike), _BATCH):
                yield alike[start : start + _BATCH], width

    def _models(self) -> list[Any]:
        """A model for each thread that may be used: what a pass finds is caught by hooks that keep it on the model."""
        model = self._policy.model
        small = sum(weight.numel() for weight in model.parameters()) <= _COPIES_BELOW
        count = wanted_threads() if small and model.device.type == "cpu" else 1
        return [model, *(copy.deepcopy(model) for _ in range(count - 1))]

    def _encoded(
        self,
        inputs: Sequence[PolicyInput],
        prompts: Sequence[str],
        said: Sequence[str] | None,
        rows: Sequence[int],
        width: int,
    ) -> dict[str, Tensor]:
        full = _filled(rows)
        return self._policy.encode_context(
            [inputs[i] for i in full],
            [prompts[i] for i in full],
            None if said is None else [said[i] for i in full],
            width=width,
            frozen=True,
        )

    def _keep(self, keys: Sequence[str], masks: Tensor, states: States) -> None:
        for row, key in enumerate(keys):
            mask = masks[row].bool()
            entry = {"last": states.last[row][mask].clone()}
            if states.layers is not None:
                entry["layers"] = states.layers[row][mask].clone()
            if self._store is not None:
                device = self._policy.model.device
                entry = {name: value.to(device) for name, value in self._store.put(key, entry).items()}
            self._kept[key] = entry
        self.computed += len(keys)


def _states(model: Any, batch: dict[str, Tensor]) -> States:
    apply_threads()
    with torch.no_grad():
        states: States = model.states(model_inputs(batch))
    return states


def _stacked(rows: Sequence[dict[str, Tensor]], name: str) -> Tensor | None:
    if name not in rows[0]:
        return None
    return torch.nn.utils.rnn.pad_sequence([row[name] for row in rows], batch_first=True)


def _filled(rows: Sequence[int]) -> list[int]:
    """Rows repeated up to a whole batch: the shape must not change with their number."""
    return [*rows, *[rows[-1]] * (_BATCH - len(rows))]


def _scene_hash(policy: Policy, item: PolicyInput, text: str) -> str:
    digest = xxh3_128(text.encode())
    digest.update(np.ascontiguousarray(policy.encoder.pictures(item)).data)
    return digest.hexdigest()


def _processor_hash(policy: Policy) -> str:
    processor, encoder = policy.processor, policy.encoder
    shape = (encoder.frames, encoder.views, encoder.width_px, encoder.height_px, encoder.text_tokens)
    return _hash(
        [
            processor.tokenizer.backend_tokenizer.to_str(),
            processor.chat_template or "",
            processor.image_processor.to_json_string(),
            str(shape),
            str(policy.config.reason_tokens) if policy.reads_reasoning else "",
        ]
    )


def _hash(parts: Sequence[str]) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
