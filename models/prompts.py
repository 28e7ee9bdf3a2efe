"""Prompt text from a policy input, the C-CoT answer, and the strict parser of answers. No torch in here.

A prompt holds quantised odometry and the route command, so that a small vocabulary covers it. An answer is
eight action tokens, preceded in `reason` mode by a counterfactual chain of thought (C-CoT): JSON with the
five steps of SafeAlign.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ..errors import PolicyError
from ..scoring.meta_actions import DIRECTION_ACTIONS, SPEED_ACTIONS, Meta
from ..vocabulary import PLAN_POINTS, Analysis, Command, Float, PolicyInput

MAX_ANSWER_CHARS = 4096
MAX_STEP_CHARS = 400

_TEXT_KEYS = ("scene", "critical_object", "current_risk", "counterfactual_risk")
_KEYS = (*_TEXT_KEYS, "meta_actions")
_TOKENS = re.compile(r"(?:<a[0-9]{1,4}>\s*)*")
_TOKEN = re.compile(r"<a([0-9]{1,4})>")


class PromptMode(StrEnum):
    """What the prompt asks for."""

    PLAN = "plan"  # action tokens only
    REASON = "reason"  # C-CoT, then action tokens
    NEGATIVE = (
        "negative"  # the rejected plan and its analysis are shown; C-CoT or tokens of the good plan follow
    )


@dataclass(frozen=True, slots=True)
class Reasoning:
    """C-CoT: SafeAlign's five steps. Two meta-actions, each (speed, direction): the first second, the other three."""

    scene: str
    critical_object: str
    current_risk: str
    counterfactual_risk: str
    meta_actions: tuple[Meta, Meta]


@dataclass(frozen=True, slots=True)
class Answer:
    """A well-formed answer."""

    actions: tuple[int, ...]  # PLAN_POINTS indices into the codec
    reasoning: Reasoning | None = None


class ParseCode(StrEnum):
    """In what way a text is no answer."""

    TOO_LONG = "too_long"
    STRAY_TEXT = "stray_text"  # beside the C-CoT and the action tokens
    TOKEN_COUNT = "token_count"
    UNKNOWN_TOKEN = "unknown_token"
    NOT_JSON = "not_json"
    KEYS = "keys"
    STEP = "step"  # one of the first four steps
    META_ACTIONS = "meta_actions"


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """Why a text is no answer."""

    code: ParseCode
    reason: str


def write_reasoning(reasoning: Reasoning) -> str:
    """The canonical JSON text of a C-CoT."""
    steps = {key: getattr(reasoning, key) for key in _TEXT_KEYS}
    return json.dumps(
        {**steps, "meta_actions": [list(pair) for pair in reasoning.meta_actions]}, ensure_ascii=False
    )


def write_answer(tokens: str, reasoning: str = "") -> str:
    """The text that a model should answer with."""
    return f"{reasoning}{tokens}"


def parse_reasoning(text: str) -> Reasoning | ParseFailure:
    """Read a C-CoT; any text gives a value, never an exception."""
    if len(text) > MAX_ANSWER_CHARS:
        return ParseFailure(ParseCode.TOO_LONG, "too long")
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        return ParseFailure(ParseCode.NOT_JSON, f"not JSON: {error}")
    if not isinstance(value, dict) or set(value) != set(_KEYS):
        return ParseFailure(ParseCode.KEYS, "the C-CoT needs exactly the keys " + ", ".join(_KEYS))
    for key in _TEXT_KEYS:
        step = value[key]
        if not isinstance(step, str) or not step.strip() or len(step) > MAX_STEP_CHARS:
            return ParseFailure(ParseCode.STEP, f"{key} must be a text of 1 to {MAX_STEP_CHARS} characters")
    meta = value["meta_actions"]
    if not isinstance(meta, list) or len(meta) != 2 or not all(_is_meta_action(pair) for pair in meta):
        return ParseFailure(ParseCode.META_ACTIONS, "meta_actions must be two pairs [speed, direction]")
    (first, second) = ((str(pair[0]), str(pair[1])) for pair in meta)
    scene, thing, now, otherwise = (str(value[key]) for key in _TEXT_KEYS)
    return Reasoning(scene, thing, now, otherwise, (first, second))


def parse_answer(text: str, n_actions: int) -> Answer | ParseFailure:
    """Read a model's answer; any text gives a value, never an exception.

    Args:
        text: Decoded completion, without special tokens.
        n_actions: Size of the codec.
    """
    if len(text) > MAX_ANSWER_CHARS:
        return ParseFailure(ParseCode.TOO_LONG, "too long")
    head, brace, tail = text.strip().rpartition("}")
    tail = tail.strip()
    if _TOKENS.fullmatch(tail) is None:
        return ParseFailure(ParseCode.STRAY_TEXT, "text other than C-CoT and action tokens")
    actions = tuple(int(number) for number in _TOKEN.findall(tail))
    if len(actions) != PLAN_POINTS:
        return ParseFailure(ParseCode.TOKEN_COUNT, f"{len(actions)} action tokens instead of {PLAN_POINTS}")
    if max(actions) >= n_actions:
        return ParseFailure(ParseCode.UNKNOWN_TOKEN, "unknown action token")
    if not brace:
        return Answer(actions)
    reasoning = parse_reasoning(head + brace)
    return reasoning if isinstance(reasoning, ParseFailure) else Answer(actions, reasoning)


def prompt_text(
    inputs: PolicyInput,
    mode: PromptMode = PromptMode.PLAN,
    *,
    negative_m: Float | None = None,
    analysis: str | Analysis = "",
    verbose: bool = False,
) -> str:
    """The text part of a prompt.

    Args:
        inputs: What the policy sees.
        mode: What is asked for.
        negative_m: (8, 2) plan to show as bad, `negative` mode only.
        analysis: Why it is bad, `negative` mode only.
        verbose: Explain the numbers, for pretrained backbones; the tiny one learns the short form.

    Raises:
        PolicyError: The odometry is not finite.
    """
    motion = (inputs.speed_mps, inputs.accel_mps2, inputs.yaw_rate_radps)
    if not (np.isfinite(motion).all() and np.isfinite(inputs.history_m_rad).all()):
        raise PolicyError("the odometry is not finite", fix="Check the simulator's ego state.")
    if (mode is PromptMode.NEGATIVE) != (negative_m is not None):
        raise ValueError("negative_m belongs to the negative mode, and only to it")
    poses = " ".join(
        f"{_grid(x, 0.5)} {_grid(y, 0.2, 12.0)} {_grid(math.degrees(yaw), 1.0, 90.0)}"
        for x, y, yaw in inputs.history_m_rad[:-1]
    )
    text = (
        f"{mode.value} v {_grid(inputs.speed_mps, 0.5)} a {_grid(inputs.accel_mps2, 0.5, 12.0)}"
        f" w {_grid(inputs.yaw_rate_radps, 0.05, 1.5)} p {poses} {inputs.command.value}"
    )
    if negative_m is not None:
        points = " ".join(f"{_grid(x, 0.5)} {_grid(y, 0.2)}" for x, y in np.asarray(negative_m))
        if not isinstance(analysis, str):
            analysis = analysis.full() if verbose else analysis.short()
        text += f" bad {points}" + (f" because {analysis}" if analysis else "")
    return _EXPLANATION[mode] + text if verbose else text


_COMMON = (
    "You drive the car that took these pictures, oldest first. v: speed in m/s, a: acceleration in m/s2, "
    "w: yaw rate in rad/s, p: x y yaw (m, m, degrees) of the car 1.5, 1.0 and 0.5 s ago seen from now; "
    "then the route command. "
)
_TOKENS_ASKED = "Answer with 8 action tokens, one per 0.5 s. "
_EXPLANATION = {
    PromptMode.PLAN: _COMMON + _TOKENS_ASKED,
    PromptMode.REASON: _COMMON
    + "Reason first, step by step, as JSON of five keys: scene (describe it), critical_object (whom to mind, or none), "
    "current_risk (low, medium or high, with the time to collision), counterfactual_risk (what happens if the car keeps "
    "its speed), meta_actions (two pairs [speed, direction]: for the next second, and for the three after it; speed is "
    f"one of {', '.join(SPEED_ACTIONS)}; direction one of {', '.join(DIRECTION_ACTIONS)}: keep the lane, turn, change "
    "lane). Then 8 action tokens, one per 0.5 s. ",
    PromptMode.NEGATIVE: _COMMON
    + "`bad` is a dangerous plan (x y in m every 0.5 s), and `because` says what is wrong with it: the risk, its cause "
    "along and across the lane, what other actions lead to, and the corrections in time. Drive the corrected plan. "
    + _TOKENS_ASKED,
}


def _grid(value: float, step: float, limit: float = 60.0) -> str:
    """A number on a grid; held within +-limit, so that no state makes a prompt longer than its budget."""
    held = min(max(float(value), -limit), limit)
    return f"{round(held / step) * step + 0.0:.2f}".rstrip("0").rstrip(".")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _is_meta_action(pair: object) -> bool:
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(word, str) for word in pair):
        return False
    return pair[0] in SPEED_ACTIONS and pair[1] in DIRECTION_ACTIONS


def corpus(n: int = 1500, seed: int = 0) -> Iterator[str]:
    """Texts like those that the project writes, for training the tiny tokenizer."""
    rng = random.Random(seed)
    commands = list(Command)
    metas = list(itertools.product(SPEED_ACTIONS, DIRECTION_ACTIONS))

    def half(high: float) -> str:
        return f"{round(rng.uniform(0, high) * 2) / 2:.1f}"

    for index in range(n):
        speed = rng.uniform(0, 15)
        back = [speed * t for t in (1.5, 1.0, 0.5, 0.0)]
        bend = rng.gauss(0, 0.3)
        inputs = PolicyInput(
            images=np.zeros((0, 0, 0, 0, 3), np.uint8),
            history_m_rad=np.array([(-x, bend * x * x / 60, -bend * x / 30) for x in back], np.float32),
            speed_mps=speed,
            accel_mps2=rng.gauss(0, 2),
            yaw_rate_radps=rng.gauss(0, 0.2),
            command=rng.choice(commands),
        )
        thing, side = rng.choice(_THINGS), rng.choice(_SIDES)
        if index % 4 == 3:
            ahead = np.array([(speed * 0.5 * k, bend * k) for k in range(1, 9)], np.float32)
            fault = rng.choice((f"{rng.choice(('collision', 'too near'))} {thing}", "off road", "too slow"))
            pace = f"too {rng.choice(('fast', 'slow'))} {half(15)} m, {rng.choice(('left', 'right'))} {half(4)} m"
            first, second = rng.choice(SPEED_ACTIONS), rng.choice(SPEED_ACTIONS)
            verb = rng.choice(("brake", "accelerate"))
            mend = ", ".join(f"{verb} {half(8)} m/s by {end} s" for end in (1, 4))
            analysis = (
                f"{fault} in {half(4)} s, off {half(15)} m; {pace}; {first} {fault.split()[0]}, "
                f"{second} {rng.choice(('safe', 'less harm'))}; {mend}"
            )
            yield prompt_text(inputs, PromptMode.NEGATIVE, negative_m=ahead, analysis=analysis)
        else:
            yield prompt_text(inputs, PromptMode.REASON if index % 2 else PromptMode.PLAN)
        in_time = f"in {half(4)} s"
        yield write_reasoning(
            Reasoning(
                scene=f"{rng.choice(('lane', 'junction', 'curve'))}, {speed:.0f} m/s",
                critical_object=f"{thing} {side} {rng.randint(3, 40)} m" if thing != "none" else "none",
                current_risk=rng.choice(("low", f"{rng.choice(_RISKS)}, time to collision {half(4)} s")),
                counterfactual_risk=f"keeping speed: {rng.choice(('no conflict', 'collision ' + in_time))}",
                meta_actions=(rng.choice(metas), rng.choice(metas)),
            )
        )


_THINGS = ("walker", "car", "cyclist", "barrier", "something hidden", "none")
_SIDES = ("ahead", "left", "right", "oncoming", "crossing from the left", "crossing from the right")
_RISKS = ("medium", "high")
