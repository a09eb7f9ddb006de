"""Polls: small requests to one homeserver, one after the other, on connections that are kept.

Nothing else is asked as often, hence a way of its own beside treq, which with twisted.web's agent takes several times
the CPU (docs/explanation/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from syncproxy.arrivals import Arrivals, Inbox
from syncproxy.homeserver.answer import Answer, AnswerReader, NoAnswer
from syncproxy.homeserver.bodies import BodyTooLarge
from syncproxy.homeserver.origin import Origin

#: how long a connection is kept while nobody asks, in seconds
_KEPT_S = 60


class PollConnections:
    """The connections to `origin`, each for one request at a time."""

    def __init__(self, reactor: Any, origin: Origin, headers: bytes, arrivals: Arrivals | None) -> None:
        """`headers` are sent with each request, as lines that end. `arrivals`: see `HomeserverClient`."""
        self._reactor = reactor
        self._origin = origin
        self._common = b" HTTP/1.1\r\nHost: %b\r\n%bAccept-Encoding: gzip\r\nAuthorization: Bearer " % (
            origin.host,
            headers,
        )
        self._arrivals = arrivals
        #: those that wait for a request, and since when; who waited longest comes first
        self._idle: dict[_Connection, float] = {}
        self._tidying: IDelayedCall | None = None

    async def get(self, target: bytes, token: str, most: int) -> Answer:
        """The answer to a GET of `target`, a path with its query, with a body of `most` bytes at the most.

        Raises NoAnswer, BodyTooLarge, and what keeps it from connecting. Cancelling closes the connection.
        """
        # whatever the token is, it is one header
        bearer = b" ".join(token.encode().split())
        request = b"GET %b%b%b%b\r\n\r\n" % (self._origin.path, target, self._common, bearer)
        if self._idle:
            kept, _ = self._idle.popitem()
            try:
                return await kept.ask(request, most)
            except _ClosedUnanswered:
                # the homeserver closed it before it saw the request
                pass
        factory = Factory.forProtocol(lambda: _Connection(self._rests, self._ended, self._arrivals))
        factory.noisy = False
        made: Any = await self._origin.endpoint.connect(factory)
        connection: _Connection = made
        return await connection.ask(request, most)

    async def close(self) -> None:
        """Close the connections on which nothing is asked."""
        closing = [connection.abort() for connection in self._idle]
        self._idle.clear()
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        for closed in closing:
            await closed

    def _rests(self, connection: _Connection) -> None:
        self._idle[connection] = self._reactor.seconds()
        if self._tidying is None:
            self._tidying = self._reactor.callLater(_KEPT_S, self._tidy)

    def _ended(self, connection: _Connection) -> None:
        self._idle.pop(connection, None)

    def _tidy(self) -> None:
        """Close those that nobody needs."""
        self._tidying = None
        last_s = self._reactor.seconds() - _KEPT_S
        for connection in [one for one, since_s in self._idle.items() if since_s <= last_s]:
            del self._idle[connection]
            connection.close()
        if self._idle:
            oldest_s = next(iter(self._idle.values()))
            self._tidying = self._reactor.callLater(oldest_s - last_s, self._tidy)


class _ClosedUnanswered(NoAnswer):
    """The connection ended, and nothing had come for the request."""


class _Connection(Protocol):
    """One connection."""

    transport: Any

    def __init__(
        self, rests: Callable[[_Connection], None], ended: Callable[[_Connection], None], arrivals: Arrivals | None
    ) -> None:
        """`rests` is told that it waits for another request, and `ended` that it is gone."""
        self._rests = rests
        self._ended = ended
        self._inbox = None if arrivals is None else Inbox(arrivals, self._take, self._cut)
        self._reader = AnswerReader()
        self._answering: Deferred[Answer] | None = None
        self._gone: Deferred[None] | None = None

    def ask(self, request: bytes, most: int) -> Deferred[Answer]:
        """Send a request; only while it rests, or is new. See `PollConnections.get`."""
        self._reader.begin(most)
        answering: Deferred[Answer] = Deferred(self._cancelled)
        self._answering = answering
        self.transport.write(request)
        return answering

    def close(self) -> None:
        """End it; only while it rests."""
        self.transport.loseConnection()

    def abort(self) -> Deferred[None]:
        """End it at once; fires when it is gone."""
        gone: Deferred[None] = Deferred()
        self._gone = gone
        self._cut()
        return gone

    def dataReceived(self, data: bytes) -> None:
        """What comes takes its turn."""
        if self._inbox is None:
            self._take(data)
        else:
            self._inbox.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone: so is what was asked, unless that was how to see the answer's end."""
        if self._inbox is not None:
            self._inbox.empty()
        self._ended(self)
        answering, self._answering = self._answering, None
        if answering is not None:
            try:
                answer = self._last(reason)
            except (NoAnswer, BodyTooLarge):
                answering.errback()
            else:
                answering.callback(answer)
        if self._gone is not None:
            self._gone.callback(None)

    def _last(self, reason: Failure) -> Answer:
        """The answer that ends with its connection."""
        if not self._reader.has_begun and reason.check(ConnectionDone, ConnectionLost):
            raise _ClosedUnanswered
        answer = self._reader.ended() if reason.check(ConnectionDone) else None
        if answer is None:
            raise NoAnswer(type(reason.value).__name__)
        return answer

    def _take(self, data: bytes) -> None:
        answering = self._answering
        if answering is None:
            # nobody asked
            self._cut()
            return
        try:
            answer = self._reader.received(data)
        except (NoAnswer, BodyTooLarge):
            self._answering = None
            self._cut()
            answering.errback()
            return
        if answer is None:
            return
        self._answering = None
        if self._reader.keeps:
            self._rests(self)
        else:
            self.transport.loseConnection()
        answering.callback(answer)

    def _cancelled(self, answering: Deferred[Answer]) -> None:
        self._answering = None
        self._cut()

    def _cut(self) -> None:
        self.transport.abortConnection()
