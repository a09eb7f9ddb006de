"""Bare connections: a homeserver that a test answers for byte by byte, and a client that sends what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

# the reactor's interfaces are added at run time
reactor: Any = default_reactor
PATIENCE_S = 10


async def until(condition: Callable[[], Any], what: str = "it") -> None:
    """Wait until the condition holds; AssertionError when patience ends."""
    deadline = reactor.seconds() + PATIENCE_S
    while not condition():
        if reactor.seconds() > deadline:
            raise AssertionError(f"{what} never came")
        await deferLater(reactor, 0.005, lambda: None)


class Wire(Protocol):
    """One end of a connection. `received` is what came, or `count` how much if `keeps` is off."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.count = 0
        self.keeps = True
        self.lost: Failure | None = None

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.transport.write(data)

    def pause(self) -> None:
        """Read nothing for now."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self.transport.resumeProducing()

    def close(self) -> None:
        """End the connection cleanly."""
        self.transport.loseConnection()

    def reset(self) -> None:
        """End it without a word."""
        self.transport.abortConnection()

    async def heard(self, wanted: bytes) -> bytes:
        """All that came, once these bytes are among it."""
        await until(lambda: wanted in self.received, f"{wanted!r} among {self.received[-300:]!r}")
        return self.received

    async def gone(self) -> bytes:
        """All that came, once the other end has closed the connection."""
        await until(lambda: self.lost is not None, f"the end after {self.received[-300:]!r}")
        return self.received

    def dataReceived(self, data: bytes) -> None:
        """Collect."""
        self.count += len(data)
        if self.keeps:
            self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember it."""
        self.lost = reason


class RawHomeserver:
    """Takes connections; the test answers each."""

    def __init__(self, path: str | None = None, pem: bytes | None = None) -> None:
        """Listen on a port of 127.0.0.1, over TLS with this certificate, or on a unix socket."""
        self.wires: list[Wire] = []
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = self._build  # type: ignore[method-assign,assignment] # its address is of no use here
        if path is not None:
            self._port = reactor.listenUNIX(path, factory)
            self.url = f"unix:{path}"
        elif pem is not None:
            options = PrivateCertificate.loadPEM(pem).options()
            self._port = reactor.listenSSL(0, factory, options, interface="127.0.0.1")
            self.url = f"https://127.0.0.1:{self._port.getHost().port}"
        else:
            self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")
            self.url = f"http://127.0.0.1:{self._port.getHost().port}"

    def _build(self, address: object) -> Wire:
        self.wires.append(Wire())
        return self.wires[-1]

    async def asked(self, number: int = 0) -> Wire:
        """The connection of this number, once a request's head is there."""
        await until(lambda: len(self.wires) > number and b"\r\n\r\n" in self.wires[number].received, "a request")
        return self.wires[number]

    async def close(self) -> None:
        """Listen no more, and end all connections."""
        await maybeDeferred(self._port.stopListening)
        for wire in self.wires:
            if wire.lost is None:
                wire.reset()
        await until(lambda: all(wire.lost is not None for wire in self.wires), "the end of all connections")


async def connected(port: int) -> Wire:
    """A client's connection."""
    wire: Wire = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Wire())
    return wire


def head_of(received: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The first line of a message and its headers by lower-case name; of several with one name the values joined."""
    first, *lines = received.partition(b"\r\n\r\n")[0].split(b"\r\n")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        name = name.lower()
        headers[name] = headers[name] + b", " + value if name in headers else value
    return first, headers


def body_of(received: bytes) -> bytes:
    """What comes after the head."""
    return received.partition(b"\r\n\r\n")[2]
