"""A teacher behind any OpenAI-compatible endpoint: time-outs, retries, answers kept on disk, nothing believed unread.

The key is read from the environment, is sent in one header and is written nowhere. An endpoint that fails, or answers
what is no report, is replaced by the rules: said in the log and counted in the stage's report.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RefineError
from ..models.prompts import prompt_text, write_reasoning
from ..scoring.pdms import score_plans
from ..vocabulary import Analysis, Float
from .config import TeacherConfig
from .teacher import Failure, FailureReport, RuleTeacher, Teacher, TeacherFailure, parse_report, rule_report

MAX_ANSWER_BYTES = 1_000_000
RETRIED = frozenset({408, 429, 500, 502, 503, 504})

_LOG = logging.getLogger("takeover.teacher")
_SYSTEM = (
    "You teach a driving policy. You are given its odometry, a trajectory that failed, a better one (x forward, y left, "
    "metres, ego frame, one point every 0.5 s) and the metrics of both (0 to 1: no at-fault collision, drivable area, "
    "ego progress, time to collision, comfort). Answer with one JSON object of exactly these keys: meta_action (what "
    "was decided and what was needed), think_process (where the reasoning went wrong), safety (the safety failure), "
    "efficiency (the efficiency failure), correction (an object of exactly the keys lateral and longitudinal: what to "
    "change, by how much, when). Each value is one plain sentence of at most 240 characters."
)


def make_teacher(config: TeacherConfig, cache_dir: Path) -> Teacher:
    """The teacher that the configuration asks for.

    Args:
        config: Without a url, by rule.
        cache_dir: Where answers are kept when the configuration names no folder.

    Raises:
        RefineError: The key's variable is not set, or holds what no header may.
    """
    if not config.url:
        return RuleTeacher(config.report)
    return EndpointTeacher(config, Path(config.cache_dir) if config.cache_dir else cache_dir)


class EndpointTeacher:
    """Asks an endpoint; falls back to the rule-based report."""

    def __init__(
        self, config: TeacherConfig, cache_dir: Path, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._config, self._cache, self._sleep = config, cache_dir, sleep
        self._key = _key(config.api_key_env)
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._in_a_row = 0
        self.asked = self.cached = self.failed = 0

    def analyse(self, failure: Failure) -> Analysis:
        """The endpoint's report, or the rule-based one."""
        found = self.report(failure)
        return rule_report(failure) if isinstance(found, TeacherFailure) else found

    def report(self, failure: Failure) -> FailureReport | TeacherFailure:
        """The endpoint's report; known answers ask nobody."""
        body = self._request(failure)
        file = self._cache / f"{hashlib.sha256(self._config.url.encode() + body).hexdigest()}.json"
        known = _read(file)
        if known is not None:
            self.cached += 1
            return known
        if self._in_a_row >= self._config.give_up_after:
            self.failed += 1
            return TeacherFailure("given up for this stage")
        found = self._ask(body)
        if isinstance(found, TeacherFailure):
            self.failed += 1
            self._in_a_row += 1
            given_up = self._in_a_row >= self._config.give_up_after
            _LOG.warning(
                "the teacher at %s gave no report (%s); the rule-based one is used%s",
                self._config.url,
                found.reason,
                " from now on in this stage" if given_up else "",
            )
            return found
        self._in_a_row = 0
        _write(file, found)
        return found

    def figures(self) -> dict[str, float]:
        """How often it was asked, was known already, and failed."""
        return {
            "teacher_asked": float(self.asked),
            "teacher_cached": float(self.cached),
            "teacher_failed": float(self.failed),
        }

    def _request(self, failure: Failure) -> bytes:
        config = self._config
        body = {
            "model": config.model,
            "messages": [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": describe(failure)},
            ],
            "temperature": 0,
            "max_tokens": config.max_tokens,
            "response_format": {"type": "json_object"},
        }
        return json.dumps(body, sort_keys=True).encode()

    def _ask(self, body: bytes) -> FailureReport | TeacherFailure:
        config = self._config
        found = TeacherFailure("not asked")
        for attempt in range(config.retries + 1):
            if attempt:
                self._sleep(config.backoff_s * 2 ** (attempt - 1))
            self.asked += 1
            try:
                return _content(self._post(body))
            except urllib.error.HTTPError as error:
                found = TeacherFailure(f"status {error.code}")
                error.close()
                if error.code not in RETRIED:
                    return found
            except TimeoutError:
                found = TeacherFailure(f"no answer within {config.timeout_s:g} s")
            except urllib.error.URLError as error:
                late = isinstance(error.reason, TimeoutError)
                found = TeacherFailure(
                    f"no answer within {config.timeout_s:g} s" if late else f"no connection: {error.reason}"
                )
            except (OSError, HTTPException) as error:
                found = TeacherFailure(f"the connection broke: {type(error).__name__}")
        return found

    def _post(self, body: bytes) -> bytes:
        """One request; the time-out holds for all of it, and an endless answer is cut off."""
        limit_s = self._config.timeout_s
        deadline = time.monotonic() + limit_s
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = self._config.url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        parts: list[bytes] = []
        size = 0
        with self._opener.open(request, timeout=limit_s) as response:
            while part := response.read1(65536):
                parts.append(part)
                size += len(part)
                if time.monotonic() > deadline:
                    raise TimeoutError
                if size > MAX_ANSWER_BYTES:
                    raise HTTPException("too long an answer")
        return b"".join(parts)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse; the status becomes the failure."""


def describe(failure: Failure) -> str:
    """All that the endpoint is told: no picture, no name, no case, nothing of the driver."""
    lines = [f"odometry: {prompt_text(failure.input)}"]
    if failure.reasoning is not None:
        lines.append(f"its reasoning: {write_reasoning(failure.reasoning)}")
    lines += [f"failed: {_points(failure.bad_m)}", f"better: {_points(failure.good_m)}"]
    if failure.scene is not None:
        scores = score_plans(failure.scene, np.stack((failure.bad_m[:, :2], failure.good_m[:, :2])))
        for i, name in enumerate(("failed", "better")):
            terms = ("nc", "dac", "ep", "ttc", "comfort", "pdms")
            lines.append(
                f"metrics of {name}: " + " ".join(f"{t} {float(getattr(scores, t)[i]):.2f}" for t in terms)
            )
    lines.append(f"by rule: {rule_report(failure).short()}")
    return "\n".join(lines)


def _points(plan_m: Float) -> str:
    return " ".join(f"({x:.1f}, {y:.1f})" for x, y in np.asarray(plan_m)[:, :2].tolist())


def _key(variable: str) -> str:
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise RefineError(
            f"the teacher's key variable {variable} is not set",
            fix=f"export {variable}, or empty teacher.url",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        # http.client would say so too, with the key in its message.
        raise RefineError(f"{variable} holds characters that no header may", fix="set the bare key")
    return key


def _content(body: bytes) -> FailureReport | TeacherFailure:
    """The report inside a chat completion."""
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return TeacherFailure("the answer is no chat completion")
    return parse_report(text) if isinstance(text, str) else TeacherFailure("the answer holds no text")


def _read(file: Path) -> FailureReport | None:
    """A kept report; whatever is damaged counts as unknown."""
    try:
        found = parse_report(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return None if isinstance(found, TeacherFailure) else found


def _write(file: Path, report: FailureReport) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.stem}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(report.to_json(), ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(file)
