"""Latency and jitter of the cockpit, on this machine, beside the machine's own.

    python benchmarks/cockpit.py latency --policy DIR    # input -> apply_control at the server, -> first tick, with faults
    python benchmarks/cockpit.py jitter                  # wake-up lateness with and without recording, 20 and 60 Hz

Input is a key event posted to SDL; the server writes the time at which each call reaches it (`--trace`); both clocks are
CLOCK_MONOTONIC of one machine. Blocks of all conditions take turns, so that a busy machine meets all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")

import numpy as np
import pygame

from takeover.collect.arbiter import Decision
from takeover.collect.cockpit.app import DriveSettings, drive_episode
from takeover.collect.cockpit.hud import Hud
from takeover.collect.cockpit.links import Links, LinkSettings
from takeover.collect.cockpit.views import HEIGHT_PX, WIDTH_PX
from takeover.collect.devices.devices import Devices
from takeover.collect.recorder import Recorder, Recording
from takeover.sim_bridge.moment import MapPolygons, Moment
from takeover.store import writer
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

CONDITIONS = ("plain", "policy sleeps", "policy hangs", "policy dies", "disk full", "renderer stalls")
CASE = Case("LaneFollowing", 3)
HELD_S = 0.1


class Server:
    """An embedded server that traces its calls."""

    def __init__(self, folder: Path) -> None:
        self.trace = folder / "trace.tsv"
        command = [sys.executable, "-P", "-m", "takeover.sim_bridge.embedded", "--trace", str(self.trace)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        report = json.loads(self.process.stdout.readline())
        self.address = f"{report['host']}:{report['port']}"

    def calls(self) -> tuple[list[tuple[float, float]], list[float]]:
        """(time, brake) of each control of a vehicle; time of each tick."""
        controls, ticks = [], []
        for line in self.trace.read_text().splitlines():
            at, _, method, arguments = line.split("\t", 3)
            if method == "apply_control_to_vehicle":
                controls.append((float(at), float(eval(arguments, {"__builtins__": {}})[1][2])))
            elif method == "tick_cue":
                ticks.append(float(at))
        return controls, ticks


class StallingHud:
    """A HUD that sleeps for a second now and then."""

    def __init__(self, hud: Hud, stalls: bool) -> None:
        self._hud, self._stalls = hud, stalls

    def draw(self, surface: Any, picture: Any, state: Any, inset: Any = None) -> None:
        """Draw, or stall first."""
        if self._stalls and random.random() < 0.3:
            time.sleep(1.0)
        self._hud.draw(surface, picture, state, inset)


def post(key: int, kind: int) -> float:
    """Post a key event; the time before it."""
    now_s = time.monotonic()
    pygame.event.post(pygame.event.Event(kind, key=key, mod=0, unicode="", scancode=0))
    return now_s


def press(presses: list[float], trials: int, late_ms: list[float]) -> None:
    """The hand-brake again and again, then leave; the sleeps tell the machine's own lateness."""
    time.sleep(3.0)
    for _ in range(trials):
        presses.append(post(pygame.K_SPACE, pygame.KEYDOWN))
        time.sleep(HELD_S)
        post(pygame.K_SPACE, pygame.KEYUP)
        time.sleep(0.06)
        post(pygame.K_y, pygame.KEYDOWN)  # hand back
        wait_s = random.uniform(0.05, 0.15)
        before_s = time.monotonic()
        time.sleep(wait_s)
        late_ms.append(1e3 * (time.monotonic() - before_s - wait_s))
    pygame.event.post(pygame.event.Event(pygame.QUIT))


def disturb(condition: str, links: Links) -> None:
    """The fault of a block."""
    time.sleep(2.5)
    pid = links.brain.pid
    if condition == "policy sleeps":
        for _ in range(3):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(1.0)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.5)
    elif condition == "policy hangs":
        os.kill(pid, signal.SIGSTOP)
    elif condition == "policy dies":
        os.kill(pid, signal.SIGKILL)
    elif condition == "disk full":
        writer.MIN_FREE_SHARE, writer.MIN_FREE_CAP_BYTES = 2.0, 1 << 60


def block(condition: str, server: Server, policy: Path, home: Path, trials: int) -> dict[str, list[float]]:
    """One episode with one condition; latencies in ms."""
    writer.MIN_FREE_SHARE, writer.MIN_FREE_CAP_BYTES = 0.05, 2 * 1024**3
    window = pygame.display.set_mode((WIDTH_PX, HEIGHT_PX))
    presses: list[float] = []
    late_ms: list[float] = []
    settings = LinkSettings(policy, "bench", carla=server.address, words=False, logs=home / "logs")
    with Links(settings) as links:
        while not (links.world.ready and links.brain.ready):
            links.world.take(), links.brain.take()
            time.sleep(0.05)
        pygame.event.clear()
        for target, arguments in ((press, (presses, trials, late_ms)), (disturb, (condition, links))):
            threading.Thread(target=target, args=arguments, daemon=True).start()
        end = drive_episode(
            links, CASE, Devices("keyboard"), window,
            StallingHud(Hud((WIDTH_PX, HEIGHT_PX)), condition == "renderer stalls"),
            episodes=home / "episodes",
            recording=Recording(str(uuid.uuid4()), CASE, "bench", "human"),
            settings=DriveSettings(),
        )  # fmt: skip
        if condition == "policy hangs":
            os.kill(links.brain.pid, signal.SIGCONT)
    writer.MIN_FREE_SHARE, writer.MIN_FREE_CAP_BYTES = 0.05, 2 * 1024**3
    controls, ticks = server.calls()
    tick_times = np.array(ticks)
    received, used, lost = [], [], 0
    first_s, last_s = controls[0][0], controls[-1][0]
    driven = [at for at in presses if first_s < at < last_s - HELD_S]
    for pressed_s in driven:
        found = next((at for at, brake in controls if at >= pressed_s and brake >= 0.999), None)
        if (
            found is None or found - pressed_s > HELD_S
        ):  # not seen while the key was down: as late as can be told
            lost += 1
            received.append(1e3 * HELD_S)
            continue
        received.append(1e3 * (found - pressed_s))
        after = tick_times[tick_times >= found]
        if len(after):
            used.append(1e3 * (float(after[0]) - pressed_s))
    print(
        f"  {condition:16} end {end.end}, {end.problem or 'recorded'}, {lost} of {len(driven)} late by more than {HELD_S} s",
        flush=True,
    )
    return {"received": received, "used": used, "sleep": late_ms}


def latency(policy: Path, trials: int, rounds: int, conditions: tuple[str, ...]) -> None:
    """Input to the server, condition by condition in turn."""
    pygame.init()
    found: dict[str, dict[str, list[list[float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for number in range(rounds):
            for condition in conditions:
                server = Server(home)
                measured = block(condition, server, policy, home / f"{number}-{condition}", trials)
                server.process.terminate()
                server.process.wait()
                for name, values in measured.items():
                    found.setdefault(condition, {}).setdefault(name, []).append(values)
    print(f"{'condition':18}{'received p50':>14}{'p99':>8}{'tick p99':>10}{'sleep late p99':>16}{'n':>6}")
    for condition in conditions:
        row = found[condition]
        p50, p99 = _median(row["received"], 50), _median(row["received"], 99)
        tick, late = _median(row["used"], 99), _median(row["sleep"], 99)
        count = sum(map(len, row["received"]))
        print(f"{condition:18}{p50:14.1f}{p99:8.1f}{tick:10.1f}{late:16.1f}{count:6}")


def _median(blocks: list[list[float]], percent: float) -> float:
    return statistics.median(float(np.percentile(values, percent)) for values in blocks if values)


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
                f"{hz:.0f} Hz: wake-up lateness p99 bare {_median(bare, 99):.2f} ms, recording "
                f"{_median(recorded, 99):.2f} ms, ratio (median of {pairs} pairs) {statistics.median(ratios):.2f}; "
                f"record call p99 {_median(calls, 99):.3f} ms; seal {statistics.median(seals):.0f} ms"
            )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("latency", "jitter"))
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS)
    parser.add_argument("--trials", type=int, default=40, help="more than about 45 outlast the episode")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what == "jitter":
        jitter(arguments.seconds, arguments.pairs)
    elif arguments.policy is None:
        parser.error("latency needs --policy")
    else:
        latency(arguments.policy, arguments.trials, arguments.rounds, tuple(arguments.conditions))


if __name__ == "__main__":
    main()
