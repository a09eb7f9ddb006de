"""The HTTP server: bodies that are too large are refused before they are read, and nothing is logged per request.

Requests that are passed on to the homeserver are handed over with their head; their bodies have no bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http import parse_qs
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from syncproxy.arrivals import Arrivals, Inbox
from syncproxy.web.forwarding import Forwarded, Forwarding
from syncproxy.web.responses import CORS

#: how long a connection may take to close when the service stops
DISCONNECT_S = 1.0

#: of a Content-Length; more than any body has bytes
_MOST_DIGITS = 19
_BODY = b'{"errcode":"M_TOO_LARGE","error":"The request body is too large"}'
_REFUSAL = b"\r\n".join(
    [
        b"HTTP/1.1 413 Content Too Large",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(_BODY),
        b"Connection: close",
        *(b"%b: %b" % header for header in CORS.items()),
        b"",
        _BODY,
    ]
)


class BoundedRequest(Request):
    """A request whose body is kept in memory, at most `site.max_request_size` bytes of it.

    A longer one gets 413: by its Content-Length before any of it is read, or, where it comes in chunks, as soon as
    it has grown too long. Then the connection is closed.
    """

    # twisted.web has no type for a channel that a Site gave its `site`
    channel: Any
    content: BytesIO
    refused = False
    #: one that is passed on
    forwarded: Forwarded | None = None

    def gotLength(self, length: int | None) -> None:
        """Pass it on, or refuse by length; twisted.web would spool long bodies to disk."""
        self.content = BytesIO()
        if self._is_taken(length):
            return
        self._left: int = self.channel.site.max_request_size
        if length is not None and length > self._left:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Keep this piece of the body, or throw it away once refused."""
        if self.forwarded is not None:
            self.forwarded.body_received(data)
            return
        if self.refused:
            return
        self._left -= len(data)
        if self._left < 0:
            self._refuse()
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Handle the request, unless it was refused."""
        if self.forwarded is not None:
            self.forwarded.body_ended()
        elif self.refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def write(self, data: bytes) -> None:
        """Send this, and what comes first together with the head."""
        if self.startedWriting or self.forwarded is not None or self.channel is None:
            super().write(data)
            return
        self.channel.gather()
        try:
            super().write(data)
        finally:
            self.channel.send_gathered()

    def connectionLost(self, reason: Any) -> None:
        """The client hung up."""
        if self.refused and self._closing.active():
            self._closing.cancel()
        super().connectionLost(reason)

    def _is_taken(self, length: int | None) -> bool:
        """Whether the request is passed on: it does what it does without waiting for its body."""
        channel, forwarding = self.channel, self.channel.site.forwarding
        if forwarding is None:
            return False
        # twisted.web tells a request what it is only once its body is there
        self.method, self.uri, self.clientproto = channel._command, channel._path, channel._version
        self.path, _, query = self.uri.partition(b"?")
        self.args = parse_qs(query, keep_blank_values=True)
        self.forwarded = forwarding.taken(self, self.method, self.uri, length)
        return self.forwarded is not None

    def _refuse(self) -> None:
        self.refused = True
        self.content = BytesIO()
        # whoever asks before sending must not be told to go on
        self.requestHeaders.removeHeader(b"expect")
        self.channel.transport.write(_REFUSAL)
        self._closing = self.channel.callLater(self.channel.site.linger_s, self.channel.loseConnection)


class BoundedChannel(http.HTTPChannel):
    """A client's connection."""

    # of the site that made it
    site: BoundedSite
    _is_deaf = False
    _inbox: Inbox | None = None
    #: what was written and is to be sent together; `None`: all is sent as it is written
    _gathered: list[bytes] | None = None

    def connectionMade(self) -> None:
        """A client connected."""
        super().connectionMade()
        transport: Any = self.transport
        # a request asks for it, also one that is handled when its client is gone; the socket would be asked each time
        self._host = transport.getHost()
        if self.site.arrivals is not None:
            self._inbox = Inbox(self.site.arrivals, self._take_in, transport.abortConnection)

    def getHost(self) -> Any:
        """Where the client connected to."""
        return self._host

    def dataReceived(self, data: bytes) -> None:
        """Take in what was sent, in its turn."""
        if self._inbox is None:
            self._take_in(data)
        else:
            self._inbox.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client hung up; what it sent before is done all the same."""
        if self._inbox is not None:
            self._inbox.empty()
            # it knows us: what is dropped is to be freed at once
            self._inbox = None
        super().connectionLost(reason)
        self.site.lost(self)

    def requestDone(self, request: Any) -> None:
        """A request is answered: the client need not wait for what else this turn of the reactor does."""
        transport: Any = self.transport
        # what cannot be sent now is when the socket takes it, and who closes it does so when all is sent
        if _is_open(transport) and _has_unsent(transport):
            transport.doWrite()
        if self._inbox is not None:
            self._inbox.answered()
        super().requestDone(request)

    def gather(self) -> None:
        """Keep what is written until `send_gathered`."""
        self._gathered = []

    def send_gathered(self) -> None:
        """Send what was written since `gather`, in one piece, and at once if the socket takes it."""
        data, self._gathered = b"".join(self._gathered or ()), None
        transport: Any = self.transport
        if not data:
            return
        if _is_open(transport) and not _has_unsent(transport):
            # to be told when the socket takes something, and then no more, takes as long as to send it
            sent = transport.writeSomeData(data)
            if isinstance(sent, int):
                data = data[sent:]
        # an error is met with again, where it is dealt with
        transport.write(data)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write a head: as one piece, for all that is written is looked at piece by piece."""
        lines = [b"%b %b %b" % (version, code, reason)]
        lines += [b"%b: %b" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self.write(b"\r\n".join((*lines, b"", b"")))

    def write(self, data: bytes) -> None:
        """Write a piece of an answer."""
        if self._gathered is None:
            super().write(data)
        else:
            self._gathered.append(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write pieces of an answer."""
        self.write(b"".join(iovec))

    def _take_in(self, data: bytes) -> None:
        if not self._is_deaf:
            super().dataReceived(data)

    def ignore_rest(self) -> None:
        """Take in nothing more: the connection is about to close."""
        self._is_deaf = True

    def timeoutConnection(self) -> None:
        """Close a connection whose client is silent, unless it was told to wait."""
        forwarded = self.requests[-1].forwarded if self.requests else None
        if forwarded is not None and forwarded.is_paused:
            self.setTimeout(self.timeOut)
        else:
            super().timeoutConnection()

    def headerReceived(self, line: bytes) -> bool:
        """Take in a header. A length that Python would not read as a number is too large, not an error of ours."""
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit() and len(value) > _MOST_DIGITS:
            line = name + b":" + b"9" * _MOST_DIGITS
        taken: bool = super().headerReceived(line)
        return taken


def _is_open(transport: Any) -> bool:
    """Whether it is a socket that may be written to now, without TLS, which has buffers of its own."""
    if not isinstance(transport, Connection) or getattr(transport, "TLS", False):
        return False
    return bool(transport.connected and not transport.disconnecting)


def _has_unsent(transport: Any) -> bool:
    """Whether something was written that the socket has not taken."""
    return bool(transport.dataBuffer or transport._tempDataBuffer)


class BoundedSite(Site):
    """A site that bounds bodies (in bytes) and keeps no access log, which would cost a third of the throughput."""

    # any, for Twisted names the class of its wrapper, which is for HTTP/2
    protocol: Any = BoundedChannel
    requestFactory = BoundedRequest
    #: for how long the rest of a refused body is read and thrown away, in seconds. Closing at once would reset the
    #: connection, and the client might never see the answer.
    linger_s = 2.0

    def __init__(self, resource: IResource, max_request_size: int, reactor: IReactorTime) -> None:
        super().__init__(resource, reactor=reactor, parsePOSTFormSubmission=False)
        self.max_request_size = max_request_size
        #: takes the requests that are passed on to the homeserver; `None`: there are none
        self.forwarding: Forwarding | None = None
        #: decides when what clients sent is taken in; `None`: at once
        self.arrivals: Arrivals | None = None
        self._clock = reactor
        self._open: set[Any] = set()
        self._all_closed: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Serve a connection, and remember it until it is lost."""
        channel: Any = super().buildProtocol(addr)
        self._open.add(channel)
        return channel

    def lost(self, channel: BoundedChannel) -> None:
        """A connection is closed."""
        self._open.discard(channel)
        if self._all_closed is not None and not self._open:
            closed, self._all_closed = self._all_closed, None
            closed.callback(None)

    async def disconnect(self) -> None:
        """Close all connections: answers that were begun are still sent, for a second at the most."""
        if not self._open:
            return
        closed: Deferred[None] = Deferred()
        self._all_closed = closed
        for channel in list(self._open):
            if any(request.startedWriting for request in channel.requests):
                # closes by itself once the answer is sent
                channel.persistent = False
            else:
                channel.loseConnection()
        cutting = self._clock.callLater(DISCONNECT_S, self._cut)
        await closed
        if cutting.active():
            cutting.cancel()

    def _cut(self) -> None:
        for channel in list(self._open):
            channel.transport.abortConnection()

    def log(self, request: http.Request) -> None:
        """Nothing: query strings may hold tokens."""
