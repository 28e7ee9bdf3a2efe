"""Bytes of the RPC port: msgpack-rpc with CARLA's wrappers around results. Layouts: carla 0.9.16 client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack

REQUEST, RESPONSE = 0, 1
MAX_MESSAGE_BYTES = 256 << 20

DONE: list[Any] = [[False]]  # Response<void>


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a client.

    Attributes:
        number: Message id, returned with the answer.
        method: Name.
        waits: The caller waits for the answer; False is fire and forget.
        args: Arguments after the metadata.
    """

    number: int
    method: str
    waits: bool
    args: list[Any]


class ProtocolError(ValueError):
    """The bytes are no CARLA request; the connection cannot go on."""


class RequestReader:
    """Cuts a byte stream into requests."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=False,
            max_buffer_size=MAX_MESSAGE_BYTES,
            unicode_errors="surrogateescape",
        )

    def feed(self, data: bytes) -> Iterator[Request]:
        """Requests that are complete with `data`.

        Raises:
            ProtocolError: Something else than a request.
        """
        self._unpacker.feed(data)
        for message in self._unpacker:
            yield _request(message)


def _request(message: Any) -> Request:
    match message:
        case [0, int(number), str(method), [[bool(is_async)], *args]]:
            return Request(number, method, not is_async, args)
    raise ProtocolError(f"not a CARLA request: {repr(message)[:80]}")


def answer(number: int, result: Any) -> bytes:
    """Bytes of an answer; `result` is wrapped already (`ok`, `DONE`, `failed`, ...)."""
    return bytes(msgpack.packb([RESPONSE, number, None, result]))


def rpc_error(number: int, text: str) -> bytes:
    """Bytes of an answer that no wrapper fits, such as for an unknown method."""
    return bytes(msgpack.packb([RESPONSE, number, text, None]))


def ok(value: Any) -> list[Any]:
    """Response<T> with a value."""
    return [[1, value]]


def failed(text: str) -> list[Any]:
    """Response<T> with an error."""
    return [[0, [text]]]


def failed_void(text: str) -> list[Any]:
    """Response<void> with an error."""
    return [[True, [text]]]
