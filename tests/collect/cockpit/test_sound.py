"""Chimes: made by the program, silent without a device."""

import numpy as np
import pytest

from takeover.collect.alerts import TABLE, Sound
from takeover.collect.cockpit.sound import NOTES, RATE_HZ, Chimes, chime


def test_every_sound_of_the_table_has_its_notes() -> None:
    assert {alert.sound for alert in TABLE.values()} - {Sound.NONE} <= set(NOTES)


@pytest.mark.parametrize("sound", sorted(NOTES))
def test_a_chime_is_short_clean_and_not_clipped(sound: Sound) -> None:
    samples = chime(sound)
    assert 0.2 < len(samples) / RATE_HZ < 1.2
    assert 5_000 < np.abs(samples).max() < 32_767
    assert abs(int(samples[0])) < 200  # no click at the start
    assert np.abs(samples[-200:]).max() < 600  # nor at the end


def test_rising_and_falling_tell_policy_and_driver_apart() -> None:
    def pitch(samples: np.ndarray) -> float:
        return float(np.abs(np.fft.rfft(samples)).argmax()) / len(samples)

    up, down = chime(Sound.ENGAGE), chime(Sound.DISENGAGE)
    half = len(up) // 3
    assert pitch(up[:half]) < pitch(up[-half:])
    assert pitch(down[:half]) > pitch(down[-half:])


def test_without_a_device_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_AUDIODRIVER", "no such driver")
    chimes = Chimes()
    assert not chimes.audible
    chimes.play(Sound.WARNING_NOW)
    chimes.close()


def test_a_warning_repeats_until_something_else_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    chimes = Chimes()
    assert chimes.audible
    warning = chimes._sounds[Sound.WARNING_NOW]
    chimes.play(Sound.WARNING_NOW)
    chimes.play(Sound.WARNING_NOW)
    assert warning.get_num_channels() == 1
    chimes.play(Sound.NONE)
    assert warning.get_num_channels() == 0
    chimes.close()
