"""Film strips of recorded drives: the frames that the policy was given, with its plan and the driver's path drawn in."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from ..collect.cockpit.overlay import project, ribbon
from ..scoring.frames import into_ego
from ..store.episodes import EpisodeReader
from ..vocabulary import PLAN_STEP_S, TICK_HZ, TICK_S, Authority, CameraSpec

STILLS = 6
WIDTH_PX = 384  # of a still: twice the tiny policy's picture, so that what is drawn in is sharp
QUALITY = 72
STEP_TICKS = round(PLAN_STEP_S * TICK_HZ)
AROUND_S = (-1.5, -0.5, 0.0, 0.5, 1.5, 3.0)  # of a takeover
DRIVEN_S = 3.0  # of the driver's path ahead
PLAN, DRIVER, HAZARD = (86, 180, 233), (94, 226, 186), (255, 140, 0)  # the first two as in the cockpit
FAR_M = 60.0  # a road user further away is not marked


@dataclass(frozen=True, slots=True)
class Still:
    """One picture of a strip.

    Attributes:
        webp: Base64 of a WebP file.
        caption: When, how fast, who drives.
        alt: The same in words, for those who do not see it.
    """

    webp: str
    caption: str
    alt: str


@dataclass(frozen=True, slots=True)
class Film:
    """A strip.

    Attributes:
        title: What drive it is.
        note: How it ended, and where its pictures come from.
        stills: In order of time.
    """

    title: str
    note: str
    stills: tuple[Still, ...]


def takeover_stills(reader: EpisodeReader, onset_tick: int) -> tuple[Still, ...]:
    """From 1.5 s before a takeover to 3 s after it."""
    return stills(reader, [onset_tick + round(at / TICK_S) for at in AROUND_S], onset_tick)


def last_stills(reader: EpisodeReader, end_tick: int | None = None) -> tuple[Still, ...]:
    """The frames up to a tick, half a second apart; None is the end of the drive."""
    last = reader.frame_ticks[-1] if end_tick is None else end_tick
    return stills(reader, [last - STEP_TICKS * k for k in range(STILLS - 1, -1, -1)])


def closest_tick(reader: EpisodeReader) -> int:
    """When the scenario's own road user was nearest, or the time to collision least: where a drive is decided."""
    driven = reader.ticks["tick"] >= 0
    actor = int(reader.meta.scenario_info.get("critical_actor_id") or 0)
    tracks = reader.tracks
    at = np.flatnonzero(tracks.ids == actor)
    if len(at):
        ego = np.stack([reader.ticks["x_m"], reader.ticks["y_m"]], -1)
        away_m = np.linalg.norm(tracks.states[:, at[0], :2] - ego, axis=1)
        away_m[~driven | np.isnan(away_m)] = math.inf
        if np.isfinite(away_m).any():
            return int(reader.ticks["tick"][np.argmin(away_m)])
    ttc_s = np.where(driven, reader.ticks["ttc_s"], math.inf)
    return int(reader.ticks["tick"][np.argmin(ttc_s) if np.isfinite(ttc_s).any() else -1])


def stills(reader: EpisodeReader, ticks: Sequence[int], zero_tick: int = 0) -> tuple[Still, ...]:
    """The newest frame at each tick, each once.

    Args:
        reader: The drive.
        ticks: Wanted; those before the first frame or after the end are left out.
        zero_tick: Captions count seconds from here.
    """
    frames = np.array([tick for tick in reader.frame_ticks if tick >= 0])
    last = int(reader.ticks["tick"][-1])
    chosen: list[int] = []
    for tick in ticks:
        at = int(np.searchsorted(frames, tick, side="right")) - 1
        if at >= 0 and tick <= last + STEP_TICKS and frames[at] not in chosen:
            chosen.append(int(frames[at]))
    return tuple(_still(reader, tick, zero_tick) for tick in chosen)


def _still(reader: EpisodeReader, tick: int, zero_tick: int) -> Still:
    own = reader.meta.cameras[0]
    scale = WIDTH_PX / own.width_px
    camera = replace(own, width_px=WIDTH_PX, height_px=round(own.height_px * scale))
    frame = Image.fromarray(reader.images(tick)[0])
    picture = frame.resize((camera.width_px, camera.height_px), Image.Resampling.LANCZOS)
    row = reader.row(tick)
    driving = reader.ticks["executed_by"][row] == Authority.DRIVER.value
    plan = next((one for one in reader.plans if one.plan.tick == tick), None)
    if plan is not None:
        _path(picture, camera, plan.plan.waypoints_m, PLAN, filled=not plan.plan.shadow)
    if driving:
        _path(picture, camera, _driven_m(reader, tick), DRIVER, filled=True)
    _mark(picture, camera, reader, tick)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    time_s = (tick - zero_tick) * TICK_S
    speed_kmh = 3.6 * float(reader.ticks["speed_mps"][row])
    who = "driver" if driving else str(reader.ticks["executed_by"][row]).replace("_", " ")
    when = (f"{time_s:+.1f} s" if zero_tick else f"{time_s:.1f} s").replace("-", "\u2212")
    return Still(
        base64.b64encode(file.getvalue()).decode("ascii"),
        f"{when} · {speed_kmh:.0f} km/h · {who}",
        f"camera picture at {when}, {speed_kmh:.0f} km/h, {who} drives",
    )


def _driven_m(reader: EpisodeReader, tick: int) -> np.ndarray:
    """Where the car really went: (N, 2), ego frame at a tick."""
    row, columns = reader.row(tick), reader.ticks
    rows = np.arange(
        row + STEP_TICKS, min(row + round(DRIVEN_S / TICK_S), len(columns["tick"]) - 1) + 1, STEP_TICKS
    )
    return into_ego(np.stack([columns["x_m"][rows], columns["y_m"][rows]], -1), reader.ego(tick))


def _path(
    picture: Image.Image,
    camera: CameraSpec,
    path_m: np.ndarray,
    colour: tuple[int, int, int],
    *,
    filled: bool,
) -> None:
    """A path on the road; a shadow plan, which nobody follows, is an outline."""
    cuts = ribbon(np.asarray(path_m, np.float64), camera) if len(path_m) else None
    if cuts is None:
        return
    outline = [(float(x), float(y)) for x, y in [*cuts[:, 0], *cuts[::-1, 1]]]
    brush = ImageDraw.Draw(picture, "RGBA")
    brush.polygon(outline, fill=(*colour, 120) if filled else None)
    brush.line([*outline, outline[0]], fill=(*colour, 235), width=2)


def _mark(picture: Image.Image, camera: CameraSpec, reader: EpisodeReader, tick: int) -> None:
    """A pointer above the scenario's own road user: a few pixels of a small picture are easily missed."""
    actor = int(reader.meta.scenario_info.get("critical_actor_id") or 0)
    agent = next((one for one in reader.agents_at(tick) if one.actor_id == actor), None)
    if agent is None or reader.visible_px(tick).get(actor, 0) == 0:
        return
    x_m, y_m = into_ego(np.array([[agent.x_m, agent.y_m]]), reader.ego(tick))[0]
    if math.hypot(x_m, y_m) > FAR_M:
        return
    (column, row), _ = project(np.array([x_m, y_m, 2.1]), camera)
    x_px, y_px = float(np.clip(column, 6, camera.width_px - 6)), max(float(row), 9.0)
    brush = ImageDraw.Draw(picture, "RGBA")
    corners = [(x_px, y_px), (x_px - 6, y_px - 9), (x_px + 6, y_px - 9)]
    brush.polygon(corners, fill=(*HAZARD, 255), outline=(0, 0, 0, 255))
