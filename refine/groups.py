"""Groups of completions for GRPO: N samples, K corrected plans, SafeAlign's positive and negative anchor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.encoder import ego_vector, model_inputs
from ..models.policy import Policy
from ..models.prompts import PromptMode
from ..vocabulary import PLAN_POINTS, Float
from .anchors import group_advantages
from .completion_rewards import RewardTerms, reward_terms
from .config import GrpoConfig
from .datasets import answer, head_fields
from .feedback import Threshold, first_better
from .group_scenes import GrpoRow
from .rewards import plan_rewards
from .teacher import Failure, RuleTeacher, Teacher

ANCHORS = 2
TERMS = ("quality", "form", "agreement", "negative", "recovery")


@dataclass(slots=True)
class _Group:
    """One scene and its rows: samples, places for corrected plans, anchors."""

    row: GrpoRow
    corrected: int
    anchors: int
    prompt: list[int] = field(default_factory=list)
    completions: list[list[int]] = field(default_factory=list)
    filled: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))  # (K,)
    terms: RewardTerms | None = None
    advantages: Tensor = field(default_factory=lambda: torch.zeros(0))


class Groups:
    """Samples, rewards and advantages of the scenes at hand; TRL calls `rollout` and the `reward_functions`.

    Rows of one scene lie together, `num_generations` of them. A takeover's group ends with K places for corrected
    plans and the two anchors; an uneventful scene has no negative, so all its rows are samples.

    Attributes:
        skipped: Groups without variance; they teach nothing.
        seen: Groups so far.
        refined: Groups whose best sample was below the threshold.
        filled: Corrected plans that took a place.
        threshold: Delta.
    """

    def __init__(
        self, policy: Policy, rows: Sequence[GrpoRow], config: GrpoConfig, teacher: Teacher | None = None
    ) -> None:
        self._policy, self._rows, self._config = policy, rows, config
        self._teacher = teacher or RuleTeacher()
        self._groups: list[_Group] = []
        self.threshold = Threshold(config.threshold, config.variant)
        self.skipped = self.seen = self.refined = self.filled = 0

    def begin(self, numbers: Sequence[int]) -> None:
        """Say which rows the next batch is made of, each `num_generations` times."""
        self._groups = [
            self._empty(self._rows[number]) for number in numbers[:: self._config.num_generations]
        ]

    def rollout(self, _prompts: list[Any], _trainer: Any) -> dict[str, Any]:
        """TRL's rollout function: sampled, corrected and injected completions under each scene's own prompt."""
        size = self._config.num_generations
        counts = [size - group.corrected - group.anchors for group in self._groups]
        wanted = [g.row for g, count in zip(self._groups, counts, strict=True) for _ in range(count)]
        sampled = iter(self._sample(wanted, [row.text for row in wanted]))
        for group, count in zip(self._groups, counts, strict=True):
            pairs = [next(sampled) for _ in range(count)]
            group.prompt, group.completions = pairs[0][0], [completion for _, completion in pairs]
        self._refine()
        for group in self._groups:
            self._inject(group)
            self._judge(group)
        return {
            "prompt_ids": [group.prompt for group in self._groups for _ in range(size)],
            "completion_ids": [ids for group in self._groups for ids in group.completions],
            "logprobs": None,
        }

    def reward_functions(self) -> list[Callable[..., list[float]]]:
        """One of TRL's reward functions for each term, so that each is in TRL's figures."""
        return [self._told(name) for name in TERMS]

    def reward_weights(self) -> list[float]:
        """Weights of the terms, in their order."""
        config = self._config
        return [
            1.0,
            config.format_weight,
            config.agreement_weight,
            -config.negative_weight,
            config.recovery_weight,
        ]

    def advantages(self) -> Tensor:
        """(B,) against the statistics of each group's samples and corrected plans alone (eq. 8)."""
        return torch.cat([group.advantages for group in self._groups])

    def counted(self) -> Tensor:
        """(B,) bool: rows that are in the loss and in its denominator.

        Not an empty place, and no row of a group without variance.
        """
        return torch.cat([self._here(group) & bool(group.advantages.any()) for group in self._groups])

    def injected(self) -> Tensor:
        """(B,) bool: rows that were not sampled from the prompt that drives."""
        size = self._config.num_generations
        return torch.cat(
            [torch.arange(size) >= size - group.corrected - group.anchors for group in self._groups]
        )

    def head_targets(self) -> dict[str, Tensor]:
        """What the head learns (B rows): the positive anchor, or the group's best where that earns more (eq. 11)."""
        size, variant = self._config.num_generations, self._config.variant
        targets: list[Float] = []
        masks: list[NDArray[np.bool_]] = []
        for group in self._groups:
            row, terms = group.row, _known(group)
            target, mask = row.pos_m, row.mask
            best = int(terms.quality.argmax())
            earned = plan_rewards(row.scene, row.pos_m[None], row.pos_m, row.neg_m, row.mask, variant)
            plan = terms.plans[best]
            if plan is not None and float(terms.quality[best]) > float(earned[0]):
                target, mask = plan, np.ones(PLAN_POINTS, np.bool_)
            targets += [target] * size
            masks += [mask] * size
        inputs = [group.row.input for group in self._groups for _ in range(size)]
        ego = torch.from_numpy(np.stack([ego_vector(item) for item in inputs]))
        return {**head_fields(targets, masks), "ego": ego}

    def figures(self) -> dict[str, float]:
        """For the stage's report."""
        return {
            "share_skipped_groups": self.skipped / max(1, self.seen),
            "refined_groups": float(self.refined),
            "corrected_rows": float(self.filled),
            "threshold": self.threshold.value,
        }

    def remember(self) -> dict[str, Any]:
        """What a checkpoint must hold; plain values. Between two steps no group is under way."""
        counts = [self.skipped, self.seen, self.refined, self.filled]
        return {"counts": counts, "threshold": self.threshold.remember()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `remember`."""
        self.skipped, self.seen, self.refined, self.filled = state["counts"]
        self.threshold.restore(state["threshold"])

    def _empty(self, row: GrpoRow) -> _Group:
        taken = row.neg_m is not None
        return _Group(
            row, self._config.feedback if taken else 0, ANCHORS if taken and self._config.anchors else 0
        )

    def _refine(self) -> None:
        """Step 3: analyse the worst sample of a group that is not good enough, ask again, keep what is better."""
        config, codec = self._config, self._policy.codec
        taken = [group for group in self._groups if group.corrected]
        if not taken:
            return
        terms = [reward_terms(g.row, self._texts(g.completions), codec, config) for g in taken]
        best = torch.tensor([float(t.quality.max()) for t in terms])
        if config.variant == "directional":
            published = [
                max(_published(g.row, t), default=float(b))
                for g, t, b in zip(taken, terms, best.tolist(), strict=True)
            ]
            self.threshold.observe(torch.tensor(published), best)
        failed, rows, texts = [], [], []
        for group, found, top in zip(taken, terms, best.tolist(), strict=True):
            failure = _failure(group.row, found)
            if top >= self.threshold.value or failure is None:
                continue
            row, bad = group.row, failure.bad_m
            text = self._policy.prompt(row.input, PromptMode.NEGATIVE, bad, self._teacher.analyse(failure))
            failed.append((group, top))
            rows += [row] * config.feedback_tries
            texts += [text] * config.feedback_tries
        self.refined += len(failed)
        tried = iter(self._sample(rows, texts) if rows else [])
        for group, top in failed:
            ids = [next(tried)[1] for _ in range(config.feedback_tries)]
            quality = reward_terms(group.row, self._texts(ids), codec, config).quality
            index, present = first_better(
                torch.from_numpy(quality)[None], torch.tensor([top]), config.feedback
            )
            group.completions += [ids[i] for i in index[0].tolist()]
            group.filled = present[0].numpy()

    def _inject(self, group: _Group) -> None:
        """Fill what the shape still asks for: empty places with a copy of the first sample, then the anchors."""
        row = group.row
        if len(group.filled) < group.corrected:
            group.completions += [group.completions[0]] * group.corrected
            group.filled = np.zeros(group.corrected, np.bool_)
        self.filled += int(group.filled.sum())
        if group.anchors and row.neg_m is not None:
            group.completions.append(self._ids(row, row.pos_m, row.reasoning_pos))
            group.completions.append(self._ids(row, row.neg_m, row.reasoning_neg))

    def _judge(self, group: _Group) -> None:
        """Rewards and advantages."""
        config = self._config
        group.terms = reward_terms(group.row, self._texts(group.completions), self._policy.codec, config)
        total = torch.from_numpy(group.terms.total(config))
        split = len(total) - group.anchors
        outside = total[split:] if group.anchors else total.new_zeros(ANCHORS)
        inner, outer = group_advantages(total[:split], outside, config.variant, self._here(group)[:split])
        found = torch.cat((inner, outer)) if group.anchors else inner
        # The published formula divides by zero in a group without variance.
        alive = bool(torch.isfinite(found).all() and inner.any())
        group.advantages = found if alive else torch.zeros_like(found)
        self.seen += 1
        self.skipped += int(not alive)

    def _here(self, group: _Group) -> Tensor:
        """(num_generations,) bool: no empty place."""
        here = torch.ones(self._config.num_generations, dtype=torch.bool)
        if group.corrected:
            start = len(here) - group.anchors - group.corrected
            here[start : start + group.corrected] = torch.from_numpy(group.filled)
        return here

    def _told(self, name: str) -> Callable[..., list[float]]:
        def function(completions: list[Any], **_: Any) -> list[float]:
            values = [float(v) for group in self._groups for v in getattr(_known(group), name)]
            assert len(values) == len(completions)
            return values

        function.__name__ = name
        return function

    def _texts(self, completions: Sequence[list[int]]) -> list[str]:
        return list(self._policy.processor.tokenizer.batch_decode(completions, skip_special_tokens=True))

    def _ids(self, row: GrpoRow, plan_m: Float, reasoning: str) -> list[int]:
        tokenizer = self._policy.processor.tokenizer
        text = answer(self._policy, plan_m, row.input.speed_mps, row.mask, reasoning if row.asked else "")
        return [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]

    def _sample(self, rows: Sequence[GrpoRow], texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """Prompt and completion ids; every row brings its pictures, for `generate` mixes up repeated ones."""
        policy, model = self._policy, self._policy.model
        tokenizer = policy.processor.tokenizer
        batch = policy.encode([row.input for row in rows], texts, frozen=policy.tower_frozen)
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


def _known(group: _Group) -> RewardTerms:
    if group.terms is None:
        raise RuntimeError("rewards are known after `rollout`")
    return group.terms


def _failure(row: GrpoRow, terms: RewardTerms) -> Failure | None:
    """The sample with the lowest eq. 11 that is a plan at all: nothing else can be analysed."""
    for i in terms.quality.argsort(kind="stable").tolist():
        plan = terms.plans[i]
        if plan is not None:
            return Failure(row.input, row.scene, plan, row.pos_m, row.visible, terms.reasoning[i])
    return None


def _published(row: GrpoRow, terms: RewardTerms) -> list[float]:
    """Published eq. 11 of the samples that are plans, to calibrate the threshold with."""
    plans = [plan for plan in terms.plans if plan is not None]
    if not plans or row.neg_m is None:
        return []
    found = plan_rewards(row.scene, np.stack(plans), row.pos_m, row.neg_m, row.mask, "published")
    return [float(value) for value in found]
