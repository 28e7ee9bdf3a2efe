"""One error family. The command line prints `message`, then `fix`, and exits with `exit_code`; never a traceback."""

from __future__ import annotations


class TakeoverError(Exception):
    """A failure that the user can understand: what happened, and how to mend it.

    Attributes:
        fix: One line that says what to do.
        exit_code: Exit status of the command line.
    """

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class UsageError(TakeoverError):
    """A value from the user is out of its range; the message names value, range and fix."""

    exit_code = 2


class StoreError(TakeoverError):
    """The episode store or its index cannot be used."""

    exit_code = 3


class StoreLockedError(StoreError):
    """Another process holds the index."""

    exit_code = 4


class DamagedEpisodeError(StoreError):
    """A sealed episode does not match its manifest."""

    exit_code = 5


class SimulatorError(TakeoverError):
    """The CARLA side failed: no server, a dead server, a late sensor. Never the policy's fault."""

    exit_code = 6


class PolicyError(TakeoverError):
    """A checkpoint cannot be loaded or gave an unusable plan."""

    exit_code = 7


class RefineError(TakeoverError):
    """A refinement stage cannot run, or lost its numbers (NaN)."""

    exit_code = 8


class RegistryError(TakeoverError):
    """The MLflow registry refused, or a registered version fails its hash or canary."""

    exit_code = 9


class RoleError(TakeoverError):
    """Held-out data reached a place that trains."""

    exit_code = 10


class InconclusiveError(TakeoverError):
    """A promotion was asked for that the evidence does not support."""

    exit_code = 11
