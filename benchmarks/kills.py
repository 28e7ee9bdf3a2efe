"""kill -9 of `loop run --rounds 2` at random moments, then the same command: is anything lost, doubled or left behind?

    python -P benchmarks/kills.py [--kills 10] [--seed 0] [--home DIR]

One row a kill (when, after which finished step, how many episodes were sealed, whether all child processes went), one
block a run (what the store, the registry and `loop doctor` say at its end). Exit status 1 when something is wrong.
A run that ends before its kills are used up is checked, and the next kill hits a fresh one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from takeover.store import queries
from takeover.store.database import DATABASE, Store

CONFIG = """
sim: {workers: 2}
bootstrap: {nominal_episodes: 4, longtail_episodes: 2, decoy_episodes: 0,
  see_steps: 8, max_steps: 4, refit_epochs: 2, batch: 4}
collect: {episodes: 4, nominal_share: 0.0}
gate: {longtail_cases: 8, nominal_cases: 4}
refine:
  sft: {max_steps: 2, per_device_train_batch_size: 4}
  dpo: {max_steps: 1, per_device_train_batch_size: 4}
  grpo: {max_steps: 1}
  refit: {epochs: 1, max_samples: 16}
  anchor: {epochs: 1}
"""
ROUNDS = 2
EPISODES = 6 + ROUNDS * 4  # of the configuration above
DIED_S = 15.0  # by when every child of a killed run must be gone
RUN_TIMEOUT_S = 900.0


@dataclass(slots=True)
class Run:
    """One home, driven by the same command until it ends."""

    home: Path
    kills: int = 0
    kept: dict[str, str] = field(default_factory=dict)  # sealed episode -> hash of its manifest, at any kill


def start(run: Run) -> subprocess.Popen[bytes]:
    """The command, always the same one."""
    with (run.home / "stdout.txt").open("ab") as out, (run.home / "stderr.txt").open("ab") as err:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "takeover", "run", "--rounds", str(ROUNDS)],
            cwd=run.home,
            stdout=out,
            stderr=err,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def descendants(pid: int) -> dict[int, str]:
    """Children of a process, theirs too: process id -> start time, so that a reused id is not taken for it."""
    parents: dict[int, list[int]] = {}
    started: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended meanwhile
            continue
        number = int(path.parent.name)
        parents.setdefault(int(fields[1]), []).append(number)
        started[number] = fields[19]
    found, left = {}, [pid]
    while left:
        for child in parents.get(left.pop(), []):
            found[child] = started[child]
            left.append(child)
    return found


def alive(pid: int, started: str) -> bool:
    """Whether that very process still runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[19] == started and fields[0] != "Z"


def outlived(children: dict[int, str]) -> list[int]:
    """Which of them are still there when all should be gone."""
    deadline = time.monotonic() + DIED_S
    while time.monotonic() < deadline and any(alive(*child) for child in children.items()):
        time.sleep(0.1)
    return [pid for pid, started in children.items() if alive(pid, started)]


def sealed(home: Path) -> dict[str, str]:
    """Sealed episodes that were recorded to their end -> hash of the manifest."""
    found = {}
    for path in home.glob("episodes/*/manifest.json"):
        text = path.read_bytes()
        if not json.loads(text)["truncated"]:
            found[path.parent.name] = hashlib.sha256(text).hexdigest()[:12]
    return found


def last_step(home: Path) -> str:
    """The newest finished step."""
    if not (home / DATABASE).exists():
        return "nothing"
    rows = Store(home).query("SELECT round, name FROM steps ORDER BY created_utc DESC, round DESC LIMIT 1")
    return f"{rows[0]['round']}/{rows[0]['name']}" if rows else "nothing"


def kill_at(run: Run, moment_s: float, number: int) -> list[str] | None:
    """Start the command and kill it `moment_s` later; gives what is wrong, None when it ended before."""
    process = start(run)
    try:
        process.wait(moment_s)
    except subprocess.TimeoutExpired:
        children = descendants(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        left = outlived(children)
        run.kills += 1
        now = sealed(run.home)
        print(
            f"{number:4} {moment_s:7.1f} {last_step(run.home):>14} {len(now):8} {len(children):9} {len(left):5}",
            flush=True,
        )
        run.kept |= now
        return [f"kill {number}: {len(left)} processes outlived it"] if left else []
    return [f"{run.home}: exit status {process.returncode}: {tail(run)}"] if process.returncode else None


def finish(run: Run) -> list[str]:
    """Run the command to its end; gives what is wrong."""
    process = start(run)
    try:
        status = process.wait(RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return [f"{run.home}: it did not end within {RUN_TIMEOUT_S:.0f} s"]
    if status:
        return [f"{run.home}: exit status {status}: {tail(run)}"]
    return []


def tail(run: Run) -> str:
    """The last words of the command."""
    return " / ".join((run.home / "stderr.txt").read_text(errors="replace").strip().splitlines()[-3:])


def check(run: Run) -> tuple[dict[str, Any], list[str]]:
    """What a finished run looks like, and what is wrong with it."""
    doctor = subprocess.run(
        [sys.executable, "-P", "-m", "takeover", "doctor", "--json"],
        cwd=run.home,
        capture_output=True,
        text=True,
    )
    said = json.loads(doctor.stdout)
    store, now = Store(run.home), sealed(run.home)
    whole = queries.episodes(store, whole=True, limit=100_000)
    drives = Counter((row["session_id"], row["case_id"], row["driver_kind"]) for row in whole)
    generations = [int(row["generation"]) for row in queries.generations(store)]
    client = MlflowClient(f"sqlite:///{run.home / 'mlflow.db'}")
    tracked = client.search_runs([client.get_experiment_by_name("takeover").experiment_id])
    versions = client.search_model_versions("name = 'driver'")
    aliases = client.get_registered_model("driver").aliases
    figures = {
        "kills": run.kills,
        "episodes": len(whole),
        "truncated": sum(row["truncated"] for row in queries.episodes(store, whole=False, limit=100_000)),
        "lost": len(run.kept.keys() - now.keys()),
        "changed": sum(now.get(name, digest) != digest for name, digest in run.kept.items()),
        "doubled": sum(count - 1 for count in drives.values()),
        "generations": generations,
        "versions": sorted(int(version.version) for version in versions),
        "rounds": len(queries.rounds(store)),
        "promotions": [row["outcome"] for row in queries.promotions(store)],
        "champion": aliases.get("champion"),
        "runs_running": sum(each.info.status == "RUNNING" for each in tracked),
        "runs": len(tracked),
        "doctor_ok": said["ok"],
    }
    expected = {
        "episodes": EPISODES,
        "lost": 0,
        "changed": 0,
        "doubled": 0,
        "generations": list(range(ROUNDS + 1)),
        "versions": list(range(1, ROUNDS + 2)),
        "rounds": ROUNDS,
        "runs_running": 0,
        "runs": ROUNDS + 2,
        "doctor_ok": True,
    }
    wrong = [
        f"{key} is {figures[key]}, not {value}" for key, value in expected.items() if figures[key] != value
    ]
    return figures, wrong + [str(one) for one in said["checks"] if not one["ok"]]


def judged(store: Store) -> list[tuple[Any, ...]]:
    """What the gate saw: the same for a run that nobody killed."""
    return [
        (row["round"], row["outcome"], row["details"]["sr_champion"], row["details"]["sr_challenger"])
        for row in queries.rounds(store)
    ]


def main() -> int:
    """Kill, finish, check, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, help="where the runs go, kept; else a temporary folder")
    arguments = parser.parse_args()
    root = arguments.home or Path(tempfile.mkdtemp(prefix="kills-"))
    moments = random.Random(arguments.seed)
    runs: list[Run] = []

    def fresh() -> Run:
        run = Run(root / f"run{len(runs)}")
        run.home.mkdir(parents=True)
        (run.home / "loop.yaml").write_text(CONFIG)
        runs.append(run)
        return run

    whole = fresh()
    started_s = time.monotonic()
    wrong = finish(whole)
    span_s = time.monotonic() - started_s
    print(f"a run that nobody kills: {span_s:.0f} s, load {os.getloadavg()[0]:.1f}")
    print(
        f"{'kill':>4} {'after s':>7} {'last step':>14} {'sealed':>8} {'children':>9} {'left':>5}", flush=True
    )
    run, done = fresh(), 0
    while done < arguments.kills and len(wrong) < 3:
        found = kill_at(run, moments.uniform(0.5, span_s / 2), done + 1)
        if found is None:
            print(f"     run {len(runs) - 1} ended after {run.kills} kills", flush=True)
            run = fresh()
        else:
            wrong += found
            done += 1
    wrong += finish(run)
    for number, each in enumerate(runs):
        figures, problems = check(each)
        print(f"run {number}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
        if judged(Store(each.home)) != judged(Store(whole.home)):
            print(f"run {number}: its gates saw other figures than those of the run that nobody killed")
        wrong += [f"run {number}: {problem}" for problem in problems]
    print("\n".join(wrong) or "nothing lost, doubled or left behind")
    if not arguments.home and not wrong:
        shutil.rmtree(root)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
