"""The wheel holds what the tree holds, and nothing heavy loads before it is needed."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTSIDE = {"tests", "benchmarks", "docs", "examples", "build", ".venv"}


def test_the_package_list_equals_the_folders() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {
        ".".join(("takeover", *path.parent.relative_to(ROOT).parts))
        for path in ROOT.rglob("__init__.py")
        if not OUTSIDE.intersection(path.relative_to(ROOT).parts)
    }
    assert listed == folders


def test_every_constraint_is_an_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    assert lines
    assert all(line.count("==") == 1 for line in lines)


def loaded(statements: str, names: set[str]) -> set[str]:
    """Which of the modules a process of its own has loaded after some statements."""
    script = (
        f"{statements}\nimport os, sys\nprint(*({names!r} & set(sys.modules)), flush=True)\nos._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, cwd="/", check=True
    )
    return set(done.stdout.split())


def test_help_loads_no_heavy_module() -> None:
    show_help = (
        "import takeover.cli\n"
        "from typer.testing import CliRunner\n"
        "result = CliRunner().invoke(takeover.cli.app, ['--help'])\n"
        "assert result.exit_code == 0 and 'evaluate' in result.output, result.output\n"
    )
    heavy = {"torch", "transformers", "trl", "mlflow", "pygame", "carla", "numba", "duckdb", "pandas"}
    assert loaded(show_help, heavy) == set()


def test_the_drive_worker_loads_no_training_stack() -> None:
    heavy = {"torch", "transformers", "trl", "peft", "mlflow"}
    assert loaded("import takeover.collect.worker", heavy | {"carla"}) == {"carla"}
    assert loaded("import takeover.sim_bridge.embedded.service", heavy) == set()
