"""Chimes made by the program: a few notes per sound, played through pygame's mixer where there is an audio device."""

from __future__ import annotations

import logging

import numpy as np
import pygame
from numpy.typing import NDArray

from ..alerts import Sound

LOG = logging.getLogger("takeover.cockpit")
RATE_HZ = 44_100
VOLUME = 0.35
ATTACK_S, DECAY_S = 0.008, 0.18
OVERTONES = ((1.0, 1.0), (2.0, 0.35), (3.0, 0.12))  # of a bell: times the pitch, share

# Notes of each sound: (start s, pitch Hz, length s). Rising: the policy; falling: the driver; repeated: danger.
NOTES: dict[Sound, tuple[tuple[float, float, float], ...]] = {
    Sound.ENGAGE: ((0.0, 523.3, 0.16), (0.12, 784.0, 0.3)),
    Sound.DISENGAGE: ((0.0, 784.0, 0.16), (0.12, 523.3, 0.3)),
    Sound.REFUSE: ((0.0, 233.1, 0.14), (0.18, 233.1, 0.22)),
    Sound.PROMPT: ((0.0, 880.0, 0.16), (0.2, 880.0, 0.3)),
    Sound.WARNING_SOFT: ((0.0, 659.3, 0.2), (0.22, 554.4, 0.3)),
    Sound.WARNING_NOW: tuple((0.16 * k, 1046.5 if k % 2 == 0 else 1318.5, 0.13) for k in range(4)),
}
REPEATED = frozenset({Sound.WARNING_NOW})  # as long as its alert lasts


def chime(sound: Sound) -> NDArray[np.int16]:
    """Samples of a sound: (N,) int16 at RATE_HZ; empty for NONE."""
    notes = NOTES.get(sound, ())
    total_s = max((start + length + DECAY_S for start, _, length in notes), default=0.0)
    wave = np.zeros(round(total_s * RATE_HZ))
    for start_s, pitch_hz, length_s in notes:
        time_s = np.arange(round((length_s + DECAY_S) * RATE_HZ)) / RATE_HZ
        rise = np.minimum(time_s / ATTACK_S, 1.0)
        fall = np.exp(-np.maximum(time_s - 0.5 * length_s, 0.0) / (0.3 * DECAY_S))
        tone = sum(share * np.sin(2.0 * np.pi * pitch_hz * times * time_s) for times, share in OVERTONES)
        first = round(start_s * RATE_HZ)
        part = wave[first : first + len(time_s)]
        part += (rise * fall * tone)[: len(part)]
    peak = np.abs(wave).max(initial=1e-9)
    return (VOLUME * 32767.0 * wave / peak).astype(np.int16)


class Chimes:
    """Plays sounds; silent, with one line in the log, where there is no audio device."""

    def __init__(self) -> None:
        self._sounds: dict[Sound, pygame.mixer.Sound] = {}
        self._repeating: Sound = Sound.NONE
        try:
            pygame.mixer.init(RATE_HZ, -16, 1, 512, allowedchanges=0)
        except pygame.error as error:
            LOG.info("no sound: %s", error)
            return
        self._sounds = {sound: pygame.mixer.Sound(buffer=chime(sound).tobytes()) for sound in NOTES}

    @property
    def audible(self) -> bool:
        """Whether there is a device."""
        return bool(self._sounds)

    def play(self, sound: Sound) -> None:
        """Start a sound; one of REPEATED goes on until the next call, NONE stops it. Returns at once."""
        if sound is self._repeating and sound in REPEATED:
            return
        if self._repeating in self._sounds:
            self._sounds[self._repeating].stop()
        self._repeating = sound if sound in REPEATED else Sound.NONE
        if sound in self._sounds:
            self._sounds[sound].play(-1 if sound in REPEATED else 0)

    def close(self) -> None:
        """Give the device back."""
        if self._sounds:
            pygame.mixer.quit()
            self._sounds = {}
