"""What the axes and buttons of a device mean: one YAML file per device, shipped in the package or made by calibration.

Axis and button numbers are those of SDL on Linux with its HIDAPI drivers off: evdev codes in ascending order.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ...config import Section
from ...errors import UsageError
from .state import Action, Kind

HANDBRAKE = "handbrake"  # while held
REVERSE = "reverse"  # changes at each press
REVERSE_GEAR = "reverse_gear"  # while held: the gate of a shifter
SHIFT = "shift"  # while held, the hat means `shifted_hat`
FUNCTIONS = frozenset({HANDBRAKE, REVERSE, REVERSE_GEAR, SHIFT, *(action.value for action in Action)})
Direction = Literal["up", "right", "down", "left"]


class Steer(Section):
    """A steering axis. Turn the wheel less for full lock: bring `left` and `right` nearer to `centre`."""

    axis: int = Field(ge=0, le=63, description="number of the axis")
    left: float = Field(-1.0, ge=-1, le=1, description="its value at full lock to the left")
    centre: float = Field(0.0, ge=-1, le=1, description="its value straight ahead")
    right: float = Field(1.0, ge=-1, le=1, description="its value at full lock to the right")
    dead_zone: float = Field(
        0.0, ge=0, lt=1, description="share of the travel about the centre that is straight"
    )
    curve: float = Field(1.0, gt=0, le=5, description="exponent; 1 is linear")

    @model_validator(mode="after")
    def _ordered(self) -> Steer:
        if (self.left - self.centre) * (self.right - self.centre) >= 0.0:
            raise ValueError("left and right must lie on the two sides of centre")
        return self

    def value(self, raw: float) -> float:
        """Steer in [-1, 1], positive left, from the axis in [-1, 1]."""
        side, end = (
            (1.0, self.left) if (raw - self.centre) * (self.left - self.centre) > 0.0 else (-1.0, self.right)
        )
        return side * _shaped((raw - self.centre) / (end - self.centre), self.dead_zone, self.curve)


class Pedal(Section):
    """A pedal's axis, or a trigger's."""

    axis: int = Field(ge=0, le=63, description="number of the axis")
    released: float = Field(1.0, ge=-1, le=1, description="its value when released")
    pressed: float = Field(-1.0, ge=-1, le=1, description="its value when pressed down")
    dead_zone: float = Field(0.0, ge=0, lt=1, description="share of the travel that does nothing")
    curve: float = Field(1.0, gt=0, le=5, description="exponent; 1 is linear")

    @model_validator(mode="after")
    def _travels(self) -> Pedal:
        if self.released == self.pressed:
            raise ValueError("released and pressed must differ")
        return self

    def value(self, raw: float) -> float:
        """Pedal in [0, 1] from the axis in [-1, 1]."""
        return _shaped((raw - self.released) / (self.pressed - self.released), self.dead_zone, self.curve)


class Profile(Section):
    """One kind of device."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,40}$", description="what --wheel calls it")
    title: str = Field(description="what people call it")
    kind: Literal["wheel", "gamepad"] = Field(description="thresholds of takeover intent differ")
    usb: tuple[str, ...] = Field((), description="vendor:product in hexadecimal")
    names: tuple[str, ...] = Field((), description="parts of SDL's name, for devices with other ids")
    steer: Steer
    throttle: Pedal
    brake: Pedal
    force_sign: Literal[-1, 0, 1] = Field(
        0, description="which way a positive force pushes, 1 is left; 0 is not measured: centring only"
    )
    buttons: dict[int, str] = Field(default_factory=dict, description="button number to function")
    hat: dict[Direction, str] = Field(default_factory=dict, description="direction of hat 0 to function")
    shifted_hat: dict[Direction, str] = Field(
        default_factory=dict, description="the same while shift is held"
    )

    @field_validator("buttons", "hat", "shifted_hat")
    @classmethod
    def _known(cls, value: dict[object, str]) -> dict[object, str]:
        for function in value.values():
            if function not in FUNCTIONS:
                raise ValueError(f"{function!r} is no function; there are {', '.join(sorted(FUNCTIONS))}")
        return value

    @property
    def device_kind(self) -> Kind:
        """`kind` as a value of the device state."""
        return Kind(self.kind)


def usb_id(guid: str) -> str:
    """Vendor and product of an SDL GUID, `046d:c24f`; "" when it holds none (no USB or Bluetooth id)."""
    if len(guid) < 20 or guid[12:16] != "0000" or guid[:4] not in ("0300", "0500"):
        return ""
    return f"{guid[10:12]}{guid[8:10]}:{guid[18:20]}{guid[16:18]}"


def match(profiles: Iterable[Profile], name: str, guid: str) -> Profile | None:
    """The first profile with the device's USB id, else the first with a part of its name; None for neither."""
    known = list(profiles)
    usb = usb_id(guid)
    for profile in known:
        if usb and usb in profile.usb:
            return profile
    for profile in known:
        if any(part.lower() in name.lower() for part in profile.names):
            return profile
    return None


def load(folder: Path | None = None) -> tuple[Profile, ...]:
    """All profiles, those of `folder` (`loop wheel calibrate` writes there) before the shipped ones.

    Raises:
        UsageError: a file of `folder` is no profile.
    """
    own = sorted(folder.glob("*.yaml")) if folder is not None else []
    shipped = sorted(
        (
            entry
            for entry in resources.files(__package__).joinpath("profiles").iterdir()
            if entry.name.endswith(".yaml")
        ),
        key=lambda entry: entry.name,
    )
    return tuple(parse(entry.read_text(encoding="utf-8"), entry.name) for entry in (*own, *shipped))


def parse(text: str, where: str) -> Profile:
    """A profile from YAML.

    Raises:
        UsageError: it is none.
    """
    import yaml

    try:
        return Profile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UsageError(
            f"{where} is not YAML: {str(error).splitlines()[0]}", fix="mend it, or calibrate again"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(
            f"{where}: {key}: {first['msg']}", fix="mend it, or run `loop wheel calibrate` again"
        ) from None


def dump(profile: Profile) -> str:
    """A profile as YAML."""
    import yaml

    return yaml.safe_dump(profile.model_dump(), sort_keys=False, allow_unicode=True)


def _shaped(share: float, dead_zone: float, curve: float) -> float:
    share = min(max(share, 0.0), 1.0)
    return float(max((share - dead_zone) / (1.0 - dead_zone), 0.0) ** curve)
