"""The UserCaches that are in memory: loaded when asked for, dropped when nobody has used them for a while."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.reads import UserReads
from syncproxy.caches.together import together
from syncproxy.caches.updates import Listener
from syncproxy.caches.user_cache import UserCache, UserFacts
from syncproxy.errors import NotReady
from syncproxy.metrics import Metrics
from syncproxy.rooms.changes import DeviceFacts

#: how long a user without connections stays in memory, in seconds
IDLE_S = 1800
_SWEEP_EVERY_S = 60
#: rooms that take long to be taken in: some 7 us each
_MANY_ROOMS = 500


@attrs.define
class _Entry:
    cache: UserCache
    used_s: float
    #: those who wait for the load; `None` once it is done
    waiters: list[Deferred[UserCache]] | None = attrs.field(factory=list)
    error: Exception | None = None


class UserCacheMap:
    """The users that are in memory, by id."""

    _log = Logger()

    def __init__(
        self,
        reader: UserReads,
        global_cache: GlobalCache,
        tracker: JoinedRoomsTracker,
        clock: IReactorTime,
        metrics: Metrics,
        kind: type[UserCache] = UserCache,
    ) -> None:
        """`kind` is what each user's cache is: tests have some with faults."""
        self._kind = kind
        self._reader = reader
        self._global = global_cache
        self._tracker = tracker
        self._clock = clock
        self._metrics = metrics
        self._entries: dict[str, _Entry] = {}
        self._swept_s = clock.seconds()
        #: listeners that were marked and not woken yet, by `id`
        self._woken: dict[int, Listener] = {}

    def get(self, user_id: str) -> UserCache | None:
        """The user's cache, if it is loaded."""
        entry = self._entries.get(user_id)
        if entry is None or entry.waiters is not None:
            return None
        entry.used_s = self._clock.seconds()
        return entry.cache

    async def load(self, user_id: str) -> UserCache:
        """The user's cache, read from the database if it is not in memory; one read however many ask.

        Raises what the database raises; nothing is kept then.
        """
        entry = self._entries.get(user_id)
        if entry is None:
            entry = self._registered(user_id)
        if entry.waiters is None:
            entry.used_s = self._clock.seconds()
            return entry.cache
        if entry.error is not None:
            raise entry.error
        waiter: Deferred[UserCache] = Deferred()
        entry.waiters.append(waiter)
        return await waiter

    def hearing(self, user_id: str) -> UserCache | None:
        """The user's cache, loaded or being loaded: whom the dispatcher tells."""
        entry = self._entries.get(user_id)
        return None if entry is None else entry.cache

    def evict(self, user_id: str) -> None:
        """Throw a user's cache away; its connections are woken, so that they notice."""
        entry = self._entries.pop(user_id, None)
        self._tracker.forget(user_id)
        if entry is None:
            return
        for listener in entry.cache.evict():
            self._woken[id(listener)] = listener
        if entry.waiters is not None:
            self._fail(entry, NotReady("The user's data failed to load"))

    def take_woken(self) -> list[Listener]:
        """The listeners that were marked since this was called last, in the order in which they were."""
        woken = list(self._woken.values())
        self._woken.clear()
        return woken

    def sweep(self) -> None:
        """Once a minute, drop the users, lists and gaps that are of no use any more."""
        now_s = self._clock.seconds()
        if now_s - self._swept_s < _SWEEP_EVERY_S:
            return
        self._swept_s = now_s
        self._tracker.polled.forget_old_gaps()
        for user_id, entry in list(self._entries.items()):
            entry.cache.forget_unused()
            if not entry.cache.is_idle:
                entry.used_s = now_s
            elif entry.waiters is None and now_s - entry.used_s >= IDLE_S:
                self.evict(user_id)

    def _registered(self, user_id: str) -> _Entry:
        """A cache that hears what is new from now on, and is being filled."""
        cache = self._kind(user_id, self._global, self._tracker, self._woken)
        entry = self._entries[user_id] = _Entry(cache, self._clock.seconds())
        # a load of its own: it goes on even if those who asked for it hang up
        ensureDeferred(self._fill(entry))
        return entry

    async def _fill(self, entry: _Entry) -> None:
        try:
            facts = await self._read(entry.cache.user_id)
            if not entry.cache.evicted:
                entry.cache.loaded(facts)
                if len(facts.rooms) > _MANY_ROOMS:
                    # those who wait sort them, which takes as long
                    await deferLater(self._clock, 0)
            if entry.cache.evicted:
                return
        except Exception as error:
            self._log.failure("The data of {user_id} failed to load", user_id=entry.cache.user_id)
            self._metrics.errors.labels("cache").inc()
            if self._entries.get(entry.cache.user_id) is entry:
                del self._entries[entry.cache.user_id]
            self._fail(entry, error)
            return
        waiters, entry.waiters = entry.waiters or [], None
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(entry.cache)

    async def _read(self, user_id: str) -> UserFacts:
        reader = self._reader
        rooms, account_data, own_receipts, devices, transaction_ids = await together(
            reader.user_rooms(user_id),
            reader.account_data(user_id),
            reader.own_receipts(user_id),
            reader.device_facts(user_id),
            reader.transaction_ids(user_id),
        )
        horizon = await self._horizon(devices)
        return UserFacts(rooms, account_data, own_receipts, devices, transaction_ids, horizon)

    async def _horizon(self, devices: Iterable[DeviceFacts]) -> int:
        """Up to where the user's stored polls vouch for the rooms: the newest of them does, on whatever device."""
        rows = await together(*(self._reader.device(facts.device) for facts in devices))
        return max((row.horizon for row in rows if row is not None and row.since), default=0)

    def _fail(self, entry: _Entry, error: Exception) -> None:
        entry.error = error
        waiters, entry.waiters = entry.waiters or [], []
        for waiter in waiters:
            if not waiter.called:
                waiter.errback(error)
