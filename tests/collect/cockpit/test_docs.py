"""`docs/cockpit.md` says what the code does."""

from pathlib import Path

from takeover.collect.cockpit.looks import LOOKS
from takeover.collect.cockpit.replay import KEYS
from takeover.collect.devices.keyboard import HELP

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "cockpit.md").read_text()


def test_every_key_of_drive_and_replay_is_in_the_page() -> None:
    assert [row for row in (*HELP, *KEYS) if f"| {row[0]} | {row[1]} |" not in PAGE] == []


def test_every_state_is_in_the_page() -> None:
    assert [look.word for look in LOOKS.values() if f"| {look.word} |" not in PAGE] == []
