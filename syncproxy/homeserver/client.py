"""The homeserver's Client-Server API, as far as the proxy uses it (spec/upstream.md). Tokens go into headers only."""

from __future__ import annotations

from collections.abc import Coroutine
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import attrs
import msgspec
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IResponse
from zope.interface import implementer

from syncproxy import __version__
from syncproxy.arrivals import Arrivals, Inbox
from syncproxy.homeserver.answer import MOST_OF_AN_ERROR, Answer
from syncproxy.homeserver.bodies import MOST_JOINED, Body, BodyTooLarge, read_body
from syncproxy.homeserver.origin import origin
from syncproxy.homeserver.poll_connections import PollConnections
from syncproxy.homeserver.repairs import UNSOUND
from syncproxy.homeserver.targets import Targets, query

_SHORT_S = 10
_BACKGROUND_S = 60
#: the longest wait that is believed
_LONGEST_WAIT_MS = 24 * 3600 * 1000
#: beyond its own `timeout`
_SYNC_S = 300
_FIRST_SYNC_S = 1800
#: characters of an error's text, which goes into logs
_MOST_OF_A_TEXT = 500
#: bytes of an answer with events, unless said
MOST_OF_A_SYNC = 1024 * 1024 * 1024
#: connections kept open to the homeserver, beside those of pollers
_PERSISTENT = 100
_TOO_MANY_REQUESTS = 429
_HEADERS: dict[bytes | str, bytes | str] = {"User-Agent": f"syncproxy/{__version__}", "Accept": "application/json"}
_HEADER_LINES = "".join(f"{name!s}: {value!s}\r\n" for name, value in _HEADERS.items()).encode()
_SYNC = "/_matrix/client/v3/sync"


class HomeserverUnreachable(Exception):
    """No usable answer: refused, reset, TLS failure, truncated, not JSON, or none in time."""


class HomeserverError(Exception):
    """An answer that is an error. `errcode` is `None` where the body is no Matrix error."""

    def __init__(
        self,
        status: int,
        errcode: str | None,
        message: str,
        *,
        soft_logout: bool = False,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(f"{status} {errcode or 'no errcode'}: {message}")
        self.status = status
        self.errcode = errcode
        self.message = message
        self.soft_logout = soft_logout
        self.retry_after_ms = retry_after_ms


@attrs.frozen
class WhoAmI:
    """Whose token it is; `device_id` is `None` for tokens without a device."""

    user_id: str
    device_id: str | None


class _WhoAmI(msgspec.Struct):
    user_id: str
    device_id: str | None = None


class _ErrorBody(msgspec.Struct):
    errcode: Any = None
    error: Any = None
    soft_logout: Any = False
    retry_after_ms: Any = None


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _OneEndpoint:
    """Every request goes to the homeserver, whatever its URL's host."""

    endpoint: IStreamClientEndpoint

    def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
        return self.endpoint


class _Pool(HTTPConnectionPool):
    """Kept connections, on which what comes takes its turn."""

    def __init__(self, reactor: Any, arrivals: Arrivals | None) -> None:
        super().__init__(reactor, persistent=True)
        self._arrivals = arrivals

    def getConnection(self, key: Any, endpoint: Any) -> Deferred[Any]:
        turning = endpoint if self._arrivals is None else _InTurn(endpoint, self._arrivals)
        connecting: Deferred[Any] = super().getConnection(key, turning)
        return connecting


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _InTurn:
    """Connects to an endpoint; what comes from there takes its turn."""

    endpoint: Any
    arrivals: Arrivals

    def connect(self, factory: Any) -> Deferred[Any]:
        connecting: Deferred[Any] = self.endpoint.connect(factory)
        return connecting.addCallback(self._connected)

    def _connected(self, connection: Any) -> Any:
        lost = connection.connectionLost
        inbox = Inbox(self.arrivals, connection.dataReceived, connection.transport.abortConnection)

        def connection_lost(reason: Any) -> None:
            inbox.empty()
            lost(reason)

        connection.dataReceived = inbox.received
        connection.connectionLost = connection_lost
        return connection


class HomeserverClient:
    """Requests to one homeserver over kept connections.

    `base_url` is `http://…`, `https://…` (certificate and host name are verified) or `unix:/path`. Every method raises
    HomeserverError for an answer that is an error, HomeserverUnreachable where there is none. `max_sync_size` in bytes
    is what answers with events may have; longer ones are refused while they come.
    """

    def __init__(
        self,
        reactor: Any,
        base_url: str,
        *,
        agent: IAgent | None = None,
        max_sync_size: int = MOST_OF_A_SYNC,
        arrivals: Arrivals | None = None,
    ) -> None:
        """`arrivals` decides when what comes is taken in; `None`: at once."""
        self._reactor = reactor
        self._max_sync_size = max_sync_size
        self._pool = _Pool(reactor, arrivals)
        self._pool.maxPersistentPerHost = _PERSISTENT
        self._pool.cachedConnectionTimeout = 60
        where = origin(reactor, base_url)
        self._targets = Targets(where.url)
        if agent is None:
            agent = Agent.usingEndpointFactory(reactor, _OneEndpoint(where.endpoint), self._pool)
        self._http = HTTPClient(agent)
        self._polls = PollConnections(reactor, where, _HEADER_LINES, arrivals)
        self._in_flight: set[Deferred[Any]] = set()
        self._closed = False

    async def close(self) -> None:
        """Give up what is asked just now, which gets HomeserverUnreachable, and close all connections."""
        self._closed = True
        for getting in list(self._in_flight):
            getting.cancel()
        await self._polls.close()
        await self._pool.closeCachedConnections()

    async def versions(self, token: str | None = None) -> bytes:
        """`GET /_matrix/client/versions`, as the user of this token may see it."""
        return await self._get("/_matrix/client/versions", token, {}, _SHORT_S)

    async def whoami(self, token: str) -> WhoAmI:
        """Whose token this is."""
        body = await self._get("/_matrix/client/v3/account/whoami", token, {}, _SHORT_S)
        try:
            known = msgspec.json.decode(body, type=_WhoAmI)
        except UNSOUND as problem:
            raise HomeserverUnreachable(f"whoami: {type(problem).__name__}") from None
        return WhoAmI(known.user_id, known.device_id)

    async def sync(
        self, token: str, *, since: str | None, timeout_ms: int, filter: str, set_presence: str = "offline"
    ) -> Body:
        """One `/sync`: the body as it came."""
        asked = _sync_target(timeout_ms, filter, set_presence)
        target = asked if since is None else asked + b"&since=" + quote(since, safe="").encode()
        limit_s = _FIRST_SYNC_S if since is None else timeout_ms / 1000 + _SYNC_S
        polling = self._polls.get(target, token, self._max_sync_size)
        return await self._answer(_SYNC, polling, token, limit_s, self._max_sync_size)

    async def members(self, token: str, room_id: str) -> Body:
        """All members of a room."""
        return await self._get_events(_room(room_id, "members"), token, {}, _BACKGROUND_S)

    async def state(self, token: str, room_id: str) -> Body:
        """The whole current state of a room."""
        return await self._get_events(_room(room_id, "state"), token, {}, _BACKGROUND_S)

    async def context(self, token: str, room_id: str, event_id: str) -> bytes:
        """The tokens around an event, without events."""
        path = _room(room_id, f"context/{quote(event_id, safe='')}")
        return await self._get(path, token, {"limit": "0"}, _BACKGROUND_S)

    async def keys_changes(self, token: str, *, since: str, until: str) -> bytes:
        """Whose devices changed between two tokens of `/sync`."""
        parameters = {"from": since, "to": until}
        return await self._get("/_matrix/client/v3/keys/changes", token, parameters, _BACKGROUND_S)

    async def _get(self, path: str, token: str | None, parameters: dict[str, str], limit_s: float) -> bytes:
        asking = self._exchange(path, token, parameters, MOST_JOINED)
        body = await self._answer(path, asking, token, limit_s, MOST_JOINED)
        if not isinstance(body, bytes):
            raise AssertionError("joined up to this size")
        return body

    async def _get_events(self, path: str, token: str, parameters: dict[str, str], limit_s: float) -> Body:
        asking = self._exchange(path, token, parameters, self._max_sync_size)
        return await self._answer(path, asking, token, limit_s, self._max_sync_size)

    async def _answer(
        self, path: str, asking: Coroutine[Any, Any, Answer], token: str | None, limit_s: float, most: int
    ) -> Body:
        """The body that `asking` brings, in so many seconds; `path` and `most` are for messages."""
        if self._closed:
            asking.close()
            raise HomeserverUnreachable(f"{path}: the proxy is stopping")
        getting = ensureDeferred(asking)
        getting.addTimeout(limit_s, self._reactor)
        self._in_flight.add(getting)
        try:
            answer = await getting
        except CancelledError:
            if not self._closed:
                raise
            raise HomeserverUnreachable(f"{path}: the proxy is stopping") from None
        except BodyTooLarge:
            option = ": see --max-sync-size" if most == self._max_sync_size else ""
            raise HomeserverUnreachable(f"{path}: the answer has more than {most} bytes{option}") from None
        except Exception as problem:
            # the exception's text could have the URL's parameters: its kind says enough
            raise HomeserverUnreachable(f"{path}: {type(problem).__name__}") from None
        finally:
            self._in_flight.discard(getting)
        if answer.status == 200:
            return answer.body
        wait_ms = self._wait_ms(answer.retry_after) if answer.status == _TOO_MANY_REQUESTS else None
        raise _error(answer.status, wait_ms, answer.body if isinstance(answer.body, bytes) else b"", token)

    async def _exchange(self, path: str, token: str | None, parameters: dict[str, str], most: int) -> Answer:
        headers = _HEADERS if token is None else {**_HEADERS, "Authorization": f"Bearer {token}"}
        target = self._targets.of(path, parameters)
        response = await self._http.get(target, headers=headers, unbuffered=True, allow_redirects=False)
        retry_after = response.headers.getRawHeaders("Retry-After", [None])[0]
        return Answer(response.code, retry_after, await _read(response, most))

    def _wait_ms(self, retry_after: str | None) -> int | None:
        """The wait that a `Retry-After` asks for: seconds or a date."""
        if retry_after is None:
            return None
        try:
            if retry_after.isdecimal():
                # Python takes no numbers of thousands of digits
                return min(int(retry_after) * 1000, _LONGEST_WAIT_MS)
            wait_s = parsedate_to_datetime(retry_after).timestamp() - self._reactor.seconds()
        except (ValueError, OverflowError):
            return None
        return int(min(max(wait_s * 1000, 0), _LONGEST_WAIT_MS))


@lru_cache(maxsize=1024)
def _sync_target(timeout_ms: int, filter: str, set_presence: str) -> bytes:
    """What is the same in poll after poll."""
    parameters = {
        "timeout": str(timeout_ms),
        "set_presence": set_presence,
        "filter": filter,
        "use_state_after": "true",
        "org.matrix.msc4222.use_state_after": "true",
    }
    return (_SYNC + query(parameters)).encode()


def _room(room_id: str, what: str) -> str:
    return f"/_matrix/client/v3/rooms/{quote(room_id, safe='')}/{what}"


async def _read(response: IResponse, most: int) -> Body:
    if response.code == 200:
        return await read_body(response, most)
    try:
        return await read_body(response, MOST_OF_AN_ERROR)
    except BodyTooLarge:
        # its status says enough
        return b""


def _error(status: int, wait_ms: int | None, body: bytes, token: str | None) -> HomeserverError:
    try:
        said = msgspec.json.decode(body, type=_ErrorBody)
    except UNSOUND:
        said = _ErrorBody()
    message = said.error if isinstance(said.error, str) else "no reason given"
    named_ms = said.retry_after_ms if status == _TOO_MANY_REQUESTS else None
    if isinstance(named_ms, int | float) and not isinstance(named_ms, bool):
        wait_ms = int(min(max(named_ms, 0), _LONGEST_WAIT_MS))
    return HomeserverError(
        status,
        said.errcode[:_MOST_OF_A_TEXT] if isinstance(said.errcode, str) else None,
        # a homeserver that quotes the token must not bring it into logs
        (message.replace(token, "…") if token else message)[:_MOST_OF_A_TEXT],
        soft_logout=said.soft_logout is True,
        retry_after_ms=wait_ms,
    )
