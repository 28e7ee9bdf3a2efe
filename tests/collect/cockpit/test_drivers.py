"""Names stay in one file; episodes know pseudonyms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from takeover.collect.cockpit import drivers as module
from takeover.collect.cockpit.drivers import DriverBook
from takeover.errors import StoreError, UsageError


def test_consent_makes_a_pseudonym_that_says_nothing_of_the_name(tmp_path: Path) -> None:
    book = DriverBook(tmp_path)
    assert book.find("Anna") is None
    made = book.consent("  Anna ")
    assert made.name == "Anna"
    assert "anna" not in made.pseudonym.lower()
    assert book.find("Anna") == made
    assert book.latest() == made
    assert book.consent("Ben").pseudonym != made.pseudonym
    assert [driver.name for driver in book.all()] == ["Anna", "Ben"]
    assert book.latest() is None
    assert (tmp_path / "drivers.json").stat().st_mode & 0o077 == 0


def test_time_at_the_wheel_is_kept_over_sittings(tmp_path: Path) -> None:
    DriverBook(tmp_path).consent("Anna")
    DriverBook(tmp_path).drove("Anna", 100.0)
    assert DriverBook(tmp_path).drove("Anna", 20.5).driven_s == 120.5
    assert DriverBook(tmp_path).consent("Anna").driven_s == 120.5


def test_an_older_consent_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = DriverBook(tmp_path)
    old = book.consent("Anna")
    monkeypatch.setattr(module, "CONSENT_VERSION", 2)
    assert book.find("Anna") is None
    assert book.consent("Anna").pseudonym == old.pseudonym


def test_a_removed_name_starts_anew(tmp_path: Path) -> None:
    book = DriverBook(tmp_path)
    book.remove("nobody")
    old = book.consent("Anna")
    book.remove("Anna")
    assert book.all() == []
    assert book.consent("Anna").pseudonym != old.pseudonym


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "a\nb"])
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        DriverBook(tmp_path).consent(name)


@pytest.mark.parametrize("text", ["[", json.dumps([{"name": "x"}])])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "drivers.json").write_text(text)
    with pytest.raises(StoreError):
        DriverBook(tmp_path).all()
