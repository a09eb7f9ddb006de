"""One sliding sync request from its token to its answer."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from syncproxy.connection.conn_map import ConnMap
from syncproxy.errors import InvalidParam, MatrixError, UnknownToken
from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import Request
from syncproxy.v2.poller_map import PollerMap
from syncproxy.v2.tokens import Identity, TokenMap
from syncproxy.web.penalties import RejectedTokens


class HungUp(Exception):
    """The client went away before its request reached a connection: there is nobody to answer."""


class SyncRequests:
    """Serves sync requests: identifies the token, sees that the device is polled, and asks its connection."""

    _log = Logger()

    def __init__(
        self, tokens: TokenMap, pollers: PollerMap, conns: ConnMap, metrics: Metrics, clock: IReactorTime
    ) -> None:
        self._tokens = tokens
        self._pollers = pollers
        self._conns = conns
        self._metrics = metrics
        self._clock = clock
        self._rejected = RejectedTokens(clock)

    def at_once(self, request: IRequest, dialect: Dialect, token: str) -> bytes | Request | None:
        """The answer's JSON, if all that it takes is known already. Raises `MatrixError`.

        Else what is asked for, for `answer`; `None`: whoever asks is not known yet.
        """
        arrived = perf_counter()
        identity = self._tokens.known(token)
        if identity is None:
            return None
        content = request.content.read()
        # whoever is asked otherwise reads it again
        request.content.seek(0)
        asked = dialect.parse(content, query_parameters(request))
        if asked.pos is None or asked.timeout_ms or not self._pollers.goes_on_polling(identity):
            return asked
        set_up_s = perf_counter() - arrived
        body = self._conns.at_once(identity.device, asked, dialect)
        if body is None:
            return asked
        self._metrics.request_setup.observe(set_up_s)
        presences, device = self._pollers.presences, identity.device
        presences.begun(device, asked.conn_id, asked.set_presence)
        presences.ended(device, asked.conn_id, self._clock.seconds())
        return body

    async def answer(
        self,
        request: IRequest,
        dialect: Dialect,
        token: str,
        token_hash: bytes,
        address: str | None,
        hung_up: Deferred[None],
        asked: Request | None,
    ) -> bytes:
        """The answer's JSON. `asked`: what `at_once` made of the request, if it did.

        Raises `MatrixError` for everything a client is told of, `HungUp` if it is gone.
        """
        arrived = perf_counter()
        identity = await self._identify(token, token_hash, address)
        if hung_up.called:
            # its body is gone as well
            raise HungUp()
        if asked is None:
            asked = dialect.parse(request.content.read(), query_parameters(request))
        presences, device = self._pollers.presences, identity.device
        presences.begun(device, asked.conn_id, asked.set_presence)
        try:
            return await self._answer(identity, asked, dialect, hung_up, arrived)
        finally:
            presences.ended(device, asked.conn_id, self._clock.seconds())

    async def _answer(
        self, identity: Identity, asked: Request, dialect: Dialect, hung_up: Deferred[None], arrived: float
    ) -> bytes:
        if asked.pos is None:
            await self._pollers.ensure_polling(identity)
            if hung_up.called:
                # a later request may have opened the connection meanwhile: this one must not start it anew
                raise HungUp()
        elif not self._pollers.goes_on_polling(identity):
            self._pollers.ensure_polling(identity).addErrback(self._could_not_poll)
        self._metrics.request_setup.observe(perf_counter() - arrived)
        return await self._conns.answer(identity.device, identity.token.hash, asked, dialect, hung_up)

    async def _identify(self, token: str, token_hash: bytes, address: str | None) -> Identity:
        self._rejected.check(address, token_hash)
        try:
            identity = await self._tokens.identify(token)
        except UnknownToken:
            self._rejected.rejected(address, token_hash)
            raise
        self._rejected.accepted(token_hash)
        return identity

    def _could_not_poll(self, failure: Failure) -> None:
        """Nobody waits for this poller: connections learn of dead tokens by themselves."""
        if not failure.check(MatrixError):
            self._log.failure("A poller could not be started", failure)


def query_parameters(request: IRequest) -> Mapping[str, str]:
    """The query's parameters but the token, the first of each name. Raises `InvalidParam` for what is no UTF-8."""
    parameters = [(name, values[0]) for name, values in request.args.items() if name != b"access_token"]
    try:
        return {name.decode("utf-8"): value.decode("utf-8") for name, value in parameters}
    except UnicodeDecodeError as problem:
        raise InvalidParam("The query is not UTF-8") from problem
