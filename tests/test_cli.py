"""The command line: help everywhere, one clean line for bad input."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from takeover.cli import app

GROUP = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)  # type: ignore[attr-defined]


def loop(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "takeover", *arguments],
        capture_output=True,
        text=True,
        cwd=home,
        timeout=120,
    )


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "episodes"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output


def test_each_example_has_a_line_of_its_own() -> None:
    lines = CliRunner().invoke(app, ["report", "--help"]).output.splitlines()
    first = lines.index("    loop report")
    assert lines[first + 1] == "    loop report --triangle --cases 12"


def test_every_command_is_in_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert [c for c in COMMANDS if f"loop {c}" not in readme] == []


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["evaluate", "--seeds", "9-3"], 2, ["9-3", "3-9"]),
        (["evaluate", "--seeds", "x"], 2, ["'x'", "20000-20099"]),
        (["run", "--rounds", "-1"], 2, ["rounds", "-1"]),
        (["run", "--config", "missing.yaml"], 2, ["missing.yaml"]),
        (["run", "--workers", "0"], 2, ["sim.workers", "0"]),
    ],
)
def test_bad_input_is_one_line_with_value_and_fix(
    tmp_path: Path, arguments: list[str], exit_code: int, words: list[str]
) -> None:
    done = loop(*arguments, home=tmp_path)
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert [w for w in words if w not in done.stderr] == []
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text("collect: {episods: 3}\n")
    done = loop("run", home=tmp_path)
    assert done.returncode == 2
    assert "collect.episods" in done.stderr
    assert "`episodes`" in done.stderr


def test_doctor_finds_the_environment_sound(tmp_path: Path) -> None:
    done = loop("doctor", "--json", home=tmp_path)
    assert done.returncode == 0, done.stdout
    assert '"carla client"' in done.stdout
