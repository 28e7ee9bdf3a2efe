"""The driver's pause: the drive's clock stands still, and what was late stays as late."""

import numpy as np
import pytest

from takeover.collect.cockpit.messages import Step
from takeover.collect.cockpit.pause import RESUME_S, Pause
from takeover.collect.cockpit.pilot import Pilot
from takeover.collect.devices.state import Action, DeviceState
from takeover.collect.handover import StopCause
from takeover.sim_bridge.moment import Moment
from takeover.vocabulary import Authority, Command, Control, EgoState, HandoverState, Plan


def moment(tick: int) -> Moment:
    ego = EgoState(0.1 * tick, 0.0, 0.0, 2.0)
    return Moment(
        tick, 0.05 * tick, ego, (), None, Command.FOLLOW_LANE, 0.1 * tick, 100.0, 0.0, 0.0, False, np.inf, 8.0
    )


def test_the_clock_stands_still_from_the_key_to_the_end_of_the_count() -> None:
    pause = Pause()
    assert pause.press(10.0), "the world stops with the first key"
    assert pause.held
    assert [pause.drive_s(at_s) for at_s in (9.0 + 1.0, 14.0, 100.0)] == [10.0, 10.0, 10.0]
    assert pause.watch((), 50.0) is None
    assert pause.left_s(50.0) is None
    assert not pause.press(60.0)
    assert pause.left_s(60.5) == RESUME_S - 0.5
    assert pause.watch((), 60.0 + RESUME_S - 0.01) is None
    assert pause.watch((), 60.0 + RESUME_S) == 50.0 + RESUME_S
    assert not pause.held
    assert pause.drive_s(60.0 + RESUME_S + 1.0) == 11.0
    assert pause.watch((), 70.0) is None


def test_the_key_during_the_count_stays() -> None:
    pause = Pause()
    pause.press(1.0)
    pause.press(2.0)
    assert not pause.press(2.5)
    assert pause.watch((), 99.0) is None
    assert pause.held


def test_a_takeover_of_the_pause_counts_once_in_the_first_turn_after_it() -> None:
    pause = Pause()
    pause.press(1.0)
    pause.watch((Action.TAKEOVER, Action.HANDBACK), 2.0)
    assert pause.kept() == ()
    pause.press(3.0)
    pause.watch((), 3.0 + RESUME_S)
    assert pause.kept() == (Action.TAKEOVER,)
    assert pause.kept() == ()


@pytest.mark.parametrize("paused_s", [0.0, 600.0])
def test_a_plan_that_was_late_is_as_late_after_the_pause(paused_s: float) -> None:
    """The policy hangs at tick 0; the pause comes 1.2 s later. The safe stop is due at 1.5 s of driven time."""
    pilot, pause = Pilot(moment(0)), Pause()
    assert pilot.answered(Plan(np.arange(2, 18, dtype=np.float32).reshape(8, 2), 0))
    for tick in range(1, 25):
        now_s = 0.05 * tick
        turn = pilot.turn(DeviceState(time_s=now_s), (), pause.drive_s(now_s))
        pilot.stepped(Step(moment(tick), Control(), turn.order.number, 1.0), now_s)
    assert pilot.handover.state is HandoverState.REQUESTED
    if paused_s:
        pause.press(1.2)
        pause.press(1.2 + paused_s - RESUME_S)
        assert pause.watch((), 1.2 + paused_s) == pytest.approx(paused_s)
    for driven_s, authority in (
        (1.21, Authority.POLICY),
        (1.49, Authority.POLICY),
        (1.51, Authority.SAFE_STOP),
    ):
        now_s = pause.drive_s(driven_s + paused_s)
        assert pilot.plan_age_s(now_s) == pytest.approx(driven_s)
        pilot.turn(DeviceState(time_s=now_s), (), now_s)
        assert pilot.authority is authority
    assert pilot.handover.stop is StopCause.STALE_PLAN
