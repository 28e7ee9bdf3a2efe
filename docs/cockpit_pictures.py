"""Takes the pictures of `cockpit.md` from `loop drive` itself, on a virtual screen with real keys: nothing is posed.

    python -P docs/cockpit_pictures.py HOME [--out DIR]

HOME is a folder with a champion; it is copied, so nothing is recorded there. One sitting with a drive by day, one in rain
and one at night: the policy drives, is stopped (SIGSTOP) until it asks for help, the driver brakes, says why, hands back;
then it is stopped once more and nobody answers. A drive in which a state was missed is driven again. The script looks at
the screen for the banner's colour and presses keys by xdotool. Needs Xvfb and xdotool.
"""

from __future__ import annotations

import argparse
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

import numpy as np
from PIL import Image

from takeover.collect.cockpit.looks import LOOKS
from takeover.store.episodes import EpisodeReader, complete
from takeover.vocabulary import HandoverState

PICTURES = Path(__file__).parent / "pictures"
DISPLAY = ":96"
SIZE = (1280, 720)
# Presses of C from each case's clear noon; what is shown large in the page, and what the case is.
WEATHERS = {"day": 0, "rain": 3, "night": 5}
LARGE = (("autonomous", "day"), ("request", "rain"), ("driver", "night"), ("handback", "day"))
SCENARIO = "PedestrianCrossing"
TRIES = 30
NAMES = {
    HandoverState.AUTONOMOUS: "autonomous",
    HandoverState.REQUESTED: "request",
    HandoverState.DRIVER: "driver",
    HandoverState.HANDBACK: "handback",
    HandoverState.PROBATION: "probation",
    HandoverState.SAFE_STOP: "safe-stop",
}
BANNER_PX = (640, 28)  # above its word
CAP_PX, CAP = (124, 670), 200  # its ground is nearly white
PATIENCE_S = 240.0
HOME = (
    "episodes",
    "generations",
    "journal",
    "maps",
    "mlartifacts",
    "stages",
    "loop.duckdb",
    "mlflow.db",
    "loop.yaml",
)
MAX_BYTES, COLOURS = 400_000, 256


class Missed(Exception):
    """A state has not been seen."""


class Screen:
    """A virtual screen with keys and one window."""

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

    def _layout(self) -> tuple[int, int, int, int]:
        """First byte of the pixels, bytes a line, width and height, out of the buffer's XWD head."""
        self._lives()  # a dead one's last picture stays in its buffer
        with self._buffer.open("rb") as buffer:
            head = np.frombuffer(buffer.read(100), ">u4")
        size, width, height, line, colours = (int(head[i]) for i in (0, 4, 5, 12, 19))
        return size + 12 * colours, line, width, height

    def picture(self) -> Image.Image:
        """What is on the screen."""
        first, line, width, height = self._layout()
        pixels = np.frombuffer(self._buffer.read_bytes(), np.uint8, line * height, first)
        return Image.fromarray(pixels.reshape(height, line // 4, 4)[:, :width, 2::-1])

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        """One pixel of it, quickly: a request may last half a second."""
        first, line, _, _ = self._layout()
        with self._buffer.open("rb") as buffer:
            buffer.seek(first + y * line + 4 * x)
            blue, green, red = buffer.read(3)
        return red, green, blue

    def shows(self, state: HandoverState) -> bool:
        """Whether the banner has the state's colour."""
        return max(abs(a - b) for a, b in zip(self.pixel(*BANNER_PX), LOOKS[state].colour, strict=True)) < 7

    def asks(self) -> bool:
        """Whether a page waits for a key: the first key cap at its foot."""
        return min(self.pixel(*CAP_PX)) > CAP

    def await_page(self) -> None:
        """Until a page waits for a key."""
        until_s = time.monotonic() + PATIENCE_S
        while not self.asks():
            if time.monotonic() > until_s:
                raise SystemExit(f"no page has come in {PATIENCE_S:g} s")
            time.sleep(0.1)

    def enter(self) -> None:
        """Agree to every page up to the first drive."""
        until_s = time.monotonic() + PATIENCE_S
        while not self.shows(HandoverState.AUTONOMOUS):
            if time.monotonic() > until_s:
                raise SystemExit(f"no drive has begun in {PATIENCE_S:g} s")
            if self.asks():
                self.keys("key", "Return")
                gone_s = time.monotonic() + 3.0
                while self.asks() and time.monotonic() < gone_s:
                    time.sleep(0.02)
            time.sleep(0.02)

    def await_state(self, state: HandoverState, patience_s: float) -> Image.Image:
        """The first picture of a state.

        Raises:
            Missed: It does not come.
        """
        until_s = time.monotonic() + patience_s
        while time.monotonic() < until_s:
            if self.shows(state):
                return self.picture()
            time.sleep(0.005)
        raise Missed(NAMES[state])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def cockpit(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`loop drive` in its window."""
    command = [sys.executable, "-P", "-m", "takeover", "drive", "--driver", "Robin", "--scenarios", SCENARIO]
    environment = {**os.environ, "DISPLAY": DISPLAY, "OMP_NUM_THREADS": "1", "SDL_AUDIODRIVER": "dummy"}
    environment |= {"LOOP_DRIVE__PRACTICE_S": "0"}
    environment.pop("SDL_VIDEODRIVER", None)
    with (home / "pictures.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, env=environment)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def policies(process: subprocess.Popen[bytes]) -> list[int]:
    """Process ids of the policy that plans."""
    found = []
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"takeover.models.brain" in words and b"--words" not in words:
            found.append(int(child))
    return found


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The policy makes no plan meanwhile."""
    pids = policies(process)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def drive(screen: Screen, process: subprocess.Popen[bytes], weather: str) -> dict[str, Image.Image]:
    """One drive: a picture of each state.

    Raises:
        Missed: A state was not seen.
    """
    shots: dict[str, Image.Image] = {}

    def keep(state: HandoverState, after_s: float, patience_s: float = 5.0) -> None:
        shots[NAMES[state]] = screen.await_state(state, patience_s)
        if after_s:
            time.sleep(after_s)
            if not screen.shows(state):
                raise Missed(NAMES[state])
            shots[NAMES[state]] = screen.picture()

    screen.await_state(HandoverState.AUTONOMOUS, PATIENCE_S)
    for _ in range(WEATHERS[weather]):
        screen.keys("key", "c")
    if weather == "night":
        screen.keys("key", "Tab")
    keep(HandoverState.AUTONOMOUS, 1.0)
    with stopped(process):
        keep(HandoverState.REQUESTED, 0.0)
        screen.keys("keydown", "s")
    screen.await_state(HandoverState.DRIVER, 5.0)
    time.sleep(0.3)
    screen.keys("keyup", "s")
    screen.keys("keydown", "w", "keydown", "a")
    screen.keys("key", "1")
    keep(HandoverState.DRIVER, 0.6)
    screen.keys("keyup", "a", "keyup", "w")
    screen.keys("key", "g")
    time.sleep(0.6)
    screen.keys("key", "y")
    keep(HandoverState.HANDBACK, 0.1)
    keep(HandoverState.PROBATION, 0.3)
    with stopped(process):
        keep(HandoverState.SAFE_STOP, 0.5)
    return shots


def sitting(
    screen: Screen, process: subprocess.Popen[bytes], shots: dict[tuple[str, str], Image.Image]
) -> None:
    """The drives, then the last page."""
    screen.enter()
    for weather in WEATHERS:
        for _ in range(TRIES):
            try:
                shots.update({(name, weather): one for name, one in drive(screen, process, weather).items()})
                break
            except Missed as missed:
                sys.stderr.write(f"{weather}: missed {missed}, once more\n")
            finally:
                screen.keys("keyup", "s", "keyup", "w", "keyup", "a")
                screen.keys("key", "BackSpace")  # another drive
                time.sleep(1.0)
        else:
            raise SystemExit(f"no complete drive: {weather}")
    screen.await_state(HandoverState.AUTONOMOUS, PATIENCE_S)
    screen.keys("key", "Escape")
    screen.await_page()
    shots["end", ""] = screen.picture()
    screen.keys("key", "Return")
    process.wait(PATIENCE_S)


def replay(screen: Screen, home: Path) -> Image.Image:
    """The newest drive with a takeover, watched in `loop replay`."""
    recorded = sorted(complete(home / "episodes"), key=lambda path: path.stat().st_mtime, reverse=True)
    readers = (EpisodeReader(path) for path in recorded)
    newest = next(
        reader.path
        for reader in readers
        if reader.meta.driver_kind == "human" and any(event.kind == "handback" for event in reader.events)
    )
    command = [sys.executable, "-P", "-m", "takeover", "replay", newest.name]
    environment = {**os.environ, "DISPLAY": DISPLAY}
    environment.pop("SDL_VIDEODRIVER", None)
    process = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + PATIENCE_S
        while screen.pixel(*BANNER_PX) == (0, 0, 0) and time.monotonic() < until_s:
            time.sleep(0.1)
        time.sleep(2.0)
        screen.keys("key", "Page_Down")
        time.sleep(0.6)
        screen.keys("key", "space")
        time.sleep(0.6)
        return screen.picture()
    finally:
        screen.keys("key", "Escape")
        process.wait(PATIENCE_S)


def write(picture: Image.Image, name: str, out: Path) -> None:
    """A file of at most MAX_BYTES; rain needs fewer colours for that."""
    path = out / f"cockpit-{name}.png"
    picture.save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def sheet(shots: dict[tuple[str, str], Image.Image], weather: str) -> Image.Image:
    """All states side by side."""
    width, height = SIZE[0] // 3, SIZE[1] // 3
    made = Image.new("RGB", (3 * width, 2 * height))
    for at, name in enumerate(NAMES.values()):
        small = shots[name, weather].resize((width, height), Image.Resampling.LANCZOS)
        made.paste(small, (width * (at % 3), height * (at // 3)))
    return made


def main() -> None:
    """Drive, look, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("home", type=Path)
    parser.add_argument("--out", type=Path, default=PICTURES)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    shots: dict[tuple[str, str], Image.Image] = {}
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        for name in HOME:
            if (arguments.home / name).is_dir():
                shutil.copytree(arguments.home / name, home / name)
            elif (arguments.home / name).exists():
                shutil.copy(arguments.home / name, home / name)
        screen = Screen(Path(scratch))
        try:
            with cockpit(home) as process:
                sitting(screen, process, shots)
            for name, weather in LARGE:
                write(shots[name, weather], name, arguments.out)
            write(shots["end", ""], "end", arguments.out)
            for weather in WEATHERS:
                write(sheet(shots, weather), f"states-{weather}", arguments.out)
            write(replay(screen, home), "replay", arguments.out)
        finally:
            screen.close()


if __name__ == "__main__":
    main()
