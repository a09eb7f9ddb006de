"""Members come lazily; who wants all of a room's gets them by `/members`, fetched once for all who ask."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from syncproxy.homeserver.client import HomeserverClient
from syncproxy.homeserver.decoding import Decoding
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import MembersAnswer
from syncproxy.storage.writer import Writer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.dropping import Dropped
from syncproxy.v2.event_lists import state_events
from syncproxy.v2.gates import Gates
from syncproxy.v2.outcomes import told
from syncproxy.v2.recently_used import RecentlyUsed

#: fetches of one user at the same time
_AT_A_TIME = 4
#: how long a failed fetch is not tried again, in seconds
_RETRY_S = 30.0
#: failed fetches that are remembered
_FAILED = 1000


class MemberLists:
    """Completes member lists. `token_of` gives the token that a device is polled with, if it is."""

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        client: HomeserverClient,
        writer: Writer,
        clock: IReactorTime,
        metrics: Metrics,
        token_of: Callable[[Device], AccessToken | None],
        decoding: Decoding,
    ) -> None:
        self._client = client
        self._writer = writer
        self._clock = clock
        self._metrics = metrics
        self._token_of = token_of
        self._decoding = decoding
        self._dropped = Dropped(lambda kind: metrics.errors.labels(kind).inc())
        self._waiting: dict[str, list[Deferred[None]]] = {}
        self._gates = Gates(_AT_A_TIME)
        self._failed_s: RecentlyUsed[str, float] = RecentlyUsed(_FAILED)

    def complete(self, device: Device, room_id: str) -> Deferred[None]:
        """Fires when all members of the room are stored and told, or could not be had; never fails."""
        waiting: Deferred[None] = Deferred()
        token = self._token_of(device)
        if token is None or self._clock.seconds() - (self._failed_s.get(room_id) or 0.0) < _RETRY_S:
            waiting.callback(None)
            return waiting
        others = self._waiting.setdefault(room_id, [])
        others.append(waiting)
        if len(others) == 1:
            fetching = self._gates.run(device.user_id, lambda: ensureDeferred(self._fetch(token, room_id)))
            fetching.addErrback(self._could_not_fetch, room_id)
            fetching.addCallback(lambda _: self._tell(room_id))
        return waiting

    async def _fetch(self, token: AccessToken, room_id: str) -> None:
        position = self._writer.position
        body = await self._client.members(token.secret, room_id)
        events = await state_events(await self._decoding.members(body), room_id, self._clock, self._dropped)
        received_ms = int(self._clock.seconds() * 1000)
        members = tuple(event for event in events if event.type == "m.room.member")
        await self._writer.store(MembersAnswer(room_id, position, received_ms, members))
        self._failed_s.discard(room_id)

    def _could_not_fetch(self, failure: Failure, room_id: str) -> None:
        self._failed_s[room_id] = self._clock.seconds()
        self._metrics.errors.labels("members").inc()
        self._log.warn(
            "The members of {room_id} could not be had: {problem}", room_id=room_id, problem=told(failure.value)
        )

    def _tell(self, room_id: str) -> None:
        for one in self._waiting.pop(room_id):
            if not one.called:
                one.callback(None)
