"""What the web edge stands on, scripted; and a real server and client on a loopback port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import attrs
from klein.resource import KleinResource
from prometheus_client import CollectorRegistry
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from syncproxy.errors import MatrixError
from syncproxy.homeserver.client import HomeserverClient
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import Presence, Request
from syncproxy.v2.presence import Presences
from syncproxy.web.resource import make_resource
from syncproxy.web.settings import WebSettings
from syncproxy.web.site import BoundedSite
from syncproxy.web.versions import Versions

PHONE = Device("@alice:example.org", "PHONE")
SYNC = "/_matrix/client/unstable/org.matrix.msc3575/sync"
# the reactor's interfaces are added at run time
reactor: Any = default_reactor


@attrs.frozen
class FakeToken:
    """An access token as the TokenMap hands it on."""

    hash: bytes = b"hash"


@attrs.frozen
class FakeIdentity:
    """Alice's phone."""

    device: Device = PHONE
    token: FakeToken = FakeToken()


@attrs.define
class FakeTokens:
    """Knows every token but those it was told an error for."""

    problems: dict[str, Exception] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)

    def known(self, token: str) -> FakeIdentity | None:
        return None if token in self.problems else FakeIdentity()

    async def identify(self, token: str) -> FakeIdentity:
        self.asked.append(token)
        if token in self.problems:
            raise self.problems[token]
        return FakeIdentity()


@attrs.define
class FakePollers:
    """Polls at once, or when `first_poll` fires."""

    first_poll: Deferred[None] = attrs.field(factory=lambda: succeed(None))
    presences: Presences = attrs.field(factory=Presences)
    has_polled: bool = True

    def goes_on_polling(self, identity: FakeIdentity) -> bool:
        return self.has_polled

    def ensure_polling(self, identity: FakeIdentity) -> Deferred[None]:
        return self.first_poll


@attrs.define
class FakeConns:
    """Answers with `answer`, or whatever it makes of a request."""

    answer_with: Callable[[Request, Deferred[None]], Any] = lambda request, hung_up: b"{}"
    #: what is known at once, or raised
    known: bytes | Exception | None = None
    requests: list[Request] = attrs.field(factory=list)

    def at_once(self, device: Device, request: Request, dialect: Any) -> bytes | None:
        if isinstance(self.known, Exception):
            raise self.known
        return self.known

    async def answer(
        self, device: Device, token_hash: bytes, request: Request, dialect: Any, hung_up: Deferred[None]
    ) -> bytes:
        assert (device, token_hash) == (PHONE, b"hash")
        self.requests.append(request)
        answer = self.answer_with(request, hung_up)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Deferred):
            answer = await answer
        assert isinstance(answer, bytes)
        return answer


class FakeDialect:
    """Takes any body as it is."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.queries: list[Mapping[str, str]] = []
        self.problem: MatrixError | None = None
        self.set_presence: Presence = "offline"

    def parse(self, body: bytes, query: Mapping[str, str]) -> Request:
        self.bodies.append(body)
        self.queries.append(query)
        if self.problem is not None:
            raise self.problem
        return Request(pos=query.get("pos"), timeout_ms=0, set_presence=self.set_presence)


class Edge:
    """The resource on fakes. Time stands still unless `clock` is advanced, or is the reactor."""

    def __init__(
        self,
        clock: Any = None,
        dialect: Dialect | None = None,
        homeserver: HomeserverClient | None = None,
        **settings: Any,
    ) -> None:
        """`dialect` is spoken instead of the fake one; without a `homeserver` there is none."""
        self.tokens, self.pollers, self.conns = FakeTokens(), FakePollers(), FakeConns()
        self.dialect, self.clock, self.healthy = FakeDialect(), clock or Clock(), True
        self.metrics = Metrics(CollectorRegistry())
        self.settings = WebSettings(**settings)
        parts: tuple[Any, ...] = (self.tokens, self.pollers, self.conns, {"msc3575": dialect or self.dialect})
        self.versions = Versions(homeserver or HomeserverClient(reactor, "unix:/nowhere"), self.clock)
        parts += (self.settings, self.metrics, self.clock, lambda: self.healthy, self.versions)
        self.resource: KleinResource = make_resource(*parts)


class Server:
    """An edge behind a real site on a port of its own, and a client for it. Close it after the test."""

    def __init__(self, edge: Edge, clock: Any = reactor) -> None:
        """`clock` tells how long clients have been silent."""
        site = BoundedSite(edge.resource, edge.settings.max_request_size, clock)
        site.linger_s = 0.05
        self.site = site
        self.port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"
        self._pool = HTTPConnectionPool(reactor, persistent=False)
        self._agent = Agent(reactor, pool=self._pool)

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[IResponse, bytes]:
        """The response, and its body as it is on the wire; `headers` come beside or instead of a good token."""
        sent = Headers()
        for name, value in ({"Authorization": "Bearer secret"} | dict(headers or {})).items():
            if value:
                sent.setRawHeaders(name, [value])
        producer = None if body is None else FileBodyProducer(BytesIO(body))
        url = (self.url + path).encode("ascii")
        response = await self._agent.request(method.encode("ascii"), url, sent, producer)
        return response, await readBody(response)

    async def close(self) -> None:
        """Stop listening and forget connections."""
        await self.port.stopListening()
        await self._pool.closeCachedConnections()


def header(response: IResponse, name: str) -> str | None:
    """A response's header."""
    values = response.headers.getRawHeaders(name)
    return None if values is None else str(values[0])


class Talk(Protocol):
    """Bytes sent to a server as they are, and all that comes back until it closes."""

    transport: Any

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.received = b""
        self.closed: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        for piece in self._pieces:
            self.transport.write(piece)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(self.received)


async def talk(server: Server, *pieces: bytes) -> bytes:
    """What the server answers to these bytes before it closes the connection."""
    protocol = await connect(server, Talk(*pieces))
    return await protocol.closed


def connect(server: Server, protocol: Talk) -> Deferred[Talk]:
    """The protocol, once it is connected."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", server.port.getHost().port)
    connected: Deferred[Talk] = connectProtocol(endpoint, protocol)
    return connected
