"""Takes the pictures of `cockpit.md` from `loop drive` itself, on a virtual screen with real keys: nothing is posed.

    python -P docs/cockpit_pictures.py HOME [--out DIR]

HOME is a folder with a champion; it is copied, so nothing is recorded there. Each of day, rain and night is one drive: the
policy drives, is stopped (SIGSTOP) until it asks for help, the driver brakes, says why, hands back; then it is stopped once
more and nobody answers. The script looks at the screen for the banner's colour and presses keys by xdotool. Needs Xvfb and
xdotool.
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
SCENARIOS = {"day": "ParkedObstacle", "rain": "ConstructionObstacle", "night": "DynamicObjectCrossing"}
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
COLOURS = 200  # of a picture on disk


class Screen:
    """A virtual screen with keys and one window."""

    def __init__(self, folder: Path) -> None:
        self._buffer = folder / "Xvfb_screen0"
        self._process = subprocess.Popen(
            ["Xvfb", DISPLAY, "-screen", "0", "1280x720x24", "-fbdir", str(folder), "-nolisten", "tcp"],
            stderr=subprocess.DEVNULL,
        )
        while not self._buffer.exists():
            time.sleep(0.05)

    def keys(self, *command: str) -> None:
        """One call of xdotool."""
        subprocess.run(["xdotool", *command], env={**os.environ, "DISPLAY": DISPLAY}, check=True)

    def _layout(self) -> tuple[int, int, int, int]:
        """First byte of the pixels, bytes a line, width and height, out of the buffer's XWD head."""
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

    def await_state(self, state: HandoverState) -> Image.Image:
        """The first picture of a state."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            if self.shows(state):
                return self.picture()
            time.sleep(0.005)
        raise SystemExit(f"{NAMES[state]} has not come in {PATIENCE_S:g} s")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def cockpit(home: Path, weather: str) -> Iterator[subprocess.Popen[bytes]]:
    """`loop drive` in its window."""
    command = [sys.executable, "-P", "-m", "takeover", "drive", "--driver", "Robin"]
    command += ["--scenarios", SCENARIOS[weather], "--seed", "4"]
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
            process.wait(30.0)


def policies(process: subprocess.Popen[bytes]) -> list[int]:
    """Process ids of the policy that plans."""
    found = []
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"takeover.models.brain" in words and b"--words" not in words:
            found.append(int(child))
    return found


def drive(screen: Screen, home: Path, weather: str, shots: dict[tuple[str, str], Image.Image]) -> None:
    """One sitting of one drive in one weather, to the end page."""

    def keep(state: HandoverState, after_s: float = 0.0) -> None:
        taken = screen.await_state(state)
        if after_s:
            time.sleep(after_s)
            taken = screen.picture()
        shots[NAMES[state], weather] = taken
        sys.stderr.write(f"{weather}: {NAMES[state]}\n")

    with cockpit(home, weather) as process:
        screen.await_page()
        if not (home / "drivers.json").exists():
            screen.keys("key", "Return")  # the name is given: consent
            time.sleep(0.5)
            screen.await_page()
        screen.keys("key", "Return")
        screen.await_state(HandoverState.AUTONOMOUS)
        for _ in range(WEATHERS[weather]):
            screen.keys("key", "c")
        if weather == "night":
            screen.keys("key", "Tab")
        keep(HandoverState.AUTONOMOUS, 0.8)
        for pid in policies(process):
            os.kill(pid, signal.SIGSTOP)
        keep(HandoverState.REQUESTED)
        screen.keys("keydown", "s")
        for pid in policies(process):
            os.kill(pid, signal.SIGCONT)
        screen.await_state(HandoverState.DRIVER)
        time.sleep(0.2)
        screen.keys("keyup", "s")
        screen.keys("keydown", "w")
        time.sleep(0.5)
        screen.keys("keydown", "a")
        screen.keys("key", "1")
        keep(HandoverState.DRIVER, 0.2)
        screen.keys("keyup", "a")
        screen.keys("keyup", "w")
        screen.keys("key", "g")
        time.sleep(0.4)
        screen.keys("key", "y")
        keep(HandoverState.HANDBACK, 0.15)
        keep(HandoverState.PROBATION, 0.3)
        for pid in policies(process):
            os.kill(pid, signal.SIGSTOP)
        keep(HandoverState.SAFE_STOP, 0.4)
        for pid in policies(process):
            os.kill(pid, signal.SIGCONT)
        screen.keys("key", "Escape")
        screen.await_page()
        shots["end", weather] = screen.picture()
        screen.keys("key", "Return")
        process.wait(60.0)


def replay(screen: Screen, home: Path) -> Image.Image:
    """The newest drive with a takeover, watched in `loop replay`."""
    newest = max(
        (path for path in complete(home / "episodes") if EpisodeReader(path).meta.driver_kind == "human"),
        key=lambda path: path.stat().st_mtime,
    )
    command = [sys.executable, "-P", "-m", "takeover", "replay", newest.name]
    environment = {**os.environ, "DISPLAY": DISPLAY}
    environment.pop("SDL_VIDEODRIVER", None)
    process = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.DEVNULL)
    try:
        time.sleep(6.0)
        screen.keys("key", "Page_Down")
        time.sleep(0.6)
        screen.keys("key", "space")
        time.sleep(0.6)
        return screen.picture()
    finally:
        screen.keys("key", "Escape")
        process.wait(30.0)


def write(picture: Image.Image, name: str, out: Path) -> None:
    """A small file."""
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(out / f"cockpit-{name}.png", optimize=True)


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
            for weather in WEATHERS:
                drive(screen, home, weather, shots)
            shots["replay", ""] = replay(screen, home)
        finally:
            screen.close()
    for name, weather in LARGE:
        write(shots[name, weather], name, arguments.out)
    write(shots["end", "night"], "end", arguments.out)
    write(shots["replay", ""], "replay", arguments.out)
    for weather in WEATHERS:
        sheet = Image.new("RGB", (SIZE[0], 3 * SIZE[1] // 2))
        for at, name in enumerate(NAMES.values()):
            small = shots[name, weather].resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.LANCZOS)
            sheet.paste(small, (SIZE[0] // 2 * (at % 2), SIZE[1] // 2 * (at // 2)))
        write(sheet, f"states-{weather}", arguments.out)


if __name__ == "__main__":
    main()
