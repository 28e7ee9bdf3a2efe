"""Hidden states of the frozen backbone, computed once per scene and kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..models.encoder import model_inputs
from ..models.policy import Policy
from ..vocabulary import PolicyInput

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Features:
    """What the head reads of n scenes.

    Attributes:
        hidden: (n, T, D) last hidden states of the prompts, zero where there is no token.
        mask: (n, T) true where there is one.
        ego: (n, EGO_DIM).
    """

    hidden: Tensor
    mask: Tensor
    ego: Tensor

    def take(self, index: Tensor) -> Features:
        """Some of the scenes."""
        return Features(self.hidden[index], self.mask[index], self.ego[index])


def fingerprint(policy: Policy, *, head: bool = False) -> str:
    """Hash of the weights, of the backbone alone or with the head."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(policy.model.state_dict().items()):
        if head or not name.startswith("action_head"):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


class FeatureCache:
    """Features by backbone, prompt and frames; a changed backbone empties it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._backbone = ""
        self._kept: dict[bytes, tuple[Tensor, Tensor]] = {}
        self.computed = 0  # backbone passes in scenes, for tests and reports

    def get(self, inputs: Sequence[PolicyInput], texts: Sequence[str] | None = None) -> Features:
        """Features of scenes; without texts, of the prompt that drives.

        Args:
            inputs: n scenes.
            texts: Their prompts.
        """
        policy = self._policy
        prompts = [policy.prompt(item) for item in inputs] if texts is None else list(texts)
        current = fingerprint(policy)
        if current != self._backbone:
            self._backbone, self._kept = current, {}
        keys = [_key(policy, item, text) for item, text in zip(inputs, prompts, strict=True)]
        missing = list({key: i for i, key in enumerate(keys) if key not in self._kept}.values())
        for start in range(0, len(missing), _BATCH):
            self._compute([(keys[i], inputs[i], prompts[i]) for i in missing[start : start + _BATCH]])
        rows = [self._kept[key] for key in keys]
        hidden = torch.nn.utils.rnn.pad_sequence([row for row, _ in rows], batch_first=True)
        lengths = torch.tensor([len(row) for row, _ in rows], device=hidden.device)
        mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        return Features(hidden, mask, torch.stack([ego for _, ego in rows]))

    def _compute(self, group: list[tuple[bytes, PolicyInput, str]]) -> None:
        policy = self._policy
        policy.model.eval()
        batch = policy.encode([item for _, item, _ in group], [text for _, _, text in group], frozen=True)
        with torch.no_grad():
            hidden = policy.model.hidden_states(model_inputs(batch))
        for (key, _, _), row, mask, ego in zip(
            group, hidden, batch["prompt_mask"].bool(), batch["ego"], strict=True
        ):
            self._kept[key] = (row[mask].clone(), ego)
        self.computed += len(group)


def _key(policy: Policy, item: PolicyInput, text: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(text.encode())
    digest.update(policy.encoder.pictures(item).tobytes())
    digest.update(item.history_m_rad.tobytes())
    digest.update(np.array([item.speed_mps, item.accel_mps2, item.yaw_rate_radps]).tobytes())
    return digest.digest()
