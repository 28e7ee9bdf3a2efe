"""Everything that the HUD shows, as one frozen value; pictures travel beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from ...vocabulary import Authority, CameraSpec, Control, Float, HandoverState
from .views import CHASE

HIDDEN = "hidden"  # the generation's label in blind mode
NEUTRAL = Control()


class Level(StrEnum):
    """How loud an alert is: shown quietly, shown large, shown large and blinking."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that fades: what just happened.

    Attributes:
        text: One short sentence.
        left_s: Until it is gone; it fades in its last second.
    """

    text: str
    left_s: float = 4.0


@dataclass(frozen=True, slots=True)
class ReasonPrompt:
    """Asks after a takeover why it happened.

    Attributes:
        left_s: Until the question goes away.
        choices: (key, words) of the reasons, in order.
        verdicts: (key, words) of good, my mistake, discard.
        chosen: Words already chosen; shown as taken.
    """

    left_s: float
    choices: tuple[tuple[str, str], ...] = ()
    verdicts: tuple[tuple[str, str], ...] = ()
    chosen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HudState:
    """One picture's worth of facts.

    Paths are in the ego frame of the moment that the picture shows: `overlay.from_now` moves a plan there.

    Attributes:
        authority: Who moves the car.
        handover: State of the handover machine.
        blend: Share of the policy in the executed control, during the hand-back.
        countdown_s: Until the safe stop, while a takeover is requested; None for no countdown.
        probation_s: Left of the probation; None outside it.
        alert: Words of the alert that has priority; "" for none.
        alert_detail: What to do about it, smaller.
        alert_level: How loud it is.
        speed_mps: Along the heading, negative in reverse.
        limit_mps: Speed limit; 0 for unknown.
        ttc_s: Time to collision; inf for none.
        red_light: A red or yellow light of the route is near.
        time_s: Of the episode.
        camera: The camera whose picture fills the window; its `name` is the view's name.
        inset: Name of the picture in picture, "" for none.
        plan_m: (N, 2) the policy's plan, ego frame now; None without one. It is a shadow plan while the driver drives.
        plan_age_s: Age of the plan.
        driver_m: (N, 2) where the driver's wheel and speed lead, ego frame now; None while the policy drives.
        reasoning: The policy's words on this plan; "" for none.
        generation: Label of the generation in charge, or HIDDEN.
        device: What hands and feet ask for; None without a trusted device.
        executed: What the car is given.
        ghost_steer: Where the policy would have the wheel, in [-1, 1], positive left; None without a plan.
        reverse: The driver's gear is reverse.
        handbrake: It is pulled.
        blinker: -1 left, 1 right, 2 both, 0 none.
        recording: The recorder is at work.
        replay: This is a recording, watched.
        practice: Nothing of this is kept for training.
        paused: The driver paused the drive.
        resumes_s: Until a paused drive goes on; None while nobody has asked for it.
        takeovers: Of this episode.
        scenario: Its name.
        episode: "drive 3 of 10", or "".
        progress_m: Along the route.
        route_m: Length of the route; 0 for unknown.
        real_time_factor: Simulated per real second.
        fps: Pictures per second on this window.
        help_visible: The keys are shown.
        hud_visible: False shows only what must be seen: frame, banner, alerts, recording light.
        notices: Newest first.
        prompt: The question after a takeover.
        blink: Phase of everything that blinks, in [0, 1); the caller's clock, so that pictures repeat.
    """

    authority: Authority = Authority.POLICY
    handover: HandoverState = HandoverState.AUTONOMOUS
    blend: float = 1.0
    countdown_s: float | None = None
    probation_s: float | None = None
    alert: str = ""
    alert_detail: str = ""
    alert_level: Level = Level.INFO
    speed_mps: float = 0.0
    limit_mps: float = 0.0
    ttc_s: float = math.inf
    red_light: bool = False
    time_s: float = 0.0
    camera: CameraSpec = CHASE
    inset: str = ""
    plan_m: Float | None = field(default=None, compare=False)
    plan_age_s: float = 0.0
    driver_m: Float | None = field(default=None, compare=False)
    reasoning: str = ""
    generation: str = ""
    device: Control | None = None
    executed: Control = NEUTRAL
    ghost_steer: float | None = None
    reverse: bool = False
    handbrake: bool = False
    blinker: int = 0
    recording: bool = False
    replay: bool = False
    practice: bool = False
    paused: bool = False
    resumes_s: float | None = None
    takeovers: int = 0
    scenario: str = ""
    episode: str = ""
    progress_m: float = 0.0
    route_m: float = 0.0
    real_time_factor: float = 1.0
    fps: float = 0.0
    help_visible: bool = False
    hud_visible: bool = True
    notices: tuple[Notice, ...] = ()
    prompt: ReasonPrompt | None = None
    blink: float = 0.0
