from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeover.errors import PolicyError
from takeover.models.prompts import (
    Answer,
    ParseFailure,
    PromptMode,
    Reasoning,
    corpus,
    parse_answer,
    parse_reasoning,
    prompt_text,
    write_answer,
    write_reasoning,
)
from takeover.vocabulary import Command

from .scenes import make_inputs

GOOD = Reasoning(
    "lane, 8 m/s", "walker ahead 14 m", "high", "keeping speed: collision in 1.5 s",
    (("decelerate", "keep"), ("maintain", "keep")),
)  # fmt: skip
TOKENS = "".join(f"<a{i}>" for i in range(8))


def test_what_is_written_is_read_back() -> None:
    assert parse_reasoning(write_reasoning(GOOD)) == GOOD
    assert parse_answer(write_answer(TOKENS, write_reasoning(GOOD)), 117) == Answer(tuple(range(8)), GOOD)
    assert parse_answer(TOKENS, 117) == Answer(tuple(range(8)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "drive on",
        TOKENS + "<a1>",
        TOKENS[:-4],
        TOKENS.replace("<a7>", "<a117>"),
        "well: " + TOKENS,
        TOKENS + " done",
        "{}" + TOKENS,
        write_reasoning(GOOD),
        write_reasoning(GOOD) * 2 + TOKENS,
        write_reasoning(GOOD).replace("decelerate", "hover") + TOKENS,
        write_reasoning(replace(GOOD, scene=" ")) + TOKENS,
        write_reasoning(replace(GOOD, scene="x" * 401)) + TOKENS,
        write_reasoning(GOOD)[:-1] + ', "scene": "twice"}' + TOKENS,
        write_reasoning(GOOD)[:-1] + ', "more": 1}' + TOKENS,
        json.dumps({**json.loads(write_reasoning(GOOD)), "meta_actions": [["keep", "maintain"]] * 2})
        + TOKENS,
        json.dumps({**json.loads(write_reasoning(GOOD)), "meta_actions": [["maintain", "keep"]] * 3})
        + TOKENS,
        "[" * 4000 + "}" + TOKENS,
        "9" * 4000 + "}" + TOKENS,
        "<a1>" * 5000,
    ],
)
def test_anything_else_fails_with_a_reason(text: str) -> None:
    failure = parse_answer(text, 117)
    assert isinstance(failure, ParseFailure)
    assert failure.reason


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.text(), st.text('{}[]"<a1234567890>:, \\u\n'), st.binary().map(lambda b: b.decode("latin1")))
)
def test_the_parser_is_total(text: str) -> None:
    assert isinstance(parse_answer(text, 117), Answer | ParseFailure)
    assert isinstance(parse_reasoning(text), Reasoning | ParseFailure)


def test_prompts_are_short_and_quantised() -> None:
    item = replace(
        make_inputs(1)[0], speed_mps=8.13, accel_mps2=-0.2, yaw_rate_radps=0.019, command=Command.TURN_LEFT
    )
    text = prompt_text(item)
    assert text.startswith("plan v 8 a 0 w 0 p ")
    assert text.endswith("turn_left")
    assert prompt_text(replace(item, speed_mps=8.2)) == text
    assert "bad" not in text


def test_the_negative_prompt_shows_the_bad_plan_and_why() -> None:
    item = make_inputs(1)[0]
    bad = np.stack((np.arange(1, 9) * 3.0, np.zeros(8)), 1).astype(np.float32)
    text = prompt_text(item, PromptMode.NEGATIVE, negative_m=bad, analysis="too fast")
    assert text.endswith(" bad 3 0 6 0 9 0 12 0 15 0 18 0 21 0 24 0 because too fast")
    with pytest.raises(ValueError, match="negative"):
        prompt_text(item, PromptMode.NEGATIVE)
    with pytest.raises(ValueError, match="negative"):
        prompt_text(item, negative_m=bad)


def test_lost_odometry_is_refused() -> None:
    with pytest.raises(PolicyError, match="finite"):
        prompt_text(replace(make_inputs(1)[0], speed_mps=float("nan")))


def test_the_corpus_is_the_same_each_time() -> None:
    assert list(corpus(50)) == list(corpus(50))
