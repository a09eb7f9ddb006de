"""A small HTTP/1.1 server on a raw asyncio protocol: what a stand-in needs, at a few microseconds a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns

_REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found"}


class Exchange:
    """One request, to be answered with `reply`, at once or later."""

    __slots__ = ("_transport", "arrived_ns", "body", "hung_up", "path", "query", "token")

    def __init__(self, transport: asyncio.Transport, path: str, query: str, token: str | None, body: bytes) -> None:
        self._transport = transport
        self.path = path
        self.query = query
        self.token = token
        self.body = body
        self.arrived_ns = monotonic_ns()
        #: called if the client goes away before it was answered
        self.hung_up: Callable[[], None] | None = None

    def reply(self, status: int, *chunks: bytes) -> int:
        """Answer with JSON; when it left, in ns of the monotonic clock.

        That is the moment before the socket takes the bytes: what is measured from it is never too short.
        """
        self.hung_up = None
        length = sum(map(len, chunks))
        head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
            status,
            _REASONS[status],
            length,
        )
        left_ns = monotonic_ns()
        self._transport.write(b"".join((head, *chunks)))
        return left_ns


class ServerConnection(asyncio.Protocol):
    """Reads requests off one connection, one at a time, and hands them to `serve`."""

    def __init__(self, serve: Callable[[Exchange], None]) -> None:
        self._serve = serve
        self._buffer = b""
        self._exchange: Exchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Serve each request that is complete."""
        self._buffer = self._buffer + data if self._buffer else data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            line, *headers = self._buffer[:end].decode("latin-1").split("\r\n")
            length, token = _read_headers(headers)
            size = end + 4 + length
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            path, _, query = line.split(" ", 2)[1].partition("?")
            self._exchange = Exchange(self._transport, path, query, token, body)
            self._serve(self._exchange)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever holds a request of this connection."""
        if self._exchange is not None and self._exchange.hung_up is not None:
            self._exchange.hung_up()


def _read_headers(lines: list[str]) -> tuple[int, str | None]:
    """The body's length, and the access token."""
    length, token = 0, None
    for line in lines:
        name, _, value = line.partition(":")
        lowered = name.lower()
        if lowered == "content-length":
            length = int(value)
        elif lowered == "authorization":
            token = value.strip().removeprefix("Bearer ")
    return length, token


async def listen(serve: Callable[[Exchange], None], port: int) -> asyncio.Server:
    """Serve on 127.0.0.1; port 0 takes a free one."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: ServerConnection(serve), "127.0.0.1", port, backlog=4096)
