"""What a driver said of a drive: events of the episode, and annotations given after it was sealed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..store.episodes import EpisodeReader, EventRow
from ..vocabulary import Reason, Verdict

# Kinds of events.
TAKEOVER = "takeover"  # reason ("" for none given), channel: what it was made with
LABEL = "label"  # onset_tick, verdict, reason; "" for what it does not say
GAS = "gas_override"  # the driver's foot adds to the policy's throttle from here on, the policy steers
GAS_END = "gas_override_end"
WEATHER = "weather"  # preset: another weather from the next tick on, by CARLA's name
PRACTICE = "practice"  # the driver is learning the cockpit: the whole episode never trains


@dataclass(frozen=True, slots=True)
class DriverWords:
    """What the driver said of one drive; takeovers are named by their onset tick.

    Attributes:
        reasons: Why, as far as it was given.
        verdicts: What it was worth, as far as it was given.
        channels: brake, throttle, steer or button.
        gas: [start, end) of momentary overrides by gas alone.
        practice: The episode was practice.
        discarded: The driver discarded the whole episode.
    """

    reasons: Mapping[int, Reason] = field(default_factory=dict)
    verdicts: Mapping[int, Verdict] = field(default_factory=dict)
    channels: Mapping[int, str] = field(default_factory=dict)
    gas: tuple[tuple[int, int], ...] = ()
    practice: bool = False
    discarded: bool = False


def driver_words(reader: EpisodeReader, annotations: Sequence[Mapping[str, Any]] = ()) -> DriverWords:
    """Collect them; a later word on the same thing replaces an earlier one.

    Args:
        reader: The episode.
        annotations: Its rows of the table `annotations`, oldest first.
    """
    reasons: dict[int, Reason] = {}
    verdicts: dict[int, Verdict] = {}
    channels: dict[int, str] = {}
    for event in reader.events:
        if event.kind == TAKEOVER:
            channels[event.tick] = str(event.data.get("channel", ""))
        if event.kind in (TAKEOVER, LABEL):
            onset = int(event.data.get("onset_tick", event.tick))
            _say(reasons, verdicts, onset, event.data)
    discarded = False
    for row in annotations:
        if row["onset_tick"] is not None:
            _say(reasons, verdicts, int(row["onset_tick"]), row)
        elif row["verdict"]:
            discarded = Verdict(row["verdict"]) is not Verdict.GOOD
    last = int(reader.ticks["tick"][-1]) + 1 if len(reader.ticks["tick"]) else 0
    return DriverWords(
        reasons,
        verdicts,
        channels,
        gas=_gas(reader.events, last),
        practice=any(event.kind == PRACTICE for event in reader.events),
        discarded=discarded,
    )


def _say(
    reasons: dict[int, Reason], verdicts: dict[int, Verdict], onset: int, data: Mapping[str, Any]
) -> None:
    if data.get("reason"):
        reasons[onset] = Reason(data["reason"])
    if data.get("verdict"):
        verdicts[onset] = Verdict(data["verdict"])


def _gas(events: Iterable[EventRow], last: int) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    start: int | None = None
    for event in events:
        if event.kind == GAS and start is None:
            start = event.tick
        elif event.kind == GAS_END and start is not None:
            found.append((start, event.tick))
            start = None
    if start is not None:
        found.append((start, last))
    return tuple((a, b) for a, b in found if b > a)
