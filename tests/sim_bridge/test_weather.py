import carla
import pytest

from takeover.collect.cockpit.dash import WEATHERS
from takeover.errors import UsageError
from takeover.sim_bridge.weather import preset, weather_of


def test_a_weather_does_not_leak_into_the_next_one() -> None:
    rain = weather_of({"precipitation": 70.0, "sun_altitude_angle": -30.0})
    assert (rain.precipitation, rain.sun_altitude_angle) == (70.0, -30.0)
    noon = carla.WeatherParameters.ClearNoon
    assert weather_of({}) == noon
    assert noon.precipitation == 0.0


@pytest.mark.parametrize("name", WEATHERS)
def test_a_preset_is_carlas_own(name: str) -> None:
    assert weather_of(preset(name)) == getattr(carla.WeatherParameters, name)


@pytest.mark.parametrize("name", ["Nice", "precipitation", ""])
def test_an_unknown_preset_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no weather"):
        preset(name)
