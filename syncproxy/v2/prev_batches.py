"""Where to page back from an event that came without `prev_batch`: asked of `/context`, once for all who want to know.

Such tokens are not bound to a user, so that one user's serves all.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from syncproxy.homeserver.client import HomeserverClient
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.gates import Gates
from syncproxy.v2.recently_used import RecentlyUsed

#: requests of one user at the same time
_AT_A_TIME = 4
#: tokens and failures that are remembered
_REMEMBERED = 10_000
#: how long a failed request is not tried again, in s
_RETRY_S = 30.0
_Key = tuple[str, str]


class _Context(msgspec.Struct):
    start: str


class PrevBatches:
    """Finds `prev_batch` tokens. `token_of` gives the token that a device is polled with, if it is."""

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        client: HomeserverClient,
        clock: IReactorTime,
        metrics: Metrics,
        token_of: Callable[[Device], AccessToken | None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._token_of = token_of
        self._gates = Gates(_AT_A_TIME)
        self._found: RecentlyUsed[_Key, str] = RecentlyUsed(_REMEMBERED)
        self._failed_s: RecentlyUsed[_Key, float] = RecentlyUsed(_REMEMBERED)
        self._waiting: dict[_Key, list[Deferred[str | None]]] = {}

    def find(self, device: Device, room_id: str, event_id: str) -> Deferred[str | None]:
        """The token that pages back from this event, asked for as this device; `None` if it is not to be had."""
        key, waiting = (room_id, event_id), Deferred[str | None]()
        token, found = self._token_of(device), self._found.get(key)
        has_failed = self._clock.seconds() - (self._failed_s.get(key) or 0.0) < _RETRY_S
        if found is not None or token is None or has_failed:
            waiting.callback(found)
            return waiting
        others = self._waiting.setdefault(key, [])
        others.append(waiting)
        if len(others) == 1:
            asking = self._gates.run(device.user_id, lambda: ensureDeferred(self._ask(token, key)))
            asking.addErrback(self._could_not_ask, key)
            asking.addCallback(self._tell, key)
        return waiting

    async def _ask(self, token: AccessToken, key: _Key) -> str | None:
        body = await self._client.context(token.secret, *key)
        start = msgspec.json.decode(body, type=_Context).start
        self._found[key] = start
        return start

    def _could_not_ask(self, failure: Failure, key: _Key) -> None:
        self._failed_s[key] = self._clock.seconds()
        self._metrics.errors.labels("context").inc()
        self._log.warn(
            "The context of {event_id} in {room_id} could not be had: {problem}",
            room_id=key[0],
            event_id=key[1],
            problem=failure.getErrorMessage(),
        )

    def _tell(self, found: str | None, key: _Key) -> None:
        for one in self._waiting.pop(key):
            if not one.called:
                one.callback(found)
