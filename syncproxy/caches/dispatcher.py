"""Tells the caches what is new: the GlobalCache first, then the users who may hear, then wakes connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Concatenate, ParamSpec

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from syncproxy.arrivals import Arrivals
from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.held_events import Release
from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.room_news import RoomNews, room_news
from syncproxy.caches.updates import Mark
from syncproxy.caches.user_cache import UserCache
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.pubsub.payloads import Payload
from syncproxy.rooms.changes import (
    AccountDataChange,
    Change,
    DeviceChange,
    Polled,
    ReceiptsChange,
    RoomChange,
    StickyChange,
    TransactionIds,
    TypingChange,
    UserRoomChange,
)
from syncproxy.rooms.visibility import new_gap, vouched_for
from syncproxy.turns import SLICE_S

_P = ParamSpec("_P")
#: one user to tell one thing, as a step of a job
_Step = Iterator[None]
#: what is to be told to all in a room; a room id: who types in it; and whose own events are held no more
_News = RoomNews | ReceiptsChange | StickyChange | str | Release


class Dispatcher:
    """Takes payloads from the Bus to the caches.

    What is true for everyone, and what concerns one user, is applied before `received` returns. Telling all who are
    in a room, and waking connections, may go on in later turns, at most 10 ms each: until a user was told, the
    user's lists and marks are those of a moment ago, and no connection is woken before its whole batch was told.
    """

    _log = Logger()

    def __init__(
        self,
        global_cache: GlobalCache,
        tracker: JoinedRoomsTracker,
        user_caches: UserCacheMap,
        clock: IReactorTime,
        metrics: Metrics,
        arrivals: Arrivals | None = None,
    ) -> None:
        """`arrivals` wait while connections are woken and answer, not while caches are told: a login tells many."""
        self._arrivals = arrivals
        self._global = global_cache
        self._tracker = tracker
        self._users = user_caches
        self._clock = clock
        self._metrics = metrics
        self._jobs: deque[_Step] = deque()
        #: whether the jobs are being worked on, or will be in a later turn
        self._working = False
        self._expiring: IDelayedCall | None = None
        self._clearing: IDelayedCall | None = None

    def received(self, payload: Payload) -> None:
        """Apply a committed batch: caches before this returns, listeners as the class says. Never raises."""
        told = self._apply_global(payload.changes)
        for change in payload.changes:
            self._tell_owner(change)
        self._users.sweep()
        self._go_on_with(told)

    def poller_stopped(self, device: Device) -> None:
        """The device's poller is gone: another one's word on typing counts now."""
        self._global.poller_stopped(device)
        self._clear_typing_in_time()

    def stop(self) -> None:
        """Nothing more will be received."""
        for call in (self._expiring, self._clearing):
            if call is not None:
                call.cancel()
        self._expiring = self._clearing = None
        self._tell_first(False)

    # What is true for everyone

    def _apply_global(self, changes: Iterable[Change]) -> list[_News]:
        """Take in what is true for everyone; what those who are in the rooms are to be told."""
        told: list[_News] = []
        for change in changes:
            try:
                told += self._applied(change)
            except Exception:
                self._log.failure("A change could not be taken in: {kind}", kind=type(change).__name__)
                self._metrics.errors.labels("cache").inc()
        return told

    def _applied(self, change: Change) -> list[_News]:
        previous = self._global.changed(change)
        if isinstance(change, RoomChange):
            gap_nid = new_gap(change, previous)
            if gap_nid:
                self._tracker.polled.gap_came(change.room_id, gap_nid, previous, self._vouched_for(change))
            self._tracker.held.came(change, previous, self._tracker.polled, self._clock.seconds())
            return [room_news(change, previous, self._global.index)]
        if isinstance(change, ReceiptsChange | StickyChange):
            return [change]
        if isinstance(change, TypingChange) and self._global.typing_changed(change):
            return [change.room_id]
        if isinstance(change, Polled) and change.complete:
            self._tracker.polled.finished(change.device.user_id, change.position)
        if isinstance(change, TransactionIds):
            return [*self._tracker.held.told(change)]
        return []

    def _vouched_for(self, change: RoomChange) -> set[str]:
        """Those whom a gap does not concern, as far as they are polled: of thousands of members few are."""
        polled = self._tracker.polled
        users = vouched_for(change)
        return {user for user in users if user == change.handed_to or polled.position(user) is not None}

    # What concerns one user

    def _tell_owner(self, change: Change) -> None:
        if isinstance(change, UserRoomChange):
            self._tell(change.row.user_id, UserCache.user_room_changed, change)
        elif isinstance(change, AccountDataChange):
            self._tell(change.user_id, UserCache.account_data_changed, change)
        elif isinstance(change, DeviceChange):
            self._tell(change.facts.device.user_id, UserCache.device_changed, change.facts)
        elif isinstance(change, TransactionIds):
            self._tell(change.device.user_id, UserCache.transaction_ids_came, change)
        elif isinstance(change, Polled) and change.complete:
            self._tell(change.device.user_id, UserCache.polled)
        elif isinstance(change, ReceiptsChange):
            for receipt in change.receipts:
                self._tell(receipt.user_id, UserCache.own_receipts_changed, (receipt,))

    def _tell(
        self, user_id: str, tell: Callable[Concatenate[UserCache, _P], None], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        """Tell a user who is in memory; one whose cache fails is evicted, the others still hear."""
        user = self._users.hearing(user_id)
        if user is None:
            return
        try:
            tell(user, *args, **kwargs)
        except Exception:
            self._log.failure("The cache of {user_id} failed and is loaded anew", user_id=user_id)
            self._metrics.errors.labels("cache").inc()
            self._users.evict(user_id)

    # What all in a room are told

    def _tell_rooms(self, told: Iterable[_News]) -> _Step:
        for news in told:
            if isinstance(news, RoomNews):
                yield from self._tell_room_news(news)
            elif isinstance(news, str):
                yield from self._tell_mark(news, Mark.TYPING)
            elif isinstance(news, Release):
                self._tell(news.user_id, UserCache.released, news.room_id)
                yield
            elif isinstance(news, StickyChange):
                yield from self._tell_mark(news.room_id, Mark.STICKY)
            elif any(not receipt.private for receipt in news.receipts):
                yield from self._tell_mark(news.room_id, Mark.RECEIPTS)

    def _tell_room_news(self, news: RoomNews) -> _Step:
        room_id = news.change.room_id
        for user_id in tuple(self._tracker.users(room_id)):
            self._tell(user_id, UserCache.room_changed, news)
            yield
        # a tombstone puts the replacement in spaces, also for those who are in or invited to the replacement only
        for other in news.related - {room_id}:
            for user_id in self._tracker.listing(other):
                self._tell(user_id, UserCache.reevaluate, (other,))
                yield

    def _tell_mark(self, room_id: str, mark: Mark) -> _Step:
        for user_id in tuple(self._tracker.users(room_id)):
            self._tell(user_id, UserCache.room_heard, room_id, mark)
            yield

    def _wake(self) -> _Step:
        self._tell_first(True)
        try:
            for listener in self._users.take_woken():
                self._hear(True)
                try:
                    listener.wake()
                except Exception:
                    self._log.failure("A connection failed to wake")
                    self._metrics.errors.labels("listener").inc()
                finally:
                    self._hear(False)
                yield
        finally:
            self._tell_first(False)

    # Turns

    def _go_on_with(self, told: Iterable[_News]) -> None:
        self._jobs.append(self._tell_rooms(told))
        self._jobs.append(self._wake())
        ends_s = self._tracker.held.ends_s
        if ends_s is not None and self._expiring is None:
            self._expiring = self._clock.callLater(max(ends_s - self._clock.seconds(), 0), self._expire)
        self._clear_typing_in_time()
        if not self._working:
            self._work()

    def _clear_typing_in_time(self) -> None:
        stale_at_s = self._global.typing_stale_at_s()
        if stale_at_s is not None and self._clearing is None:
            self._clearing = self._clock.callLater(max(stale_at_s - self._clock.seconds(), 0), self._clear_typing)

    def _clear_typing(self) -> None:
        """End the typing that sources left which are gone."""
        self._clearing = None
        self._go_on_with(self._global.stale_typing())

    def _expire(self) -> None:
        """Own events that waited long enough for their transaction ids go out without."""
        self._expiring = None
        self._go_on_with(self._tracker.held.expired(self._clock.seconds()))

    def _work(self) -> None:
        """Work on the jobs in order, for at most 10 ms; the rest in turns of its own."""
        self._working = True
        ends = perf_counter() + SLICE_S
        while self._jobs:
            try:
                for _ in self._jobs[0]:
                    if perf_counter() >= ends:
                        self._clock.callLater(0, self._work)
                        return
            except Exception:
                # the others must still hear
                self._log.failure("What is new could not be told")
                self._metrics.errors.labels("cache").inc()
            self._jobs.popleft()
        self._working = False

    def _hear(self, is_heard: bool) -> None:
        if self._arrivals is not None:
            self._arrivals.is_heard = is_heard

    def _tell_first(self, telling: bool) -> None:
        if self._arrivals is not None:
            self._arrivals.telling = telling
