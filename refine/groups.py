"""Groups of completions for GRPO: N samples of the policy, then SafeAlign's positive and negative anchor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.encoder import ego_vector, model_inputs
from ..models.policy import Policy
from ..vocabulary import PLAN_POINTS, Float
from .anchors import group_advantages
from .config import GrpoConfig
from .datasets import GrpoRow, answer, head_fields
from .rewards import UNPARSABLE, decode_completion, plan_rewards

ANCHORS = 2


class Groups:
    """Samples, rewards and advantages of the scenes at hand; TRL calls `rollout` and `reward`.

    Rows of one scene lie together, `num_generations` of them; the anchors are the last two where the scene
    has both.

    Attributes:
        skipped: Groups whose samples all earned the same; they teach nothing.
    """

    def __init__(self, policy: Policy, rows: Sequence[GrpoRow], config: GrpoConfig) -> None:
        self._policy, self._rows, self._config = policy, rows, config
        self._batch: list[GrpoRow] = []
        self._plans: list[Float | None] = []
        self._rewards = torch.zeros(0)
        self.skipped = 0

    def begin(self, numbers: Sequence[int]) -> None:
        """Say which rows the next batch is made of."""
        self._batch = [self._rows[i] for i in numbers]

    def rollout(self, _prompts: list[Any], _trainer: Any) -> dict[str, Any]:
        """TRL's rollout function: sampled and injected completions, each under its scene's own prompt."""
        size = self._config.num_generations
        scenes = self._batch[::size]
        injected = [self._injected(row) for row in scenes]
        counts = [size - len(plans) for plans in injected]
        wanted = [row for row, count in zip(scenes, counts, strict=True) for _ in range(count)]
        sampled = iter(self._sample(wanted))
        prompts: list[list[int]] = []
        completions: list[list[int]] = []
        for row, plans, count in zip(scenes, injected, counts, strict=True):
            for _ in range(count):
                prompt, completion = next(sampled)
                prompts.append(prompt)
                completions.append(completion)
            for plan in plans:
                prompts.append(prompts[-1])
                completions.append(self._ids(row, plan))
        return {"prompt_ids": prompts, "completion_ids": completions, "logprobs": None}

    def reward(self, completions: list[Any], **_: Any) -> list[float]:
        """TRL's reward function: SafeAlign eq. 11 for a plan, `UNPARSABLE` for any other text."""
        codec, size = self._policy.codec, self._config.num_generations
        texts = [completion[0]["content"] for completion in completions]
        self._plans = [
            decode_completion(text, codec, row.input.speed_mps)
            for text, row in zip(texts, self._batch, strict=True)
        ]
        values = np.full(len(texts), UNPARSABLE, np.float32)
        for start in range(0, len(texts), size):
            row = self._batch[start]
            group = self._plans[start : start + size]
            good = [start + i for i, plan in enumerate(group) if plan is not None]
            if good:
                plans = np.stack([plan for plan in group if plan is not None])
                values[good] = plan_rewards(row.scene, plans, row.pos_m, row.neg_m, row.mask)
        self._rewards = torch.from_numpy(values)
        return [float(value) for value in values]

    def advantages(self) -> Tensor:
        """(B,) from the statistics of each group's samples; anchors signed and clamped."""
        size = self._config.num_generations
        parts: list[Tensor] = []
        for start in range(0, len(self._batch), size):
            rewards = self._rewards[start : start + size]
            split = size - len(self._injected(self._batch[start]))
            outside = rewards[split:] if split < size else rewards.new_zeros(ANCHORS)
            inner, outer = group_advantages(rewards[:split], outside, "directional")
            self.skipped += int(not bool(inner.any()))
            parts.append(torch.cat((inner, outer)) if split < size else inner)
        return torch.cat(parts)

    def head_targets(self) -> dict[str, Tensor]:
        """What the head learns (B rows): the positive anchor, or the group's best where that earns more."""
        size = self._config.num_generations
        targets, masks = [], []
        for start in range(0, len(self._batch), size):
            row = self._batch[start]
            target, mask = row.pos_m, row.mask
            best = start + int(self._rewards[start : start + size].argmax())
            earned = plan_rewards(row.scene, row.pos_m[None], row.pos_m, row.neg_m, row.mask)
            plan = self._plans[best]
            if plan is not None and float(self._rewards[best]) > float(earned[0]):
                target, mask = plan, np.ones(PLAN_POINTS, np.bool_)
            targets += [target] * size
            masks += [mask] * size
        ego = torch.from_numpy(np.stack([ego_vector(row.input) for row in self._batch]))
        return {**head_fields(targets, masks), "ego": ego}

    def _injected(self, row: GrpoRow) -> list[Float]:
        return [row.pos_m, row.neg_m] if self._config.anchors and row.neg_m is not None else []

    def _ids(self, row: GrpoRow, plan_m: Float) -> list[int]:
        tokenizer = self._policy.processor.tokenizer
        text = answer(self._policy, plan_m, row.input.speed_mps, row.mask)
        return [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]

    def _sample(self, rows: Sequence[GrpoRow]) -> list[tuple[list[int], list[int]]]:
        """Prompt and completion ids; every row brings its pictures, for `generate` mixes up repeated ones."""
        policy, model = self._policy, self._policy.model
        tokenizer = policy.processor.tokenizer
        batch = policy.encode(
            [row.input for row in rows], [row.text for row in rows], frozen=policy.tower_frozen
        )
        was_training = model.training
        model.eval()
        with torch.no_grad():
            ids = model.generate(
                **model_inputs(batch),
                do_sample=True,
                temperature=self._config.temperature,
                top_k=0,
                max_new_tokens=self._config.max_completion_length,
                # An image token in a completion would want a picture; none of the specials belongs into a
                # plan.
                suppress_tokens=[i for i in tokenizer.all_special_ids if i != tokenizer.eos_token_id],
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        model.train(was_training)
        tails = ids[:, batch["input_ids"].shape[1] :].tolist()
        heads = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        end = tokenizer.eos_token_id
        return [
            (tokens[mask].tolist(), tail[: tail.index(end) + 1] if end in tail else tail)
            for (tokens, mask), tail in zip(heads, tails, strict=True)
        ]
