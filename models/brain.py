"""The policy process of the cockpit: `python -P -m takeover.models.brain`, started by `collect.cockpit.links`.

Newest wins: a question that waits behind a newer one is never answered. Plans and words are made by two such processes, so
that a plan never waits for text.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from multiprocessing.connection import Connection

from ..errors import TakeoverError

NICE, NICE_OF_WORDS = 5, 10  # a plan may be late by a few ms, a control may not


def main() -> None:
    """Answer until the cockpit closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipe", type=int, required=True)
    parser.add_argument("--policy", required=True, help="checkpoint folder")
    parser.add_argument("--generation", default="")
    parser.add_argument("--words", action="store_true", help="answer with reasoning instead of a plan")
    arguments = parser.parse_args()
    pipe = Connection(arguments.pipe)
    os.nice(NICE_OF_WORDS if arguments.words else NICE)
    from .policy import (
        Policy,
    )  # seconds of work: a policy that is started again beside a drive must not slow it down

    with contextlib.suppress(EOFError, OSError):  # the cockpit went away: nothing is left to do
        try:
            policy = Policy.load(arguments.policy)
        except TakeoverError as error:
            pipe.send(("fault", str(error), error.fix))
            return
        pipe.send(("ready", policy.config.frames))
        while True:
            tick, view = pipe.recv()
            while pipe.poll(0):
                tick, view = pipe.recv()
            if arguments.words:
                pipe.send(("answer", tick, None, policy.reason([view])[0]))
                continue
            plan = policy.try_plan([view], arguments.generation, [tick])[0]
            pipe.send(("answer", tick, plan.waypoints_m if plan is not None else None, ""))


if __name__ == "__main__":
    main()
