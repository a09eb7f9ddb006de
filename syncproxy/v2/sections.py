"""From a decoded `/sync` answer to values: each room and each event by itself, so that a bad one is dropped alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from syncproxy.homeserver.assembling import Lifted
from syncproxy.homeserver.repairs import flattened
from syncproxy.homeserver.sync_response import (
    Counts,
    EventList,
    InviteBlock,
    JoinBlock,
    KnockBlock,
    LeaveBlock,
    Number,
    Summary,
    TimelineBlock,
    sound_sections,
)
from syncproxy.matrix.depth import is_too_deep
from syncproxy.matrix.events import Event
from syncproxy.matrix.parsing import MalformedEvent, clamped, parse_event
from syncproxy.rooms.answers import (
    AccountDatum,
    JoinedRoom,
    LeftRoom,
    StrippedRoom,
    SummaryBlock,
    Timeline,
    ToDeviceMessage,
)
from syncproxy.rooms.receipts import Receipt
from syncproxy.turns import Turn
from syncproxy.v2.dropping import Dropped

_T = TypeVar("_T")
_Block = TypeVar("_Block", bound=msgspec.Struct)
_ABSENT = b"null"
_NONE_LIFTED: Lifted = {}


class _Typed(msgspec.Struct):
    type: str
    content: msgspec.Raw = msgspec.Raw(b"{}")


class _TypingContent(msgspec.Struct):
    user_ids: list[str]


class _ToDevice(msgspec.Struct):
    type: str
    sender: str


class _Stripped(msgspec.Struct):
    type: str
    state_key: str
    content: msgspec.Raw = msgspec.Raw(b"{}")
    origin_server_ts: int | float | None = None


class _StrippedMember(msgspec.Struct):
    membership: str | None = None
    is_direct: bool | None = None


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RECEIPTS = ("m.read", "m.read.private")


class _ReceiptData(msgspec.Struct):
    ts: int | float = 0
    thread_id: str | None = None


class Sections:
    """Makes values of the sections, pausing when the turn is over; what it must leave out is told to `dropped`.

    `lifted` has the events of sections that came without them.
    """

    def __init__(self, user_id: str, dropped: Dropped, turn: Turn, lifted: Lifted = _NONE_LIFTED) -> None:
        self._user_id = user_id
        self._dropped = dropped
        self._turn = turn
        self._lifted = lifted

    async def joined(self, room_id: str, raw: msgspec.Raw) -> JoinedRoom | None:
        """A room of `rooms.join`."""
        block = self._block(raw, JoinBlock, "join", room_id)
        if block is None:
            return None
        after = block.state_after or block.msc4222_state_after
        typing, receipts = await self._ephemeral(room_id, block.ephemeral)
        counts = folded_counts(block.unread_notifications, block.unread_thread_notifications)
        return JoinedRoom(
            room_id=room_id,
            state=await self.events(after or block.state or (), room_id),
            state_after=after is not None,
            timeline=await self._timeline(block.timeline, room_id),
            summary=_summary(block.summary),
            account_data=await self.account_data(block.account_data or (), room_id),
            sticky=tuple(event for event in await self.events(block.sticky or (), room_id) if event.sticky_ms),
            receipts=receipts,
            typing=typing,
            notification_count=_clamped(counts.notification_count),
            highlight_count=_clamped(counts.highlight_count),
        )

    async def left(self, room_id: str, raw: msgspec.Raw) -> LeftRoom | None:
        """A room of `rooms.leave`."""
        block = self._block(raw, LeaveBlock, "leave", room_id)
        if block is None:
            return None
        after = block.state_after or block.msc4222_state_after
        return LeftRoom(
            room_id,
            await self.events(after or block.state or (), room_id),
            await self._timeline(block.timeline, room_id),
            await self.account_data(block.account_data or (), room_id),
            state_after=after is not None,
        )

    async def invited(self, room_id: str, raw: msgspec.Raw) -> StrippedRoom | None:
        """A room of `rooms.invite`."""
        block = self._block(raw, InviteBlock, "invite", room_id)
        return None if block is None else await self._stripped(room_id, "invite", block.invite_state)

    async def knocked(self, room_id: str, raw: msgspec.Raw) -> StrippedRoom | None:
        """A room of `rooms.knock`."""
        block = self._block(raw, KnockBlock, "knock", room_id)
        return None if block is None else await self._stripped(room_id, "knock", block.knock_state)

    async def events(self, raws: Iterable[msgspec.Raw], room_id: str) -> tuple[Event, ...]:
        """Well-formed events, in order."""
        found = []
        for raw in raws:
            if self._turn.is_over:
                await self._turn.pause()
            event = self._event(raw, room_id)
            if event is not None:
                found.append(event)
        return tuple(found)

    async def account_data(self, raws: Iterable[msgspec.Raw], room_id: str = "") -> tuple[AccountDatum, ...]:
        """Account data events, of a room or global ones."""
        found = []
        for raw in raws:
            head = await self._decoded(raw, _Typed, "account data", room_id)
            if head is not None and "\x00" not in head.type:
                found.append(AccountDatum(head.type, bytes(raw)))
        return tuple(found)

    async def to_device(self, raws: Iterable[msgspec.Raw]) -> tuple[ToDeviceMessage, ...]:
        """To-device messages."""
        found = []
        for raw in raws:
            head = await self._decoded(raw, _ToDevice, "to-device message", "")
            if head is not None:
                found.append(ToDeviceMessage(head.type, head.sender, bytes(raw)))
        return tuple(found)

    def whole(self, section: str, raw: msgspec.Raw) -> bytes | None:
        """A section that goes out as it came in; `None` for `null`, and for what no client can decode."""
        json = bytes(raw)
        if is_too_deep(json):
            self._dropped.section(section)
            return None
        return None if json == _ABSENT else json

    def _block(self, raw: msgspec.Raw, kind: type[_Block], name: str, room_id: str) -> _Block | None:
        """A room's block, without its sections of the wrong shape, with their events that were lifted out of it."""
        if "\x00" in room_id:
            self._dropped.part("room", room_id, raw, "NUL in the room id")
            return None
        try:
            block = self._sound_block(raw, kind, room_id)
        except msgspec.DecodeError as problem:
            self._dropped.part("room", room_id, raw, str(problem))
            return None
        lifted = self._lifted.get((name, room_id))
        # most answers have none, and to look at a struct's fields takes long
        for field in msgspec.structs.fields(kind) if lifted else ():
            section = getattr(block, field.name)
            if section is not None and lifted and field.encode_name in lifted:
                section.events = lifted[field.encode_name]
        return block

    def _sound_block(self, raw: msgspec.Raw, kind: type[_Block], room_id: str) -> _Block:
        try:
            return msgspec.json.decode(raw, type=kind)
        except RecursionError:
            raw = msgspec.Raw(flattened(bytes(raw)))
        except msgspec.ValidationError:
            pass
        return sound_sections(raw, kind, lambda section: self._dropped.section(section, room_id))

    def _event(self, raw: msgspec.Raw, room_id: str) -> Event | None:
        try:
            return parse_event(raw)
        except MalformedEvent as problem:
            self._dropped.event(room_id, raw, str(problem))
            return None

    async def _timeline(self, block: TimelineBlock | None, room_id: str) -> Timeline:
        if block is None:
            return Timeline()
        events = await self.events(block.events or (), room_id)
        return Timeline(events, bool(block.limited), storable(block.prev_batch))

    async def _ephemeral(
        self, room_id: str, block: EventList | None
    ) -> tuple[tuple[str, ...] | None, tuple[Receipt, ...]]:
        typing: tuple[str, ...] | None = None
        receipts: list[Receipt] = []
        for raw in block or ():
            head = await self._decoded(raw, _Typed, "ephemeral event", room_id)
            if head is None:
                continue
            if head.type == "m.typing":
                content = await self._decoded(head.content, _TypingContent, "typing", room_id)
                typing = typing if content is None else storable_ids(content.user_ids)
            elif head.type == "m.receipt":
                receipts += await self._receipts(room_id, head.content)
        return typing, tuple(receipts)

    async def _receipts(self, room_id: str, content: msgspec.Raw) -> list[Receipt]:
        found = []
        for event_id, kinds in self._members(content, room_id).items():
            for kind, users in self._members(kinds, room_id).items():
                if kind not in _RECEIPTS:
                    continue
                for user_id, raw in self._members(users, room_id).items():
                    data = await self._decoded(raw, _ReceiptData, "receipt", room_id)
                    if data is None or "\x00" in f"{event_id}{user_id}{data.thread_id}":
                        continue
                    private = kind == "m.read.private"
                    found.append(Receipt(room_id, user_id, event_id, clamped(data.ts), data.thread_id, private))
        return found

    def _members(self, raw: msgspec.Raw, room_id: str) -> Mapping[str, msgspec.Raw]:
        try:
            return _members.decode(raw)
        except msgspec.DecodeError as problem:
            self._dropped.part("receipts", room_id, raw, str(problem))
            return {}

    async def _stripped(self, room_id: str, membership: str, block: EventList | None) -> StrippedRoom:
        raws: list[bytes] = []
        ts, is_direct = None, False
        for raw in block or ():
            head = await self._decoded(raw, _Stripped, "stripped event", room_id)
            if head is None:
                continue
            raws.append(bytes(raw))
            if head.type != "m.room.member" or head.state_key != self._user_id:
                continue
            member = await self._decoded(head.content, _StrippedMember, "stripped member", room_id)
            ts = None if head.origin_server_ts is None else clamped(head.origin_server_ts)
            is_direct = member is not None and member.is_direct is True
        return StrippedRoom(room_id, membership, b"[" + b",".join(raws) + b"]", ts, is_direct)

    async def _decoded(self, raw: msgspec.Raw, kind: type[_T], what: str, room_id: str) -> _T | None:
        """One part of a section, after a pause if the turn is over."""
        if self._turn.is_over:
            await self._turn.pause()
        if is_too_deep(raw):
            self._dropped.part(what, room_id, raw, "nested too deeply")
            return None
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.DecodeError as problem:
            self._dropped.part(what, room_id, raw, str(problem))
            return None


def storable(token: str | None) -> str | None:
    """A token of the homeserver's; `None` if it is empty or has a NUL in it, so that it cannot be stored."""
    return token if token and "\x00" not in token else None


def storable_ids(ids: Iterable[str] | None) -> tuple[str, ...]:
    """Those ids that have no NUL in them, so that they can be stored; none for null."""
    return tuple(one for one in ids or () if "\x00" not in one)


def folded_counts(room: Counts | None, threads: dict[str, Counts] | None) -> Counts:
    """The room's counts with its threads' added; `None` where the homeserver said nothing of the room's own."""
    if room is None:
        return Counts()
    each = list((threads or {}).values())
    return Counts(
        _total(room.notification_count, [counts.notification_count for counts in each]),
        _total(room.highlight_count, [counts.highlight_count for counts in each]),
    )


def _total(own: Number, of_threads: Iterable[Number]) -> int | None:
    return None if own is None else clamped(clamped(own) + sum(map(clamped, of_threads)))


def _clamped(number: Number) -> int | None:
    return None if number is None else clamped(number)


def _summary(block: Summary | None) -> SummaryBlock | None:
    if block is None or (block.heroes is None and block.joined_count is None and block.invited_count is None):
        return None
    return SummaryBlock(
        _clamped(block.joined_count),
        _clamped(block.invited_count),
        None if block.heroes is None else storable_ids(block.heroes),
    )
