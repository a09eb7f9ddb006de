"""Any request to the homeserver and its answer, both streamed: what `--forward` passes on.

twisted.web's agent would look into URLs, write headers of its own and read on while nobody takes what it read; its
connections do not. They are used as they are.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol, Request
from twisted.web.client import (
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseNeverReceived,
)
from twisted.web.http import NO_BODY_CODES
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse

from syncproxy.homeserver.client import HomeserverUnreachable
from syncproxy.homeserver.hops import end_to_end
from syncproxy.homeserver.origin import origin

#: connections that are kept while nobody asks, and for how long, in seconds: homeservers close theirs later
_KEPT = 100
_KEPT_S = 15


class RelayedAnswer:
    """An answer whose body is still to come. `length` is that of the body, `None`: it will show."""

    def __init__(self, response: IResponse, headers: Headers, protocol: Any, method: bytes) -> None:
        self.status: int = response.code
        self.phrase: bytes = response.phrase
        self.headers = headers
        has_body = method != b"HEAD" and response.code not in NO_BODY_CODES
        self.length: int | None = None if response.length is UNKNOWN_LENGTH or not has_body else response.length
        self._response = response
        self._protocol = protocol

    def deliver(self, receiver: IProtocol) -> None:
        """Give the body to a protocol, whose transport can be paused. See `IResponse.deliverBody`."""
        self._response.deliverBody(receiver)

    def abort(self) -> None:
        """Have no more of it, and end its connection; only before its body has ended, or if the request's never did."""
        self._protocol.transport.abortConnection()


class Relay:
    """Passes requests to the homeserver at `base_url`. What may be sent twice uses kept connections."""

    def __init__(self, reactor: Any, base_url: str) -> None:
        self._origin = origin(reactor, base_url)
        self._kept = HTTPConnectionPool(reactor, persistent=True)
        self._kept.maxPersistentPerHost = _KEPT
        self._kept.cachedConnectionTimeout = _KEPT_S
        # its retries hide the connection that is behind an answer
        self._kept.retryAutomatically = False
        self._single = HTTPConnectionPool(reactor, persistent=False)

    async def ask(self, method: bytes, target: bytes, headers: Headers, body: IBodyProducer | None) -> RelayedAnswer:
        """The answer's head, as soon as it is there. `target` is sent as it is, and so are the headers, beside `Host`.

        Raises HomeserverUnreachable. Cancelling closes the connection.
        """
        passed = headers.copy()
        passed.setRawHeaders(b"Host", [self._origin.host])
        try:
            if body is not None or method not in (b"GET", b"HEAD", b"OPTIONS"):
                # a kept connection may be closing just now, and this must not be sent twice
                return await self._exchange(self._single, method, target, passed, body)
            return await self._repeatable(method, target, passed)
        except Exception as problem:
            # the exception's text could have the target's parameters: its kind says enough
            raise HomeserverUnreachable(_kind(problem)) from None

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._kept.closeCachedConnections()

    async def _repeatable(self, method: bytes, target: bytes, headers: Headers) -> RelayedAnswer:
        try:
            return await self._exchange(self._kept, method, target, headers, None)
        except (ResponseNeverReceived, RequestTransmissionFailed) as problem:
            if not all(reason.check(ConnectionDone, ConnectionLost) for reason in problem.reasons):
                raise
        return await self._exchange(self._single, method, target, headers, None)

    async def _exchange(
        self, pool: HTTPConnectionPool, method: bytes, target: bytes, headers: Headers, body: IBodyProducer | None
    ) -> RelayedAnswer:
        protocol: HTTP11ClientProtocol = await pool.getConnection(None, self._origin.endpoint)
        request = Request(method, self._origin.path + target, headers, body, persistent=pool.persistent)
        answering = protocol.request(request)
        # the connection forgets its parser with the answer's last byte, which may be one of its first
        parser: Any = protocol._parser
        response = await answering
        named = parser.connHeaders.getRawHeaders(b"connection", ())
        return RelayedAnswer(response, _passed_back(response, named, method), protocol, method)


def _passed_back(response: IResponse, connection: list[bytes], method: bytes) -> Headers:
    # that of an answer to HEAD tells of a body that does not come
    keep = frozenset([b"content-length"]) if method == b"HEAD" else frozenset()
    return end_to_end(response.headers, connection, keep)


def _kind(problem: Exception) -> str:
    reasons = getattr(problem, "reasons", None) or ()
    kinds = [type(reason.value).__name__ for reason in reasons if isinstance(reason, Failure)]
    return ", ".join([type(problem).__name__, *kinds])
