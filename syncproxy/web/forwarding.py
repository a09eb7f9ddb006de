"""Requests that are passed on to the homeserver (`--forward`), both ways as they come, never held as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from zope.interface import implementer

from syncproxy.errors import HomeserverDown, InvalidParam, MatrixError
from syncproxy.homeserver.client import HomeserverUnreachable
from syncproxy.homeserver.hops import end_to_end
from syncproxy.homeserver.relay import Relay, RelayedAnswer
from syncproxy.metrics import Metrics
from syncproxy.web import responses
from syncproxy.web.client_body import ClientBody
from syncproxy.web.forwarded_for import Asker, tell_asker
from syncproxy.web.stored_positions import StoredPositions
from syncproxy.web.targets import Route, route

#: how long the homeserver may take for the head of an answer, in seconds: a first `/sync` takes long
_HEAD_S = 1800
#: how long nothing may move of a body, either way, in seconds
_STILL_S = 300
_log = Logger()


class Forwarding:
    """Passes on what clients ask of the homeserver. `own`: see `targets.route`."""

    def __init__(
        self,
        relay: Relay,
        positions: StoredPositions,
        own: Mapping[bytes, frozenset[bytes] | None],
        metrics: Metrics,
        *,
        trust_forwarded_for: bool,
    ) -> None:
        self.relay = relay
        self.positions = positions
        self.trust_forwarded_for = trust_forwarded_for
        self._own = own
        self._metrics = metrics

    def taken(self, request: Any, method: bytes, target: bytes, length: int | None) -> Forwarded | None:
        """A request whose head is read, its body having this length (`None`: unknown); `None`: it is not passed on.

        The request then tells of its body: `body_received`, `body_ended`.
        """
        way = route(method, target, self._own)
        if way is Route.HERE:
            return None
        forwarded = Forwarded(request, self, length)
        forwarded.refused = way is Route.REFUSED
        if length != 0:
            forwarded.begin()
        return forwarded

    def counted(self, outcome: str) -> None:
        """A request has ended."""
        self._metrics.forwarded.labels(outcome).inc()


class Forwarded:
    """One request on its way to the homeserver and back."""

    def __init__(self, request: Any, forwarding: Forwarding, length: int | None) -> None:
        """`request` is one of twisted.web's, of which only the head was read."""
        self.refused = False
        self._request = request
        self._forwarding = forwarding
        self._body = None if length == 0 else ClientBody(length, request.channel.transport, self.moved)
        self._asking: Deferred[RelayedAnswer] | None = None
        self._answer: RelayedAnswer | None = None
        self._patience: IDelayedCall | None = None
        self._lingering: IDelayedCall | None = None
        self._is_over = False

    @property
    def is_paused(self) -> bool:
        """Whether the client is kept from sending more of its body."""
        return self._body is not None and self._body.is_paused

    # What the client's connection tells

    def begin(self) -> None:
        """Pass the request on."""
        # what the homeserver gives no type gets none
        self._request.defaultContentType = None
        self._request.notifyFinish().addErrback(self._hung_up)
        if self.refused:
            # whoever asks before sending must not be told to go on
            self._request.requestHeaders.removeHeader(b"expect")
            self._fail(InvalidParam("The path is not plain"), "refused")
            return
        self._patience = self._request.channel.callLater(_HEAD_S if self._body is None else _STILL_S, self._timed_out)
        ensureDeferred(self._serve()).addErrback(self._stumbled)

    def body_received(self, data: bytes) -> None:
        """A piece of its body."""
        if self._body is not None:
            self._body.received(data)

    def body_ended(self) -> None:
        """All of its body is there, or it has none."""
        if self._body is None:
            self.begin()
            return
        self._body.ended()
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
            self._request.finish()
        elif self._answer is None and self._patience is not None and self._patience.active():
            self._patience.reset(_HEAD_S)

    def moved(self) -> None:
        """Something of a body went on."""
        if self._patience is not None and self._patience.active():
            self._patience.reset(_STILL_S)

    # There

    async def _serve(self) -> None:
        try:
            target = await self._forwarding.positions.replaced(self._request)
            if self._is_over:
                return
            self._asking = ensureDeferred(
                self._forwarding.relay.ask(self._request.method, target, self._headers(), self._body)
            )
            answer = await self._asking
        except HomeserverUnreachable as problem:
            if not self._is_over:
                _log.debug("{path} was not answered: {problem}", path=self._request.path, problem=problem)
                self._fail(HomeserverDown("The homeserver does not answer"), "failed")
            return
        self._answer = answer
        self._pass_back(answer)

    def _headers(self) -> Headers:
        request, came = self._request, self._request.requestHeaders
        headers = end_to_end(came, came.getRawHeaders(b"connection", ()))
        address = getattr(request.getClientAddress(), "host", None)
        asker = Asker(address, request.isSecure(), came.getRawHeaders(b"host", [None])[0])
        tell_asker(headers, asker, trusted=self._forwarding.trust_forwarded_for)
        return headers

    def _stumbled(self, failure: Failure) -> None:
        """An error of ours: its client gets an answer, or sees that it is cut off."""
        _log.failure("A request could not be passed on", failure)
        if self._is_over:
            return
        if self._answer is None:
            self._fail(MatrixError("Internal error"), "failed")
        else:
            self._answer.abort()
            self.body_broke()

    # And back

    def _pass_back(self, answer: RelayedAnswer) -> None:
        request = self._request
        request.setResponseCode(answer.status, answer.phrase)
        for name, values in answer.headers.getAllRawHeaders():
            request.responseHeaders.setRawHeaders(name, values)
        if answer.length is not None:
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % answer.length])
        self._forget_body()
        self.moved()
        # the head must not wait for the first byte of the body
        request.write(b"")
        receiver = _Receiver(self, request)
        request.registerProducer(receiver, True)
        answer.deliver(receiver)

    def body_is_whole(self) -> None:
        """The answer's body has come to its end."""
        if self._is_over:
            return
        self._request.unregisterProducer()
        self._end("answered")
        if self._answer is not None and self._body is not None and self._body.is_unwanted:
            # of itself the connection would wait for the rest of the upload
            self._answer.abort()
        self._finish()

    def body_broke(self) -> None:
        """The homeserver's connection ended before the body did: the client must not take it for whole."""
        if not self._is_over:
            self._end("failed")
            self._request.channel.transport.abortConnection()

    def _fail(self, problem: MatrixError, outcome: str) -> None:
        self._end(outcome)
        body = responses.error(self._request, problem)
        self._forget_body()
        self._request.write(body)
        self._finish()

    def _forget_body(self) -> None:
        """It is answered before its body was read: the rest is thrown away, and the connection is of no more use."""
        if self._body is not None and not self._body.is_complete:
            self._body.stopProducing()
            self._request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            self._request.channel.persistent = False

    def _finish(self) -> None:
        if self._body is None or self._body.is_complete:
            self._request.finish()
        else:
            # closing at once would reset the connection, and the client might never see the answer
            channel = self._request.channel
            self._lingering = channel.callLater(channel.site.linger_s, self._cut)

    def _cut(self) -> None:
        channel = self._request.channel
        self._request.finish()
        channel.ignore_rest()

    # Endings

    def _hung_up(self, reason: Failure) -> None:
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        if not self._is_over:
            self._end("hung_up")
            self._give_up()

    def _timed_out(self) -> None:
        self._give_up()
        if self._answer is not None:
            self.body_broke()

    def _give_up(self) -> None:
        if self._answer is not None:
            self._answer.abort()
        elif self._asking is not None:
            self._asking.cancel()

    def _end(self, outcome: str) -> None:
        self._is_over = True
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._forwarding.counted(outcome)


@implementer(IPushProducer)
class _Receiver(Protocol):
    """Takes an answer's body, no faster than the client reads it."""

    transport: Any

    def __init__(self, forwarded: Forwarded, request: Any) -> None:
        self._forwarded = forwarded
        self._request = request

    def dataReceived(self, data: bytes) -> None:
        self._forwarded.moved()
        self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # with neither length nor chunks announced, the end of the connection is the end of the body
        if reason.check(ResponseDone, PotentialDataLoss):
            self._forwarded.body_is_whole()
        else:
            self._forwarded.body_broke()

    def pauseProducing(self) -> None:
        """The client has enough for now."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client reads on."""
        self._forwarded.moved()
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The client is gone, of which the request is told."""
