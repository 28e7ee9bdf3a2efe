"""docs/compatibility.md says of every method of the client what it meets; the real client asks the server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from takeover.sim_bridge.server import EmbeddedServer

from .every_call import methods

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
PROGRAM = Path(__file__).with_name("every_call.py")
ROW = re.compile(r"^\| `(\w+\.\w+)` \| (works|approximated|refused) \| (.*?) *\|$", re.MULTILINE)


@pytest.fixture(scope="module")
def rows() -> dict[str, tuple[str, str]]:
    """Method to verdict and remark."""
    found = ROW.findall(PAGE.read_text())
    assert len({name for name, _, _ in found}) == len(found), "a method has two rows"
    return {name: (verdict, remark) for name, verdict, remark in found}


def test_every_method_of_the_wheel_has_a_row(rows: dict[str, tuple[str, str]]) -> None:
    assert sorted(rows) == sorted(methods())


def test_what_is_not_quite_carla_has_a_remark(rows: dict[str, tuple[str, str]]) -> None:
    assert [
        name for name, (verdict, remark) in rows.items() if verdict == "approximated" and not remark
    ] == []


def test_the_server_does_what_the_page_says(rows: dict[str, tuple[str, str]]) -> None:
    with EmbeddedServer.start(navigation=True) as server:
        command = [sys.executable, "-P", str(PROGRAM), server.host, str(server.port)]
        out = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    met = dict(line.split("\t", 1) for line in out.splitlines())
    assert sorted(met) == sorted(rows)
    wrong = {
        name: text for name, text in met.items() if bool(text) != (rows[name][0] == "refused")
    }  # text is what the client has raised
    assert wrong == {}
