"""A request's body on its way from a client to the homeserver: no more of it is read than the homeserver takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
class ClientBody:
    """Takes what the client's connection reads, and has that paused until the homeserver wants more."""

    def __init__(self, length: int | None, connection: Any, progress: Callable[[], None]) -> None:
        """`length` in bytes, `None`: it comes in chunks. `connection` can be paused; `progress` hears of each piece."""
        self.length: Any = UNKNOWN_LENGTH if length is None else length
        #: whether all of it was read
        self.is_complete = False
        #: whether the client is kept from sending more
        self.is_paused = False
        self._connection = connection
        self._progress = progress
        self._consumer: IConsumer | None = None
        #: what was read before anybody wanted it
        self._waiting: list[bytes] = []
        #: whether the rest is thrown away
        self.is_unwanted = False
        self._written: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self.pauseProducing()

    # What the client's connection tells

    def received(self, data: bytes) -> None:
        """A piece was read."""
        # an empty chunk would end the body
        if not data or self.is_unwanted:
            return
        self._progress()
        if self._consumer is None:
            self._waiting.append(data)
        else:
            self._consumer.write(data)

    def ended(self) -> None:
        """All of it was read."""
        self.is_complete = True
        self._resume_connection()
        self._end_if_complete()

    # What the homeserver's connection asks

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """The homeserver takes it."""
        self._consumer = consumer
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            consumer.write(data)
        self._end_if_complete()
        self.resumeProducing()
        return self._written

    def pauseProducing(self) -> None:
        """Read no more for now."""
        if not (self.is_complete or self.is_paused or self.is_unwanted):
            self.is_paused = True
            self._connection.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._progress()
        self._resume_connection()

    def stopProducing(self) -> None:
        """Nobody wants the rest: it is read and thrown away."""
        self.is_unwanted = True
        self._waiting.clear()
        self._consumer = None
        self._resume_connection()

    def _resume_connection(self) -> None:
        if self.is_paused:
            self.is_paused = False
            self._connection.resumeProducing()

    def _end_if_complete(self) -> None:
        if self.is_complete and self._consumer is not None and not self._written.called:
            self._written.callback(None)
