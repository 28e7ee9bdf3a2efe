"""Scenes with proposals from a JSON file, plain or gzipped: the format of NAVSIM's vectors (docs/scoring.md).

Poses and the ego are of NAVSIM's rear axle; here they become the box centre's, as everywhere in this project.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..vocabulary import PLAN_POINTS, ActorKind, EgoState
from .pdms import PACIFICA
from .scene import Polygons, Scene, kind_codes

Array = NDArray[np.float64]

FORMAT = "docs/scoring.md describes the format"
KIND_OF = {
    "vehicle": ActorKind.VEHICLE,
    "pedestrian": ActorKind.WALKER,
    "bicycle": ActorKind.CYCLIST,
    "traffic_cone": ActorKind.STATIC,
    "barrier": ActorKind.STATIC,
    "czone_sign": ActorKind.STATIC,
    "generic_object": ActorKind.STATIC,
}
LAYERS = ("roadblock", "lane", "intersection")
# Beyond these a value is a mistake of units or an overflow; UTM northings reach 1e7 m.
WORLD, MOTION, PLAN = 1e8, 1e3, 1e4


@dataclass(frozen=True, slots=True)
class SceneFile:
    """One scene of a file.

    Attributes:
        ident: The scene's `id`.
        scene: What the proposals are scored against.
        names: One per proposal.
        plans_m: (P, 8, 3) box centre, ego frame: metres, radians.
        on_route_lanes: Lanes that lie on the route.
    """

    ident: int | str
    scene: Scene
    names: tuple[str, ...]
    plans_m: Array
    on_route_lanes: Polygons


def read(path: Path) -> list[SceneFile]:
    """Read and check a whole file.

    Args:
        path: JSON, or JSON packed by gzip, whatever its name.

    Returns:
        Its scenes, at least one.

    Raises:
        UsageError: One line that names the place, the value, what is allowed and the fix.
    """
    rows = _parse(path)
    if not isinstance(rows, list) or not rows:
        raise _wrong(f"{path}", _short(rows), "a list of at least one scene")
    return [_scene(row, f"{path}: [{i}]") for i, row in enumerate(rows)]


def _parse(path: Path) -> Any:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return json.loads(data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"{path}: cannot be read as a file of scenes ({reason})", fix="give a readable .json or .json.gz"
        ) from error
    except (EOFError, zlib.error) as error:
        raise UsageError(f"{path}: damaged gzip ({error})", fix="copy the file again") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: not JSON ({error})", fix=f"write one JSON list of scenes; {FORMAT}"
        ) from error


def _scene(row: Any, at: str) -> SceneFile:
    scene, reference = _mapping(_get(row, "scene", at), f"{at}.scene"), _get(row, "reference", at)
    at_scene, at_reference = f"{at}.scene", f"{at}.reference"
    ident = _get(scene, "id", at_scene)
    if isinstance(ident, bool) or not isinstance(ident, int | str):
        raise _wrong(f"{at_scene}.id", _short(ident), "a whole number or a text")
    proposals = _rows(scene, "proposals", at_scene, 1)
    names = tuple(_name(p, f"{at_scene}.proposals[{i}]") for i, p in enumerate(proposals))
    plans = np.stack(
        [
            _array(_get(p, "poses", f"{at_scene}.proposals[{i}]"), f"{at_scene}.proposals[{i}].poses",
                   (PLAN_POINTS, 3), PLAN)
            for i, p in enumerate(proposals)
        ]
    )  # fmt: skip
    back = PACIFICA.rear_to_centre_m
    plans[..., 0] += back * (np.cos(plans[..., 2]) - 1.0)
    plans[..., 1] += back * np.sin(plans[..., 2])
    layers, on_route = _map(scene, at_scene)
    times, states, sizes, kinds = _agents(scene, at_scene)
    progress = _number(reference, "progress_m", at_reference, 0.0, WORLD)
    nc = _number(reference, "NC", at_reference, 0.0, 1.0)
    dac = _number(reference, "DAC", at_reference, 0.0, 1.0)
    return SceneFile(
        ident,
        Scene(
            ego=_ego(_get(scene, "ego", at_scene), f"{at_scene}.ego"),
            agents_t_s=times,
            agents=states,
            agent_size_m=sizes,
            agent_kind=kind_codes(kinds),
            centerline_m=_array(
                _get(scene, "centerline", at_scene), f"{at_scene}.centerline", (2, 2), WORLD, True
            ),
            roadblock_polygons=layers["roadblock"],
            lane_polygons=layers["lane"],
            intersection_polygons=layers["intersection"],
            reference_progress_m=progress,
            reference_multiplier=nc * dac,
            vehicle=PACIFICA,
        ),
        names,
        plans,
        on_route,
    )


def _ego(row: Any, at: str) -> EgoState:
    x, y = (_number(row, key, at, -WORLD, WORLD) for key in ("x", "y"))
    heading, speed, accel, turn, steer = (
        _number(row, key, at, -MOTION, MOTION) for key in ("heading", "vx", "ax", "yaw_rate", "steer")
    )
    back = PACIFICA.rear_to_centre_m
    return EgoState(
        x + back * np.cos(heading), y + back * np.sin(heading), heading, speed, accel, turn, steer
    )


def _map(scene: Mapping[str, Any], at: str) -> tuple[dict[str, Polygons], Polygons]:
    layers: dict[str, list[Array]] = {layer: [] for layer in LAYERS}
    on_route = []
    for i, row in enumerate(_rows(scene, "map", at, 0)):
        here = f"{at}.map[{i}]"
        layer = _one_of(row, "type", here, LAYERS)
        polygon = _array(_get(row, "polygon", here), f"{here}.polygon", (3, 2), WORLD, True)
        layers[layer].append(polygon)
        flag = row.get("on_route", False)
        if not isinstance(flag, bool):
            raise _wrong(f"{here}.on_route", _short(flag), "true or false")
        if layer == "lane" and flag:
            on_route.append(polygon)
    return {layer: tuple(polygons) for layer, polygons in layers.items()}, tuple(on_route)


def _agents(scene: Mapping[str, Any], at: str) -> tuple[Array, Array, Array, list[ActorKind]]:
    """Times (T,), states (N, T, 5), sizes (N, 2), kinds; on one grid of times, NaN outside an agent's own."""
    tables, sizes, kinds = [], [], []
    for i, row in enumerate(_rows(scene, "agents", at, 0)):
        here = f"{at}.agents[{i}]"
        kinds.append(KIND_OF[_one_of(row, "type", here, tuple(KIND_OF))])
        sizes.append([_number(row, key, here, 0.01, MOTION) for key in ("length", "width")])
        table = _array(_get(row, "states", here), f"{here}.states", (1, 6), WORLD, True)
        steps = np.diff(table[:, 0])
        if (steps <= 0.0).any():
            late = int(np.argmax(steps <= 0.0)) + 1
            raise _wrong(f"{here}.states[{late}][0]", f"{table[late, 0]:g}", "later than the state before it")
        tables.append(table)
    if not tables:
        return np.zeros(1), np.zeros((0, 1, 5)), np.zeros((0, 2)), []
    times = np.unique(np.concatenate([table[:, 0] for table in tables]))
    states = np.full((len(tables), len(times), 5), np.nan)
    for out, table in zip(states, tables, strict=True):
        there = (times >= table[0, 0]) & (times <= table[-1, 0])
        table[:, 3] = np.unwrap(table[:, 3])
        for column in range(5):
            out[there, column] = np.interp(times[there], table[:, 0], table[:, column + 1])
    return times, states, np.array(sizes), kinds


def _get(row: Any, key: str, at: str) -> Any:
    there = _mapping(row, at)
    if key not in there:
        raise UsageError(
            f"{at}: no key {key!r}, but {', '.join(map(repr, there)) or 'none'}", fix=f"add it; {FORMAT}"
        )
    return there[key]


def _mapping(row: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise _wrong(at, _short(row), "an object with keys")
    return row


def _rows(row: Any, key: str, at: str, least: int) -> Sequence[Any]:
    rows = _get(row, key, at)
    if not isinstance(rows, list) or len(rows) < least:
        raise _wrong(f"{at}.{key}", _short(rows), f"a list of at least {least}")
    return rows


def _name(row: Any, at: str) -> str:
    name = _get(row, "name", at)
    if not isinstance(name, str):
        raise _wrong(f"{at}.name", _short(name), "a text")
    return name


def _one_of(row: Any, key: str, at: str, allowed: tuple[str, ...]) -> str:
    value = _get(row, key, at)
    if value not in allowed:
        raise _wrong(f"{at}.{key}", _short(value), f"one of {', '.join(allowed)}")
    return str(value)


def _number(row: Any, key: str, at: str, low: float, high: float) -> float:
    value = _get(row, key, at)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _wrong(f"{at}.{key}", _short(value), f"a number from {low:g} to {high:g}")
    return float(value)


def _array(value: Any, at: str, shape: tuple[int, int], most: float, longer: bool = False) -> Array:
    """Rows of numbers within +-`most`; with `longer` at least as many rows as the shape says."""
    rows, columns = shape
    wanted = f"{'at least ' if longer else ''}{rows} rows of {columns} numbers from {-most:g} to {most:g}"
    if not isinstance(value, list) or (len(value) < rows if longer else len(value) != rows):
        raise _wrong(at, _short(value), wanted)
    for i, row in enumerate(value):
        if not isinstance(row, list) or len(row) != columns:
            raise _wrong(f"{at}[{i}]", _short(row), wanted)
        for k, number in enumerate(row):
            if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= most:
                raise _wrong(f"{at}[{i}][{k}]", _short(number), f"a number from {-most:g} to {most:g}")
    return np.array(value, np.float64)


def _wrong(at: str, value: str, allowed: str) -> UsageError:
    return UsageError(f"{at} is {value}, allowed is {allowed}", fix=f"correct this value; {FORMAT}")


def _short(value: Any) -> str:
    text = f"a list of {len(value)}" if isinstance(value, list) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
