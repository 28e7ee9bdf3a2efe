"""Drives the champion on the gate's cases while its challenger learns: training keeps one core busy, drives the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..vocabulary import Case
from .evaluator import Evaluator

Suite = tuple[str, Sequence[Case]]  # name and cases


@contextmanager
def measured_beside(
    evaluator: Evaluator, generation: int, suites: Sequence[Suite], say: Callable[[str], None]
) -> Iterator[None]:
    """For the time of a block, and as long as it takes after it, drive what is not known of a generation.

    Args:
        evaluator: Keeps the results; it must not show progress, for the block shows its own.
        generation: Its number.
        suites: Drives.
        say: Told that this happens, when there is something to drive.

    Raises:
        Exception: Whatever stopped the drives, when the block itself went well.
    """
    left = [
        (name, cases) for name, cases in suites if len(evaluator.known(generation, name, cases)) < len(cases)
    ]
    if not left:
        yield
        return
    given_up = threading.Event()
    failures: list[BaseException] = []

    def drive() -> None:
        try:
            for name, cases in left:
                if not given_up.is_set():
                    evaluator.results(generation, name, cases, "", stop=given_up.is_set)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=drive, name="measured-beside")
    count = sum(len(cases) for _, cases in left)
    say(f"generation {generation} drives the gate's {count} cases meanwhile")
    thread.start()
    try:
        yield
    except BaseException:
        given_up.set()
        raise
    finally:
        thread.join()
    if failures:
        raise failures[0]
