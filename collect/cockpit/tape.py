"""What of a cockpit's drive goes to the recorder, and how a recording ends, whatever ends it.

A tick's row needs the control that the world had when it made the tick, so rows lag one tick behind. A recorder that fails
does not end the drive: the driver is told and what was written is salvaged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from ...errors import TakeoverError
from ...store.episodes import InputSample, salvage
from ...vocabulary import Authority, EgoState, HandoverState, Outcome, Plan
from ..arbiter import Decision
from ..devices.state import Action, DeviceState
from ..driver_words import GAS, GAS_END, PRACTICE, TAKEOVER
from ..help_requests import REQUEST
from ..recorder import Recorder, Recording
from ..takeover_intent import Channel
from .messages import SetOut, Step
from .pilot import Turn

HANDBACK, REFUSED = "handback", "handback_refused"
_CHANNELS = {Channel.STEERING: "steer"}  # the others are named as in the events


class Tape:
    """Records one episode.

    Args:
        root: The `episodes` folder.
        recording: Identity of the episode; None records nothing.
        set_out: The built case.
        practice: Marks the episode as practice.

    Attributes:
        problem: Why nothing more is recorded; "" while all is well.
        path: Folder of the sealed or salvaged episode, set at the end.
        takeovers: So far, by the rows.
        onsets: Ticks at which they began.
    """

    def __init__(
        self, root: Path, recording: Recording | None, set_out: SetOut, *, practice: bool = False
    ) -> None:
        self._root, self._recording, self._set_out = root, recording, set_out
        self._recorder = Recorder(root, recording, set_out, patience_s=0.0) if recording is not None else None
        self._practice = practice
        self._thread: threading.Thread | None = None
        self._authority = Authority.POLICY
        self._gas = self._asked = False
        self._refused_s = 0.0
        self._before = set_out.moment
        self._samples: list[InputSample] = []
        self._last: tuple[object, ...] = ()
        self.problem = ""
        self.path: Path | None = None
        self.onsets: list[int] = []
        self.handbacks: list[int] = []

    @property
    def takeovers(self) -> int:
        """So far."""
        return len(self.onsets)

    @property
    def recording(self) -> bool:
        """Whether the recorder is at work."""
        return self._recorder is not None and not self.problem

    def open(self) -> None:
        """Make the folder, on a thread: it waits for the disk. Nothing may be given while it is `busy`."""
        self._run(self._open)

    @property
    def busy(self) -> bool:
        """Opening or ending is under way."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self, timeout_s: float) -> None:
        """Wait until it is not `busy`."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, name="tape", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        self._give(recorder.open, self._set_out.moment)
        if self._practice:
            self._give(recorder.on_event, PRACTICE, 0, {})

    def inputs(self, device: DeviceState, actions: tuple[Action, ...]) -> None:
        """Hands and feet at one turn; kept when anything changed."""
        now = (
            device.source, device.steer, device.throttle, device.brake, device.handbrake,
            device.reverse, device.connected, device.trusted, device.raw,
        )  # fmt: skip
        if now == self._last and not actions:
            return
        self._last = now
        self._samples.append(InputSample(device.time_s, *now, tuple(action.value for action in actions)))

    def plan(self, plan: Plan, pose: EgoState) -> None:
        """A plan was made at `pose`."""
        if self._recorder is not None:
            self._give(self._recorder.on_plan, plan, pose)

    def event(self, kind: str, tick: int, data: Mapping[str, object]) -> None:
        """Something that has no place on the tick."""
        if self._recorder is not None:
            self._give(self._recorder.on_event, kind, tick, dict(data))

    def step(self, step: Step, turn: Turn) -> Decision:
        """A tick was made: the row of the moment before it is complete.

        Args:
            step: The world's report.
            turn: What was executed.

        Returns:
            The decision of that row, with the control that the server had.
        """
        before = self._before
        decision = Decision(
            step.executed,
            turn.decision.authority,
            turn.decision.state,
            turn.decision.override,
            turn.decision.ghost_steer,
        )
        self._marks(before.tick, decision, turn)
        samples, self._samples = tuple(self._samples), []
        self._before = step.moment
        if self._recorder is not None:
            if samples:
                self._give(self._recorder.on_inputs, before.tick, samples)
            self._give(self._recorder.on_moment, before, decision, turn.policy, turn.driver, turn.plan)
        return decision

    def _marks(self, tick: int, decision: Decision, turn: Turn) -> None:
        """Events that follow from who drove; what the world does while the cockpit hangs is nobody's doing."""
        if decision.authority is Authority.SAFE_STOP and turn.handover.authority is not Authority.SAFE_STOP:
            return
        was, now = self._authority, decision.authority
        self._authority = now
        if now is Authority.DRIVER and was is not Authority.DRIVER:
            self.onsets.append(tick)
            channel = turn.intent.channel
            data: dict[str, object] = {"reason": "", "channel": _CHANNELS.get(channel, channel.value)}
            if turn.handover.reaction_s is not None:
                data |= {"requested": True, "reaction_s": turn.handover.reaction_s}
            self.event(TAKEOVER, tick, data)
        elif was is Authority.DRIVER and now is not Authority.DRIVER:
            self.handbacks.append(tick)
            self.event(HANDBACK, tick, {"to": now.value})
        asked = decision.state is HandoverState.REQUESTED
        if asked and not self._asked and turn.handover.help is not None:
            self.event(REQUEST, tick, {"why": turn.handover.help.value})
        self._asked = asked
        handover = turn.handover
        if handover.refusal is not None and handover.refused_s != self._refused_s:
            self._refused_s = handover.refused_s
            self.event(REFUSED, tick, {"why": handover.refusal.value})
        if decision.override != self._gas:
            self._gas = decision.override
            self.event(GAS if self._gas else GAS_END, tick, {})

    def finish(self, outcome: Outcome) -> None:
        """Seal the episode, on a thread; `busy` until it is done. What cannot be sealed is salvaged."""
        self._run(lambda: self._finish(outcome))

    def _finish(self, outcome: Outcome) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        if not self.problem:
            try:
                self.path = recorder.on_end(outcome)
                return
            except (TakeoverError, OSError) as error:
                self.problem = str(error)
        self._salvage(recorder, outcome.end)

    def lose(self, end: str) -> None:
        """The world is gone: keep what was recorded, as truncated, on a thread."""
        if self._recorder is not None:
            recorder = self._recorder
            self._run(lambda: self._salvage(recorder, end))

    def _salvage(self, recorder: Recorder, end: str) -> None:
        assert self._recording is not None
        try:
            recorder.abort()
            self.path = salvage(self._root / self._recording.episode_id, end=end)
        except (TakeoverError, OSError) as error:
            self.problem = self.problem or str(error)

    def _give(self, method: Callable[..., None], *args: object) -> None:
        if self.problem:
            return
        try:
            method(*args)
        except (TakeoverError, OSError) as error:
            self.problem = str(error)
