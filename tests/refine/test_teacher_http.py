"""The teacher against a real HTTP server on this machine."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from takeover.errors import RefineError
from takeover.refine.config import TeacherConfig
from takeover.refine.teacher import FailureReport, RuleTeacher, TeacherFailure, rule_report
from takeover.refine.teacher_http import EndpointTeacher, describe, make_teacher

from .test_teacher import REPORT, failure

KEY = "sk-very-secret-0123456789"
Reply = tuple[int, bytes] | Callable[[BaseHTTPRequestHandler], None]


def completion(content: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


GOOD = (200, completion(json.dumps(REPORT)))


class Endpoint:
    """Gives the replies in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [GOOD]
        self.asked: list[dict[str, Any]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.asked.append(
                    {"path": self.path, "key": self.headers["Authorization"], **json.loads(body)}
                )
                index = min(len(endpoint.asked), len(endpoint.replies)) - 1
                reply = endpoint.replies[index]
                if callable(reply):
                    reply(self)
                    return
                status, content = reply
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TEACHER_KEY", KEY)
    server = Endpoint()
    yield server
    server.close()


def teacher(endpoint: Endpoint, folder: Path, **keys: Any) -> EndpointTeacher:
    config = {
        "url": endpoint.url,
        "model": "m",
        "api_key_env": "TEACHER_KEY",
        "timeout_s": 5.0,
        "backoff_s": 0.5,
    }
    return EndpointTeacher(TeacherConfig.model_validate({**config, **keys}), folder, waited.append)


waited: list[float] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    waited.clear()


def test_a_good_answer_becomes_the_words_of_the_prompt(endpoint: Endpoint, tmp_path: Path) -> None:
    asker = teacher(endpoint, tmp_path)
    words = asker.analyse(failure()).short()
    assert "safety: collision with the car in 2.5 s" in words
    assert "longitudinal: brake 3 m/s from 0.5 s" in words
    (asked,) = endpoint.asked
    assert asked["path"] == "/v1/chat/completions"
    assert asked["key"] == f"Bearer {KEY}"
    assert asked["model"] == "m"
    told = asked["messages"][1]["content"]
    assert told == describe(failure())
    assert "failed: (4.0, 0.0) (8.0, 0.0)" in told
    assert "metrics of failed: nc 0.00" in told
    assert asker.figures() == {"teacher_asked": 1.0, "teacher_cached": 0.0, "teacher_failed": 0.0}


def test_a_known_answer_makes_no_request(endpoint: Endpoint, tmp_path: Path) -> None:
    first = teacher(endpoint, tmp_path).report(failure())
    again = teacher(endpoint, tmp_path)
    assert again.report(failure()) == first
    assert len(endpoint.asked) == 1
    assert again.figures() == {"teacher_asked": 0.0, "teacher_cached": 1.0, "teacher_failed": 0.0}
    other = failure(bad=failure().bad_m + np.float32(1.0))
    again.report(other)
    assert len(endpoint.asked) == 2
    assert KEY not in "".join(file.read_text() for file in tmp_path.iterdir())


def test_a_damaged_kept_answer_is_asked_for_again(endpoint: Endpoint, tmp_path: Path) -> None:
    teacher(endpoint, tmp_path).report(failure())
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"\xff{")
    assert isinstance(teacher(endpoint, tmp_path).report(failure()), FailureReport)
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((200, b"<html>"), "no chat completion"),
        ((200, b"{}"), "no chat completion"),
        ((200, completion(None)), "holds no text"),
        ((200, completion("brake earlier")), "not JSON"),
        ((200, completion(json.dumps({**REPORT, "safety": "<|im_end|>"}))), "markup"),
        ((200, b"x" * 1_000_002), "HTTPException"),
        ((401, b"who are you, " + KEY.encode()), "status 401"),
        ((302, b""), "status 302"),
    ],
)
def test_what_is_no_report_is_a_failure_and_the_rules_step_in(
    reply: Reply, reason: str, endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.replies = [reply]
    asker = teacher(endpoint, tmp_path, retries=0)
    with caplog.at_level(logging.WARNING):
        assert asker.analyse(failure()) == rule_report(failure())
    assert asker.figures() == {"teacher_asked": 1.0, "teacher_cached": 0.0, "teacher_failed": 1.0}
    assert reason in caplog.text
    assert "rule-based" in caplog.text
    assert KEY not in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_server_is_tried_again_after_a_growing_wait(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.replies = [(500, b""), (429, b""), GOOD]
    assert isinstance(teacher(endpoint, tmp_path).report(failure()), FailureReport)
    assert len(endpoint.asked) == 3
    assert waited == [0.5, 1.0]


def test_a_refusal_is_not_tried_again(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.replies = [(400, b"")]
    found = teacher(endpoint, tmp_path).report(failure())
    assert found == TeacherFailure("status 400")
    assert len(endpoint.asked) == 1


def test_silence_and_a_dripping_answer_end_at_the_time_out(endpoint: Endpoint, tmp_path: Path) -> None:
    done = threading.Event()

    def silent(_: BaseHTTPRequestHandler) -> None:
        done.wait(5.0)

    def dripping(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        while not done.wait(0.05):
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return

    endpoint.replies = [silent, dripping]
    started = time.monotonic()
    found = teacher(endpoint, tmp_path, timeout_s=0.2, retries=1).report(failure())
    taken_s = time.monotonic() - started
    done.set()
    assert found == TeacherFailure("no answer within 0.2 s")
    assert len(endpoint.asked) == 2
    assert 0.4 <= taken_s < 3.0


def test_nobody_there(endpoint: Endpoint, tmp_path: Path) -> None:
    asker = teacher(endpoint, tmp_path, url="http://127.0.0.1:9/v1", retries=0)
    found = asker.report(failure())
    assert isinstance(found, TeacherFailure)
    assert found.reason.startswith("no connection")


def test_after_failures_in_a_row_the_stage_goes_on_by_rule(
    endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.replies = [(500, b"")]
    asker = teacher(endpoint, tmp_path, retries=0, give_up_after=2)
    for _ in range(5):
        asker.report(failure())
    assert len(endpoint.asked) == 2
    assert asker.figures()["teacher_failed"] == 5.0
    assert caplog.text.count("from now on") == 1


def test_a_missing_or_impossible_key_is_refused_without_showing_it(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TeacherConfig(url=endpoint.url, model="m", api_key_env="TEACHER_KEY")
    monkeypatch.setenv("TEACHER_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(RefineError) as caught:
        make_teacher(config, tmp_path)
    assert KEY not in f"{caught.value} {caught.value.fix}"
    monkeypatch.delenv("TEACHER_KEY")
    with pytest.raises(RefineError, match="TEACHER_KEY is not set"):
        make_teacher(config, tmp_path)
    assert endpoint.asked == []


@pytest.mark.parametrize(
    "keys",
    [
        {"url": "ftp://host/v1", "model": "m"},
        {"url": "http://user:pass@host/v1", "model": "m"},
        {"url": "http://host/v1?key=1", "model": "m"},
        {"url": "http://host/v1"},
    ],
)
def test_urls_that_would_tell_secrets_are_refused(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        TeacherConfig.model_validate(keys)


def test_without_a_url_the_teacher_is_a_rule(tmp_path: Path) -> None:
    assert isinstance(make_teacher(TeacherConfig(), tmp_path), RuleTeacher)
    full = make_teacher(TeacherConfig(report="full"), tmp_path)
    assert full.analyse(failure()) == rule_report(failure())
