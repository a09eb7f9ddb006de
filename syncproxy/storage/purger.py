"""Purging, every few minutes: finds what goes, bounded, and has the one writer let it go (spec/rooms.md, "Purging")."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.storage import purging
from syncproxy.storage.database import Database
from syncproxy.storage.prepared import Statement
from syncproxy.storage.purge_finder import Finder, unfrozen
from syncproxy.storage.work import Purge
from syncproxy.storage.writer import Writer

_EVERY_S = 300
_HOUR_MS = 3_600_000
_MONTH_MS = 30 * 24 * _HOUR_MS
#: rows in one statement (10 ms; answers are stored between two of them), and how often a run comes back to one kind
_ROWS = 500
_ROUNDS = 200
#: rooms looked at, rooms purged, and devices purged at a time
_LOOKED_AT = 500
_ROOMS = 20
_DEVICES = 20


class Pollers(Protocol):
    """Who is polled for."""

    @property
    def devices(self) -> Collection[Device]:
        """The devices that have a poller."""

    async def while_none_begins(self, do: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this while no device gets a poller."""


class Purger:
    """Lets go of what nobody can ask for any more, a bounded part at a time.

    `rooms_purged(rooms, users)` is called with the rooms that are gone and those who were in one of them (or invited),
    while none of their devices has a poller.
    """

    _log = Logger(namespace="syncproxy")

    def __init__(
        self, database: Database, writer: Writer, pollers: Pollers, clock: IReactorTime, metrics: Metrics
    ) -> None:
        self._find = Finder(database)
        self._writer = writer
        self._pollers = pollers
        self._clock = clock
        self._metrics = metrics
        self._loop = LoopingCall(self._begin)
        self._loop.clock = clock
        self._running: Deferred[None] | None = None
        self._next_hourly_ms = 0
        #: up to where ended rows were looked at; rows of frozen views are passed by until the next time round
        self._ended_up_to = 0
        self._next_room = ""
        #: the position of each room when its events were looked at last
        self._looked_at: dict[str, int] = {}
        self.rooms_purged: Callable[[Sequence[purging.IdleRoom], Collection[str]], None] = lambda rooms, users: None

    def start(self) -> None:
        """Purge every five minutes from now on."""
        self._loop.start(_EVERY_S, now=False)

    async def stop(self) -> None:
        """Purge no more."""
        if self._loop.running:
            self._loop.stop()
        if self._running is not None:
            # a database that is away must not hold us
            self._running.cancel()

    def _begin(self) -> Deferred[None]:
        self._running = ensureDeferred(self.run())
        return self._running

    async def run(self) -> None:
        """Purge once. What fails is logged and left for the next time."""
        now_ms = int(self._clock.seconds() * 1000)
        steps = [self._mark, self._ended_state, self._old_events, self._transaction_ids, self._sticky_events]
        if now_ms >= self._next_hourly_ms:
            self._next_hourly_ms = now_ms + _HOUR_MS
            steps += [self._snapshots, self._idle_connections, self._note_polled, self._dead_devices, self._idle_rooms]
        for step in steps:
            try:
                await step(now_ms)
            except CancelledError:
                return
            except Exception:
                self._log.failure("Purging failed and is tried again later")
                self._metrics.errors.labels("purging").inc()

    async def _mark(self, now_ms: int) -> None:
        await self._do(purging.mark(now_ms, now_ms - _MONTH_MS))

    async def _ended_state(self, now_ms: int) -> None:
        """State that is not current for an hour, save that of frozen views."""
        old = await self._find.position_at(now_ms - _HOUR_MS)
        month_old = await self._find.position_at(now_ms - _MONTH_MS)
        for _ in range(_ROUNDS):
            rows = await self._find.ended_state(self._ended_up_to, old, _ROWS)
            if going := unfrozen(rows, await self._find.frozen({row.room_id for row in rows}, month_old)):
                await self._do(purging.without_state(going))
            self._ended_up_to = rows[-1].valid_to if len(rows) == _ROWS else 0
            if not self._ended_up_to:
                return

    async def _old_events(self, now_ms: int) -> None:
        """Timeline events that no window reaches."""
        month_old = await self._find.position_at(now_ms - _MONTH_MS)
        for _ in range(_ROUNDS):
            rooms = await self._find.rooms(self._next_room, _LOOKED_AT)
            changed = [room_id for room_id, position in rooms if self._looked_at.get(room_id) != position]
            keys = await self._find.old_events(changed, await self._find.frozen(changed, month_old), _ROWS)
            if keys:
                await self._do(purging.without_events(keys))
            if len(keys) == _ROWS:
                continue
            self._looked_at.update(rooms)
            self._next_room = rooms[-1][0] if len(rooms) == _LOOKED_AT else ""
            if not self._next_room:
                return

    async def _snapshots(self, now_ms: int) -> None:
        """Snapshots of rooms that were left 30 days ago."""
        month_old = await self._find.position_at(now_ms - _MONTH_MS)
        for _ in range(_ROUNDS):
            if not await self._find.has_snapshots(month_old):
                return
            await self._do(purging.without_snapshots(month_old, _ROWS))

    async def _transaction_ids(self, now_ms: int) -> None:
        for _ in range(_ROUNDS):
            keys = await self._find.old_transaction_ids(now_ms - _HOUR_MS, _ROWS)
            if keys:
                await self._do(purging.without_transaction_ids(keys))
            if len(keys) < _ROWS:
                return

    async def _sticky_events(self, now_ms: int) -> None:
        """Events that are not sticky any more."""
        for _ in range(_ROUNDS):
            if not await self._find.has_expired_sticky_events(now_ms):
                return
            await self._do(purging.without_sticky_events(now_ms, _ROWS))

    async def _idle_connections(self, now_ms: int) -> None:
        """Connections that were not used for 30 days, with their deltas."""
        # one hour, for when one was used is known to the hour; and one in which nobody finds it any more, so that none
        # goes that was found just now, which is not written yet
        before_ms = now_ms - _MONTH_MS - 2 * _HOUR_MS
        for _ in range(_ROUNDS):
            if not await self._find.has_idle_connections(before_ms):
                return
            await self._do(purging.without_connections(before_ms))

    async def _note_polled(self, now_ms: int) -> None:
        await self._do(purging.polled(self._pollers.devices, now_ms))

    async def _dead_devices(self, now_ms: int) -> None:
        """Devices without a token for 30 days, with all that waits for them."""
        before_ms = now_ms - _MONTH_MS
        for _ in range(_ROUNDS):
            devices = await self._find.dead_devices(before_ms, _DEVICES)
            if not devices:
                return
            await self._do(purging.without_devices(devices, before_ms, _ROWS))

    async def _idle_rooms(self, now_ms: int) -> None:
        """Rooms none of whose members was polled for in 30 days."""
        before_ms = now_ms - _MONTH_MS
        month_old = await self._find.position_at(before_ms)
        after = ""
        for _ in range(_ROUNDS):
            rooms = await self._find.idle_rooms(after, before_ms, _ROOMS)
            shown = await self._find.shown_frozen([room.room_id for room in rooms], before_ms, month_old)
            going = [room for room in rooms if room.room_id not in shown]
            if going:
                # a poller that began meanwhile would go on from a `since` behind which the rooms' state lies
                await self._pollers.while_none_begins(partial(self._purge_rooms, going, now_ms))
            if len(rooms) < _ROOMS:
                return
            after = rooms[-1].room_id

    async def _purge_rooms(self, rooms: Sequence[purging.IdleRoom], now_ms: int) -> None:
        ids = [room.room_id for room in rooms]
        users = await self._find.members_of(ids)
        statements = [*purging.polled(self._pollers.devices, now_ms), *purging.without_rooms(rooms, now_ms - _MONTH_MS)]
        await self._do(statements)
        still_there = await self._find.existing(ids)
        gone = [room for room in rooms if room.room_id not in still_there]
        for room in gone:
            self._looked_at.pop(room.room_id, None)
        self.rooms_purged(gone, users)

    async def _do(self, statements: Iterable[Statement]) -> None:
        statements = tuple(statements)
        if statements:
            await self._writer.do(Purge(statements))
