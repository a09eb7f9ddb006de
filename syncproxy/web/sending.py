"""Sending large answers: no faster than their clients read them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.iweb import IRequest
from zope.interface import implementer

#: what is given to the client's connection at a time, in bytes; it takes as much again before it asks for a pause
_PIECE = 64 * 1024
#: how long a client may take for a piece, in seconds
STALLED_S = 60.0


async def sent(request: IRequest, body: bytes, clock: IReactorTime) -> bytes:
    """Send all but the last piece of a body whose head is set; returns that piece.

    What waits for a slow client is not copied: beside the body itself, two pieces are in memory at the most. Twisted
    would end a connection a minute after the whole answer was written, however much of it the client still reads;
    here that minute is for each piece. A client that does not take one in time is cut off.
    """
    if len(body) <= _PIECE:
        return body
    sending = _Sending(request, body, clock)
    # the request's interface leaves out which kinds of producers there are
    whole: Any = request
    whole.notifyFinish().addErrback(lambda _: sending.given_up())
    # a producer that is asked for each piece is wrapped by Twisted in a circle, which would keep the body in memory
    whole.registerProducer(sending, True)
    sending.resumeProducing()
    return await sending.done


@implementer(IPushProducer)
class _Sending:
    """One body on its way."""

    def __init__(self, request: Any, body: bytes, clock: IReactorTime) -> None:
        #: fires with the last piece, which is empty if the client is gone
        self.done: Deferred[bytes] = Deferred()
        self._request = request
        self._body = body
        self._position = 0
        self._is_paused = True
        self._patience: IDelayedCall = clock.callLater(STALLED_S, self._stalled)

    def pauseProducing(self) -> None:
        """The connection takes no more for now."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """The connection takes more, until it says otherwise."""
        self._is_paused = False
        while not self._is_paused and not self.done.called:
            piece = self._body[self._position : self._position + _PIECE]
            self._position += _PIECE
            if self._position >= len(self._body):
                self._request.unregisterProducer()
                self._end(piece)
            else:
                self._patience.reset(STALLED_S)
                self._request.write(piece)

    def stopProducing(self) -> None:
        """Nothing more is taken: the request is about to be told that its client is gone."""

    def given_up(self) -> None:
        """The client is gone."""
        self._end(b"")

    def _stalled(self) -> None:
        self._request.channel.transport.abortConnection()

    def _end(self, piece: bytes) -> None:
        if self._patience.active():
            self._patience.cancel()
        if not self.done.called:
            self.done.callback(piece)
