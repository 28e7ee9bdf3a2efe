"""One round of `loop run --driver human` with xdotool at the keys of a virtual screen, killed once on the way.

    python -P benchmarks/human_round.py [--episodes 3] [--home DIR] [--pictures DIR]

From the first key to a refined generation: consent, start page, drives with takeovers by the brake pedal, labels, hand-back,
sealed episodes, segments, pairs, the end page, a registered generation with its gate. The run is killed with SIGKILL after
its first sealed drive, and the same command goes on. Needs Xvfb and xdotool. Prints JSON; exit status 1 when something is
missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from takeover.collect.cockpit.looks import LOOKS
from takeover.store import queries
from takeover.store.database import Store
from takeover.store.episodes import EpisodeReader, complete
from takeover.vocabulary import HandoverState

CONFIG = """
sim: {{workers: 1}}
drive: {{practice_s: 0}}
bootstrap: {{nominal_episodes: 12, longtail_episodes: 6, decoy_episodes: 0,
  see_steps: 60, max_steps: 60, refit_epochs: 8, batch: 8}}
collect: {{episodes: {episodes}, nominal_share: 0.0}}
gate: {{longtail_cases: 8, nominal_cases: 4}}
refine:
  sft: {{max_steps: 2, per_device_train_batch_size: 4}}
  dpo: {{max_steps: 1, per_device_train_batch_size: 4}}
  grpo: {{max_steps: 1}}
  refit: {{epochs: 1, max_samples: 16}}
  anchor: {{epochs: 1}}
"""
DISPLAY = ":97"
TIMEOUT_S = 900.0
CAP_PX, CAP = (124, 670), 200  # its ground is nearly white
BANNER_PX = (640, 28)  # above its word
# A drive's keys, over and over: (seconds to wait before, what xdotool does).
DRIVE: tuple[tuple[float, tuple[str, ...]], ...] = (
    (1.5, ("keydown", "s")),
    (1.5, ("keyup", "s")),
    (0.2, ("key", "g")),
    (0.2, ("key", "1")),
    (0.6, ("key", "y")),
    (0.3, ("key", "Tab")),
)


class Screen:
    """A virtual screen with keys.

    Args:
        folder: For its frame buffer.
    """

    def __init__(self, folder: Path) -> None:
        self._buffer = folder / "Xvfb_screen0"
        self._process = subprocess.Popen(
            ["Xvfb", DISPLAY, "-screen", "0", "1280x720x24", "-fbdir", str(folder), "-nolisten", "tcp"],
            stderr=subprocess.DEVNULL,
        )
        while not self._buffer.exists():
            self._lives()
            time.sleep(0.05)

    def _lives(self) -> None:
        if self._process.poll() is not None:
            raise SystemExit(
                f"Xvfb ended with {self._process.returncode}: is another one on {DISPLAY}, or /tmp not writable?"
            )

    def keys(self, *command: str) -> None:
        """One call of xdotool."""
        subprocess.run(["xdotool", *command], env={**os.environ, "DISPLAY": DISPLAY}, check=True)

    def has_window(self) -> bool:
        """Whether something is shown; the only window gets the keys."""
        return bool(np.asarray(self.picture()).any())

    def asks(self) -> bool:
        """Whether a page waits for a key: the first key cap at its foot."""
        return min(self.picture().getpixel(CAP_PX)) > CAP

    def drives(self) -> bool:
        """Whether the policy drives: the colour of the banner."""
        seen = zip(self.picture().getpixel(BANNER_PX), LOOKS[HandoverState.AUTONOMOUS].colour, strict=True)
        return max(abs(a - b) for a, b in seen) < 7

    def await_page(self, process: subprocess.Popen[bytes]) -> None:
        """Until a page waits for a key."""
        until_s = time.monotonic() + TIMEOUT_S
        while not self.asks():
            if process.poll() is not None or time.monotonic() > until_s:
                raise SystemExit("no page has come; see the home's stderr.txt")
            time.sleep(0.1)

    def picture(self) -> Image.Image:
        """What is on the screen."""
        self._lives()  # a dead one's last picture stays in its buffer
        data = self._buffer.read_bytes()
        head = np.frombuffer(data[:100], ">u4")
        size, width, height, line, colours = (int(head[i]) for i in (0, 4, 5, 12, 19))
        pixels = np.frombuffer(data, np.uint8, line * height, size + 12 * colours)
        return Image.fromarray(pixels.reshape(height, line // 4, 4)[:, :width, 2::-1])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def running(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command, always the same one."""
    command = [sys.executable, "-P", "-m", "takeover", "run", "--rounds", "1", "--driver", "human"]
    environment = {**os.environ, "DISPLAY": DISPLAY, "OMP_NUM_THREADS": "1", "SDL_AUDIODRIVER": "dummy"}
    environment.pop("SDL_VIDEODRIVER", None)
    with (home / "stdout.txt").open("ab") as out, (home / "stderr.txt").open("ab") as err:
        process = subprocess.Popen(
            command, cwd=home, stdout=out, stderr=err, env=environment, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def driven(home: Path) -> list[str]:
    """Sealed drives of the human."""
    return [p.name for p in complete(home / "episodes") if EpisodeReader(p).meta.driver_kind == "human"]


def drive(
    screen: Screen, home: Path, process: subprocess.Popen[bytes], wanted: int, pictures: Path | None
) -> None:
    """Press keys until so many drives are sealed, or the run has ended."""
    until_s = time.monotonic() + TIMEOUT_S
    screen.await_page(process)
    if not (home / "drivers.json").exists():
        screen.keys("type", "--delay", "60", "Robin")
    while not screen.drives() and process.poll() is None and time.monotonic() < until_s:
        if screen.asks():
            _shot(screen, pictures, "start" if (home / "drivers.json").exists() else "consent")
            screen.keys("key", "Return")
            gone_s = time.monotonic() + 3.0
            while screen.asks() and time.monotonic() < gone_s:
                time.sleep(0.05)
        time.sleep(0.05)
    turn = 0
    while len(driven(home)) < wanted and process.poll() is None and time.monotonic() < until_s:
        for wait_s, command in DRIVE:
            time.sleep(wait_s)
            if not screen.has_window():
                return
            screen.keys(*command)
            _shot(screen, pictures, f"drive-{turn}-{'-'.join(command)}" if turn < 3 else "")
        turn += 1


def leave(screen: Screen, process: subprocess.Popen[bytes], pictures: Path | None) -> None:
    """Read the end page, and close it."""
    screen.await_page(process)
    _shot(screen, pictures, "end")
    screen.keys("key", "Return")


def _shot(screen: Screen, folder: Path | None, name: str) -> None:
    if folder is not None and name:
        screen.picture().save(folder / f"{name}.png")


def report(home: Path) -> dict[str, Any]:
    """What the home holds at the end."""
    store = Store(home)
    episodes = queries.episodes(store, driver_kind="human")
    takeovers = store.query(
        "SELECT t.* FROM takeovers t JOIN episodes e USING (episode_id) WHERE e.driver_kind = 'human'"
    )
    pairs = [row for row in queries.pairs(store, round_number=1) if row["admitted"]]
    step: dict[str, Any] = next(
        (s["payload"] for s in queries.steps(store) if (s["round"], s["name"]) == (1, "refine")), {}
    )
    return {
        "episodes": len(episodes),
        "rows_equal_ticks": all(
            row["ticks"] == len(EpisodeReader(home / row["path"]).ticks["tick"]) - row["warmup"] for row in episodes
        ),
        "takeovers": len(takeovers),
        "verdicts": sorted({row["verdict"] for row in takeovers}),
        "reasons": sorted({row["reason"] for row in takeovers}),
        "pairs": len(pairs),
        "trained_pairs": len(step.get("data", ())),
        "generations": [
            {key: row[key] for key in ("generation", "parent", "gate")} for row in queries.generations(store)
        ],
    }  # fmt: skip


def main() -> None:
    """Drive, kill, drive on, look."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--pictures", type=Path, default=None)
    arguments = parser.parse_args()
    for tool in ("Xvfb", "xdotool"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        home = (arguments.home or Path(scratch) / "home").resolve()
        home.mkdir(parents=True, exist_ok=True)
        if arguments.pictures is not None:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
        (home / "loop.yaml").write_text(CONFIG.format(episodes=arguments.episodes), encoding="utf-8")
        screen = Screen(Path(scratch))
        started_s = time.monotonic()
        try:
            with running(home) as process:  # killed at the end of the block
                drive(screen, home, process, 1, arguments.pictures)
            before = driven(home)
            with running(home) as process:
                drive(screen, home, process, arguments.episodes, None)
                leave(screen, process, arguments.pictures)
                process.wait(TIMEOUT_S)
                status = process.returncode
        finally:
            screen.close()
        found = {**report(home), "exit_status": status, "seconds": round(time.monotonic() - started_s, 1)}
        found["kept_over_the_kill"] = set(before) <= set(driven(home)) and len(before) >= 1
    print(json.dumps(found, indent=2))
    good = (
        status == 0
        and found["episodes"] == arguments.episodes
        and found["kept_over_the_kill"]
        and found["pairs"] > 0
        and found["trained_pairs"] > 0
        and len(found["generations"]) == 2
    )
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
