"""A room's members, or its whole state, fetched on demand and stored: a state block as old as its request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from twisted.internet.interfaces import IReactorTime

from syncproxy.homeserver.bodies import Body
from syncproxy.homeserver.client import HomeserverClient
from syncproxy.homeserver.decoding import Decoding
from syncproxy.matrix.events import Event
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import MembersAnswer, StateAnswer
from syncproxy.storage.writer import Writer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.dropping import Dropped
from syncproxy.v2.event_lists import state_events
from syncproxy.v2.recently_used import RecentlyUsed

#: rooms that are remembered to rest
_MOST_RESTING = 1000


class StateBlocks:
    """Fetches them. Every method raises what the client, the decoding and the writer raise."""

    def __init__(
        self, client: HomeserverClient, writer: Writer, clock: IReactorTime, metrics: Metrics, decoding: Decoding
    ) -> None:
        self._client = client
        self._writer = writer
        self._clock = clock
        self._decoding = decoding
        self._dropped = Dropped(lambda kind: metrics.errors.labels(kind).inc())

    async def fetch_members(self, token: AccessToken, room_id: str) -> None:
        """Return when all members of the room are stored and told."""
        position = self._writer.position
        body = await self._client.members(token.secret, room_id)
        received_ms, events = await self._events(body, room_id, self._decoding.members)
        members = tuple(event for event in events if event.type == "m.room.member")
        await self._writer.store(MembersAnswer(room_id, position, received_ms, members))

    async def fetch_state(self, token: AccessToken, room_id: str) -> None:
        """Return when the room's whole state is stored and told. Raises ValueError for half a state."""
        position = self._writer.position
        body = await self._client.state(token.secret, room_id)
        received_ms, events = await self._events(body, room_id, self._decoding.state)
        if not any(event.type == "m.room.create" for event in events):
            # what is not in it would end: half a state is worse than an unsure one
            raise ValueError("the state has no m.room.create")
        await self._writer.store(StateAnswer(room_id, position, received_ms, tuple(events)))

    async def _events(
        self, body: Body, room_id: str, decode: Callable[[Body], Awaitable[list[msgspec.Raw]]]
    ) -> tuple[int, list[Event]]:
        """When the body came, in ms, and the state events in it."""
        received_ms = int(self._clock.seconds() * 1000)
        return received_ms, await state_events(await decode(body), room_id, self._clock, self._dropped)


class RestingRooms:
    """Rooms whose fetch failed: they are left alone for `rest_s` seconds."""

    def __init__(self, clock: IReactorTime, rest_s: float) -> None:
        self._clock = clock
        self._rest_s = rest_s
        self._failed_s: RecentlyUsed[str, float] = RecentlyUsed(_MOST_RESTING)

    def __contains__(self, room_id: str) -> bool:
        failed_s = self._failed_s.get(room_id)
        return failed_s is not None and self._clock.seconds() - failed_s < self._rest_s

    def add(self, room_id: str) -> None:
        """Its fetch failed just now."""
        self._failed_s[room_id] = self._clock.seconds()
