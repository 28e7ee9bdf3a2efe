"""When the policy asks for help: how sure it is, measured by whether its plans agree, and where it has never driven.

`plan_disagreement_m` needs nothing of the model: a policy that changes its mind about the same seconds does not know.
Its threshold is no guess but computed from recorded drives for a rate of false requests that drivers accept, and it is
used only where enough was recorded (`Exposure`) and where, on drives that did not choose it, it foresees more than chance
does: on first drives of the tiny policy it did not (see `benchmarks/help_requests.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..scoring.frames import into_ego, into_world
from ..sim_bridge.moment import Moment
from ..store.episodes import EpisodeReader, sealed
from ..vocabulary import PLAN_HORIZON_S, PLAN_POINTS, PLAN_STEP_S, TICK_S, Authority, EgoState, Plan, Reason
from .handover import REQUEST_S, HelpReason

FALSE_PER_HOUR = (
    12.0  # the default rate; a rate below one request in all recorded hours cannot be told from none
)
RELEASE = 0.7  # a request's cause is gone below this share of the threshold
REQUEST = "request"  # kind of the event; data: why, a `HelpReason`
OFF_ROUTE_M = 5.5  # a lane and a half: passing an obstacle takes less
OFF_HEADING_RAD = 1.2
READ_HOURS = 4.0  # of the newest drives; older ones say little of what the generation meets now
LOOKED_AT = 800  # folders: a bound on the time before the first drive
_TIMES_S = np.arange(1, PLAN_POINTS + 1) * PLAN_STEP_S


def plan_disagreement_m(
    before: Plan, before_pose: EgoState, after: Plan, after_pose: EgoState
) -> float | None:
    """Mean distance between two plans of one policy over the time that both speak of.

    Args:
        before: The earlier plan, and the pose that it starts from.
        before_pose: Its frame.
        after: The later plan.
        after_pose: Its frame.

    Returns:
        Metres; None when they have no common waypoint time.
    """
    gap_s = (after.tick - before.tick) * TICK_S
    common = _TIMES_S + gap_s <= PLAN_HORIZON_S + 1e-9
    if gap_s <= 0.0 or not common.any():
        return None
    path = into_ego(into_world(np.vstack(([0.0, 0.0], before.waypoints_m)), before_pose), after_pose)
    times_s = np.concatenate(([0.0], _TIMES_S))
    at_s = _TIMES_S[common] + gap_s
    expected = np.column_stack([np.interp(at_s, times_s, path[:, axis]) for axis in (0, 1)])
    return float(np.hypot(*(after.waypoints_m[common] - expected).T).mean())


def out_of_domain(moment: Moment) -> bool:
    """The car is where no training drive was: off the road, far off its route or across it."""
    return (
        moment.off_road
        or abs(moment.lateral_error_m) > OFF_ROUTE_M
        or abs(moment.heading_error_rad) > OFF_HEADING_RAD
    )


class HelpMonitor:
    """Watches plans and moments of one episode and says when help is wanted.

    Args:
        threshold_m: Of `plan_disagreement_m`, from `calibrate`; inf (never unsure) for a policy that has not been
            calibrated, or whose calibration is not `informative`.
    """

    def __init__(self, threshold_m: float = math.inf) -> None:
        self._threshold_m = threshold_m
        self._last: tuple[Plan, EgoState] | None = None
        self._unsure = False
        self.disagreement_m = 0.0

    def on_plan(self, plan: Plan, pose: EgoState) -> None:
        """A plan was made at `pose`."""
        if self._last is not None:
            found = plan_disagreement_m(*self._last, plan, pose)
            if found is not None:
                self.disagreement_m = found
                limit_m = self._threshold_m * (RELEASE if self._unsure else 1.0)
                self._unsure = found > limit_m
        self._last = plan, pose

    def reset(self) -> None:
        """The car changed hands: plans of before say nothing about plans from now on."""
        self._last, self._unsure, self.disagreement_m = None, False, 0.0

    def help(self, moment: Moment) -> HelpReason | None:
        """Why help is wanted at this moment; None for no help. A late plan is the state machine's own reason."""
        if out_of_domain(moment):
            return HelpReason.OUT_OF_DOMAIN
        return HelpReason.LOW_CONFIDENCE if self._unsure else None


@dataclass(frozen=True, slots=True)
class ConfidenceTrace:
    """What calibration reads of one drive.

    Attributes:
        times_s: (N,) when the policy, having the car, had made a plan.
        disagreement_m: (N,) `plan_disagreement_m` of it and the one before.
        needed_s: When help was really needed: takeovers that the policy caused, and infractions while it drove.
        driven_s: How long the policy drove.
    """

    times_s: tuple[float, ...]
    disagreement_m: tuple[float, ...]
    needed_s: tuple[float, ...]
    driven_s: float


@dataclass(frozen=True, slots=True)
class Exposure:
    """The least evidence on which a policy may say that it is unsure. With less, one drive more or less moves the threshold.

    Attributes:
        hours: Of the policy's driving. At FALSE_PER_HOUR one hour holds a dozen false requests, so their rate is known to
            a third (Poisson); a quarter of an hour holds three, and the rate could be anything from 2 to 35 an hour.
        needs: Times when help was needed. Of 20 the share foreseen is known to +-0.22 (95 %), of 5 to +-0.44.
    """

    hours: float = 1.0
    needs: int = 20


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold, and what it does on recorded drives: see `evaluate` and `cross_checked` for which.

    Attributes:
        threshold_m: Of `plan_disagreement_m`.
        false_per_hour: Requests that no need followed within REQUEST_S, per hour of the policy's driving.
        foreseen: Needs that a request preceded by REQUEST_S or less.
        needs: All needs.
        hours: Of the policy's driving.
        requests: All requests.
        by_chance: Share of random requests that a need would follow as closely.
    """

    threshold_m: float
    false_per_hour: float
    foreseen: int
    needs: int
    hours: float
    requests: int
    by_chance: float

    @property
    def informative(self) -> bool:
        """Requests were right more often than random ones would have been (one-sided, 5 %).

        Where they were not, asking is noise: a cockpit must not use the threshold.
        """
        right = self.requests - round(self.false_per_hour * self.hours)
        chance = sum(
            math.comb(self.requests, k) * self.by_chance**k * (1.0 - self.by_chance) ** (self.requests - k)
            for k in range(right, self.requests + 1)
        )
        return chance < 0.05

    def off_because(self, least: Exposure) -> str:
        """Why a policy may not ask for help with it; "" when it may."""
        if self.hours < least.hours:
            return f"{60.0 * self.hours:.0f} of {60.0 * least.hours:.0f} minutes of its driving are recorded"
        if self.needs < least.needs:
            return f"{self.needs} of {least.needs} times when it needed help are recorded"
        return (
            "" if self.informative else "when its plans disagreed it needed help no more often than by chance"
        )

    def unsure_m(self, least: Exposure) -> float:
        """The threshold to drive with; inf (never ask) while anything speaks against it."""
        return math.inf if self.off_because(least) else self.threshold_m


def trace_of(episode: EpisodeReader) -> ConfidenceTrace:
    """The trace of a sealed drive."""
    columns = episode.ticks
    by_policy = columns["executed_by"] == Authority.POLICY.value
    mine = set(columns["tick"][by_policy].tolist())
    times_s, values_m = [], []
    last: tuple[Plan, EgoState] | None = None
    for row in episode.plans:
        if row.plan.shadow or row.plan.tick not in mine:
            last = None
            continue
        found = plan_disagreement_m(*last, row.plan, row.pose) if last is not None else None
        if found is not None:
            times_s.append(row.plan.tick * TICK_S)
            values_m.append(found)
        last = row.plan, row.pose
    idle = {Reason.WISH.value, Reason.SYSTEM_FAULT.value, Reason.TRAINING.value}
    needed = [
        event.tick * TICK_S
        for event in episode.events
        if (event.kind == "takeover" and event.data.get("reason") not in idle)
        or (event.kind == "infraction" and event.tick in mine)
    ]
    return ConfidenceTrace(tuple(times_s), tuple(values_m), tuple(needed), float(by_policy.sum()) * TICK_S)


def traces_of(
    root: Path, generation: str, *, hours: float = math.inf, among: int | None = None
) -> list[ConfidenceTrace]:
    """Traces of a generation's newest sealed drives in a folder `episodes`.

    Args:
        root: The folder.
        generation: Whose drives.
        hours: Of its driving, after which no older drive is read.
        among: Look at so many of the newest drives of all; None looks at every one.
    """
    found: list[ConfidenceTrace] = []
    left_s = 3600.0 * hours
    for path in sorted(sealed(root), key=lambda path: path.stat().st_mtime, reverse=True)[:among]:
        episode = EpisodeReader(path)
        if episode.meta.planner == "policy" and episode.meta.generation == generation:
            found.append(trace_of(episode))
            left_s -= found[-1].driven_s
            if left_s <= 0.0:
                break
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """What a policy really asked for in some drives.

    Attributes:
        reasons: How often, by `HelpReason`.
        false: Requests after which help was not needed within REQUEST_S: no takeover that the policy caused, and no
            infraction while it drove. A takeover at the driver's wish is none.
        hours: Of the policy's driving.
    """

    reasons: dict[str, int]
    false: int
    hours: float

    @property
    def false_per_hour(self) -> float:
        """The rate; 0 when it did not drive."""
        return self.false / self.hours if self.hours > 0.0 else 0.0


def asked_in(episodes: Iterable[EpisodeReader]) -> Asked:
    """Requests for help in recorded drives."""
    reasons: dict[str, int] = {}
    false, driven_s = 0, 0.0
    for episode in episodes:
        trace = trace_of(episode)
        driven_s += trace.driven_s
        for event in episode.events:
            if event.kind == REQUEST:
                reasons[event.data["why"]] = reasons.get(event.data["why"], 0) + 1
                false += not _needed(trace, event.tick * TICK_S)
    return Asked(reasons, false, driven_s / 3600.0)


def evaluate(traces: Sequence[ConfidenceTrace], threshold_m: float) -> Calibration:
    """What a threshold would have done on recorded drives."""
    false = foreseen = needs = requests = plans = followed = 0
    for trace in traces:
        asked_s = _requests(trace, threshold_m)
        requests += len(asked_s)
        false += sum(not _needed(trace, at) for at in asked_s)
        plans += len(trace.times_s)
        followed += sum(_needed(trace, at) for at in trace.times_s)
        foreseen += sum(any(at <= need <= at + REQUEST_S for at in asked_s) for need in trace.needed_s)
        needs += len(trace.needed_s)
    hours = sum(trace.driven_s for trace in traces) / 3600.0
    per_hour = false / hours if hours > 0.0 else 0.0
    by_chance = followed / plans if plans else 0.0
    return Calibration(threshold_m, per_hour, foreseen, needs, hours, requests, by_chance)


def calibrate(traces: Iterable[ConfidenceTrace], false_per_hour: float) -> Calibration:
    """The lowest threshold that, like all above it, keeps false requests at or below a rate.

    Args:
        traces: Recorded drives of the policy.
        false_per_hour: Accepted false requests per hour of the policy's driving.

    Returns:
        The threshold with its figures on these drives; inf m (never ask) when there is nothing to learn from.
    """
    known = list(traces)
    best = evaluate(known, math.inf)
    for threshold_m in sorted({value for trace in known for value in trace.disagreement_m}, reverse=True):
        found = evaluate(known, threshold_m)
        if found.false_per_hour > false_per_hour:
            break
        best = found
    return best


def cross_checked(traces: Sequence[ConfidenceTrace], false_per_hour: float) -> Calibration:
    """The threshold that all drives give, with figures from drives that did not choose it.

    Each half of the drives, every second one, is judged with the threshold of the other half.

    Args:
        traces: Recorded drives of the policy.
        false_per_hour: Accepted false requests per hour of the policy's driving.
    """
    halves = traces[::2], traces[1::2]
    seen = [
        evaluate(judged, calibrate(chooses, false_per_hour).threshold_m)
        for judged, chooses in (halves, halves[::-1])
    ]
    hours = sum(one.hours for one in seen)
    false = sum(one.false_per_hour * one.hours for one in seen)
    return Calibration(
        calibrate(traces, false_per_hour).threshold_m,
        false / hours if hours > 0.0 else 0.0,
        sum(one.foreseen for one in seen),
        sum(one.needs for one in seen),
        hours,
        sum(one.requests for one in seen),
        evaluate(traces, math.inf).by_chance,
    )


def calibration_of(root: Path, generation: str, least: Exposure) -> Calibration:
    """What a generation's last drives tell of its confidence.

    Args:
        root: Folder `episodes`.
        generation: In charge.
        least: Below it nothing is computed: the threshold is inf, the exposure is told.
    """
    traces = traces_of(root, generation, hours=max(READ_HOURS, least.hours), among=LOOKED_AT)
    exposed = evaluate(traces, math.inf)
    if exposed.hours < least.hours or exposed.needs < least.needs:
        return exposed
    return cross_checked(traces, FALSE_PER_HOUR)


def _needed(trace: ConfidenceTrace, at_s: float) -> bool:
    return any(at_s <= need_s <= at_s + REQUEST_S for need_s in trace.needed_s)


def _requests(trace: ConfidenceTrace, threshold_m: float) -> list[float]:
    """Times of requests; while one is open there is no second one."""
    asked_s: list[float] = []
    for at_s, value_m in zip(trace.times_s, trace.disagreement_m, strict=True):
        if value_m > threshold_m and (not asked_s or at_s > asked_s[-1] + REQUEST_S):
            asked_s.append(at_s)
    return asked_s
