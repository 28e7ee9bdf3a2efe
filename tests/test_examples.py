"""The examples run as they are written down."""

import socket
import subprocess
import sys
from pathlib import Path

from PIL import Image

from takeover.sim_bridge.server import EmbeddedServer

EXAMPLES = Path(__file__).parents[1] / "examples"


def port_below_the_ephemeral_ones() -> int:
    for port in range(21_000, 21_200):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port")


def test_a_carla_script_of_ones_own_drives_on_the_embedded_server(tmp_path: Path) -> None:
    picture = tmp_path / "seen.png"
    with EmbeddedServer.start(map_name="TownCross") as server:
        arguments = ["--port", str(server.port), "--tm-port", str(port_below_the_ephemeral_ones())]
        done = subprocess.run(
            [sys.executable, "-P", EXAMPLES / "hello_carla.py", *arguments, "--picture", picture],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert server.alive
    assert "Carla/Maps/TownCross" in done.stdout
    metres = int(done.stdout.split("drove ")[1].split()[0])
    assert metres > 50
    assert Image.open(picture).size == (640, 320)
