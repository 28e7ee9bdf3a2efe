"""The one file that knows model families: classes, processors, LoRA targets, what to freeze.

Stock `model_type`s are kept, so a generation's config is still readable by plain transformers. Checkpoints
are read as safetensors only and never with remote code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    AutoConfig,
    GenerationConfig,
    LlavaProcessor,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.conversion_mapping import (
    get_checkpoint_conversion_mapping,
    register_checkpoint_conversion_mapping,
)
from transformers.utils.logging import disable_progress_bar

from ..errors import PolicyError
from .actions import ActionCodec
from .heads import FlowConfig, HeadConfig
from .tiny import ConvTower, DrivingLlava, TinyConfig, build_tiny
from .vla import FLOW_HEAD, HEADS, DrivingMixin

disable_progress_bar()  # a bar for each load of a few megabytes hides the run's own

ADAPTER_FILE = "adapter_config.json"
NEW_TOKEN_SPREAD = 0.1  # of new embeddings, in standard deviations of the old ones
_PROJECTIONS = r"(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


class DrivingQwen2_5_VL(DrivingMixin, Qwen2_5_VLForConditionalGeneration):
    """Qwen2.5-VL that drives."""


class DrivingQwen3VL(DrivingMixin, Qwen3VLForConditionalGeneration):
    """Qwen3-VL that drives."""


# Qwen2.5-VL's checkpoints have older names for their weights. Transformers looks its table of them up by the class's
# name, so without this a stock checkpoint would come in without its language model.
register_checkpoint_conversion_mapping(
    DrivingQwen2_5_VL.__name__,
    get_checkpoint_conversion_mapping(Qwen2_5_VLForConditionalGeneration.__name__),
    overwrite=True,
)


class _WithoutVideo:
    """A Qwen processor without its video part, which insists on torchvision.

    `ProcessorMixin` derives the sub-processors from the signature of `__init__`.
    """

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None, **_: Any
    ) -> None:
        for name, token in (
            ("image_token", "<|image_pad|>"),
            ("video_token", "<|video_pad|>"),
            ("vision_start_token", "<|vision_start|>"),
            ("vision_end_token", "<|vision_end|>"),
        ):
            setattr(self, name, token)
            setattr(self, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


class Qwen2_5ImageTextProcessor(_WithoutVideo, Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor for pictures and text."""


class Qwen3ImageTextProcessor(_WithoutVideo, Qwen3VLProcessor):
    """Qwen3-VL's processor for pictures and text."""


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between model families."""

    model: type[PreTrainedModel]
    processor: type[ProcessorMixin]
    vision: str  # prefix of the parameters that see
    pixels: Callable[[Any, NDArray[np.uint8]], dict[str, Tensor]]
    verbose_prompt: bool  # a pretrained backbone gets the numbers explained


def _normalised(image_processor: Any, images: NDArray[np.uint8]) -> dict[str, Tensor]:
    """The stock CLIP normalisation without its per-picture overhead: (N, H, W, 3) -> (N, 3, H, W) float32."""
    if image_processor.do_resize or image_processor.do_center_crop:
        return dict(image_processor(images=list(images), return_tensors="pt"))
    mean = torch.tensor(image_processor.image_mean) * 255.0
    std = torch.tensor(image_processor.image_std) * 255.0
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float().sub_(mean).div_(std)
    return {"pixel_values": pixels.permute(0, 3, 1, 2)}


def _patches(image_processor: Any, images: NDArray[np.uint8]) -> dict[str, Tensor]:
    return dict(image_processor(images=list(images), return_tensors="pt"))


FAMILIES: dict[str, Family] = {
    "llava": Family(DrivingLlava, LlavaProcessor, "model.vision_tower", _normalised, verbose_prompt=False),
    "qwen2_5_vl": Family(
        DrivingQwen2_5_VL, Qwen2_5ImageTextProcessor, "model.visual", _patches, verbose_prompt=True
    ),
    "qwen3_vl": Family(
        DrivingQwen3VL, Qwen3ImageTextProcessor, "model.visual", _patches, verbose_prompt=True
    ),
}


@dataclass(frozen=True, slots=True)
class Backbone:
    """A driving model with its processor."""

    model: Any  # DrivingMixin and PreTrainedModel
    processor: Any
    family: Family

    @property
    def tower(self) -> torch.nn.Module:
        """The part that sees."""
        tower: torch.nn.Module = self.model.get_submodule(self.family.vision)
        return tower

    def pixels(self, images: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Model inputs of pictures (N, H, W, 3), equal to the processor's."""
        return self.family.pixels(self.processor.image_processor, images)


def settle(model: Any) -> None:
    """End a fresh tower's use of batch statistics: train and eval are the same function from now on."""
    for module in model.modules():
        if isinstance(module, ConvTower):
            module.settle()


def tiny_backbone(seed: int, config: TinyConfig, codec: ActionCodec) -> Backbone:
    """A fresh tiny policy."""
    model, processor = build_tiny(seed, config, codec)
    _fast_convolutions(model)
    return Backbone(model, processor, FAMILIES["llava"])


def load_backbone(
    path: str | Path,
    codec: ActionCodec,
    *,
    dtype: torch.dtype = torch.float32,
    head: HeadConfig | None = None,
    flow: bool = False,
    seed: int = 0,
) -> Backbone:
    """Load a checkpoint directory or a hub id, whether it drives already or not.

    A stock checkpoint gets action tokens and a fresh head. A directory with a LoRA adapter is merged onto
    its base.

    Args:
        path: Directory in the hub's layout, an adapter directory, or a hub id.
        codec: Action tokens to add if they are missing.
        dtype: Of the backbone; the heads stay float32.
        head: Shape of a fresh head.
        flow: Give the model a fresh `flow` head if it has none.
        seed: Of fresh heads and of new embeddings.

    Raises:
        PolicyError: The checkpoint cannot be read, lacks weights, or its family is unknown.
    """
    location = str(path)
    try:
        if (Path(location) / ADAPTER_FILE).is_file():
            return _load_adapter(Path(location), codec, dtype=dtype, head=head, flow=flow, seed=seed)
        config = AutoConfig.from_pretrained(location, trust_remote_code=False)
        family = FAMILIES.get(config.model_type)
        if family is None:
            raise PolicyError(
                f"{location} is a {config.model_type} model",
                fix="Use one of: " + ", ".join(sorted(FAMILIES)) + ".",
            )
        stock = not getattr(config, "driving", None)
        if stock:
            config.driving = asdict(head or HeadConfig())
        if flow and not config.driving.get("flow"):
            config.driving = {**config.driving, "flow": asdict(FlowConfig())}
        processor = family.processor.from_pretrained(location)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model, found = family.model.from_pretrained(
                location,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            _refuse_gaps(location, found["missing_keys"])
            add_action_tokens(model, processor, codec)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise PolicyError(
            f"cannot load {location}: {error}",
            fix="Give a checkpoint directory in the hub's layout, with safetensors.",
        ) from error
    if stock:
        model.generation_config = _plain(model.generation_config)
    for name in heads_of(model):
        model.get_submodule(name).float()
    settle(model)
    _fast_convolutions(model)
    _share_chat_template(processor)
    return Backbone(model.eval(), processor, family)


def _refuse_gaps(location: str, missing: Iterable[str]) -> None:
    """Refuse a checkpoint without all of the backbone: transformers draws what it lacks, and only warns.

    Raises:
        PolicyError: Something other than a head is missing.
    """
    gaps = sorted(name for name in missing if not name.startswith(HEADS))
    if gaps:
        raise PolicyError(
            f"{location} lacks {len(gaps)} weights of the backbone, {gaps[0]} among them",
            fix="Give a whole checkpoint, under the names that this version of transformers knows.",
        )


def _plain(chat: GenerationConfig) -> GenerationConfig:
    """The tokens of a chat model's settings; its penalties and cuts would bend plans, which repeat themselves."""
    return GenerationConfig(
        bos_token_id=chat.bos_token_id, eos_token_id=chat.eos_token_id, pad_token_id=chat.pad_token_id
    )


def _load_adapter(
    path: Path, codec: ActionCodec, *, dtype: torch.dtype, head: HeadConfig | None, flow: bool, seed: int
) -> Backbone:
    from peft import PeftConfig, PeftModel

    adapter = PeftConfig.from_pretrained(str(path))
    base = adapter.base_model_name_or_path
    if not base:
        raise PolicyError(
            f"{path} does not name its base model", fix="Save the adapter with its base's path or hub id."
        )
    flow = flow or FLOW_HEAD in (getattr(adapter, "modules_to_save", None) or ())
    backbone = load_backbone(base, codec, dtype=dtype, head=head, flow=flow, seed=seed)
    merged = PeftModel.from_pretrained(backbone.model, str(path), use_safetensors=True).merge_and_unload()
    return Backbone(merged.eval(), backbone.processor, backbone.family)


def heads_of(model: Any) -> list[str]:
    """Names of the heads that a model has."""
    return [name for name in HEADS if hasattr(model, name)]


def add_action_tokens(model: Any, processor: Any, codec: ActionCodec) -> None:
    """Give tokenizer and model the codec's tokens; new embeddings start near the mean of the old ones."""
    tokenizer = processor.tokenizer
    known = len(tokenizer)
    new = [token for token in codec.tokens if token not in tokenizer.get_vocab()]
    # Not as special tokens: TRL decodes without those, and reward functions must see the actions.
    tokenizer.add_tokens(new, special_tokens=False)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if not new:
        return
    rows = tokenizer.convert_tokens_to_ids(new)
    weights = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    for weight in weights[:1] if weights[0] is weights[1] else weights:
        with torch.no_grad():
            old = weight[:known].float()
            drawn = torch.randn(len(rows), old.shape[1]).to(old.device)
            weight[rows] = (old.mean(dim=0) + NEW_TOKEN_SPREAD * old.std(dim=0) * drawn).to(weight.dtype)


def lora_config(
    backbone: Backbone, codec: ActionCodec, *, rank: int, alpha: int, dropout: float = 0.0
) -> Any:
    """LoRA on the language model's projections; the heads and the action tokens' embeddings train in full."""
    from peft import LoraConfig

    tokens = backbone.processor.tokenizer.convert_tokens_to_ids(codec.tokens)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=rf".*language_model.*\.{_PROJECTIONS}",
        modules_to_save=heads_of(backbone.model),  # without it they are lost silently
        trainable_token_indices={"embed_tokens": tokens},
        task_type="CAUSAL_LM",
    )


def freeze(backbone: Backbone, part: str) -> None:
    """Choose what trains.

    Args:
        backbone: Whose parameters.
        part: `none`, `vision` (the tower) or `backbone` (all but the heads).
    """
    if part not in ("none", "vision", "backbone"):
        raise ValueError(f"part is none, vision or backbone, not {part!r}")
    for name, parameter in backbone.model.named_parameters():
        frozen = part == "backbone" or (part == "vision" and name.startswith(backbone.family.vision))
        parameter.requires_grad_(not frozen or name.startswith(HEADS))


def _fast_convolutions(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, ConvTower):
            module.to(memory_format=torch.channels_last)


def _share_chat_template(processor: Any) -> None:
    template = processor.chat_template or processor.tokenizer.chat_template
    if not template:
        raise PolicyError("the checkpoint has no chat template", fix="Use an instruction-tuned checkpoint.")
    processor.chat_template = processor.tokenizer.chat_template = template
    processor.tokenizer.padding_side = "left"
