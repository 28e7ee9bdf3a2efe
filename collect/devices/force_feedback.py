"""Force on the wheel through evdev: centring, and following the policy's angle. Optional in every respect.

Needs Linux, the extra `[wheel]` (evdev), a driver with force feedback and write access to the device. The device's ioctls
may take milliseconds, so a thread of its own makes them, newest wish first, and input never waits.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

EV_FF, FF_CONSTANT, FF_GAIN, FF_AUTOCENTER = 0x15, 0x52, 0x60, 0x61  # linux/input-event-codes.h
LEFT = 0x4000  # direction of an effect: 90 degrees
STIFFNESS = 4.0  # share of the largest force per unit of steer off the wanted angle
DAMPING_S = 0.15  # share of the largest force per unit of steer a second
MAX_FORCE = 0.35  # a hand must always win
PERIOD_S = 0.02


class FfDevice(Protocol):
    """What is asked of `evdev.InputDevice`."""

    def write(self, etype: int, code: int, value: int) -> None: ...  # noqa: D102
    def upload_effect(self, effect: Any) -> int: ...  # noqa: D102
    def erase_effect(self, ff_id: int) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Wish:
    """What the wheel shall do. `force` in [-1, 1] pushes to the left when positive; `centring` is in [0, 1]."""

    centring: float = 0.0
    force: float = 0.0


def follow(commanded: float, wheel: float, wheel_per_s: float) -> float:
    """Force that turns the wheel to the commanded angle, never more than a hand overcomes.

    Args:
        commanded: Steer that the car executes.
        wheel: Steer of the wheel.
        wheel_per_s: Its speed.

    Returns:
        Force in [-MAX_FORCE, MAX_FORCE], positive left.
    """
    force = STIFFNESS * (commanded - wheel) - DAMPING_S * wheel_per_s
    return min(max(force, -MAX_FORCE), MAX_FORCE)


Constant = Callable[[int, int], Any]  # id and level of an effect to the effect


class ForceFeedback:
    """Forces of one wheel. Whatever it cannot do, it leaves undone.

    Args:
        opener: Finds the device and makes its constant effect, None where it has none; called in the own thread, which
            alone touches the device. None for no device.
        sign: 1 or -1, as `loop wheel calibrate` has measured: which way a positive level pushes. 0 while unknown: the
            wheel is centred but never pushed.
    """

    def __init__(self, opener: Callable[[], tuple[FfDevice, Constant | None] | None], sign: int) -> None:
        self._opener = opener
        self._sign = sign
        self._constant: Constant | None = None
        self._effect_id = -1
        self._done = Wish(centring=-1.0)
        self._wish = Wish()
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._works = False
        self._thread = threading.Thread(target=self._work, name="force feedback", daemon=True)
        self._thread.start()

    @property
    def works(self) -> bool:
        """There is a device, and it has not refused."""
        return self._works

    @property
    def follows(self) -> bool:
        """The wheel can be driven to an angle."""
        return self._works and self._constant is not None and self._sign != 0

    def ask(self, wish: Wish) -> None:
        """Replace the wish; returns at once."""
        self._wish = wish
        self._changed.set()

    def close(self, wait_s: float = 1.0) -> None:
        """Let the wheel go free, and wait at most so long until it is."""
        self._wish = Wish()
        self._stop.set()
        self._changed.set()
        self._thread.join(wait_s)

    def _work(self) -> None:
        opened = self._opener()
        if opened is None:
            return
        device, self._constant = opened
        try:
            device.write(EV_FF, FF_GAIN, 0xFFFF)
            self._works = True
            while not self._stop.is_set():
                self._changed.wait()
                self._changed.clear()
                self._apply(device, self._wish)
                self._stop.wait(PERIOD_S)
            self._apply(device, Wish())
            if self._effect_id >= 0:
                device.erase_effect(self._effect_id)
        except OSError:
            pass  # the plug was pulled, or the driver has no force feedback after all: the wheel still steers
        finally:
            self._works = False
            with contextlib.suppress(OSError):
                device.close()

    def _apply(self, device: FfDevice, wish: Wish) -> None:
        if wish.centring != self._done.centring:
            device.write(EV_FF, FF_AUTOCENTER, round(min(max(wish.centring, 0.0), 1.0) * 0xFFFF))
        if wish.force != self._done.force and self._constant is not None:
            level = round(min(max(wish.force * (self._sign or 1), -1.0), 1.0) * 0x7FFF)
            first = self._effect_id < 0
            self._effect_id = device.upload_effect(self._constant(self._effect_id, level))
            if first:
                device.write(EV_FF, self._effect_id, 1)
        self._done = wish


def force_of(usb: str, sign: int) -> ForceFeedback:
    """Forces of the wheel with a vendor:product id; see `ForceFeedback`."""
    return ForceFeedback(lambda: _find(usb), sign)


def _find(usb: str) -> tuple[FfDevice, Constant | None] | None:
    """The device through evdev; None without evdev, force feedback or permission."""
    try:
        import evdev
        from evdev import ff
    except ImportError:
        return None

    def constant(effect_id: int, level: int) -> Any:
        kind = ff.EffectType(ff_constant_effect=ff.Constant(level, ff.Envelope(0, 0, 0, 0)))
        return ff.Effect(FF_CONSTANT, effect_id, LEFT, ff.Trigger(0, 0), ff.Replay(0xFFFF, 0), kind)

    for path in evdev.list_devices():
        try:
            device = evdev.InputDevice(path)
        except OSError:
            continue
        can = device.capabilities().get(EV_FF, [])
        if f"{device.info.vendor:04x}:{device.info.product:04x}" == usb and FF_AUTOCENTER in can:
            return device, constant if FF_CONSTANT in can else None
        device.close()
    return None
