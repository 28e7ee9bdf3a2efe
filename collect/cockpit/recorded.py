"""A recorded drive as the window shows it: a `HudState` and a picture for every tick."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path

import numpy as np
import pygame
from numpy.typing import NDArray

from ...errors import UsageError
from ...scoring.frames import into_ego
from ...sim_bridge.weather import preset
from ...store.episodes import EpisodeReader, sealed
from ...store.records import WARMUP, PlanRow
from ...vocabulary import (
    PLAN_PERIOD_TICKS,
    PLAN_STEP_S,
    TICK_S,
    Authority,
    CameraSpec,
    Control,
    Float,
    HandoverState,
)
from ..driver_words import WEATHER
from .dash import sentence
from .hud_state import HudState, Level, Notice
from .overlay import from_now
from .rerender import Rerenderer, weather_look, weather_of
from .views import HEIGHT_PX, SEATS, WIDTH_PX, letterbox, policy_view

DRIVEN_S = 3.0  # of the driver's own path ahead
BLINK_TICKS = 20
PICTURES_KEPT = 64
RELIABLE_TICKS = 3 * PLAN_PERIOD_TICKS  # an older plan is not drawn
END_WORDS = {
    "route_complete": "route complete",
    "off_road": "off the road",
    "route_deviation": "off the route",
    "sim_fault": "simulator fault",
}


def find_episode(home: Path, text: str) -> Path:
    """Folder of a sealed episode.

    Args:
        home: Home folder of the store.
        text: The uuid, enough of its beginning, or the folder itself.

    Raises:
        UsageError: None or several episodes begin so.
    """
    if Path(text).is_dir():
        return Path(text)
    found = [path for path in sealed(home / "episodes") if path.name.startswith(text)]
    if len(found) != 1:
        several = f"{len(found)} episodes begin" if found else "no episode begins"
        raise UsageError(f"{several} with `{text}`", fix="`loop episodes list` names them")
    return found[0]


class Recorded:
    """One sealed episode, ready to be watched.

    Args:
        path: Its folder.

    Attributes:
        problem: Why only the recorded frames can be shown; "" when every seat can.
        views: Cameras to choose from.
        first: First tick.
        last: Last tick.
        takeovers: Ticks of the takeovers.
    """

    def __init__(self, path: Path) -> None:
        self.reader = EpisodeReader(path)
        meta = self.reader.meta
        self._columns = self.reader.ticks
        if not len(self._columns["tick"]):
            raise UsageError(f"episode {path.name} has no ticks", fix="choose another: `loop episodes list`")
        self._renderer: Rerenderer | None = None
        self.problem = ""
        try:
            self._renderer = Rerenderer(
                meta.map_name, meta.map_sha256, meta.route_centerline_m, weather_of(meta.case)
            )
        except UsageError as error:
            self.problem = f"{error}: recorded frames only"
        own = tuple(policy_view(camera) for camera in meta.cameras)
        self.views: tuple[CameraSpec, ...] = (*SEATS, *own) if self._renderer is not None else own
        self.last = int(self._columns["tick"][-1])
        self.first = min(0, self.last)
        self.authority = [_authority(name) for name in self._columns["executed_by"]]
        self.states = [str(name) for name in self._columns["handover_state"]]
        self.takeovers = [event.tick for event in self.reader.events if event.kind == "takeover"]
        self._weathers = [
            (event.tick, weather_look(preset(str(event.data["preset"]))))
            for event in self.reader.events
            if event.kind == WEATHER
        ]
        self._plan_ticks = [row.plan.tick for row in self.reader.plans]
        self._frame_ticks = sorted(self.reader.frame_ticks)
        self._picture = lru_cache(maxsize=PICTURES_KEPT)(self._draw)
        self._frame = lru_cache(maxsize=8)(self._decode)

    def plan(self, tick: int) -> PlanRow | None:
        """The newest plan at a tick, issued or shadow; None without a recent one."""
        at = bisect_right(self._plan_ticks, tick)
        row = self.reader.plans[at - 1] if at else None
        return row if row is not None and tick - row.plan.tick <= RELIABLE_TICKS else None

    def plan_m(self, tick: int) -> tuple[Float | None, float]:
        """The newest plan in the ego frame at a tick, and its age in seconds."""
        row = self.plan(tick)
        if row is None:
            return None, 0.0
        age_s = (tick - row.plan.tick) * TICK_S
        return from_now(row.plan.waypoints_m, row.pose, self.reader.ego(tick), age_s), age_s

    def driven_m(self, tick: int, horizon_s: float = DRIVEN_S) -> Float:
        """Where the car really went: (N, 2), ego frame at a tick, PLAN_STEP_S apart."""
        row, step = self.reader.row(tick), round(PLAN_STEP_S / TICK_S)
        rows = np.arange(row + step, min(row + round(horizon_s / TICK_S), len(self.authority) - 1) + 1, step)
        world = np.stack([self._columns["x_m"][rows], self._columns["y_m"][rows]], -1)
        return into_ego(world, self.reader.ego(tick)).astype(np.float32)

    def state(self, tick: int, camera: CameraSpec) -> HudState:
        """Everything that the HUD shows at a tick."""
        row, columns = self.reader.row(tick), self._columns
        authority = self.authority[row]
        plan_m, age_s = self.plan_m(tick)
        plan = self.plan(tick)
        driving = authority is Authority.DRIVER
        taken = [at for at in self.takeovers if at <= tick]
        meta = self.reader.meta
        over = tick == self.last
        return HudState(
            authority=authority,
            handover=HandoverState(self.states[row]),
            blend=self._since(row) * TICK_S / 0.5,
            alert=_end_words(self.reader.outcome.end) if over else "",
            alert_level=Level.INFO,
            speed_mps=float(columns["speed_mps"][row]),
            limit_mps=float(columns["speed_limit_mps"][row]),
            ttc_s=float(columns["ttc_s"][row]),
            red_light=bool(columns["red_light"][row]),
            time_s=max(float(columns["time_s"][row]), 0.0),
            camera=camera,
            inset="what the policy saw",
            plan_m=plan_m,
            plan_age_s=age_s,
            driver_m=self.driven_m(tick) if driving else None,
            reasoning=sentence(plan.plan.text) if plan is not None else "",
            generation=meta.generation,
            device=_control(columns, "driver", row) if driving else None,
            executed=_control(columns, "executed", row) or Control(),
            ghost_steer=_steer(columns, "policy", row) if driving else None,
            replay=True,
            takeovers=len(taken),
            scenario=meta.case.scenario + (" (decoy)" if meta.case.decoy else ""),
            episode=f"seed {meta.case.seed}",
            progress_m=float(columns["route_progress_m"][row]),
            route_m=meta.route_length_m,
            notices=self._notices(tick),
            blink=(tick % BLINK_TICKS) / BLINK_TICKS,
        )

    def picture(self, tick: int, camera: CameraSpec) -> pygame.Surface:
        """The window's picture at a tick, 1280x720."""
        if self._renderer is None:
            return self._letterboxed(tick, camera)
        return pygame.image.frombuffer(self._picture(tick, camera).data, (WIDTH_PX, HEIGHT_PX), "BGRA")

    def inset(self, tick: int) -> pygame.Surface | None:
        """What the policy saw last; the same surface while it is the same frame."""
        at = bisect_right(self._frame_ticks, tick)
        return self._frame(self._frame_ticks[at - 1]) if at else None

    def _draw(self, tick: int, camera: CameraSpec) -> NDArray[np.uint8]:
        assert self._renderer is not None
        reader = self.reader
        weather = next((look for begun, look in reversed(self._weathers) if begun < tick), None)
        here = reader.ego(tick), reader.agents_at(tick), reader.lights(tick)
        return self._renderer.picture(camera, *here, weather)

    def _decode(self, tick: int) -> pygame.Surface:
        image = np.ascontiguousarray(self.reader.images(tick)[0])
        return pygame.image.frombuffer(image.data, (image.shape[1], image.shape[0]), "RGB")

    def _letterboxed(self, tick: int, camera: CameraSpec) -> pygame.Surface:
        """The recorded frame where `policy_view` has it."""
        made = pygame.Surface((WIDTH_PX, HEIGHT_PX))
        made.fill((18, 22, 28))
        frame = self.inset(tick)
        if frame is not None:
            spec = next(c for c in self.reader.meta.cameras if c.name == camera.name)
            top, below = letterbox(spec)
            made.blit(pygame.transform.smoothscale(frame, (WIDTH_PX, below - top)), (0, top))
        return made

    def _since(self, row: int) -> int:
        """Ticks since the handover state of a row began."""
        first = row
        while first > 0 and self.states[first - 1] == self.states[row]:
            first -= 1
        return row - first

    def _notices(self, tick: int) -> tuple[Notice, ...]:
        found = []
        for event in self.reader.events:
            left_s = 4.0 - (tick - event.tick) * TICK_S
            if 0.0 < left_s <= 4.0:
                detail = event.data.get("reason") or event.data.get("kind") or event.data.get("preset") or ""
                words = f"{event.kind}: {detail}" if detail else event.kind
                found.append(Notice(words.replace("_", " "), left_s))
        if self.problem:
            found.append(Notice(self.problem))
        return tuple(reversed(found))


def _authority(executed_by: str) -> Authority:
    return Authority.POLICY if executed_by == WARMUP else Authority(executed_by)


def _control(columns: dict[str, NDArray[np.float64]], who: str, row: int) -> Control | None:
    values = [float(columns[f"{who}_{what}"][row]) for what in ("steer", "throttle", "brake")]
    return None if math.isnan(values[0]) else Control(*values)


def _steer(columns: dict[str, NDArray[np.float64]], who: str, row: int) -> float | None:
    control = _control(columns, who, row)
    return None if control is None else control.steer


def _end_words(end: str) -> str:
    return f"end of the drive: {END_WORDS.get(end, end)}"
