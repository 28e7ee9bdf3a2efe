"""CoReVLA's question-and-answer files: read strictly, and learnt from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from takeover.errors import UsageError
from takeover.models.policy import Policy
from takeover.refine.qa import load_qa, run_qa


def write(folder: Path, items: object, name: str = "qa.json") -> Path:
    Image.fromarray(np.full((96, 192, 3), 90, np.uint8)).save(folder / "a.jpg")
    path = folder / name
    path.write_text(json.dumps(items) if not isinstance(items, str) else items)
    return path


GOOD: dict[str, Any] = {
    "conversations": [{"from": "human", "value": "<image>What now?"}, {"from": "gpt", "value": "decelerate"}],
    "images": ["a.jpg"],
}


def test_json_and_json_lines_read_alike(tmp_path: Path) -> None:
    array = load_qa(write(tmp_path, [GOOD, GOOD]))
    lines = load_qa(write(tmp_path, f"{json.dumps(GOOD)}\n{json.dumps(GOOD)}\n", "qa.jsonl"))
    assert array == lines
    assert array[0].turns == (("user", "What now?"), ("assistant", "decelerate"))
    assert array[0].images == (tmp_path / "a.jpg",)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "no item"),
        ("not json", "neither JSON"),
        ([{"images": []}], "item 1"),
        ([GOOD, {**GOOD, "images": ["b.jpg"]}], "b.jpg does not exist"),
        ([{**GOOD, "images": []}], "1 <image> marks but 0 images"),
        ([{**GOOD, "conversations": [{"from": "robot", "value": "x"}]}], "`from`"),
        ([{**GOOD, "conversations": GOOD["conversations"][:1]}], "end with the answer"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, items: object, words: str) -> None:
    with pytest.raises(UsageError, match=r"qa\.json") as raised:
        load_qa(write(tmp_path, items))
    assert words in str(raised.value)


def test_a_policy_learns_the_answer(tmp_path: Path) -> None:
    policy = Policy.tiny(0)
    report = run_qa(policy, load_qa(write(tmp_path, [GOOD])), 6, 0, out_dir=tmp_path / "out", batch=1)
    assert report.steps == 6
    assert not report.stopped_reason
    assert np.isfinite(report.metrics["loss"])
