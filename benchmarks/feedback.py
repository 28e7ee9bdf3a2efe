"""Does feedback refinement feed back? The scene's own analysis against another scene's and against plain sampling.

    python -P benchmarks/feedback.py --home HOME [--weights FOLDER] [--seeds 5] [--teach]

Reads the pairs of a finished run, teaches SFT and refit on them if told to (weights that never saw the analysis cannot
follow it), and tries corrected plans for the same groups after each of the three. A try counts by its reward (eq. 11)
less the best sample's. Feedback counts as feedback only if the own analysis beats both controls (proof.md 18).
"""

from __future__ import annotations

import argparse
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
from takeover.store.database import Store


def main() -> None:
    """Print mean gain and share of better tries of each kind, over seeds of the noise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument(
        "--weights", type=Path, help="a folder of weights; the newest generation of the home if absent"
    )
    parser.add_argument("--rounds", type=int, default=1_000_000, help="pairs up to this round")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--teach", action="store_true", help="SFT and refit on the pairs first")
    options = parser.parse_args()
    store = Store(options.home)
    pairs = preference_pairs(store, up_to_round=options.rounds)
    weights = options.weights or max(
        (options.home / "generations").iterdir(), key=lambda f: f.stat().st_mtime
    )
    policy = Policy.load(weights)
    if options.teach:
        samples, replay = recovery_samples(store, pairs), uneventful_replay(store)
        with tempfile.TemporaryDirectory() as folder:
            run_sft(policy, samples, SftConfig(), 0, out_dir=Path(folder), replay=replay)
        refit_head(policy, [*samples, *replay], RefitConfig(), 0)
    cache = FeatureCache(policy)
    for variant in ("published", "directional"):
        config = AnchorConfig(variant=variant)
        found = [compare_feedback(policy, pairs, config, seed, cache=cache) for seed in range(options.seeds)]
        print(f"{variant}: {len(pairs)} pairs, {options.seeds} seeds, weights {weights.name}")
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
