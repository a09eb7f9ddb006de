"""From a decoded `/sync` answer to values: each room and each event by itself, so that a bad one is dropped alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
from twisted.logger import Logger

from syncproxy.homeserver.sync_response import (
    Counts,
    EventList,
    InviteBlock,
    JoinBlock,
    KnockBlock,
    LeaveBlock,
    Summary,
    TimelineBlock,
    sound_sections,
)
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

_T = TypeVar("_T")
_Block = TypeVar("_Block", bound=msgspec.Struct)
_log = Logger(namespace="syncproxy")
_KEY_REQUESTS = ("m.room_key_request",)


class _Typed(msgspec.Struct):
    type: str
    content: msgspec.Raw = msgspec.Raw(b"{}")


class _TypingContent(msgspec.Struct):
    user_ids: list[str]


class _ToDevice(msgspec.Struct):
    type: str
    sender: str
    content: msgspec.Raw = msgspec.Raw(b"{}")


class _KeyRequest(msgspec.Struct):
    action: str
    requesting_device_id: str
    request_id: str


class _Stripped(msgspec.Struct):
    type: str
    state_key: str
    content: msgspec.Raw = msgspec.Raw(b"{}")
    origin_server_ts: int | float | None = None


class _StrippedMember(msgspec.Struct):
    membership: str | None = None
    is_direct: bool | None = None


_decode_receipts = msgspec.json.Decoder(dict[str, dict[str, dict[str, msgspec.Raw]]]).decode


class _ReceiptData(msgspec.Struct):
    ts: int | float = 0
    thread_id: str | None = None


class Sections:
    """Makes values of the sections; what it must drop is logged with its ids and counted by `dropped`."""

    def __init__(self, user_id: str, dropped: Callable[[str], None]) -> None:
        self._user_id = user_id
        self._dropped = dropped

    def joined(self, room_id: str, raw: msgspec.Raw) -> JoinedRoom | None:
        """A room of `rooms.join`."""
        block = self._block(raw, JoinBlock, room_id)
        if block is None:
            return None
        after = block.state_after or block.msc4222_state_after
        typing, receipts = self._ephemeral(room_id, block.ephemeral)
        counts = folded_counts(block.unread_notifications, block.unread_thread_notifications)
        return JoinedRoom(
            room_id=room_id,
            state=self.events(after or block.state or (), room_id),
            state_after=after is not None,
            timeline=self._timeline(block.timeline, room_id),
            summary=_summary(block.summary),
            account_data=self.account_data(block.account_data or (), room_id),
            receipts=receipts,
            typing=typing,
            notification_count=counts.notification_count,
            highlight_count=counts.highlight_count,
        )

    def left(self, room_id: str, raw: msgspec.Raw) -> LeftRoom | None:
        """A room of `rooms.leave`."""
        block = self._block(raw, LeaveBlock, room_id)
        if block is None:
            return None
        state = block.state_after or block.msc4222_state_after or block.state
        return LeftRoom(
            room_id,
            self.events(state or (), room_id),
            self._timeline(block.timeline, room_id),
            self.account_data(block.account_data or (), room_id),
        )

    def invited(self, room_id: str, raw: msgspec.Raw) -> StrippedRoom | None:
        """A room of `rooms.invite`."""
        block = self._block(raw, InviteBlock, room_id)
        return None if block is None else self._stripped(room_id, "invite", block.invite_state)

    def knocked(self, room_id: str, raw: msgspec.Raw) -> StrippedRoom | None:
        """A room of `rooms.knock`."""
        block = self._block(raw, KnockBlock, room_id)
        return None if block is None else self._stripped(room_id, "knock", block.knock_state)

    def events(self, raws: Iterable[msgspec.Raw], room_id: str) -> tuple[Event, ...]:
        """Well-formed events, in order."""
        return tuple(event for raw in raws if (event := self._event(raw, room_id)) is not None)

    def account_data(self, raws: Iterable[msgspec.Raw], room_id: str = "") -> tuple[AccountDatum, ...]:
        """Account data events, of a room or global ones."""
        found = []
        for raw in raws:
            head = self._decoded(raw, _Typed, "account data", room_id)
            if head is not None and "\x00" not in head.type:
                found.append(AccountDatum(head.type, bytes(raw)))
        return tuple(found)

    def to_device(self, raws: Iterable[msgspec.Raw]) -> tuple[ToDeviceMessage, ...]:
        """To-device messages."""
        found = []
        for raw in raws:
            head = self._decoded(raw, _ToDevice, "to-device message", "")
            if head is not None:
                found.append(ToDeviceMessage(head.type, head.sender, bytes(raw), _key_request(head)))
        return tuple(found)

    def users(self, user_ids: Iterable[str] | None) -> tuple[str, ...]:
        """Those user ids that can be stored."""
        return tuple(user_id for user_id in user_ids or () if "\x00" not in user_id)

    def section_dropped(self, section: str, room_id: str = "") -> None:
        """A section had the wrong shape."""
        _log.warn("Dropped: section {section} {room_id}", section=section, room_id=room_id)
        self._dropped("malformed_section")

    def _block(self, raw: msgspec.Raw, kind: type[_Block], room_id: str) -> _Block | None:
        """A room's block, without its sections of the wrong shape."""
        try:
            if "\x00" in room_id:
                raise msgspec.DecodeError("NUL in the room id")
            try:
                return msgspec.json.decode(raw, type=kind)
            except msgspec.ValidationError:
                return sound_sections(raw, kind, lambda section: self.section_dropped(section, room_id))
        except msgspec.DecodeError as problem:
            self._log_dropped("room", room_id, problem)
            return None

    def _event(self, raw: msgspec.Raw, room_id: str) -> Event | None:
        try:
            return parse_event(raw)
        except MalformedEvent as problem:
            _log.warn("Dropped: event in {room_id}: {problem}", room_id=room_id, problem=str(problem))
            self._dropped("malformed_event")
            return None

    def _timeline(self, block: TimelineBlock | None, room_id: str) -> Timeline:
        if block is None:
            return Timeline()
        return Timeline(self.events(block.events or (), room_id), bool(block.limited), block.prev_batch)

    def _ephemeral(self, room_id: str, block: EventList | None) -> tuple[tuple[str, ...] | None, tuple[Receipt, ...]]:
        typing: tuple[str, ...] | None = None
        receipts: tuple[Receipt, ...] = ()
        for raw in block or ():
            head = self._decoded(raw, _Typed, "ephemeral event", room_id)
            if head is None:
                continue
            if head.type == "m.typing":
                content = self._decoded(head.content, _TypingContent, "typing", room_id)
                typing = typing if content is None else tuple(content.user_ids)
            elif head.type == "m.receipt":
                receipts += self._receipts(room_id, head.content)
        return typing, receipts

    def _receipts(self, room_id: str, content: msgspec.Raw) -> tuple[Receipt, ...]:
        try:
            return tuple(_receipts(room_id, content))
        except msgspec.DecodeError as problem:
            self._log_dropped("receipts", room_id, problem)
            return ()

    def _stripped(self, room_id: str, membership: str, block: EventList | None) -> StrippedRoom:
        raws: list[bytes] = []
        ts, is_direct = None, False
        for raw in block or ():
            head = self._decoded(raw, _Stripped, "stripped event", room_id)
            if head is None:
                continue
            raws.append(bytes(raw))
            if head.type != "m.room.member" or head.state_key != self._user_id:
                continue
            member = self._decoded(head.content, _StrippedMember, "stripped member", room_id)
            ts = None if head.origin_server_ts is None else clamped(head.origin_server_ts)
            is_direct = member is not None and member.is_direct is True
        return StrippedRoom(room_id, membership, b"[" + b",".join(raws) + b"]", ts, is_direct)

    def _decoded(self, raw: msgspec.Raw, kind: type[_T], what: str, room_id: str) -> _T | None:
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.DecodeError as problem:
            self._log_dropped(what, room_id, problem)
            return None

    def _log_dropped(self, what: str, room_id: str, problem: Exception) -> None:
        _log.warn("Dropped: {what} {room_id}: {problem}", what=what, room_id=room_id, problem=str(problem))
        self._dropped("malformed_section")


def folded_counts(room: Counts | None, threads: dict[str, Counts] | None) -> Counts:
    """The room's counts with its threads' added; `None` where the homeserver said nothing of the room's own."""
    if room is None:
        return Counts()
    each = list((threads or {}).values())
    return Counts(
        _total(room.notification_count, [counts.notification_count for counts in each]),
        _total(room.highlight_count, [counts.highlight_count for counts in each]),
    )


def _total(own: int | None, of_threads: Iterable[int | None]) -> int | None:
    return None if own is None else clamped(clamped(own) + sum(map(clamped, of_threads)))


def _summary(block: Summary | None) -> SummaryBlock | None:
    if block is None or (block.heroes is None and block.joined_count is None and block.invited_count is None):
        return None
    return SummaryBlock(
        None if block.joined_count is None else clamped(block.joined_count),
        None if block.invited_count is None else clamped(block.invited_count),
        None if block.heroes is None else tuple(block.heroes),
    )


def _receipts(room_id: str, content: msgspec.Raw) -> Iterable[Receipt]:
    for event_id, kinds in _decode_receipts(content).items():
        for kind, users in kinds.items():
            if kind not in ("m.read", "m.read.private"):
                continue
            for user_id, raw in users.items():
                data = msgspec.json.decode(raw, type=_ReceiptData)
                if "\x00" in f"{event_id}{user_id}{data.thread_id}":
                    continue
                yield Receipt(room_id, user_id, event_id, clamped(data.ts), data.thread_id, kind == "m.read.private")


def _key_request(head: _ToDevice) -> tuple[str, str, str] | None:
    if head.type not in _KEY_REQUESTS:
        return None
    try:
        request = msgspec.json.decode(head.content, type=_KeyRequest)
    except msgspec.DecodeError:
        return None
    return request.action, request.requesting_device_id, request.request_id
