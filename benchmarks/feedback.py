"""Does feedback refinement feed back? The scene's own analysis against another scene's and against plain sampling.

    python -P benchmarks/feedback.py --home HOME --weights FOLDER [--corrections] [--fold 0|1] [--seeds 3]

Reads the pairs of a finished run; weights that never saw their analyses cannot follow them, so SFT and refit are taught
on half of the cases first, and corrected plans are tried for the other half, in the same groups after each of the three.
A try counts by its reward (eq. 11) less the best sample's. Feedback counts as feedback only if the own analysis beats
both controls (proof.md 18). --corrections: the refit also fits the good plan after a correction prompt.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from takeover.collect.training_data import preference_pairs, recovery_samples, uneventful_replay
from takeover.models.policy import Policy
from takeover.refine.anchor_stage import compare_feedback
from takeover.refine.config import AnchorConfig, RefitConfig, SftConfig
from takeover.refine.features import FeatureCache
from takeover.refine.refit import refit_head
from takeover.refine.sft import run_sft
from takeover.store import learnt
from takeover.store.database import Store


def main() -> None:
    """Print mean gain and share of better tries of each kind, over seeds of the noise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument(
        "--weights", type=Path, required=True, help="start of the teaching, such as generation 0"
    )
    parser.add_argument("--corrections", action="store_true")
    parser.add_argument("--fold", type=int, choices=(0, 1), default=0, help="the half that is held out")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()

    def held_out(case_id: str) -> bool:
        return int(hashlib.sha256(case_id.encode()).hexdigest(), 16) % 2 == options.fold

    store = Store(options.home)
    found = learnt.sources(store)
    every = preference_pairs(store, found)
    pairs = [pair for pair in every if held_out(pair.case_id)]
    samples = [s for s in recovery_samples(store, found, every) if not held_out(s.case_id)]
    replay = uneventful_replay(store, found)
    policy = Policy.load(options.weights)
    with tempfile.TemporaryDirectory() as folder:
        run_sft(policy, samples, SftConfig(), 0, out_dir=Path(folder), replay=replay)
    refit_head(policy, [*samples, *replay], RefitConfig(corrections=options.corrections), 0)
    cache = FeatureCache(policy)
    for variant in ("published", "directional"):
        config = AnchorConfig(variant=variant)
        found = [compare_feedback(policy, pairs, config, seed, cache=cache) for seed in range(options.seeds)]
        print(
            f"{variant}: {len(pairs)} held-out pairs, {options.seeds} seeds, corrections {options.corrections}"
        )
        for kind in found[0]:
            gains = np.array([one[kind].gain / max(1, one[kind].tried) for one in found])
            better = np.array([one[kind].better / max(1, one[kind].tried) for one in found])
            groups = np.mean([one[kind].groups for one in found])
            spread = gains.std(ddof=1) if len(gains) > 1 else float("nan")
            print(
                f"  {kind:9s} groups {groups:5.0f}  gain a try {gains.mean():+.4f} (sd over seeds {spread:.4f})"
                f"  better than every sample {100 * better.mean():5.1f} %"
            )


if __name__ == "__main__":
    main()
