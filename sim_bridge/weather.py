"""Weather by the fields that differ from clear noon."""

from __future__ import annotations

from collections.abc import Mapping

import carla

_NOON = carla.WeatherParameters.ClearNoon
_FIELDS = {
    name: value
    for name in dir(_NOON)
    if not name.startswith("_") and isinstance(value := getattr(_NOON, name), float)
}


def weather_of(fields: Mapping[str, float]) -> carla.WeatherParameters:
    """A weather of its own: `carla.WeatherParameters.ClearNoon` is one shared object, so it is never written to.

    Args:
        fields: Attributes of `carla.WeatherParameters` that differ from clear noon.
    """
    weather = carla.WeatherParameters()
    for name, value in {**_FIELDS, **fields}.items():
        setattr(weather, name, value)
    return weather
