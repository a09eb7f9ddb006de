"""A proxy in front of PostgreSQL that cuts the connection at a COMMIT, before or after the server got it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol

_COMMIT = b"COMMIT\x00"


class CuttingProxy:
    """`cut` is `before`, `after` or empty: what becomes of the next COMMIT. `cuts` counts those that were."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.cut = ""
        self.cuts = 0
        factory: Any = Factory.forProtocol(lambda: _Front(self))
        factory.noisy = False
        self._port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self._fronts: set[_Front] = set()
        self._left: list[_Back] = []

    def conninfo(self, conninfo: str) -> str:
        """The same database through this proxy."""
        rest = conninfo.partition(" user=")[2]
        port = self._port.getHost().port
        return f"host=127.0.0.1 port={port} sslmode=disable gssencmode=disable user={rest}"

    async def stop(self) -> None:
        """Close everything."""
        for front in list(self._fronts):
            front.end()
        for back in self._left:
            back.transport.abortConnection()
        await self._port.stopListening()

    def leave(self) -> int:
        """Cut every client that waits for the answer to a COMMIT, and let the server go on with it; how many."""
        waiting = [front for front in self._fronts if front.waits]
        self._left += [front.leave() for front in waiting]
        return len(waiting)

    def to_server(self) -> UNIXClientEndpoint:
        """Where the server is."""
        return UNIXClientEndpoint(reactor, self._socket)


class _Front(Protocol):
    """A client's connection."""

    transport: Any

    def __init__(self, proxy: CuttingProxy) -> None:
        self._proxy = proxy
        self._early = b""
        self._back: _Back | None = None
        self.deaf = False
        #: whether a COMMIT is not answered yet
        self.waits = False

    def connectionMade(self) -> None:
        """Connect to the server as well."""
        self._proxy._fronts.add(self)
        connectProtocol(self._proxy.to_server(), _Back(self)).addCallbacks(self._connected, lambda failure: self.end())

    def dataReceived(self, data: bytes) -> None:
        """Pass it on, unless it is the COMMIT."""
        if self._back is None:
            self._early += data
            return
        cut = self._proxy.cut if data.endswith(_COMMIT) else ""
        if cut:
            self._proxy.cut = ""
            self._proxy.cuts += 1
        if cut == "before":
            self.end()
            return
        self.deaf = cut == "after"
        self.waits = data.endswith(_COMMIT)
        self._back.transport.write(data)

    def answered(self, data: bytes) -> None:
        """What the server says is passed on; the answer to the COMMIT is not."""
        self.waits = False
        if self.deaf:
            self.end()
        else:
            self.transport.write(data)

    def leave(self) -> _Back:
        """Cut the client's connection alone; the server's, which somebody must end."""
        back, self._back = self._back, None
        if back is None:
            raise AssertionError("the server is not connected yet")
        self.transport.abortConnection()
        return back

    def end(self) -> None:
        """Cut both connections."""
        self.transport.abortConnection()
        if self._back is not None:
            self._back.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """The client went: so do we."""
        self._proxy._fronts.discard(self)
        if self._back is not None:
            self._back.transport.loseConnection()

    def _connected(self, back: _Back) -> None:
        self._back = back
        early, self._early = self._early, b""
        if early:
            self.dataReceived(early)


class _Back(Protocol):
    """The connection to the server."""

    transport: Any

    def __init__(self, front: _Front) -> None:
        self._front = front

    def dataReceived(self, data: bytes) -> None:
        """Hand it to the client."""
        self._front.answered(data)

    def connectionLost(self, reason: Any = None) -> None:
        """The server went."""
        self._front.transport.loseConnection()
