"""Reading an answer's body so that giving up closes the connection, which treq's and Twisted's own readers do not."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

#: bytes of the longest body that is put together: longer ones are never in one piece in this process
MOST_JOINED = 32 * 1024 * 1024
#: bytes of a part: what comes in crumbs must not cost more than it is
_PART = 1024 * 1024


class BodyTooLarge(Exception):
    """There is more of the body than is taken."""


@attrs.frozen
class LargeBody:
    """A body of more than MOST_JOINED bytes, in the parts that came."""

    parts: tuple[bytes, ...]


Body = bytes | LargeBody


class Parts:
    """A body as it comes, put together in the end."""

    def __init__(self, most: int) -> None:
        """`most` bytes are taken."""
        self._most = most
        self._parts: list[bytes] = []
        self._part = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """The next bytes. Raises BodyTooLarge, and forgets all of it then."""
        self._size += len(data)
        if self._size > self._most:
            self.forget()
            raise BodyTooLarge
        self._part += data
        if len(self._part) >= _PART:
            self._end_part()

    def whole(self) -> Body:
        """All of it."""
        self._end_part()
        if self._size > MOST_JOINED:
            return LargeBody(tuple(self._parts))
        return b"".join(self._parts)

    def forget(self) -> None:
        """Let go of what came."""
        self._parts.clear()
        self._part.clear()

    def _end_part(self) -> None:
        self._parts.append(bytes(self._part))
        self._part.clear()


def read_body(response: IResponse, most: int) -> Deferred[Body]:
    """The whole body, of `most` bytes at the most.

    Fails if the connection breaks before its announced end, and with BodyTooLarge as soon as there is more; that, and
    cancelling, closes the connection.
    """
    body = _Body(most)
    response.deliverBody(body)
    if response.length is not UNKNOWN_LENGTH and response.length > most:
        body.refuse()
    return body.read


class _Body(Protocol):
    def __init__(self, most: int) -> None:
        self._parts = Parts(most)
        self.read: Deferred[Body] = Deferred(self._cancelled)

    def dataReceived(self, data: bytes) -> None:
        if self.read.called:
            return
        try:
            self._parts.add(data)
        except BodyTooLarge:
            self.refuse()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.read.called:
            return
        # with neither length nor chunks announced, the end of the connection is the end of the body
        if reason.check(ResponseDone, PotentialDataLoss):
            self.read.callback(self._parts.whole())
        else:
            self.read.errback(reason)

    def refuse(self) -> None:
        """There is too much: forget it, and have no more of it."""
        if not self.read.called:
            self._forget()
            self.read.errback(BodyTooLarge())

    def _cancelled(self, read: Deferred[Body]) -> None:
        self._forget()

    def _forget(self) -> None:
        self._parts.forget()
        if self.transport is not None:
            self.transport.loseConnection()
