"""The site by itself, on a real socket."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from syncproxy.web.site import BoundedSite
from tests.web.raw import until

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
