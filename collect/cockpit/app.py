"""The real-time loop of one episode: window, hands, decisions, on the main thread.

A turn begins with an event or after 10 ms, whatever comes first, and its first act is to send the control. Policy, world,
pictures and recorder have processes and threads of their own; a turn takes what they have finished and waits for none.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pygame

from ...sim_bridge.moment import Moment
from ...vocabulary import Authority, Case, Outcome, Plan
from ..alerts import Sound
from ..devices.state import Action, DeviceState
from ..driver_words import WEATHER
from ..help_requests import HelpMonitor
from ..recorder import Recording
from ..session import POLICY_FRAMES, policy_input, with_ledger
from .dash import Dash, EpisodeInfo
from .gauges import words_of
from .labels import LABEL_EVENT, LabelPrompt
from .layers import surface_of
from .links import Links
from .messages import Question, SetOut, Step
from .painter import Painter, Prepares
from .pause import Pause
from .pilot import Pilot, Turn
from .revival import Revival
from .tape import Tape
from .terms import DriveSettings, End, EpisodeEnd, Hands, broken_off

__all__ = ["DriveSettings", "End", "EpisodeEnd", "Hands", "drive_episode"]

SWITCH_S = 0.0005  # threads hand the interpreter over quickly while a drive runs


def drive_episode(
    links: Links,
    case: Case,
    devices: Hands,
    window: pygame.Surface,
    hud: Prepares,
    *,
    episodes: Path,
    recording: Recording | None,
    info: EpisodeInfo | None = None,
    settings: DriveSettings | None = None,
    chime: Callable[[Sound], None] | None = None,
) -> EpisodeEnd:
    """Drive one episode; the main thread's work until it is sealed.

    Args:
        links: World and policy.
        case: What to drive.
        devices: Hands and feet.
        window: SDL's window.
        hud: Prepares what lies over the picture; not used elsewhere meanwhile.
        episodes: The `episodes` folder.
        recording: Identity of the recording; None records nothing.
        info: What the HUD says of the episode.
        settings: Rates and times.
        chime: Plays a sound.
    """
    loop = EpisodeLoop(
        links, case, devices, window, hud, episodes, recording,
        info or EpisodeInfo(), settings or DriveSettings(), chime or (lambda _: None),
    )  # fmt: skip
    handlers = {number: signal.signal(number, loop.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        return loop.run()
    finally:
        loop.close()
        sys.setswitchinterval(switch_s)
        for number, handler in handlers.items():
            signal.signal(number, handler)


class EpisodeLoop:
    """One episode; `drive_episode` is the door."""

    def __init__(
        self,
        links: Links,
        case: Case,
        devices: Hands,
        window: pygame.Surface,
        hud: Prepares,
        episodes: Path,
        recording: Recording | None,
        info: EpisodeInfo,
        settings: DriveSettings,
        chime: Callable[[Sound], None],
    ) -> None:
        self._links, self._case, self._devices, self._window = links, case, devices, window
        self._episodes, self._recording, self._info = episodes, recording, info
        self._settings, self._chime = settings, chime
        self._painter = Painter(hud, settings.fps)
        self._prompt = LabelPrompt()
        self._end: End | None = None
        self._outcome: Outcome | None = None
        self._problem = ""
        self._past: list[Moment] = []
        self._asked: dict[int, bool] = {}  # tick of a question: whether its plan is a shadow
        self._pause = Pause()
        self._turn: Turn | None = None
        self._wheel: float | None = None  # where the wheel shall follow
        self._device = DeviceState()
        self._factor = 1.0
        self._revival = Revival(links.brain)
        self._sounding = ""
        self._next_s = time.monotonic()
        self._shown_s = 0.0

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: end the episode in good order."""
        self._finish(End.STOPPED)

    def run(self) -> EpisodeEnd:
        """From building the world to the sealed episode."""
        self._links.world.set_up(self._case)
        set_out = self._await_set_out()
        if set_out is None:
            return self._result(None)
        self._tape = Tape(self._episodes, self._recording, set_out, practice=self._info.practice)
        self._tape.open()
        try:
            self._run(set_out)
        except BaseException:  # a bug, not a fault: what was driven is kept all the same
            self._links.world.run(False)
            self._tape.lose("aborted")
            self._tape.wait(self._settings.end_s)
            raise
        return self._result(self._close_tape())

    def _run(self, set_out: SetOut) -> None:
        self._begin(set_out)
        asked_s = time.monotonic()
        while self._end is None and (self._tape.busy or self._lacks_plan(asked_s)):
            self._idle()
        if self._end is None:
            self._drive()  # the first control is there before the first tick
            self._links.world.run(True)
        while self._end is None:
            self._drive()
        self._links.world.run(False)

    def close(self) -> None:
        """Let the painter go, and the wheel."""
        self._devices.hold(None, self._device)
        self._painter.close()

    def _await_set_out(self) -> SetOut | None:
        until_s = time.monotonic() + self._settings.set_up_s
        while self._end is None:
            events, actions = self._events()
            self._leave(events, actions)
            for message in self._links.world.take():
                if isinstance(message, SetOut):
                    return message
            self._watch_children()
            if time.monotonic() > until_s:
                self._problem = (
                    f"the world did not build {self._case.case_id} in {self._settings.set_up_s:g} s"
                )
                self._finish(End.WORLD_LOST)
        return None

    def _begin(self, set_out: SetOut) -> None:
        monitor = HelpMonitor(self._settings.unsure_m)
        self._pilot = Pilot(set_out.moment, arbiter=self._settings.arbiter, monitor=monitor)
        self._past = [*set_out.history, set_out.moment]
        self._dash = Dash(self._info, self._case.scenario, set_out.cameras)
        if self._info.sure_because:
            self._dash.say(f"never asks when unsure: {self._info.sure_because}", self._now_s())
        self._links.world.look(self._dash.camera)
        self._ask(set_out.moment)

    def _lacks_plan(self, asked_s: float) -> bool:
        waited_s = time.monotonic() - asked_s
        return self._pilot.plan is None and waited_s < self._settings.first_plan_s

    def _idle(self) -> None:
        """A turn before time passes."""
        events, actions = self._events()
        self._leave(events, actions)
        self._dash_actions(actions)
        self._links.world.take()
        if not self._tape.busy:
            self._answers()
        self._watch_children()
        self._show()

    def _drive(self) -> None:
        """A turn of the drive."""
        pilot = self._pilot
        events, actions = self._events()
        if not self._pause.held:
            turn = pilot.turn(self._device, (*self._pause.kept(), *actions), self._now_s())
            self._links.world.order(turn.order)  # first of all
            self._turn = turn
            by_policy = turn.decision.authority is Authority.POLICY
            self._wheel = turn.decision.control.steer if by_policy else None
        self._devices.hold(self._wheel, self._device)
        self._tape.inputs(self._device, actions)
        self._leave(events, actions)
        self._hold(actions)
        self._dash_actions(actions)
        self._say(actions)
        self._steps()
        self._answers()
        self._watch_children()
        self._show()

    def _events(self) -> tuple[list[Any], tuple[Action, ...]]:
        """Wait for an event or the next turn; then all that came, and what the devices make of it."""
        left_s = self._next_s - time.monotonic()
        first = pygame.event.wait(max(round(left_s * 1000.0), 1)) if left_s > 0.0005 else None
        now_s = time.monotonic()
        self._next_s = max(self._next_s, now_s - 1.0 / self._settings.loop_hz)
        if now_s >= self._next_s:
            self._next_s += 1.0 / self._settings.loop_hz
        events = [
            *([first] if first is not None and first.type != pygame.NOEVENT else []),
            *pygame.event.get(),
        ]
        self._device, actions = self._devices.poll(events, now_s)
        return events, actions

    def _now_s(self) -> float:
        """Monotonic time without pauses."""
        return self._pause.drive_s(time.monotonic())

    def _leave(self, events: list[Any], actions: tuple[Action, ...]) -> None:
        if any(event.type == pygame.QUIT for event in events):
            self._finish(End.STOPPED)
        elif Action.QUIT in actions:
            self._finish(End.QUIT)
        elif Action.RESPAWN in actions:
            self._finish(End.RESPAWN)

    def _finish(self, end: End) -> None:
        if self._end is None:
            self._end = end

    def _hold(self, actions: tuple[Action, ...]) -> None:
        """Pauses: the world stands still, and says when it goes on."""
        now_s, tick = time.monotonic(), self._pilot.moment.tick
        if Action.PAUSE in actions and self._pause.press(now_s):
            self._links.world.run(False)
            self._tape.event("pause", tick, {})
        lasted_s = self._pause.watch(actions, now_s)
        if lasted_s is not None:
            self._links.world.run(True)
            self._tape.event("resume", tick, {"paused_s": lasted_s})

    def _dash_actions(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if self._dash.act(action):
                self._links.world.look(self._dash.camera)
        for text in self._devices.notices():
            self._dash.say(text, self._now_s())

    def _say(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            label = self._prompt.act(action.value, self._now_s())
            if label is not None:
                self._tape.event(LABEL_EVENT, self._pilot.moment.tick, label.data)
                self._dash.say(label.words, self._now_s())
            elif action is Action.NOTE:
                self._tape.event("mark", self._pilot.moment.tick, {})
                self._dash.say("marked for a note", self._now_s())
            elif action is Action.RECORD:
                self._dash.say("every drive is recorded whole", self._now_s())
            elif action is Action.WEATHER:
                preset = self._dash.weather()
                self._links.world.weather(preset)
                self._tape.event(WEATHER, self._pilot.moment.tick, {"preset": preset})
                self._dash.say(f"weather: {words_of(preset).lower()}", self._now_s())

    def _steps(self) -> None:
        pilot = self._pilot
        for step in self._links.world.take():
            if not isinstance(step, Step) or self._outcome is not None:
                continue
            onsets, handbacks = len(self._tape.onsets), len(self._tape.handbacks)
            turn = pilot.stepped(step, self._now_s())
            self._tape.step(step, turn)
            self._past.append(step.moment)
            self._factor = step.real_time_factor
            if len(self._tape.onsets) > onsets:
                self._prompt.takeover(self._tape.onsets[-1], self._now_s())
            if len(self._tape.handbacks) > handbacks:
                self._prompt.handback(self._now_s())
            if step.moment.done:
                self._outcome = step.moment.outcome
                self._finish(End.DONE)
            elif step.moment.frame is not None:
                self._ask(step.moment)

    def _ask(self, moment: Moment) -> None:
        if moment.frame is None:
            return
        self._dash.frame(moment.frame)
        view = policy_input(self._past, self._links.brain.frames or POLICY_FRAMES)
        question = Question(moment.tick, view)
        self._asked[moment.tick] = self._pilot.authority is not Authority.POLICY
        self._links.brain.ask(question)
        if self._links.words is not None:
            self._links.words.ask(question)

    def _answers(self) -> None:
        pilot = self._pilot
        for answer in self._links.brain.take():
            shadow = self._asked.pop(answer.tick, None)
            if shadow is None:
                continue  # of an episode before
            if answer.waypoints_m is None:
                self._tape.event("plan_unusable", answer.tick, {})
                continue
            plan = Plan(answer.waypoints_m, answer.tick, self._links.settings.generation, shadow)
            pose = pilot.pose_of(plan.tick)
            if pose is not None and pilot.answered(plan):
                self._tape.plan(plan, pose)
        if self._links.words is not None:
            for answer in self._links.words.take():
                self._tape.event("words", answer.tick, {"text": answer.text})
                self._dash.words(answer.text)

    def _watch_children(self) -> None:
        if self._links.world.fault:
            self._problem = self._links.world.fault
            self._finish(End.WORLD_LOST)
        lost = self._revival.watch()
        if lost and self._past:
            self._tape.event("policy_lost", self._pilot.moment.tick, {"why": lost})
            self._dash.say("the policy died: it is started again", self._now_s())

    def _show(self) -> None:
        pilot = self._pilot
        now_s = time.monotonic()
        if now_s - self._shown_s >= 0.5 / self._settings.fps:
            self._shown_s = now_s
            state = self._dash.state(
                pilot,
                self._tape,
                self._turn,
                self._device,
                self._prompt.prompt(self._now_s()),
                self._now_s(),
                paused=self._pause.held,
                resumes_s=self._pause.left_s(now_s),
                real_time_factor=self._factor,
                fps=self._painter.fps,
            )
            self._painter.show(state, self._dash.inset)
            alert = self._dash.alert
            name = alert.name if alert is not None else ""
            if name != self._sounding:
                self._sounding = name
                if alert is not None:
                    self._chime(alert.sound)
        layers = self._painter.take()
        if layers is not None:
            picture = self._links.world.picture()
            layers.put(self._window, surface_of(picture) if picture is not None else None)
            pygame.display.flip()

    def _close_tape(self) -> Path | None:
        """Seal or salvage, and go on answering the window meanwhile."""
        if self._end is End.WORLD_LOST:
            self._tape.lose("sim_fault")
        else:
            outcome = self._outcome or broken_off(self._past)
            self._outcome = with_ledger(outcome, self._past, self._tape.takeovers)
            self._tape.finish(self._outcome)
        until_s = time.monotonic() + self._settings.end_s
        while self._tape.busy and time.monotonic() < until_s:
            self._events()
            self._show()
        if self._tape.busy:
            self._problem = "the disk does not take the end of the episode; `loop doctor` salvages it"
        return self._tape.path

    def _result(self, path: Path | None) -> EpisodeEnd:
        assert self._end is not None
        tape = self._tape if self._past else None
        outcome = self._outcome or Outcome(success=False, rc=0.0, ds=0.0, end="sim_fault")
        if self._end is not End.WORLD_LOST and self._outcome is None:
            outcome = replace(outcome, end="aborted")
        return EpisodeEnd(
            self._end,
            outcome,
            path,
            tuple(tape.onsets) if tape is not None else (),
            self._problem or (tape.problem if tape is not None else ""),
            self._past[-1].time_s if self._past else 0.0,
        )
