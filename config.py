"""Configuration: pydantic models, read from `loop.yaml`, then `LOOP_*` environment variables, then flags.

An unknown key is an error that names the nearest known one; a value out of range is an error that names the range.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from .errors import UsageError

ENV_PREFIX = "LOOP_"

C = TypeVar("C", bound=BaseModel)


class Section(BaseModel):
    """Base of every section: frozen, and strict about keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SimConfig(Section):
    """The simulator side."""

    carla: str = Field("", description="host:port of a CARLA 0.9.16 server; empty starts embedded servers")
    workers: int = Field(4, ge=1, le=64, description="rollout workers, each with a server of its own")
    timeout_s: float = Field(
        5.0, gt=0, le=120, description="client time-out; a slower call is a simulator fault"
    )


class PolicyConfig(Section):
    """The policy that drives."""

    preset: Literal["tiny", "qwen2.5-vl-3b", "qwen2.5-vl-7b", "qwen3-vl-4b"] = Field(
        "tiny", description="architecture of generation 0 when it is built here"
    )
    decoder: Literal["mlp", "flow", "tokens"] = Field(
        "mlp", description="which decoder drives; anchors need mlp"
    )
    context: Literal["prompt", "prompt+reasoning"] = Field(
        "prompt",
        description="what the heads read; SafeAlign's is prompt+reasoning, and a plan waits for the text",
    )
    flow: bool = Field(False, description="train a flow head beside the decoder that drives")

    @property
    def setting(self) -> str:
        """What of this changes how given weights drive, as results are kept by it: "" for the defaults.

        `flow` does not: it trains a head beside the one that drives.
        """
        usual = PolicyConfig.model_fields
        if (self.decoder, self.context) == (usual["decoder"].default, usual["context"].default):
            return ""
        return f":{self.decoder}:{self.context.replace('+', '&')}"  # a plus sets off a baseline


class BootstrapConfig(Section):
    """Generation 0: a fair start from expert drives (proof.md 5)."""

    nominal_episodes: int = Field(
        170, ge=1, description="nominal expert drives; few of them, and plans are too rough to follow"
    )
    longtail_episodes: int = Field(90, ge=0, description="the small fixed dose of long-tail expert drives")
    hazard_share: float = Field(
        0.4,
        ge=0,
        lt=1,
        description="weight of the long-tail drives' frames, decoys apart, wherever expert drives train",
    )
    decoy_episodes: int = Field(
        40,
        ge=0,
        le=400,
        description="decoy twins: what looks like a hazard and is none, or every hazard brakes",
    )
    see_steps: int = Field(
        500,
        ge=0,
        description="steps of the tower's first lesson, in place of a pretrained tower; 0 leaves it out",
    )
    max_steps: int = Field(240, ge=1, description="SFT steps")
    refit_epochs: int = Field(
        20, ge=0, description="epochs of the head on the finished backbone's features; cheap"
    )
    batch: int = Field(32, ge=1, description="samples per SFT step")
    learning_rate: float = Field(2e-3, gt=0, lt=1, description="peak learning rate of the bootstrap")


class CollectConfig(Section):
    """The collect stage of a round."""

    episodes: int = Field(48, ge=1, description="drives a round, long-tail and nominal together")
    nominal_share: float = Field(
        0.25, ge=0, le=1, description="share of nominal drives, the replay of a round"
    )
    styles: tuple[str, ...] = Field(
        ("brake_first", "steer_first", "late_clumsy"),
        description="styles of the scripted driver, taken in turn",
    )
    driver: Literal["scripted", "human"] = Field("scripted", description="who takes over")


class DriveConfig(Section):
    """A sitting in the cockpit. No part of what a run is: another driver continues the same run."""

    driver: str = Field("", description="name of the driver; empty takes the only one of this home, or asks")
    wheel: str = Field("", description="device profile, or `keyboard`; empty matches what is plugged in")
    minutes: float = Field(
        0.0, ge=0, le=240, description="no drive begins after this time; 0 drives on until the driver leaves"
    )
    practice_s: float = Field(
        300.0, ge=0, le=3600, description="a driver's first time at the wheel; it never trains"
    )
    blind: bool = Field(False, description="hide which generation drives")
    scenarios: tuple[str, ...] = Field(
        (), description="scenario types to choose from; empty chooses among all, by where the champion fails"
    )
    free: bool = Field(False, description="everyday driving only")
    help_min_hours: float = Field(
        1.0,
        gt=0,
        le=100,
        description="recorded driving of a generation before it may ask for help because it is unsure: an hour shows "
        "the accepted 12 false requests an hour to a third, a quarter of an hour to a factor of four",
    )
    help_min_needs: int = Field(
        20,
        ge=1,
        description="and how often it must have needed help by then: of 20 the share foreseen is known to 0.22",
    )


class GateConfig(Section):
    """The promotion gate (proof.md 11 and 12). Margins are fixed beforehand."""

    longtail_cases: int = Field(64, ge=8, description="long-tail gate cases; `study` uses 120 to 480")
    nominal_cases: int = Field(24, ge=4, description="nominal gate cases")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="one-sided error, spent over the rounds")
    guards: Literal["point", "bound"] = Field(
        "point",
        description="what must lie within a margin: the point estimate (`laptop`: too few cases for a bound), or the "
        "one-sided 95 % bound (`study`, proof.md 12)",
    )
    margin_nominal_sr: float = Field(0.05, gt=0, lt=1, description="largest tolerated loss of nominal SR")
    margin_ability_sr: float = Field(
        0.10, gt=0, lt=1, description="largest tolerated loss on a pooled ability"
    )
    margin_standstill: float = Field(
        0.03, gt=0, lt=1, description="largest tolerated rise of the standstill share"
    )
    margin_phantom: float = Field(
        0.20, gt=0, lt=5, description="largest tolerated relative rise of phantom brakes"
    )
    takeover_cases: bool = Field(
        False,
        description="certify each round's takeovers (`loop takeovers certify`), keep half of the certified ones out of "
        "training, and refuse a challenger that loses one which the champion passes",
    )

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Runs are known by a hash of their configuration: those from before this key stay the same."""
        values: dict[str, Any] = handler(self)
        if not self.takeover_cases:
            values.pop("takeover_cases", None)
        return values


class LoopConfig(Section):
    """What a run is; `loop.RunConfig` adds the refinement's own section."""

    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of data, training and drivers")
    rounds: int = Field(5, ge=0, le=1000, description="rounds that the run shall have when it ends")
    sim: SimConfig = SimConfig()
    policy: PolicyConfig = PolicyConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    collect: CollectConfig = CollectConfig()
    drive: DriveConfig = DriveConfig()
    gate: GateConfig = GateConfig()


def load_config(model: type[C], path: Path | None = None, flags: dict[str, Any] | None = None) -> C:
    """Read file, environment and flags; later ones win.

    Args:
        model: What the keys are checked against: `LoopConfig` or a model built on it.
        path: `loop.yaml`; None takes `loop.yaml` of the working directory when it is there.
        flags: dotted keys to values, such as {"collect.episodes": 16}; None values are left out.

    Returns:
        The validated configuration.

    Raises:
        UsageError: the file cannot be read, a key is unknown or a value is out of its range.
    """
    import yaml

    data: dict[str, Any] = {}
    if path is None and Path("loop.yaml").is_file():
        path = Path("loop.yaml")
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"cannot read {path}: {error.strerror}", fix="give an existing file to --config"
            ) from error
        except yaml.YAMLError as error:
            raise UsageError(
                f"{path} is not YAML: {str(error).splitlines()[0]}", fix="mend the file"
            ) from error
        if loaded is not None and not isinstance(loaded, dict):
            raise UsageError(
                f"{path} holds a {type(loaded).__name__}, not keys and values", fix="write `key: value`"
            )
        data = loaded or {}
    for name, value in os.environ.items():
        if name.startswith(ENV_PREFIX) and "__" in name:
            _put(data, name[len(ENV_PREFIX) :].lower().split("__"), yaml.safe_load(value))
    for key, value in (flags or {}).items():
        if value is not None:
            _put(data, key.split("."), value)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _usage_error(model, error) from error


def _put(data: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise UsageError(f"{key} is a section, not a value", fix=f"write {key}.{keys[-1]}")
    data[keys[-1]] = value


def _section(model: type[BaseModel], keys: tuple[int | str, ...]) -> type[BaseModel]:
    for key in keys:
        field = model.model_fields.get(str(key))
        if (
            field is None
            or not isinstance(field.annotation, type)
            or not issubclass(field.annotation, BaseModel)
        ):
            break
        model = field.annotation
    return model


def _usage_error(model: type[BaseModel], error: ValidationError) -> UsageError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list(_section(model, first["loc"][:-1]).model_fields)
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "known keys: " + ", ".join(known)
        return UsageError(f"unknown configuration key `{where}`", fix=hint)
    return UsageError(
        f"`{where}` is {first['input']!r}: {first['msg'].lower()}",
        fix=f"change {where} in loop.yaml or flags",
    )
