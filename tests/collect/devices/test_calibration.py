"""From movements to a profile, the terminal side of it, and the force on a wheel."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
import pygame

from takeover.collect.devices import console
from takeover.collect.devices.calibration import STEPS, fit
from takeover.collect.devices.force_feedback import (
    EV_FF,
    FF_AUTOCENTER,
    MAX_FORCE,
    ForceFeedback,
    Wish,
    follow,
    force_of,
)
from takeover.collect.devices.profiles import parse
from takeover.collect.devices.sdl import Plugged
from takeover.collect.devices.state import DeviceState
from takeover.errors import UsageError

REST = (0.02, 1.0, 1.0, 1.0)
AXES = {
    "rest": REST,
    "left": (-0.98, 1.0, 1.0, 1.0),
    "right": (0.99, 1.0, 1.0, 1.0),
    "throttle": (0.05, 1.0, -1.0, 1.0),
    "brake": (0.0, 1.0, 1.0, -0.9),
}


def test_movements_make_a_profile() -> None:
    profile = fit("mine", "My Wheel", "1234:abcd", AXES, {"takeover": 4, "handback": 5})
    assert (profile.steer.axis, profile.throttle.axis, profile.brake.axis) == (0, 2, 3)
    assert (profile.steer.value(-0.98), profile.steer.value(0.02), profile.steer.value(0.99)) == (
        1.0,
        0.0,
        -1.0,
    )
    assert (profile.brake.value(1.0), profile.brake.value(-0.9)) == (0.0, 1.0)
    assert (profile.buttons, profile.usb, profile.names) == (
        {4: "takeover", 5: "handback"},
        ("1234:abcd",),
        (),
    )
    named = fit("pad", "My Pad", "", AXES, {}, kind="gamepad")
    assert (named.kind, named.names) == ("gamepad", ("My Pad",))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"left": REST}, "nothing moved at the step 'left'"),
        ({"right": (0.02, -1.0, 1.0, 1.0)}, "different axes"),
        ({"right": (-0.9, 1.0, 1.0, 1.0)}, "the same way"),
        ({"brake": (0.02, 1.0, 0.0, 1.0)}, "combined"),
    ],
)
def test_movements_that_make_no_profile(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fit("mine", "My Wheel", "", AXES | change, {})


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> Plugged:
    plugged = Plugged(
        3, "Strange Wheel 5", "03000000341200006789000011010000", 4, 8, 0, lambda strength, s: None
    )
    monkeypatch.setattr(console, "_plugged", lambda: [plugged])
    return plugged


def test_a_calibration_by_questions(wheel: Plugged, tmp_path: Path) -> None:
    said: list[str] = []
    steps = iter(STEPS)

    def answer(question: str) -> None:
        step = next(steps)
        assert step.text in question
        pygame.event.post(pygame.event.Event(pygame.JOYAXISMOTION, instance_id=99, axis=0, value=1.0))
        if step.button:
            number = 4 if step.name == "takeover" else 5
            pygame.event.post(pygame.event.Event(pygame.JOYBUTTONDOWN, instance_id=3, button=number))
        for axis, value in enumerate(AXES.get(step.name, REST)):
            pygame.event.post(pygame.event.Event(pygame.JOYAXISMOTION, instance_id=3, axis=axis, value=value))

    path = console.calibrate(tmp_path, "", said.append, answer)
    assert path == tmp_path / "wheels" / "strange_wheel_5.yaml"
    profile = parse(path.read_text(encoding="utf-8"), path.name)
    assert (profile.throttle.axis, profile.buttons, profile.force_sign) == (
        2,
        {4: "takeover", 5: "handback"},
        0,
    )
    assert said == ["Strange Wheel 5: 4 axes, 8 buttons"]
    assert console.listed(tmp_path)[0]["profile"] == "strange_wheel_5"
    assert "strange_wheel_5" in console.shipped(tmp_path)


def test_a_calibration_without_a_button(wheel: Plugged, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no button was pressed"):
        console.calibrate(tmp_path, "x", lambda line: None, lambda question: None)


def test_nothing_plugged_in(tmp_path: Path) -> None:
    assert console.listed(tmp_path) == []
    with pytest.raises(UsageError, match="no wheel or gamepad"):
        console.calibrate(tmp_path, "x", lambda line: None, lambda question: None)
    said: list[str] = []
    pygame.display.init()
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_g, mod=0))
    console.watch(tmp_path, None, 0.15, said.append)
    assert said[0] == "pressed: good"
    assert any(line.startswith("keyboard") for line in said)


def test_a_state_as_a_line() -> None:
    left = console.line_of(DeviceState(steer=1.0, throttle=0.5, handbrake=True, reverse=True, trusted=False))
    assert "left O.........|.........." in left
    assert "throttle  50%" in left
    assert "handbrake, reverse, press each pedal once" in left
    assert console.line_of(DeviceState(connected=False)).endswith("not connected")


class Wheel:
    """What a driver of the kernel was told."""

    def __init__(self, *, broken: bool = False) -> None:
        self.told: list[tuple[str, Any]] = []
        self.broken = broken
        self.said = threading.Event()

    def write(self, etype: int, code: int, value: int) -> None:
        if self.broken:
            raise OSError("no")
        assert etype == EV_FF
        self._tell("write", (code, value))

    def upload_effect(self, effect: Any) -> int:
        self._tell("upload", effect)
        return 7

    def erase_effect(self, ff_id: int) -> None:
        self._tell("erase", ff_id)

    def close(self) -> None:
        self._tell("close", None)

    def _tell(self, what: str, value: Any) -> None:
        self.told.append((what, value))
        self.said.set()


def wait_for(condition: Any) -> None:
    end_s = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def test_the_wheel_is_centred_pushed_and_let_go() -> None:
    wheel = Wheel()
    force = ForceFeedback(lambda: (wheel, lambda effect_id, level: (effect_id, level)), -1)
    wait_for(lambda: force.follows)
    force.ask(Wish(centring=0.5, force=0.5))
    wait_for(lambda: len(wheel.told) >= 4)
    assert wheel.told[1:4] == [("write", (FF_AUTOCENTER, 32768)), ("upload", (-1, -16384)), ("write", (7, 1))]
    force.close()
    assert wheel.told[-4:] == [
        ("write", (FF_AUTOCENTER, 0)),
        ("upload", (7, 0)),
        ("erase", 7),
        ("close", None),
    ]


def test_a_wheel_without_constant_force_or_a_measured_sign_is_centred_only() -> None:
    for constant, sign in ((None, 1), (lambda effect_id, level: level, 0)):
        wheel = Wheel()
        force = ForceFeedback(lambda wheel=wheel, constant=constant: (wheel, constant), sign)  # type: ignore[misc]
        wait_for(lambda force=force: force.works)
        assert not force.follows
        force.ask(Wish(centring=1.0))
        wait_for(lambda wheel=wheel: ("write", (FF_AUTOCENTER, 0xFFFF)) in wheel.told)
        force.close()
        assert wheel.told[-1] == ("close", None)


def test_a_wheel_that_refuses_is_left_alone() -> None:
    wheel = Wheel(broken=True)
    force = ForceFeedback(lambda: (wheel, lambda effect_id, level: level), 1)
    wait_for(lambda: wheel.told == [("close", None)])
    force.ask(Wish(1.0, 1.0))
    assert (force.works, force.follows) == (False, False)
    force.close()


def test_asking_never_waits() -> None:
    force = ForceFeedback(lambda: (Wheel(), None), 0)
    start_s = time.perf_counter()
    for i in range(1000):
        force.ask(Wish(centring=i / 1000))
    assert (time.perf_counter() - start_s) / 1000 < 0.0005
    force.close()


def test_following_pushes_towards_the_angle_and_a_hand_always_wins() -> None:
    assert follow(0.3, 0.3, 0.0) == 0.0
    assert 0.0 < follow(0.05, 0.0, 0.0) < MAX_FORCE
    assert follow(1.0, -1.0, 0.0) == MAX_FORCE
    assert follow(-1.0, 1.0, 0.0) == -MAX_FORCE
    assert follow(0.05, 0.0, 2.0) < follow(0.05, 0.0, 0.0), "damped"


def test_there_is_no_force_feedback_for_a_device_that_is_not_there() -> None:
    force = force_of("dead:beef", 1)
    force.close()
    assert not force.works


def test_evdev_finds_the_wheel_by_its_id_and_takes_the_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    evdev = pytest.importorskip("evdev")
    from evdev import ff

    class Node(Wheel):
        info = evdev.DeviceInfo(3, 0x046D, 0xC24F, 0x111)

        def capabilities(self) -> dict[int, list[int]]:
            return {EV_FF: [0x52, FF_AUTOCENTER]}

        def upload_effect(self, effect: Any) -> int:
            assert isinstance(effect, ff.Effect)
            self._tell("upload", effect.u.ff_constant_effect.level)
            return 7

    node = Node()
    monkeypatch.setattr(evdev, "list_devices", lambda: ["/dev/input/event1"])
    monkeypatch.setattr(evdev, "InputDevice", lambda path: node)
    force = force_of("046d:c24f", 1)
    wait_for(lambda: force.follows)
    force.ask(Wish(force=-0.5))
    wait_for(lambda: ("upload", -16384) in node.told)
    force.close()
