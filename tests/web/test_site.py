"""The site by itself, on a real socket."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from syncproxy.arrivals import Arrivals
from syncproxy.web.site import BoundedSite
from tests.web.raw import Wire, until

reactor: Any = default_reactor


class Held(Resource):
    """Keeps its requests, for the test to answer them."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render_GET(self, request: Any) -> int:
        self.requests.append(request)
        return NOT_DONE_YET


class Answer(Resource):
    """Gives each request this answer."""

    isLeaf = True

    def __init__(self, status: int, headers: Mapping[bytes, bytes], pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._status, self._headers, self._pieces = status, headers, pieces

    def render(self, request: Any) -> int:
        request.setResponseCode(self._status)
        for name, value in {b"Date": b"now", b"Content-Type": b"text/plain", **self._headers}.items():
            request.setHeader(name, value)
        for piece in self._pieces:
            request.write(piece)
        request.finish()
        return NOT_DONE_YET


class SendingTests(TestCase):
    """When an answer leaves."""

    async def test_in_the_same_turn(self) -> None:
        """It is at the client when the request is finished, before the reactor does anything else; so is the next."""
        held = Held()
        port = reactor.listenTCP(0, BoundedSite(held, 1000, reactor), interface="127.0.0.1")
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        client.settimeout(0)
        for number, header in enumerate((b"", b"Connection: close\r\n")):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % header)
            await until(lambda number=number: len(held.requests) > number)  # type: ignore[misc]
            held.requests[number].setHeader(b"Content-Length", b"5")
            held.requests[number].write(b"hello")
            held.requests[number].finish()
            self.assertTrue(client.recv(10_000).endswith(b"\r\n\r\nhello"))

        # what is read is nothing: it is closed, as was asked for
        def is_closed() -> bool:
            try:
                return client.recv(1) == b""
            except BlockingIOError:
                return False

        await until(is_closed)
        client.close()

    async def test_the_same_bytes(self) -> None:
        """Each kind of answer is, byte for byte, what Twisted's own site sends, though it goes out in fewer pieces."""
        for method in (b"GET", b"HEAD"):
            for status in (200, 204, 304):
                for headers in ({}, {b"Content-Length": b"11"}, {b"Vary": b"A,\r\n B", b"Etag": b'"x"'}):
                    for pieces in ((), (b"hello world",), (b"hello", b" world"), (b"", b"hello world")):
                        answer = Answer(status, headers, pieces)
                        ours = await self.received(BoundedSite(answer, 1000, reactor), method)
                        self.assertEqual(ours, await self.received(Site(answer), method))

    async def test_more_than_the_socket_takes(self) -> None:
        """What the socket does not take at once comes after what it took, and the next answer after that."""
        body = bytes(range(256)) * 40_000
        answer = Answer(200, {b"Content-Length": b"%d" % len(body)}, (body,))
        received = await self.received(BoundedSite(answer, 1000, reactor), b"GET", times=2)
        self.assertEqual(received.count(body), 2)
        self.assertTrue(received == await self.received(Site(answer), b"GET", times=2))

    async def test_freed(self) -> None:
        """Nothing of a connection that was closed is left for Python to look for."""
        gc.disable()
        self.addCleanup(gc.enable)
        made: list[weakref.ref[Any]] = []

        class Remembering(BoundedSite):
            """Remembers its connections."""

            def buildProtocol(self, addr: Any) -> Any:
                """As ever."""
                channel = super().buildProtocol(addr)
                made.append(weakref.ref(channel))
                return channel

        site = Remembering(Answer(200, {}, (b"hello",)), 1000, reactor)
        site.arrivals = Arrivals(reactor)
        await self.received(site, b"GET")
        await until(lambda: made[0]() is None)

    async def received(self, site: Any, method: bytes, times: int = 1) -> bytes:
        """All that a client is sent that asks so often in one go."""
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        try:
            wire = Wire()
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
            await connectProtocol(endpoint, wire)
            asked = b"%b / HTTP/1.1\r\nHost: x\r\n" % method
            wire.send((asked + b"\r\n") * (times - 1) + asked + b"Connection: close\r\n\r\n")
            return await wire.gone()
        finally:
            await maybeDeferred(port.stopListening)
