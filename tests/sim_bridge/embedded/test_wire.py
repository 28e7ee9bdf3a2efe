"""Codecs against bytes captured from, or laid out by, the carla 0.9.16 client."""

from __future__ import annotations

import itertools
import struct

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeover.sim_bridge.embedded.wire_rpc import (
    DONE,
    ProtocolError,
    Request,
    RequestReader,
    answer,
    failed,
    failed_void,
    ok,
    rpc_error,
)
from takeover.sim_bridge.embedded.wire_stream import (
    MAP_CHANGED,
    RECORD,
    STATE_BYTES,
    SensorType,
    episode_header,
    image_header,
    light_state,
    sensor_header,
    token,
    vehicle_state,
    walker_state,
)

VERSION_CALL = bytes.fromhex("940001a776657273696f6e9191c2")
EPISODE_CALL = bytes.fromhex("940003b06765745f657069736f64655f696e666f9191c2")


def test_calls_of_the_client() -> None:
    assert list(RequestReader().feed(VERSION_CALL + EPISODE_CALL)) == [
        Request(1, "version", True, []),
        Request(3, "get_episode_info", True, []),
    ]


@given(st.lists(st.integers(1, len(VERSION_CALL + EPISODE_CALL) - 1), max_size=6))
def test_calls_cut_anywhere(cuts: list[int]) -> None:
    data, reader = VERSION_CALL + EPISODE_CALL, RequestReader()
    edges = [0, *sorted(cuts), len(data)]
    found = [request.number for a, b in itertools.pairwise(edges) for request in reader.feed(data[a:b])]
    assert found == [1, 3]


def test_a_call_that_nobody_waits_for() -> None:
    call = msgpack.packb([0, 9, "destroy_actor", [[True], 5]])
    assert list(RequestReader().feed(call)) == [Request(9, "destroy_actor", False, [5])]


@pytest.mark.parametrize(
    "message", [b"\x01", msgpack.packb([0, 1, "x"]), msgpack.packb([0, 1, "x", [5]]), b"GET / HTTP/1.1\r\n"]
)
def test_anything_else_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(RequestReader().feed(message))


def test_answers() -> None:
    assert answer(1, ok("0.9.16")).hex() == "940101c0919201a6302e392e3136"
    info = answer(3, ok([1, [bytes(24)]]))
    assert info.hex() == "940103c0919201920191c418" + 24 * "00"
    assert answer(2, DONE).hex() == "940102c091" + "91c2"
    assert answer(2, failed("no")).hex() == "940102c0" + "91" + "9200" + "91a26e6f"
    assert answer(2, failed_void("no")).hex() == "940102c0" + "91" + "92c3" + "91a26e6f"
    assert rpc_error(2, "no").hex() == "940102" + "a26e6f" + "c0"


def test_token() -> None:
    assert token(1, 0x09ED).hex() == "01000000" + "ed09" + "01" + "00" + 16 * "00"


def test_sensor_header() -> None:
    data = sensor_header(SensorType.RGB, 7, 0.25, np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert len(data) == 48
    assert struct.unpack("<QQd6f", data) == (13, 7, 0.25, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert image_header(4, 2, 90.0).hex() == "04000000" + "02000000" + "0000b442"


def test_episode_header() -> None:
    data = episode_header(3, 1.5, 0.5, MAP_CHANGED)
    assert data.hex() == "0300000000000000" + "000000000000f83f" + "0000003f" + 12 * "00" + "01000000"


def test_actor_record() -> None:
    record = np.zeros(1, RECORD)
    state = vehicle_state((0.5, -1.0, 0.25, True, False, True, 2), 50.0, 1, 77)
    record[0] = (9, 1, np.arange(15), state)
    data = record.tobytes()
    assert len(data) == 119
    assert struct.unpack("<IB15f", data[:65]) == (9, 1, *map(float, range(15)))
    assert data[65:95].hex() == (
        "0000003f"
        + "000080bf"
        + "0000803e"
        + "010001"
        + "02000000"
        + "00004842"
        + "01"
        + "01"
        + "4d000000"
        + "00"
    )


def test_other_states() -> None:
    walker = walker_state((0.0, 1.0, 0.0), 1.5, False)
    assert walker[:17].hex() == "00000000" + "0000803f" + "00000000" + "0000c03f" + "00"
    light = light_state("12", (10.0, 3.0, 2.0), 0.5, 1, True, 2)
    assert light[:2] == b"12"
    assert light[32:].hex() == "00002041" + "00004040" + "00000040" + "0000003f" + "01000000" + "01" + "02"
    for state in (walker, light, vehicle_state((0, 0, 0, False, False, False, 0), 30.0, 2, None)):
        assert len(state) == STATE_BYTES
