"""From an input event to the server: `apply_control` received, and the first tick that uses it, with and without faults.

    python -P benchmarks/cockpit_latency.py --policy DIR [--rounds 4] [--presses 56]

One embedded server, one world and one policy process; drive after drive in real time, each under one condition, conditions
in a new random order in every round, so that a busy machine meets all of them alike. `plain again` is `plain` once more:
what its ratio differs from 1 is noise. A press of the hand-brake is one sample (a takeover, for the car is handed back
before each), letting it go another. Input is a key event posted to SDL; the server writes when each call reaches it
(`--trace`); both clocks are CLOCK_MONOTONIC. Intervals are 95 % bootstraps. About four minutes with the defaults.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from ast import literal_eval
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")

import numpy as np
import pygame

from takeover.collect.cockpit.app import DriveSettings, drive_episode
from takeover.collect.cockpit.hud import Hud
from takeover.collect.cockpit.layers import Layers
from takeover.collect.cockpit.links import Links, LinkSettings
from takeover.collect.cockpit.views import HEIGHT_PX, WIDTH_PX
from takeover.collect.devices.devices import Devices
from takeover.collect.recorder import Recording
from takeover.store import writer
from takeover.vocabulary import Case

PLAIN = "plain"
CONDITIONS = (
    PLAIN,
    "plain again",
    "policy sleeps 1 s",
    "policy hangs",
    "policy dies",
    "disk full",
    "renderer stalls",
)
CASE = Case("LaneFollowing", 3)
DOWN_S, UP_S = 0.05, (0.035, 0.065)  # the gap varies, so that presses drift over the turns of all loops
SETTLE_S = 0.5
LATE_S = 0.2  # what has not come by then counts as this late
FULL = 0.999  # of the brake
RESAMPLES = 2000


class Server:
    """An embedded server that traces its calls."""

    def __init__(self, folder: Path) -> None:
        self._trace = folder / "trace.tsv"
        command = [sys.executable, "-P", "-m", "takeover.sim_bridge.embedded", "--trace", str(self._trace)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        report = json.loads(self.process.stdout.readline())
        self.address = f"{report['host']}:{report['port']}"
        self._read = 0

    def calls(self) -> tuple[list[tuple[float, float]], list[float]]:
        """(time, brake) of each control of a vehicle, and the time of each tick, since the last call."""
        controls, ticks = [], []
        with self._trace.open() as trace:
            trace.seek(self._read)
            lines = trace.read()
        self._read += len(lines.encode())
        for line in lines.splitlines():
            at, _, method, arguments = line.split("\t", 3)
            if method == "apply_control_to_vehicle":
                controls.append((float(at), float(literal_eval(arguments)[1][2])))
            elif method == "tick_cue":
                ticks.append(float(at))
        return controls, ticks


class StallingHud:
    """A HUD that sleeps for a second now and then."""

    def __init__(self, hud: Hud, stalls: bool) -> None:
        self._hud, self._stalls = hud, stalls

    def prepare(self, state: Any, inset: Any = None) -> Layers:
        """Prepare, or stall first."""
        if self._stalls and random.random() < 0.3:
            time.sleep(1.0)
        return self._hud.prepare(state, inset)


def _post(key: int, kind: int) -> float:
    """Post a key event; the time before it."""
    now_s = time.monotonic()
    pygame.event.post(pygame.event.Event(kind, key=key, mod=0, unicode="", scancode=0))
    return now_s


@dataclass(slots=True)
class Presses:
    """When keys went down and up in one drive, and how late this thread's own sleeps were, ms."""

    down_s: list[float] = field(default_factory=list)
    up_s: list[float] = field(default_factory=list)
    sleep_ms: list[float] = field(default_factory=list)

    def make(self, count: int) -> None:
        """The hand-brake again and again, then leave the drive."""
        time.sleep(SETTLE_S)
        for _ in range(count):
            self.down_s.append(_post(pygame.K_SPACE, pygame.KEYDOWN))
            self._sleep(DOWN_S)
            self.up_s.append(_post(pygame.K_SPACE, pygame.KEYUP))
            self._sleep(random.uniform(*UP_S))
            _post(pygame.K_y, pygame.KEYDOWN)  # hand back; refused while there is no fresh plan
            _post(pygame.K_y, pygame.KEYUP)
            self._sleep(0.015)
        pygame.event.post(pygame.event.Event(pygame.QUIT))

    def _sleep(self, wait_s: float) -> None:
        due_s = time.monotonic() + wait_s
        time.sleep(wait_s)
        self.sleep_ms.append(1e3 * (time.monotonic() - due_s))


@dataclass(slots=True)
class Samples:
    """Of one condition, in ms."""

    received: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    sleep: list[float] = field(default_factory=list)
    lost: int = 0

    def add(self, presses: Presses, controls: list[tuple[float, float]], ticks: list[float]) -> None:
        """One drive's."""
        self.sleep += presses.sleep_ms
        at_s = np.array([at for at, _ in controls])
        braked = np.array([brake >= FULL for _, brake in controls])
        tick_s = np.array(ticks)
        for times_s, wanted in ((presses.down_s, True), (presses.up_s, False)):
            for pressed_s in times_s:
                first = int(np.searchsorted(at_s, pressed_s))
                if not 0 < first < len(at_s) or braked[first - 1] == wanted:
                    continue  # before or after the drive, or the plan braked as hard already
                found = np.flatnonzero(braked[first:] == wanted)
                late_s = at_s[first + found[0]] - pressed_s if len(found) else LATE_S
                self.lost += late_s >= LATE_S
                self.received.append(1e3 * min(late_s, LATE_S))
                used = tick_s[tick_s >= pressed_s + late_s]
                if len(used):
                    self.used.append(1e3 * min(float(used[0]) - pressed_s, LATE_S))


@contextlib.contextmanager
def fault(condition: str, links: Links) -> Iterator[None]:
    """The fault of one drive, from before its first press to its end."""
    over = threading.Event()

    def keep() -> None:
        while not over.is_set():
            pid = links.brain.pid
            if condition == "policy sleeps 1 s":
                os.kill(pid, signal.SIGSTOP)
                over.wait(1.0)
                os.kill(pid, signal.SIGCONT)
                over.wait(0.5)
            elif condition == "policy hangs":
                os.kill(pid, signal.SIGSTOP)
                over.wait()
                os.kill(pid, signal.SIGCONT)
            elif condition == "policy dies":
                os.kill(pid, signal.SIGKILL)
                while links.brain.pid == pid and not over.wait(0.05):
                    pass
                while not links.brain.ready and not over.wait(0.05):
                    pass  # it is started again beside the drive, and killed again

    thread = threading.Thread(target=keep, daemon=True)
    share, cap = writer.MIN_FREE_SHARE, writer.MIN_FREE_CAP_BYTES
    if condition.startswith("policy"):
        thread.start()
    elif condition == "disk full":
        writer.MIN_FREE_SHARE, writer.MIN_FREE_CAP_BYTES = 2.0, 1 << 60
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
        writer.MIN_FREE_SHARE, writer.MIN_FREE_CAP_BYTES = share, cap


def await_children(links: Links) -> None:
    """Until world and policy can be used; a policy that a fault has left dead is started again."""
    while not (links.world.ready and links.brain.ready):
        links.world.take(), links.brain.take()
        if links.brain.fault:
            links.brain.restart()
        time.sleep(0.05)


def drive(condition: str, links: Links, server: Server, home: Path, count: int, found: Samples) -> str:
    """One drive under one condition; gives what the cockpit said was wrong."""
    await_children(links)
    pygame.event.clear()
    server.calls()
    presses = Presses()
    hud = StallingHud(Hud((WIDTH_PX, HEIGHT_PX)), condition == "renderer stalls")
    thread = threading.Thread(target=presses.make, args=(count,), daemon=True)
    with fault(condition, links):
        thread.start()
        end = drive_episode(
            links, CASE, Devices("keyboard"), pygame.display.get_surface(), hud,
            episodes=home / "episodes",
            recording=Recording(str(uuid.uuid4()), CASE, "bench", "human"),
            settings=DriveSettings(first_plan_s=0.3),
        )  # fmt: skip
        thread.join()
    pygame.event.clear()
    found.add(presses, *server.calls())
    return end.problem


def interval(values: np.ndarray, over: np.ndarray | None, rng: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap of the 99th percentile, or of its ratio to another condition's."""
    drawn = np.percentile(rng.choice(values, (RESAMPLES, len(values))), 99, axis=1)
    if over is not None:
        drawn = drawn / np.percentile(rng.choice(over, (RESAMPLES, len(over))), 99, axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def report(found: dict[str, Samples]) -> None:
    """One line a condition and measure."""
    rng = np.random.default_rng(0)
    for measure, limit in (("received", "15 ms"), ("used", "one tick + 5 ms = 55 ms"), ("sleep", "none")):
        title = {
            "received": "input -> apply_control at the server",
            "used": "input -> first tick that uses it",
            "sleep": "beside it: how late a thread's own sleep ends",
        }[measure]
        print(f"\n{title} (limit of p99: {limit}), ms")
        print(f"{'condition':18}{'n':>5}{'p50':>7}{'p99':>7}{'95 %':>15}{'ratio':>8}{'95 %':>14}{'lost':>6}")
        plain = np.array(getattr(found[PLAIN], measure))
        for condition, samples in found.items():
            values = np.array(getattr(samples, measure))
            p50, p99 = np.percentile(values, (50, 99))
            low, high = interval(values, None, rng)
            line = f"{condition:18}{len(values):5}{p50:7.1f}{p99:7.1f}{f'[{low:.1f}, {high:.1f}]':>15}"
            if condition != PLAIN:
                least, most = interval(values, plain, rng)
                ratio = p99 / float(np.percentile(plain, 99))
                line += f"{ratio:8.2f}{f'[{least:.2f}, {most:.2f}]':>14}"
            else:
                line += f"{'':22}"
            print(f"{line}{samples.lost:6}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", type=Path, required=True, help="checkpoint folder of a generation")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS)
    parser.add_argument("--presses", type=int, default=56, help="a drive; more than 80 outlast it")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    pygame.init()
    pygame.display.set_mode((WIDTH_PX, HEIGHT_PX))
    random.seed(0)
    found: dict[str, Samples] = defaultdict(Samples, {name: Samples() for name in arguments.conditions})
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = Server(home)
        settings = LinkSettings(
            arguments.policy, "bench", carla=server.address, words=False, logs=home / "logs"
        )
        try:
            with Links(settings) as links:
                for number in range(arguments.rounds):
                    for condition in random.sample(arguments.conditions, len(arguments.conditions)):
                        said = drive(condition, links, server, home, arguments.presses, found[condition])
                        print(f"round {number + 1}: {condition}: {said or 'recorded'}", flush=True)
        finally:
            server.process.terminate()
            server.process.wait()
    report(found)
    print(f"\n{time.monotonic() - begun_s:.0f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
