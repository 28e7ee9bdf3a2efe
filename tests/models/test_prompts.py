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
    ParseCode,
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
from takeover.scoring.analysis import negative_analysis
from takeover.scoring.meta_actions import DIRECTION_ACTIONS, SPEED_ACTIONS
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


WRITTEN = write_reasoning(GOOD)
STEPS = json.loads(WRITTEN)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ParseCode.TOKEN_COUNT),
        ("drive on", ParseCode.STRAY_TEXT),
        (TOKENS + "<a1>", ParseCode.TOKEN_COUNT),
        (TOKENS[:-4], ParseCode.TOKEN_COUNT),
        (TOKENS.replace("<a7>", "<a117>"), ParseCode.UNKNOWN_TOKEN),
        (TOKENS.replace("<a7>", "<a\u0667>"), ParseCode.STRAY_TEXT),  # an Arabic seven
        (TOKENS.replace("<a7>", "<a-7>"), ParseCode.STRAY_TEXT),
        ("well: " + TOKENS, ParseCode.STRAY_TEXT),
        (TOKENS + " done", ParseCode.STRAY_TEXT),
        ("{}" + TOKENS, ParseCode.KEYS),
        ("[]}" + TOKENS, ParseCode.NOT_JSON),
        (WRITTEN, ParseCode.TOKEN_COUNT),
        (WRITTEN * 2 + TOKENS, ParseCode.NOT_JSON),
        (WRITTEN.replace("decelerate", "hover") + TOKENS, ParseCode.META_ACTIONS),
        (write_reasoning(replace(GOOD, scene=" ")) + TOKENS, ParseCode.STEP),
        (write_reasoning(replace(GOOD, scene="x" * 401)) + TOKENS, ParseCode.STEP),
        (json.dumps({**STEPS, "current_risk": 3}) + TOKENS, ParseCode.STEP),
        (WRITTEN[:-1] + ', "scene": "twice"}' + TOKENS, ParseCode.NOT_JSON),
        (WRITTEN[:-1] + ', "more": 1}' + TOKENS, ParseCode.KEYS),
        (json.dumps({**STEPS, "meta_actions": [["keep", "maintain"]] * 2}) + TOKENS, ParseCode.META_ACTIONS),
        (json.dumps({**STEPS, "meta_actions": [["maintain", "keep"]] * 3}) + TOKENS, ParseCode.META_ACTIONS),
        (json.dumps({**STEPS, "meta_actions": [["maintain", []]] * 2}) + TOKENS, ParseCode.META_ACTIONS),
        ("[" * 4000 + "}" + TOKENS, ParseCode.NOT_JSON),
        ("9" * 4000 + "}" + TOKENS, ParseCode.NOT_JSON),
        ("<a1>" * 5000, ParseCode.TOO_LONG),
    ],
)
def test_anything_else_fails_with_a_code_and_a_reason(text: str, code: ParseCode) -> None:
    failure = parse_answer(text, 117)
    assert isinstance(failure, ParseFailure)
    assert failure.code is code
    assert failure.reason


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(WRITTEN + TOKENS)),
    st.integers(0, 30),
    st.one_of(st.text(max_size=12), st.sampled_from(['"', "{", "}", "[", "]", "null", "NaN", "<a1>", "\\u"])),
)
def test_a_damaged_answer_is_the_same_or_a_failure(at: int, cut: int, inserted: str) -> None:
    whole = WRITTEN + TOKENS
    found = parse_answer(whole[:at] + inserted + whole[at + cut :], 117)
    if isinstance(found, Answer):  # a text may change, the words of the sets may not
        assert len(found.actions) == 8
        assert max(found.actions) < 117
        for speed, direction in found.reasoning.meta_actions if found.reasoning is not None else ():
            assert speed in SPEED_ACTIONS
            assert direction in DIRECTION_ACTIONS
    else:
        assert found.code in ParseCode


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


def test_small_models_get_the_short_analysis_and_large_ones_the_full() -> None:
    plan = np.stack((np.arange(1, 9) * 3.0, np.zeros(8)), 1).astype(np.float32)
    analysis = negative_analysis(None, plan, 0.5 * plan, frozenset())
    item = make_inputs(1)[0]
    short = prompt_text(item, PromptMode.NEGATIVE, negative_m=plan, analysis=analysis)
    assert short.endswith(" because " + analysis.short())
    full = prompt_text(item, PromptMode.NEGATIVE, negative_m=plan, analysis=analysis, verbose=True)
    assert full.endswith(" because " + analysis.full())


def test_a_pretrained_model_is_told_the_words() -> None:
    text = prompt_text(make_inputs(1)[0], PromptMode.REASON, verbose=True)
    for word in (*SPEED_ACTIONS, *DIRECTION_ACTIONS, *STEPS):
        assert word in text


def test_lost_odometry_is_refused() -> None:
    with pytest.raises(PolicyError, match="finite"):
        prompt_text(replace(make_inputs(1)[0], speed_mps=float("nan")))


def test_the_corpus_is_the_same_each_time() -> None:
    assert list(corpus(50)) == list(corpus(50))
