"""Wake-up lateness of a loop with and without recording, at 20 and 60 Hz, bare and recording blocks in turn.

python -P benchmarks/cockpit_jitter.py [--seconds 5] [--pairs 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from takeover.collect.arbiter import Decision
from takeover.collect.recorder import Recorder, Recording
from takeover.sim_bridge.moment import MapPolygons, Moment
from takeover.vocabulary import (
    Authority,
    CameraSpec,
    Case,
    Command,
    Control,
    EgoState,
    Frame,
    HandoverState,
    Outcome,
    Plan,
)

CASE = Case("LaneFollowing", 3)


class Still:
    """What a recorder asks of a drive, for a drive that does not move."""

    case, history = CASE, ()
    cameras = (CameraSpec(),)
    route_centerline_m = np.zeros((2, 2))
    map_name, map_sha256 = "none", "none"
    scenario_info: ClassVar[dict[str, Any]] = {}

    def map_polygons(self) -> MapPolygons:
        """No surface."""
        return MapPolygons((), (), ())


def moment_at(tick: int, images: np.ndarray, hz: float) -> Moment:
    """A moment, with a camera set at 2 Hz."""
    frame = Frame(tick, images) if tick % round(hz / 2) == 0 else None
    ego = EgoState(0.1 * tick, 0.0, 0.0, 5.0)
    return Moment(
        tick, tick / hz, ego, (), frame, Command.FOLLOW_LANE, 0.1 * tick, 100.0, 0.0, 0.0, False, np.inf, 8.0
    )


def wake_ups(hz: float, seconds: float, home: Path | None) -> tuple[list[float], list[float], float]:
    """Lateness of each wake-up and length of each record call, ms; ms to seal. Without a home nothing is recorded."""
    images = np.random.default_rng(0).integers(0, 255, (1, 96, 192, 3), np.uint8)
    recorder = None
    if home is not None:
        recording = Recording(str(uuid.uuid4()), CASE, "bench", "human")
        recorder = Recorder(home / "episodes", recording, Still(), patience_s=0.0)
        recorder.open(moment_at(0, images, hz))
    decision = Decision(Control(), Authority.POLICY, HandoverState.AUTONOMOUS)
    plan = Plan(np.zeros((8, 2), np.float32), 0)
    late, calls = [], []
    due_s = time.monotonic()
    for tick in range(round(seconds * hz)):
        due_s += 1.0 / hz
        time.sleep(max(due_s - time.monotonic(), 0.0))
        late.append(1e3 * (time.monotonic() - due_s))
        if recorder is not None:
            begun_s = time.perf_counter()
            recorder.on_moment(moment_at(tick, images, hz), decision, Control(), None, plan)
            calls.append(1e3 * (time.perf_counter() - begun_s))
    begun_s = time.perf_counter()
    if recorder is not None:
        recorder.on_end(Outcome(True, 100.0, 100.0))
    return late, calls, 1e3 * (time.perf_counter() - begun_s)


def jitter(seconds: float, pairs: int) -> None:
    """Bare and recording blocks in turn."""
    sys.setswitchinterval(0.0005)
    with tempfile.TemporaryDirectory() as folder:
        for hz in (20.0, 60.0):
            bare, recorded, calls, seals = [], [], [], []
            for _ in range(pairs):
                bare.append(wake_ups(hz, seconds, None)[0])
                late, call, seal_ms = wake_ups(hz, seconds, Path(folder))
                recorded.append(late)
                calls.append(call)
                seals.append(seal_ms)
            ratios = [
                np.percentile(r, 99) / np.percentile(b, 99) for b, r in zip(bare, recorded, strict=True)
            ]
            print(
                f"{hz:.0f} Hz: wake-up lateness p99 bare {_p99(bare):.2f} ms, recording "
                f"{_p99(recorded):.2f} ms, ratio (median of {pairs} pairs) {statistics.median(ratios):.2f}; "
                f"record call p99 {_p99(calls):.3f} ms; seal {statistics.median(seals):.0f} ms"
            )


def _p99(blocks: list[list[float]]) -> float:
    return statistics.median(float(np.percentile(values, 99)) for values in blocks if values)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    jitter(arguments.seconds, arguments.pairs)


if __name__ == "__main__":
    main()
