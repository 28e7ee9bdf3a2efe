"""The real window: SDL, devices, HUD, and the children that drive. What a `Sitting` asks for is done here."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

import pygame

from ...config import DriveConfig, SimConfig
from ...errors import TakeoverError
from ..devices.console import folder_of
from ..devices.devices import Devices
from ..devices.keyboard import HELP
from . import screens
from .app import DriveSettings, End, drive_episode
from .dash import EpisodeInfo
from .demo_keys import Demo
from .hud import Hud
from .hud_state import HIDDEN
from .links import Links, LinkSettings
from .screens import QUIT, Page, WaitPage
from .sitting import Car, Driven, DriveOrder
from .sound import Chimes
from .views import HEIGHT_PX, WIDTH_PX

TITLE = "takeover"


def open_surface() -> pygame.Surface:
    """The window; on X11 in memory that is shared with the screen.

    Left to itself SDL shows a window's pixels as an OpenGL texture: where no graphics card draws it, that takes 7 ms of
    processor a picture.
    """
    pygame.display.init()
    if pygame.display.get_driver() == "x11":  # Wayland has nothing but the texture
        os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
    return pygame.display.set_mode((WIDTH_PX, HEIGHT_PX))


class CockpitWindow:
    """One window for one sitting; a context manager.

    Args:
        home: The home folder: episodes, wheel profiles, logs.
        config: Of the sitting.
        sim: Where the world runs.
        demo: Drives the keys itself, without a screen.

    Raises:
        TakeoverError: No window can be opened.
    """

    def __init__(self, home: Path, config: DriveConfig, sim: SimConfig, *, demo: bool = False) -> None:
        self._home, self._config, self._sim = home, config, sim
        if demo:
            os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"
        self._links: Links | None = None
        try:
            self._surface = open_surface()
        except pygame.error as error:
            raise TakeoverError(
                f"no window: {error}", fix="set DISPLAY, or try `loop drive --headless-demo`"
            ) from error
        pygame.display.set_caption(TITLE)
        pygame.key.set_repeat(400, 40)
        self._devices = Devices(config.wheel or None, folder=folder_of(home))
        self._hud = Hud((WIDTH_PX, HEIGHT_PX), HELP)
        self._chimes = Chimes()
        self._demo = Demo() if demo else None

    def __enter__(self) -> CockpitWindow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._demo is not None:
            self._demo.close()
        if self._links is not None:
            self._links.close()
        self._devices.close()
        pygame.display.quit()

    def show(self, page: Page) -> str:
        """Run a page up to its answer; Ctrl-C and SIGTERM leave it."""

        def stop(number: int, frame: FrameType | None) -> None:
            page.answer = QUIT

        handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        if self._demo is not None:
            self._demo.at(page.name)
        try:
            return screens.show(page, self._surface, self._devices, self._hud.text)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def work(self, title: str, words: str, task: Callable[[], None]) -> None:
        """Do something that takes seconds while the window goes on answering.

        Raises:
            Exception: What the task raised.
        """
        page, errors = WaitPage(title, words), list[BaseException]()

        def run() -> None:
            try:
                task()
            except BaseException as error:  # raised below, on the thread that asked
                errors.append(error)
            page.answer = page.answer or "done"

        thread = threading.Thread(target=run, name="work")
        thread.start()
        screens.show(page, self._surface, self._devices, self._hud.text)
        thread.join()
        if errors:
            raise errors[0]

    def prepare(self, car: Car) -> None:
        """Start the children, or give the policy process another generation; waits for neither."""
        wanted = LinkSettings(
            car.weights,
            car.generation,
            carla=self._sim.carla,
            timeout_s=self._sim.timeout_s,
            words=not self._config.blind,
            logs=self._home / "logs",
        )
        if self._links is None:
            self._links = Links(wanted)
        elif (self._links.settings.policy, self._links.settings.generation) != (car.weights, car.generation):
            self._links.use(wanted)

    def drive(self, order: DriveOrder) -> Driven:
        """One drive in real time."""
        self.prepare(order.car)
        links = self._links
        assert links is not None
        if links.world.fault:
            links.world.restart()
        # The old page would look frozen while the children start and the case is built.
        title = f"Drive {order.label}" if order.label[:1].isdigit() else "Practice"
        WaitPage(title, "The world is being built …").draw(self._surface, self._hud.text)
        pygame.display.flip()
        ended = drive_episode(
            links,
            order.recording.case,
            self._devices,
            self._surface,
            self._hud if self._demo is None else self._demo.watching(self._hud),
            episodes=self._home / "episodes",
            recording=order.recording,
            info=EpisodeInfo(
                generation=HIDDEN if order.blind else order.car.generation,
                episode=title.lower(),
                practice=order.practice,
                hide_words=order.blind,
                sure_because=order.sure_because,
            ),
            settings=DriveSettings(unsure_m=order.unsure_m),
            chime=self._chimes.play,
        )
        return Driven(
            ended.outcome,
            ended.path,
            ended.driven_s,
            left=ended.end in (End.QUIT, End.STOPPED),
            stopped=ended.end is End.STOPPED,
            again=ended.end is End.RESPAWN,
            fault=ended.problem if ended.end is End.WORLD_LOST else "",
            unrecorded=ended.problem if ended.end is not End.WORLD_LOST else "",
        )
