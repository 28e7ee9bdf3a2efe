"""Pages of a small store: every figure where it belongs, and nothing that is not in the file."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from takeover.config import GateConfig, LoopConfig
from takeover.errors import UsageError
from takeover.evaluate.films import Film, Still
from takeover.evaluate.report import ending, plot, run_page
from takeover.evaluate.results import to_row
from takeover.evaluate.run_facts import run_facts, run_named
from takeover.evaluate.run_report import write_summary
from takeover.sim_bridge.scenarios.cases import suite
from takeover.store.database import Store
from takeover.store.rows import GenerationRow, PairRow, PromotionRow, RoundRow, TrainingRow
from takeover.vocabulary import Case, PairSource

from ..store.drives import record
from ..store.test_forget import case_row
from .cases import result
from .test_forgetting import takeover

VOID = {"meta", "img", "br", "source", "link", "hr", "input"}
CONFIG = LoopConfig(gate=GateConfig(longtail_cases=8, nominal_cases=4))


class Checked(HTMLParser):
    """Every tag is closed in its place; nothing is fetched from anywhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.outside: list[str] = []
        self.images = 0
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        assert {a.removeprefix("#") for a in self.anchors if a.startswith("#")} <= set(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.anchors += [values["href"] or ""] if tag == "a" else []
        for name in ("src", "srcset"):
            if name in values:
                self.images += 1
                self.outside += [] if (values[name] or "").startswith("data:image/") else [str(values[name])]
        if tag == "img":
            assert values.get("alt")
        assert tag not in ("script", "link", "iframe")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data.strip())
        else:
            assert "url(" not in data
            assert "@import" not in data


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Generation 0 passes one of eight hazards, generation 1 five; one takeover; a run of one promoted round."""
    found = Store(tmp_path)
    drive = record(found.episodes, case=Case("ParkedObstacle", 1000), session_id="run/1", generation="0").name
    found.recover()
    pair = PairRow(
        f"{drive}/30/human", drive, f"{drive}/0", 30, PairSource.HUMAN, False, "score_gap", 1, "train",
        "ParkedObstacle/1000", "0", "", [], [], [], None, None, 1.0, 0, "t",
    )  # fmt: skip
    guard = {"name": "nominal SR", "loss": 0.25, "lower": 0.0, "upper": 0.5, "margin": 0.05, "holds": False}
    evidence = {
        "outcome": "promote", "reason": "4 cases gained, <b>0</b> lost", "gained": 4, "lost": 0, "cases": 8,
        "p_value": 0.0625, "alpha": 0.1, "power": 0.2, "sr_champion": 0.125, "sr_challenger": 0.625,
        "ds_difference": 30.0, "ds_interval": [10.0, 50.0], "guards": [guard],
    }  # fmt: skip
    rows: list[Any] = [
        takeover(drive),
        pair,
        GenerationRow(0, "1", None, "run", 0, "generations/run-0", "a" * 64, gate="start"),
        GenerationRow(1, "2", 0, "run", 1, "generations/run-1", "b" * 64, gate="promote"),
        PromotionRow("p0", None, 0, "promote", False, {"reason": "first"}, "run", 0),
        PromotionRow("p1", 0, 1, "promote", False, evidence, "run", 1),
        RoundRow("run", 1, "0", "1", "promote", 9.0, evidence),
        TrainingRow("run", 1, "recovery", f"{drive}/r", drive, f"{drive}/0", "human", 1.0, "c" * 64),
    ]
    for number, sha256, passed in ((0, "a" * 64, 1), (1, "b" * 64, 5)):
        rows += [
            to_row(result(case, at < passed), weights_sha256=sha256, suite="longtail", generation=number)
            for at, case in enumerate(suite("longtail", 8))
        ]
        rows += [
            to_row(result(case, at != number), weights_sha256=sha256, suite="nominal", generation=number)
            for at, case in enumerate(suite("nominal", 4))
        ]
    found.put(rows)
    found.mark_step("run", 0, "refine", payload={"seconds": 30.0, "stages": []})
    stage = {"stage": "sft", "seconds": 8.0, "skipped_reason": "", "stopped_reason": ""}
    found.mark_step("run", 1, "refine", payload={"seconds": 10.0, "stages": [stage]})
    return found


def test_the_facts_of_a_run(store: Store) -> None:
    facts = run_facts(store, "run", CONFIG)
    assert [(row.generation, row.sr, row.champion) for row in facts.rows] == [
        (0, 0.125, False),
        (1, 0.625, True),
    ]
    assert facts.rows[1].sr_nominal == 0.75
    assert [row.figures.cases for row in facts.ledger] == [12, 12]
    by_name = {(row.group, row.name): row.cells for row in facts.types}
    assert by_name["everyday", "LaneFollowing"] == {0: (1, 2), 1: (2, 2)}
    assert facts.triangle is None
    one = facts.takeovers[0]
    assert (one["round"], one["left_out"], one["learnt"]) == (1, {"score_gap": 1}, [1])
    assert facts.rounds[1].per_km == pytest.approx(1 / 0.06)  # one takeover in 60 m
    assert facts.seconds == {"generation 0: refine": 30.0, "refine": 10.0}
    assert [o["data_sha256"] for o in facts.origins] == ["", ""]  # no manifest beside the weights
    assert json.loads(json.dumps(facts.as_dict()))["rows"][1]["gate"] == "promote"


def test_the_page_holds_everything_and_fetches_nothing(store: Store) -> None:
    written = write_summary(store, "run", store.home, CONFIG, 1.0)
    assert (written.rounds, written.promoted, written.champion) == (1, 1, 1)
    with Image.open(written.picture) as image:
        assert image.size[0] > 800
    text = written.page.read_text(encoding="utf-8")
    page = Checked(text)
    assert page.outside == []
    assert page.images == 2  # the curve for light and for dark screens
    words = " ".join(page.words)
    for wanted in (
        "12.5\u00a0% → 62.5\u00a0%",
        "What the gate said",
        "nominal SR",
        "ParkedObstacle/1000",
        "score_gap",
    ):
        assert wanted in words
    assert "&lt;b&gt;" in text  # what the gate says is text
    assert "loop report --triangle" in words
    assert "sft" in words


def test_certified_takeovers_have_a_triangle_of_their_own(store: Store) -> None:
    name = run_facts(store, "run", CONFIG).takeovers[0]["takeover_id"]
    drive = name.split("/")[0]
    rows: list[Any] = [case_row(drive)]
    for number, sha256 in ((0, "a" * 64), (1, "b" * 64)):
        one = to_row(
            result(Case("ParkedObstacle", 1000), number == 1),
            weights_sha256=sha256,
            suite="certified",
            generation=number,
        )
        rows.append(replace(one, case_id=name))
    store.put(rows)
    facts = run_facts(store, "run", CONFIG)
    assert facts.triangle is None
    assert facts.certified is not None
    assert [(c.generation, c.round, c.passed, c.cases, c.learnt) for c in facts.certified.cells] == [
        (0, 1, 0, 1, False),
        (1, 1, 1, 1, True),
    ]
    page = run_page(facts, plot(facts, store.home / "p.png"), store.home / "page.html")
    assert "On certified takeovers" in Checked(page.read_text(encoding="utf-8")).words


def test_films_strips_and_links_are_shown_when_given(store: Store, tmp_path: Path) -> None:
    facts = run_facts(store, "run", CONFIG)
    still = Still("AAAA", "1.0 s", "a picture")
    name = facts.takeovers[0]["takeover_id"]
    path = run_page(
        facts,
        plot(facts, tmp_path / "p.png"),
        tmp_path / "deep" / "page.html",
        films={"Worst": [Film("ParkedObstacle/10001", "collided", (still, still))], "Gained": []},
        strips={name: (still,)},
        links={1: "one.html"},
    )
    page = Checked(path.read_text(encoding="utf-8"))
    assert page.images == 2 + 2 + 1
    assert "one.html" in page.anchors
    assert "ParkedObstacle/10001" in page.words
    with pytest.raises(UsageError, match="cannot write"):
        run_page(facts, tmp_path / "p.png", tmp_path)


def test_a_run_by_name(store: Store, tmp_path: Path) -> None:
    store.mark_step("rum", 0, "begin")
    assert run_named(store) == "rum"  # the newest
    assert run_named(store, "run") == "run"
    with pytest.raises(UsageError, match="2 runs begin"):
        run_named(store, "ru")
    with pytest.raises(UsageError, match="no run begins"):
        run_named(store, "x")
    with pytest.raises(UsageError, match="holds no run"):
        run_named(Store(tmp_path / "empty"))


def test_a_run_that_has_not_driven_yet_has_a_page(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(
        [
            GenerationRow(0, "1", None, "run", 0, "g", "a" * 64, gate="start"),
            PromotionRow("p0", None, 0, "promote", False, {"reason": "first"}, "run", 0),
        ]
    )
    store.mark_step("run", 0, "mlflow", payload={"parent": "x"})
    written = write_summary(store, "run", tmp_path, CONFIG, 1.0)
    assert "No round is finished." in Checked(written.page.read_text(encoding="utf-8")).words


def test_how_drives_end_in_words() -> None:
    assert ending(True, (), "route_complete") == "passed"
    assert ending(False, ("collision_vehicle",), "collision") == "collision vehicle"
    assert ending(False, ("outside_lane", "outside_lane"), "off_road") == "outside lane, off road"
    assert ending(False, (), "blocked") == "blocked"
