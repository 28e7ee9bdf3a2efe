"""The `tiny` preset: stock LLaVA classes, a small convolutional tower, and a tokenizer trained on the spot.

It learns its task in minutes on one core, where a vision transformer from scratch needs many times that.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from .actions import ActionCodec
from .heads import HeadConfig
from .prompts import corpus
from .vla import HEADS, DrivingMixin

STRIDE_PX = 32
PATCH_PX = 4
BRANCH_GAIN = 0.1  # of the weights that end a residual branch of the language model
PAD, END, USER, ASSISTANT, SYSTEM, IMAGE = (
    "<|pad|>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<image>",
)
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>"
    "{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """Size of the tiny policy."""

    width_px: int = 192
    height_px: int = 96
    # Patches of 4 pixels, then one stage per halving: total stride 32.
    channels: tuple[int, ...] = (32, 64, 96, 128)
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    intermediate: int = 256
    vocab: int = 768  # before the action tokens
    head: HeadConfig = field(default_factory=HeadConfig)


@strict
class ConvTowerConfig(PreTrainedConfig):
    """Shape of the convolutional tower; `hidden_size` is the width of its tokens."""

    model_type = "takeover_conv_tower"

    channels: list[int] | None = None
    hidden_size: int = 128
    image_height: int = 96
    image_width: int = 192
    initializer_range: float = 0.02


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.relu(self.norm(self.conv(x)))


class _Stage(nn.Module):
    """Halve the picture, then one residual convolution where it is cheap."""

    def __init__(self, inputs: int, outputs: int, *, residual: bool) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = _Residual(outputs) if residual else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(nn.functional.relu(self.norm(self.down(x))))


class ConvTower(PreTrainedModel):
    """Pictures (B, 3, H, W) -> tokens (B, H/32 * W/32, hidden), row by row, with a learned position each.

    Batch statistics make it see in a few hundred steps (without them: a walker is found much later), but a
    policy that differs between `train()` and `eval()` spoils DPO's reference and GRPO's ratios. So they are
    used only by a fresh tower in its bootstrap; `settle` fixes them for good, and a loaded tower is
    settled.
    """

    config: ConvTowerConfig
    config_class = ConvTowerConfig
    main_input_name = "pixel_values"
    base_model_prefix = "tower"

    def __init__(self, config: ConvTowerConfig) -> None:
        super().__init__(config)
        assert config.channels is not None
        first, last = config.channels[0], config.channels[-1]
        # Folding 4 x 4 pixels into channels halves a training step: full-size feature maps cost memory, not sums.
        self.patches = nn.Sequential(
            nn.PixelUnshuffle(PATCH_PX),
            nn.Conv2d(3 * PATCH_PX**2, first, 3, padding=1),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        )
        self.stages = nn.Sequential(
            *(_Stage(a, b, residual=i < 2) for i, (a, b) in enumerate(itertools.pairwise(config.channels)))
        )
        self.out = nn.Linear(last, config.hidden_size)
        tokens = (config.image_height // STRIDE_PX) * (config.image_width // STRIDE_PX)
        self.position = nn.Parameter(torch.zeros(1, tokens, config.hidden_size))
        self.settled = False
        self.post_init()

    def settle(self) -> None:
        """Use the running statistics from now on, in training too."""
        self.settled = True
        self.train(self.training)

    def train(self, mode: bool = True) -> ConvTower:
        """Switch training on or off; a settled tower's norms stay as in evaluation."""
        super().train(mode)
        if self.settled:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Run the tower; `hidden_states` holds one layer, as LLaVA's feature selection asks.

        Args:
            pixel_values: (B, 3, H, W) pictures, or (B, tokens, hidden) what was made of them before
                (`models.pictures`).
        """
        if pixel_values.ndim == 3:
            return BaseModelOutputWithPooling(last_hidden_state=pixel_values, hidden_states=(pixel_values,))
        x = self.stages(self.patches(pixel_values.contiguous(memory_format=torch.channels_last)))
        tokens = self.out(x.flatten(2).transpose(1, 2)) + self.position
        return BaseModelOutputWithPooling(last_hidden_state=tokens, hidden_states=(tokens,))


class DrivingLlava(DrivingMixin, LlavaForConditionalGeneration):
    """LLaVA that drives."""


AutoConfig.register(ConvTowerConfig.model_type, ConvTowerConfig)
AutoModel.register(ConvTowerConfig, ConvTower)


def build_tokenizer(vocab: int, codec: ActionCodec) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the project's own texts (well under a second) and add the action tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[^ ]+| +"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    specials = [PAD, END, USER, ASSISTANT, SYSTEM, IMAGE]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM, IMAGE],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
    # Special tokens would vanish from TRL's decoded completions before a reward function sees them.
    tokenizer.add_tokens(codec.tokens, special_tokens=False)
    return tokenizer


def build_processor(config: TinyConfig, codec: ActionCodec) -> LlavaProcessor:
    """The stock LLaVA processor over our tokenizer; pictures keep their size, one token per 32 x 32 px."""
    image_processor = CLIPImageProcessorPil(
        do_resize=False,
        do_center_crop=False,
        size={"shortest_edge": config.height_px},
        crop_size={"height": config.height_px, "width": config.width_px},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.25, 0.25, 0.25],
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=build_tokenizer(config.vocab, codec),
        patch_size=STRIDE_PX,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
        num_additional_image_tokens=0,
    )


def build_tiny(
    seed: int = 0, config: TinyConfig | None = None, codec: ActionCodec | None = None
) -> tuple[DrivingLlava, LlavaProcessor]:
    """Make a tiny policy with random weights, the same for the same seed.

    Args:
        seed: Seed of the weights.
        config: Sizes.
        codec: Action tokens that the tokenizer gets.
    """
    config = config or TinyConfig()
    processor = build_processor(config, codec or ActionCodec())
    tokenizer = processor.tokenizer
    tokens = (config.height_px // STRIDE_PX) * (config.width_px // STRIDE_PX)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    vision = ConvTowerConfig(
        channels=list(config.channels),
        hidden_size=config.hidden,
        image_height=config.height_px,
        image_width=config.width_px,
    )
    llava = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=tokens,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=True,
        driving=asdict(config.head),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DrivingLlava(llava)
        _scale_by_fan_in(model)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model.eval(), processor


def _scale_by_fan_in(model: nn.Module) -> None:
    """Draw every weight with 1/sqrt(fan_in): at this width transformers' fixed 0.02 learns much slower."""
    for name, module in model.named_modules():
        if name.startswith(HEADS):
            continue
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            # Layers that start near the identity let the head see the tower's tokens from the first step.
            gain = BRANCH_GAIN if name.endswith(("o_proj", "down_proj")) else 1.0
            nn.init.normal_(module.weight, std=gain / math.sqrt(module.in_features))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=1.0 / math.sqrt(module.embedding_dim))
        elif isinstance(module, ConvTower):
            nn.init.normal_(module.position, std=0.5)
