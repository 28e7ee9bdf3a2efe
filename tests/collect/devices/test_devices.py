"""All devices behind one poll: SDL events in, hands and feet out. Devices are described, events are posted."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
import pygame

from takeover.collect.devices import sdl
from takeover.collect.devices.devices import CENTRING, Devices
from takeover.collect.devices.force_feedback import MAX_FORCE, Wish
from takeover.collect.devices.sdl import Plugged
from takeover.collect.devices.state import Action, DeviceState, Kind
from takeover.errors import UsageError

G29 = "030000006d0400004fc2000011010000"
XBOX = "030000005e0400008e02000014010000"


@pytest.fixture(autouse=True)
def window() -> Iterator[None]:
    pygame.display.init()
    pygame.display.set_mode((64, 48))
    yield
    pygame.display.quit()


class Force:
    """What a wheel was asked to do."""

    def __init__(self, usb: str, sign: int) -> None:
        self.usb, self.sign, self.follows, self.closed = usb, sign, False, False
        self.wishes: list[Wish] = []

    def ask(self, wish: Wish) -> None:
        self.wishes.append(wish)

    def close(self, wait_s: float = 1.0) -> None:
        self.closed = True


class Rig:
    """Devices with plugs that a test can put in and pull out."""

    def __init__(self, profile: str | None = None, folder: Path | None = None) -> None:
        self.at_index: dict[int, Plugged] = {}
        self.shaken: list[tuple[float, float]] = []
        self.forces: list[Force] = []
        self.devices = Devices(profile, folder=folder, opener=self.at_index.get, force=self.force)
        self.now_s = 100.0
        pygame.event.clear()

    def force(self, usb: str, sign: int) -> Any:
        self.forces.append(Force(usb, sign))
        return self.forces[-1]

    def plug(self, index: int, instance_id: int, name: str, guid: str, axes: int = 6) -> None:
        shake = lambda strength, duration_s: self.shaken.append((strength, duration_s))  # noqa: E731
        self.at_index[index] = Plugged(instance_id, name, guid, axes, 25, 1, shake)
        pygame.event.post(pygame.event.Event(pygame.JOYDEVICEADDED, device_index=index))

    def unplug(self, instance_id: int) -> None:
        pygame.event.post(pygame.event.Event(pygame.JOYDEVICEREMOVED, instance_id=instance_id))

    def axis(self, instance_id: int, axis: int, value: float) -> None:
        event = pygame.event.Event(pygame.JOYAXISMOTION, instance_id=instance_id, axis=axis, value=value)
        pygame.event.post(event)

    def button(self, instance_id: int, button: int, *, up: bool = False) -> None:
        kind = pygame.JOYBUTTONUP if up else pygame.JOYBUTTONDOWN
        pygame.event.post(pygame.event.Event(kind, instance_id=instance_id, button=button))

    def key(self, key: int, *, up: bool = False, mod: int = 0) -> None:
        pygame.event.post(pygame.event.Event(pygame.KEYUP if up else pygame.KEYDOWN, key=key, mod=mod))

    def poll(self, after_s: float = 0.01) -> tuple[DeviceState, tuple[Action, ...]]:
        self.now_s += after_s
        return self.devices.poll(pygame.event.get(), self.now_s)

    def g29(self) -> "Rig":
        self.plug(0, 7, "Logitech G29 Driving Force Racing Wheel", G29, axes=4)
        self.poll()
        return self


def test_the_keyboard_drives_when_nothing_is_plugged_in() -> None:
    rig = Rig()
    state, actions = rig.poll()
    assert state == DeviceState(time_s=rig.now_s)
    assert (actions, rig.devices.driving, rig.devices.profile) == ((), None, None)
    rig.devices.rumble(1.0, 1.0)


def test_a_wheel_that_is_there_at_the_start_drives_at_once() -> None:
    rig = Rig().g29()
    state, _ = rig.poll()
    assert (state.source, state.kind, state.connected) == ("g29", Kind.WHEEL, True)
    assert rig.devices.notices() == ("Logitech G29 Driving Force: press each pedal once",)
    assert rig.devices.notices() == ()
    assert rig.devices.driving is not None
    assert rig.devices.profile is not None
    rig.devices.rumble(0.5, 0.2)
    assert rig.shaken == [(0.5, 0.2)]


def test_no_axis_is_trusted_before_its_first_event() -> None:
    """SDL reports 0 for an axis that never moved: the middle of a pedal's travel."""
    rig = Rig().g29()
    state, _ = rig.poll()
    assert (state.throttle, state.brake, state.steer, state.trusted) == (0.0, 0.0, 0.0, False)
    rig.axis(7, 3, -1.0)
    state, _ = rig.poll()
    assert (state.throttle, state.brake, state.trusted) == (0.0, 1.0, False)
    rig.axis(7, 2, 1.0)
    rig.axis(7, 0, 0.25)
    state, _ = rig.poll()
    assert (state.throttle, state.steer, state.trusted, state.raw) == (
        0.0,
        -0.25,
        True,
        (0.25, 0.0, 1.0, -1.0),
    )


def test_a_pulled_plug_is_neutral_in_the_same_poll_and_stays_so_when_it_returns() -> None:
    rig = Rig().g29()
    for axis, value in ((0, -0.8), (2, -1.0), (3, 1.0)):
        rig.axis(7, axis, value)
    assert rig.poll()[0].throttle == 1.0
    rig.unplug(7)
    rig.axis(7, 2, -1.0)
    state, _ = rig.poll()
    assert state == DeviceState(connected=False, trusted=False, time_s=rig.now_s, source="none")
    rig.plug(0, 8, "Logitech G29 Driving Force Racing Wheel", G29, axes=4)
    rig.axis(8, 2, -1.0)
    assert rig.poll()[0].connected is False
    rig.button(8, 0)
    assert rig.poll()[1] == (Action.GOOD,)
    assert rig.poll()[0].connected is False, "only its takeover button arms it"
    rig.button(8, 4)
    state, actions = rig.poll()
    assert (state.connected, state.source, state.throttle, actions) == (True, "g29", 1.0, (Action.TAKEOVER,))
    assert any("is gone: press T" in line for line in rig.devices.notices())


@pytest.mark.parametrize("key", [pygame.K_t, pygame.K_p, pygame.K_s, pygame.K_SPACE])
def test_the_keyboard_takes_over_from_a_lost_wheel(key: int) -> None:
    rig = Rig().g29()
    rig.unplug(7)
    rig.poll()
    rig.key(pygame.K_w)
    assert rig.poll()[0].connected is False, "gas arms nothing"
    rig.key(key)
    state, _ = rig.poll()
    assert (state.connected, state.source) == (True, "keyboard")


@pytest.mark.parametrize("back", ["focus", "key"])
def test_a_keyboard_without_focus_is_as_good_as_unplugged(back: str) -> None:
    rig = Rig()
    rig.key(pygame.K_w)
    rig.poll()
    assert rig.poll()[0].throttle > 0.0
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    state, _ = rig.poll()
    assert state == DeviceState(connected=False, trusted=False, time_s=rig.now_s, source="keyboard")
    assert "lost the focus" in rig.devices.notices()[0]
    if back == "focus":
        pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSGAINED))
    else:
        rig.key(pygame.K_t)
    state, _ = rig.poll()
    assert (state.connected, state.throttle) == (True, 0.0), "no key is down any more"


def test_a_wheel_drives_on_without_focus() -> None:
    rig = Rig().g29()
    rig.axis(7, 2, -1.0)
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    state, _ = rig.poll()
    assert (state.connected, state.throttle) == (True, 1.0)


def test_another_device_is_pulled_without_harm() -> None:
    rig = Rig().g29()
    rig.plug(1, 9, "Microsoft X-Box 360 pad", XBOX)
    rig.poll()
    rig.unplug(9)
    rig.unplug(55)
    assert rig.poll()[0].source == "g29"
    assert rig.devices.notices()[-1] == "Xbox controller is gone"


def test_one_source_drives_and_every_source_may_press() -> None:
    rig = Rig().g29()
    rig.plug(1, 9, "Microsoft X-Box 360 pad", XBOX)
    rig.axis(9, 5, 1.0)
    rig.key(pygame.K_w)
    rig.key(pygame.K_g)
    rig.button(9, 2)
    state, actions = rig.poll()
    assert (state.source, state.throttle, actions) == ("g29", 0.0, (Action.GOOD, Action.MISTAKE))
    rig.key(pygame.K_t)
    state, actions = rig.poll()
    assert (state.source, actions) == ("g29", (Action.TAKEOVER,)), "T at the wheel means the wheel"
    rig.button(9, 5)
    assert rig.poll()[0].source == "xbox"


def test_the_hand_brake_key_works_beside_a_wheel() -> None:
    rig = Rig().g29()
    rig.key(pygame.K_SPACE)
    assert rig.poll()[0].control.brake == 1.0
    rig.key(pygame.K_SPACE, up=True)
    assert rig.poll()[0].handbrake is False


def test_a_wheel_that_comes_late_waits_for_its_takeover_button() -> None:
    rig = Rig()
    rig.poll()
    rig.poll(after_s=3.0)
    rig.g29()
    assert rig.poll()[0].source == "keyboard"
    assert rig.devices.notices() == (
        "Logitech G29 Driving Force: press its takeover button to drive with it",
    )
    rig.button(7, 4)
    assert rig.poll()[0].source == "g29"


def test_profiles_by_name_and_devices_that_do_not_fit() -> None:
    rig = Rig("keyboard").g29()
    assert (rig.poll()[0].source, rig.devices.notices()) == ("keyboard", ())
    rig = Rig("xbox").g29()
    assert rig.poll()[0].source == "keyboard"
    assert "has no profile" in rig.devices.notices()[0]
    rig = Rig("g29")
    rig.plug(0, 7, "Logitech G29 Driving Force Racing Wheel", G29, axes=3)
    rig.poll()
    assert "has 3 axes" in rig.devices.notices()[0]
    with pytest.raises(UsageError, match="no wheel profile 'g30'") as caught:
        Rig("g30")
    assert "g29" in caught.value.fix


def test_what_cannot_be_opened_and_what_nobody_knows_changes_nothing() -> None:
    rig = Rig().g29()
    pygame.event.post(pygame.event.Event(pygame.JOYDEVICEADDED, device_index=5))
    pygame.event.post(pygame.event.Event(pygame.JOYDEVICEADDED, device_index=0))
    rig.axis(99, 0, 1.0)
    rig.button(99, 4)
    pygame.event.post(pygame.event.Event(pygame.JOYHATMOTION, instance_id=99, hat=0, value=(0, 1)))
    before = rig.devices.notices()
    state, actions = rig.poll()
    assert (state.source, actions, len(before), rig.devices.notices()) == ("g29", (), 1, ())


def test_a_closed_window_and_a_hat() -> None:
    rig = Rig().g29()
    pygame.event.post(pygame.event.Event(pygame.JOYHATMOTION, instance_id=7, hat=0, value=(0, 1)))
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert rig.poll()[1] == (Action.REASON_1, Action.QUIT)


def test_own_profiles_count_before_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, title: Mine, kind: wheel, usb: ['046d:c24f'],"
        " steer: {axis: 1}, throttle: {axis: 0}, brake: {axis: 2}}"
    )
    assert Rig(folder=tmp_path).g29().poll()[0].source == "mine"


def test_sdl_is_told_to_go_on_in_the_background_before_it_starts() -> None:
    os.environ.pop("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", None)
    sdl.start()
    assert os.environ["SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS"] == "1"
    assert pygame.joystick.get_init()
    sdl.start()
    assert sdl.open_joystick(40) is None


def test_the_wheel_is_centred_and_follows_the_policy_where_it_can() -> None:
    rig = Rig()
    rig.devices.hold(0.5, rig.poll()[0])
    rig.g29()
    force = rig.forces[0]
    assert (force.usb, force.sign, force.wishes, rig.devices.follows) == (
        "046d:c24f",
        0,
        [Wish(CENTRING)],
        False,
    )
    rig.devices.hold(0.5, rig.poll()[0])
    assert force.wishes[-1] == Wish(CENTRING)
    force.follows = True
    assert rig.devices.follows
    rig.devices.hold(0.5, rig.poll()[0])
    assert force.wishes[-1] == Wish(force=MAX_FORCE)
    rig.axis(7, 0, -0.5)
    rig.devices.hold(0.5, rig.poll()[0])
    assert force.wishes[-1].force < 0.0, "there, and still fast: it is braked"
    rig.devices.hold(0.5, rig.poll()[0])
    rig.devices.hold(0.5, rig.poll(after_s=0.0)[0])
    assert force.wishes[-1] == Wish(force=0.0)
    rig.devices.hold(None, rig.poll()[0])
    assert force.wishes[-1] == Wish(CENTRING)
    rig.unplug(7)
    rig.poll()
    assert force.closed
    assert not rig.devices.follows
    rig.plug(1, 9, "Microsoft X-Box 360 pad", XBOX)
    rig.poll()
    rig.button(9, 5)
    rig.poll()
    assert len(rig.forces) == 1, "a pad has no such forces"
    rig.devices.close()
    again = Rig().g29()
    again.devices.close()
    assert again.forces[0].closed


def test_a_poll_costs_well_below_a_millisecond() -> None:
    rig = Rig().g29()
    batches: list[list[Any]] = []
    for i in range(1000):
        for axis in range(4):
            rig.axis(7, axis, ((i * 7 + axis) % 200) / 100 - 1)
        rig.key(pygame.K_a, up=bool(i % 2))
        batches.append(pygame.event.get())
    spent_s = []
    for i, events in enumerate(batches):
        start_s = time.perf_counter()
        rig.devices.poll(events, 200.0 + i * 0.01)
        spent_s.append(time.perf_counter() - start_s)
    assert sorted(spent_s)[500] < 0.0005
