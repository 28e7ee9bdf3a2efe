"""README and docs tell the truth: files, commands, keys, constants, queries."""

import importlib
import importlib.util
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer

from takeover.cli import app
from takeover.store.database import Store

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
OUTSIDE = {"tests", "benchmarks", "docs", "examples", "build", ".venv"}
LATER = {"docs/results.md"}  # made by measurements, not by hand


def tree() -> list[str]:
    """Paths of the tree in the order of its lines; a package's line stands for its `__init__.py`."""
    block = README.split("## Where things are")[1].split("```")[1]
    paths, folder = [], ""
    for line in filter(str.strip, block.splitlines()):
        name = line.split()[0]
        assert len(line.split()) > 2, f"nothing is said about {name}"
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            paths.append(name)
        else:
            paths.append(folder + name)
    return paths


def package_files() -> set[str]:
    """Python files of the package."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
    return {
        path.as_posix()
        for path in found
        if path.parts[0] not in OUTSIDE and not any(part.startswith(".") for part in path.parts)
    }


def test_every_python_file_has_its_line() -> None:
    listed = Counter(tree())
    wanted = {str(Path(f).parent) + "/" if f.endswith("/__init__.py") else f for f in package_files()}
    wanted.discard("__init__.py")  # the package as a whole
    assert wanted - set(listed) == set(), "files without a line in the README's tree"
    assert {name for name, lines in listed.items() if lines > 1} == set()


def test_every_path_in_the_tree_exists() -> None:
    assert [path for path in tree() if not (ROOT / path).exists()] == []


def test_every_path_in_the_text_exists() -> None:
    named = set(re.findall(r"\]\(([^)#:]+)\)", README))  # links and pictures
    named |= set(re.findall(r"`([\w./-]+/[\w.-]+\.\w+)`", README))
    assert [path for path in sorted(named - LATER) if not (ROOT / path).exists()] == []
    block = README.split("## Where things are")[1]
    for folder, line in re.findall(r"^(\S+/) +(.*)$", block, re.MULTILINE):
        for name in re.findall(r"[\w-]+\.(?:md|py|sql|xodr)\b", line):
            assert (ROOT / folder / name).exists(), f"{folder}{name}"


@pytest.mark.parametrize("command", sorted(typer.main.get_group(app).commands))
def test_every_command_is_in_the_table(command: str) -> None:
    assert f"`loop {command}" in README


def constants() -> list[tuple[str, str, str]]:
    rows = re.findall(r"^\| `([\w/]+\.py)` \| `([\w.]+)` \| `([^`]+)` \|", DOCS["constants.md"], re.MULTILINE)
    assert len(rows) > 20
    return rows


@pytest.mark.parametrize(("path", "name", "value"), constants())
def test_constants_are_those_of_the_code(path: str, name: str, value: str) -> None:
    found: Any = importlib.import_module("takeover." + path.removesuffix(".py").replace("/", "."))
    owner, _, last = name.rpartition(".")
    found = getattr(found, owner)() if owner else found
    assert json.loads(json.dumps(getattr(found, last))) == json.loads(value)


def test_every_key_that_the_docs_name_exists() -> None:
    known = set(re.findall(r"^\| `([\w.]+)`", DOCS["configuration.md"], re.MULTILINE))
    for name in DOCS.keys() - {"configuration.md"}:
        sections = "sim|policy|bootstrap|collect|gate|pairs|segmenter|refine"
        named = set(re.findall(rf"`((?:{sections})\.[a-z_.]+)`", DOCS[name]))
        assert {key for key in named - known if not key.endswith(".py")} == set(), name


def test_every_query_in_the_docs_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    text = DOCS["store.md"] + DOCS["loop.md"]
    queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL) + re.findall(r'loop sql "(.*?)"', text)
    assert len(queries) > 8
    for query in queries:
        assert store.query(query) == []
