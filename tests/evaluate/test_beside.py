"""Drives beside the training: all of them, none twice, and no failure lost."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from takeover.errors import SimulatorError
from takeover.evaluate.beside import measured_beside
from takeover.evaluate.evaluator import Evaluator
from takeover.vocabulary import Case

CASES = [Case("LaneFollowing", 10_000 + i) for i in range(3)]
SUITES = [("longtail", CASES), ("nominal", CASES[:1])]


class Drives:
    """Keeps what was asked for; drives one case after the other once it may begin."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.done: dict[str, list[Case]] = {"longtail": CASES[:1], "nominal": []}
        self.threads: set[str] = set()
        self.may_begin = threading.Event()
        self.fault = fault

    def known(self, generation: int, name: str, cases: Sequence[Case]) -> list[Case]:
        return [case for case in cases if case in self.done[name]]

    def results(
        self, generation: int, name: str, cases: Sequence[Case], title: str, *, stop: Callable[[], bool]
    ) -> None:
        self.threads.add(threading.current_thread().name)
        assert self.may_begin.wait(10)
        if self.fault:
            raise self.fault
        for case in cases:
            if not stop() and case not in self.done[name]:
                self.done[name].append(case)


def beside(drives: Drives, said: list[str]) -> Any:
    return measured_beside(cast(Evaluator, drives), 0, SUITES, said.append)


def test_what_is_missing_is_driven_while_the_block_runs() -> None:
    drives, said = Drives(), list[str]()
    with beside(drives, said):
        drives.may_begin.set()  # had it run before the block, this would never be reached
    assert drives.done == {"longtail": CASES, "nominal": CASES[:1]}
    assert drives.threads == {"measured-beside"}
    assert said == ["generation 0 drives the gate's 4 cases meanwhile"]


def test_what_is_known_is_not_driven_again() -> None:
    drives, said = Drives(), list[str]()
    drives.done = {"longtail": list(CASES), "nominal": CASES[:1]}
    with beside(drives, said):
        pass
    assert not drives.threads
    assert not said


def test_a_failure_of_the_drives_is_raised_after_the_block() -> None:
    drives, finished = Drives(SimulatorError("gone")), list[bool]()

    def block() -> None:
        with beside(drives, []):
            drives.may_begin.set()
            finished.append(True)

    with pytest.raises(SimulatorError, match="gone"):
        block()
    assert finished


def test_a_failing_block_stops_the_drives_and_its_own_error_comes_out() -> None:
    drives = Drives()

    def block() -> None:
        with beside(drives, []):
            threading.Timer(0.1, drives.may_begin.set).start()
            raise ValueError("training")

    with pytest.raises(ValueError, match="training"):
        block()
    assert drives.done["nominal"] == []
    assert drives.done["longtail"] == CASES[:1]
