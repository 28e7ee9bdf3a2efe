"""The `flow` head: SpanVLA's action expert, which moves the history track to the plan by flow matching.

Optimal-transport conditional flow matching (SpanVLA 3.2; methods.md 3.2) in units of PLAN_SCALE_M:

    a_tau = tau * a + (1 - tau) * a_his,  velocity target a - a_his,  noise added to a_his,  tau from a shifted law,

and a plan is five Euler steps from a_his. The backbone is read through a bridge: learned queries attend to the hidden
states of every second layer. The paper takes those layers' key-value caches; TRL trains without one, and keys hold
positions that a cache of features would have to keep apart, so it is the layers' outputs here. No gradient goes
through the bridge into the backbone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..vocabulary import HISTORY_POINTS, PLAN_POINTS
from .heads import (
    EGO_DIM,
    EGO_MOTION,
    HISTORY_SCALE,
    FlowConfig,
    draw_linears,
    from_metres,
    masked_mean,
    to_metres,
)

_TIME_WAVES = 8  # sines and cosines of tau that the velocity network reads


def history_track(ego: Tensor) -> Tensor:
    """The history carried on: the step of the last half second, repeated for each waypoint.

    The paper starts from the observed trajectory, whose 1.5 s are shorter than a plan; how it fills the rest is not said.

    Args:
        ego: (B, EGO_DIM) as of `encoder.ego_vector`.

    Returns:
        (B, 8, 2) in units of PLAN_SCALE_M.
    """
    poses = ego[:, EGO_MOTION : EGO_MOTION + 3 * HISTORY_POINTS].reshape(-1, HISTORY_POINTS, 3)
    last_m = (poses[:, -1, :2] - poses[:, -2, :2]) * poses.new_tensor(HISTORY_SCALE[:2])
    count = torch.arange(1, PLAN_POINTS + 1, dtype=ego.dtype, device=ego.device)
    return from_metres(count[:, None] * last_m[:, None])


def interpolate(plan: Tensor, start: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """A point on the straight path and its velocity.

    Args:
        plan: (B, 8, 2) the data a.
        start: (B, 8, 2) a_his with its noise.
        tau: (B,) in [0, 1].

    Returns:
        a_tau and the target a - a_his, (B, 8, 2) each.
    """
    share = tau[:, None, None]
    return share * plan + (1.0 - share) * start, plan - start


def shifted_times(normal: Tensor, shift: float) -> Tensor:
    """Times in (0, 1) of standard normal draws: sigmoid(draw + shift)."""
    return torch.sigmoid(normal + shift)


def euler(velocity: Callable[[Tensor, int], Tensor], start: Tensor, steps: int) -> Tensor:
    """Follow a velocity field from tau = 0 to 1 in equal steps.

    Args:
        velocity: (state, number of the step) -> velocity, of the state's shape; step i is at tau = i / steps.
        start: (B, 8, 2).
        steps: How many.
    """
    state = start
    for step in range(steps):
        state = state + velocity(state, step) / steps
    return state


class _Block(nn.Module):
    """Pre-norm attention of the waypoints to the memory, then an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Linear(width, width)
        self.memory = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B, 8, W) tokens and the memory's (B, H, M, W / H) keys and values -> (B, 8, W)."""
        query = _split(self.ask(self.norm(tokens)), self.heads)
        seen = nn.functional.scaled_dot_product_attention(query, keys, values)
        tokens = tokens + self.out(seen.transpose(1, 2).flatten(2))
        mixed: Tensor = tokens + self.mlp(tokens)
        return mixed


class FlowHead(nn.Module):
    """Bridge and velocity network."""

    def __init__(self, hidden: int, layers: int, config: FlowConfig, *, ego: bool = True) -> None:
        """Make a head with random weights.

        Args:
            hidden: D, width of the backbone.
            layers: L, how many of its layers are read.
            config: Shape.
            ego: Whether the odometry is read as numbers too.
        """
        super().__init__()
        self.config, self.reads_ego = config, ego
        width = config.width
        self.query = nn.Parameter(torch.empty(layers, config.memory, hidden))
        self.value = nn.Linear(hidden, width)
        self.layer = nn.Parameter(torch.empty(layers, width))  # which layer a value comes from
        # Each waypoint's token knows the whole state, so the tokens need not ask each other at every step.
        self.waypoint = nn.Linear(2 * PLAN_POINTS, PLAN_POINTS * width)
        self.position = nn.Parameter(torch.empty(PLAN_POINTS, width))
        self.time = nn.Linear(2 * _TIME_WAVES, width)
        self.ego = nn.Linear(EGO_DIM, width)
        self.blocks = nn.ModuleList(_Block(width, config.attention_heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.velocity = nn.Linear(width, 2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights; a small last layer, so that a fresh head drives on as before."""
        draw_linears(self)
        nn.init.zeros_(self.layer)
        nn.init.normal_(self.query, std=1.0 / math.sqrt(self.query.shape[-1]))
        nn.init.normal_(self.position)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        with torch.no_grad():
            self.velocity.weight.mul_(0.1)

    def forward(self, layers: Tensor, mask: Tensor, ego: Tensor, noise: Tensor | None = None) -> Tensor:
        """Plan. Without noise the start is the history track itself, so one scene has one plan.

        Args:
            layers: (B, T, L, D) hidden states of the layers that are read.
            mask: (B, T) true where a token counts.
            ego: (B, EGO_DIM).
            noise: (B, 8, 2) standard normal, for another sample of the plan.

        Returns:
            (B, 8, 2) metres.
        """
        memory, waypoints = self._read(layers, mask), self._ego(ego)
        steps = self.config.steps
        times = self._time(torch.arange(steps, device=ego.device) / steps)

        def velocity(state: Tensor, step: int) -> Tensor:
            return self._velocity(state, waypoints + times[step], memory)

        start = history_track(ego)
        if noise is not None:
            start = start + self.config.noise * noise
        return to_metres(euler(velocity, start, steps))

    def loss(
        self,
        layers: Tensor,
        mask: Tensor,
        ego: Tensor,
        target_m: Tensor,
        counts: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Squared error of the velocity at one random time of each row, averaged over the waypoints that count.

        Args:
            layers: (B, T, L, D).
            mask: (B, T) true where a token counts.
            ego: (B, EGO_DIM).
            target_m: (B, 8, 2) metres; what does not count may hold anything finite.
            counts: (B, 8) true where the waypoint counts.
            weight: (B,) weight of each sample, 1 if absent.
            generator: Of times and noise, on the CPU; torch's own if absent.

        Returns:
            Scalar.
        """
        draws = torch.randn(len(ego), 1 + 2 * PLAN_POINTS, generator=generator).to(ego.device)
        start = history_track(ego) + self.config.noise * draws[:, 1:].view(-1, PLAN_POINTS, 2)
        # Where nothing is known the path rests, or the attention would see a made-up future.
        plan = torch.where(counts.bool()[..., None], from_metres(target_m.to(ego.dtype)), start)
        tau = shifted_times(draws[:, 0], self.config.time_shift)
        state, target = interpolate(plan, start, tau)
        tokens = self._ego(ego) + self._time(tau)[:, None]
        error = (self._velocity(state, tokens, self._read(layers, mask)) - target).square()
        return masked_mean(error.mean(-1), counts, weight)

    def _read(self, layers: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The bridge: each learned query's mean over all tokens of all layers; its keys and values for each block.

        Returns:
            (B, H, M, W / H) keys and values, a pair a block.
        """
        hidden = layers.detach().to(self.value.weight.dtype)
        # Raw layer outputs differ in size by orders of magnitude from layer to layer.
        hidden = nn.functional.layer_norm(hidden, hidden.shape[-1:])
        logits = torch.einsum("btld,lmd->bmtl", hidden, self.query)
        logits = logits.masked_fill(~mask.bool()[:, None, :, None], -1e9)
        weights = logits.flatten(2).softmax(dim=-1)
        # The weighted mean of the values is the value of the weighted mean, at a fraction of the sums.
        memory = self.value(weights @ hidden.flatten(1, 2))
        memory = memory + weights.view_as(logits).sum(dim=2) @ self.layer
        kept = []
        for block in self.blocks:
            assert isinstance(block, _Block)
            key, value = block.memory(memory).chunk(2, dim=-1)
            kept.append((_split(key, block.heads), _split(value, block.heads)))
        return kept

    def _ego(self, ego: Tensor) -> Tensor:
        """(B, 8, W) or (8, W): what is the same at every time."""
        return self.position + self.ego(ego)[:, None] if self.reads_ego else self.position

    def _time(self, tau: Tensor) -> Tensor:
        """(N,) times in [0, 1] -> (N, W)."""
        waves = tau[:, None] * (math.pi * torch.arange(1, _TIME_WAVES + 1, device=tau.device))
        encoded: Tensor = self.time(torch.cat((waves.sin(), waves.cos()), dim=-1))
        return encoded

    def _velocity(self, state: Tensor, tokens: Tensor, memory: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """(B, 8, 2) state -> velocity of the same shape."""
        tokens = self.waypoint(state.flatten(1)).unflatten(-1, (PLAN_POINTS, -1)) + tokens
        for block, (keys, values) in zip(self.blocks, memory, strict=True):
            tokens = block(tokens, keys, values)
        found: Tensor = self.velocity(self.norm(tokens))
        return found


def _split(part: Tensor, heads: int) -> Tensor:
    """(B, N, W) -> (B, H, N, W / H)."""
    return part.unflatten(-1, (heads, -1)).transpose(1, 2)
