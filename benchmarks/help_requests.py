"""How often would the policy ask for help without need? The threshold of `plan_disagreement_m` from a home's drives.

    python -P benchmarks/help_requests.py HOME [--rate 12] [--rate 60]

For each generation that drove: the threshold computed from every second drive, and what it does on the other half, which
it has not seen. A rate below one request in the hours of a half cannot be told from none.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from takeover.collect.help_requests import (
    FALSE_PER_HOUR,
    ConfidenceTrace,
    Exposure,
    calibrate,
    evaluate,
    trace_of,
)
from takeover.store.episodes import EpisodeReader, sealed


def main() -> None:
    """Read the drives, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("home", type=Path)
    parser.add_argument("--rate", type=float, action="append", help="accepted false requests per hour")
    options = parser.parse_args()
    traces: dict[str, list[ConfidenceTrace]] = defaultdict(list)
    for path in sealed(options.home / "episodes"):
        episode = EpisodeReader(path)
        if episode.meta.planner == "policy":
            traces[episode.meta.generation].append(trace_of(episode))
    for generation, found in sorted(traces.items()):
        values_m = np.array([value for trace in found for value in trace.disagreement_m])
        if not len(values_m):
            continue
        quantiles = ", ".join(f"{q} %: {np.percentile(values_m, q):.2f} m" for q in (50, 90, 99))
        print(
            f"generation {generation}: {len(found)} drives, {len(values_m)} plans, disagreement {quantiles}"
        )
        for rate in options.rate or [FALSE_PER_HOUR, 60.0, 120.0]:
            learnt = calibrate(found[::2], rate)
            unseen = evaluate(found[1::2], learnt.threshold_m)
            why = unseen.off_because(Exposure()) or "good enough to use"
            print(
                f"  asked for {rate:.0f}/h: threshold {learnt.threshold_m:.2f} m; on unseen drives "
                f"{unseen.false_per_hour:.0f} false/h in {unseen.hours:.2f} h, "
                f"{unseen.foreseen} of {unseen.needs} needs foreseen: {why}"
            )


if __name__ == "__main__":
    main()
