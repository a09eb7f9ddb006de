"""Where to page back from an event that came without `prev_batch`: asked of `/context`, once for all who want to know.

Such tokens are not bound to a user, so that one user's serves all: it is stored with the event.
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
from syncproxy.rooms.answers import ContextAnswer
from syncproxy.storage.writer import Writer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.gates import Gates
from syncproxy.v2.outcomes import told
from syncproxy.v2.recently_used import RecentlyUsed
from syncproxy.v2.sections import storable

#: requests of one user at the same time, and events that are asked about, waiting ones included
_AT_A_TIME = 4
_MOST_WAITING = 1000
#: failures that are remembered
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
        writer: Writer,
        clock: IReactorTime,
        metrics: Metrics,
        token_of: Callable[[Device], AccessToken | None],
    ) -> None:
        self._client = client
        self._writer = writer
        self._clock = clock
        self._metrics = metrics
        self._token_of = token_of
        self._gates = Gates(_AT_A_TIME)
        self._failed_s: RecentlyUsed[_Key, float] = RecentlyUsed(_REMEMBERED)
        self._waiting: dict[_Key, list[Deferred[str | None]]] = {}

    def find(self, device: Device, room_id: str, event_id: str) -> Deferred[str | None]:
        """The token that pages back from this event, asked for as this device and stored; `None` if there is none.

        Never fails. What failed is not asked again for half a minute.
        """
        key, waiting = (room_id, event_id), Deferred[str | None]()
        token, failed_s = self._token_of(device), self._failed_s.get(key)
        has_failed = failed_s is not None and self._clock.seconds() - failed_s < _RETRY_S
        is_full = key not in self._waiting and len(self._waiting) >= _MOST_WAITING
        if token is None or has_failed or is_full:
            waiting.callback(None)
            return waiting
        others = self._waiting.setdefault(key, [])
        others.append(waiting)
        if len(others) == 1:
            asking = self._gates.run(device.user_id, lambda: ensureDeferred(self._ask(token, key)))
            asking.addErrback(self._could_not_ask, key)
            asking.addCallback(self._tell, key)
        return waiting

    async def _ask(self, token: AccessToken, key: _Key) -> str | None:
        position = self._writer.position
        body = await self._client.context(token.secret, *key)
        start = storable(msgspec.json.decode(body, type=_Context).start)
        if start is None:
            raise ValueError("the token cannot be stored")
        await self._writer.store(ContextAnswer(key[0], position, int(self._clock.seconds() * 1000), key[1], start))
        return start

    def _could_not_ask(self, failure: Failure, key: _Key) -> None:
        self._failed_s[key] = self._clock.seconds()
        self._metrics.errors.labels("context").inc()
        self._log.warn(
            "The context of {event_id} in {room_id} could not be had: {problem}",
            room_id=key[0],
            event_id=key[1],
            problem=told(failure.value),
        )

    def _tell(self, found: str | None, key: _Key) -> None:
        for one in self._waiting.pop(key):
            if not one.called:
                one.callback(found)
