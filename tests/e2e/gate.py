"""Between the proxy and the homeserver: a port forwarder that can keep one token's `/sync` requests waiting."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory, ProxyServer
from twisted.python.failure import Failure

from tests.e2e.processes import free_port


class _Connection(ProxyServer):
    """One of the proxy's connections; a request at a time."""

    gate: Gate

    def connectionMade(self) -> None:
        self.gate.connections.add(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if not self.gate.keeps(self, data):
            super().dataReceived(data)

    def go_on(self, data: bytes) -> None:
        """Forward what was kept, unless the proxy has hung up."""
        if self.peer is not None:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gate.connections.discard(self)
        super().connectionLost(reason)


class _Connections(ProxyFactory):
    def __init__(self, gate: Gate, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self._gate = gate

    def buildProtocol(self, addr: Any) -> _Connection:
        connection = _Connection()
        connection.factory, connection.gate = self, self._gate
        return connection


class Gate:
    """Forwards to a port of 127.0.0.1; `url` is where the proxy finds it."""

    def __init__(self, port: int) -> None:
        self.connections: set[_Connection] = set()
        self._kept: list[tuple[_Connection, bytes]] = []
        self._token: bytes | None = None
        factory: Any = _Connections(self, port)
        own_port = free_port()
        self._listening = reactor.listenTCP(own_port, factory, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{own_port}"

    def close(self, token: str) -> None:
        """From now on this token's `/sync` requests wait."""
        self._token = token.encode()

    def open(self) -> None:
        """Let go what waits and what will come."""
        self._token, kept, self._kept = None, self._kept, []
        for connection, data in kept:
            connection.go_on(data)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._kept)

    def keeps(self, connection: _Connection, data: bytes) -> bool:
        """Whether these bytes have to wait."""
        if self._token is None or self._token not in data or b"/v3/sync" not in data.partition(b"\r\n")[0]:
            return False
        self._kept.append((connection, data))
        return True

    async def stop(self) -> None:
        """Listen no more, and hang up."""
        await maybeDeferred(self._listening.stopListening)
        while self.connections:
            for connection in list(self.connections):
                transport: Any = connection.transport
                transport.abortConnection()
            await deferLater(reactor, 0.01)
