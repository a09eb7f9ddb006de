"""What is true of rooms for everyone: summaries of all, typing, and the busy ones' events and state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.caches.hot_rooms import HotRooms
from syncproxy.caches.reads import RoomReads
from syncproxy.caches.room_index import RoomIndex
from syncproxy.caches.sticky_rooms import StickyRooms
from syncproxy.caches.typing_rooms import Typing, TypingRooms
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.changes import (
    AccountDataChange,
    Change,
    DeviceChange,
    Polled,
    ReceiptsChange,
    RoomChange,
    StickyChange,
    TypingChange,
    UserRoomChange,
)
from syncproxy.rooms.summary import RoomSummary

#: rooms that are unpacked in one turn at the most
_FORETOLD = 20
__all__ = ["GlobalCache", "HotRoom", "RoomWant", "Typing"]


class GlobalCache:
    """Facts of rooms, true for everyone, always told first. The dispatcher keeps them current."""

    _log = Logger()

    def __init__(self, reader: RoomReads, clock: IReactorTime, metrics: Metrics, cache_bytes: int) -> None:
        """`cache_bytes` bounds the events and state that are kept for rooms that nobody holds at the moment."""
        self._reader = reader
        self._clock = clock
        self._metrics = metrics
        #: the newest nid of all that was dispatched
        self.position = 0
        #: summaries, and how rooms point at each other
        self.index = RoomIndex()
        self._typing = TypingRooms()
        self._sticky = StickyRooms()
        self._hot = HotRooms(reader, self.position_of, lambda: self.position, cache_bytes)

    async def start(self, position: int = 0) -> None:
        """Load the summary of every room; before the first change is dispatched.

        `position` is the newest committed nid: what is newer than any room's position (receipts, account data).
        """
        self.position = max(self.position, position)
        for summary in await self._reader.summaries():
            self.index.put(summary)
            self.position = max(self.position, summary.position)
        for room_id, nid, expires_ms in await self._reader.sticky_rooms(self._now_ms()):
            self._sticky.came(room_id, nid, expires_ms)

    def summary(self, room_id: str) -> RoomSummary | None:
        """The room's derived facts; `None`: unknown room."""
        return self.index.summaries.get(room_id)

    def position_of(self, room_id: str) -> int:
        """The newest nid of the room; 0: unknown room."""
        summary = self.index.summaries.get(room_id)
        return 0 if summary is None else summary.position

    def seconds(self) -> float:
        """The time, in seconds."""
        return self._clock.seconds()

    def typing(self, room_id: str) -> Typing | None:
        """Who types in the room; `None`: there was never a typing event."""
        return self._typing.get(room_id)

    def typing_rooms(self) -> Set[str]:
        """The rooms in which somebody types. Not to be kept."""
        return self._typing.busy

    def sticky_rooms(self) -> Mapping[str, int]:
        """The rooms that have sticky events, with the nid of the newest."""
        return self._sticky.newest(self._now_ms())

    def hot(self, want: RoomWant, *, passing: bool = False) -> HotRoom | None:
        """The room, if everything wanted is in memory. See `HotRooms.get`."""
        return self._hot.get(want, passing=passing)

    async def load(self, wants: Iterable[RoomWant]) -> dict[str, HotRoom]:
        """The rooms with everything wanted in memory; unknown rooms are left out. Keep the result while using it.

        Several wants of one room are loaded one after the other: unite them. Raises what the database raises.
        """
        return await self._hot.load(wants)

    def foretold(self, room_ids: Collection[str]) -> None:
        """These rooms are about to change: unless they are many, have them at hand as they are, not packed.

        A live event would feel how long it takes to unpack one.
        """
        for room_id in room_ids if len(room_ids) <= _FORETOLD else ():
            self.index.summaries.get(room_id)
            self._hot.bring(room_id)

    def changed(self, change: Change) -> RoomSummary | None:
        """Take in a change, if it is one that is true for everyone; a room's summary as it was before."""
        previous = None
        if isinstance(change, RoomChange):
            previous = self.index.put(change.summary)
            self._note(change.position)
            self._room_changed(change)
        elif isinstance(change, ReceiptsChange):
            self._note(max((receipt.nid for receipt in change.receipts), default=0))
            self._hot.receipts_changed(change)
        elif isinstance(change, StickyChange):
            self._note(change.nid)
            self._sticky.came(change.room_id, change.nid, change.expires_ms)
        elif isinstance(change, AccountDataChange):
            self._note(change.nid)
        elif isinstance(change, DeviceChange):
            self._note(max(change.facts.to_device_position, change.facts.device_list_position))
        elif isinstance(change, UserRoomChange):
            if change.row.membership != "join":
                self._typing.user_left(change.row.user_id, change.row.room_id, self._clock.seconds())
        elif isinstance(change, Polled):
            self._typing.polled(change.device, self._clock.seconds())
        return previous

    def room_purged(self, room_id: str, position: int) -> None:
        """The room as it was at this position is no longer stored; one that came back meanwhile has another."""
        if self.position_of(room_id) == position:
            self.index.remove(room_id)
            self._hot.evict(room_id)
            self._typing.forget(room_id)
            self._sticky.forget(room_id)

    def typing_changed(self, change: TypingChange) -> bool:
        """Take in who is typing; whether that changed anything."""
        return self._typing.typing_changed(change, self._clock.seconds())

    def stale_typing(self) -> list[str]:
        """End the typing that sources left behind; the rooms where that changed anything."""
        return self._typing.clear_stale(self._clock.seconds())

    def typing_stale_at_s(self) -> float | None:
        """When `stale_typing` will have something to do."""
        return self._typing.stale_at_s()

    def poller_stopped(self, device: Device) -> None:
        """The device's poller is gone: another one's word on typing counts now."""
        self._typing.source_died(device, self._clock.seconds())

    def _room_changed(self, change: RoomChange) -> None:
        try:
            self._hot.room_changed(change)
        except Exception:
            self._log.failure("A room's cache failed and is read anew: {room_id}", room_id=change.room_id)
            self._metrics.errors.labels("cache").inc()
            self._hot.evict(change.room_id)

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)

    def _note(self, nid: int) -> None:
        self.position = max(self.position, nid)
