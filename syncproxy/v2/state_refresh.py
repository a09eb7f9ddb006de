"""What a gap hid: rooms whose state a homeserver without `state_after` may have told wrong are fetched once.

The storage marks such a room (`unsure_nid` of its summary) until its whole state came. That is fetched in the
background, one room at a time, rooms that somebody looks at first; large rooms are left as they are
(spec/upstream.md, "Members come lazily").
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from syncproxy.metrics import Metrics
from syncproxy.pubsub.payloads import Payload
from syncproxy.rooms.changes import RoomChange
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.outcomes import told
from syncproxy.v2.state_blocks import RestingRooms, StateBlocks

#: members of a room that is left as it is
_LARGE = 5000
#: how long a room that could not be fetched is left alone, in s
_RETRY_S = 600.0


class StateRefresh:
    """Fetches the state of rooms with gaps; it is told of every payload.

    `viewers` are the users in memory who are in a room, `token_of` gives the token that a user is polled with.
    """

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        blocks: StateBlocks,
        clock: IReactorTime,
        metrics: Metrics,
        viewers: Callable[[str], Collection[str]],
        token_of: Callable[[str], AccessToken | None],
    ) -> None:
        self._blocks = blocks
        self._metrics = metrics
        self._viewers = viewers
        self._token_of = token_of
        #: rooms to fetch, and whose poll brought the last change of each
        self._wanted: dict[str, str | None] = {}
        self._resting = RestingRooms(clock, _RETRY_S)
        self._fetching: Deferred[None] | None = None
        self._stopped = False

    def received(self, payload: Payload) -> None:
        """Note the rooms that have a gap that hides something, and those that have none any more."""
        for change in payload.changes:
            if isinstance(change, RoomChange):
                self._note(change)
        if self._fetching is None:
            self._next()

    async def stop(self) -> None:
        """Fetch no more."""
        self._stopped = True
        if self._fetching is not None:
            self._fetching.cancel()

    def _note(self, change: RoomChange) -> None:
        room_id, summary = change.room_id, change.summary
        if not summary.unsure_nid or summary.joined_count > _LARGE:
            self._wanted.pop(room_id, None)
        elif room_id not in self._resting:
            self._wanted[room_id] = change.handed_to or self._wanted.get(room_id)

    def _next(self) -> None:
        while self._wanted and not self._stopped:
            room_id = next((room_id for room_id in self._wanted if self._viewers(room_id)), next(iter(self._wanted)))
            handed_to = self._wanted.pop(room_id)
            token = self._token(room_id, handed_to)
            # a room that nobody polled is in will be back with its next change
            if token is not None:
                self._fetching = ensureDeferred(self._blocks.fetch_state(token, room_id))
                self._fetching.addErrback(self._could_not_fetch, room_id)
                self._fetching.addCallback(self._fetched)
                return

    def _token(self, room_id: str, handed_to: str | None) -> AccessToken | None:
        users = [*self._viewers(room_id), *([] if handed_to is None else [handed_to])]
        return next((token for token in map(self._token_of, users) if token is not None), None)

    def _could_not_fetch(self, failure: Failure, room_id: str) -> None:
        if failure.check(CancelledError):
            return
        self._resting.add(room_id)
        self._metrics.errors.labels("state").inc()
        self._log.warn(
            "The state of {room_id} could not be had: {problem}", room_id=room_id, problem=told(failure.value)
        )

    def _fetched(self, result: None) -> None:
        self._fetching = None
        self._next()
