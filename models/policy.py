"""`Policy`: the runtime around a driving model. Images, odometry and command in; plans out."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from ..errors import PolicyError
from ..vocabulary import PLAN_POINTS, PLAN_STEP_S, Analysis, Float, Plan, PolicyInput
from .actions import ACCEL_MPS2, CURVATURE_PM, ActionCodec
from .backbone import Backbone, load_backbone, tiny_backbone
from .encoder import Encoder, model_inputs
from .flow import FlowHead
from .heads import ActionHead, FlowConfig
from .pictures import DRIVING, SeenPictures
from .prompts import PromptMode, write_answer
from .threads import apply_threads
from .tiny import TinyConfig

POLICY_FILE = "policy.json"
DECODERS = ("mlp", "flow", "tokens")
MAX_STEP_M = 60.0 * PLAN_STEP_S  # a waypoint farther than this from the one before is no plan


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """What the runtime must know beside the weights; kept as `policy.json` in the checkpoint."""

    decoder: str = "mlp"
    frames: int = 2
    views: int = 1
    width_px: int = 192
    height_px: int = 96
    text_tokens: int = 34  # the longest prompt text seen in 20,000 wild states has 32
    batch_size: int = 2  # what a cohort of the fleet asks for at once
    reason_tokens: int = 160
    accel_mps2: tuple[float, ...] = ACCEL_MPS2
    curvature_pm: tuple[float, ...] = CURVATURE_PM


class Policy:
    """A VLA that plans.

    Attributes:
        model: The driving model; trainers change its weights in place.
        processor: The transformers processor.
        codec: Action tokens.
        config: Decoder and input shape.
    """

    def __init__(self, backbone: Backbone, config: PolicyConfig) -> None:
        if config.decoder not in DECODERS:
            raise PolicyError(
                f"decoder {config.decoder!r} is unknown", fix="Use one of: " + ", ".join(DECODERS) + "."
            )
        if config.decoder == "flow" and not backbone.model.has_flow_head:
            raise PolicyError("the model has no flow head", fix='Load it with decoder="flow": it gets one.')
        self.backbone = backbone
        self.config = config
        self.codec = ActionCodec(config.accel_mps2, config.curvature_pm)
        action_ids: list[int] = backbone.processor.tokenizer.convert_tokens_to_ids(self.codec.tokens)
        self.encoder = Encoder(
            backbone,
            frames=config.frames,
            views=config.views,
            width_px=config.width_px,
            height_px=config.height_px,
            text_tokens=config.text_tokens,
            actions=action_ids,
        )
        self._action_ids = torch.tensor(action_ids)
        self._seen = SeenPictures(DRIVING, config.batch_size)

    @property
    def model(self) -> Any:
        """The driving model."""
        return self.backbone.model

    @model.setter
    def model(self, model: Any) -> None:
        self.backbone = replace(self.backbone, model=model)
        self.encoder.backbone = self.backbone

    @property
    def processor(self) -> Any:
        """The transformers processor."""
        return self.backbone.processor

    def share_pictures(self, seen: SeenPictures | None) -> SeenPictures:
        """Use, from now on, what another policy's tower has made of pictures, if it was the same; None: its own."""
        if seen is not None:
            self.encoder.seen = seen
        return self.encoder.seen

    @property
    def tower_frozen(self) -> bool:
        """Whether nothing in the tower learns."""
        return not any(weight.requires_grad for weight in self.backbone.tower.parameters())

    @property
    def decoder(self) -> str:
        """The decoder that drives: `mlp`, `flow` or `tokens`."""
        return self.config.decoder

    @property
    def driving_head(self) -> ActionHead | FlowHead:
        """The head that drives; beside `tokens` the `mlp` head."""
        head: ActionHead | FlowHead = (
            self.model.flow_head if self.decoder == "flow" else self.model.action_head
        )
        return head

    @property
    def reads_reasoning(self) -> bool:
        """Whether the heads' context is `prompt+reasoning`: then a plan waits for generated text."""
        return bool(self.model.head_config.context == "prompt+reasoning")

    @classmethod
    def tiny(
        cls,
        seed: int = 0,
        config: PolicyConfig | None = None,
        tiny: TinyConfig | None = None,
        *,
        context: str | None = None,
        flow: bool = False,
    ) -> Policy:
        """A fresh tiny policy with random weights; context and flow as in `load`."""
        config = config or PolicyConfig()
        tiny = replace(tiny or TinyConfig(), width_px=config.width_px, height_px=config.height_px)
        if (flow or config.decoder == "flow") and tiny.head.flow is None:
            tiny = replace(tiny, head=replace(tiny.head, flow=FlowConfig()))
        apply_threads()
        backbone = tiny_backbone(seed, tiny, ActionCodec(config.accel_mps2, config.curvature_pm))
        if context is not None:
            backbone.model.set_context(context)
        return cls(backbone, config)

    @classmethod
    def load(
        cls,
        path: str | Path,
        decoder: str | None = None,
        *,
        context: str | None = None,
        flow: bool = False,
        config: PolicyConfig | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> Policy:
        """Load one of our checkpoints, or a stock checkpoint by directory or hub id.

        Args:
            path: Directory or hub id.
            decoder: Overrides the checkpoint's decoder.
            context: Overrides what the heads read, one of `heads.CONTEXTS`.
            flow: Give it a `flow` head even if another decoder drives.
            config: For a checkpoint without `policy.json`.
            device: Where to plan.
            dtype: Of the backbone.
            seed: Of fresh heads.

        Raises:
            PolicyError: It cannot be loaded.
        """
        file = Path(path) / POLICY_FILE
        if file.is_file():
            config = _read_config(file)
        config = config or PolicyConfig(text_tokens=192)
        if decoder is not None:
            config = replace(config, decoder=decoder)
        apply_threads()
        codec = ActionCodec(config.accel_mps2, config.curvature_pm)
        flow = flow or config.decoder == "flow"
        backbone = load_backbone(path, codec, dtype=dtype, flow=flow, seed=seed)
        if context is not None:
            backbone.model.set_context(context)
        backbone.model.to(device)
        return cls(backbone, config)

    def save(self, folder: str | Path) -> Path:
        """Write weights (safetensors), processor and `policy.json` in the hub's layout."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        (folder / POLICY_FILE).write_text(json.dumps(asdict(self.config), indent=1) + "\n", encoding="utf-8")
        return folder

    def prompt(
        self,
        inputs: PolicyInput,
        mode: PromptMode = PromptMode.PLAN,
        negative_m: Float | None = None,
        analysis: str | Analysis = "",
    ) -> str:
        """The user's turn, without image placeholders."""
        return self.encoder.text(inputs, mode, negative_m, analysis)

    def answer(self, waypoints_m: Float, speed_mps: float, reasoning: str = "", mask: Any = None) -> str:
        """The assistant's turn for a trajectory: C-CoT if given, then the nearest action tokens."""
        return write_answer(
            self.codec.text(self.codec.encode(waypoints_m, speed_mps, mask).actions), reasoning
        )

    def encode(
        self,
        inputs: Sequence[PolicyInput],
        texts: Sequence[str] | None = None,
        answers: Sequence[str] | None = None,
        *,
        width: int | None = None,
        frozen: bool = False,
        seen: SeenPictures | None = None,
    ) -> dict[str, Tensor]:
        """Tensors for trainers; see `Encoder.encode`. Without texts, `plan` prompts."""
        texts = [self.prompt(item) for item in inputs] if texts is None else texts
        batch = self.encoder.encode(
            inputs,
            texts,
            answers,
            width=width,
            heads_read_reasoning=self.reads_reasoning,
            frozen=frozen,
            seen=seen,
        )
        return {key: value.to(self.model.device) for key, value in batch.items()}

    def encode_context(
        self,
        inputs: Sequence[PolicyInput],
        texts: Sequence[str] | None = None,
        reasonings: Sequence[str] | None = None,
        *,
        width: int | None = None,
        frozen: bool = False,
        seen: SeenPictures | None = None,
    ) -> dict[str, Tensor]:
        """Tensors of what the heads read when they drive: the prompt, and what the model says to it if they read that.

        Args:
            inputs: The scenes.
            texts: Their prompts; without them those that the context asks for.
            reasonings: What the model says; generated if absent and read.
            width: Length of the prompts' texts, for a shape that never changes.
            frozen: As in `Encoder.encode`.
            seen: As in `Encoder.encode`.
        """
        if not self.reads_reasoning:
            return self.encode(inputs, texts, width=width, frozen=frozen, seen=seen)
        if texts is None:
            texts = [self.prompt(item, PromptMode.REASON) for item in inputs]
        if reasonings is None:
            reasonings = self.reasonings(inputs, texts, width=width, frozen=frozen)
        batch = self.encoder.encode(
            inputs,
            texts,
            width=width,
            reasonings=reasonings,
            reason_tokens=self.config.reason_tokens,
            heads_read_reasoning=True,
            frozen=frozen,
            seen=seen,
        )
        return {key: value.to(self.model.device) for key, value in batch.items()}

    def head_plans(self, batch: dict[str, Tensor]) -> Tensor:
        """Plans (B, 8, 2) in metres of the driving head (`mlp` beside `tokens`) for an encoded batch; differentiable."""
        states = self.model.states(model_inputs(batch))
        return self.head_plans_of(states.last, states.layers, batch["prompt_mask"], batch["ego"])

    def head_plans_of(self, last: Tensor, layers: Tensor | None, mask: Tensor, ego: Tensor) -> Tensor:
        """As `head_plans`, of states that are known: (B, T, D), (B, T, L, D), (B, T), (B, EGO_DIM) -> (B, 8, 2)."""
        if self.decoder == "flow":
            return self.model.flow_head(layers, mask, ego)
        return self.model.action_head(last, mask, ego)

    def try_plan(
        self, inputs: Sequence[PolicyInput], generation: str, ticks: Sequence[int] | None = None
    ) -> list[Plan | None]:
        """Plan for each scene; None where the plan is not finite or not drivable.

        Scenes are planned in batches of constant shape, so that a plan does not depend on its neighbours.
        """
        apply_threads()
        ticks = [0] * len(inputs) if ticks is None else ticks
        size = self.config.batch_size
        tracks: list[Float] = []
        for start in range(0, len(inputs), size):
            group = list(inputs[start : start + size])
            padded = group + [group[-1]] * (size - len(group))
            tracks.extend(self._plan_batch(padded)[: len(group)])
        return [
            Plan(track, tick, generation) if usable(track) else None
            for track, tick in zip(tracks, ticks, strict=True)
        ]

    def plan(
        self, inputs: Sequence[PolicyInput], generation: str, ticks: Sequence[int] | None = None
    ) -> list[Plan]:
        """Plan for each scene.

        Raises:
            PolicyError: A plan is not finite or not drivable.
        """
        plans = self.try_plan(inputs, generation, ticks)
        good = [plan for plan in plans if plan is not None]
        if len(good) < len(plans):
            bad = [index for index, plan in enumerate(plans) if plan is None]
            raise PolicyError(
                f"unusable plan for scene {bad} of {len(plans)}", fix="Roll back to the previous champion."
            )
        return good

    def reason(self, inputs: Sequence[PolicyInput]) -> list[str]:
        """Generate C-CoT and action tokens as text, greedily."""
        if not inputs:
            return []
        batch = self.encode(inputs, [self.prompt(item, PromptMode.REASON) for item in inputs])
        ids = self._generate(batch, max_new_tokens=self.config.reason_tokens)
        return list(self.processor.tokenizer.batch_decode(ids, skip_special_tokens=True))

    def reasonings(
        self,
        inputs: Sequence[PolicyInput],
        texts: Sequence[str],
        *,
        width: int | None = None,
        frozen: bool = False,
    ) -> list[str]:
        """What the model says to prompts before its first action token, greedily."""
        end = self.processor.tokenizer.eos_token_id
        stops = [end, *self._action_ids.tolist()]
        batch = self.encode(inputs, texts, width=width, frozen=frozen)
        ids = self._generate(batch, max_new_tokens=self.config.reason_tokens, eos_token_id=stops)
        kept = [row[: _first(row, set(stops))] for row in ids.tolist()]
        return list(self.processor.tokenizer.batch_decode(kept, skip_special_tokens=True))

    def _plan_batch(self, inputs: Sequence[PolicyInput]) -> list[Float]:
        was_training = self.model.training
        self.model.eval()
        try:
            if self.decoder != "tokens":
                with torch.inference_mode():
                    batch = self.encode_context(
                        inputs, width=self.config.text_tokens, frozen=True, seen=self._seen
                    )
                    return list(self.head_plans(batch).float().cpu().numpy())
            batch = self.encode(inputs, width=self.config.text_tokens)
            allowed = _OnlyActions(self._action_ids.to(self.model.device))
            ids = self._generate(batch, max_new_tokens=PLAN_POINTS, logits_processor=[allowed])
            actions = torch.searchsorted(self._action_ids, ids.cpu().contiguous()).numpy()
            return [self.codec.decode(row, item.speed_mps) for row, item in zip(actions, inputs, strict=True)]
        finally:
            self.model.train(was_training)

    def _generate(self, batch: dict[str, Tensor], **options: Any) -> Tensor:
        prompt = model_inputs(batch)
        with torch.inference_mode():
            ids = self.model.generate(
                **prompt,
                **{
                    "do_sample": False,
                    "pad_token_id": self.processor.tokenizer.pad_token_id,
                    "eos_token_id": self.processor.tokenizer.eos_token_id,
                    **options,
                },
            )
        return ids[:, prompt["input_ids"].shape[1] :]


class _OnlyActions(LogitsProcessor):
    """Masks every token that is no action."""

    def __init__(self, ids: Tensor) -> None:
        self.ids = ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Keep the action tokens' scores."""
        masked = torch.full_like(scores, -torch.inf)
        return masked.index_copy(1, self.ids, scores.index_select(1, self.ids))


def _first(ids: Sequence[int], wanted: Collection[int]) -> int:
    """Where the first of some tokens stands, or the length."""
    return next((i for i, token in enumerate(ids) if token in wanted), len(ids))


def usable(track_m: Float) -> bool:
    """Whether (8, 2) waypoints are finite and no car would have to jump to follow them."""
    if track_m.shape != (PLAN_POINTS, 2) or not np.isfinite(track_m).all():
        return False
    steps = np.diff(track_m, axis=0, prepend=np.zeros((1, 2), track_m.dtype))
    return bool((np.abs(steps) <= MAX_STEP_M).all())


def _read_config(file: Path) -> PolicyConfig:
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return PolicyConfig(**values)
    except (ValueError, TypeError) as error:
        raise PolicyError(
            f"{file} is damaged: {error}", fix="Take the checkpoint from the registry again."
        ) from error
