"""The world process of the cockpit: `python -P -m takeover.collect.cockpit.world`, started by `links`.

It holds server, CARLA client and scenario. One thread makes the ticks, paced to the wall clock; another applies a control
the moment it arrives, while a tick is under way too (`world.tick()` gives the interpreter free). Pictures for the window
go into shared memory and are never waited for.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from ...errors import TakeoverError
from ...sim_bridge.bridge import Bridge, leave_process
from ...sim_bridge.drive import Drive
from ...sim_bridge.server import server_at
from ...sim_bridge.weather import preset
from ...vocabulary import TICK_S, CameraSpec, Control
from ..arbiter import SAFE_STOP
from .messages import STALE_ORDER, Fault, Order, Ready, Run, Seat, SetOut, SetUp, Step, Weather
from .pacer import Pacer
from .ring import Ring
from .views import CHASE, HEIGHT_PX, WIDTH_PX

SILENCE_S = 0.5  # without an order for so long the car is stopped here: its cockpit hangs
IDLE_S = 0.05
SWITCH_S = 0.0005  # the thread that applies controls waits no longer than this for the interpreter
REMEMBERED = 64  # orders
SAME = 1e-5  # controls travel as float32


class World:
    """Serves one cockpit.

    Args:
        drive: The simulator.
        pipe: Commands in, ticks out.
        orders: Controls in, one a datagram.
        ring: Pictures out.
    """

    def __init__(self, drive: Drive, pipe: Connection, orders: socket.socket, ring: Ring) -> None:
        self._drive, self._pipe, self._orders, self._ring = drive, pipe, orders, ring
        self._pacer = Pacer(TICK_S)
        self._running = False
        self._applied: deque[Order] = deque([Order(0, Control())], REMEMBERED)
        self._heard_s = time.monotonic()
        drive.show(CHASE, self._picture)

    def serve(self) -> None:
        """Until the cockpit closes its pipe."""
        threading.Thread(target=self._obey, name="orders", daemon=True).start()
        self._pipe.send(Ready())
        while True:
            wait_s = self._pacer.wait_s(time.monotonic()) if self._running else IDLE_S
            if self._pipe.poll(wait_s):
                self._do(self._pipe.recv())
            elif self._running:
                self._tick()

    def _do(self, command: object) -> None:
        if isinstance(command, SetUp):
            self._running = False
            self._applied = deque([Order(0, Control())], REMEMBERED)
            moment = self._drive.reset(command.case)
            drive = self._drive
            self._pipe.send(
                SetOut(
                    command.case,
                    moment,
                    drive.history,
                    drive.cameras,
                    drive.route_centerline_m,
                    drive.map_name,
                    drive.map_sha256,
                    drive.scenario_info,
                    drive.map_polygons(),
                )
            )
        elif isinstance(command, Run):
            if command.running and not self._running:
                self._pacer.start(time.monotonic())
                self._heard_s = time.monotonic()
            self._running = command.running
        elif isinstance(command, Seat):
            self._drive.show(command.camera, self._picture)
        elif isinstance(command, Weather):
            self._drive.set_weather(preset(command.preset))

    def _tick(self) -> None:
        now_s = time.monotonic()
        self._pacer.tick(now_s)
        if now_s - self._heard_s > SILENCE_S:
            self._apply(Order(STALE_ORDER, SAFE_STOP))
        known = self._applied[-1]
        moment = self._drive.step(None)
        executed = self._drive.executed
        number = order_of(executed, (known, *reversed(tuple(self._applied)))).number
        self._running = not moment.done
        self._pipe.send(Step(moment, executed, number, self._pacer.real_time_factor))

    def _obey(self) -> None:
        while data := self._orders.recv(256):
            self._heard_s = time.monotonic()
            self._apply(Order.unpack(data))

    def _apply(self, order: Order) -> None:
        with contextlib.suppress(RuntimeError, AttributeError):  # between two episodes there is no car
            self._drive.actuate(order.control, reverse=order.reverse)
            self._applied.append(order)

    def _picture(self, tick: int, pixels: NDArray[np.uint8]) -> None:
        self._ring.write(tick, pixels)


def order_of(executed: Control, candidates: Iterable[Order]) -> Order:
    """The first order with this control; the first of all when none has it.

    A control may slip in between the look at the newest order and the server's tick; the server's report tells.
    """
    orders = tuple(candidates)
    for order in orders:
        control = order.control
        if (
            abs(control.steer - executed.steer) < SAME
            and abs(control.throttle - executed.throttle) < SAME
            and abs(control.brake - executed.brake) < SAME
        ):
            return order
    return orders[0]


def main() -> None:
    """Serve until the cockpit goes away; leaves without the interpreter's own exit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipe", type=int, required=True)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--ring", type=int, required=True)
    parser.add_argument("--carla", default="")
    parser.add_argument("--timeout-s", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_S)
    pipe = Connection(arguments.pipe)
    orders = socket.socket(fileno=arguments.orders)
    try:
        with (
            server_at(arguments.carla, arguments.seed) as (host, port),
            Bridge(host, port, timeout_s=arguments.timeout_s) as bridge,
        ):
            ring = Ring(arguments.ring, 4 * WIDTH_PX * HEIGHT_PX)
            World(Drive(bridge, (CameraSpec(),)), pipe, orders, ring).serve()
    except TakeoverError as error:
        with contextlib.suppress(OSError):
            pipe.send(Fault(str(error), error.fix))
    except (EOFError, OSError):
        pass  # the cockpit went away: nothing is left to do
    finally:
        leave_process()


if __name__ == "__main__":
    main()
