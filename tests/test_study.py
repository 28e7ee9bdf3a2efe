"""The study repeats no part that is done, keeps to its time, and says what is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from takeover import study
from takeover.errors import UsageError
from takeover.evaluate.evaluator import Silent
from takeover.evaluate.study_budget import PARTS, QUICK
from takeover.evaluate.study_section import Section, Table, Verdict
from takeover.loop import RunConfig
from takeover.store.database import Store
from takeover.study import Study


class Home:
    """A home with one finished run, whose parts are counted, not done."""

    def __init__(self, home: Path) -> None:
        self.home, self.config, self.progress, self.store = home, RunConfig(), Silent(), Store(home)
        self.made: list[tuple[str, int]] = []
        self.gaps: dict[str, tuple[str, ...]] = {}
        self.runs = 0

    def run(self) -> None:
        self.runs += 1


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path)

    class Parts:
        def __init__(self, loop: Home, config: RunConfig, *_: Any) -> None:
            self.loop, self.config = loop, config

        def __getattr__(self, name: str) -> Any:
            def part() -> Section:
                made.made.append((name, self.loop.config.refine.sft.max_steps))
                return Section(
                    name,
                    f"Part {name}",
                    text=("Said.",),
                    verdicts=(Verdict(f"claim of {name}", "+1", "not shown"),),
                    tables=(Table("Rows", ("a", "b"), (("1", "2"),)),),
                    commands=(f"loop study --parts {name}",),
                    missing=made.gaps.get(name, ()),
                )

            return part

    monkeypatch.setattr(study, "StudyParts", Parts)
    monkeypatch.setattr(study.history, "champion", lambda store: 1)
    monkeypatch.setattr(study.queries, "rounds", lambda store: [{"round": 1}])
    rows = [{"generation": 0, "sha256": "a"}, {"generation": 1, "sha256": "b"}]
    monkeypatch.setattr(study.queries, "generations", lambda store: rows)
    return made


def run(home: Home, parts: tuple[str, ...] = (), minutes: float = 0.0, **options: Any) -> dict[str, Any]:
    return Study(home, QUICK, **options).run(parts, minutes)  # type: ignore[arg-type]


def test_parts_are_done_once_with_the_budget_s_share_of_steps(home: Home) -> None:
    steps = home.config.refine.sft.max_steps
    found = run(home)
    assert [name for name, _ in home.made] == list(PARTS)
    assert {made for _, made in home.made} == {round(QUICK.steps * steps)}
    assert home.config.refine.sft.max_steps == steps
    assert found["not_there"] == []
    assert [v["part"] for v in found["verdicts"]] == list(PARTS)
    text = Path(found["page"]).read_text()
    assert "quick" in text.splitlines()[0]
    assert "| claim of twins | +1 | **not shown** | twins |" in text
    run(home)
    assert len(home.made) == len(PARTS)
    assert home.runs == 0


def test_gaps_are_filled_by_the_next_call(home: Home) -> None:
    home.gaps = {"arms": ("full (seed 1)",)}
    found = run(home, ("gate", "arms"))
    assert found["not_there"] == ["rows", "twins", "null", "headline", "full (seed 1)"]
    assert "Not there: full (seed 1)." in Path(found["page"]).read_text()
    home.gaps = {}
    run(home, ("gate", "arms"))
    assert [name for name, _ in home.made] == ["gate", "arms", "arms"]


def test_another_home_state_is_another_study_and_the_gate_stays(home: Home) -> None:
    run(home, ("gate", "rows"))
    home.config = home.config.model_copy(update={"seed": 7})
    run(home, ("gate", "rows"))
    assert [name for name, _ in home.made] == ["gate", "rows", "rows"]


def test_no_part_begins_after_its_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 100_000, 30))
    monkeypatch.setattr(study.time, "monotonic", lambda: float(next(now)))
    found = run(home, minutes=2)
    assert 1 <= len(home.made) < len(PARTS)
    assert found["not_there"] == [name for name in PARTS if name not in {made for made, _ in home.made}]


def test_the_page_goes_where_it_is_asked_and_links_its_pictures(home: Home, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "study.md"
    run(home, ("gate",), page=page)
    kept = json.loads((home.home / "study" / "quick" / "gate.json").read_text())
    section = Section.from_json(kept["section"])
    section = replace(section, pictures=(("gate_curves.png", "power"),))
    kept["section"] = section.to_json()
    (home.home / "study" / "quick" / "gate.json").write_text(json.dumps(kept))
    run(home, ("gate",), page=page)
    assert "![power](../study/quick/gate_curves.png)" in page.read_text()


def test_an_empty_home_gets_a_run_and_nonsense_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="unknown part"):
        run(home, ("everything",))
    monkeypatch.setattr(study.history, "champion", lambda store: None)
    run(home, ("rows",))
    assert home.runs == 1
