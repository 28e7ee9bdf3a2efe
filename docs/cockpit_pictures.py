"""Makes pictures of `cockpit.md` from recorded drives: `python -P docs/cockpit_pictures.py HOME`.

They are `pictures/cockpit-{autonomous,driver,states,replay}.png`; request, hand-back and end were taken from the window.
HOME holds the drives of a finished `loop run`. Roads, agents, speeds, plans and takeovers are recorded; they are drawn again
by the cockpit's own code. What unattended drives have not (a request for help, a hand-back, hands) is posed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame
from PIL import Image

from takeover.collect.alerts import TABLE
from takeover.collect.cockpit.hud import Hud
from takeover.collect.cockpit.hud_state import HudState, Level, Notice, ReasonPrompt
from takeover.collect.cockpit.labels import KEYS, REASONS, VERDICTS, WORDS
from takeover.collect.cockpit.overlay import driver_path
from takeover.collect.cockpit.recorded import Recorded
from takeover.collect.cockpit.replay import Theatre
from takeover.collect.cockpit.rerender import Rerenderer, weather_look
from takeover.collect.cockpit.views import CHASE, HEIGHT_PX, HOOD, WIDTH_PX
from takeover.collect.devices.keyboard import HELP
from takeover.store.episodes import EpisodeReader, sealed
from takeover.vocabulary import Authority, CameraSpec, Control, HandoverState

PICTURES = Path(__file__).parent / "pictures"
SIZE = (WIDTH_PX, HEIGHT_PX)
WEATHER: dict[str, dict[str, float]] = {
    "day": {},
    "night": {"sun_altitude_angle": -30.0},
    "rain": {"precipitation": 70.0, "cloudiness": 90.0, "wetness": 80.0, "sun_altitude_angle": 30.0},
}


@dataclass(frozen=True)
class Shot:
    """One picture: a scenario, a moment relative to its takeover, and what is posed."""

    name: str
    scenario: str
    after_s: float
    camera: CameraSpec
    weather: str
    pose: Callable[[HudState], HudState]


def in_charge(state: HudState) -> HudState:
    """The policy drives and says why."""
    return replace(
        state,
        authority=Authority.POLICY,
        handover=HandoverState.AUTONOMOUS,
        takeovers=0,
        driver_m=None,
        device=None,
        ghost_steer=None,
        notices=(),
        reasoning="People wait beside the crossing. If I keep my speed one may step out before me. So I slow down "
        "and keep my lane.",
    )


def asks(state: HudState) -> HudState:
    """The policy asks for help."""
    told = TABLE["prompt"]
    return replace(
        in_charge(state),
        handover=HandoverState.REQUESTED,
        countdown_s=4.2,
        alert=told.text,
        alert_detail=told.detail,
        alert_level=Level.WARNING,
        reasoning="",
        blink=0.1,
    )


def driving(state: HudState) -> HudState:
    """The driver has the car; the question is asked."""
    asked = ReasonPrompt(
        7.0,
        tuple((name.removeprefix("reason_"), WORDS[reason.value]) for name, reason in REASONS.items()),
        tuple((KEYS[name], WORDS[name]) for name in VERDICTS),
        ("collision risk",),
    )
    hands = Control(0.16, 0.0, state.executed.brake)
    return replace(
        state,
        authority=Authority.DRIVER,
        handover=HandoverState.DRIVER,
        device=hands,
        ghost_steer=-0.05,
        driver_m=driver_path(max(state.speed_mps, 4.0), 0.06),
        prompt=asked,
        reasoning="",
        notices=(Notice("you took over: brake"),),
    )


def handing_back(state: HudState) -> HudState:
    """Half of the blend."""
    return replace(
        in_charge(state),
        handover=HandoverState.HANDBACK,
        blend=0.55,
        takeovers=1,
        device=Control(0.05, 0.1, 0.0),
        ghost_steer=0.02,
        reasoning="",
        notices=(Notice("the policy takes the car from here"),),
    )


def probation(state: HudState) -> HudState:
    """The ten seconds after."""
    return replace(
        in_charge(state), handover=HandoverState.PROBATION, probation_s=7.4, takeovers=1, reasoning=""
    )


def stopping(state: HudState) -> HudState:
    """Nobody took over."""
    told = TABLE["stop_unanswered"]
    return replace(
        in_charge(state),
        authority=Authority.SAFE_STOP,
        handover=HandoverState.SAFE_STOP,
        alert=told.text,
        alert_detail=told.detail,
        alert_level=Level.CRITICAL,
        executed=Control(0.0, 0.0, 0.6),
        plan_m=None,
        reasoning="",
        blink=0.1,
    )


SHOTS = (
    Shot("autonomous", "PedestrianCrossing", -1.6, CHASE, "day", in_charge),
    Shot("request", "ConstructionObstacle", -0.8, CHASE, "rain", asks),
    Shot("driver", "DynamicObjectCrossing", 0.4, HOOD, "night", driving),
    Shot("handback", "ParkedObstacle", -1.0, CHASE, "day", handing_back),
    Shot("probation", "HardBreakRoute", -1.5, HOOD, "rain", probation),
    Shot("safe-stop", "OppositeVehicleRunningRedLight", -1.0, CHASE, "night", stopping),
)


def episode_of(home: Path, scenario: str) -> Path:
    """The first drive of a scenario with a takeover after two seconds."""
    for path in sealed(home / "episodes"):
        reader = EpisodeReader(path)
        taken = [event.tick for event in reader.events if event.kind == "takeover"]
        if reader.meta.case.scenario == scenario and taken and taken[0] > 45 and not reader.truncated:
            return path
    raise SystemExit(f"{home} holds no {scenario} with a takeover")


def draw(home: Path, shot: Shot, hud: Hud) -> pygame.Surface:
    """One picture of the window."""
    recorded = Recorded(episode_of(home, shot.scenario))
    reader, meta = recorded.reader, recorded.reader.meta
    tick = min(recorded.takeovers[0] + round(20 * shot.after_s), recorded.last)
    drawer = Rerenderer(meta.map_name, meta.map_sha256, meta.route_centerline_m, {})
    drawer.weather = weather_look(WEATHER[shot.weather])
    here = reader.ego(tick), reader.agents_at(tick), reader.lights(tick)
    own = meta.cameras[0]
    picture = pygame.image.frombuffer(drawer.picture(shot.camera, *here).data, SIZE, "BGRA")
    seen = drawer.picture(own, *here)
    seen[..., 3] = 255
    inset = pygame.image.frombuffer(seen.data, (own.width_px, own.height_px), "BGRA")
    state = replace(
        recorded.state(tick, shot.camera),
        replay=False,
        recording=True,
        fps=30.0,
        episode="drive 3 of 10",
        inset="what the policy sees",
    )
    surface = pygame.Surface(SIZE, 0, 32)
    hud.draw(surface, picture, shot.pose(state), inset)
    return surface


def colours(pictures: dict[str, pygame.Surface]) -> pygame.Surface:
    """All states side by side, small."""
    width, height = WIDTH_PX // 2, HEIGHT_PX // 2
    sheet = pygame.Surface((2 * width, 3 * height), 0, 32)
    for at, picture in enumerate(pictures.values()):
        small = pygame.transform.smoothscale(picture, (width, height))
        sheet.blit(small, (width * (at % 2), height * (at // 2)))
    return sheet


def replayed(home: Path) -> pygame.Surface:
    """The replay's window with its timeline."""
    theatre = Theatre(Recorded(episode_of(home, "ParkedObstacle")))
    theatre.player.seek(theatre.recorded.takeovers[0] + 8)
    surface = pygame.Surface(SIZE, 0, 32)
    theatre.draw(surface)
    return surface


def main(home: Path) -> None:
    """Draw and write."""
    pygame.font.init()
    hud = Hud(SIZE, HELP)
    pictures = {shot.name: draw(home, shot, hud) for shot in SHOTS}
    others = {"states": colours(pictures), "replay": replayed(home)}
    for name in ("request", "handback", "probation", "safe-stop"):
        del pictures[name]  # they are on the sheet of states
    for name, picture in {**pictures, **others}.items():
        rgb = Image.fromarray(pygame.surfarray.array3d(picture).swapaxes(0, 1))
        rgb.save(PICTURES / f"cockpit-{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
