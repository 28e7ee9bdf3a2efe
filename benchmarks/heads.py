"""What heads cost: epochs on cached features against recomputing them, plans against the prefill that they need.

    OMP_NUM_THREADS=1 python -P benchmarks/heads.py [--scenes 256] [--repeats 15] [--policy FOLDER] [--home HOME]

Ratios are of processor time, taken in turns within one run, medians; so other processes do not stretch one side alone.
Goals: a head-only epoch on cached features at least 50 times cheaper than with a prefill for each batch, a stage of ten
epochs (features computed once, then ten epochs) at least 8 times, losses equal within 1e-6; a `mlp` plan within 1.05 of its
prefill, a `flow` plan within 1.25. The plan of the tokens, with and without reasoning, stands beside them.

With a home and a policy of it: the gap between the text's plan and the head's, and between heads fitted to the prompt and
to prompt and reasoning, judged on expert drives of cases that they were not fitted to.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from takeover.collect.training_data import replay_samples
from takeover.models.encoder import model_inputs
from takeover.models.heads import head_loss
from takeover.models.pictures import SeenPictures
from takeover.models.policy import Policy, PolicyConfig
from takeover.refine.config import RefitConfig
from takeover.refine.features import FeatureCache, Features
from takeover.refine.gaps import context_gap, text_gap
from takeover.refine.refit import Descent
from takeover.refine.report import no_progress
from takeover.store import queries
from takeover.store.database import Store
from takeover.vocabulary import Command, PolicyInput

EPOCHS, BATCH = 10, RefitConfig().per_device_train_batch_size
GOALS = {"epoch": 50.0, "stage": 8.0, "mlp": 1.05, "flow": 1.25}


def scenes(n: int, config: PolicyConfig, seed: int = 0) -> tuple[list[PolicyInput], Tensor]:
    """Random pictures and odometry, and plans (n, 8, 2) to learn."""
    rng = np.random.default_rng(seed)
    shape = (config.frames, config.views, config.height_px, config.width_px, 3)
    inputs = []
    for _ in range(n):
        speed = float(rng.uniform(0, 12))
        past = np.array([(-speed * ago, 0.0, 0.0) for ago in (1.5, 1.0, 0.5, 0.0)], np.float32)
        pictures = rng.integers(0, 256, shape, dtype=np.uint8)
        inputs.append(PolicyInput(pictures, past, speed, 0.0, 0.0, Command.FOLLOW_LANE))
    targets = np.stack([np.arange(1, 9)[:, None] * rng.normal(0, 2, 2) for _ in range(n)])
    return inputs, torch.from_numpy(targets).float()


def cost(work: Callable[[], object]) -> float:
    """Processor seconds of a piece of work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def prefilled(policy: Policy, inputs: Sequence[PolicyInput]) -> Features:
    """Features as `FeatureCache` makes them, without any cache."""
    batch = policy.encode(inputs, width=policy.config.text_tokens)
    with torch.no_grad():
        states = policy.model.states(model_inputs(batch))
    return Features(states.last, batch["prompt_mask"].bool(), batch["ego"], states.layers)


class Lesson:
    """A copy of the `mlp` head that learns as in the refit, on features from wherever they come."""

    def __init__(self, policy: Policy, targets: Tensor) -> None:
        self.head: nn.Module = copy.deepcopy(policy.model.action_head)
        self.targets, self.counts = targets, torch.ones(len(targets), 8, dtype=torch.bool)
        steps = EPOCHS * -(-len(targets) // BATCH)
        self.descent = Descent(self.head, RefitConfig(epochs=EPOCHS), steps, no_progress)
        self.order = torch.Generator().manual_seed(0)

    def epoch(self, features: Callable[[Tensor], Features]) -> None:
        """One epoch, in an order that is the same for every lesson."""
        for part in torch.randperm(len(self.targets), generator=self.order).split(BATCH):
            found = features(part)
            plans = self.head(found.hidden, found.mask, found.ego)
            self.descent.step(head_loss(plans, self.targets[part], self.counts[part]))


def epochs(policy: Policy, n: int) -> dict[str, float]:
    """Costs of cached and recomputed epochs, in turns."""
    inputs, targets = scenes(n, policy.config)
    cached, recomputed = Lesson(policy, targets), Lesson(policy, targets)
    FeatureCache(policy).get(scenes(BATCH, policy.config, seed=1)[0])  # warms up
    prefilled(policy, inputs[:BATCH])
    known = FeatureCache(policy).get(inputs)
    times: dict[str, list[float]] = {"cached": [], "recomputed": [], "once": []}

    def again(part: Tensor) -> Features:
        return prefilled(policy, [inputs[i] for i in part.tolist()])

    for number in range(EPOCHS):
        if number % 2 == 0:
            policy.encoder.seen = SeenPictures()  # a settled tower would look its tokens up
            times["once"].append(cost(lambda: FeatureCache(policy).get(inputs)))
        times["cached"].append(cost(lambda: cached.epoch(known.take)))
        times["recomputed"].append(cost(lambda: recomputed.epoch(again)))
    curves = zip(cached.descent.guard.losses, recomputed.descent.guard.losses, strict=True)
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "cached epoch [ms]": 1e3 * median["cached"],
        "recomputed epoch [ms]": 1e3 * median["recomputed"],
        "epoch ratio": median["recomputed"] / median["cached"],
        "features once [ms]": 1e3 * median["once"],
        "stage ratio": sum(times["recomputed"]) / (median["once"] + sum(times["cached"])),
        "largest difference of the losses": max(abs(a - b) for a, b in curves),
    }


def plans(policy: Policy, size: int, repeats: int) -> dict[str, float]:
    """Milliseconds of a batch's plan with each decoder beside those of its prefill."""
    inputs, _ = scenes(size, policy.config)
    drivers = {
        name: Policy(policy.backbone, replace(policy.config, decoder=name, batch_size=size))
        for name in ("mlp", "flow", "tokens")
    }
    batch = policy.encode(inputs, width=policy.config.text_tokens)
    ready = model_inputs(batch)
    model = policy.model

    def prefill() -> object:
        with torch.inference_mode():
            return model.model(**ready, use_cache=False)

    def head(name: str) -> Callable[[], object]:
        def plan() -> object:
            with torch.inference_mode():
                return drivers[name].head_plans(batch)

        return plan

    pieces: dict[str, Callable[[], object]] = {
        "prefill": prefill,
        "mlp": head("mlp"),
        "flow": head("flow"),
        "tokens": lambda: drivers["tokens"].plan(inputs, ""),
        "tokens with reasoning": lambda: drivers["tokens"].reason(inputs),
        "encoding": lambda: policy.encode(inputs, width=policy.config.text_tokens),
    }
    times: dict[str, list[float]] = {name: [] for name in pieces}
    for number in range(repeats + 1):
        for name, work in pieces.items():
            if name != "tokens with reasoning" or number < 4:
                spent = cost(work)
                if number:  # the first round warms up
                    times[name].append(spent)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def gaps(policy: Policy, home: Path, n: int) -> dict[str, float]:
    """Both gaps on frames of the expert's drives in a home; n are fitted to, n / 3 held out, by case."""
    store, rng = Store(home), np.random.default_rng(0)
    drives = queries.episodes(store, driver_kind="expert", role="train", whole=True, limit=1_000_000)
    picked = set(rng.permutation(len(drives))[: 20 + n // 15].tolist())
    some = [drive for i, drive in enumerate(drives) if i in picked]
    samples = replay_samples(store, some)
    cases = sorted({sample.case_id for sample in samples})
    out = set(rng.permutation(cases)[: len(cases) // 4].tolist())
    order = [samples[i] for i in rng.permutation(len(samples))]
    held = [sample for sample in order if sample.case_id in out][: n // 3]
    fitted = [sample for sample in order if sample.case_id not in out][:n]
    text = text_gap(policy, held).metrics
    config = RefitConfig(epochs=4 * RefitConfig().epochs)  # as many steps as a round's on more scenes
    context = context_gap(policy, fitted, held, config, 0)
    return {**text, **context, "fitted scenes": len(fitted), "held-out scenes": len(held)}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--policy", type=Path, help="folder of a generation; a fresh tiny one if absent")
    parser.add_argument("--home", type=Path, help="home of that generation, for the gaps alone")
    parser.add_argument("--gap-scenes", type=int, default=480)
    arguments = parser.parse_args()
    out = sys.stdout.write
    plain = Policy.load(arguments.policy, "mlp") if arguments.policy else Policy.tiny(0)
    with_flow = Policy.load(arguments.policy, "flow") if arguments.policy else Policy.tiny(0, flow=True)
    if arguments.home:
        for name, value in gaps(plain, arguments.home, arguments.gap_scenes).items():
            out(f"{name:28s} {value:.3g}\n")
        return
    for name, value in epochs(plain, arguments.scenes).items():
        out(f"{name:36s} {value:.3g}\n")
    out(f"goals: epoch {GOALS['epoch']:g}, stage {GOALS['stage']:g}, losses 1e-6\n")
    for size in (1, 2, 8):
        found = plans(with_flow, size, arguments.repeats)
        out(
            f"\nbatch of {size}: prefill {found['prefill']:.2f} ms (encoding {found['encoding']:.2f} ms before it)\n"
        )
        for name in ("mlp", "flow", "tokens", "tokens with reasoning"):
            goal = f"  (goal {GOALS[name]:g})" if name in GOALS else ""
            out(f"  {name:22s} {found[name]:8.2f} ms  {found[name] / found['prefill']:6.2f} prefills{goal}\n")


if __name__ == "__main__":
    main()
