"""The whole loop through its command line: one small round, killed on the way, then looked at from every side."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

CONFIG = """
sim: {workers: 2}
bootstrap: {nominal_episodes: 4, longtail_episodes: 2, decoy_episodes: 0,
  see_steps: 8, max_steps: 4, refit_epochs: 4, batch: 4}
collect: {episodes: 4, nominal_share: 0.0}
gate: {longtail_cases: 8, nominal_cases: 4}
refine:
  sft: {max_steps: 2, per_device_train_batch_size: 4}
  dpo: {max_steps: 1, per_device_train_batch_size: 4}
  grpo: {max_steps: 1}
  refit: {epochs: 1, max_samples: 16}
  anchor: {epochs: 1}
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "takeover", *arguments]


def loop(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=home, capture_output=True, text=True, timeout=300)


def output(home: Path, *arguments: str) -> Any:
    done = loop(home, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one finished round. The run was killed twice: while it drove, and while it trained or evaluated."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "loop.yaml").write_text(CONFIG)
    for marker in ("episodes/*/manifest.json", "stages/*/0-sft*"):
        process = subprocess.Popen(
            command("run", "--rounds", "1"),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 180
        while not any(folder.glob(marker)) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None, f"it ended before {marker} was there"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = loop(folder, "run", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    (folder / "summary.json").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def summary(home: Path) -> Any:
    return json.loads((home / "summary.json").read_text())


def test_the_run_ends_with_a_decision_a_picture_and_a_page(home: Path, summary: Any) -> None:
    assert summary["rounds"] == 1
    assert [row["generation"] for row in summary["rows"]] == [0, 1]
    assert summary["decisions"][0]["outcome"] in ("promote", "reject", "inconclusive")
    assert (home / "loop_report.png").stat().st_size > 10_000
    assert "What the gate said" in (home / "loop_report.html").read_text()


def test_no_sealed_episode_is_lost_or_doubled(home: Path) -> None:
    found = output(home, "doctor", "--json")
    assert found["ok"], found
    rows = output(
        home, "sql", "--json", "SELECT case_id, driver_kind, count(*) AS n FROM episodes GROUP BY ALL"
    )
    assert sum(row["n"] for row in rows) == 10
    assert {row["n"] for row in rows} == {1}


def test_a_finished_run_repeats_nothing(home: Path, summary: Any) -> None:
    before = sorted(p.name for p in (home / "episodes").iterdir())
    again = output(home, "run", "--rounds", "1", "--json")
    assert again["rows"] == summary["rows"]
    assert sorted(p.name for p in (home / "episodes").iterdir()) == before


def test_status_has_the_documented_keys(home: Path) -> None:
    status = output(home, "status", "--json")
    assert status["champion"] in (0, 1)
    wanted = {"generation", "version", "ds", "sr", "sr_nominal", "takeovers_per_km", "gate"}
    assert all(wanted <= set(row) for row in status["generations"])
    stages = {stage["stage"] for stage in status["rounds"][0]["stages"]}
    assert stages == {"sft", "dpo", "kto", "grpo", "refit", "anchor", "gap"}
    shown = loop(home, "status").stdout
    assert "grpo " in shown
    assert "skipped_reason" not in shown  # a line a round, not the report


def test_views_start_from_segments(home: Path) -> None:
    rows = output(home, "sql", "--json", "SELECT * FROM negative_episodes")
    assert {"reason", "driver_id", "generation", "onset_tick"} <= set(rows[0])
    assert output(home, "sql", "--json", "SELECT * FROM recovery_episodes LIMIT 1")
    assert loop(home, "sql", "DELETE FROM episodes").returncode != 0


def test_a_generation_and_its_takeovers_know_each_other(home: Path) -> None:
    for generation in ("0", "1"):
        found = output(home, "why", generation, "--json")
        assert {check["ok"] for check in found["checks"]} <= {True, None}, found["checks"]
        assert found["data"]["kept"]
    trained = {item["takeover_id"] for item in found["data"]["items"]} - {""}
    assert trained
    for takeover in trained:
        became = output(home, "trace", takeover, "--json")
        assert [row["generation"] for row in became["generations"]] == [1]
        assert became["generations"][0]["pairs"] == sum(row["admitted"] for row in became["pairs"])


def test_episodes_are_listed_and_shown(home: Path) -> None:
    listed = output(home, "episodes", "list", "--json", "--limit", "3")
    assert len(listed) == 3
    shown = output(home, "episodes", "show", listed[0]["episode_id"][:13], "--json")
    assert shown["episode_id"] == listed[0]["episode_id"]


def test_evaluate_prints_cases(home: Path) -> None:
    report = output(home, "evaluate", "--suite", "final", "--seeds", "20000-20002", "--model", "0", "--json")
    assert [case["seed"] for case in report["cases"]] == [20000, 20001, 20002]
    assert all(case["success"] in (0, 1) for case in report["cases"])
    still = output(
        home, "evaluate", "--suite", "final", "--cases", "2", "--baseline", "always_brake", "--json"
    )
    assert [case["success"] for case in still["cases"]] == [0, 0]


def test_the_report_drives_what_it_needs_once(home: Path) -> None:
    arguments = ("report", "--triangle", "--cases", "2", "--films", "1")
    made = output(home, *arguments, "--json")
    table = made["run"]["triangle"]
    assert [generation for generation, _ in table["generations"]] == [0, 1]
    assert {cell["round"] for cell in table["cells"]} == {1}
    assert all(0 <= cell["passed"] <= cell["cases"] <= 2 for cell in table["cells"])
    assert [one["generation"] for one in made["generations"]] == [0, 1]
    pages = [Path(path) for path in made["pages"]]
    assert [path.name for path in pages] == [
        "loop_report.html",
        "loop_report-generation-0.html",
        "loop_report-generation-1.html",
    ]
    assert "data:image/webp" in pages[0].read_text()
    assert 'href="loop_report-generation-1.html"' in pages[0].read_text()
    assert 'href="loop_report.html"' in pages[2].read_text()
    drives = sorted(path.name for path in home.glob("cache/films/*/episodes/*"))
    assert drives
    again = loop(home, *arguments)
    assert again.returncode == 0, again.stderr
    assert "drives again" not in again.stderr
    assert "in the takeovers' scenes" not in again.stderr
    assert sorted(path.name for path in home.glob("cache/films/*/episodes/*")) == drives
    found = output(home, "doctor", "--json")  # drives for pictures are no part of the store
    assert found["ok"], found
    logged = {path.name for path in home.glob("mlartifacts/**/*.html")}
    assert logged >= {path.name for path in pages}
    wrong = loop(home, "report", "--generation", "7")
    assert wrong.returncode == 2
    assert "known generations: 0, 1" in wrong.stderr


def test_an_unproved_generation_is_not_promoted_by_hand(home: Path, summary: Any) -> None:
    if summary["decisions"][0]["outcome"] == "promote":
        pytest.skip("this tiny round was promoted")
    done = loop(home, "promote", "1")
    assert done.returncode == 11
    assert "--force" in done.stderr
    assert loop(home, "promote", "1", "--force").returncode == 0
    assert output(home, "status", "--json")["champion"] == 1
    assert loop(home, "rollback").returncode == 0
    assert output(home, "status", "--json")["champion"] == 0


def test_an_alias_moved_elsewhere_is_recorded(home: Path) -> None:
    script = (
        "import mlflow, sys\n"
        "client = mlflow.MlflowClient(tracking_uri=f'sqlite:///{sys.argv[1]}/mlflow.db')\n"
        "client.set_registered_model_alias('driver', 'champion', '1')\n"
    )
    moved = subprocess.run(
        [sys.executable, "-P", "-c", script, str(home)], cwd=home, capture_output=True, text=True
    )
    assert moved.returncode == 0, moved.stderr
    output(home, "collect", "--episodes", "1", "--json")
    rows = output(
        home, "sql", "--json", "SELECT to_generation, external FROM promotions ORDER BY created_utc"
    )
    assert rows[-1]["to_generation"] == 0
