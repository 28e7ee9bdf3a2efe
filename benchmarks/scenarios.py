"""What the scenarios ask for: success of the expert, of standing still and of never braking, per type.

    python -P benchmarks/scenarios.py --seeds 10 [--types DynamicObjectCrossing,...] [--who expert,never_brake]

Each row is one type (and its decoy twin) on train seeds: successes, mean ticks, hardest braking, ticks per second.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable

import numpy as np

from takeover.collect.planners import AlwaysBrake, ExpertPlanner, NeverBrake, Planner
from takeover.collect.session import run_episode
from takeover.sim_bridge.bridge import Bridge, leave_process
from takeover.sim_bridge.drive import Drive
from takeover.sim_bridge.expert import Expert
from takeover.sim_bridge.scenarios.cases import ALL_TYPES, NOMINAL_TYPES
from takeover.sim_bridge.server import EmbeddedServer
from takeover.vocabulary import CameraSpec, Case, Outcome

PLANNERS = ("expert", "always_brake", "never_brake")


class Extremes:
    """Ticks and the hardest braking of one drive; a subscriber of the drive loop."""

    def __init__(self) -> None:
        self.ticks = 0
        self.accel_mps2 = 0.0

    def on_moment(self, moment, decision, policy, driver, plan) -> None:  # type: ignore[no-untyped-def]
        """One tick."""
        self.ticks += 1
        self.accel_mps2 = min(self.accel_mps2, moment.ego.accel_mps2)

    def on_plan(self, plan, pose) -> None:  # type: ignore[no-untyped-def]
        """A plan was made."""

    def on_event(self, kind: str, tick: int, data: dict[str, object]) -> None:
        """Something happened."""


def planner_of(who: str, drive: Drive) -> Planner:
    """A fresh planner by name."""
    if who == "expert":
        return ExpertPlanner(drive, Expert())
    return AlwaysBrake() if who == "always_brake" else NeverBrake(drive)


def measure(drive: Drive, cases: Iterable[Case], who: str) -> tuple[list[Outcome], list[Extremes], float]:
    """Outcomes, extremes and seconds of some cases."""
    outcomes, extremes = [], []
    started_s = time.perf_counter()
    for case in cases:
        extremes.append(Extremes())
        outcomes.append(run_episode(drive, case, planner_of(who, drive), subscribers=[extremes[-1]]))
    return outcomes, extremes, time.perf_counter() - started_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--types", default=",".join(ALL_TYPES))
    parser.add_argument("--who", default=",".join(PLANNERS))
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    server = EmbeddedServer.start()
    with Bridge(server.host, server.port) as bridge:
        drive = Drive(bridge, (CameraSpec(),))
        print(
            f"{'type':34} {'planner':13} {'success':>8} {'ticks':>6} {'brake':>6} {'worst':>6} {'ticks/s':>8}  lost by"
        )
        for scenario in arguments.types.split(","):
            for decoy in (False,) if scenario in NOMINAL_TYPES else (False, True):
                cases = [Case(scenario, seed, decoy) for seed in seeds]
                for who in arguments.who.split(","):
                    outcomes, extremes, wall_s = measure(drive, cases, who)
                    ticks = [e.ticks for e in extremes]
                    brakes = [-e.accel_mps2 for e in extremes]
                    lost = {
                        end: [
                            c.seed
                            for c, o in zip(cases, outcomes, strict=True)
                            if o.end == end and not o.success
                        ]
                        for end in sorted(Counter(o.end for o in outcomes if not o.success))
                    }
                    print(
                        f"{scenario + ('.decoy' if decoy else ''):34} {who:13} "
                        f"{sum(o.success for o in outcomes):>4}/{len(cases):<3} {np.mean(ticks):6.0f} "
                        f"{np.mean(brakes):6.1f} {max(brakes):6.1f} {sum(ticks) / wall_s:8.0f}  {lost or ''}",
                        flush=True,
                    )
        drive.close()
    server.close()
    sys.stdout.flush()
    leave_process()


if __name__ == "__main__":
    main()
