"""A database in memory that honours bounds, and listeners that write down what they hear."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from syncproxy.arrivals import Arrivals
from syncproxy.caches.dispatcher import Dispatcher
from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.updates import Mark, UserMark
from syncproxy.caches.user_cache import UserCache
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.metrics import Metrics
from syncproxy.pubsub.payloads import Payload
from syncproxy.rooms.changes import (
    AccountDataChange,
    Change,
    DeviceFacts,
    Polled,
    RoomChange,
    TransactionIds,
    UserRoomChange,
)
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.snapshot import Snapshot
from syncproxy.rooms.summary import Bump, RoomSummary
from syncproxy.rooms.user_room import UserRoom

_T = TypeVar("_T")

ALICE, BOB, CAROL = "@alice:hs", "@bob:hs", "@carol:hs"
PHONE = Device(ALICE, "PHONE")
MEBIBYTE = 1 << 20


@attrs.frozen
class DeviceRow:
    """What the caches read of a device's row."""

    since: str | None
    horizon: int


@attrs.define
class _Row:
    entry: StateEntry
    valid_to: int | None = None


class FakeDatabase:
    """Stores events and tells what changed, like the writer; answers reads like the Reader, as of their bounds.

    While `gate` is set, every read waits for it before it looks.
    """

    def __init__(self) -> None:
        self.nid = 0
        self.gate: Deferred[None] | None = None
        self.reads: list[str] = []
        self.rooms: dict[str, RoomSummary] = {}
        self.user_rows: dict[tuple[str, str], UserRoom] = {}
        self.data: list[AccountDataChange] = []
        self.receipts: list[Receipt] = []
        self.device_rows: dict[Device, DeviceRow] = {}
        self.ids: list[TransactionIds] = []
        self._timelines: dict[str, list[StoredEvent]] = {}
        self._rows: dict[str, list[_Row]] = {}

    # Storing

    def event(self, event_type: str = "m.room.message", sender: str = BOB, **fields: Any) -> StoredEvent:
        """A new event; `ts` in ms, `content` any size of bytes."""
        self.nid += 1
        ts = fields.pop("ts", 1000 + self.nid)
        values = {
            "nid": self.nid,
            "event_id": f"${self.nid}",
            "type": event_type,
            "sender": sender,
            "origin_server_ts": ts,
            "json": b"{}",
            "sort_ts": ts,
            "recency": ts,
            **fields,
        }
        return StoredEvent(**values)

    def member(self, user_id: str, membership: str = "join", **fields: Any) -> StoredEvent:
        """A new member event."""
        return self.event("m.room.member", user_id, state_key=user_id, membership=membership, **fields)

    def stored(self, room_id: str, *events: StoredEvent, **facts: Any) -> RoomChange:
        """Append these events to the room's timeline, roll its state forward, set `facts` in its summary."""
        before = self.rooms.get(room_id, RoomSummary(room_id))
        previous = before.position
        entries = [StateEntry(event.nid, event) for event in events if event.state_key is not None]
        for entry in entries:
            self._end(room_id, (entry.event.type, entry.event.state_key or ""), entry.valid_from)
            self._rows.setdefault(room_id, []).append(_Row(entry))
        self._timelines.setdefault(room_id, []).extend(events)
        position = max([previous, *(event.nid for event in events)]) or 1
        bumps = {event.type: _bump(event) for event in events}
        newest = _bump(events[-1]) if events else before.newest
        if entries or any(name != "gap_nid" for name in facts):
            facts = {"facts_nid": position, **facts}
        summary = msgspec.structs.replace(
            before,
            position=position,
            newest=newest,
            newest_by_type={**before.newest_by_type, **bumps},
            **facts,
        )
        self.rooms[room_id] = summary
        return RoomChange(summary, previous, tuple(events), tuple(entries))

    def ended(self, room_id: str, *keys: tuple[str, str]) -> RoomChange:
        """End these state rows."""
        before = self.rooms[room_id]
        self.nid += 1
        for key in keys:
            self._end(room_id, key, self.nid)
        self.rooms[room_id] = msgspec.structs.replace(before, position=self.nid)
        return RoomChange(self.rooms[room_id], before.position, ended=keys)

    def standing(self, user_id: str, room_id: str, membership: str = "join", **fields: Any) -> UserRoomChange:
        """Set the user's row."""
        row = msgspec.convert({"user_id": user_id, "room_id": room_id, "membership": membership, **fields}, UserRoom)
        self.user_rows[user_id, room_id] = row
        return UserRoomChange(row)

    def datum(self, user_id: str, data_type: str, json: bytes, room_id: str | None = None) -> AccountDataChange:
        """Set account data."""
        self.nid += 1
        datum = AccountDataChange(user_id, room_id, data_type, json, self.nid)
        self.data.append(datum)
        return datum

    def receipt(self, room_id: str, user_id: str, event_id: str, **fields: Any) -> Receipt:
        """Store a receipt."""
        self.nid += 1
        values = {
            "room_id": room_id,
            "user_id": user_id,
            "event_id": event_id,
            "ts": self.nid,
            "nid": self.nid,
            **fields,
        }
        receipt = msgspec.convert(values, Receipt)
        self.receipts.append(receipt)
        return receipt

    def _end(self, room_id: str, key: tuple[str, str], nid: int) -> None:
        for row in self._rows.get(room_id, ()):
            if row.valid_to is None and (row.entry.event.type, row.entry.event.state_key) == key:
                row.valid_to = nid

    # Reading

    async def _read(self, name: str) -> None:
        self.reads.append(name)
        if self.gate is not None:
            waiting: Deferred[None] = Deferred()
            self.gate.chainDeferred(waiting) if self.gate.called else self.gate.addBoth(_hand_on, waiting)
            await waiting

    async def sticky_rooms(self, now_ms: int) -> list[tuple[str, int, int]]:
        await self._read("sticky_rooms")
        return []

    async def summaries(self) -> list[RoomSummary]:
        await self._read("summaries")
        return list(self.rooms.values())

    async def timelines(self, bounds: Mapping[str, int], limit: int) -> dict[str, Sequence[StoredEvent]]:
        await self._read("timelines")
        return {
            room_id: [event for event in self._timelines.get(room_id, ()) if event.nid <= bound][-limit:]
            for room_id, bound in bounds.items()
        }

    async def state(self, bounds: Mapping[str, int]) -> dict[str, Sequence[StateEntry]]:
        await self._read("state")
        return {
            room_id: [entry for entry in self._current(room_id, bound) if entry.event.type != "m.room.member"]
            for room_id, bound in bounds.items()
        }

    async def members(
        self, bounds: Mapping[str, int], wanted: Mapping[str, Collection[str]]
    ) -> dict[str, Sequence[StateEntry]]:
        await self._read("members")
        return {
            room_id: [entry for entry in self._members(room_id, bound) if entry.event.state_key in wanted[room_id]]
            for room_id, bound in bounds.items()
        }

    async def all_members(self, room_id: str, bound: int) -> list[StateEntry]:
        await self._read("all_members")
        return self._members(room_id, bound)

    async def state_since(self, bounds: Mapping[str, int], after: Mapping[str, int]) -> dict[str, Sequence[StateEntry]]:
        await self._read("state_since")
        return {
            room_id: [entry for entry in self._current(room_id, bound) if entry.valid_from > after[room_id]]
            for room_id, bound in bounds.items()
        }

    async def ended_since(
        self, bounds: Mapping[str, int], after: Mapping[str, int]
    ) -> dict[str, Sequence[tuple[tuple[str, str], int]]]:
        await self._read("ended_since")
        return {
            room_id: [(key, nid) for key, nid in self._ended(room_id, bound) if nid > after[room_id]]
            for room_id, bound in bounds.items()
        }

    async def snapshot(self, user_id: str, room_id: str) -> Snapshot:
        return Snapshot((), ())

    async def receipts_on(self, events: Mapping[str, Collection[str]]) -> list[Receipt]:
        await self._read("receipts_on")
        return [receipt for receipt in self.receipts if receipt.event_id in events.get(receipt.room_id, ())]

    async def receipts_since(self, after: Mapping[str, int], bound: int) -> list[Receipt]:
        await self._read("receipts_since")
        return [one for one in self.receipts if one.room_id in after and after[one.room_id] < one.nid <= bound]

    async def user_rooms(self, user_id: str) -> list[UserRoom]:
        await self._read("user_rooms")
        return [row for row in self.user_rows.values() if row.user_id == user_id]

    async def account_data(self, user_id: str) -> list[AccountDataChange]:
        await self._read("account_data")
        newest = {(datum.room_id, datum.type): datum for datum in self.data if datum.user_id == user_id}
        return list(newest.values())

    async def own_receipts(self, user_id: str) -> list[Receipt]:
        await self._read("own_receipts")
        return [receipt for receipt in self.receipts if receipt.user_id == user_id]

    async def device_facts(self, user_id: str) -> list[DeviceFacts]:
        await self._read("device_facts")
        return [DeviceFacts(device) for device in self.device_rows if device.user_id == user_id]

    async def transaction_ids(self, user_id: str) -> list[TransactionIds]:
        await self._read("transaction_ids")
        return [some for some in self.ids if some.device.user_id == user_id]

    async def device(self, device: Device) -> DeviceRow | None:
        await self._read("device")
        return self.device_rows.get(device)

    def _current(self, room_id: str, bound: int) -> list[StateEntry]:
        return [
            row.entry
            for row in self._rows.get(room_id, ())
            if row.entry.valid_from <= bound and (row.valid_to is None or row.valid_to > bound)
        ]

    def _ended(self, room_id: str, bound: int) -> list[tuple[tuple[str, str], int]]:
        current = {(entry.event.type, entry.event.state_key) for entry in self._current(room_id, bound)}
        rows = [(row.entry.event, row.valid_to) for row in self._rows.get(room_id, ())]
        ends = {(event.type, event.state_key or ""): nid for event, nid in rows if nid is not None and nid <= bound}
        return sorted(((key, nid) for key, nid in ends.items() if key not in current), key=lambda end: end[1])

    def _members(self, room_id: str, bound: int) -> list[StateEntry]:
        return [entry for entry in self._current(room_id, bound) if entry.event.type == "m.room.member"]


def _hand_on(result: _T, waiting: Deferred[_T]) -> _T:
    waiting.callback(result)
    return result


def _bump(event: StoredEvent) -> Bump:
    return Bump(event.nid, event.sort_ts, event.origin_server_ts, event.recency)


class Ear:
    """A listener that writes down what it hears."""

    def __init__(self, device_id: str = "PHONE") -> None:
        self.device_id = device_id
        self.rooms: dict[str, Mark] = {}
        self.user = UserMark(0)
        self.wakes = 0

    def mark_room(self, room_id: str, mark: Mark) -> None:
        self.rooms[room_id] = self.rooms.get(room_id, Mark(0)) | mark

    def mark_user(self, mark: UserMark) -> None:
        self.user |= mark

    def wake(self) -> None:
        self.wakes += 1

    def forget(self) -> None:
        """As if nothing was heard yet."""
        self.rooms, self.user, self.wakes = {}, UserMark(0), 0


class DeafEar(Ear):
    """A listener whose every method fails."""

    def mark_room(self, room_id: str, mark: Mark) -> None:
        raise RuntimeError("deaf")

    def mark_user(self, mark: UserMark) -> None:
        raise RuntimeError("deaf")

    def wake(self) -> None:
        raise RuntimeError("deaf")


class World:
    """The caches over a fake database, wired as tap does it."""

    def __init__(
        self,
        *,
        cache_bytes: int = MEBIBYTE,
        transaction_id_wait_s: float = 0.0,
        user_cache: type[UserCache] = UserCache,
    ) -> None:
        self.database = FakeDatabase()
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.metrics = Metrics()
        self.tracker = JoinedRoomsTracker(transaction_id_wait_s)
        self.global_cache = GlobalCache(self.database, self.clock, self.metrics, cache_bytes)
        self.users = UserCacheMap(self.database, self.global_cache, self.tracker, self.clock, self.metrics, user_cache)
        self.arrivals = Arrivals(self.clock)
        self.dispatcher = Dispatcher(
            self.global_cache, self.tracker, self.users, self.clock, self.metrics, self.arrivals
        )

    def told(self, *changes: Change) -> None:
        """Dispatch one batch, all of its turns; delayed calls that are due run, those for later stay."""
        self.dispatcher.received(Payload(changes))
        self.settled()

    def settled(self) -> None:
        """Run what wants a turn of its own."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def polled(self, device: Device = PHONE, position: int | None = None) -> Polled:
        """A finished poll of the device."""
        return Polled(device, self.database.nid if position is None else position, complete=True)

    def room(self, room_id: str, *user_ids: str, **facts: Any) -> None:
        """Dispatch a new room with these users joined, who are polled from now on."""
        events = [self.database.member(user_id) for user_id in user_ids]
        change = self.database.stored(room_id, *events, **facts)
        rows = [
            self.database.standing(
                user_id, room_id, membership_nid=event.nid, visible_from=event.nid, join_ts=event.origin_server_ts
            )
            for user_id, event in zip(user_ids, events, strict=True)
        ]
        self.told(change, *rows, *(self.polled(Device(user_id, "PHONE")) for user_id in user_ids))
