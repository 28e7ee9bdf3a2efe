"""Writes `configuration.md` beside this file from the configuration models: `python -P docs/configuration.py`."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from takeover.loop import RunConfig

SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
HEAD = """# Configuration

Written by `python -P docs/configuration.py` from the models; a test compares them. `loop.yaml` holds any of these keys by
section (`gate: {longtail_cases: 120}`), the environment overrides it (`LOOP_GATE__LONGTAIL_CASES=120`), and flags override
both. An unknown key is an error that names the nearest known one; a value out of its range is an error that names the range.
"""


def limits(field: FieldInfo) -> str:
    """Allowed values in words."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(str(choice) for choice in get_args(field.annotation))
    found = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in SIGNS.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join(found)


def row(key: str, default: Any, allowed: str, text: str) -> str:
    """One line of a table."""
    return f"| `{key}` | `{json.dumps(default)}` | {allowed} | {text} |"


def of_model(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Rows of a model and of its sections."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from of_model(type(field.default), f"{prefix}{name}.")
        elif dataclasses.is_dataclass(field.default) and not isinstance(field.default, type):
            yield from of_dataclass(type(field.default), f"{prefix}{name}.")
        else:
            yield row(f"{prefix}{name}", field.default, limits(field), field.description or "")


def of_dataclass(kind: type, prefix: str) -> Iterator[str]:
    """Rows of a dataclass; what is said of a field is the comment behind it."""
    source = inspect.getsource(kind)
    for field in dataclasses.fields(kind):
        comment = re.search(rf"^ +{field.name}:[^#\n]*# *(.*)$", source, re.MULTILINE)
        yield row(f"{prefix}{field.name}", field.default, "", comment[1] if comment else "")


def page() -> str:
    """The whole page."""
    sections: dict[str, list[str]] = {}
    for line in of_model(RunConfig):
        key = line.split("`")[1]
        sections.setdefault(key.rpartition(".")[0], []).append(line)
    parts = [HEAD]
    for name, rows in sections.items():
        parts.append(
            f"\n## {f'`{name}`' if name else 'The run'}\n\n| key | default | values | |\n|---|---|---|---|\n"
        )
        parts += [f"{line}\n" for line in rows]
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("configuration.md").write_text(page(), encoding="utf-8")
