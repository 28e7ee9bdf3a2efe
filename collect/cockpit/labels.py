"""The question after a takeover: one key says what it was worth, one says why; the car goes on meanwhile.

A label belongs to the newest takeover. It may be given within `LABEL_WINDOW_S` of the takeover or of its hand-back, by any
key in any order, and a later key replaces an earlier one. The answers are events of the episode; `collect/labels.py` reads
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...vocabulary import Reason, Verdict
from .hud_state import ReasonPrompt

LABEL_WINDOW_S = 10.0
LABEL_EVENT = (
    "label"  # kind of the event; data: onset_tick, verdict, reason ("" for what this key does not say)
)
VERDICTS: dict[str, Verdict] = {verdict.value: verdict for verdict in Verdict}  # by the name of the action
REASONS: dict[str, Reason] = {
    f"reason_{number}": reason
    for number, reason in enumerate((r for r in Reason if r is not Reason.TRAINING), start=1)
}
WORDS: dict[str, str] = {
    "good": "good",
    "mistake": "my mistake",
    "discard": "discard",
    "collision_risk": "collision risk",
    "rule": "rule",
    "too_slow": "too slow",
    "lane_or_route": "lane or route",
    "comfort": "comfort",
    "other_vehicle": "other vehicle",
    "wish": "my wish",
    "system_fault": "system fault",
}
# Why a takeover gave no pair, by the most frequent reason of its candidates (`pair_gates`), for people.
WHY_NOT: dict[str, str] = {
    "reason_training": "practice",
    "reason_wish": "your wish: no lesson",
    "reason_system_fault": "system fault: no lesson",
    "verdict_mistake": "your mistake: no lesson",
    "verdict_discard": "discarded",
    "episode_never_trains": "this drive never trains",
    "too_short": "too short to compare",
    "not_visible": "the policy could not see it",
    "chosen_collides": "your way collided",
    "chosen_off_road": "your way left the road",
    "chosen_ttc": "your way came too close",
    "chosen_runs_red": "your way ran a red light",
    "no_information": "nothing was at stake",
    "score_gap": "not clearly better than its plan",
    "too_alike": "much like its plan",
}
KEYS: dict[str, str] = {"good": "G", "mistake": "M", "discard": "Del"}  # of `devices.keyboard`


@dataclass(frozen=True, slots=True)
class Label:
    """One answer about the takeover that began at `onset_tick`."""

    onset_tick: int
    says: Verdict | Reason

    @property
    def data(self) -> dict[str, object]:
        """Payload of the event."""
        verdict = isinstance(self.says, Verdict)
        return {
            "onset_tick": self.onset_tick,
            "verdict": self.says.value if verdict else "",
            "reason": "" if verdict else self.says.value,
        }

    @property
    def words(self) -> str:
        """For the notice on the HUD."""
        return WORDS[self.says.value]


class LabelPrompt:
    """The open question of one episode; time comes in as an argument."""

    def __init__(self) -> None:
        self._onset: int | None = None
        self._until_s = 0.0
        self._verdict: Verdict | None = None
        self._reason: Reason | None = None

    def takeover(self, onset_tick: int, now_s: float) -> None:
        """The driver has taken over: ask about this takeover from now on."""
        self._onset, self._until_s = onset_tick, now_s + LABEL_WINDOW_S
        self._verdict, self._reason = None, None

    def handback(self, now_s: float) -> None:
        """The driver has given the car back: the question stays for another window."""
        if self._onset is not None:
            self._until_s = now_s + LABEL_WINDOW_S

    def act(self, action: str, now_s: float) -> Label | None:
        """Take a key.

        Args:
            action: Name of a `devices.state.Action`: good, mistake, discard, reason_1 to reason_8; others are ignored.
            now_s: Present time.

        Returns:
            The label to store, or None when the key says nothing or comes too late.
        """
        if self._onset is None or now_s > self._until_s:
            return None
        if action in VERDICTS:
            self._verdict = VERDICTS[action]
            return Label(self._onset, self._verdict)
        if action in REASONS:
            self._reason = REASONS[action]
            return Label(self._onset, self._reason)
        return None

    def left_s(self, now_s: float) -> float:
        """Until the question goes away; 0 while there is none."""
        return max(self._until_s - now_s, 0.0) if self._onset is not None else 0.0

    def prompt(self, now_s: float) -> ReasonPrompt | None:
        """What the HUD shows; None while there is nothing to ask."""
        if self.left_s(now_s) <= 0.0:
            return None
        chosen = (value for value in (self._verdict, self._reason) if value is not None)
        return ReasonPrompt(
            left_s=self.left_s(now_s),
            choices=tuple((action.removeprefix("reason_"), WORDS[r.value]) for action, r in REASONS.items()),
            verdicts=tuple((KEYS[name], WORDS[name]) for name in VERDICTS),
            chosen=tuple(WORDS[value.value] for value in chosen),
        )
