"""`loop doctor`: checks of the environment, each with its fix."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import StoreLockedError, TakeoverError

MIN_FREE_GB = 2.0
PACKAGES = ("torch", "transformers", "trl", "peft", "carla", "pygame", "duckdb", "mlflow", "typer", "numba")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it should be.
        detail: What was found.
        fix: One line that mends it; empty when ok.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""


def run_checks(home: Path, carla: str = "") -> list[Check]:
    """Look at Python, packages, the CARLA client and server, display, disk, store and MLflow.

    Args:
        home: The loop's home directory.
        carla: host:port of a server to ask for its version; empty asks none.

    Returns:
        Every check, failed or not, in a fixed order.
    """
    checks = [
        _python(),
        *_packages(),
        _display(),
        _disk(home),
        _store(home),
        _episodes(home),
        _mlflow(home),
        _help_requests(home),
    ]
    if carla:
        checks.append(_carla_server(carla))
    return checks


def _python() -> Check:
    version = platform.python_version()
    ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Check(
        "python", ok, version, "" if ok else "use Python 3.11 or 3.12: carla 0.9.16 has no other wheels"
    )


def _packages() -> list[Check]:
    checks = []
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            checks.append(Check(name, False, "not installed", f"pip install -c constraints.txt {name}"))
            continue
        ok = name != "carla" or version == "0.9.16"
        fix = "" if ok else "pip install carla==0.9.16: the protocol is bound to the version"
        checks.append(Check("carla client" if name == "carla" else name, ok, version, fix))
    return checks


def _display() -> Check:
    if os.environ.get("SDL_VIDEODRIVER") == "dummy":
        return Check("display", True, "SDL dummy driver: the cockpit runs unseen")
    found = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if found:
        return Check("display", True, found)
    return Check("display", True, "none: unattended runs only; the cockpit needs one (or Xvfb)")


def _disk(home: Path) -> Check:
    place = home if home.exists() else home.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    ok = free_gb >= MIN_FREE_GB and os.access(place, os.W_OK)
    return Check(
        "disk", ok, f"{free_gb:.1f} GB free at {place}", "" if ok else "free 2 GB, or give another --home"
    )


def _store(home: Path) -> Check:
    from .store.database import Store

    if not (home / "loop.duckdb").exists():
        return Check("store", True, f"none yet at {home}")
    try:
        rows = Store(home).query("SELECT count(*) AS n FROM episodes")
    except StoreLockedError as error:
        return Check("store", False, str(error), error.fix)
    except TakeoverError as error:
        return Check("store", False, str(error), error.fix or "loop doctor --rebuild")
    return Check("store", True, f"{rows[0]['n']} episodes indexed")


def _episodes(home: Path) -> Check:
    """Every sealed episode is indexed exactly once, every indexed one is there, and each passes its hashes."""
    from .store.database import Store
    from .store.episodes import verify

    folder = home / "episodes"
    if not folder.is_dir():
        return Check("episodes", True, "none yet")
    sealed = {p.parent.name for p in folder.glob("*/manifest.json")}
    unsealed = {p.name for p in folder.iterdir() if p.is_dir()} - sealed
    indexed: list[str] = []
    if (home / "loop.duckdb").exists():
        try:
            indexed = [str(r["episode_id"]) for r in Store(home).query("SELECT episode_id FROM episodes")]
        except TakeoverError as error:
            return Check("episodes", False, str(error), error.fix)
    damaged = []
    for name in sorted(sealed):
        try:
            verify(folder / name)
        except TakeoverError as error:
            damaged.append(str(error))
    lost, doubled = sealed - set(indexed), len(indexed) - len(set(indexed))
    ghosts = set(indexed) - sealed
    problems = [
        f"{len(lost)} sealed but not indexed" if lost else "",
        f"{doubled} indexed twice" if doubled else "",
        f"{len(ghosts)} indexed but not on disk" if ghosts else "",
        f"{len(damaged)} damaged: {damaged[0]}" if damaged else "",
    ]
    found = "; ".join(p for p in problems if p)
    detail = f"{len(sealed)} sealed, {len(unsealed)} open or interrupted"
    return Check(
        "episodes",
        not found,
        f"{detail}; {found}" if found else detail,
        "loop doctor --rebuild" if found else "",
    )


def _help_requests(home: Path) -> Check:
    """Whether the champion asks a driver for help when it is unsure, and why not."""
    from .collect.cockpit.confidence import confidence_row, confidence_words, exposure_of
    from .collect.help_requests import calibration_of
    from .config import load_config
    from .loop import RunConfig
    from .store.database import Store
    from .store.history import champion

    name = "help requests"
    try:
        generation = champion(Store(home)) if (home / "loop.duckdb").exists() else None
        least = exposure_of(load_config(RunConfig).drive)
    except TakeoverError as error:
        return Check(name, False, str(error), error.fix)
    if generation is None:
        return Check(name, True, "no champion yet")
    found = calibration_of(home / "episodes", str(generation), least)
    return Check(name, True, confidence_words(confidence_row(str(generation), found, least)))


def _mlflow(home: Path) -> Check:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri:
        return Check("mlflow", True, f"MLFLOW_TRACKING_URI={uri}")
    path = home / "mlflow.db"
    if not path.exists():
        return Check("mlflow", True, f"none yet, will be {path}")
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            found = database.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    return Check(
        "mlflow", found == "ok", f"sqlite at {path}: {found}", "" if found == "ok" else f"move {path} away"
    )


def _carla_server(address: str) -> Check:
    import subprocess

    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return Check(
            "carla server", False, f"{address!r} is not host:port", "write for example 127.0.0.1:2000"
        )
    script = (
        "import carla, os, sys\n"
        "c = carla.Client(sys.argv[1], int(sys.argv[2])); c.set_timeout(5.0)\n"
        "try:\n print(c.get_server_version(), flush=True)\n"
        "except RuntimeError as e:\n print('ERROR', str(e).splitlines()[0], flush=True)\n"
        "os._exit(0)\n"
    )
    # A process of its own: the carla client may abort its interpreter's exit.
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, host or "127.0.0.1", port],
        capture_output=True,
        text=True,
        timeout=30,
    )
    answer = done.stdout.strip()
    if answer.startswith("ERROR") or not answer:
        return Check(
            "carla server", False, answer or "no answer", f"start a CARLA 0.9.16 server at {address}"
        )
    ok = answer.startswith("0.9.16")
    return Check("carla server", ok, f"version {answer}", "" if ok else "use a 0.9.16 server")


def summary(checks: list[Check], write: Callable[[str], None]) -> int:
    """Write the checks as lines; returns the exit status, 1 when one failed."""
    for check in checks:
        write(f"{'ok  ' if check.ok else 'FAIL'} {check.name:14} {check.detail}")
        if check.fix:
            write(f"     {'':14} fix: {check.fix}")
    return 0 if all(check.ok for check in checks) else 1
