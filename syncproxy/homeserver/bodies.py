"""Reading an answer's body so that giving up closes the connection, which treq's and Twisted's own readers do not."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse


def read_body(response: IResponse) -> Deferred[bytes]:
    """The whole body. Fails if the connection breaks before its announced end; cancelling closes the connection."""
    body = _Body()
    response.deliverBody(body)
    return body.read


class _Body(Protocol):
    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.read: Deferred[bytes] = Deferred(self._cancelled)

    def dataReceived(self, data: bytes) -> None:
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.read.called:
            return
        # with neither length nor chunks announced, the end of the connection is the end of the body
        if reason.check(ResponseDone, PotentialDataLoss):
            self.read.callback(b"".join(self._parts))
        else:
            self.read.errback(reason)

    def _cancelled(self, read: Deferred[bytes]) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
