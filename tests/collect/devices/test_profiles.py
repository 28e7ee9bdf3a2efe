"""Profiles: what numbers mean, by whom they are matched, and what is refused."""

import pytest

from takeover.collect.devices.joystick import Joystick
from takeover.collect.devices.profiles import Pedal, Profile, Steer, dump, load, match, parse, usb_id
from takeover.collect.devices.state import Action, Kind
from takeover.errors import UsageError

# SDL GUIDs as they are on Linux, and SDL's mapping database or field reports for the axes: steer, throttle, brake.
KNOWN = {
    "g29": ("030000006d0400004fc2000011010000", (0, 2, 3)),
    "g920": ("030000006d04000062c2000011010000", (0, 1, 2)),
    "g923_ps": ("030000006d04000066c2000011010000", (0, 2, 3)),
    "g923_xbox": ("030000006d0400006ec2000011010000", (0, 1, 2)),
    "t300": ("030000004f0400006eb6000011010000", (0, 3, 1)),
    "xbox": ("030000005e0400008e02000014010000", (0, 5, 2)),
    "xbox_bluetooth": ("050000005e040000130b000009050000", (0, 4, 5)),
    "dualsense": ("050000004c050000e60c000000810000", (0, 5, 2)),
}
BASE = {
    "name": "x",
    "title": "X",
    "kind": "wheel",
    "steer": {"axis": 0},
    "throttle": {"axis": 1},
    "brake": {"axis": 2},
}


def test_the_shipped_profiles_fit_their_devices() -> None:
    shipped = load()
    assert {profile.name for profile in shipped} == set(KNOWN)
    for name, (guid, axes) in KNOWN.items():
        profile = match(shipped, "?", guid)
        assert profile is not None
        assert (profile.name, (profile.steer.axis, profile.throttle.axis, profile.brake.axis)) == (name, axes)


@pytest.mark.parametrize("name", KNOWN)
def test_every_shipped_profile_can_do_what_a_drive_asks(name: str) -> None:
    profile = next(profile for profile in load() if profile.name == name)
    functions = {*profile.buttons.values(), *profile.hat.values(), *profile.shifted_hat.values()}
    wanted = {
        "takeover",
        "handback",
        "good",
        "mistake",
        "discard",
        "pause",
        *(f"reason_{i}" for i in range(1, 9)),
    }
    assert wanted - functions == set()
    assert profile.steer.curve == profile.throttle.curve == profile.brake.curve == 1.0, "linear by default"
    assert profile.device_kind in (Kind.WHEEL, Kind.GAMEPAD)
    assert not profile.shifted_hat or "shift" in profile.buttons.values()


def test_a_name_matches_where_no_id_does() -> None:
    shipped = load()
    known = match(shipped, "Generic X-Box pad", "030000006f0e00001304000000010000")
    assert known is not None
    assert known.name == "xbox"
    assert match(shipped, "Flight Stick", "") is None


@pytest.mark.parametrize(
    ("guid", "usb"),
    [
        ("030000006d0400004fc2000011010000", "046d:c24f"),
        ("050000004c050000e60c000000810000", "054c:0ce6"),
        ("", ""),
        ("190000004b4800000011000000010000", ""),
        ("0500000058626f782047616d65706100", ""),
    ],
)
def test_vendor_and_product_of_a_guid(guid: str, usb: str) -> None:
    assert usb_id(guid) == usb


def test_steering_is_positive_left_linear_and_may_have_dead_zone_curve_and_range() -> None:
    assert [Steer(axis=0).value(raw) for raw in (-1, -0.5, 0, 0.25, 1)] == [1.0, 0.5, 0.0, -0.25, -1.0]
    half = Steer(axis=0, left=-0.5, right=0.5)
    assert [half.value(raw) for raw in (-0.25, 0.5, 1)] == [0.5, -1.0, -1.0]
    dead = Steer(axis=0, dead_zone=0.2)
    assert [dead.value(raw) for raw in (0.2, -0.6, 1)] == pytest.approx([0.0, 0.5, -1.0])
    assert Steer(axis=0, curve=2.0).value(-0.5) == 0.25
    off_centre = Steer(axis=0, left=-1.0, centre=0.2, right=1.0)
    assert [off_centre.value(raw) for raw in (0.2, -0.4, 0.6)] == pytest.approx([0.0, 0.5, -0.5])
    mirrored = Steer(axis=0, left=1.0, right=-1.0)
    assert mirrored.value(0.5) == 0.5


def test_pedals() -> None:
    inverted, trigger = Pedal(axis=0), Pedal(axis=0, released=-1, pressed=1)
    assert [inverted.value(raw) for raw in (1, 0, -1)] == [0.0, 0.5, 1.0]
    assert [trigger.value(raw) for raw in (-1, 0, 1)] == [0.0, 0.5, 1.0]
    assert Pedal(axis=0, released=0.5, pressed=-0.5).value(1.0) == 0.0
    assert Pedal(axis=0, dead_zone=0.1, curve=2.0).value(-0.1) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steer": {"axis": 0, "left": 1.0, "right": 0.5}}, "two sides"),
        ({"throttle": {"axis": 0, "released": 1, "pressed": 1}}, "must differ"),
        ({"buttons": {3: "fly"}}, "'fly' is no function"),
        ({"hat": {"north": "good"}}, "hat"),
        ({"wheel": 1}, "wheel"),
        ({"brake": {"axis": 0, "dead_zone": 1.0}}, "dead_zone"),
    ],
)
def test_a_profile_that_makes_no_sense_says_where(change: dict[str, object], words: str) -> None:
    import yaml

    with pytest.raises(UsageError, match=words) as caught:
        parse(yaml.safe_dump(BASE | change), "mine.yaml")
    assert "mine.yaml" in str(caught.value)


def test_what_is_no_yaml_and_what_is_written_back() -> None:
    with pytest.raises(UsageError, match="not YAML"):
        parse("a: [", "mine.yaml")
    profile = Profile.model_validate(BASE | {"buttons": {4: "takeover"}, "hat": {"up": "reason_1"}})
    assert parse(dump(profile), "again.yaml") == profile


def joystick(**change: object) -> Joystick:
    buttons = {0: "shift", 1: "handbrake", 2: "reverse", 3: "reverse_gear", 4: "takeover"}
    hats = {"hat": {"up": "reason_1", "left": "reason_4"}, "shifted_hat": {"up": "reason_5"}}
    return Joystick(Profile.model_validate(BASE | {"buttons": buttons} | hats | change), 3)


def test_buttons_that_are_held_toggled_or_pressed() -> None:
    stick = joystick()
    assert stick.button(4, True) is Action.TAKEOVER
    assert stick.button(4, False) is None
    assert stick.button(9, True) is None
    stick.button(1, True)
    stick.button(2, True)
    assert (stick.state(0.0).handbrake, stick.state(0.0).reverse) == (True, True)
    stick.button(1, False)
    stick.button(2, False)
    assert (stick.state(0.0).handbrake, stick.state(0.0).reverse) == (False, True)
    stick.button(2, True)
    stick.button(3, True)
    assert stick.state(0.0).reverse is True
    stick.button(3, False)
    assert stick.state(0.0).reverse is False


def test_the_hat_tells_each_direction_once_and_shift_gives_it_a_second_meaning() -> None:
    stick = joystick()
    moves = [(0, 1), (-1, 1), (-1, 0), (0, 0), (0, -1), (0, 0)]
    assert [stick.hat(move) for move in moves] == [Action.REASON_1, Action.REASON_4, None, None, None, None]
    stick.button(0, True)
    assert stick.hat((0, 1)) is Action.REASON_5


def test_an_axis_that_is_none_or_out_of_its_range_is_ignored() -> None:
    stick = joystick()
    for number, value in ((0, float("nan")), (0, 7.0), (3, 0.5), (-1, 0.5)):
        stick.axis(number, value)
    assert stick.state(0.0).raw == (0.0, 0.0, 0.0)
    stick.axis(0, 1.00003)
    assert stick.state(0.0).steer == -1.0
