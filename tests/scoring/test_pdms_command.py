"""`python -m takeover.scoring.pdms`: NAVSIM's verdicts on all its vectors; bad files end in one line."""

from __future__ import annotations

import copy
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from takeover.scoring.pdms_command import main
from takeover.scoring.scene_file import read

from .vectors import ALL, SMALL, load

KEYS = ["scene", "proposal", "NC", "DAC", "EP", "TTC", "C", "PDMS"]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "takeover.scoring.pdms", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_all_800_proposals_score_as_navsim_scored_them(tmp_path: Path) -> None:
    done = run(str(ALL), "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = [
        (vector["scene"]["id"], name, scores)
        for vector in load(ALL)
        for name, scores in vector["scores"].items()
    ]
    assert len(found) == 800
    for row, (ident, name, scores) in zip(found, wanted, strict=True):
        assert list(row) == KEYS
        assert (row["scene"], row["proposal"]) == (ident, name)
        assert [row[k] for k in ("NC", "DAC", "TTC", "C")] == [
            scores[k] for k in ("NC", "DAC", "TTC", "C")
        ], name
        assert row["EP"] == pytest.approx(scores["EP"], abs=1e-5)
        assert row["PDMS"] == pytest.approx(scores["PDMS"], abs=1e-5)


def test_a_reader_that_stops_early_is_no_failure() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-P", "-m", "takeover.scoring.pdms", str(SMALL)]
    with os.fdopen(write_end, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_table_has_a_block_per_scene(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(SMALL)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 * 12
    assert lines[0] == f"scene {load()[0]['scene']['id']}"
    assert lines[1].split() == ["proposal", *KEYS[2:]]


def test_extended_terms_are_null_where_the_scene_lacks_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(SMALL), "--json", "--extended"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(rows[0]) == [*KEYS, "DDC", "TLC", "LK", "HC", "EC", "EPDMS"]
    assert {row[k] for row in rows for k in ("TLC", "HC", "EC")} == {None}
    assert {row["DDC"] for row in rows} <= {0.0, 0.5, 1.0}
    assert main([str(SMALL), "--extended"]) == 0
    assert " - " in capsys.readouterr().out


def test_plain_and_packed_files_score_alike_whatever_their_names(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.gz", tmp_path / "b.json"
    plain.write_text(json.dumps(load()[:1]))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    one, two = read(plain)[0], read(packed)[0]
    assert np.array_equal(one.plans_m, two.plans_m)
    assert np.array_equal(one.scene.agents, two.scene.agents)


def test_agents_come_and_go_at_their_own_times(tmp_path: Path) -> None:
    vector = copy.deepcopy(load()[0])
    vector["scene"]["agents"] = [
        {
            "type": "vehicle",
            "length": 4.0,
            "width": 2.0,
            "states": [[t, 10 * t, 0, 3.1, 10, 0] for t in (0, 1, 2)],
        },
        {
            "type": "barrier",
            "length": 1.0,
            "width": 1.0,
            "states": [[0.5, 9, 0, 0, 0, 0], [1, 9, 0, 0, 0, 0]],
        },
    ]
    path = tmp_path / "scene.json"
    path.write_text(json.dumps([vector]))
    scene = read(path)[0].scene
    assert scene.agents_t_s == pytest.approx([0.0, 0.5, 1.0, 2.0])
    assert scene.agents[0, :, 0] == pytest.approx([0.0, 5.0, 10.0, 20.0])
    assert np.isnan(scene.agents[1, :, 0]).tolist() == [True, False, False, True]
    vector["scene"]["agents"] = []
    path.write_text(json.dumps([vector]))
    assert read(path)[0].scene.agents.shape == (0, 1, 5)


def _set(*where: str | int, to: Any) -> Callable[[Any], None]:
    def change(vector: Any) -> None:
        for key in where[:-1]:
            vector = vector[key]
        vector[where[-1]] = to

    return change


def _drop(*where: str | int) -> Callable[[Any], None]:
    def change(vector: Any) -> None:
        for key in where[:-1]:
            vector = vector[key]
        del vector[where[-1]]

    return change


WRONG = {
    "no key": (_drop("reference"), "no key 'reference'"),
    "no key inside": (_drop("scene", "ego", "heading"), "[0].scene.ego: no key 'heading'"),
    "no object": (_set("scene", to=3), "[0].scene is 3"),
    "NaN": (_set("scene", "ego", "vx", to=float("nan")), "[0].scene.ego.vx is nan, allowed is a number from"),
    "inf in a polygon": (
        _set("scene", "map", 0, "polygon", 2, 1, to=float("inf")),
        "map[0].polygon[2][1] is inf",
    ),
    "NaN in a pose": (
        _set("scene", "proposals", 1, "poses", 7, 0, to=float("nan")),
        "proposals[1].poses[7][0] is nan",
    ),
    "text for a number": (_set("scene", "agents", 0, "length", to="4 m"), "agents[0].length is '4 m'"),
    "true for a number": (_set("scene", "ego", "x", to=True), "[0].scene.ego.x is True"),
    "huge": (
        _set("scene", "ego", "x", to=1e300),
        "[0].scene.ego.x is 1e+300, allowed is a number from -1e+08",
    ),
    "no width": (_set("scene", "agents", 0, "width", to=0.0), "agents[0].width is 0.0"),
    "unknown type": (
        _set("scene", "agents", 0, "type", to="tram"),
        "type is 'tram', allowed is one of vehicle,",
    ),
    "unknown layer": (
        _set("scene", "map", 0, "type", to="kerb"),
        "allowed is one of roadblock, lane, intersection",
    ),
    "seven poses": (
        _drop("scene", "proposals", 0, "poses", 7),
        "poses is a list of 7, allowed is 8 rows of 3",
    ),
    "short pose": (_set("scene", "proposals", 0, "poses", 0, to=[1, 2]), "poses[0] is a list of 2"),
    "no proposals": (_set("scene", "proposals", to=[]), "proposals is a list of 0"),
    "one point of a line": (_set("scene", "centerline", to=[[0, 0]]), "centerline is a list of 1"),
    "no polygon": (
        _set("scene", "map", 0, "polygon", to=[[0, 0], [1, 1]]),
        "allowed is at least 3 rows of 2",
    ),
    "times stand still": (
        _set("scene", "agents", 0, "states", 1, 0, to=0.0),
        "states[1][0] is 0, allowed is later",
    ),
    "reference": (_set("reference", "NC", to=2), "[0].reference.NC is 2, allowed is a number from 0 to 1"),
    "id": (_set("scene", "id", to=None), "[0].scene.id is None"),
    "name": (_set("scene", "proposals", 0, "name", to=1), "proposals[0].name is 1"),
    "on_route": (
        _set("scene", "map", 0, "on_route", to="yes"),
        "on_route is 'yes', allowed is true or false",
    ),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_named_in_one_line(
    change: Callable[[Any], None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vector = copy.deepcopy(load()[0])
    change(vector)
    path = tmp_path / "scenes.json"
    path.write_text(json.dumps([vector]))
    assert main([str(path), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert "; fix: " in printed.err
    assert printed.err.count("\n") == 1


PACKED = gzip.compress(b"[]" * 1000)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe[]", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "a list of at least one scene"),
        (b"{}", "a list of at least one scene"),
        (b"[3]", "[0] is 3"),
        (PACKED[: len(PACKED) // 2], "damaged gzip"),
        (PACKED[:12] + b"\xff" + PACKED[13:], "damaged gzip"),
        (b"\x1f\x8bnonsense", "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_line(
    data: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scenes.json"
    path.write_bytes(data)
    assert main([str(path)]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_a_missing_file_and_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        assert main([str(path)]) == 2
        assert capsys.readouterr().err.startswith(f"{path}: cannot be read")
