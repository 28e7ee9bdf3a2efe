"""A cockpit that hangs while its driver drives: the world stops the car by itself, and the takeover stays one."""

from __future__ import annotations

import math
import uuid
from pathlib import Path

import numpy as np

from takeover.collect.cockpit.messages import STALE_ORDER, SetOut, Step
from takeover.collect.cockpit.pilot import Pilot, Turn
from takeover.collect.cockpit.tape import Tape
from takeover.collect.devices.state import Action, DeviceState, Kind
from takeover.collect.recorder import Recording
from takeover.collect.segmenter import segment
from takeover.sim_bridge.moment import MapPolygons, Moment
from takeover.store.episodes import EpisodeReader
from takeover.vocabulary import CameraSpec, Case, Command, Control, EgoState, Outcome, Plan

TURNS = 5  # of the cockpit in a tick
ROAD = np.array([[-60.0, -1.75], [260.0, -1.75], [260.0, 5.25], [-60.0, 5.25]])
REST, BRAKES = DeviceState(kind=Kind.WHEEL), DeviceState(brake=0.5, kind=Kind.WHEEL)


def moment_at(tick: int) -> Moment:
    ego = EgoState(0.4 * tick, 0.0, 0.0, 8.0)
    return Moment(
        tick,
        tick * 0.05,
        ego,
        (),
        None,
        Command.FOLLOW_LANE,
        0.4 * tick,
        100.0,
        0.0,
        0.0,
        False,
        math.inf,
        8.0,
    )


class Cockpit:
    """Pilot and tape of one drive, with a world that ticks on whatever they do."""

    def __init__(self, home: Path) -> None:
        self.pilot = Pilot(moment_at(0))
        case = Case("PedestrianCrossing", 0)
        route = np.stack([np.arange(-40.0, 121.0), np.zeros(161)], axis=1)
        out = SetOut(
            case,
            moment_at(0),
            [],
            (CameraSpec(),),
            route,
            "TownCurves",
            "ab" * 32,
            {},
            MapPolygons((ROAD,), (), ()),
        )
        self.tape = Tape(home / "episodes", Recording(str(uuid.UUID(int=1)), case, "2", "human"), out)
        self.tape.open()
        self.tape.wait(10.0)
        self.tick, self.now_s = 0, 100.0
        self.plan()

    def plan(self) -> None:
        along = 4.0 * np.arange(1, 9, dtype=np.float32)
        plan = Plan(np.stack([along, np.zeros_like(along)], axis=1), self.tick, "2")
        self.pilot.answered(plan)

    def turn(self, device: DeviceState, *actions: Action) -> Turn:
        self.now_s += 0.01
        return self.pilot.turn(device, actions, self.now_s)

    def step(self, number: int, executed: Control) -> None:
        self.tick += 1
        step = Step(moment_at(self.tick), executed, number, 1.0)
        self.tape.step(step, self.pilot.stepped(step, self.now_s))
        if self.tick % 10 == 0:
            self.plan()

    def drive(self, ticks: int, device: DeviceState, *actions: Action) -> Turn:
        for _ in range(ticks):
            for _ in range(TURNS):
                turn, actions = self.turn(device, *actions), ()
            self.step(turn.order.number, turn.order.control)
        return turn

    def hang(self, ticks: int, device: DeviceState, *actions: Action) -> None:
        """Ten ticks with the last order, then the world's own stop; the cockpit learns of them afterwards."""
        last = self.pilot.turn(device, (), self.now_s)
        self.now_s += 0.05 * ticks
        self.turn(device, *actions)
        for tick in range(ticks):
            if tick < 10:
                self.step(last.order.number, last.order.control)
            else:
                self.step(STALE_ORDER, Control(brake=0.6))

    def seal(self) -> EpisodeReader:
        self.tape.finish(Outcome(True, 100.0, 100.0))
        self.tape.wait(10.0)
        assert self.tape.path is not None, self.tape.problem
        return EpisodeReader(self.tape.path)


def told(reader: EpisodeReader) -> list[tuple[str, int]]:
    return [(event.kind, event.tick) for event in reader.events if event.kind in ("takeover", "handback")]


def test_a_takeover_in_which_the_cockpit_hangs_is_one(tmp_path: Path) -> None:
    cockpit = Cockpit(tmp_path)
    cockpit.drive(60, REST)
    cockpit.drive(60, BRAKES)
    cockpit.hang(30, BRAKES)
    cockpit.drive(60, BRAKES)
    cockpit.drive(40, REST, Action.HANDBACK)
    reader = cockpit.seal()
    executed_by = reader.ticks["executed_by"].tolist()
    assert (
        executed_by
        == ["policy"] * 60 + ["driver"] * 70 + ["safe_stop"] * 20 + ["driver"] * 60 + ["policy"] * 40
    )
    assert (cockpit.tape.onsets, cockpit.tape.handbacks) == ([60], [210])
    assert told(reader) == [("takeover", 60), ("handback", 210)]
    segmentation = segment(reader)
    assert [(row.onset_tick, row.handback_tick) for row in segmentation.takeovers] == [(60, 210)]
    assert {segmentation.at(tick).train_mask for tick in range(130, 150)} == {False}  # nobody's example


def test_taking_over_again_after_a_hang_is_another_takeover(tmp_path: Path) -> None:
    cockpit = Cockpit(tmp_path)
    cockpit.drive(60, REST)
    cockpit.drive(60, BRAKES)
    cockpit.hang(18, REST, Action.HANDBACK)
    cockpit.drive(20, REST)
    cockpit.drive(60, BRAKES)
    reader = cockpit.seal()
    assert told(reader) == [("takeover", 60), ("handback", 138), ("takeover", 158)]
    assert [row.onset_tick for row in segment(reader).takeovers] == [60, 158]


def test_a_takeover_while_the_cockpit_hangs_begins_when_the_driver_has_the_car(tmp_path: Path) -> None:
    cockpit = Cockpit(tmp_path)
    cockpit.drive(60, REST)
    cockpit.hang(30, REST, Action.TAKEOVER)
    cockpit.drive(60, BRAKES)
    reader = cockpit.seal()
    assert told(reader) == [("takeover", 90)]
    assert [row.onset_tick for row in segment(reader).takeovers] == [90]


def test_a_driver_who_lost_the_wheel_takes_over_again(tmp_path: Path) -> None:
    cockpit = Cockpit(tmp_path)
    cockpit.drive(60, REST)
    cockpit.drive(60, BRAKES)
    cockpit.drive(20, DeviceState(kind=Kind.WHEEL, connected=False))
    cockpit.drive(20, REST)
    cockpit.drive(60, BRAKES)
    reader = cockpit.seal()
    assert told(reader) == [("takeover", 60), ("handback", 120), ("takeover", 160)]
    assert [row.onset_tick for row in segment(reader).takeovers] == [60, 160]


def test_a_world_that_hangs_does_not_take_the_car_from_its_driver(tmp_path: Path) -> None:
    cockpit = Cockpit(tmp_path)
    cockpit.drive(60, REST)
    known = cockpit.drive(60, BRAKES).order
    for _ in range(400):  # four seconds without a tick, then one with the order of before
        cockpit.turn(BRAKES)
    cockpit.step(known.number, known.control)
    cockpit.drive(60, BRAKES)
    assert cockpit.tape.onsets == [60]
    assert set(cockpit.seal().ticks["executed_by"][60:].tolist()) == {"driver"}
