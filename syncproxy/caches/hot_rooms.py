"""The rooms whose events and state are in memory: bounded in bytes, loaded in bulk, one load per room at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from weakref import WeakValueDictionary

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from syncproxy.caches.hot_room import TIMELINE_EVENTS, HotRoom, RoomWant
from syncproxy.caches.reads import RoomReads
from syncproxy.caches.together import together
from syncproxy.errors import NotReady
from syncproxy.matrix.events import StateEntry
from syncproxy.rooms.changes import ReceiptsChange, RoomChange
from syncproxy.rooms.receipts import Receipt
from syncproxy.shelf import Shelf

#: of the rooms that nobody holds at the moment, those that were used last are kept as they are, in bytes; others packed
_MOST_WHOLE = 64 * 1024 * 1024
#: a room that is larger, for the members in it that somebody asked for, takes too long to be packed: up to 1 ms below
_LARGEST = 128 * 1024
#: a room may be loaded for something else, or miss a change, while it is waited for
_ATTEMPTS = 8


@attrs.define
class _Load:
    room: HotRoom
    want: RoomWant
    bound: int
    waiters: list[Deferred[HotRoom]] = attrs.field(factory=list)


class HotRooms:
    """Rooms in memory: kept current as long as anybody holds them, and the last used ones up to `cache_bytes`."""

    _log = Logger()

    def __init__(
        self,
        reads: RoomReads,
        position_of: Callable[[str], int],
        now: Callable[[], int],
        cache_bytes: int,
    ) -> None:
        """`position_of` tells a room's position (0: unknown room), `now` the newest position of all."""
        self._reads = reads
        self._position_of = position_of
        self._now = now
        self._rooms: WeakValueDictionary[str, HotRoom] = WeakValueDictionary()
        self._loading: dict[str, _Load] = {}
        whole = min(_MOST_WHOLE, cache_bytes // 2)
        packed = (cache_bytes - whole) // 2
        large = cache_bytes - whole - packed
        self._kept = Shelf(HotRoom.packed, HotRoom.unpacked, whole, lambda room: room.cost, packed, _LARGEST, large)

    def get(self, want: RoomWant, *, passing: bool = False) -> HotRoom | None:
        """The room, if everything wanted is in memory. `passing`: one of so many that none is taken for used."""
        room = None if want.at is not None else self._known(want.room_id, passing=passing)
        if room is None or not room.satisfies(want):
            return None
        if not passing:
            self._kept.put(want.room_id, room)
        return room

    async def load(self, wants: Iterable[RoomWant]) -> dict[str, HotRoom]:
        """The known ones of these rooms, with everything wanted. Raises what the database raises."""
        wants = list(wants)
        frozen = await self._frozen([want for want in wants if want.at is not None])
        wants = [want for want in wants if want.at is None and self._position_of(want.room_id)]
        return {**frozen, **await self._live(wants)}

    async def _live(self, wants: Sequence[RoomWant]) -> dict[str, HotRoom]:
        # held until all are there: the bound in bytes may be smaller than what is loaded together
        held: dict[str, HotRoom] = {}
        for _ in range(_ATTEMPTS):
            missing = []
            for want in wants:
                room = self.get(want)
                if room is None:
                    missing.append(want)
                else:
                    held[want.room_id] = room
            if not missing:
                return held
            held.update(await self._brought(missing))
        raise NotReady("The room changes faster than it can be read")

    async def _frozen(self, wants: Sequence[RoomWant]) -> dict[str, HotRoom]:
        """Rooms as they were: nobody else holds them, and nothing changes them."""
        loads = [_Load(HotRoom(want.room_id, want.at or 0, 0), want, want.at or 0) for want in wants]
        stored = [load for load in loads if load.want.snapshot_of is None]
        if stored:
            await self._read(stored)
        for load in loads:
            if load.want.snapshot_of is not None:
                snapshot = await self._reads.snapshot(load.want.snapshot_of, load.room.room_id)
                load.room.take_timeline(snapshot.timeline)
                load.room.take_all_members((StateEntry(one.nid, one) for one in snapshot.state), load.bound)
                load.room.is_ready = True
        return {load.room.room_id: load.room for load in loads}

    def room_changed(self, change: RoomChange) -> None:
        """Apply what is new to a room in memory; one that missed a change is forgotten."""
        room = self._known(change.room_id)
        if room is None:
            return
        if not room.room_changed(change):
            self._log.warn("A room's cache missed a change and is read anew: {room_id}", room_id=change.room_id)
            self.evict(change.room_id)
        else:
            self._changed(room)

    def receipts_changed(self, change: ReceiptsChange) -> None:
        """Apply new receipts to a room in memory."""
        room = self._known(change.room_id)
        if room is not None:
            room.receipts_changed(change.receipts)
            self._changed(room)

    def evict(self, room_id: str) -> None:
        """Forget a room; who holds it keeps a value that is not kept current any more."""
        self._rooms.pop(room_id, None)
        self._kept.pop(room_id)

    def bring(self, room_id: str) -> None:
        """If the room is in memory, have it as it is, not packed."""
        self._known(room_id)

    def _known(self, room_id: str, *, passing: bool = False) -> HotRoom | None:
        """The room, if somebody holds it or it is kept."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._kept.peek(room_id) if passing else self._kept.get(room_id)
            if room is not None:
                self._rooms[room_id] = room
        return room

    def _changed(self, room: HotRoom) -> None:
        """It is other than when it was kept, which may be as bytes."""
        if room.room_id in self._kept:
            self._kept.put(room.room_id, room)

    async def _brought(self, wants: Iterable[RoomWant]) -> dict[str, HotRoom]:
        """Load these rooms, or wait for loads of them that are under way (which may be for something else)."""
        mine: dict[str, _Load] = {}
        waiting: list[Deferred[HotRoom]] = []
        for want in wants:
            load = self._loading.get(want.room_id)
            if load is None:
                mine[want.room_id] = self._registered(want)
            elif want.room_id not in mine:
                waiter: Deferred[HotRoom] = Deferred()
                load.waiters.append(waiter)
                waiting.append(waiter)
        held = {room_id: load.room for room_id, load in mine.items()}
        if mine:
            await self._finish(mine)
        for waiter in waiting:
            room = await waiter
            held[room.room_id] = room
        return held

    def _registered(self, want: RoomWant) -> _Load:
        room = self._known(want.room_id)
        if room is None:
            room = HotRoom(want.room_id, self._position_of(want.room_id), self._now())
            self._rooms[want.room_id] = room
        load = self._loading[want.room_id] = _Load(room, want, room.position)
        return load

    async def _finish(self, loads: dict[str, _Load]) -> None:
        try:
            await self._read(list(loads.values()))
        finally:
            for room_id, load in loads.items():
                del self._loading[room_id]
                if not load.room.is_ready and self._rooms.get(room_id) is load.room:
                    self.evict(room_id)
            for load in loads.values():
                for waiter in load.waiters:
                    if not waiter.called:
                        waiter.callback(load.room)

    async def _read(self, loads: list[_Load]) -> None:
        now = self._now()
        await together(
            self._read_rooms([load for load in loads if not load.room.is_ready]),
            self._read_members([load for load in loads if load.room.missing_members(load.want.members)]),
            *(self._read_all_members(load) for load in loads if load.room.lacks_all_members(load.want)),
            self._read_changes(
                [load for load in loads if load.room.lacks_changes(load.want) or load.room.lacks_ended(load.want)]
            ),
        )
        await together(
            self._read_receipts([load for load in loads if load.room.lacks_receipts(load.want)]),
            self._read_new_receipts([load for load in loads if load.room.lacks_receipts_since(load.want)], now),
        )
        for load in loads:
            load.room.is_ready = True
            if self._rooms.get(load.room.room_id) is load.room:
                self._kept.put(load.room.room_id, load.room)

    async def _read_rooms(self, loads: list[_Load]) -> None:
        if not loads:
            return
        bounds = {load.room.room_id: load.bound for load in loads}
        timelines, state = await together(self._reads.timelines(bounds, TIMELINE_EVENTS), self._reads.state(bounds))
        for load in loads:
            load.room.take_timeline(timelines.get(load.room.room_id, ()))
            load.room.take_state(state.get(load.room.room_id, ()), load.bound)

    async def _read_members(self, loads: list[_Load]) -> None:
        if not loads:
            return
        bounds = {load.room.room_id: load.bound for load in loads}
        wanted = {load.room.room_id: load.room.missing_members(load.want.members) for load in loads}
        found = await self._reads.members(bounds, wanted)
        for load in loads:
            room_id = load.room.room_id
            load.room.take_members(wanted[room_id], found.get(room_id, ()), load.bound)

    async def _read_all_members(self, load: _Load) -> None:
        load.room.take_all_members(await self._reads.all_members(load.room.room_id, load.bound), load.bound)

    async def _read_changes(self, loads: list[_Load]) -> None:
        if not loads:
            return
        after = {load.room.room_id: load.want.since or 0 for load in loads}
        found = await self._reads.state_since({load.room.room_id: load.bound for load in loads}, after)
        for load in loads:
            room_id = load.room.room_id
            load.room.take_changes(found.get(room_id, ()), after[room_id], load.bound)
        if ending := [load for load in loads if load.want.ended]:
            await self._read_ended(ending)

    async def _read_ended(self, loads: list[_Load]) -> None:
        after = {load.room.room_id: load.want.since or 0 for load in loads}
        found = await self._reads.ended_since({load.room.room_id: load.bound for load in loads}, after)
        for load in loads:
            room_id = load.room.room_id
            load.room.take_ended(found.get(room_id, ()), after[room_id], load.bound)

    async def _read_receipts(self, loads: list[_Load]) -> None:
        if not loads:
            return
        events = {load.room.room_id: [event.event_id for event in load.room.timeline] for load in loads}
        found = _by_room(await self._reads.receipts_on(events))
        for load in loads:
            load.room.take_receipts(found.get(load.room.room_id, ()))

    async def _read_new_receipts(self, loads: list[_Load], now: int) -> None:
        if not loads:
            return
        after = {load.room.room_id: load.want.since or 0 for load in loads}
        found = _by_room(await self._reads.receipts_since(after, now))
        for load in loads:
            room_id = load.room.room_id
            load.room.take_receipts_since(found.get(room_id, ()), after[room_id])


def _by_room(receipts: Iterable[Receipt]) -> dict[str, list[Receipt]]:
    found: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        found.setdefault(receipt.room_id, []).append(receipt)
    return found
