"""`DrivingMixin`: what turns an image-text-to-text model of transformers into a driving policy.

The mixin adds the heads, which read hidden states. TRL replaces `forward` on the instance and calls the backbone itself,
so nothing here overrides `forward`: hooks keep the hidden states of the last training pass, and the trainer collects
them with `take()`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import PolicyError
from .flow import FlowHead
from .heads import CONTEXTS, ActionHead, FlowConfig, HeadConfig

FLOW_HEAD = "flow_head"
HEADS = ("action_head", FLOW_HEAD)


@dataclass(frozen=True, slots=True)
class States:
    """What the heads read of a batch.

    Attributes:
        last: (B, T, D) last hidden states.
        mask: (B, T) attention mask.
        layers: (B, T, L, D) outputs of every second layer, without gradient; None without a `flow` head.
    """

    last: Tensor
    mask: Tensor
    layers: Tensor | None = None


class DrivingMixin:
    """Adds the heads to a `…ForConditionalGeneration` class, which must come after it in the bases.

    The heads' shape lives in `config.driving`, so `save_pretrained` and `from_pretrained` keep them, and a
    checkpoint without one (a stock checkpoint of the hub) gets a fresh head.
    """

    action_head: ActionHead
    flow_head: FlowHead
    _keep_in_fp32_modules_strict = HEADS  # or a checkpoint in bf16 would come back with half their digits

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        if not getattr(config, "driving", None):
            config.driving = asdict(HeadConfig())
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        self.loss_type = "ForCausalLM"  # transformers guesses it from the class's name, and ours says nothing
        self.action_head = ActionHead(self._width, self.head_config)
        self._captured: States | None = None
        self._reading = False  # a prefill whose states somebody waits for
        self._layers: list[Tensor] = []
        if self.head_config.flow is not None:
            self._hang_flow_head(self.head_config.flow)
        self.model.register_forward_hook(self._capture, with_kwargs=True)  # type: ignore[attr-defined]

    @property
    def head_config(self) -> HeadConfig:
        """Shape of the heads."""
        return HeadConfig.from_dict(self.config.driving)  # type: ignore[attr-defined]

    @property
    def has_flow_head(self) -> bool:
        """Whether there is a `flow` head."""
        return hasattr(self, "flow_head")

    @property
    def _width(self) -> int:
        return int(self.config.get_text_config().hidden_size)  # type: ignore[attr-defined]

    def set_context(self, context: str) -> None:
        """Choose what the heads read, one of `heads.CONTEXTS`; saved with the weights.

        Raises:
            PolicyError: There is no such context.
        """
        if context not in CONTEXTS:
            raise PolicyError(
                f"context {context!r} is unknown", fix="Use one of: " + ", ".join(CONTEXTS) + "."
            )
        self.config.driving = asdict(replace(self.head_config, context=context))  # type: ignore[attr-defined]

    def _hang_flow_head(self, config: FlowConfig) -> None:
        decoder = self.model.language_model.layers  # type: ignore[attr-defined]
        # Every second layer, the last one among them.
        read = range((len(decoder) - 1) % 2, len(decoder), 2)
        with torch.random.fork_rng(devices=[]):  # the rest of the model is the same with and without it
            self.flow_head = FlowHead(self._width, len(read), config, ego=self.head_config.ego)
        self.model.register_forward_pre_hook(self._begin)  # type: ignore[attr-defined]
        for number in read:
            decoder[number].register_forward_hook(self._tap)

    def _init_weights(self, module: nn.Module) -> None:
        if not isinstance(module, ActionHead | FlowHead):
            super()._init_weights(module)  # type: ignore[misc]
        elif not any(getattr(weight, "_is_hf_initialized", False) for weight in module.parameters()):
            module.reset_parameters()  # not loaded from a checkpoint

    @property
    def _learning(self) -> bool:
        return torch.is_grad_enabled() and self.training  # type: ignore[attr-defined]

    def _begin(self, _module: nn.Module, _args: Any) -> None:
        self._layers = []

    def _tap(self, _layer: nn.Module, _args: Any, output: Any) -> None:
        if self._reading or self._learning:
            hidden = output[0] if isinstance(output, tuple) else output
            self._layers.append(hidden.detach())

    def _capture(self, _module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
        layers, self._layers = self._layers, []
        if self._reading or self._learning:
            hidden = output.last_hidden_state
            mask = kwargs.get("attention_mask")
            mask = torch.ones(hidden.shape[:2], device=hidden.device) if mask is None else mask
            self._captured = States(hidden, mask, torch.stack(layers, dim=2) if layers else None)

    def take(self) -> States:
        """States of the last training pass; forgets them.

        Forgetting matters: a kept graph makes `copy.deepcopy` of the model fail.
        """
        if self._captured is None:
            raise RuntimeError("take() without a training pass before it")
        captured, self._captured = self._captured, None
        return captured

    def forget(self) -> None:
        """Drop what a training pass has left."""
        self._captured, self._layers = None, []

    def states(self, inputs: dict[str, Tensor]) -> States:
        """States of one prefill, without language-model head and cache."""
        self._reading = True
        try:
            self.model(**inputs, use_cache=False)  # type: ignore[attr-defined]
            return self.take()
        finally:
            self._reading = False


def restore_forward(model: nn.Module) -> None:
    """Remove the `forward` that a TRL trainer put on the instance.

    A deep copy of a patched model would keep running the old model's weights in `generate`.
    """
    model.__dict__.pop("forward", None)
