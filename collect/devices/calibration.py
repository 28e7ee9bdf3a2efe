"""From what a driver does when asked to the profile of a device that nobody has described."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError
from .profiles import Pedal, Profile, Steer

MOVED = 0.3  # of the range of an axis, [-1, 1]: less is a tremble


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the driver is asked to do, and holds while it is read."""

    name: str
    text: str
    button: bool = False


STEPS = (
    Step(
        "wake", "Turn the wheel a little to both sides and press each pedal once; then let go of everything."
    ),
    Step("rest", "Hands and feet off."),
    Step("left", "Turn to full lock on the left, and hold it there."),
    Step("right", "Turn to full lock on the right, and hold it there."),
    Step("throttle", "Wheel straight. Press the throttle down, and hold it."),
    Step("brake", "Press the brake down, and hold it."),
    Step("takeover", "Press the button that shall take over.", button=True),
    Step("handback", "Press the button that shall hand back.", button=True),
)


def fit(
    name: str,
    title: str,
    usb: str,
    axes: dict[str, tuple[float, ...]],
    buttons: dict[str, int],
    *,
    kind: str = "wheel",
) -> Profile:
    """The profile that explains the readings.

    Args:
        name: What --wheel shall call it.
        title: What SDL calls it.
        usb: Its vendor:product id, "" for none.
        axes: All axes in [-1, 1], as they were in the steps rest, left, right, throttle and brake.
        buttons: Button numbers of the steps with buttons.
        kind: "wheel" or "gamepad".

    Raises:
        UsageError: a step moved no axis, or two steps the same one.
    """
    rest = axes["rest"]
    steer = _moved("left", rest, axes["left"])
    if _moved("right", rest, axes["right"]) != steer:
        raise UsageError(
            "left and right moved different axes", fix="calibrate again, moving one thing at a time"
        )
    throttle, brake = _moved("throttle", rest, axes["throttle"]), _moved("brake", rest, axes["brake"])
    if len({steer, throttle, brake}) < 3:
        raise UsageError(
            f"steering, throttle and brake are axes {steer}, {throttle} and {brake}: the pedals are combined",
            fix="switch the wheel's combined pedals off, then calibrate again",
        )
    left, right = axes["left"][steer], axes["right"][steer]
    if (left - rest[steer]) * (right - rest[steer]) >= 0.0:
        raise UsageError("left and right turned the same way", fix="calibrate again")
    return Profile(
        name=name,
        title=title,
        kind="gamepad" if kind == "gamepad" else "wheel",
        usb=(usb,) if usb else (),
        names=() if usb else (title,),
        steer=Steer(axis=steer, left=left, centre=rest[steer], right=right),
        throttle=Pedal(
            axis=throttle, released=rest[throttle], pressed=axes["throttle"][throttle], dead_zone=0.02
        ),
        brake=Pedal(axis=brake, released=rest[brake], pressed=axes["brake"][brake], dead_zone=0.02),
        buttons={number: step for step, number in buttons.items()},
    )


def _moved(step: str, rest: tuple[float, ...], now: tuple[float, ...]) -> int:
    changes = [abs(value - before) for before, value in zip(rest, now, strict=True)]
    if not changes or max(changes) < MOVED:
        raise UsageError(
            f"nothing moved at the step {step!r}", fix="calibrate again; hold it until the next question"
        )
    return changes.index(max(changes))
