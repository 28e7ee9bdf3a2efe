"""Weather by the fields that differ from clear noon, and CARLA's own by name."""

from __future__ import annotations

from collections.abc import Mapping

import carla

from ..errors import UsageError

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


def preset(name: str) -> dict[str, float]:
    """All fields of one of CARLA's weathers.

    Args:
        name: Such as `HardRainNoon`.

    Raises:
        UsageError: CARLA has none of this name.
    """
    known = getattr(carla.WeatherParameters, name, None)
    if not isinstance(known, carla.WeatherParameters):
        raise UsageError(f"CARLA has no weather `{name}`", fix="use a name such as ClearNoon or HardRainNoon")
    return {field: float(getattr(known, field)) for field in _FIELDS}
