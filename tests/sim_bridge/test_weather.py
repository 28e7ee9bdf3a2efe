import carla

from takeover.sim_bridge.weather import weather_of


def test_a_weather_does_not_leak_into_the_next_one() -> None:
    rain = weather_of({"precipitation": 70.0, "sun_altitude_angle": -30.0})
    assert (rain.precipitation, rain.sun_altitude_angle) == (70.0, -30.0)
    noon = carla.WeatherParameters.ClearNoon
    assert weather_of({}) == noon
    assert noon.precipitation == 0.0
