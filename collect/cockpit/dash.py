"""Facts of a running episode as the HUD shows them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from itertools import cycle

import pygame

from ...vocabulary import Authority, CameraSpec, Frame, HandoverState
from ..alerts import TABLE, Alert, AlertStatus, alert_of
from ..devices.state import Action, DeviceState
from .hud_state import HudState, Level, Notice, ReasonPrompt
from .overlay import driver_path, from_now
from .pilot import Pilot, Turn
from .tape import Tape
from .views import SEATS, policy_view

NOTICE_S = 4.0
# CARLA's names, in the order of the key; most cases begin at clear noon.
WEATHERS = ("CloudyNoon", "WetNoon", "HardRainNoon", "ClearSunset", "ClearNight", "ClearNoon")
BLINK_S = 1.0
_LEVELS = {
    AlertStatus.NORMAL: Level.INFO,
    AlertStatus.PROMPT: Level.WARNING,
    AlertStatus.CRITICAL: Level.CRITICAL,
}


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """What the HUD says of an episode.

    Attributes:
        generation: Label of the generation, or `hud_state.HIDDEN`.
        episode: "drive 3 of 10", or "".
        practice: Nothing of it trains.
        hide_words: Blind mode: the reasoning would tell generations apart.
        sure_because: Why the policy does not ask for help when it is unsure; "" to say nothing.
    """

    generation: str = ""
    episode: str = ""
    practice: bool = False
    hide_words: bool = False
    sure_because: str = ""


class Dash:
    """Keeps what is on the window beside the drive itself: view, notices, help, blinkers.

    Args:
        info: Of the episode.
        scenario: Its name.
        cameras: The policy's cameras.
    """

    def __init__(self, info: EpisodeInfo, scenario: str, cameras: tuple[CameraSpec, ...]) -> None:
        self._info, self._scenario = info, scenario
        self._views = (*SEATS, *(policy_view(camera) for camera in cameras))
        self._view = 0
        self._notices: list[tuple[str, float]] = []
        self._weathers = cycle(WEATHERS)
        self._help, self._hud, self._blinker = False, True, 0
        self._inset: pygame.Surface | None = None
        self._inset_name = cameras[0].name if cameras else ""
        self.reasoning = ""
        self.alert: Alert | None = None

    @property
    def camera(self) -> CameraSpec:
        """The camera whose picture fills the window."""
        return self._views[self._view]

    @property
    def inset(self) -> pygame.Surface | None:
        """The policy's newest picture."""
        return self._inset

    def act(self, action: Action) -> bool:
        """Take a key that concerns the window alone; says whether the camera has changed."""
        if action is Action.CAMERA:
            self._view = (self._view + 1) % len(self._views)
            return True
        if action is Action.HELP:
            self._help = not self._help
        elif action is Action.HUD:
            self._hud = not self._hud
        elif action is Action.BLINK_LEFT:
            self._blinker = 0 if self._blinker == -1 else -1
        elif action is Action.BLINK_RIGHT:
            self._blinker = 0 if self._blinker == 1 else 1
        return False

    def weather(self) -> str:
        """The next weather, by CARLA's name."""
        return next(self._weathers)

    def say(self, text: str, now_s: float) -> None:
        """Show a notice for a while."""
        self._notices.insert(0, (text, now_s + NOTICE_S))

    def frame(self, frame: Frame) -> None:
        """The policy's newest picture."""
        height, width = frame.images.shape[1:3]
        self._inset = pygame.image.frombuffer(frame.images[0].tobytes(), (width, height), "RGB")

    def words(self, text: str) -> None:
        """The policy's newest reasoning."""
        self.reasoning = "" if self._info.hide_words else sentence(text)

    def state(
        self,
        pilot: Pilot,
        tape: Tape,
        turn: Turn | None,
        device: DeviceState,
        prompt: ReasonPrompt | None,
        now_s: float,
        *,
        paused: bool,
        resumes_s: float | None,
        real_time_factor: float,
        fps: float,
    ) -> HudState:
        """Everything that the HUD shows now; `alert` is set beside it, for the chimes."""
        moment, handover = pilot.moment, pilot.handover
        self._notices = [(text, until_s) for text, until_s in self._notices if until_s > now_s]
        override = turn.decision.override if turn is not None else False
        plan_age_s = pilot.plan_age_s(now_s)
        lost = not device.connected
        self.alert = alert_of(handover, now_s, plan_age_s=plan_age_s, override=override, device_lost=lost)
        if tape.problem and (self.alert is None or self.alert.priority < TABLE["faulted"].priority):
            self.alert = TABLE["faulted"]
        alert = self.alert
        plan_m = None
        if pilot.plan is not None and plan_age_s < math.inf:
            pose = pilot.pose_of(pilot.plan.tick)
            plan_m = from_now(pilot.plan.waypoints_m, pose, moment.ego, plan_age_s) if pose else None
        driving = pilot.authority is Authority.DRIVER
        countdown_s = handover.countdown_s(now_s, plan_age_s)
        probation = handover.state is HandoverState.PROBATION
        return HudState(
            authority=pilot.authority,
            handover=handover.state,
            blend=handover.blend(now_s),
            countdown_s=countdown_s if countdown_s < math.inf else None,
            probation_s=handover.config.probation_s - (now_s - handover.since_s) if probation else None,
            alert=alert.text if alert is not None else "",
            alert_detail=alert.detail if alert is not None else "",
            alert_level=_LEVELS[alert.status] if alert is not None else Level.INFO,
            speed_mps=moment.ego.speed_mps,
            limit_mps=moment.speed_limit_mps,
            ttc_s=moment.ttc_s,
            red_light=moment.red_light_ahead,
            time_s=moment.time_s,
            camera=self.camera,
            inset=self._inset_name,
            plan_m=plan_m,
            plan_age_s=plan_age_s,
            driver_m=driver_path(moment.ego.speed_mps, moment.ego.steer_rad) if driving else None,
            reasoning=self.reasoning,
            generation=self._info.generation,
            device=device.control if device.connected and device.trusted else None,
            executed=turn.decision.control if turn is not None else HudState().executed,
            ghost_steer=turn.decision.ghost_steer if turn is not None and turn.policy is not None else None,
            reverse=device.reverse,
            handbrake=device.handbrake,
            blinker=self._blinker,
            recording=tape.recording,
            practice=self._info.practice,
            paused=paused,
            resumes_s=resumes_s,
            takeovers=tape.takeovers,
            scenario=self._scenario,
            episode=self._info.episode,
            progress_m=moment.route_progress_m,
            route_m=moment.route_length_m,
            real_time_factor=real_time_factor,
            fps=fps,
            help_visible=self._help,
            hud_visible=self._hud,
            notices=tuple(Notice(text, until_s - now_s) for text, until_s in self._notices),
            prompt=prompt,
            blink=(now_s / BLINK_S) % 1.0,
        )


def sentence(text: str) -> str:
    """A C-CoT as people read it; one that is broken, and other text, word by word, without action tokens and brackets."""
    text = text.split("<a", 1)[0].strip()
    try:
        steps = json.loads(text)
    except ValueError:
        return (
            " ".join(re.sub(r'[{}\[\]"]', " ", text).replace("_", " ").split())
            .replace(" ,", ",")
            .replace(" :", ":")
        )
    if not isinstance(steps, dict):
        return text
    actions = steps.get("meta_actions") or [["", ""]]
    parts = [steps.get("scene", ""), steps.get("critical_object", ""), steps.get("current_risk", "")]
    said = "; ".join(str(part) for part in parts if part)
    return f"{said}. {', '.join(str(word) for word in actions[0])}."
