"""Who drives: names and pseudonyms, apart from the episodes, which know the pseudonym alone.

`drivers.json` of the home is the only place that joins a name to a pseudonym; `loop driver forget` takes the entry away.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import StoreError, UsageError
from ...store.locking import WRITE_WAIT_S, locked
from ...store.rows import now_utc
from ...store.sealing import write_durably

FILE = "drivers.json"
NAME_MAX = 40
CONSENT_VERSION = 1
CONSENT = (
    "What is recorded: the simulator's pictures, your steering, pedals and keys, your takeovers and what you say of them.",
    "What for: to train and test driving policies in this folder, on this computer. Nothing is sent anywhere.",
    "Under which name: a pseudonym. Your own name stays in one file of this folder.",
    "How to end it: `loop driver forget NAME` removes your drives, and names the generations that learnt from them.",
)


@dataclass(frozen=True, slots=True)
class Driver:
    """A person who drives here.

    Attributes:
        name: As given; never written into an episode.
        pseudonym: The `driver_id` of the episodes.
        consent_utc: When the driver consented.
        consent_version: To which text.
        driven_s: Time at the wheel so far, pauses left out; the first of it is practice.
    """

    name: str
    pseudonym: str
    consent_utc: str
    consent_version: int
    driven_s: float = 0.0


class DriverBook:
    """The drivers of a home. Every change is one locked, durable replacement of the file.

    Args:
        home: The home folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / FILE

    def all(self) -> list[Driver]:
        """By name.

        Raises:
            StoreError: The file is damaged.
        """
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
            return sorted((Driver(**entry) for entry in entries), key=lambda driver: driver.name)
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"{self._path} is damaged: {error}", fix="mend it or move it away; drivers then consent again"
            ) from error

    def find(self, name: str) -> Driver | None:
        """By name; None for somebody new, or whose consent was to an older text."""
        return next((d for d in self.all() if d.name == name and d.consent_version == CONSENT_VERSION), None)

    def latest(self) -> Driver | None:
        """The one driver of this home; None while there are none or several."""
        drivers = self.all()
        return drivers[0] if len(drivers) == 1 else None

    def consent(self, name: str) -> Driver:
        """Write down that a person has consented just now; a known one keeps pseudonym and time."""
        name = checked_name(name)

        def write(drivers: list[Driver]) -> list[Driver]:
            old = next((d for d in drivers if d.name == name), None)
            pseudonym = old.pseudonym if old else f"driver-{secrets.token_hex(6)}"
            made = Driver(name, pseudonym, now_utc(), CONSENT_VERSION, old.driven_s if old else 0.0)
            return [*(d for d in drivers if d.name != name), made]

        return next(d for d in self._change(write) if d.name == name)

    def drove(self, name: str, seconds: float) -> Driver:
        """Add time at the wheel."""
        changed = self._change(
            lambda drivers: [
                replace(d, driven_s=d.driven_s + seconds) if d.name == name else d for d in drivers
            ]
        )
        return next(d for d in changed if d.name == name)

    def remove(self, name: str) -> None:
        """Take the name away; the pseudonym is given to nobody else."""
        if self.all():
            self._change(lambda drivers: [d for d in drivers if d.name != name])

    def _change(self, work: Callable[[list[Driver]], list[Driver]]) -> list[Driver]:
        self._home.mkdir(parents=True, exist_ok=True)
        with locked(self._home / f"{FILE}.lock", exclusive=True, wait_s=WRITE_WAIT_S):
            changed = work(self.all())
            entries: list[dict[str, Any]] = [asdict(driver) for driver in changed]
            write_durably(self._path, json.dumps(entries, indent=1, ensure_ascii=False).encode())
            self._path.chmod(0o600)
        return changed


def checked_name(name: str) -> str:
    """A driver's name without blanks around it.

    Raises:
        UsageError: It is empty, too long or not printable.
    """
    name = name.strip()
    if not name or len(name) > NAME_MAX or not name.isprintable():
        raise UsageError(
            f"a driver's name has 1 to {NAME_MAX} printable characters, {name!r} has not",
            fix="give for example --driver anna",
        )
    return name
