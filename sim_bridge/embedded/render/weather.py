"""Weather and light as look-up tables, made once per weather."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .batches import WeatherLook
from .mesh import Material

STEPS_PER_M = 4  # resolution of the tables by depth
DEPTHS = 400 * STEPS_PER_M
SKY_STEPS = 64
NOISE_SIZE = 64
GRASS = (92.0, 122.0, 62.0)


@dataclass(frozen=True, slots=True)
class LightTables:
    """How a face's colour becomes a pixel: rgb * (light + head) * transmission + fog."""

    ambient: NDArray[np.float32]  # (materials, 3) daylight by material
    glow: NDArray[np.float32]  # (materials,) the least brightness: lamps and lit windows
    head: NDArray[np.float32]  # (DEPTHS,) head lights by depth
    transmission: NDArray[np.float32]  # (DEPTHS,)
    fog: NDArray[np.float32]  # (DEPTHS, 3) light scattered into the view
    sky: NDArray[np.float32]  # (SKY_STEPS, 3) from the horizon upwards
    grass: NDArray[np.float32]  # (3,)
    night: bool
    rain: float  # 0 .. 1


@lru_cache(maxsize=32)
def light_tables(weather: WeatherLook) -> LightTables:
    """Tables for a weather."""
    sun = float(np.clip((weather.sun_altitude_deg + 6.0) / 24.0, 0.0, 1.0))  # 0 night .. 1 day
    cloud, rain = weather.cloudiness / 100.0, weather.precipitation / 100.0
    wet = max(weather.wetness, weather.precipitation_deposits, weather.precipitation * 0.7) / 100.0
    brightness = 0.16 + 0.84 * sun * (1.0 - 0.22 * cloud)
    tint = np.array([0.72, 0.82, 1.12]) * (1 - sun) + np.array([1.0, 1.0, 1.0]) * sun
    if 0.0 < sun < 0.9:
        tint = tint * np.array([1.06, 0.97, 0.9])
    ambient = np.tile(brightness * tint, (len(Material), 1))
    ambient[Material.ASPHALT] *= 1.0 - 0.38 * wet
    ambient[Material.PAVING] *= 1.0 - 0.22 * wet
    glow = np.zeros(len(Material))
    glow[Material.LAMP] = 1.0
    glow[Material.WINDOW] = 0.85 * (1.0 - sun)

    depth = (np.arange(DEPTHS) + 0.5) / STEPS_PER_M
    head = (1.0 - sun) * 1.05 * np.clip(depth / 5.0, 0.35, 1.0) / (1.0 + (depth / 24.0) ** 2.4)
    density = 0.0011 + 0.045 * (weather.fog_density / 100.0) ** 1.4 + 0.008 * rain
    transmission = np.exp(-density * np.maximum(depth - weather.fog_distance_m, 0.0))

    clear = np.array([[188.0, 208.0, 226.0], [86.0, 136.0, 204.0]])
    grey = np.array([[190.0, 194.0, 198.0], [140.0, 146.0, 154.0]])
    dark = np.array([[26.0, 30.0, 44.0], [8.0, 10.0, 20.0]])
    dusk = np.array([[224.0, 160.0, 112.0], [92.0, 104.0, 150.0]])
    day = clear * (1 - cloud) + grey * cloud
    warm = 4.0 * sun * (1.0 - sun)
    ends = (day * sun + dark * (1 - sun)) * (1 - 0.7 * warm) + dusk * 0.7 * warm
    haze = np.array([196.0, 200.0, 204.0]) * (0.16 + 0.84 * sun)
    mist = min(1.0, weather.fog_density / 100.0 * 1.3 + 0.25 * rain)
    horizon = ends[0] * (1 - mist) + haze * mist
    up = (np.arange(SKY_STEPS) / (SKY_STEPS - 1.0))[:, None] ** 0.6
    sky = horizon * (1 - up) + (ends[1] * (1 - mist) + haze * mist) * up
    fog = (1.0 - transmission)[:, None] * horizon
    return LightTables(
        ambient.astype(np.float32),
        glow.astype(np.float32),
        head.astype(np.float32),
        transmission.astype(np.float32),
        np.ascontiguousarray(fog, np.float32),
        np.ascontiguousarray(sky, np.float32),
        np.array(GRASS, np.float32),
        sun < 0.5,
        rain,
    )


@lru_cache(maxsize=1)
def noise_tile() -> NDArray[np.float32]:
    """A smooth repeating pattern (NOISE_SIZE, NOISE_SIZE) in -1 .. 1 from integer hashes."""
    total = np.zeros((NOISE_SIZE, NOISE_SIZE))
    for octave, (cells, weight) in enumerate(((8, 0.5), (16, 0.3), (64, 0.35))):
        k = np.arange(cells * cells, dtype=np.uint64) + np.uint64(7919 * (octave + 1))
        k = (k ^ (k >> np.uint64(7))) * np.uint64(0x9E3779B97F4A7C15)
        k = (k ^ (k >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        coarse = ((k >> np.uint64(40)) / float(1 << 24)).reshape(cells, cells) * 2.0 - 1.0
        step = np.arange(NOISE_SIZE) * cells / NOISE_SIZE
        low, part = step.astype(int), step - step.astype(int)
        high = (low + 1) % cells
        rows = coarse[low] * (1 - part)[:, None] + coarse[high] * part[:, None]
        total += weight * (rows[:, low] * (1 - part) + rows[:, high] * part)
    return total.astype(np.float32)
