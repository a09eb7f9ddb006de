"""A kept HTTP/1.1 connection on a raw asyncio protocol, with the times of an answer's first and last byte."""

from __future__ import annotations

import asyncio
from time import monotonic_ns

import attrs

_LIMIT_S = 120


class Broken(Exception):
    """The server closed the connection, or what it sends is no HTTP."""


@attrs.frozen
class Answer:
    """An answer, and when it was asked for, began and was complete, in ns of the monotonic clock."""

    status: int
    body: bytes
    asked_ns: int
    first_ns: int
    last_ns: int


class Connection(asyncio.Protocol):
    """One request at a time; connects when it has to."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._first_ns = self._asked_ns = 0
        self._waiting: asyncio.Future[Answer] | None = None

    async def request(self, head: bytes, body: bytes) -> Answer:
        """Ask and wait for the whole answer, 120 s at most. `head` has the request line and headers but the length.

        Raises Broken, OSError or TimeoutError.
        """
        if self._transport is None:
            await asyncio.get_running_loop().create_connection(lambda: self, self._host, self._port)
        assert self._transport is not None
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting, self._first_ns, self._asked_ns = waiting, 0, monotonic_ns()
        self._transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        timer = asyncio.get_running_loop().call_later(_LIMIT_S, self._too_late)
        try:
            return await waiting
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close it; a next request opens it again."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        """Collect the answer."""
        if not self._first_ns:
            self._first_ns = monotonic_ns()
        self._buffer += data
        try:
            found = split_answer(self._buffer)
        except ValueError as problem:
            self._fail(Broken(f"no HTTP: {problem}"))
            return
        if found is not None:
            status, body = found
            self._buffer.clear()
            self._settle(Answer(status, body, self._asked_ns, self._first_ns, monotonic_ns()))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits learns of it."""
        self._transport = None
        self._fail(Broken("the server closed the connection"))

    def _too_late(self) -> None:
        self._fail(TimeoutError(f"no answer in {_LIMIT_S} s"))
        self.close()

    def _settle(self, answer: Answer) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _fail(self, problem: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(problem)


def split_answer(data: bytes | bytearray) -> tuple[int, bytes] | None:
    """Status and body of an HTTP answer; `None` while it is incomplete. Raises ValueError for what is none."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    line, _, headers = data[:end].partition(b"\r\n")
    status = int(line.split(b" ", 2)[1])
    lowered = b"\r\n" + headers.lower() + b"\r\n"
    at = lowered.find(b"\r\ncontent-length:")
    if at >= 0:
        length = int(lowered[at + 17 : lowered.index(b"\r\n", at + 2)])
        complete = len(data) >= end + 4 + length
        return (status, bytes(data[end + 4 : end + 4 + length])) if complete else None
    if b"\r\ntransfer-encoding: chunked\r\n" in lowered:
        chunked = _unchunk(data, end + 4)
        return None if chunked is None else (status, chunked)
    raise ValueError("an answer without a length")


def _unchunk(data: bytes | bytearray, at: int) -> bytes | None:
    """The body that comes in chunks from `at` on; `None` while it is incomplete."""
    chunks: list[bytes] = []
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return None
        size = int(data[at:line_end].partition(b";")[0], 16)
        chunk = data[line_end + 2 : line_end + 2 + size]
        at = line_end + 2 + size + 2
        if len(chunk) < size or len(data) < at:
            return None
        if size == 0:
            return b"".join(chunks)
        chunks.append(bytes(chunk))
