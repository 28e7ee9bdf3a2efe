"""`python -P -m takeover.sim_bridge.embedded`: the server as a process of its own.

Reports `{"host": ..., "port": ..., "streaming_port": ...}` as one JSON line once it is warm: into the parent's socket with
`--parent-fd`, else on standard output. With a parent it ends when the other end of that socket is closed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from ...errors import UsageError
from .maps import map_names
from .render import warm
from .service import Service

HOST = "127.0.0.1"
SWITCH_S = 0.0002  # calls wait no longer than this for the thread that draws a window's picture


def main() -> int:
    """Runs the server; returns the exit status."""
    parser = argparse.ArgumentParser(prog="takeover.sim_bridge.embedded", description=__doc__)
    parser.add_argument("--host", default=HOST, help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="RPC port; 0 takes a free one")
    parser.add_argument("--map", default="TownCurves", help=f"{', '.join(map_names())} or an .xodr file")
    parser.add_argument("--seed", type=int, default=0, help="of whatever is random; at present nothing is")
    parser.add_argument("--parent-fd", type=int, default=-1, help="socket to the parent process")
    parser.add_argument(
        "--trace", type=Path, help="file that gets one line a call: time, frame, method, arguments"
    )
    parser.add_argument(
        "--no-navigation",
        action="store_true",
        help="no pavements for the client library's walker AI, which keeps them in ~/carlaCache",
    )
    parser.add_argument("--warm", action="store_true", help="compile the kernels into the cache and leave")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="embedded server: %(levelname)s: %(message)s"
    )
    if arguments.warm:
        warm()
        return 0
    try:
        trace = arguments.trace.open("w", buffering=1) if arguments.trace else None
        service = Service(
            arguments.map, arguments.seed, arguments.host, arguments.port, trace, not arguments.no_navigation
        )
    except (UsageError, OSError) as error:
        sys.stderr.write(f"embedded server: {error}\n")
        return 2
    service.simulation.prepare_cameras()
    warm()
    report = {"host": arguments.host, "port": service.port, "streaming_port": service.streams.port}
    line = json.dumps(report) + "\n"
    if arguments.parent_fd >= 0:
        parent = socket.socket(fileno=arguments.parent_fd)
        parent.sendall(line.encode())
        service.watch(parent)
    else:
        sys.stdout.write(line)
        sys.stdout.flush()
    sys.setswitchinterval(SWITCH_S)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    service.run()
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # the client library is loaded for its maps; nothing of it needs tidying up
