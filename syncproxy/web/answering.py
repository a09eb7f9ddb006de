"""Errors to HTTP: whatever becomes of a sync request, its client gets an answer."""

from __future__ import annotations

from hashlib import sha256
from secrets import token_hex
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.server import NOT_DONE_YET

from syncproxy.errors import MatrixError, NotReady, UnknownPos
from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import Request
from syncproxy.web import responses
from syncproxy.web.authentication import access_token, client_address
from syncproxy.web.penalties import Failures
from syncproxy.web.sending import sent
from syncproxy.web.settings import WebSettings
from syncproxy.web.sync import HungUp, SyncRequests

#: what a 503 asks for where nothing else is said, in seconds
_RETRY_AFTER_S = 5


class Answering:
    """Answers sync requests over HTTP: errors as the table in spec/msc3575.md has them, repeated ones ever later."""

    _log = Logger()

    def __init__(self, requests: SyncRequests, settings: WebSettings, metrics: Metrics, clock: IReactorTime) -> None:
        self._requests = requests
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._failures = Failures(clock)

    def answer(self, request: IRequest, dialect: Dialect) -> bytes | int:
        """The response's body, its head being set, if nothing has to be waited for; else it follows: `NOT_DONE_YET`.

        Klein has no part in this: for each request it makes cycles of dozens of objects, which stay until Python looks
        for them. A client that hangs up must not disturb what the answer is made from, which others may share: that
        only fires `hung_up`.
        """
        known = self._at_once(request, dialect)
        if isinstance(known, bytes):
            return known
        hung_up: Deferred[None] = Deferred()
        whole: Any = request
        whole.notifyFinish().addErrback(lambda _: hung_up.callback(None))

        def serve(body: bytes) -> None:
            if not hung_up.called:
                request.write(body)
                request.finish()

        ensureDeferred(self._serve(request, dialect, hung_up, known)).addCallback(serve)
        return NOT_DONE_YET

    def _at_once(self, request: IRequest, dialect: Dialect) -> bytes | Request | None:
        """The body, if nothing has to be waited for; else what is asked for; `None`: that is not known either."""
        try:
            token = access_token(request)
            known = self._requests.at_once(request, dialect, token)
        except MatrixError:
            # it is met with again, and told
            return None
        except Exception:  # it may fare better without haste
            self._unforeseen()
            return None
        if not isinstance(known, bytes):
            return known
        self._failures.succeeded(sha256(token.encode("ascii")).digest())
        return responses.compressed_at_once(request, known)

    async def _serve(
        self, request: IRequest, dialect: Dialect, hung_up: Deferred[None], asked: Request | None
    ) -> bytes:
        address = client_address(request, trust_forwarded_for=self._settings.trust_forwarded_for)
        client = address.encode("utf-8") if address is not None else None
        try:
            token = access_token(request)
            client = token_hash = sha256(token.encode("ascii")).digest()
            body = await self._requests.answer(request, dialect, token, token_hash, address, hung_up, asked)
            self._failures.succeeded(client)
            if len(body) <= responses.SHORT:
                return responses.compressed_at_once(request, body)
            whole = await responses.compressed(request, body, self._clock)
            return b"" if hung_up.called else await sent(request, whole, self._clock)
        except HungUp:
            return b""
        except Exception as error:  # the client gets an answer whatever it is, and the log the traceback
            problem = error if isinstance(error, MatrixError) else self._unforeseen()
            await self._keep_back(problem, client)
            return responses.error(request, _with_patience(problem))

    async def _keep_back(self, problem: MatrixError, client: bytes | None) -> None:
        if client is None or isinstance(problem, UnknownPos):
            return
        delay_s = self._failures.failed(client)
        if delay_s:
            await deferLater(self._clock, delay_s)

    def _unforeseen(self) -> MatrixError:
        """Called while the error is being handled: logs it, and returns what the client is told."""
        request_id = token_hex(8)
        self._log.failure("Request {request_id} failed", request_id=request_id)
        self._metrics.errors.labels("request").inc()
        return MatrixError(f"Internal error; it is in the log as request {request_id}")


def _with_patience(problem: MatrixError) -> MatrixError:
    if isinstance(problem, NotReady) and problem.retry_after_s is None:
        problem.retry_after_s = _RETRY_AFTER_S
    return problem
