from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import get_peft_model
from torch import Tensor

from takeover.errors import PolicyError
from takeover.models.backbone import lora_config
from takeover.models.encoder import ego_vector, model_inputs
from takeover.models.flow import FlowHead, euler, history_track, interpolate, shifted_times
from takeover.models.heads import EGO_DIM, FlowConfig
from takeover.models.policy import Policy, PolicyConfig
from takeover.models.tiny import TinyConfig
from takeover.vocabulary import Command, PolicyInput

from ..refine.qwen import save_tiny_qwen
from .scenes import make_inputs

SMALL = TinyConfig(channels=(8, 16, 16, 32), hidden=32, layers=3, heads=2, intermediate=64)
CONFIG = PolicyConfig(decoder="flow", width_px=96, height_px=64)


def make_policy(seed: int = 0) -> Policy:
    return Policy.tiny(seed, CONFIG, SMALL)


def waypoints(policy: Policy, inputs: list[PolicyInput]) -> np.ndarray:
    return np.stack([plan.waypoints_m for plan in policy.plan(inputs, "")])


def moving(history_m: list[tuple[float, float]]) -> Tensor:
    """The ego vector of a car whose past places, oldest first, are given."""
    history = np.array([(x, y, 0.0) for x, y in history_m], np.float32)
    item = PolicyInput(np.zeros((2, 1, 4, 4, 3), np.uint8), history, 8.0, 0.0, 0.0, Command.FOLLOW_LANE)
    return torch.from_numpy(ego_vector(item))[None]


def test_the_path_and_its_velocity() -> None:
    plan, start = torch.full((2, 8, 2), 3.0), torch.full((2, 8, 2), 1.0)
    state, target = interpolate(plan, start, torch.tensor([0.0, 0.25]))
    assert torch.equal(state[0], start[0])
    assert torch.equal(state[1], torch.full((8, 2), 0.25 * 3.0 + 0.75 * 1.0))
    assert torch.equal(target, torch.full((2, 8, 2), 2.0))


def test_the_flow_starts_from_the_last_step_of_the_history() -> None:
    # 4 m ahead and 0.4 m to the left within the last half second: 0.2 and 0.1 in units of (20, 4) m.
    track = history_track(moving([(-9.0, 3.0), (-7.0, 1.0), (-4.0, -0.4), (0.0, 0.0)]))
    torch.testing.assert_close(track[0, 0], torch.tensor([0.2, 0.1]))
    torch.testing.assert_close(track[0, 7], torch.tensor([8 * 0.2, 8 * 0.1]))


def test_five_euler_steps_on_the_field_of_one_path_reach_the_data() -> None:
    plan, start = torch.randn(1, 8, 2), torch.randn(1, 8, 2)
    _, velocity = interpolate(plan, start, torch.zeros(1))
    torch.testing.assert_close(euler(lambda _state, _step: velocity, start, 5), plan)
    # The field of all paths to one plan, v = (a - x) / (1 - tau), is reached exactly too, whatever the start.
    reached = euler(lambda state, step: (plan - state) / (1 - step / 5), start, 5)
    torch.testing.assert_close(reached, plan)
    # x' = x from 1: (1 + 1/5)^5.
    growing = euler(lambda state, _step: state, torch.ones(1, 8, 2), 5)
    torch.testing.assert_close(growing, torch.full((1, 8, 2), 1.2**5))


def test_times_are_drawn_early_more_often() -> None:
    normal = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    times = shifted_times(normal, -0.5)
    assert 0.0 < float(times.min()) < float(times.max()) < 1.0
    # tau < 1/2 where the normal draw is below 0.5: 69.1 % of them.
    assert abs(float((times < 0.5).float().mean()) - 0.691) < 0.01
    torch.testing.assert_close(shifted_times(torch.tensor([0.5]), -0.5), torch.tensor([0.5]))


class Constant(FlowHead):
    """Answers every question with one velocity."""

    answer = torch.zeros(2)

    def _velocity(self, state: Tensor, *_: object) -> Tensor:
        self.asked = state
        return self.answer.expand(state.shape)


def test_the_loss_is_the_squared_error_of_the_velocity_on_what_counts() -> None:
    head = Constant(4, 1, FlowConfig(noise=0.0))
    layers, mask = torch.randn(1, 3, 1, 4), torch.ones(1, 3, dtype=torch.bool)
    ego = moving([(0.0, 0.0)] * 4)  # standing: the track stays at 0
    target = torch.tensor([20.0, 4.0]).expand(1, 8, 2).clone()  # 1 and 1 in its units
    target[:, 4:] = 1e6
    counts = torch.tensor([[True] * 4 + [False] * 4])
    head.answer = torch.tensor([1.0, 0.5])
    # x is right, y is half of what it should be: (0 + 0.25) / 2.
    loss = head.loss(layers, mask, ego, target, counts)
    torch.testing.assert_close(loss, torch.tensor(0.125))
    tau = head.asked[0, 0, 0]
    assert 0 < float(tau) < 1
    torch.testing.assert_close(head.asked[0, :4], tau.expand(4, 2))
    assert float(head.asked[0, 4:].abs().max()) == 0.0  # an unknown future is not shown
    # Constant velocity (1, 0.5): the plan is 20 m ahead and 2 m aside.
    plan = head(layers, mask, ego)
    torch.testing.assert_close(plan, torch.tensor([20.0, 2.0]).expand(1, 8, 2))


def test_noise_makes_other_plans_and_no_noise_always_the_same() -> None:
    torch.manual_seed(0)
    head = FlowHead(8, 2, FlowConfig(width=16, attention_heads=2))
    layers, mask, ego = torch.randn(2, 5, 2, 8), torch.ones(2, 5, dtype=torch.bool), torch.randn(2, EGO_DIM)
    with torch.no_grad():
        first, again = head(layers, mask, ego), head(layers, mask, ego)
        other = head(layers, mask, ego, noise=torch.randn(2, 8, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    hidden = layers.clone()
    hidden[:, 3:] = 50.0
    some = torch.tensor([[1, 1, 1, 0, 0]] * 2)
    with torch.no_grad():
        torch.testing.assert_close(head(layers, some, ego), head(hidden, some, ego))


def test_no_gradient_reaches_the_backbone() -> None:
    policy = make_policy()
    policy.model.train()
    batch = policy.encode(make_inputs(2, CONFIG))
    policy.model.model(**model_inputs(batch))
    states = policy.model.take()
    assert states.layers is not None
    assert states.layers.shape[2] == 2  # of three layers the first and the last
    target = torch.ones(2, 8, 2)
    loss = policy.model.flow_head.loss(
        states.layers, batch["prompt_mask"], batch["ego"], target, torch.ones(2, 8)
    )
    loss.backward()
    moved = {name for name, weight in policy.model.named_parameters() if weight.grad is not None}
    assert moved
    assert all(name.startswith("flow_head.") for name in moved)


def test_the_layers_are_those_that_transformers_reports() -> None:
    policy = make_policy()
    inputs = model_inputs(policy.encode(make_inputs(1, CONFIG)))
    with torch.no_grad():
        states = policy.model.states(inputs)
        stock = policy.model.model(**inputs, output_hidden_states=True).hidden_states
    assert states.layers is not None
    torch.testing.assert_close(states.layers[:, :, 0], stock[1])
    with torch.no_grad():
        last = policy.model.model.language_model.norm(states.layers[:, :, 1])
    torch.testing.assert_close(last, states.last)
    with pytest.raises(RuntimeError):
        policy.model.take()


def test_it_learns_eight_scenes() -> None:
    torch.manual_seed(0)
    head = FlowHead(16, 2, FlowConfig(width=32))
    layers, mask = torch.randn(8, 6, 2, 16), torch.ones(8, 6, dtype=torch.bool)
    ego, counts = moving([(-6.0, 0.0), (-4.0, 0.0), (-2.0, 0.0), (0.0, 0.0)]).expand(8, -1), torch.ones(8, 8)
    time_s = torch.arange(1, 9) * 0.5
    brake, drift = torch.linspace(0, 4, 8)[:, None], torch.linspace(-3, 3, 8)[:, None]
    target = torch.stack((brake * time_s, drift * (time_s / 4) ** 2), dim=-1)
    with torch.no_grad():
        before = float((head(layers, mask, ego) - target).norm(dim=-1).mean())
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 120)
    batch = [part.repeat(4, *[1] * (part.dim() - 1)) for part in (layers, mask, ego, target, counts)]
    for _ in range(120):
        optimiser.zero_grad()
        head.loss(*batch).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        after = float((head(layers, mask, ego) - target).norm(dim=-1).mean())
    assert before > 2.0
    assert after < before / 5


def test_a_fresh_head_drives_on_as_before() -> None:
    item = make_inputs(1, CONFIG)[0]
    plan = waypoints(make_policy(), [item])[0]
    assert abs(plan[7, 0] - 4.0 * item.speed_mps) < 6.0


def test_it_is_saved_loaded_copied_and_does_not_change_the_rest(tmp_path: Path) -> None:
    policy, inputs = make_policy(), make_inputs(2, CONFIG)
    plan = waypoints(policy, inputs)
    loaded = Policy.load(policy.save(tmp_path / "flow"))
    assert loaded.decoder == "flow"
    assert np.array_equal(waypoints(loaded, inputs), plan)
    twin = Policy(policy.backbone, CONFIG)
    twin.model = copy.deepcopy(policy.model)
    with torch.no_grad():
        policy.model.model.language_model.layers[0].mlp.down_proj.weight.mul_(3.0)
    assert np.array_equal(waypoints(twin, inputs), plan)  # its hooks hang on its own layers
    plain = Policy.tiny(0, PolicyConfig(width_px=96, height_px=64), SMALL)
    ours = {k: v for k, v in loaded.model.state_dict().items() if not k.startswith("flow_head.")}
    assert all(torch.equal(ours[key], value) for key, value in plain.model.state_dict().items())


def test_a_checkpoint_without_one_gets_a_fresh_one(tmp_path: Path) -> None:
    plain = Policy.tiny(0, PolicyConfig(width_px=96, height_px=64), SMALL)
    assert not plain.model.has_flow_head
    with pytest.raises(PolicyError, match="no flow head"):
        Policy(plain.backbone, CONFIG)
    folder, inputs = plain.save(tmp_path), make_inputs(2, CONFIG)
    first, twin, other = (Policy.load(folder, "flow", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(waypoints(first, inputs), waypoints(twin, inputs))
    assert not torch.equal(first.model.flow_head.query, other.model.flow_head.query)
    beside = Policy.load(folder, flow=True)
    assert beside.model.has_flow_head
    assert np.array_equal(waypoints(beside, inputs), waypoints(plain, inputs))


def test_it_survives_lora(tmp_path: Path) -> None:
    base = Policy.tiny(0, PolicyConfig(width_px=96, height_px=64), SMALL).save(tmp_path / "base")
    learner = Policy.load(base, "flow")
    wrapped = get_peft_model(learner.model, lora_config(learner.backbone, learner.codec, rank=4, alpha=8))
    wrapped.train()
    batch = learner.encode(make_inputs(2, CONFIG))
    optimiser = torch.optim.SGD([w for w in wrapped.parameters() if w.requires_grad], lr=0.1)
    learner.model.model(**model_inputs(batch))
    states = learner.model.take()
    learner.model.flow_head.loss(
        states.layers, batch["prompt_mask"], batch["ego"], torch.ones(2, 8, 2), torch.ones(2, 8)
    ).backward()
    optimiser.step()
    wrapped.save_pretrained(tmp_path / "adapter")
    learner.model = wrapped.merge_and_unload().eval()
    inputs = make_inputs(2, CONFIG)
    after = waypoints(learner, inputs)
    assert not np.allclose(after, waypoints(Policy.load(base, "flow"), inputs))
    again = Policy.load(tmp_path / "adapter", config=CONFIG)
    assert np.allclose(waypoints(again, inputs), after, atol=1e-4)


def test_it_drives_a_stock_qwen(tmp_path: Path) -> None:
    config = PolicyConfig(decoder="flow", width_px=112, height_px=56, text_tokens=256, batch_size=2)
    policy = Policy.load(save_tiny_qwen(tmp_path / "stock"), config=config)
    inputs = make_inputs(2, config)
    plan = waypoints(policy, inputs)
    again = Policy.load(policy.save(tmp_path / "saved"))
    assert np.array_equal(waypoints(again, inputs), plan)
