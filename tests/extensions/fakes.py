"""Caches, reader and writer as extensions know them, held in plain lists."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from syncproxy.caches.updates import Mark, UserMark
from syncproxy.extensions.core import Context
from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StoredEvent
from syncproxy.protocol.response import RoomAnswer
from syncproxy.rooms.changes import AccountDataChange, DeviceFacts
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.sticky import StickyEvent
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import View
from syncproxy.storage.work import AcknowledgeDeviceLists, AcknowledgeToDevice, HandOutToDevice

ALICE = "@alice:example.org"
BOB = "@bob:example.org"
CAROL = "@carol:example.org"
PHONE = Device(ALICE, "PHONE")

NO_USER_MARK = UserMark(0)


class FakeView(View, frozen=True):
    """What `rooms.visibility` says of a room."""

    from_nid: int = 0
    to_nid: int = 2**63 - 1


@attrs.define
class FakeTyping:
    """Who types, as the GlobalCache has it."""

    user_ids: tuple[str, ...]
    serial: int = 0


@attrs.define
class FakeHotRoom:
    """A room's public receipts, and the newest events of its timeline."""

    room_id: str
    receipts: list[Receipt] = attrs.field(factory=list)
    timeline: list[StoredEvent] = attrs.field(factory=list)

    def receipts_on(self, event_ids: Collection[str]) -> list[Receipt]:
        return [receipt for receipt in self.receipts if receipt.event_id in event_ids]

    def receipts_since(self, nid: int) -> list[Receipt]:
        return [receipt for receipt in self.receipts if receipt.nid > nid]


@attrs.define
class FakeGlobalCache:
    """Rooms in memory (`rooms`), and rooms that must be loaded (`cold`)."""

    position: int = 100
    rooms: dict[str, FakeHotRoom] = attrs.field(factory=dict)
    cold: dict[str, FakeHotRoom] = attrs.field(factory=dict)
    typists: dict[str, FakeTyping] = attrs.field(factory=dict)
    sticky: dict[str, int] = attrs.field(factory=dict)
    room_position: int = 90
    loads: int = 0

    def summary(self, room_id: str) -> RoomSummary:
        return RoomSummary(room_id, self.room_position)

    def typing(self, room_id: str) -> FakeTyping | None:
        return self.typists.get(room_id)

    def typing_rooms(self) -> set[str]:
        return {room_id for room_id, typing in self.typists.items() if typing.user_ids}

    def sticky_rooms(self) -> dict[str, int]:
        return self.sticky

    def hot(self, want: Any, *, passing: bool = False) -> FakeHotRoom | None:
        return self.rooms.get(want.room_id)

    async def load(self, wants: Iterable[Any]) -> dict[str, FakeHotRoom]:
        self.loads += 1
        return {want.room_id: self.cold[want.room_id] for want in wants}


@attrs.define
class FakeUserCache:
    """Alice's rooms and account data."""

    joined: set[str] = attrs.field(factory=set)
    invited: set[str] = attrs.field(factory=set)
    data: list[AccountDataChange] = attrs.field(factory=list)
    own: list[Receipt] = attrs.field(factory=list)
    ignored: frozenset[str] = frozenset()
    device: DeviceFacts = attrs.field(factory=lambda: DeviceFacts(PHONE))
    views: dict[str, FakeView | None] = attrs.field(factory=dict)
    reads: int = 0
    user_id: str = ALICE

    def rooms(self) -> Mapping[str, UserRoom]:
        return {room_id: UserRoom(ALICE, room_id, "join") for room_id in self.joined}

    def room(self, room_id: str) -> UserRoom | None:
        for membership, rooms in (("join", self.joined), ("invite", self.invited)):
            if room_id in rooms:
                return UserRoom(ALICE, room_id, membership)
        return None

    def view(self, room_id: str) -> FakeView | None:
        return self.views.get(room_id, FakeView())

    def bound(self, room_id: str) -> int | None:
        view = self.views.get(room_id)
        return None if view is None else view.to_nid

    def account_data(self, room_id: str | None) -> Mapping[str, AccountDataChange]:
        self.reads += 1
        return {change.type: change for change in self.data if change.room_id == room_id}

    def account_data_since(self, nid: int) -> list[AccountDataChange]:
        self.reads += 1
        return [change for change in self.data if change.nid > nid]

    def own_receipts(self, room_id: str) -> list[Receipt]:
        return [receipt for receipt in self.own if receipt.room_id == room_id]

    def facts(self, device_id: str) -> DeviceFacts:
        assert device_id == self.device.device.device_id
        return self.device


@attrs.define
class FakeReader:
    """Stored to-device messages and device lists of one device; counts what is read."""

    messages: list[tuple[int, bytes]] = attrs.field(factory=list)
    lists: list[tuple[int, str, str]] = attrs.field(factory=list)
    receipts: list[Receipt] = attrs.field(factory=list)
    sticky: list[StickyEvent] = attrs.field(factory=list)
    handed_out: int = 0
    statements: int = 0

    async def sticky_events(
        self,
        user_id: str,
        spans: Mapping[str, tuple[int, int]],
        now_ms: int,
        limit: int,
        *,
        senders: Collection[str] = (),
        event_ids: Collection[str] = (),
    ) -> list[StickyEvent]:
        self.statements += 1
        found = [
            one
            for one in self.sticky
            if one.room_id in spans
            and spans[one.room_id][0] < one.nid <= spans[one.room_id][1]
            and one.expires_ms > now_ms
            and one.for_user in ("", user_id)
            and one.sender not in senders
            and one.event_id not in event_ids
        ]
        return sorted(found, key=lambda one: one.nid)[:limit]

    async def rooms_with_receipts(self, after: Mapping[str, int], bound: int, user_id: str) -> set[str]:
        self.statements += 1
        return {one.room_id for one in self.receipts if after.get(one.room_id, bound) < one.nid <= bound}

    async def to_device_key_requests(self, device: Device, after: int, up_to: int) -> list[tuple[int, bytes]]:
        self.statements += 1
        return [row for row in self.messages if after < row[0] <= up_to and b"m.room_key_request" in row[1]]

    async def to_device_handed_out(self, device: Device) -> int:
        self.statements += 1
        return self.handed_out

    async def to_device(self, device: Device, after: int, up_to: int, limit: int) -> list[tuple[int, bytes]]:
        self.statements += 1
        return [row for row in self.messages if after < row[0] <= up_to][:limit]

    async def device_list_changes(self, device: Device, after: int, up_to: int) -> list[tuple[int, str, str]]:
        self.statements += 1
        return [row for row in self.lists if after < row[0] <= up_to]


@attrs.define
class FakeWriter:
    """Remembers what it was told to do, or fails it."""

    done: list[Any] = attrs.field(factory=list)
    problem: Exception | None = None

    def do(self, work: Any, *, may_wait: bool = False) -> Deferred[None]:
        self.done.append(work)
        return succeed(None) if self.problem is None else fail(self.problem)


@attrs.define
class StoringWriter(FakeWriter):
    """Does to what a reader has what it is told: nothing while it is `away`, the next not before the `gate` opens."""

    reader: FakeReader = attrs.field(factory=FakeReader)
    away: bool = False
    gate: Deferred[None] | None = None

    def do(self, work: Any, *, may_wait: bool = False) -> Deferred[None]:
        gate, self.gate = self.gate, None
        if gate is not None:
            return gate.addCallback(lambda _: self.do(work))
        reader = self.reader
        if self.away:
            return Deferred()
        if isinstance(work, AcknowledgeToDevice):
            reader.messages = [row for row in reader.messages if row[0] > work.up_to]
        elif isinstance(work, AcknowledgeDeviceLists):
            reader.lists = [row for row in reader.lists if row[0] > work.up_to]
        elif isinstance(work, HandOutToDevice):
            reader.handed_out = max(reader.handed_out, work.up_to)
            reader.messages = [row for row in reader.messages if row[0] not in work.annihilated]
        return super().do(work)


def context(
    user: FakeUserCache,
    cache: FakeGlobalCache | None = None,
    *,
    rooms: Mapping[str, RoomAnswer] | None = None,
    windows: Mapping[str, Iterable[str]] | None = None,
    subscribed: Iterable[str] = (),
    marks: Mapping[str, Mark] | None = None,
    user_marks: UserMark = NO_USER_MARK,
    **more: Any,
) -> Context:
    """The moment of an answer; by default all of the user's rooms are in one list's window."""
    shown = {"all": user.joined | user.invited} if windows is None else windows
    everything: Any = {
        "device": PHONE,
        "user": user,
        "global_cache": cache or FakeGlobalCache(),
        "rooms": rooms or {},
        "windows": {key: frozenset(room_ids) for key, room_ids in shown.items()},
        "subscribed": frozenset(subscribed),
        "room_marks": marks or {},
        "user_marks": user_marks,
        **more,
    }
    return Context(**everything)


def initial(*event_ids: str) -> RoomAnswer:
    """An initial room with these events in its timeline."""
    return RoomAnswer(initial=True, timeline_ids=event_ids)
