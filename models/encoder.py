"""Policy inputs -> model inputs, equal to what the processor makes of them, at a fraction of its cost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import PolicyError
from ..vocabulary import Analysis, Command, Float, PolicyInput
from .backbone import Backbone
from .heads import HISTORY_SCALE
from .pictures import SeenPictures
from .prompts import PromptMode, prompt_text

WIDTH_STEP = 64  # few different shapes, each of which gives a text the same states whatever stands beside it
_SENTINEL = "PROMPT-TEXT-GOES-HERE"
_COMMANDS = list(Command)


def ego_vector(inputs: PolicyInput) -> Float:
    """Odometry and command as numbers of order one, (EGO_DIM,) float32."""
    motion = (inputs.speed_mps / 10.0, inputs.accel_mps2 / 3.0, inputs.yaw_rate_radps / 0.3)
    history = inputs.history_m_rad / np.array(HISTORY_SCALE, np.float32)
    command = [float(inputs.command is word) for word in _COMMANDS]
    return np.concatenate([motion, history.ravel(), command]).astype(np.float32)


class Encoder:
    """Builds prompts from ids: a cached prefix with the image tokens, the prompt's text, a cached suffix.

    The pictures are newest last; with more frames than the policy looks at, the newest are taken.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        frames: int,
        views: int,
        width_px: int,
        height_px: int,
        text_tokens: int,
        actions: Collection[int],
    ) -> None:
        self.backbone = backbone
        self.frames, self.views = frames, views
        self.width_px, self.height_px = width_px, height_px
        self.text_tokens = text_tokens
        self.tokenizer = backbone.processor.tokenizer
        self.seen = SeenPictures()
        self._actions = frozenset(actions)
        before, after = self._render(_SENTINEL).split(_SENTINEL)
        blank = [np.zeros((height_px, width_px, 3), np.uint8)] * (frames * views)
        prefix = backbone.processor(
            images=[blank], text=[before], add_special_tokens=False, return_tensors="pt"
        )
        self._prefix: list[int] = prefix["input_ids"][0].tolist()
        # Fields beside the ids that run along the sequence (Qwen's token types): zero on text.
        self._along = {
            key: value[0].tolist()
            for key, value in prefix.items()
            if key not in ("input_ids", "attention_mask") and value.shape == prefix["input_ids"].shape
        }
        self._suffix: list[int] = self.tokenizer.encode(after, add_special_tokens=False)

    def _render(self, text: str) -> str:
        content = [{"type": "image"}] * (self.frames * self.views) + [{"type": "text", "text": text}]
        return self.backbone.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )

    @property
    def prompt_length(self) -> int:
        """Tokens of a padded `plan` prompt."""
        return len(self._prefix) + self.text_tokens + len(self._suffix)

    def text_widths(self, texts: Sequence[str]) -> list[int]:
        """Lengths to pad texts to: `text_tokens`, or the next multiple of WIDTH_STEP for a longer one."""
        sizes = [len(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
        step = WIDTH_STEP
        return [self.text_tokens if n <= self.text_tokens else -(-n // step) * step for n in sizes]

    def text(
        self,
        inputs: PolicyInput,
        mode: PromptMode = PromptMode.PLAN,
        negative_m: Float | None = None,
        analysis: str | Analysis = "",
    ) -> str:
        """The user's turn, as TRL datasets want it (without image placeholders)."""
        verbose = self.backbone.family.verbose_prompt
        return prompt_text(inputs, mode, negative_m=negative_m, analysis=analysis, verbose=verbose)

    def pictures(self, inputs: PolicyInput) -> NDArray[np.uint8]:
        """The pictures that the policy looks at: (frames * views, H, W, 3), oldest frame first."""
        images = inputs.images
        wanted = (self.views, self.height_px, self.width_px, 3)
        if images.ndim != 5 or images.shape[1:] != wanted or len(images) < self.frames:
            raise PolicyError(
                f"pictures of shape {images.shape}, the policy needs {self.frames} or more of {wanted}",
                fix="Drive with the camera set that the generation was made for.",
            )
        return images[-self.frames :].reshape(-1, *wanted[1:])

    def encode(
        self,
        inputs: Sequence[PolicyInput],
        texts: Sequence[str],
        answers: Sequence[str] | None = None,
        *,
        width: int | None = None,
        reasonings: Sequence[str] | None = None,
        reason_tokens: int = 0,
        heads_read_reasoning: bool = False,
        frozen: bool = False,
        seen: SeenPictures | None = None,
    ) -> dict[str, Tensor]:
        """Model inputs of a batch.

        Args:
            inputs: The scenes.
            texts: The user's turn of each.
            answers: The assistant's turn of each, for training; an end token is added.
            width: Pad texts to this length, so that the shape never changes; without it to the longest.
            reasonings: In place of answers: how far the assistant's turn has come, for the heads to read.
            reason_tokens: Reasonings are cut to this length, and with `width` padded to it.
            heads_read_reasoning: Whether the heads read an answer's tokens before its first action too.
            frozen: Nothing learns in the tower, so what it makes of the pictures is looked up where it can be.
            seen: Where; without it among the pictures of training.

        Returns:
            input_ids, attention_mask (B, T), pixel fields, ego (B, EGO_DIM), prompt_mask (B, T), and with
            answers labels (B, T), -100 on the prompt. Prompts are padded on the left, answers on the right.
            prompt_mask is true on what the heads read: the prompt, and the reasoning if they read it.

        Raises:
            PolicyError: A text is longer than `width`, or a scene's pictures are of another camera set.
        """
        bodies = list(self.tokenizer(list(texts), add_special_tokens=False)["input_ids"])
        longest = max(len(ids) for ids in bodies)
        if width is not None and longest > width:
            raise PolicyError(
                f"a prompt text of {longest} tokens, the limit is {width}",
                fix="Raise text_tokens of the policy.",
            )
        constant = width is not None
        width = width or longest
        tails: list[list[int]] = [[]] * len(bodies)
        if answers is not None:
            end = self.tokenizer.eos_token_id
            tails = [
                [*ids, end] for ids in self.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
            ]
        if reasonings is not None:
            said = self.tokenizer(list(reasonings), add_special_tokens=False)["input_ids"]
            tails = [ids[:reason_tokens] for ids in said]
        tail_width = reason_tokens if constant and reasonings is not None else max(len(ids) for ids in tails)
        pad = self.tokenizer.pad_token_id
        rows: dict[str, list[list[int]]] = {
            "input_ids": [],
            "attention_mask": [],
            "prompt_mask": [],
            "labels": [],
        }
        rows.update({key: [] for key in self._along})
        for body, tail in zip(bodies, tails, strict=True):
            left, right = width - len(body), tail_width - len(tail)
            prompt = [*self._prefix, *body, *self._suffix]
            rows["input_ids"].append([pad] * left + prompt + tail + [pad] * right)
            rows["attention_mask"].append([0] * left + [1] * (len(prompt) + len(tail)) + [0] * right)
            read = self._reasoning_length(tail) if heads_read_reasoning else 0
            rows["prompt_mask"].append([0] * left + [1] * (len(prompt) + read) + [0] * (tail_width - read))
            rows["labels"].append([-100] * (left + len(prompt)) + tail + [-100] * right)
            for key, values in self._along.items():
                rows[key].append([0] * left + values + [0] * (len(prompt) - len(values) + tail_width))
        if answers is None:
            del rows["labels"]
        batch: dict[str, Tensor] = {key: torch.tensor(value) for key, value in rows.items()}
        images = np.concatenate([self.pictures(item) for item in inputs])
        if frozen and self.seen.serves(self.backbone):
            batch["pixel_values"] = (seen or self.seen).tokens(self.backbone, images)
        else:
            batch.update(self.backbone.pixels(images))
        batch["ego"] = torch.from_numpy(np.stack([ego_vector(item) for item in inputs]))
        return batch

    def _reasoning_length(self, ids: Sequence[int]) -> int:
        """How many tokens of an answer come before its first action and its end."""
        end = self.tokenizer.eos_token_id
        return next((i for i, token in enumerate(ids) if token == end or token in self._actions), len(ids))


def model_inputs(batch: dict[str, Any]) -> dict[str, Any]:
    """What the backbone itself takes of an encoded batch."""
    return {key: value for key, value in batch.items() if key not in ("ego", "prompt_mask", "labels")}
